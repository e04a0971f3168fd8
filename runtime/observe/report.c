/* SPDX-License-Identifier: MIT */
/*
 * Reports: to the program's callback, or to standard error.  The library says nothing unless it was
 * asked to (debug, WEFT_DEBUG=1, slow_fiber_ns).
 *
 * Called on the monitor's thread, and for tasks on any.
 */
#include "observe/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/runtime.h"
#include "observe/text.h"
#include "weft/report.h"

static bool asked_by_environment(void)
{
    const char *value = secure_getenv("WEFT_DEBUG");

    return value && *value && strcmp(value, "0") != 0;
}

static void on_unjoined(struct weft_runtime *runtime, const struct unjoined *unjoined)
{
    const char *name = unjoined->name ? unjoined->name : "(unnamed)";
    struct weft_report report = {.kind = WEFT_REPORT_UNJOINED, .fiber_name = unjoined->name};
    struct text text = {0};

    if (unjoined->kind == UNJOINED_FAILED)
        text_add(&text, "weft: task %s failed, and nobody asked for its result: %s\n", name,
                 strerrordesc_np(-unjoined->result) ? strerrordesc_np(-unjoined->result)
                                                    : "an error of its own");
    else
        text_add(&text, "weft: task %s was never joined, detached or freed\n", name);
    report.text = text.data ? text.data : "weft: a task was not joined\n";
    report_emit(runtime, &report);
    text_end(&text);
}

void reporter_init(struct weft_runtime *runtime, const struct weft_options *options)
{
    struct reporter *reporter = &runtime->reporter;
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE); /* a report's report */
    pthread_mutex_init(&reporter->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    reporter->report = options->report;
    reporter->arg = options->report_arg;
    reporter->debug = options->debug || asked_by_environment();
    if (reporter->debug)
        runtime->on_unjoined = on_unjoined;
}

void reporter_destroy(struct weft_runtime *runtime)
{
    pthread_mutex_destroy(&runtime->reporter.lock);
}

void report_emit(struct weft_runtime *runtime, struct weft_report *report)
{
    struct reporter *reporter = &runtime->reporter;
    int fd = STDERR_FILENO;

    report->runtime = runtime;
    pthread_mutex_lock(&reporter->lock);
    if (reporter->report)
        reporter->report(report, reporter->arg);
    else
        text_write_fd(report->text, strlen(report->text), &fd);
    pthread_mutex_unlock(&reporter->lock);
}
