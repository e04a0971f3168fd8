/* SPDX-License-Identifier: MIT */
/*
 * methods_queue: queue.list, queue.pause, queue.drain, queue.resume, queue.set, queue.purge.
 *
 * I1  What a change answers has the form of queue.list, of the queues that were changed.
 */
#include "daemon/engine.h"
#include "daemon/methods_impl.h"

#include <errno.h>
#include <stdlib.h>

#define CHANGE       "change queues"
#define ALL_SETTINGS UINT32_MAX /* of queue_settings.h */

/* ---- answers --------------------------------------------------------------------------------- */

static int add_states(json_t *object, const struct engine_queue *queue)
{
    int rc = 0;
    for (int state = JOB_NONE + 1; state < JOB_STATE_COUNT; state++)
        if (!job_state_is_end((enum job_state)state))
            rc |= json_object_set_new(object, job_state_name((enum job_state)state),
                                      json_integer((json_int_t)queue->states[state]));
    return rc;
}

static int add_settings(json_t *object, const struct engine_queue *queue)
{
    json_t *set = json_object();
    int rc = set ? queue_settings_to_json(&queue->now, queue->given, set) : -ENOMEM;
    rc |= queue_settings_to_json(&queue->now, ALL_SETTINGS, object);
    rc |= json_object_set_new(object, "set", set);
    if (queue->next_start_at)
        rc |= json_object_set_new(object, "next_start_at",
                                  json_real((double)queue->next_start_at / 1e9));
    return rc;
}

static int add_frozen(json_t *object, const struct engine_queue *queue)
{
    int rc = json_object_set_new(object, "frozen", json_boolean(queue->frozen));
    if (!queue->frozen)
        return rc;
    rc |= json_object_set_new(object, "frozen_jobs", json_integer(queue->frozen_jobs));
    return rc |
           json_object_set_new(object, "not_frozen_jobs", json_integer(queue->not_frozen_jobs));
}

/* NULL: out of memory. */
static json_t *queue_json(const struct engine_queue *queue)
{
    json_t *object = json_pack("{s:s, s:b, s:I}", "name", queue->name, "configured",
                               (int)queue->configured, "slots_taken", (json_int_t)queue->running);
    if (object && add_states(object, queue) == 0 && add_settings(object, queue) == 0 &&
        add_frozen(object, queue) == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* Takes over queues, of which something may be changed by now: out of memory is no result, and no
 * error. */
static int answer(struct engine_queue *queues, size_t count, json_t **ret_result)
{
    json_t *list = json_array();
    int rc = list ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = json_array_append_new(list, queue_json(&queues[i]));
    free(queues);
    if (rc != 0) {
        json_decref(list);
        return 0;
    }
    *ret_result = json_pack("{s:o}", "queues", list);
    return 0;
}

int method_queue_list(struct request *request, json_t **ret_result)
{
    struct engine_queue *queues;
    size_t count;
    int err = engine_queue_list(request->context->engine, &queues, &count, &request->error);
    return err ? err : answer(queues, count, ret_result);
}

/* ---- changes --------------------------------------------------------------------------------- */

/* name NULL: all. */
static int change(struct request *request, const char *name, const struct queue_change *change,
                  json_t **ret_result)
{
    struct engine_queue *queues;
    size_t count;
    int err = engine_queue_change(request->context->engine, request->peer, name, change, &queues,
                                  &count, &request->error);
    return err ? err : answer(queues, count, ret_result);
}

/* *ret_name NULL: all. */
static int which(struct request *request, const char **ret_name)
{
    bool all = params_bool(request->params, "all", false);
    const char *name = params_string(request->params, "queue", NULL);
    int err = request_needs_admin(request, CHANGE);
    if (err)
        return err;
    if (all && name)
        return rpc_error_set_param(&request->error, RPC_INVALID_PARAMS, "all", NULL,
                                   "either one queue or all of them, not both");
    *ret_name = all ? NULL : name ? name : "default";
    return 0;
}

static int change_which(struct request *request, const struct queue_change *wish,
                        json_t **ret_result)
{
    const char *name = NULL;
    int err = which(request, &name);
    return err ? err : change(request, name, wish, ret_result);
}

/* What runs in queues that are paused by now. */
static int freeze_which(struct request *request, json_t **ret_result)
{
    struct engine_queue *queues;
    size_t count;
    const char *name = NULL;
    bool frozen = params_bool(request->params, "freeze", false);
    int err = which(request, &name);
    if (!err)
        err = engine_queue_freeze(request->context->engine, request->peer, name, frozen, &queues,
                                  &count, &request->error);
    return err ? err : answer(queues, count, ret_result);
}

int method_queue_pause(struct request *request, json_t **ret_result)
{
    const struct queue_change pause = {.given = QUEUE_PAUSED, .values.paused = true};
    int err = change_which(request, &pause, ret_result);
    if (err || !params_has(request->params, "freeze"))
        return err;
    json_decref(*ret_result);
    *ret_result = NULL;
    return freeze_which(request, ret_result);
}

int method_queue_drain(struct request *request, json_t **ret_result)
{
    const struct queue_change drain = {.given = QUEUE_DRAINED, .values.drained = true};
    return change_which(request, &drain, ret_result);
}

int method_queue_resume(struct request *request, json_t **ret_result)
{
    const struct queue_change open = {.given = QUEUE_PAUSED | QUEUE_DRAINED};
    return change_which(request, &open, ret_result);
}

int method_queue_set(struct request *request, json_t **ret_result)
{
    const char *name;
    struct queue_change wish;
    int err = request_needs_admin(request, CHANGE);
    if (!err)
        err = queue_change_from_json(request->params, &name, &wish, &request->error);
    if (err)
        return err;
    if (!wish.given && !wish.reset)
        return rpc_error_set(
            &request->error, RPC_INVALID_PARAMS,
            "nothing to set: name concurrency, concurrency_user, rate, max_waiting, "
            "paused or drained");
    return change(request, name, &wish, ret_result);
}

/* ---- purge ----------------------------------------------------------------------------------- */

static uint32_t state_bit(const json_t *name)
{
    enum job_state state = JOB_NONE;
    (void)job_state_from_name(json_string_value(name), &state); /* the table has checked it */
    return 1u << state;
}

static uint32_t wanted_states(const json_t *params)
{
    uint32_t states = 0;
    size_t i;
    json_t *name;
    const json_t *wanted = params_get(params, "state");
    if (!wanted)
        return 1u << JOB_WAITING | 1u << JOB_DELAYED | 1u << JOB_QUEUED;
    if (json_is_string(wanted))
        return state_bit(wanted);
    json_array_foreach(wanted, i, name) states |= state_bit(name);
    return states;
}

int method_queue_purge(struct request *request, json_t **ret_result)
{
    uint64_t count;
    const char *name = params_string(request->params, "queue", "default");
    int err = request_needs_admin(request, CHANGE);
    if (!err)
        err = engine_queue_purge(request->context->engine, request->peer, name,
                                 wanted_states(request->params), &count, &request->error);
    if (!err)
        *ret_result = json_pack("{s:s, s:I}", "queue", name, "cancelled", (json_int_t)count);
    return err;
}
