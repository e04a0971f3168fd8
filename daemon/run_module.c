/* SPDX-License-Identifier: MIT */
/*
 * run_module: a call of a module that has a process of its own.
 *
 * The process is a program as any job's (run_exec.c): the same environment and output files, the
 * same end for its whole tree, SIGTERM and the grace before SIGKILL.  What it is to do it reads
 * from its standard input, what came of it is in a file in memory (module_host.h).
 *
 * I1  A process that ended without a reply, or by a signal, has crashed: that is the attempt's
 *     crash, not its failure.
 * I3  What the handler says of its progress is looked at LOOK_NS apart at the least, and once more
 *     when the process has ended.
 * I2  Exit status and signal of the process are not the job's: a call has none.
 */
#include "daemon/module_host.h"
#include "daemon/module_progress.h"
#include "daemon/native.h"
#include "daemon/run_impl.h"

#include "daemon/job.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <weft/weft.h>

#define LOOK_NS (100 * WEFT_MILLISECOND)

/* I1.  outcome->error is what run_exec() said of the end. */
static int crashed(const struct native_handler *handler, struct run_outcome *outcome)
{
    char *end = outcome->error;
    outcome->error = NULL;
    run_outcome_fail(outcome, "the process of module %s ended in this call: %s",
                     handler->module->name, end ?: "without a result");
    free(end);
    outcome->crashed = true;
    return -ECHILD;
}

static int take_failure(json_t *reply, int rc, struct run_outcome *outcome)
{
    const char *problem = json_string_value(json_object_get(reply, "problem"));
    const char *error = json_string_value(json_object_get(reply, "error"));
    outcome->refused = json_is_true(json_object_get(reply, "refused"));
    run_outcome_fail(outcome, "%s", problem ?: error ?: "failed");
    return rc < 0 ? rc : -EPROTO;
}

static int take_reply(json_t *reply, struct run_outcome *outcome)
{
    json_t *result = json_object_get(reply, "result");
    int rc = (int)json_integer_value(json_object_get(reply, "rc"));
    if (!result)
        return take_failure(reply, rc, outcome);
    outcome->result = json_memory_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
    if (outcome->result)
        return 0;
    run_outcome_fail(outcome, "out of memory for the result");
    return -ENOMEM;
}

static int take_end(const struct native_handler *handler, int fd, struct run_outcome *outcome)
{
    json_t *reply = NULL;
    bool whole = outcome->term_signal == JOB_NO_EXIT && outcome->exit_code == 0;
    outcome->term_signal = JOB_NO_EXIT; /* I2 */
    outcome->exit_code = JOB_NO_EXIT;
    int rc = whole ? module_reply_read(fd, &reply) : -ENODATA;
    if (rc == -ENOMEM) {
        run_outcome_fail(outcome, "out of memory for the reply");
        return rc;
    }
    if (rc < 0)
        return crashed(handler, outcome);
    rc = take_reply(reply, outcome);
    json_decref(reply);
    return rc;
}

static char *request_text(const struct run_request *request)
{
    const struct job_spec *spec = request->spec;
    json_t *args = spec->args ? json_incref(spec->args) : json_object();
    json_t *json = json_pack("{s:s, s:o, s:I, s:I}", "call", spec->call, "args", args, "job",
                             (json_int_t)request->id, "attempt", (json_int_t)request->attempt);
    char *text = json ? json_memory_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

/* The call as a program. */
static int run_host(struct runner *runner, const struct run_request *request, const char *path,
                    int reply, int signal, struct run_outcome *outcome)
{
    char memory[32];
    struct run_settings *settings = run_settings_get(runner);
    snprintf(memory, sizeof(memory), "%" PRIu64, settings->module_memory);
    run_settings_put(settings);
    char *argv[] = {"/proc/self/exe", MODULE_HOST_OPTION, (char *)path, memory, NULL};
    char *text = request_text(request);
    if (!text) {
        run_outcome_fail(outcome, "out of memory for the request");
        return -ENOMEM;
    }
    struct job_spec spec = *request->spec;
    struct run_request program = *request;
    spec.argv = argv;
    spec.stdin_data = text;
    spec.stdin_size = strlen(text);
    program.spec = &spec;
    program.reply_fd = reply;
    program.signal_fd = signal;
    int rc = run_exec(runner, &program, outcome);
    free(text);
    return rc;
}

/* ---- progress -------------------------------------------------------------------------------- */

struct watching {
    const struct run_request *request;
    struct weft_descriptor *signal;
    int reply;
    struct run_progress told;
    bool has_told;
};

static void look(struct watching *watching)
{
    struct run_progress said = {0};
    if (module_progress_read(watching->reply, &said) < 0)
        return;
    if (watching->has_told && said.fraction == watching->told.fraction &&
        strcmp(said.text, watching->told.text) == 0)
        return;
    watching->told = said;
    watching->has_told = true;
    watching->request->report(watching->request->report_arg, &said);
}

static void clear_signal(int fd)
{
    uint64_t count;
    (void)!read(fd, &count, sizeof(count)); /* none: it was cleared already */
}

static int watch_main(void *arg)
{
    struct watching *watching = arg;
    int rc = 0;
    while (rc == 0) {
        clear_signal(weft_descriptor_fd(watching->signal)); /* before the look: nothing is missed */
        look(watching);
        rc = weft_sleep(LOOK_NS); /* I3 */
        if (rc == 0)
            rc = weft_descriptor_wait_readable(watching->signal, WEFT_NO_DEADLINE);
    }
    return 0;
}

/* Without the watching, where that cannot be had, only the last word is told. */
static int run_watched(struct runner *runner, const struct run_request *request, const char *path,
                       struct watching *watching, struct run_outcome *outcome)
{
    struct weft_group group;
    weft_group_init(&group);
    (void)weft_group_spawn(&group, "progress", watch_main, watching);
    int rc = run_host(runner, request, path, watching->reply, weft_descriptor_fd(watching->signal),
                      outcome);
    weft_group_cancel(&group);
    weft_group_join(&group);
    look(watching);
    return rc;
}

__attribute__((noinline)) static int open_signal(struct weft_descriptor **ret_signal)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = weft_descriptor_new(fd, ret_signal);
    if (rc < 0)
        close(fd);
    return rc;
}

static int run_and_watch(struct runner *runner, const struct run_request *request, const char *path,
                         int reply, struct run_outcome *outcome)
{
    struct watching watching = {.request = request, .reply = reply};
    int rc = request->report ? open_signal(&watching.signal) : -ENODATA;
    if (rc < 0)
        return run_host(runner, request, path, reply, 0, outcome);
    rc = run_watched(runner, request, path, &watching, outcome);
    weft_descriptor_free(watching.signal);
    return rc;
}

int run_module(struct runner *runner, const struct native_handler *handler,
               const struct run_request *request, struct run_outcome *ret_outcome)
{
    int reply = module_reply_open();
    if (reply < 0) {
        run_outcome_fail(ret_outcome, "cannot start the process of module %s: %s",
                         handler->module->name, strerrordesc_np(-reply));
        return reply;
    }
    int rc = run_and_watch(runner, request, handler->module->origin, reply, ret_outcome);
    if (rc == 0)
        rc = take_end(handler, reply, ret_outcome);
    close(reply);
    return rc;
}
