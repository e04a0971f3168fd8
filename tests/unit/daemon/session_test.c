/* SPDX-License-Identifier: MIT */
/* The session over a socket pair: requests, bad input, ends and bounds. */
#include "session_support.h"

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

static void change(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"change\"}\n");
    expect_result(hear(), 1, "null");
    say("{\"jsonrpc\":\"2.0\",\"method\":\"change_and_lack_memory\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}\n");
    expect_result(hear(), 2, "null"); /* of the other nothing is to be told */
    say("{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"change_and_lack_memory\"}\n");
    expect_end();
}

Test(session, ends_where_a_change_cannot_be_told)
{
    with_session(1, change);
    cr_assert_eq(atomic_load(&world.totals.errors), 0);
}

static void change_in_a_batch(void)
{
    say("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"},"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"change_and_lack_memory\"}]\n");
    expect_end();
}

Test(session, ends_where_a_change_of_a_batch_cannot_be_told)
{
    with_session(1, change_in_a_batch);
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
    world.first =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"block\"}\n"; /* it is never too late */
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

/* Returns whether it could be written within a while: all of it or nothing. */
static bool ask_for_much(void)
{
    static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}      \n";
    struct weft_scope scope;
    weft_scope_enter(&scope, weft_deadline_after(300 * WEFT_MILLISECOND));
    int err = weft_write(world.client, text, strlen(text), NULL);
    weft_scope_leave(&scope);
    EXPECT(err == 0 || err == -ETIMEDOUT);
    return err == 0;
}

static void no_reader(void)
{
    enum { REPLIES = TEST_COUNT(100, 10) };
    int requests = 0;
    uint64_t end_ns = soon();
    /* Replies of 300 kB that nobody reads: writing more requests must come to a halt. */
    for (bool written = true; written || requests <= REPLIES; requests += written) {
        written = ask_for_much();
        EXPECT(weft_now_ns() < end_ns);
    }
    EXPECT(atomic_load(&world.totals.in_flight) <= 4);
    for (int replies = 0; replies < REPLIES; replies++)
        json_decref(hear());
    hang_up();
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, client_that_does_not_read_stops_itself)
{
    world.limits.max_in_flight = 4;
    with_session(2, no_reader);
}

#define BIG_ONE "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n"

static void cut_off(void)
{
    say(BIG_ONE BIG_ONE BIG_ONE BIG_ONE); /* at once: it may be cut off after the first */
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
