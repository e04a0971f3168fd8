/* SPDX-License-Identifier: MIT */
/*
 * methods_events: events.subscribe.  The reply says where the reader stands; what follows it
 * (request_follow_up) are the events, without what the client did not ask for or may not see.
 *
 * I1  A batch is read when the one before is written.  So a client that does not read holds one
 *     batch at most; it falls behind in the ring, and is told of the gap when it reads on.
 * I2  What a client is not shown it cannot tell from what others did: numbers that it does not get.
 *     A gap covers all numbers that are lost, whosever they were.
 */
#include "daemon/engine.h"
#include "daemon/methods_impl.h"
#include "daemon/store.h"
#include "protocol/json_memory.h"
#include "weft/fiber.h"
#include "weft/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct subscription {
    struct events_reader reader;
    bool open; /* the reader is */
    struct peer peer;
    char *queue;   /* only these; NULL: all */
    uint64_t *ids; /* only these, ascending; NULL: all */
    size_t count;
};

/* ---- which events ---------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;
    return one < two ? -1 : one > two;
}

static bool is_wanted(const struct subscription *subscription, const struct event *event)
{
    const struct peer *peer = &subscription->peer;
    if (!peer->admin && peer->uid != event->uid)
        return false;
    if (subscription->queue && strcmp(subscription->queue, event->queue) != 0)
        return false;
    return !subscription->ids || bsearch(&event->id, subscription->ids, subscription->count,
                                         sizeof(event->id), compare_ids);
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static int add(json_t *json, const char *name, json_t *value)
{
    return json_object_set_new(json, name, value);
}

static int add_what(json_t *json, const struct event *event)
{
    int rc = add(json, "seq", json_integer((json_int_t)event->seq));
    rc |= add(json, "time", json_real((double)event->time / 1e9));
    rc |= add(json, "id", json_integer((json_int_t)event->id));
    if (event->name)
        rc |= add(json, "name", json_memory_value(event->name));
    rc |= add(json, "queue", json_string(event->queue));
    if (event->before != JOB_NONE)
        rc |= add(json, "before", json_string(job_state_name(event->before)));
    rc |= add(json, "state", json_string(job_state_name(event->state)));
    rc |= add(json, "cause",
              json_string(event->progress ? "progress" : job_cause_name(event->cause)));
    return rc | add(json, "attempt", json_integer(event->attempt));
}

static int add_details(json_t *json, const struct event *event)
{
    int rc = 0;
    if (event->memory_only)
        rc |= add(json, "durable", json_false());
    if (event->due_at != 0)
        rc |= add(json, "due_at", json_real((double)event->due_at / 1e9));
    if (event->exit_code != JOB_NO_EXIT)
        rc |= add(json, "exit_code", json_integer(event->exit_code));
    if (event->term_signal != JOB_NO_EXIT)
        rc |= add(json, "signal", json_integer(event->term_signal));
    if (event->error)
        rc |= add(json, "error", job_text_to_json(event->error));
    if (event->progress)
        rc |= add(json, "progress", json_memory_value(event->progress));
    return rc;
}

static int append_event(json_t *records, const struct event *event)
{
    json_t *record = json_object();
    int rc = add_what(record, event) | add_details(record, event);
    return rc | json_array_append_new(records, record);
}

/* seq is the last number that is lost: where a client goes on, as with every event. */
static int append_gap(json_t *records, const struct events_batch *batch)
{
    json_int_t from = (json_int_t)batch->gap_from, to = (json_int_t)batch->gap_to;
    return json_array_append_new(
        records, json_pack("{s:I, s:{s:I, s:I}}", "seq", to, "gap", "from", from, "to", to));
}

static int append_batch(const struct subscription *subscription, const struct events_batch *batch,
                        json_t *records)
{
    int rc = batch->gap_to > 0 ? append_gap(records, batch) : 0;
    for (size_t i = 0; rc == 0 && i < batch->count; i++)
        if (is_wanted(subscription, batch->list[i]))
            rc = append_event(records, batch->list[i]);
    return rc == 0 ? 0 : -ENOMEM;
}

/* ---- following ------------------------------------------------------------------------------- */

/* request_follow_up's next */
static int next_records(void *arg, uint64_t deadline_ns, json_t **ret_records)
{
    struct subscription *subscription = arg;
    struct events_batch batch;
    int rc = weft_yield(); /* a long way to catch up is no reason to keep a worker */
    if (rc == 0)
        rc = events_read(&subscription->reader, &batch, deadline_ns);
    if (rc < 0)
        return rc;
    json_t *records = json_array();
    rc = append_batch(subscription, &batch, records);
    events_release(&batch);
    if (rc < 0)
        json_decref(records);
    else
        *ret_records = records;
    return rc;
}

static void subscription_free(void *arg)
{
    struct subscription *subscription = arg;
    if (subscription->open)
        events_leave(&subscription->reader);
    free(subscription->queue);
    free(subscription->ids);
    free(subscription);
}

/* ---- subscribing ----------------------------------------------------------------------------- */

static int take_filters(const struct request *request, struct subscription *subscription)
{
    const char *queue = params_string(request->params, "queue", NULL);
    int rc = 0;
    if (queue && !(subscription->queue = strdup(queue)))
        return -ENOMEM;
    if (params_has(request->params, "ids"))
        rc = request_ids(request, &subscription->ids, &subscription->count);
    if (rc == 0 && subscription->ids)
        qsort(subscription->ids, subscription->count, sizeof(uint64_t), compare_ids);
    return rc;
}

/* A number of another life of weftd says nothing in this one, but that all of it is new. */
static uint64_t since_of(const struct request *request, uint64_t epoch)
{
    if (!params_has(request->params, "since"))
        return EVENTS_FROM_NOW;
    if ((uint64_t)params_int(request->params, "epoch", (int64_t)epoch) != epoch)
        return 0;
    return (uint64_t)params_int(request->params, "since", 0);
}

static int begin(struct request *request, struct subscription *subscription, json_t **ret_result)
{
    struct store_life life;
    uint64_t last;
    int rc = take_filters(request, subscription);
    if (rc < 0)
        return rc;
    store_life(request->context->store, &life);
    rc = engine_subscribe(request->context->engine, subscription->queue,
                          since_of(request, life.starts), &subscription->reader, &last,
                          &request->error);
    if (rc < 0)
        return rc;
    subscription->open = true;
    *ret_result =
        json_pack("{s:I, s:I}", "epoch", (json_int_t)life.starts, "last", (json_int_t)last);
    return *ret_result ? 0 : -ENOMEM;
}

int method_events_subscribe(struct request *request, json_t **ret_result)
{
    if (!request->follow_up)
        return rpc_error_set(&request->error, RPC_INVALID_REQUEST,
                             "events.subscribe cannot be part of a batch, nor of a request of "
                             "HTTP: send it alone on a line, or GET /v1/events");
    struct subscription *subscription = calloc(1, sizeof(*subscription));
    if (!subscription)
        return -ENOMEM;
    subscription->peer = *request->peer;
    int rc = begin(request, subscription, ret_result);
    if (rc < 0) {
        subscription_free(subscription);
        return rc;
    }
    *request->follow_up = (struct request_follow_up){
        .next = next_records, .name = "event", .free = subscription_free, .arg = subscription};
    return 0;
}
