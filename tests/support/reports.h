/* SPDX-License-Identifier: MIT */
/* For tests of reports: keeps what a runtime reports. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "support/fibers.h"

enum { REPORTS_KINDS = 3, REPORTS_TEXT = 16384 };

struct reports {
    pthread_mutex_t lock;
    unsigned count[REPORTS_KINDS];          /* guarded by lock */
    char last[REPORTS_KINDS][REPORTS_TEXT]; /* guarded by lock */
    uint64_t elapsed_ns;                    /* guarded by lock */
    const char *only;                       /* count slow fibers of that name; NULL: all */
    bool stop;                              /* stop the runtime at a deadlock */
};

#define REPORTS_INIT                                                                               \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

static inline void reports_keep(const struct weft_report *report, void *arg)
{
    struct reports *reports = arg;

    if (reports->only && report->kind == WEFT_REPORT_SLOW_FIBER &&
        (!report->fiber_name || strcmp(report->fiber_name, reports->only) != 0))
        return;
    pthread_mutex_lock(&reports->lock);
    reports->count[report->kind]++;
    reports->elapsed_ns = report->elapsed_ns;
    snprintf(reports->last[report->kind], REPORTS_TEXT, "%s", report->text);
    pthread_mutex_unlock(&reports->lock);
    if (reports->stop && report->kind == WEFT_REPORT_DEADLOCK)
        weft_runtime_stop(report->runtime);
}

static inline unsigned reports_count(struct reports *reports, enum weft_report_kind kind)
{
    unsigned count;

    pthread_mutex_lock(&reports->lock);
    count = reports->count[kind];
    pthread_mutex_unlock(&reports->lock);
    return count;
}

/** Block the thread until there are so many. */
static inline void reports_await(struct reports *reports, enum weft_report_kind kind,
                                 unsigned count)
{
    while (reports_count(reports, kind) < count)
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static inline bool reports_say(struct reports *reports, enum weft_report_kind kind,
                               const char *what)
{
    bool found;

    pthread_mutex_lock(&reports->lock);
    found = strstr(reports->last[kind], what) != NULL;
    if (!found)
        fprintf(stderr, "\"%s\" is not in:\n%s", what, reports->last[kind]);
    pthread_mutex_unlock(&reports->lock);
    return found;
}

static inline struct weft_options reports_options(struct reports *reports, unsigned workers)
{
    struct weft_options options;

    weft_options_init(&options);
    options.workers = workers;
    options.handle_signals = false;
    options.report = reports_keep;
    options.report_arg = reports;
    return options;
}
