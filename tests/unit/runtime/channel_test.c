/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <string.h>

#include "support/fibers.h"

enum { WAITERS = 4, UNTOUCHED = 77 };

struct world {
    struct weft_channel *channel;
    atomic_int arrivals;
    int result;
    int item;
};

struct place {
    struct world *world;
    int number;
    int received;
    int result;
};

static struct weft_channel *channel_of_ints(size_t capacity)
{
    struct weft_channel *channel;

    EXPECT_EQ(weft_channel_new(sizeof(int), capacity, &channel), 0);
    return channel;
}

Test(channel, new_refuses_what_cannot_be)
{
    struct weft_channel *channel = NULL;

    cr_assert_eq(weft_channel_new(0, 1, &channel), -EINVAL);
    cr_assert_eq(weft_channel_new(8, SIZE_MAX / 4, &channel), -ENOMEM);
    cr_assert_eq(weft_channel_new(1, SIZE_MAX - 8, &channel), -ENOMEM);
    cr_assert_null(channel);
    weft_channel_free(NULL);
}

Test(channel, items_leave_in_the_order_they_came_around_the_ring)
{
    struct weft_channel *channel = channel_of_ints(3);
    int next_in = 0, next_out = 0, item;

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 3; i++, next_in++)
            cr_assert_eq(weft_channel_try_send(channel, &next_in), 0);
        cr_assert_eq(weft_channel_try_send(channel, &next_in), -EAGAIN);
        cr_assert_eq(weft_channel_length(channel), 3);
        for (int i = 0; i < round % 3 + 1; i++, next_out++) {
            cr_assert_eq(weft_channel_try_recv(channel, &item), 0);
            cr_assert_eq(item, next_out);
        }
        for (; next_out + 3 > next_in; next_in++)
            if (weft_channel_try_send(channel, &next_in) == -EAGAIN)
                break;
        while (next_out < next_in) {
            cr_assert_eq(weft_channel_try_recv(channel, &item), 0);
            cr_assert_eq(item, next_out++);
        }
    }
    item = UNTOUCHED;
    cr_assert_eq(weft_channel_try_recv(channel, &item), -EAGAIN);
    cr_assert_eq(item, UNTOUCHED);
    weft_channel_free(channel);
}

Test(channel, items_of_any_size_are_copied_whole)
{
    static const size_t sizes[] = {1, 2, 7, 8, 9, 16, 100, 4096};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        unsigned char in[4096], out[4096];
        struct weft_channel *channel;
        size_t size = sizes[i];

        for (size_t j = 0; j < size; j++)
            in[j] = (unsigned char)(j * 31 + i);
        memset(out, 0xee, sizeof(out));
        cr_assert_eq(weft_channel_new(size, 2, &channel), 0);
        cr_assert_eq(weft_channel_try_send(channel, in), 0);
        cr_assert_eq(weft_channel_try_send(channel, in), 0);
        cr_assert_eq(weft_channel_try_recv(channel, out), 0);
        cr_assert_eq(memcmp(in, out, size), 0);
        cr_assert(size == sizeof(out) || out[size] == 0xee, "wrote beyond the item");
        cr_assert_eq(weft_channel_try_recv(channel, out), 0);
        weft_channel_free(channel);
    }
}

Test(channel, capacity_0_hands_over_only)
{
    struct weft_channel *channel = channel_of_ints(0);
    int item = UNTOUCHED;

    cr_assert_eq(weft_channel_try_send(channel, &item), -EAGAIN);
    cr_assert_eq(weft_channel_try_recv(channel, &item), -EAGAIN);
    cr_assert_eq(weft_channel_length(channel), 0);
    cr_assert_eq(item, UNTOUCHED);
    weft_channel_free(channel);
}

Test(channel, a_closed_one_refuses_sends_and_gives_what_is_left)
{
    struct weft_channel *channel = channel_of_ints(2);
    int item = 5;

    cr_assert_eq(weft_channel_try_send(channel, &item), 0);
    weft_channel_close(channel);
    weft_channel_close(channel);
    cr_assert_eq(weft_channel_try_send(channel, &item), -EPIPE);
    cr_assert_eq(weft_channel_length(channel), 1);
    item = 0;
    cr_assert_eq(weft_channel_try_recv(channel, &item), 0);
    cr_assert_eq(item, 5);
    cr_assert_eq(weft_channel_try_recv(channel, &item), -EPIPE);
    cr_assert_eq(item, 5);
    weft_channel_free(channel);
}

static int closed_body(void *arg)
{
    struct weft_channel *channel = channel_of_ints(2);
    int item = 5;
    (void)arg;

    EXPECT_EQ(weft_channel_send(channel, &item, WEFT_NO_DEADLINE), 0);
    weft_channel_close(channel);
    EXPECT_EQ(weft_channel_send(channel, &item, WEFT_NO_DEADLINE), -EPIPE);
    EXPECT_EQ(weft_channel_recv(channel, &item, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(weft_channel_recv(channel, &item, WEFT_NO_DEADLINE), -EPIPE);
    weft_channel_free(channel);
    return 0;
}

Test(channel, the_waiting_calls_do_not_wait_on_a_closed_one)
{
    on_fibers(1, closed_body, NULL);
}

static int deadline_body(void *arg)
{
    struct weft_channel *channel = channel_of_ints(1);
    int item = UNTOUCHED;
    (void)arg;

    EXPECT_EQ(weft_channel_recv(channel, &item, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_channel_recv(channel, &item, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(item, UNTOUCHED);
    item = 1;
    EXPECT_EQ(weft_channel_send(channel, &item, 0), 0); /* over already, but there is room */
    item = 2;
    EXPECT_EQ(weft_channel_send(channel, &item, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_channel_send(channel, &item, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(weft_channel_length(channel), 1);
    EXPECT_EQ(weft_channel_recv(channel, &item, 0), 0);
    EXPECT_EQ(item, 1);
    EXPECT_EQ(weft_channel_recv(channel, &item, 0), -ETIMEDOUT);
    weft_channel_free(channel);
    return 0;
}

Test(channel, a_deadline_ends_a_wait_and_nothing_has_moved)
{
    on_fibers(1, deadline_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct weft_channel *channel = channel_of_ints(2);
    struct weft_scope scope;
    int item = 3;
    (void)arg;

    EXPECT_EQ(weft_channel_send(channel, &item, WEFT_NO_DEADLINE), 0);
    item = UNTOUCHED;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_channel_send(channel, &item, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_channel_recv(channel, &item, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(item, UNTOUCHED);
    EXPECT_EQ(weft_channel_length(channel), 1);
    weft_channel_free(channel);
    return 0;
}

Test(channel, the_waiting_calls_are_refused_in_a_cancelled_scope)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static int recv_to_place(void *arg)
{
    struct place *place = arg;

    place->received = UNTOUCHED;
    arrive(&place->world->arrivals);
    place->result = weft_channel_recv(place->world->channel, &place->received, WEFT_NO_DEADLINE);
    return 0;
}

static int send_number(void *arg)
{
    struct place *place = arg;

    arrive(&place->world->arrivals);
    place->result = weft_channel_send(place->world->channel, &place->number, WEFT_NO_DEADLINE);
    return 0;
}

static void spawn_places(struct weft_group *group, struct world *world, struct place *places,
                         int (*fn)(void *))
{
    for (int i = 0; i < WAITERS; i++) {
        places[i] = (struct place){world, i, UNTOUCHED, 1};
        EXPECT_EQ(weft_group_spawn(group, "waiter", fn, &places[i]), 0);
        await_arrivals(&world->arrivals, i + 1);
    }
}

static int receivers_body(void *arg)
{
    struct world world = {.channel = channel_of_ints(*(size_t *)arg)};
    struct place places[WAITERS];
    struct weft_group group;

    weft_group_init(&group);
    spawn_places(&group, &world, places, recv_to_place);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(weft_channel_send(world.channel, &i, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(weft_channel_length(world.channel), 0); /* handed over, not queued */
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(places[i].result, 0);
        EXPECT_EQ(places[i].received, i);
    }
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, waiting_receivers_get_items_first_come_first_served)
{
    size_t capacities[] = {0, 1, 16};

    for (int i = 0; i < 3; i++)
        on_fibers(1, receivers_body, &capacities[i]);
}

static int senders_body(void *arg)
{
    size_t capacity = *(size_t *)arg;
    struct world world = {.channel = channel_of_ints(capacity)};
    struct place places[WAITERS];
    struct weft_group group;
    int item;

    weft_group_init(&group);
    spawn_places(&group, &world, places, send_number);
    EXPECT_EQ(weft_channel_length(world.channel), capacity);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(weft_channel_recv(world.channel, &item, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(item, i);
        if (i + (int)capacity < WAITERS) /* refilled at once from who waited */
            EXPECT_EQ(weft_channel_length(world.channel), capacity);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(places[i].result, 0);
    EXPECT_EQ(weft_channel_try_recv(world.channel, &item), -EAGAIN);
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, waiting_senders_are_served_first_come_first_served)
{
    size_t capacities[] = {0, 1, 3};

    for (int i = 0; i < 3; i++)
        on_fibers(1, senders_body, &capacities[i]);
}

static int close_receivers_body(void *arg)
{
    struct world world = {.channel = channel_of_ints(2)};
    struct place places[WAITERS];
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    spawn_places(&group, &world, places, recv_to_place);
    weft_channel_close(world.channel);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(places[i].result, -EPIPE);
        EXPECT_EQ(places[i].received, UNTOUCHED);
    }
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, close_ends_the_waits_of_receivers)
{
    on_fibers(1, close_receivers_body, NULL);
}

static int close_senders_body(void *arg)
{
    struct world world = {.channel = channel_of_ints(1)};
    struct place places[WAITERS];
    struct weft_group group;
    int item;
    (void)arg;

    weft_group_init(&group);
    spawn_places(&group, &world, places, send_number);
    weft_channel_close(world.channel);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(places[0].result, 0); /* had found room */
    for (int i = 1; i < WAITERS; i++)
        EXPECT_EQ(places[i].result, -EPIPE);
    EXPECT_EQ(weft_channel_recv(world.channel, &item, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(item, 0);
    EXPECT_EQ(weft_channel_recv(world.channel, &item, WEFT_NO_DEADLINE), -EPIPE);
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, close_ends_the_waits_of_senders_and_their_items_were_not_sent)
{
    on_fibers(1, close_senders_body, NULL);
}

static int cancel_receiver_body(void *arg)
{
    struct world world = {.channel = channel_of_ints(1)};
    struct place place = {.world = &world, .result = 1};
    struct weft_group group;
    int item = 9;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "receiver", recv_to_place, &place), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_channel_try_send(world.channel, &item), 0); /* it still stands in line */
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(place.result, -ECANCELED);
    EXPECT_EQ(place.received, UNTOUCHED);
    item = 0;
    EXPECT_EQ(weft_channel_try_recv(world.channel, &item), 0);
    EXPECT_EQ(item, 9);
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, an_item_is_not_lost_to_a_cancelled_receiver)
{
    on_fibers(1, cancel_receiver_body, NULL);
}

static int claimed_receiver_body(void *arg)
{
    struct world world = {.channel = channel_of_ints(0)};
    struct place place = {.world = &world, .result = 1};
    struct weft_group group;
    int item = 9;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "receiver", recv_to_place, &place), 0);
    await_arrivals(&world.arrivals, 1);
    EXPECT_EQ(weft_channel_try_send(world.channel, &item), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(place.result, 0);
    EXPECT_EQ(place.received, 9);
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, an_item_that_was_handed_over_is_not_lost_to_a_later_cancel)
{
    on_fibers(1, claimed_receiver_body, NULL);
}

static int cancel_sender_body(void *arg)
{
    struct world world = {.channel = channel_of_ints(0)};
    struct place place = {.world = &world, .number = 9, .result = 1};
    struct weft_group group;
    int item = UNTOUCHED;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_number, &place), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_channel_try_recv(world.channel, &item), -EAGAIN); /* it has lost its interest */
    EXPECT_EQ(item, UNTOUCHED);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(place.result, -ECANCELED);
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, a_cancelled_sender_has_not_sent)
{
    on_fibers(1, cancel_sender_body, NULL);
}

static int claimed_sender_body(void *arg)
{
    struct world world = {.channel = channel_of_ints(0)};
    struct place place = {.world = &world, .number = 9, .result = 1};
    struct weft_group group;
    int item = UNTOUCHED;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_number, &place), 0);
    await_arrivals(&world.arrivals, 1);
    EXPECT_EQ(weft_channel_try_recv(world.channel, &item), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(item, 9);
    EXPECT_EQ(place.result, 0);
    weft_channel_free(world.channel);
    return 0;
}

Test(channel, a_sender_whose_item_was_taken_is_told_so_despite_a_later_cancel)
{
    on_fibers(1, claimed_sender_body, NULL);
}

/* A plain thread at the other end, with the try_ calls. */
static void *send_from_thread(void *arg)
{
    struct weft_channel *channel = arg;

    for (int i = 0; i < 1000;)
        if (weft_channel_try_send(channel, &i) == 0)
            i++;
        else
            sched_yield();
    weft_channel_close(channel);
    return NULL;
}

static int from_thread_body(void *arg)
{
    struct weft_channel *channel = channel_of_ints(*(size_t *)arg);
    pthread_t thread;
    int item = -1, expected = 0;

    EXPECT_EQ(pthread_create(&thread, NULL, send_from_thread, channel), 0);
    for (;; expected++) {
        int r = weft_channel_recv(channel, &item, WEFT_NO_DEADLINE);
        if (r == -EPIPE)
            break;
        EXPECT_EQ(r, 0);
        EXPECT_EQ(item, expected);
    }
    EXPECT_EQ(expected, 1000);
    weft_channel_free(channel); /* close has let go of it */
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    return 0;
}

Test(channel, a_plain_thread_may_send_to_fibers_and_close)
{
    size_t capacities[] = {0, 4};

    for (int i = 0; i < 2; i++)
        on_fibers(1, from_thread_body, &capacities[i]);
}

static void *recv_in_thread(void *arg)
{
    struct weft_channel *channel = arg;
    int item, expected = 0;

    for (;;) {
        int r = weft_channel_try_recv(channel, &item);
        if (r == -EPIPE)
            break;
        if (r == -EAGAIN) {
            sched_yield();
            continue;
        }
        EXPECT_EQ(item, expected);
        expected++;
    }
    EXPECT_EQ(expected, 1000);
    return NULL;
}

static int to_thread_body(void *arg)
{
    struct weft_channel *channel = channel_of_ints(*(size_t *)arg);
    pthread_t thread;

    EXPECT_EQ(pthread_create(&thread, NULL, recv_in_thread, channel), 0);
    for (int i = 0; i < 1000; i++)
        EXPECT_EQ(weft_channel_send(channel, &i, WEFT_NO_DEADLINE), 0);
    weft_channel_close(channel);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_channel_free(channel);
    return 0;
}

Test(channel, a_plain_thread_may_receive_from_fibers)
{
    size_t capacities[] = {0, 4};

    for (int i = 0; i < 2; i++)
        on_fibers(1, to_thread_body, &capacities[i]);
}

static int echo(void *arg)
{
    struct weft_channel **channels = arg;
    int item;

    while (weft_channel_recv(channels[0], &item, WEFT_NO_DEADLINE) == 0)
        EXPECT_EQ(weft_channel_send(channels[1], &item, WEFT_NO_DEADLINE), 0);
    weft_channel_close(channels[1]);
    return 0;
}

static int ping_pong_body(void *arg)
{
    size_t capacity = *(size_t *)arg;
    struct weft_channel *channels[2] = {channel_of_ints(capacity), channel_of_ints(capacity)};
    struct weft_group group;
    int item;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "echo", echo, channels), 0);
    for (int i = 0; i < 1000; i++) {
        EXPECT_EQ(weft_channel_send(channels[0], &i, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(weft_channel_recv(channels[1], &item, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(item, i);
    }
    weft_channel_close(channels[0]);
    EXPECT_EQ(weft_channel_recv(channels[1], &item, WEFT_NO_DEADLINE), -EPIPE);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_channel_free(channels[0]);
    weft_channel_free(channels[1]);
    return 0;
}

Test(channel, ping_pong_on_two_workers)
{
    size_t capacities[] = {0, 1};

    for (int i = 0; i < 2; i++)
        on_fibers(2, ping_pong_body, &capacities[i]);
}

static int send_once(void *arg)
{
    int item = 42;

    return weft_channel_send(arg, &item, WEFT_NO_DEADLINE);
}

/* The receiver frees the channel while the sender may still be inside send. */
static int free_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 500; round++) {
        struct weft_channel *channel = channel_of_ints(1);
        struct weft_group group;
        int item = 0;

        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "sender", send_once, channel), 0);
        EXPECT_EQ(weft_channel_recv(channel, &item, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(item, 42);
        weft_channel_free(channel);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

Test(channel, who_received_the_last_item_may_free_it)
{
    on_fibers(2, free_body, NULL);
}
