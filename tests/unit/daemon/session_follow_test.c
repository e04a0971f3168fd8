/* SPDX-License-Identifier: MIT */
/* session: what goes on after a reply. */
#include "session_support.h"

#define FOLLOW "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"follow\"}\n"
#define POUR   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pour\"}\n"

static void expect_news(void)
{
    json_t *news = hear();
    json_t *params = json_object_get(news, "params");
    EXPECT(strcmp(json_string_value(json_object_get(news, "method")), "news") == 0);
    EXPECT_EQ(json_integer_value(json_object_get(params, "news")), 1);
    json_decref(news);
}

static void follow_beside_requests(void)
{
    weft_event_set(&world.stir); /* there is something to tell at once, and the reply comes first */
    say(FOLLOW);
    expect_result(hear(), 1, "\"following\"");
    expect_news();
    for (int i = 0; i < 10; i++) { /* more than max_in_flight: it takes no place of it */
        say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}\n");
        expect_result(hear(), 2, "null");
        weft_event_set(&world.stir);
        expect_news();
    }
}

Test(session, follow_up_goes_on_after_the_reply_and_takes_no_slot)
{
    world.limits.max_in_flight = 1;
    with_session(1, follow_beside_requests);
    cr_assert_eq(world.follow_err, -ECANCELED);
    cr_assert_eq(atomic_load(&world.follows), 1);
}

static void second_follow_up(void)
{
    say(FOLLOW);
    expect_result(hear(), 1, "\"following\"");
    say(FOLLOW);
    expect_error(hear(), RPC_CONFLICT);
    weft_event_clear(&world.over); /* the refused one is freed */
    say("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"follow\"}]\n");
    json_t *reply = hear();
    expect_error(json_incref(json_array_get(reply, 0)), RPC_INVALID_REQUEST);
    json_decref(reply);
    world.follow_result = true;
    weft_event_set(&world.stir);
    EXPECT_EQ(weft_event_wait(&world.over, soon()), 0);
    world.follow_result = false;
    say(FOLLOW);
    expect_result(hear(), 1, "\"following\"");
}

Test(session, has_one_follow_up_at_a_time)
{
    with_session(1, second_follow_up);
    cr_assert_eq(atomic_load(&world.follows), 2);
}

static void half_close_and_follow(void)
{
    say(FOLLOW);
    expect_result(hear(), 1, "\"following\"");
    EXPECT_EQ(weft_stream_shutdown_write(world.client), 0);
    for (int i = 0; i < 3; i++) {
        weft_event_set(&world.stir);
        expect_news();
    }
    world.follow_result = true;
    weft_event_set(&world.stir);
    expect_end();
}

Test(session, follow_up_of_a_half_closed_connection_goes_on_to_its_end)
{
    with_session(1, half_close_and_follow);
    cr_assert_eq(world.result, 0);
    cr_assert_eq(world.follow_err, -EPIPE);
}

static void leave_a_follow_up(void)
{
    say(FOLLOW "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"block\"}\n");
    expect_result(hear(), 1, "\"following\"");
    await_arrivals(&world.follows, 1);
    await_arrivals(&world.arrivals, 1);
    hang_up();
    EXPECT_EQ(weft_event_wait(&world.over, soon()), 0);
    EXPECT_EQ(atomic_load(&world.cancelled), 0); /* what was asked for before is carried out */
    weft_event_set(&world.gate);
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, follow_up_ends_when_its_client_leaves_and_requests_go_on)
{
    with_session(1, leave_a_follow_up);
    cr_assert_eq(world.follow_err, -ECANCELED);
    cr_assert_eq(atomic_load(&world.cancelled), 0);
}

static void pour_out(void)
{
    say(POUR);
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, client_that_takes_nothing_of_a_follow_up_is_cut_off)
{
    world.limits.write_timeout = 20 * WEFT_MILLISECOND;
    with_session(2, pour_out);
    cr_assert_eq(world.result, -ECANCELED);
}

static void pour_and_ask(void)
{
    say(POUR);
    for (int i = 0; i < 20; i++)
        say("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"echo\"}\n");
    for (int replies = 0; replies < 21;) {
        json_t *json = hear();
        replies += json_object_get(json, "id") != NULL;
        json_decref(json);
    }
}

Test(session, requests_are_answered_in_the_midst_of_a_flood)
{
    with_session(2, pour_and_ask);
}
