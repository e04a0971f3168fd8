/* SPDX-License-Identifier: MIT */
/* HTTP over a socket pair, with methods of this file's own behind it: what a client on the other side
 * of a whole weftd cannot bring about at will.  The rest is in tests/integration/http_wire_test.py. */
#include "daemon/http.h"

#include "daemon/http_access.h"
#include "daemon/methods.h"
#include "daemon/session.h"
#include "support/test.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/io.h"

static struct world {
    struct weft_stream *client;
    struct weft_stream *server;
    struct session_limits limits;
    const struct http_access *access;
    struct session_totals totals;
    struct weft_scope scope; /* the server's; entered while it serves */
    struct weft_event gate;  /* "block" waits for it */
    struct weft_event ended; /* http_serve() */
    atomic_int arrivals;     /* calls of "block" */
    atomic_int cancelled;    /* of them */
    int result;              /* http_serve()'s */
    struct weft_event news;  /* a record is there for who follows */
    bool no_more;            /* ... and it was the last */
    int follows;             /* follow-ups that are not freed */
    char params[256];        /* of the last events.subscribe */
    char text[65536];        /* what the client read */
    size_t size;
} world;

/* ---- the other side of methods.h ------------------------------------------------------------- */

bool methods_takes_turns(const char *name)
{
    (void)name;
    return false;
}

static int follow_next(void *arg, uint64_t deadline_ns, json_t **ret_records)
{
    (void)arg;
    int err = weft_event_wait(&world.news, deadline_ns);
    if (err)
        return err;
    if (world.no_more)
        return -EPIPE;
    weft_event_clear(&world.news);
    *ret_records = json_pack("[{s:i, s:{s:i, s:i}}, {s:i, s:s}]", "seq", 7, "gap", "from", 6, "to",
                             7, "seq", 8, "state", "queued");
    return 0;
}

static void follow_free(void *arg)
{
    (void)arg;
    world.follows--;
}

static json_t *call_subscribe(struct request *request)
{
    char *params = json_dumps(request->params, JSON_COMPACT | JSON_SORT_KEYS);
    strcpy(world.params, params);
    free(params);
    world.follows++;
    *request->follow_up = (struct request_follow_up){follow_next, "event", follow_free, NULL};
    return json_pack("{s:i, s:i}", "epoch", 3, "last", 5);
}

int methods_call(struct request *request, const char *name, json_t **ret_result)
{
    request->error = (struct rpc_error){0};
    if (strcmp(name, "block") == 0) {
        arrive(&world.arrivals);
        if (weft_event_wait(&world.gate, WEFT_NO_DEADLINE)) {
            atomic_fetch_add(&world.cancelled, 1);
            return rpc_error_set(&request->error, RPC_SHUTTING_DOWN, NULL);
        }
    }
    if (strcmp(name, "events.subscribe") == 0) {
        *ret_result = call_subscribe(request);
        return 0;
    }
    *ret_result = strcmp(name, "latin1") == 0 ? json_string_nocheck("\xe4") : json_string(name);
    return 0;
}

/* ---- the client ------------------------------------------------------------------------------ */

static int serve_main(void *arg)
{
    struct peer peer = {.uid = 4711};
    (void)arg;
    weft_scope_enter(&world.scope, WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_stream_wait_readable(world.server, soon()), 0); /* as the session has seen */
    const struct http_client client = {.stream = world.server,
                                       .peer = &peer,
                                       .access = world.access,
                                       .limits = &world.limits,
                                       .totals = &world.totals};
    world.result = http_serve(&client);
    weft_event_set(&world.ended);
    weft_scope_leave(&world.scope);
    weft_stream_free(world.server);
    return 0;
}

static void say(const char *text)
{
    EXPECT_EQ(weft_write(world.client, text, strlen(text), NULL), 0);
}

/* One request or batch. */
static void ask(const char *body)
{
    char text[4096];
    snprintf(text, sizeof text, "POST /v1/rpc HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    say(text);
}

#define CALL(id, method) "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"" method "\"}"

static void hang_up(void)
{
    weft_stream_free(world.client);
    world.client = NULL;
}

/* Read until the text holds `words`, and take it up to their end. */
static void hear(const char *words)
{
    char *found;
    world.text[world.size] = '\0';
    while (!(found = strstr(world.text, words))) {
        ssize_t got =
            weft_read(world.client, world.text + world.size, sizeof world.text - world.size - 1);
        if (got <= 0) {
            fprintf(stderr, "expected %s, got %s and then %zd\n", words, world.text, got);
            abort();
        }
        world.size += (size_t)got;
        world.text[world.size] = '\0';
    }
    size_t taken = (size_t)(found - world.text) + strlen(words);
    world.size -= taken;
    memmove(world.text, world.text + taken, world.size + 1);
}

static void expect_end(void)
{
    char byte;
    EXPECT_EQ(world.size, 0);
    EXPECT_EQ(weft_read(world.client, &byte, 1), 0);
    hang_up(); /* it lingers for us */
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

static int beside_server(void *arg)
{
    struct weft_stream *ends[2];
    struct weft_group group;
    stream_pair(ends);
    world.client = ends[0];
    world.server = ends[1];
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "server", serve_main, NULL), 0);
    ((void (*)(void))arg)();
    weft_stream_free(world.client);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.totals.in_flight), 0);
    return 0;
}

static void with_server(unsigned workers, void (*body)(void))
{
    world.limits.max_in_flight = 8;
    world.limits.line_max = 1000;
    on_fibers(workers, beside_server, (void *)body);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void batch(void)
{
    ask("[" CALL(1, "block") "," CALL(2, "b") "," CALL(3, "block") "]");
    await_arrivals(&world.arrivals, 2); /* both at once, and the second is not kept waiting */
    weft_event_set(&world.gate);
    hear("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":\"block\"}]\n");
}

Test(http, requests_of_a_batch_run_at_the_same_time)
{
    with_server(2, batch);
    cr_assert_eq(world.result, 0);
}

static void latin1(void)
{
    ask(CALL(1, "latin1"));
    hear("HTTP/1.1 200 OK");
    hear("\"code\":-32603");
    hear("\n");
}

Test(http, result_that_is_not_utf8_becomes_an_error)
{
    with_server(1, latin1);
}

/* ---- events ---------------------------------------------------------------------------------- */

#define SUBSCRIBED "event: subscribed\ndata: {\"epoch\":3,\"last\":5}\n\n"

static void follow(void)
{
    say("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
    hear("Content-Type: text/event-stream\r\n");
    hear("id: 3-5\n" SUBSCRIBED); /* at once, whatever comes later */
    weft_event_set(&world.news);
    hear("id: 3-7\nevent: gap\ndata: {\"seq\":7,\"gap\":{\"from\":6,\"to\":7}}\n\n"
         "id: 3-8\ndata: {\"seq\":8,\"state\":\"queued\"}\n\n");
    hear("\r\n:\nid: 3-8\n\n\r\n"); /* silence has a comment, and a place to go on from */
    hear(":\nid: 3-8\n\n");
    world.no_more = true;
    weft_event_set(&world.news);
    hear("0\r\n\r\n");
    ask(CALL(1, "next"));
    hear("\"result\":\"next\"}\n");
}

Test(http, events_are_sent_as_they_come_until_there_are_no_more)
{
    world.limits.keep_alive = 5 * WEFT_MILLISECOND;
    with_server(1, follow);
    cr_assert_str_eq(world.params, "{}");
    cr_assert_eq(world.follows, 0);
}

static void come_back(void)
{
    say("GET /v1/events?since=1&epoch=1&ids=4,2&queue=q HTTP/1.1\r\nHost: x\r\n\r\n");
    hear("id: 3-0\n" SUBSCRIBED); /* of another life: all of this one */
    EXPECT(strcmp(world.params, "{\"epoch\":1,\"ids\":[4,2],\"queue\":\"q\",\"since\":1}") == 0);
    world.no_more = true;
    weft_event_set(&world.news);
    say("GET /v1/events?since=1&epoch=1 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 3-4\r\n\r\n");
    hear("id: 3-4\n" SUBSCRIBED);
    EXPECT(strcmp(world.params, "{\"epoch\":3,\"since\":4}") == 0);
    say("GET /v1/events?ids=9 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 2\r\n\r\n");
    hear("id: 3-2\n" SUBSCRIBED);
    EXPECT(strcmp(world.params, "{\"ids\":[9],\"since\":2}") == 0);
}

Test(http, last_event_id_says_where_to_go_on)
{
    world.limits.keep_alive = WEFT_SECOND;
    with_server(1, come_back);
    cr_assert_eq(world.follows, 0);
}

static void bad_ids(void)
{
    static const char *const ids[] = {
        "x", "3-", "-4", "3-4-5", "3-x", "+3", "99999999999999999999"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: %s\r\n\r\n", ids[i]);
        say(text);
        hear("HTTP/1.1 400 ");
        hear("invalid_params");
    }
}

Test(http, last_event_id_that_is_none_is_refused)
{
    with_server(1, bad_ids);
    cr_assert_eq(world.follows, 0);
}

static void leave_events(void)
{
    say("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(SUBSCRIBED);
    hang_up();
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(http, follower_that_leaves_is_noticed)
{
    world.limits.keep_alive = 5 * WEFT_MILLISECOND;
    with_server(1, leave_events);
    cr_assert_eq(world.follows, 0);
}

/* ---- the ends -------------------------------------------------------------------------------- */

static void idle(void)
{
    ask(CALL(1, "block"));
    await_arrivals(&world.arrivals, 1);
    weft_sleep(3 * world.limits.idle_timeout); /* it is we who wait, not the client */
    weft_event_set(&world.gate);
    hear("\"result\":\"block\"}\n");
    expect_end();
}

Test(http, idle_connection_is_closed_but_not_while_it_waits_for_us)
{
    world.limits.idle_timeout = 10 * WEFT_MILLISECOND;
    world.limits.partial_line_timeout = 10 * WEFT_MILLISECOND;
    with_server(1, idle);
    cr_assert_eq(world.result, 0);
}

static void send_and_leave(void)
{
    ask(CALL(1, "block"));
    await_arrivals(&world.arrivals, 1);
    hang_up();
    weft_event_set(&world.gate);
}

Test(http, request_of_a_client_that_left_is_still_done)
{
    with_server(1, send_and_leave);
    cr_assert_eq(atomic_load(&world.cancelled), 0);
}

static void gone_for_good(void)
{
    ask("[" CALL(1, "block") "," CALL(2, "block") "]");
    await_arrivals(&world.arrivals, 2);
    hang_up(); /* and the gate stays shut */
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(http, wait_of_a_client_that_is_gone_is_cancelled)
{
    with_server(1, gone_for_good);
    cr_assert_eq(atomic_load(&world.cancelled), 2);
}

static void cancelled(void)
{
    ask(CALL(1, "block"));
    await_arrivals(&world.arrivals, 1);
    weft_scope_cancel(&world.scope);
    hear("\"name\":\"shutting_down\"}}}\n");
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(http, cancelled_connection_says_so_and_ends)
{
    with_server(2, cancelled);
    cr_assert_eq(world.result, -ECANCELED);
    cr_assert_eq(atomic_load(&world.cancelled), 1);
}

/* ---- many, on many workers ------------------------------------------------------------------- */

static void many(void)
{
    for (int i = 0; i < 200; i++) {
        ask(i % 2 ? CALL(7, "a") : "[" CALL(7, "a") "," CALL(8, "b") "," CALL(9, "c") "]");
        hear(i % 2 ? "\"id\":7,\"result\":\"a\"}\n" : "\"id\":9,\"result\":\"c\"}]\n");
    }
}

Test(http, connection_moves_between_workers_from_request_to_request)
{
    with_server(4, many);
    cr_assert_eq(world.result, 0);
    cr_assert_eq(atomic_load(&world.totals.requests), 400);
}
