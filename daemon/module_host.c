/* SPDX-License-Identifier: MIT */
/*
 * module_host: the process that a module runs in; module_host.h says what it is asked.
 *
 * I1  The reply is the last thing: whoever finds one knows that the handler has returned.
 * I2  The memory limit counts what may be written (RLIMIT_DATA), not address space, of which the
 *     runtime reserves much and uses little.  It holds from before the module is loaded.
 * I3  SIGTERM cancels the handler's fiber.  There is no grace here: whoever sent it has one, and
 *     sends SIGKILL after it.
 * I4  What may pass (no memory, no thread) ends it with EX_TEMPFAIL, and no reply.
 *
 * A sanitizer's own memory is far over any limit: under one there is no limit.
 */
#include "daemon/module_host.h"

#include "daemon/job.h"
#include "daemon/module_progress.h"
#include "daemon/native.h"
#include "daemon/problem.h"
#include "daemon/run.h"

#include "protocol/json_memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>
#include <weft/weft.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

#define GRACE_NS (24 * 3600 * WEFT_SECOND) /* I3 */

struct call {
    struct job_spec spec;
    struct run_request request;
    struct run_outcome outcome;
    int rc;
};

/* dlopen(3) tells its reason by words alone.  Whether it may be another one the next time. */
static bool is_passing(const char *why)
{
    static const int passing[] = {ENOMEM, EMFILE, ENFILE, EAGAIN, EIO};
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (strstr(why, strerrordesc_np(passing[i])))
            return true;
    return false;
}

int module_open(const char *path, const struct weft_module **ret_module, struct problem *problem)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        const char *why = dlerror();
        return problem_set(problem, is_passing(why) ? -EAGAIN : -ENOENT,
                           "cannot load module %s: %s", path, why);
    }
    const struct weft_module *module = dlsym(object, "weft_module");
    if (!module) {
        dlclose(object);
        return problem_set(problem, -EINVAL,
                           "cannot load module %s: it has no symbol weft_module: not a module",
                           path);
    }
    *ret_module = module;
    return 0;
}

/* ---- asking and answering -------------------------------------------------------------------- */

/* Returns NULL if it is no object, or there is no memory for it. */
static json_t *read_request(void)
{
    char *text = NULL;
    size_t room = 0;
    json_t *request = NULL;
    ssize_t size = getdelim(&text, &room, '\0', stdin); /* there is none: all of it */
    if (size > 0 && json_memory_load(text, (size_t)size, JSON_ALLOW_NUL, NULL, &request) == 0 &&
        !json_is_object(request)) {
        json_decref(request);
        request = NULL;
    }
    free(text);
    return request;
}

/* I1 */
static int answer(const char *text)
{
    size_t size = strlen(text), done = 0;
    if (size >= MODULE_REPLY_MAX)
        return answer("{\"rc\":-90,\"error\":\"the result is over 1 MiB\",\"refused\":true}");
    fflush(NULL);
    while (done < size) {
        ssize_t n = pwrite(MODULE_REPLY_FD, text + done, size - done, (off_t)done);
        if (n < 0 && errno != EINTR)
            return EX_TEMPFAIL;
        done += n > 0 ? (size_t)n : 0;
    }
    return EXIT_SUCCESS;
}

static int answer_json(json_t *reply)
{
    char *text = reply ? json_memory_dumps(reply, JSON_COMPACT) : NULL;
    int status = text ? answer(text) : EX_TEMPFAIL;
    free(text);
    json_decref(reply);
    return status;
}

static int answer_outcome(const struct call *call)
{
    char *text;
    if (call->rc < 0)
        return answer_json(json_pack("{s:i, s:o, s:b}", "rc", call->rc, "error",
                                     job_text_to_json(call->outcome.error ?: "failed"), "refused",
                                     (int)call->outcome.refused));
    if (asprintf(&text, "{\"rc\":0,\"result\":%s}", call->outcome.result) < 0)
        return EX_TEMPFAIL;
    int status = answer(text);
    free(text);
    return status;
}

/* ---- the process ----------------------------------------------------------------------------- */

static void limit_memory(const char *text)
{
    unsigned long long bytes = strtoull(text, NULL, 10);
    struct rlimit limit;
    if (bytes == 0 || SANITIZED || getrlimit(RLIMIT_DATA, &limit) < 0)
        return;
    if (bytes < limit.rlim_max)
        limit.rlim_max = bytes;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_DATA, &limit);
}

/* run_request's report */
static void report(void *arg, const struct run_progress *said)
{
    (void)arg;
    module_progress_write(MODULE_REPLY_FD, MODULE_SIGNAL_FD, said);
}

static int call_main(void *arg)
{
    struct call *call = arg;
    call->rc = native_run(&call->request, &call->outcome);
    return 0;
}

static int run_call(const json_t *request)
{
    struct weft_options options;
    struct call call = {
        .spec = {.call = (char *)json_string_value(json_object_get(request, "call")),
                 .args = json_object_get(request, "args")},
        .request = {.spec = &call.spec,
                    .report = report,
                    .id = (uint64_t)json_integer_value(json_object_get(request, "job")),
                    .attempt = (uint32_t)json_integer_value(json_object_get(request, "attempt"))},
        .rc = -ECANCELED,
    };
    run_outcome_init(&call.outcome);
    weft_options_init(&options);
    options.workers = 1;
    options.grace_ns = GRACE_NS;
    int rc = weft_run(&options, call_main, &call);
    int status = rc < 0 ? EX_TEMPFAIL : answer_outcome(&call);
    run_outcome_destroy(&call.outcome);
    return status;
}

int module_host_main(char *const *argv)
{
    const struct weft_module *module = NULL;
    struct problem problem = {0};
    if (!argv[0] || !argv[1])
        return EXIT_FAILURE;
    json_t *request = read_request();
    if (!request)
        return EX_TEMPFAIL;
    limit_memory(argv[1]);
    int rc = module_open(argv[0], &module, &problem);
    if (rc == 0)
        rc = native_add(module, argv[0], &problem);
    int status;
    if (rc < 0)
        status = answer_json(
            json_pack("{s:o, s:i}", "problem", job_text_to_json(problem.text), "rc", rc));
    else if (json_object_get(request, "call"))
        status = run_call(request);
    else
        status = answer_json(module_describe(module));
    json_decref(request);
    return status;
}
