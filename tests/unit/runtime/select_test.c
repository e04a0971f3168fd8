/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>

#include "support/fibers.h"

enum { UNTOUCHED = 77 };

/* A fiber that selects among two receives and one send, each on its channel. */
struct world {
    struct weft_channel *channels[3];
    struct weft_select_case cases[3];
    int received[2], sent;
    atomic_int arrivals;
    uint64_t deadline_ns;
    int fired;
};

static struct weft_channel *channel_of_ints(size_t capacity)
{
    struct weft_channel *channel;

    EXPECT_EQ(weft_channel_new(sizeof(int), capacity, &channel), 0);
    return channel;
}

static void world_init(struct world *world, size_t capacity)
{
    *world = (struct world){.received = {UNTOUCHED, UNTOUCHED},
                            .sent = 5,
                            .deadline_ns = WEFT_NO_DEADLINE,
                            .fired = UNTOUCHED};
    for (int i = 0; i < 3; i++)
        world->channels[i] = channel_of_ints(capacity);
    world->cases[0] = weft_case_recv(world->channels[0], &world->received[0]);
    world->cases[1] = weft_case_recv(world->channels[1], &world->received[1]);
    world->cases[2] = weft_case_send(world->channels[2], &world->sent);
}

static void world_destroy(struct world *world)
{
    for (int i = 0; i < 3; i++)
        weft_channel_free(world->channels[i]);
}

static int select_once(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->fired = weft_select(world->cases, 3, world->deadline_ns);
    return 0;
}

static void spawn_select(struct weft_group *group, struct world *world)
{
    weft_group_init(group);
    EXPECT_EQ(weft_group_spawn(group, "select", select_once, world), 0);
    await_arrivals(&world->arrivals, 1);
}

Test(select, default_fires_when_nothing_can_be_done)
{
    struct weft_channel *empty = channel_of_ints(1), *full = channel_of_ints(1);
    int item = UNTOUCHED, one = 1;
    struct weft_select_case cases[] = {weft_case_recv(empty, &item), weft_case_send(full, &one),
                                       weft_case_recv(NULL, &item)};

    cr_assert_eq(weft_channel_try_send(full, &one), 0);
    cr_assert_eq(weft_try_select(cases, 3), -EAGAIN);
    cr_assert_eq(weft_try_select(cases, 0), -EAGAIN);
    cr_assert_eq(item, UNTOUCHED);
    cr_assert_eq(weft_channel_length(full), 1);
    weft_channel_free(empty);
    weft_channel_free(full);
}

Test(select, a_plain_thread_may_try_and_exactly_one_case_is_done)
{
    struct weft_channel *in = channel_of_ints(1), *out = channel_of_ints(1);
    int item = UNTOUCHED, one = 1, fired;
    struct weft_select_case cases[] = {weft_case_recv(in, &item), weft_case_send(out, &one)};

    cr_assert_eq(weft_channel_try_send(in, &one), 0);
    fired = weft_try_select(cases, 2); /* both can be done: either */
    cr_assert(fired == 0 || fired == 1);
    cr_assert_eq(cases[fired].result, 0);
    cr_assert_eq(weft_channel_length(in) + weft_channel_length(out), fired == 0 ? 0 : 2);
    cr_assert_eq(weft_try_select(cases, 2), 1 - fired);
    cr_assert_eq(item, 1);
    cr_assert_eq(weft_try_select(cases, 2), -EAGAIN);
    weft_channel_free(in);
    weft_channel_free(out);
}

Test(select, more_cases_than_the_limit_are_refused)
{
    struct weft_channel *channel = channel_of_ints(1);
    struct weft_select_case cases[WEFT_SELECT_MAX + 1];
    int item = 1;

    for (int i = 0; i <= WEFT_SELECT_MAX; i++)
        cases[i] = weft_case_send(channel, &item);
    cr_assert_eq(weft_try_select(cases, WEFT_SELECT_MAX + 1), -E2BIG);
    cr_assert_eq(weft_channel_length(channel), 0);
    cr_assert_geq(weft_try_select(cases, WEFT_SELECT_MAX), 0);
    cr_assert_eq(weft_channel_length(channel), 1);
    weft_channel_free(channel);
}

Test(select, each_case_that_can_be_done_gets_its_turn)
{
    enum { CASES = 5, TURNS = 2000 };
    struct weft_channel *channels[CASES];
    struct weft_select_case cases[CASES];
    int item = 1, count[CASES] = {0};

    for (int i = 0; i < CASES; i++) {
        channels[i] = channel_of_ints(1);
        cases[i] = weft_case_recv(channels[i], &item);
    }
    /* Case 1 can never be done: its turns are not all its neighbour's. */
    for (int turn = 0; turn < TURNS; turn++) {
        for (int i = 0; i < CASES; i++)
            if (i != 1)
                weft_channel_try_send(channels[i], &item);
        int fired = weft_try_select(cases, CASES);
        cr_assert_geq(fired, 0);
        count[fired]++;
    }
    cr_assert_eq(count[1], 0);
    for (int i = 0; i < CASES; i++)
        cr_assert(i == 1 || (count[i] > TURNS / 8 && count[i] < TURNS * 3 / 8));
    for (int i = 0; i < CASES; i++)
        weft_channel_free(channels[i]);
}

static int recv_fires_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = 9;

    world_init(&world, *(size_t *)arg);
    /* Only the receives: with room, the send would fire at once. */
    world.cases[2].channel = NULL;
    spawn_select(&group, &world);
    EXPECT_EQ(world.fired, UNTOUCHED);
    EXPECT_EQ(weft_channel_try_send(world.channels[1], &item), 0);
    EXPECT_EQ(weft_channel_length(world.channels[1]), 0); /* handed over */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.fired, 1);
    EXPECT_EQ(world.cases[1].result, 0);
    EXPECT_EQ(world.received[1], 9);
    EXPECT_EQ(world.received[0], UNTOUCHED);
    world_destroy(&world);
    return 0;
}

Test(select, a_send_fires_the_receive_that_waits)
{
    size_t capacities[] = {0, 1};

    for (int i = 0; i < 2; i++)
        on_fibers(1, recv_fires_body, &capacities[i]);
}

static int send_fires_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = UNTOUCHED;
    (void)arg;

    world_init(&world, 0);
    spawn_select(&group, &world);
    EXPECT_EQ(weft_channel_recv(world.channels[2], &item, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(item, 5);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.fired, 2);
    EXPECT_EQ(world.cases[2].result, 0);
    EXPECT_EQ(world.received[0], UNTOUCHED);
    world_destroy(&world);
    return 0;
}

Test(select, a_receive_fires_the_send_that_waits)
{
    on_fibers(1, send_fires_body, NULL);
}

static int room_fires_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = 1;
    (void)arg;

    world_init(&world, 1);
    EXPECT_EQ(weft_channel_try_send(world.channels[2], &item), 0); /* full */
    spawn_select(&group, &world);
    EXPECT_EQ(weft_channel_try_recv(world.channels[2], &item), 0);
    EXPECT_EQ(item, 1);
    EXPECT_EQ(weft_channel_length(world.channels[2]), 1); /* refilled at once */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.fired, 2);
    world_destroy(&world);
    return 0;
}

Test(select, room_fires_the_send_that_waits)
{
    on_fibers(1, room_fires_body, NULL);
}

static int only_one_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = 9;
    (void)arg;

    world_init(&world, 0);
    spawn_select(&group, &world);
    EXPECT_EQ(weft_channel_try_send(world.channels[0], &item), 0);
    /* It has fired, though it has not run yet: nothing else of it can. */
    EXPECT_EQ(weft_channel_try_send(world.channels[1], &item), -EAGAIN);
    EXPECT_EQ(weft_channel_try_send(world.channels[0], &item), -EAGAIN);
    EXPECT_EQ(weft_channel_try_recv(world.channels[2], &item), -EAGAIN);
    weft_channel_close(world.channels[2]);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.fired, 0);
    EXPECT_EQ(world.cases[0].result, 0);
    EXPECT_EQ(world.received[0], 9);
    EXPECT_EQ(world.received[1], UNTOUCHED);
    world_destroy(&world);
    return 0;
}

Test(select, exactly_one_case_fires)
{
    on_fibers(1, only_one_body, NULL);
}

static int facing_body(void *arg)
{
    struct world world;
    struct weft_group group;
    struct weft_select_case mirror[3];
    int sent[2] = {11, 12}, received = UNTOUCHED;
    (void)arg;

    for (int i = 0; i < 100; i++) {
        world_init(&world, 0);
        mirror[0] = weft_case_send(world.channels[0], &sent[0]);
        mirror[1] = weft_case_send(world.channels[1], &sent[1]);
        mirror[2] = weft_case_recv(world.channels[2], &received);
        spawn_select(&group, &world);
        int fired = weft_select(mirror, 3, WEFT_NO_DEADLINE);
        EXPECT_EQ(weft_group_join(&group), 0);
        EXPECT_EQ(world.fired, fired);
        if (fired < 2)
            EXPECT_EQ(world.received[fired], sent[fired]);
        else
            EXPECT_EQ(received, 5);
        world_destroy(&world);
    }
    return 0;
}

Test(select, two_that_face_each_other_meet_in_one_case)
{
    on_fibers(1, facing_body, NULL);
    on_fibers(2, facing_body, NULL);
}

static int select_both_sides(void *arg)
{
    struct world *world = arg;
    struct weft_select_case cases[] = {weft_case_recv(world->channels[0], &world->received[0]),
                                       weft_case_send(world->channels[0], &world->sent)};

    arrive(&world->arrivals);
    world->fired = weft_select(cases, 2, WEFT_NO_DEADLINE);
    return 0;
}

static int both_sides_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = UNTOUCHED, nine = 9;
    struct weft_select_case cases[] = {{0}, {0}};
    (void)arg;

    world_init(&world, 0);
    cases[0] = weft_case_recv(world.channels[0], &item);
    cases[1] = weft_case_send(world.channels[0], &nine);
    EXPECT_EQ(weft_try_select(cases, 2), -EAGAIN); /* one does not meet oneself */
    EXPECT_EQ(weft_select(cases, 2, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "both", select_both_sides, &world), 0);
    await_arrivals(&world.arrivals, 1);
    int fired = weft_select(cases, 2, WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.fired, 1 - fired);
    EXPECT_EQ(item, fired == 0 ? 5 : UNTOUCHED);
    EXPECT_EQ(world.received[0], fired == 1 ? 9 : UNTOUCHED);
    world_destroy(&world);
    return 0;
}

Test(select, both_sides_of_one_channel_meet_another_but_not_each_other)
{
    on_fibers(1, both_sides_body, NULL);
}

static int same_twice_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = 9;
    (void)arg;

    world_init(&world, 0);
    world.cases[1].channel = world.channels[0]; /* the same receive, twice */
    world.cases[2].channel = NULL;
    spawn_select(&group, &world);
    EXPECT_EQ(weft_channel_try_send(world.channels[0], &item), 0);
    EXPECT_EQ(weft_channel_try_send(world.channels[0], &item), -EAGAIN);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT(world.fired == 0 || world.fired == 1);
    EXPECT_EQ(world.received[world.fired], 9);
    EXPECT_EQ(world.received[1 - world.fired], UNTOUCHED);
    world_destroy(&world);
    return 0;
}

Test(select, one_channel_may_be_named_twice)
{
    on_fibers(1, same_twice_body, NULL);
}

static int closed_body(void *arg)
{
    struct world world;
    int item = 3;
    (void)arg;

    world_init(&world, 1);
    EXPECT_EQ(weft_channel_try_send(world.channels[0], &item), 0);
    weft_channel_close(world.channels[0]);
    EXPECT_EQ(weft_select(world.cases, 2, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(world.cases[0].result, 0); /* what is left */
    EXPECT_EQ(world.received[0], 3);
    EXPECT_EQ(weft_select(world.cases, 2, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(world.cases[0].result, -EPIPE);
    world.cases[0].channel = NULL;
    EXPECT_EQ(weft_select(world.cases, 2, 0), -ETIMEDOUT);
    weft_channel_close(world.channels[2]);
    world.cases[1].channel = NULL;
    EXPECT_EQ(weft_select(world.cases, 3, WEFT_NO_DEADLINE), 2);
    EXPECT_EQ(world.cases[2].result, -EPIPE);
    EXPECT_EQ(weft_try_select(world.cases, 3), 2);
    world_destroy(&world);
    return 0;
}

Test(select, a_closed_channel_fires_with_epipe_until_it_is_left_out)
{
    on_fibers(1, closed_body, NULL);
}

static int close_wakes_body(void *arg)
{
    struct world world;
    struct weft_group group;
    (void)arg;

    for (int i = 0; i < 3; i++) {
        world_init(&world, 0);
        spawn_select(&group, &world);
        weft_channel_close(world.channels[i]);
        weft_channel_close(world.channels[(i + 1) % 3]); /* comes too late */
        EXPECT_EQ(weft_group_join(&group), 0);
        EXPECT_EQ(world.fired, i);
        EXPECT_EQ(world.cases[i].result, -EPIPE);
        world_destroy(&world);
    }
    return 0;
}

Test(select, closing_a_channel_fires_its_case)
{
    on_fibers(1, close_wakes_body, NULL);
}

static int deadline_body(void *arg)
{
    struct world world;
    int item = 1;
    (void)arg;

    world_init(&world, 0);
    EXPECT_EQ(weft_select(world.cases, 3, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_select(world.cases, 3, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(weft_select(NULL, 0, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(weft_channel_try_send(world.channels[0], &item), -EAGAIN); /* nobody waits */
    EXPECT_EQ(weft_channel_try_recv(world.channels[2], &item), -EAGAIN);
    EXPECT_EQ(world.received[0], UNTOUCHED);
    world_destroy(&world);
    return 0;
}

Test(select, a_deadline_ends_the_wait_and_nothing_has_moved)
{
    on_fibers(1, deadline_body, NULL);
}

static int cancel_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = 9;
    (void)arg;

    world_init(&world, 0);
    spawn_select(&group, &world);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_channel_try_send(world.channels[0], &item), -EAGAIN); /* it stands there still */
    EXPECT_EQ(weft_channel_try_recv(world.channels[2], &item), -EAGAIN);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.fired, -ECANCELED);
    EXPECT_EQ(world.received[0], UNTOUCHED);
    world_destroy(&world);
    return 0;
}

Test(select, a_cancelled_one_has_done_nothing)
{
    on_fibers(1, cancel_body, NULL);
}

static int fired_then_cancelled_body(void *arg)
{
    struct world world;
    struct weft_group group;
    int item = 9;
    (void)arg;

    world_init(&world, 0);
    spawn_select(&group, &world);
    EXPECT_EQ(weft_channel_try_send(world.channels[1], &item), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.fired, 1);
    EXPECT_EQ(world.received[1], 9);
    world_destroy(&world);
    return 0;
}

Test(select, what_has_fired_is_not_lost_to_a_later_cancel)
{
    on_fibers(1, fired_then_cancelled_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct world world;
    struct weft_scope scope;
    (void)arg;

    world_init(&world, 1);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_select(world.cases, 3, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_channel_length(world.channels[2]), 0);
    EXPECT_EQ(weft_select(world.cases, WEFT_SELECT_MAX + 1, 0), -E2BIG);
    world_destroy(&world);
    return 0;
}

Test(select, in_a_cancelled_scope_it_is_refused)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static void *feed_from_thread(void *arg)
{
    struct world *world = arg;

    for (int i = 0; i < 200; i++)
        while (weft_channel_try_send(world->channels[i % 2], &i) == -EAGAIN)
            sched_yield();
    weft_channel_close(world->channels[0]);
    weft_channel_close(world->channels[1]);
    return NULL;
}

static int thread_body(void *arg)
{
    struct world world;
    pthread_t thread;
    int sum = 0, open = 2;
    (void)arg;

    world_init(&world, 0);
    EXPECT_EQ(pthread_create(&thread, NULL, feed_from_thread, &world), 0);
    while (open > 0) {
        int fired = weft_select(world.cases, 2, WEFT_NO_DEADLINE);

        EXPECT(fired == 0 || fired == 1);
        if (world.cases[fired].result == 0) {
            sum += world.received[fired];
        } else {
            world.cases[fired].channel = NULL;
            open--;
        }
    }
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(sum, 199 * 200 / 2);
    world_destroy(&world);
    return 0;
}

Test(select, a_plain_thread_may_send_to_it)
{
    on_fibers(1, thread_body, NULL);
}
