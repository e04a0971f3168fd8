/* SPDX-License-Identifier: MIT */
/*
 * http_events: events.subscribe as Server-Sent Events.
 *
 *   id: 3-811                       the epoch, and the number behind which a client may go on
 *   event: subscribed               first; then events without a name, and gaps as "gap"
 *   data: {"epoch":3,"last":811}
 *
 * The next records are asked for when the client has taken those before, so one that does not read
 * costs a batch of memory, falls behind in the ring, and is told of the gap.
 *
 * I1  The id of all that is sent, keep-alives too, is a place to go on from: whoever comes back with
 *     it as Last-Event-ID is told of each event once, or of its loss.  So it has the epoch in it:
 *     numbers begin anew with each start of weftd, and the client comes back by itself.
 * I2  Nothing is sent for keep_alive: then a comment is, so that proxies keep the connection, and
 *     the end of a client is seen.
 */
#include "daemon/http_impl.h"
#include "daemon/methods.h"
#include "daemon/session.h"
#include "protocol/json_memory.h"
#include "weft/fiber.h"
#include "weft/time.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 64

/* ---- writing --------------------------------------------------------------------------------- */

/* Takes data over; NULL: a comment.  Errors: -ENOMEM. */
static int append(struct http_request *request, const char *event, json_t *data)
{
    struct http_source *source = &request->source;
    char head[ID_MAX + 64];
    int size = snprintf(head, sizeof(head), "%sid: %" PRIu64 "-%" PRIu64 "\n%s%s%s%s",
                        data ? "" : ":\n", source->epoch, source->offset, event ? "event: " : "",
                        event ? event : "", event ? "\n" : "", data ? "data: " : "");
    char *text = data ? json_memory_dumps(data, JSON_COMPACT) : NULL;
    int err = data && !text ? -ENOMEM : jsonrpc_text_append(&request->text, head, (size_t)size);
    if (!err && text)
        err = jsonrpc_text_append(&request->text, text, strlen(text));
    if (!err)
        err = jsonrpc_text_append(&request->text, "\n\n", text ? 2 : 1);
    json_decref(data);
    free(text);
    return err;
}

static int append_records(struct http_request *request, const json_t *records)
{
    size_t i;
    json_t *record;
    int err = 0;
    json_array_foreach(records, i, record)
    {
        request->source.offset = (uint64_t)json_integer_value(json_object_get(record, "seq"));
        if (!err)
            err =
                append(request, json_object_get(record, "gap") ? "gap" : NULL, json_incref(record));
    }
    return err;
}

/* http_source.next */
static int next_piece(struct http_request *request)
{
    const struct request_follow_up *follow_up = &request->source.follow_up;
    uint64_t deadline = weft_deadline_after(http_limits(request)->keep_alive);
    while (request->text.size == 0) {
        json_t *records;
        int err = follow_up->next(follow_up->arg, deadline, &records);
        if (err == -ETIMEDOUT && !weft_check_cancel())
            return append(request, NULL, NULL); /* I2 */
        if (err)
            return err == -EPIPE ? 0 : err;
        err = append_records(request, records);
        json_decref(records);
        if (err)
            return err;
        if (weft_now_ns() >= deadline && request->text.size == 0)
            return append(request, NULL, NULL);
    }
    return 0;
}

/* ---- the request ----------------------------------------------------------------------------- */

static int refuse_id(const char *text, struct rpc_error *error)
{
    return rpc_error_set(error, RPC_INVALID_PARAMS,
                         "Last-Event-ID is the id of an event, such as 3-811, not '%.40s'", text);
}

/* Digits and nothing else, up to what JSON's integers may be here.  Returns what follows, or NULL.
 * Noinline: errno's address must not be kept over a suspension. */
__attribute__((noinline)) static const char *read_number(const char *text, json_int_t *ret_number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return NULL;
    errno = 0;
    *ret_number = strtoll(text, &end, 10);
    return errno ? NULL : end;
}

/* "3-811", or "811": it goes before the query, because a client that comes back by itself asks for
 * the same path again. */
static int take_last_id(const char *text, json_t *params, struct rpc_error *error)
{
    json_int_t first, second;
    const char *rest = read_number(text, &first);
    bool both = rest && *rest == '-';
    if (both)
        rest = read_number(rest + 1, &second);
    if (!rest || *rest)
        return refuse_id(text, error);
    json_object_del(params, "epoch");
    int err = both ? json_object_set_new(params, "epoch", json_integer(first)) : 0;
    if (!err)
        err = json_object_set_new(params, "since", json_integer(both ? second : first));
    return err ? http_refuse_memory(error) : 0;
}

static json_t *read_request(struct http_request *request, struct rpc_error *error)
{
    json_t *params = http_query_params(request);
    if (!params) {
        http_refuse_memory(error);
        return NULL;
    }
    if (!request->last_id || take_last_id(request->last_id, params, error) == 0)
        return params;
    json_decref(params);
    return NULL;
}

/* Where the client stands before the first event: at the newest, or where it wanted to go on; with
 * the number of another life, before the first of this one. */
static uint64_t place_of(const json_t *params, const json_t *result)
{
    const json_t *since = json_object_get(params, "since");
    const json_t *epoch = json_object_get(params, "epoch");
    if (!since)
        return (uint64_t)json_integer_value(json_object_get(result, "last"));
    if (epoch && !json_equal(epoch, json_object_get(result, "epoch")))
        return 0;
    return (uint64_t)json_integer_value(since);
}

static void begin(struct http_request *request, const json_t *params, json_t *result)
{
    struct http_source *source = &request->source;
    source->epoch = (uint64_t)json_integer_value(json_object_get(result, "epoch"));
    source->offset = place_of(params, result);
    if (append(request, "subscribed", result) < 0)
        return; /* 500: out of memory */
    source->next = next_piece;
    request->status = 200;
    request->type = "text/event-stream";
}

void http_events(struct http_request *request)
{
    struct rpc_error error = {0};
    json_t *result, *params = read_request(request, &error);
    if (!params) {
        http_reply_error(request, &error);
        return;
    }
    json_incref(params);
    if (http_call_following(request, "events.subscribe", params, &request->source.follow_up,
                            &result) == 0)
        begin(request, params, result);
    json_decref(params);
}
