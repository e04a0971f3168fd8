/* SPDX-License-Identifier: MIT */
/* The session over a socket pair, with methods of this file's own behind it. */
#include "daemon/session.h"

#include "daemon/engine.h"
#include "daemon/methods.h"
#include "support/test.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/io.h"

enum { BIG = 300000, TURNS = 200 };

/* ---- the other side of methods.h ------------------------------------------------------------- */

static struct world {
    struct weft_stream *client;
    struct weft_stream *server;
    struct session_limits limits;
    struct session_totals totals;
    struct weft_event gate;  /* "block" waits for it */
    struct weft_event ended; /* the session */
    atomic_int arrivals;     /* calls of "block" */
    atomic_int cancelled;    /* of them */
    int turns;               /* calls of "turn"; plain, because each has its turn */
    int result;              /* session_serve()'s */
    char text[1 << 20];      /* what the client read and did not look at yet */
    size_t size;
} world;

static int call_block(struct request *request)
{
    arrive(&world.arrivals);
    int err = weft_event_wait(&world.gate, WEFT_NO_DEADLINE);
    if (err)
        atomic_fetch_add(&world.cancelled, 1);
    return err ? rpc_error_set(&request->error, RPC_SHUTTING_DOWN, NULL) : 0;
}

static json_t *big_text(void)
{
    char *text = malloc(BIG);
    memset(text, 'x', BIG);
    json_t *json = json_stringn(text, BIG);
    free(text);
    return json;
}

/* Its number, read and written across suspensions: two that overlap would get the same. */
static json_t *call_turn(struct request *request)
{
    int mine = world.turns;
    for (int i = 0; i < 3; i++)
        weft_yield();
    world.turns = mine + 1;
    request->turn->done(request->turn->arg);
    weft_yield();
    return json_integer(mine);
}

bool methods_takes_turns(const char *name)
{
    return strcmp(name, "turn") == 0;
}

int methods_call(struct request *request, const char *name, json_t **ret_result)
{
    request->error = (struct rpc_error){0};
    if (strcmp(name, "echo") == 0)
        *ret_result = request->params ? json_deep_copy(request->params) : json_null();
    else if (strcmp(name, "uid") == 0)
        *ret_result = json_integer(request->peer->uid);
    else if (strcmp(name, "big") == 0)
        *ret_result = big_text();
    else if (strcmp(name, "latin1") == 0)
        *ret_result = json_string_nocheck("\xe4");
    else if (strcmp(name, "turn") == 0)
        *ret_result = call_turn(request);
    else if (strcmp(name, "block") == 0 && call_block(request) == 0)
        *ret_result = json_string("through");
    else if (request->error.code == RPC_OK)
        return rpc_error_set(&request->error, RPC_METHOD_NOT_FOUND, NULL);
    return request->error.code == RPC_OK ? 0 : -EINVAL;
}

/* ---- the client ------------------------------------------------------------------------------ */

static int session_main(void *arg)
{
    struct peer peer = {.uid = 4711};
    (void)arg;
    world.result = session_serve(world.server, &peer, &world.limits, &world.totals, NULL);
    weft_event_set(&world.ended);
    weft_stream_free(world.server);
    return 0;
}

static void say(const char *text)
{
    EXPECT_EQ(weft_write(world.client, text, strlen(text), NULL), 0);
}

static void hang_up(void)
{
    weft_stream_free(world.client);
    world.client = NULL;
}

/* The next line, parsed; NULL at the end of the connection. */
static json_t *hear(void)
{
    char *newline;
    while (!(newline = memchr(world.text, '\n', world.size))) {
        ssize_t got =
            weft_read(world.client, world.text + world.size, sizeof world.text - world.size);
        EXPECT(got >= 0);
        if (got == 0)
            return NULL;
        world.size += (size_t)got;
    }
    size_t length = (size_t)(newline - world.text);
    json_t *json = json_loadb(world.text, length, 0, NULL);
    EXPECT(json != NULL);
    world.size -= length + 1;
    memmove(world.text, newline + 1, world.size);
    return json;
}

static void expect_result(json_t *reply, json_int_t id, const char *result)
{
    char *text = json_dumps(json_object_get(reply, "result"), JSON_ENCODE_ANY | JSON_COMPACT);
    EXPECT_EQ(json_integer_value(json_object_get(reply, "id")), id);
    if (!text || strcmp(text, result) != 0) {
        fprintf(stderr, "expected %s, got %s\n", result, text);
        abort();
    }
    free(text);
    json_decref(reply);
}

static void expect_error(json_t *reply, int code)
{
    EXPECT_EQ(json_integer_value(json_object_get(json_object_get(reply, "error"), "code")), code);
    json_decref(reply);
}

static void expect_end(void)
{
    EXPECT(hear() == NULL);
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

/* Run the test's body beside a session. */
static int beside_session(void *arg)
{
    struct weft_stream *ends[2];
    struct weft_group group;
    stream_pair(ends);
    world.client = ends[0];
    world.server = ends[1];
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "session", session_main, NULL), 0);
    ((void (*)(void))arg)();
    weft_stream_free(world.client);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.totals.in_flight), 0);
    return 0;
}

static void with_session(unsigned workers, void (*body)(void))
{
    world.limits.max_in_flight = world.limits.max_in_flight ? world.limits.max_in_flight : 8;
    world.limits.line_max = 1000;
    on_fibers(workers, beside_session, (void *)body);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void one_request(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":1}}\n");
    expect_result(hear(), 1, "{\"a\":1}");
    say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"uid\"}\r\n");
    expect_result(hear(), 2, "4711");
}

Test(session, request_is_answered_with_its_id)
{
    with_session(2, one_request);
    cr_assert_eq(world.result, 0);
    cr_assert_eq(atomic_load(&world.totals.requests), 2);
    cr_assert_eq(atomic_load(&world.totals.errors), 0);
}

static void overtaking(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"block\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}\n");
    expect_result(hear(), 2, "null");
    weft_event_set(&world.gate);
    expect_result(hear(), 1, "\"through\"");
}

Test(session, quick_reply_overtakes_a_slow_one)
{
    with_session(1, overtaking);
}

static void take_turns(void)
{
    char line[100];
    for (int i = 0; i < TURNS; i++) {
        snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"turn\"}\n", i);
        say(line);
    }
    for (int i = 0; i < TURNS; i++) {
        json_t *reply = hear();
        EXPECT_EQ(json_integer_value(json_object_get(reply, "result")),
                  json_integer_value(json_object_get(reply, "id")));
        json_decref(reply);
    }
}

Test(session, requests_that_take_turns_do_so_in_the_order_they_came)
{
    with_session(4, take_turns);
    cr_assert_eq(world.turns, TURNS);
}

static void silent_notification(void)
{
    say("{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"nonsense\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"echo\"}\n");
    expect_result(hear(), 3, "null");
    weft_stream_shutdown_write(world.client);
    expect_end();
}

Test(session, notification_gets_no_reply)
{
    with_session(2, silent_notification);
    cr_assert_eq(atomic_load(&world.totals.requests), 3);
}

static void mixed_batch(void)
{
    say("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"n\":1}},"
        "{\"jsonrpc\":\"2.0\",\"method\":\"echo\"},"
        "7,"
        "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"nonsense\"}]\n");
    json_t *reply = hear();
    EXPECT_EQ(json_array_size(reply), 3);
    expect_result(json_incref(json_array_get(reply, 0)), 1, "{\"n\":1}");
    expect_error(json_incref(json_array_get(reply, 1)), RPC_INVALID_REQUEST);
    expect_error(json_incref(json_array_get(reply, 2)), RPC_METHOD_NOT_FOUND);
    json_decref(reply);
    say("[{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}]\n"
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"echo\"}\n");
    expect_result(hear(), 9, "null");
}

Test(session, batch_is_answered_by_one_line_without_its_notifications)
{
    with_session(2, mixed_batch);
}

static void wide_batch(void)
{
    char text[1000] = "[";
    for (int i = 1; i <= 12; i++)
        sprintf(text + strlen(text), "%s{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"block\"}",
                i > 1 ? "," : "", i);
    strcat(text, "]\n");
    say(text);
    await_arrivals(&world.arrivals, 3);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(atomic_load(&world.arrivals), 3);
    weft_event_set(&world.gate);
    json_t *reply = hear();
    EXPECT_EQ(json_array_size(reply), 12);
    json_decref(reply);
}

Test(session, batch_wider_than_the_bound_is_worked_off_within_it)
{
    world.limits.max_in_flight = 3;
    with_session(1, wide_batch);
}

/* ---- bad input ------------------------------------------------------------------------------ */

static void bad_lines(void)
{
    say("this is not JSON\n");
    expect_error(hear(), RPC_PARSE_ERROR);
    say("[]\n");
    expect_error(hear(), RPC_INVALID_REQUEST);
    say("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"echo\"}\n");
    expect_error(hear(), RPC_INVALID_REQUEST);
    char deep[300];
    memset(deep, '[', 100);
    strcpy(deep + 100, "\n");
    say(deep);
    expect_error(hear(), RPC_TOO_DEEP);
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"latin1\"}\n");
    expect_error(hear(), RPC_INTERNAL_ERROR);
    say("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"echo\"}\n");
    expect_result(hear(), 5, "null");
}

Test(session, bad_lines_get_an_error_and_the_connection_stays_good)
{
    with_session(2, bad_lines);
    cr_assert_eq(atomic_load(&world.totals.errors), 5);
}

static void long_line(void)
{
    char *text = malloc(5002);
    memset(text, 'x', 5000);
    strcpy(text + 5000, "\n");
    say(text);
    expect_error(hear(), RPC_LINE_TOO_LONG);
    say("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"echo\"}\n");
    expect_result(hear(), 5, "null");
    free(text);
}

Test(session, overlong_line_gets_one_error_and_the_rest_of_it_is_dropped)
{
    with_session(2, long_line);
    cr_assert_eq(atomic_load(&world.totals.errors), 1);
}

static void half_a_line(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"block\"}\n{\"jsonrpc\":");
    expect_error(hear(), RPC_TIMEOUT);
    weft_event_set(&world.gate);
    expect_result(hear(), 1, "\"through\"");
    expect_end();
}

Test(session, half_a_line_and_silence_is_an_error_and_a_close)
{
    world.limits.partial_line_timeout = 10 * WEFT_MILLISECOND;
    with_session(1, half_a_line);
    cr_assert_eq(world.result, 0);
}

static void drip(void)
{
    /* Each byte is progress, and still the line is late as a whole. */
    while (weft_write(world.client, "x", 1, NULL) == 0)
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    expect_error(hear(), RPC_TIMEOUT);
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, line_that_drips_in_is_late_too)
{
    world.limits.partial_line_timeout = 30 * WEFT_MILLISECOND;
    with_session(1, drip);
}

static void idle(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"block\"}\n");
    await_arrivals(&world.arrivals, 1);
    EXPECT_EQ(weft_sleep(50 * WEFT_MILLISECOND), 0); /* longer than the limit, but working */
    EXPECT(!weft_event_is_set(&world.ended));
    weft_event_set(&world.gate);
    expect_result(hear(), 1, "\"through\"");
    expect_error(hear(), RPC_TIMEOUT);
    expect_end();
}

Test(session, idle_connection_is_closed_but_not_while_it_waits_for_us)
{
    world.limits.idle_timeout = 10 * WEFT_MILLISECOND;
    with_session(1, idle);
}

/* ---- the ends ------------------------------------------------------------------------------- */

static void no_newline(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"block\"}");
    weft_stream_shutdown_write(world.client);
    expect_result(hear(), 1, "null");
    await_arrivals(&world.arrivals, 1);
    weft_event_set(&world.gate);
    expect_result(hear(), 2, "\"through\"");
    expect_end();
}

Test(session, last_line_without_newline_is_answered_after_a_half_close)
{
    with_session(2, no_newline);
    cr_assert_eq(world.result, 0);
}

static void send_and_leave(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"block\"}\n");
    await_arrivals(&world.arrivals, 1);
    hang_up();
    weft_event_set(&world.gate);
}

Test(session, request_of_a_client_that_left_is_still_done)
{
    with_session(1, send_and_leave);
    cr_assert_eq(atomic_load(&world.cancelled), 0);
}

static void gone_for_good(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"block\"}\n");
    await_arrivals(&world.arrivals, 1);
    hang_up(); /* and the gate stays shut */
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, wait_of_a_client_that_is_gone_is_cancelled)
{
    with_session(1, gone_for_good);
    cr_assert_eq(atomic_load(&world.cancelled), 1);
}

static void broken_pipe(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"block\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"block\"}\n");
    await_arrivals(&world.arrivals, 2);
    say("{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"echo\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"block\"}\n");
    hang_up(); /* the reply to 3 finds nobody */
    await_arrivals(&world.arrivals, 3);
    weft_event_set(&world.gate);
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, broken_pipe_stops_nothing_that_was_sent_before)
{
    with_session(1, broken_pipe);
    cr_assert_eq(atomic_load(&world.arrivals), 3);
    cr_assert_eq(atomic_load(&world.cancelled), 0);
    cr_assert_eq(world.result, 0);
}

static int serve_in_group(void *arg)
{
    struct weft_stream *ends[2];
    struct weft_group group;
    (void)arg;
    stream_pair(ends);
    world.client = ends[0];
    world.server = ends[1];
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "session", session_main, NULL), 0);
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"block\"}\n{\"half");
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    weft_group_join(&group);
    weft_stream_free(world.client);
    return 0;
}

Test(session, cancelled_session_ends_with_all_its_requests)
{
    world.limits = (struct session_limits){.max_in_flight = 4, .line_max = 1000};
    on_fibers(2, serve_in_group, NULL);
    cr_assert_eq(atomic_load(&world.cancelled), 1);
    cr_assert_eq(world.result, -ECANCELED);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static void at_the_bound(void)
{
    for (int i = 1; i <= 20; i++)
        say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"block\"}\n");
    await_arrivals(&world.arrivals, 4);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(atomic_load(&world.arrivals), 4);
    weft_event_set(&world.gate);
    for (int i = 1; i <= 20; i++)
        expect_result(hear(), 1, "\"through\"");
}

Test(session, reading_stops_at_the_bound_and_nothing_is_refused)
{
    world.limits.max_in_flight = 4;
    with_session(1, at_the_bound);
    cr_assert_eq(atomic_load(&world.totals.errors), 0);
}

static void no_reader(void)
{
    int requests = 0;
    /* Replies of 300 kB that nobody reads: writing more requests must come to a halt. */
    struct weft_scope scope;
    weft_scope_enter(&scope, weft_deadline_after(300 * WEFT_MILLISECOND));
    for (;; requests++) {
        static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}      \n";
        if (weft_write(world.client, text, strlen(text), NULL))
            break;
    }
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT(atomic_load(&world.totals.in_flight) <= 4);
    int replies = 0;
    for (; replies < 100; replies++)
        json_decref(hear());
    EXPECT(requests > replies);
    hang_up();
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, client_that_does_not_read_stops_itself)
{
    world.limits.max_in_flight = 4;
    with_session(2, no_reader);
}

static void cut_off(void)
{
    for (int i = 0; i < 4; i++)
        say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n");
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, slow_reader_is_cut_off_after_the_write_timeout)
{
    world.limits.write_timeout = 20 * WEFT_MILLISECOND;
    with_session(2, cut_off);
    cr_assert_eq(world.result, -ECANCELED);
}

static int write_flood(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++)
        say("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"echo\",\"params\":{\"k\":\"v\"}}\n");
    return 0;
}

static void flood(void)
{
    struct weft_group writer;
    weft_group_init(&writer);
    EXPECT_EQ(weft_group_spawn(&writer, "writer", write_flood, NULL), 0);
    for (int i = 0; i < 2000; i++)
        expect_result(hear(), 7, "{\"k\":\"v\"}");
    EXPECT_EQ(weft_group_join(&writer), 0);
}

Test(session, pipelined_requests_are_all_answered_on_many_workers)
{
    world.limits.max_in_flight = 64;
    with_session(3, flood);
    cr_assert_eq(atomic_load(&world.totals.requests), 2000);
}

Test(session, peer_is_who_connected)
{
    int fds[2];
    struct peer peer;
    raw_pair(fds);
    cr_assert_eq(session_peer(fds[0], "", &peer), 0);
    cr_assert_eq(peer.uid, getuid());
    cr_assert_eq(peer.pid, getpid());
    cr_assert(peer.admin, "our own user is");
    cr_assert_eq(session_peer(fds[0], "no-such-group", &peer), 0);
    close(fds[0]);
    close(fds[1]);
    cr_assert_eq(session_peer(fds[0], "", &peer), -EBADF);
}
