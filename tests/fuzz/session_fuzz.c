/* SPDX-License-Identifier: MIT */
/*
 * JSON-RPC as a connection speaks it: lines in, requests dispatched to the real methods (over
 * engine_model.h), replies and events out.
 *
 * Input: a byte of flags (1 the client is an admin), a byte that seeds the cuts, and what the client
 * sends.  It is sent at once and again in pieces, and both times
 *   S1  the conversation ends, and all that comes back are whole lines of JSON-RPC;
 *   S2  each request that has an id is answered once, each other not at all, and each line that is
 *       none is answered once with the error that is wrong with it, as another way of cutting the
 *       stream into lines foretells; a batch by one line;
 *   S3  a method that there is not is refused as that, and parameters by position as such;
 *   S4  events come after a subscription, and their numbers only grow;
 *   S5  jobs are submitted in the order in which they were sent: at the end the same jobs are there;
 *   S6  what begins like HTTP is left alone;
 *   S7  nothing is left: no request in flight, no subscription, no memory.
 */
#include "daemon/session.h"

#include "engine_model.h"
#include "on_fiber.h"
#include "protocol/jsonrpc.h"
#include "talk.h"

#include <stdio.h>

static struct session_totals totals;
static struct peer peer;

/* What a reply must be, one for each that is due: {"id", "code"}; code 0: any, or none. */
struct expected {
    json_t *replies;
    size_t batches; /* lines that are arrays */
};

/* ---- S2: what is due --------------------------------------------------------------------------- */

static void expect(struct expected *expected, json_t *id, int code)
{
    json_t *due = json_pack("{s:O, s:i}", "id", id ? id : json_null(), "code", code);
    HOLDS(json_array_append_new(expected->replies, due) == 0);
}

static bool is_method(const char *name)
{
    for (size_t i = 0; i < methods_count; i++)
        if (strcmp(methods[i].name, name) == 0)
            return true;
    return false;
}

/* S3 */
static int code_of(const struct jsonrpc_request *request)
{
    if (!is_method(request->method))
        return RPC_METHOD_NOT_FOUND;
    return request->params && !json_is_object(request->params) ? RPC_INVALID_PARAMS : 0;
}

static void expect_message(struct expected *expected, const struct jsonrpc_message *message)
{
    size_t before = json_array_size(expected->replies);
    for (size_t i = 0; i < message->count; i++) {
        struct jsonrpc_request request;
        struct rpc_error error;
        if (jsonrpc_request_at(message, i, &request, &error))
            expect(expected, request.id, error.code);
        else if (request.id)
            expect(expected, request.id, code_of(&request));
    }
    expected->batches += message->is_batch && json_array_size(expected->replies) > before;
}

static void expect_line(struct expected *expected, const char *line, size_t size)
{
    struct jsonrpc_message message;
    struct rpc_error error;
    if (size > 0 && line[size - 1] == '\r')
        size--;
    if (size == 0)
        return;
    if (size > MODEL_LINE_MAX) {
        expect(expected, NULL, RPC_LINE_TOO_LONG);
    } else if (jsonrpc_parse(line, size, &message, &error)) {
        expect(expected, NULL, error.code);
    } else {
        expect_message(expected, &message);
        jsonrpc_message_destroy(&message);
    }
}

static void expect_all(struct expected *expected, const char *text, size_t size)
{
    *expected = (struct expected){.replies = json_array()};
    const char *newline;
    while ((newline = memchr(text, '\n', size))) {
        expect_line(expected, text, (size_t)(newline - text));
        size -= (size_t)(newline - text) + 1;
        text = newline + 1;
    }
    expect_line(expected, text, size);
}

/* ---- what comes ---------------------------------------------------------------------------------- */

static int check_error(const json_t *error)
{
    int code = (int)json_integer_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *name = json_string_value(json_object_get(json_object_get(error, "data"), "name"));
    HOLDS(message && message[0]);
    HOLDS(name && strcmp(name, rpc_code_info(code)->name) == 0);
    HOLDS(code != RPC_INTERNAL_ERROR && code != RPC_OK);
    return code;
}

static void check_reply(const json_t *reply, struct expected *expected)
{
    json_t *error = json_object_get(reply, "error"), *due;
    int code = error ? check_error(error) : 0;
    size_t i;
    HOLDS((error != NULL) != (json_object_get(reply, "result") != NULL));
    json_array_foreach(expected->replies, i, due)
    {
        json_int_t want = json_integer_value(json_object_get(due, "code"));
        if (json_equal(json_object_get(due, "id"), json_object_get(reply, "id")) &&
            (want == 0 ? code != RPC_METHOD_NOT_FOUND : want == code))
            break;
    }
    HOLDS(i < json_array_size(expected->replies));
    json_array_remove(expected->replies, i);
}

/* S4 */
static void check_event(const json_t *event, json_int_t *last)
{
    json_t *params = json_object_get(event, "params");
    json_int_t seq = json_integer_value(json_object_get(params, "seq"));
    json_t *gap = json_object_get(params, "gap");
    HOLDS(strcmp(json_string_value(json_object_get(event, "method")), "event") == 0);
    HOLDS(seq > *last);
    HOLDS(gap != NULL || json_is_string(json_object_get(params, "state")));
    if (gap)
        HOLDS(json_integer_value(json_object_get(gap, "from")) > *last &&
              json_integer_value(json_object_get(gap, "to")) == seq);
    *last = seq;
}

static bool is_subscribed(const json_t *reply)
{
    return json_object_get(json_object_get(reply, "result"), "epoch") != NULL;
}

struct heard {
    json_int_t last;
    bool subscribed;
    size_t batches;
};

static void check_line(const char *line, size_t size, struct expected *expected,
                       struct heard *heard)
{
    size_t i;
    json_t *json = json_loadb(line, size, JSON_ALLOW_NUL, NULL), *reply;
    HOLDS(json != NULL);
    if (json_is_array(json)) {
        HOLDS(json_array_size(json) > 0);
        heard->batches++;
        json_array_foreach(json, i, reply)
        {
            check_reply(reply, expected);
        }
    } else if (json_object_get(json, "method")) {
        HOLDS(heard->subscribed);
        check_event(json, &heard->last);
    } else {
        check_reply(json, expected);
        if (is_subscribed(json)) { /* anew, from where it asks */
            heard->subscribed = true;
            heard->last = 0;
        }
    }
    json_decref(json);
}

static void check_all(const char *text, size_t size, struct expected *expected)
{
    struct heard heard = {0};
    const char *newline;
    while ((newline = memchr(text, '\n', size))) {
        check_line(text, (size_t)(newline - text), expected, &heard);
        size -= (size_t)(newline - text) + 1;
        text = newline + 1;
    }
    HOLDS(size == 0);
    HOLDS(json_array_size(expected->replies) == 0);
    HOLDS(heard.batches == expected->batches);
}

/* ---- the conversation -------------------------------------------------------------------------- */

static int serve(struct weft_stream *stream, void *arg)
{
    (void)arg;
    return session_serve(stream, &peer, &model_limits, &totals, &model_context);
}

static void end_events(void)
{
    events_close(model.events);
}

static void check_talk(const struct talk *talk)
{
    struct expected expected;
    const char *text = (const char *)talk->data;
    if (text[0] >= 'A' && text[0] <= 'Z') { /* S6 */
        HOLDS(talk->served == SESSION_IS_HTTP && talk->reply_size == 0);
        return;
    }
    HOLDS(talk->served == 0 && atomic_load(&totals.in_flight) == 0);
    expect_all(&expected, text, talk->size);
    check_all(talk->reply, talk->reply_size, &expected);
    json_decref(expected.replies);
}

/* Returns the jobs that are there at the end, a line each: S5. */
static char *converse(struct talk *talk)
{
    char *jobs = NULL;
    size_t size;
    memset(&totals, 0, sizeof totals);
    model_begin();
    model_context.runtime = weft_runtime_self();
    talk->serve = serve;
    talk->ended = end_events;
    talk_run(talk);
    check_talk(talk);
    FILE *file = open_memstream(&jobs, &size);
    HOLDS(file != NULL);
    for (size_t i = 0; i < model.count; i++)
        fprintf(file, "%s\n", model.jobs[i]->spec);
    fclose(file);
    model_end();
    free(talk->reply);
    return jobs;
}

static int both(void *arg)
{
    const struct talk *input = arg;
    struct talk at_once = *input, in_pieces = *input;
    at_once.seed = 0;
    char *jobs = converse(&at_once), *jobs_cut = converse(&in_pieces);
    HOLDS(strcmp(jobs, jobs_cut) == 0);
    free(jobs);
    free(jobs_cut);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 8192)
        return 0;
    peer = (struct peer){.uid = 1000, .gid = 1000, .admin = data[0] & 1};
    struct talk talk = {.data = data + 2, .size = size - 2, .seed = data[1] + 1U};
    on_fiber(both, &talk);
    return 0;
}
