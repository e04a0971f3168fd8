/* SPDX-License-Identifier: MIT */
/* methods_job: the requests that change something: submit, submit_many, cancel, retry. */
#include "daemon/engine.h"
#include "daemon/methods_impl.h"
#include "protocol/jsonrpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static json_t *item_json(const struct engine_item *item)
{
    json_t *json = json_object();
    int rc = json_object_set_new_nocheck(json, "id", json_integer((json_int_t)item->id));
    if (rc == 0 && item->existing)
        rc = json_object_set_new(json, "existing", json_true());
    if (rc == 0 && item->memory_only)
        rc = json_object_set_new(json, "durable", json_false());
    if (rc == 0)
        return json;
    json_decref(json);
    return NULL;
}

/* A handler runs inside of weftd: where that is root, for root alone. */
static int check_call(const struct request *request, const struct job_spec *spec,
                      struct rpc_error *error)
{
    if (!spec->call || request->peer->uid == 0 || geteuid() != 0)
        return 0;
    return rpc_error_set(error, RPC_PERMISSION_DENIED,
                         "this weftd runs as root, and so would handler \"%s\": only root may "
                         "call it.  A program (\"argv\") runs as its submitter",
                         spec->call);
}

static int spec_of(const struct request *request, const json_t *params, struct job_spec **ret_spec,
                   struct rpc_error *error)
{
    struct job_spec *spec;
    int err = job_spec_from_json(params, &spec, error);
    if (err)
        return err;
    err = check_call(request, spec, error);
    if (err) {
        job_spec_free(spec);
        return err;
    }
    *ret_spec = spec;
    return 0;
}

int method_job_submit(struct request *request, json_t **ret_result)
{
    struct job_spec *spec;
    int err = spec_of(request, request->params, &spec, &request->error);
    if (err)
        return err;
    struct engine_item item = {.spec = spec, .error = &request->error};
    err = engine_submit(request->context->engine, request->peer, &item, request->turn);
    if (err)
        return err;
    *ret_result = item_json(&item);
    return 0;
}

/* ---- submit_many ---- */

struct submission {
    size_t count;
    bool atomic;
    struct engine_item *items;
    struct rpc_error *errors;
};

static int submission_new(const struct request *request, struct submission *ret_submission)
{
    struct submission submission = {
        .count = json_array_size(params_get(request->params, "jobs")),
        .atomic = params_bool(request->params, "atomic", false),
    };
    submission.items = calloc(submission.count, sizeof *submission.items);
    submission.errors = calloc(submission.count, sizeof *submission.errors);
    if (!submission.items || !submission.errors) {
        free(submission.items);
        free(submission.errors);
        return -ENOMEM;
    }
    *ret_submission = submission;
    return 0;
}

static void submission_parse(struct submission *submission, const struct request *request)
{
    const json_t *jobs = params_get(request->params, "jobs");

    for (size_t i = 0; i < submission->count; i++) {
        struct engine_item *item = &submission->items[i];
        item->error = &submission->errors[i];
        spec_of(request, json_array_get(jobs, i), &item->spec, item->error);
    }
}

/* With atomic, the reply is the error of the first job at fault, saying which one that is. */
static void name_culprit(const struct submission *submission, struct rpc_error *error)
{
    for (size_t i = 0; i < submission->count; i++) {
        const struct rpc_error *found = &submission->errors[i];
        if (found->code == RPC_OK)
            continue;
        char param[32];
        snprintf(param, sizeof param, "jobs[%zu]", i);
        rpc_error_set_param(error, found->code, param, found->nearest[0] ? found->nearest : NULL,
                            "%s: %.300s (atomic: none was accepted)", param, found->message);
        return;
    }
}

static json_t *results_json(const struct submission *submission)
{
    json_t *results = json_array();
    for (size_t i = 0; results && i < submission->count; i++) {
        const struct rpc_error *error = &submission->errors[i];
        json_t *one = error->code == RPC_OK
                          ? item_json(&submission->items[i])
                          : json_pack("{s:o}", "error", jsonrpc_error_json(error));
        if (json_array_append_new(results, one)) {
            json_decref(results);
            return NULL;
        }
    }
    return json_pack("{s:o}", "results", results);
}

int method_job_submit_many(struct request *request, json_t **ret_result)
{
    struct submission submission;
    int err = submission_new(request, &submission);
    if (err)
        return err;
    submission_parse(&submission, request);
    err = engine_submit_many(request->context->engine, request->peer, submission.items,
                             submission.count, submission.atomic, request->turn, &request->error);
    if (!err)
        *ret_result = results_json(&submission);
    else if (submission.atomic && err == -EINVAL)
        name_culprit(&submission, &request->error);
    free(submission.items);
    free(submission.errors);
    return err;
}

/* ---- cancel and retry ---- */

int request_ids(const struct request *request, uint64_t **ret_ids, size_t *ret_count)
{
    const json_t *list = params_get(request->params, "ids");
    size_t count = json_array_size(list);
    uint64_t *ids = malloc((count ? count : 1) * sizeof *ids);
    if (!ids)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        ids[i] = (uint64_t)json_integer_value(json_array_get(list, i));
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

static json_t *state_json(uint64_t id, enum job_state state, const struct rpc_error *error)
{
    if (state == JOB_NONE)
        return json_pack("{s:I, s:o}", "id", (json_int_t)id, "error", jsonrpc_error_json(error));
    return json_pack("{s:I, s:s}", "id", (json_int_t)id, "state", job_state_name(state));
}

static json_t *states_json(const uint64_t *ids, const enum job_state *states,
                           const struct rpc_error *errors, size_t count)
{
    json_t *results = json_array();
    for (size_t i = 0; results && i < count; i++) {
        if (json_array_append_new(results, state_json(ids[i], states[i], &errors[i]))) {
            json_decref(results);
            return NULL;
        }
    }
    return json_pack("{s:o}", "results", results);
}

/* What happens to each of the ids, and what is answered of it. */
typedef int each_fn(struct request *request, const uint64_t *ids, size_t count,
                    enum job_state *states, struct rpc_error *errors);

static int for_each_id(struct request *request, each_fn *each, json_t **ret_result)
{
    uint64_t *ids;
    size_t count;
    int err = request_ids(request, &ids, &count);
    if (err)
        return err;
    enum job_state *states = calloc(count, sizeof *states);
    struct rpc_error *errors = calloc(count, sizeof *errors);
    err = states && errors ? each(request, ids, count, states, errors) : -ENOMEM;
    if (!err)
        *ret_result = states_json(ids, states, errors, count);
    free(ids);
    free(states);
    free(errors);
    return err;
}

static int cancel_each(struct request *request, const uint64_t *ids, size_t count,
                       enum job_state *states, struct rpc_error *errors)
{
    return engine_cancel(request->context->engine, request->peer, ids, count, states, errors);
}

int method_job_cancel(struct request *request, json_t **ret_result)
{
    return for_each_id(request, cancel_each, ret_result);
}

static int retry_each(struct request *request, const uint64_t *ids, size_t count,
                      enum job_state *states, struct rpc_error *errors)
{
    return engine_retry(request->context->engine, request->peer, ids, count, states, errors,
                        &request->error);
}

int method_job_retry(struct request *request, json_t **ret_result)
{
    return for_each_id(request, retry_each, ret_result);
}
