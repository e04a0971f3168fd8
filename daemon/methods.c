/* SPDX-License-Identifier: MIT */
/*
 * methods: the table, and the one way to call a row of it.
 *
 * I1  A handler sees parameters only after its table has passed them (job.submit checks itself).
 * I2  A failed call always has a complete error: what the handler filled, else its errno's row of
 *     error_of_errno().
 * I3  Who is told of an error may do it again.  So where a handler has changed something, and the
 *     reply cannot be made, no error is one: the client is to see that the reply is lost.
 */
#include "daemon/methods.h"

#include "daemon/engine.h"
#include "daemon/methods_impl.h"
#include "protocol/nearest.h"

#include <errno.h>
#include <string.h>

#define ID_MAX ((INT64_C(1) << 53) - 1)

static const char *const state_names[] = {"waiting",   "delayed", "queued",    "running",
                                          "succeeded", "failed",  "cancelled", "timed_out",
                                          "dead",      NULL};
static const char *const stream_names[] = {"stdout", "stderr", NULL};

static const struct param_spec id_params[] = {
    {"id", PARAM_INT, .required = true, .min = 1, .max = ID_MAX},
};

static const struct param_spec ids_params[] = {
    {"ids", PARAM_INTS, .required = true, .min = 1, .max = ID_MAX, .length_min = 1,
     .length_max = METHODS_IDS_MAX},
};

static const struct param_spec list_params[] = {
    {"state", PARAM_STRING | PARAM_STRINGS, .choices = state_names},
    {"queue", PARAM_STRING | PARAM_STRINGS},
    {"name", PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX + 1},
    {"tag", PARAM_STRING, .length_max = JOB_NAME_MAX},
    {"user", PARAM_INT | PARAM_STRING, .min = 0, .max = UINT32_MAX},
    {"limit", PARAM_INT, .min = 1, .max = ENGINE_LIST_MAX},
    {"before", PARAM_INT | PARAM_NULL, .min = 1, .max = ID_MAX},
};

static const struct param_spec wait_params[] = {
    {"ids", PARAM_INTS, .required = true, .min = 1, .max = ID_MAX, .length_min = 1,
     .length_max = METHODS_IDS_MAX},
    {"timeout", PARAM_DURATION},
};

static const struct param_spec logs_params[] = {
    {"id", PARAM_INT, .required = true, .min = 1, .max = ID_MAX},
    {"stream", PARAM_STRING, .choices = stream_names},
    {"offset", PARAM_INT, .min = 0, .max = INT64_MAX},
    {"limit", PARAM_SIZE, .min = 1, .max = METHODS_LOGS_MAX},
};

static const struct param_spec output_params[] = {
    {"id", PARAM_INT, .required = true, .min = 1, .max = ID_MAX},
    {"stream", PARAM_STRING, .choices = stream_names},
    {"offset", PARAM_INT, .min = 0, .max = INT64_MAX},
};

static const struct param_spec submit_many_params[] = {
    {"jobs", PARAM_ARRAY, .required = true, .length_min = 1, .length_max = METHODS_JOBS_MAX},
    {"atomic", PARAM_BOOL},
};

static const struct param_spec subscribe_params[] = {
    {"since", PARAM_INT, .min = 0, .max = ID_MAX},
    {"epoch", PARAM_INT, .min = 0, .max = ID_MAX},
    {"ids", PARAM_INTS, .min = 1, .max = ID_MAX, .length_min = 1, .length_max = METHODS_IDS_MAX},
    {"queue", PARAM_STRING},
};

static const struct param_spec drain_params[] = {
    {"undo", PARAM_BOOL},
    {"wait", PARAM_BOOL},
    {"timeout", PARAM_DURATION},
};

/* queue: "default" where it is left out, as in job.submit; all of them with `all`. */
static const struct param_spec which_queue_params[] = {
    {"queue", PARAM_STRING},
    {"all", PARAM_BOOL},
};

/* The same, and whether what runs there is to stand still. */
static const struct param_spec pause_params[] = {
    {"queue", PARAM_STRING},
    {"all", PARAM_BOOL},
    {"freeze", PARAM_BOOL},
};

static const char *const purge_names[] = {"waiting", "delayed", "queued", NULL};
static const struct param_spec purge_params[] = {
    {"queue", PARAM_STRING, .required = true},
    {"state", PARAM_STRING | PARAM_STRINGS, .length_min = 1, .choices = purge_names},
};

static const struct param_spec backup_params[] = {
    {"name", PARAM_STRING, .length_min = 1, .length_max = ENGINE_BACKUP_NAME_MAX},
};

#define TAKES(table) table, PARAMS_COUNT(table)
#define TAKES_NONE   NULL, 0

const struct method methods[] = {
    {"daemon.backup", TAKES(backup_params), method_daemon_backup, .changes = true},
    {"daemon.drain", TAKES(drain_params), method_daemon_drain, .changes = true},
    {"daemon.reload", TAKES_NONE, method_daemon_reload, .changes = true},
    {"daemon.stats", TAKES_NONE, method_daemon_stats},
    {"events.subscribe", TAKES(subscribe_params), method_events_subscribe},
    {"hello", TAKES_NONE, method_hello},
    {"job.cancel", TAKES(ids_params), method_job_cancel, .changes = true},
    {"job.explain", TAKES(id_params), method_job_explain},
    {"job.get", TAKES(id_params), method_job_get},
    {"job.list", TAKES(list_params), method_job_list},
    {"job.logs", TAKES(logs_params), method_job_logs},
    {"job.output", TAKES(output_params), method_job_output},
    {"job.retry", TAKES(ids_params), method_job_retry, .changes = true},
    {"job.submit", TAKES_NONE, method_job_submit, .checks_itself = true, .takes_turns = true,
     .changes = true},
    {"job.submit_many", TAKES(submit_many_params), method_job_submit_many, .takes_turns = true,
     .changes = true},
    {"job.wait", TAKES(wait_params), method_job_wait},
    {"ping", TAKES_NONE, method_ping},
    {"queue.drain", TAKES(which_queue_params), method_queue_drain, .changes = true},
    {"queue.list", TAKES_NONE, method_queue_list},
    {"queue.pause", TAKES(pause_params), method_queue_pause, .changes = true},
    {"queue.purge", TAKES(purge_params), method_queue_purge, .changes = true},
    {"queue.resume", TAKES(which_queue_params), method_queue_resume, .changes = true},
    {"queue.set", TAKES_NONE, method_queue_set, .checks_itself = true, .changes = true},
};
const size_t methods_count = sizeof methods / sizeof methods[0];

static const struct method *find(const char *name)
{
    for (size_t i = 0; i < methods_count; i++) {
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    }
    return NULL;
}

bool methods_takes_turns(const char *name)
{
    const struct method *method = find(name);
    return method && method->takes_turns;
}

static int refuse_method(const char *name, struct rpc_error *error)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (size_t i = 0; i < methods_count; i++)
        nearest_offer(&nearest, methods[i].name);
    if (nearest.best)
        return rpc_error_set_param(error, RPC_METHOD_NOT_FOUND, NULL, nearest.best,
                                   "there is no method '%.100s'; did you mean '%s'?", name,
                                   nearest.best);
    return rpc_error_set(error, RPC_METHOD_NOT_FOUND,
                         "there is no method '%.100s'; hello lists them all", name);
}

/* What an errno means to a client, where the handler did not say it better. */
static void error_of_errno(int err, struct rpc_error *error)
{
    static const struct {
        int err, code;
    } table[] = {
        {-ENOENT, RPC_NO_SUCH_JOB},
        {-EINVAL, RPC_INVALID_PARAMS},
        {-EAGAIN, RPC_BUSY},
        {-ESHUTDOWN, RPC_SHUTTING_DOWN},
        {-ECANCELED, RPC_SHUTTING_DOWN},
        {-EIO, RPC_STORE_FAILED},
        {-ENOSPC, RPC_STORE_FAILED},
        {-ETIMEDOUT, RPC_TIMEOUT},
        {-EPERM, RPC_PERMISSION_DENIED},
        {-EACCES, RPC_PERMISSION_DENIED},
        {-EOPNOTSUPP, RPC_NOT_SUPPORTED},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].err == err) {
            rpc_error_set(error, table[i].code, NULL);
            return;
        }
    }
    rpc_error_set(error, RPC_INTERNAL_ERROR, "%s",
                  err == -ENOMEM ? "out of memory" : strerrordesc_np(-err));
}

static int check(const struct method *method, struct request *request)
{
    if (request->params && !json_is_object(request->params))
        return rpc_error_set(&request->error, RPC_INVALID_PARAMS,
                             "parameters are given by name: params must be an object");
    if (method->checks_itself)
        return 0;
    return params_check(request->params, method->params, method->params_count, &request->error);
}

int methods_call(struct request *request, const char *name, json_t **ret_result)
{
    request->error = (struct rpc_error){0};
    request->changed = false;
    const struct method *method = find(name);
    if (!method)
        return refuse_method(name, &request->error);
    int err = check(method, request);
    if (err)
        return err;
    json_t *result = NULL;
    err = method->handle(request, &result);
    request->changed = !err && method->changes; /* I3 */
    if (!err && !result)
        err = -ENOMEM;
    if (err && request->error.code == RPC_OK)
        error_of_errno(err, &request->error);
    if (!err)
        *ret_result = result;
    return err;
}
