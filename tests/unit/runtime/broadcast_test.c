/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>

#include "support/fibers.h"

enum { RECEIVERS = 3, UNTOUCHED = 77 };

struct world {
    struct weft_broadcast *broadcast;
    atomic_int arrivals;
};

struct listener {
    struct world *world;
    struct weft_broadcast_receiver receiver;
    int received, result;
};

static struct weft_broadcast *broadcast_of_ints(size_t capacity)
{
    struct weft_broadcast *broadcast;

    EXPECT_EQ(weft_broadcast_new(sizeof(int), capacity, &broadcast), 0);
    return broadcast;
}

Test(broadcast, new_refuses_what_cannot_be)
{
    struct weft_broadcast *broadcast = NULL;

    cr_assert_eq(weft_broadcast_new(0, 1, &broadcast), -EINVAL);
    cr_assert_eq(weft_broadcast_new(1, 0, &broadcast), -EINVAL);
    cr_assert_eq(weft_broadcast_new(8, SIZE_MAX / 4, &broadcast), -ENOMEM);
    cr_assert_eq(weft_broadcast_new(1, SIZE_MAX - 8, &broadcast), -ENOMEM);
    cr_assert_null(broadcast);
    weft_broadcast_free(NULL);
}

Test(broadcast, each_receiver_gets_what_was_sent_after_it_subscribed)
{
    struct weft_broadcast *broadcast = broadcast_of_ints(3);
    struct weft_broadcast_receiver early, late;
    int item = 1;

    cr_assert_eq(weft_broadcast_send(broadcast, &item), 0); /* to nobody */
    weft_broadcast_subscribe(broadcast, &early);
    item = 2;
    cr_assert_eq(weft_broadcast_send(broadcast, &item), 1);
    weft_broadcast_subscribe(broadcast, &late);
    item = 3;
    cr_assert_eq(weft_broadcast_send(broadcast, &item), 2);

    cr_assert_eq(weft_broadcast_try_recv(&early, &item), 0);
    cr_assert_eq(item, 2);
    cr_assert_eq(weft_broadcast_try_recv(&early, &item), 0);
    cr_assert_eq(item, 3);
    item = UNTOUCHED;
    cr_assert_eq(weft_broadcast_try_recv(&early, &item), -EAGAIN);
    cr_assert_eq(item, UNTOUCHED);
    cr_assert_eq(weft_broadcast_try_recv(&late, &item), 0);
    cr_assert_eq(item, 3);
    cr_assert_eq(weft_broadcast_try_recv(&late, &item), -EAGAIN);
    weft_broadcast_unsubscribe(&early);
    cr_assert_eq(weft_broadcast_send(broadcast, &item), 1);
    weft_broadcast_unsubscribe(&late);
    weft_broadcast_free(broadcast);
}

Test(broadcast, a_receiver_that_lags_is_told_how_many_it_has_lost)
{
    struct weft_broadcast *broadcast = broadcast_of_ints(3);
    struct weft_broadcast_receiver receiver;
    int item = UNTOUCHED;

    weft_broadcast_subscribe(broadcast, &receiver);
    cr_assert_eq(weft_broadcast_lost(&receiver), 0);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(weft_broadcast_send(broadcast, &i), 1);
    cr_assert_eq(weft_broadcast_try_recv(&receiver, &item), -EOVERFLOW);
    cr_assert_eq(item, UNTOUCHED);
    cr_assert_eq(weft_broadcast_lost(&receiver), 7);
    for (int i = 7; i < 10; i++) {
        cr_assert_eq(weft_broadcast_try_recv(&receiver, &item), 0);
        cr_assert_eq(item, i);
    }
    cr_assert_eq(weft_broadcast_try_recv(&receiver, &item), -EAGAIN);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(weft_broadcast_send(broadcast, &i), 1);
    cr_assert_eq(weft_broadcast_try_recv(&receiver, &item), -EOVERFLOW);
    cr_assert_eq(weft_broadcast_lost(&receiver), 1);
    weft_broadcast_unsubscribe(&receiver);
    weft_broadcast_free(broadcast);
}

Test(broadcast, a_closed_one_refuses_sends_and_gives_what_is_left)
{
    struct weft_broadcast *broadcast = broadcast_of_ints(2);
    struct weft_broadcast_receiver receiver;
    int item = 4;

    weft_broadcast_subscribe(broadcast, &receiver);
    cr_assert_eq(weft_broadcast_send(broadcast, &item), 1);
    weft_broadcast_close(broadcast);
    weft_broadcast_close(broadcast);
    cr_assert_eq(weft_broadcast_send(broadcast, &item), -EPIPE);
    item = 0;
    cr_assert_eq(weft_broadcast_try_recv(&receiver, &item), 0);
    cr_assert_eq(item, 4);
    cr_assert_eq(weft_broadcast_try_recv(&receiver, &item), -EPIPE);
    weft_broadcast_unsubscribe(&receiver);
    weft_broadcast_free(broadcast);
}

static int recv_once(void *arg)
{
    struct listener *listener = arg;

    arrive(&listener->world->arrivals);
    listener->result =
        weft_broadcast_recv(&listener->receiver, &listener->received, WEFT_NO_DEADLINE);
    return 0;
}

static void spawn_listeners(struct weft_group *group, struct world *world,
                            struct listener *listeners)
{
    weft_group_init(group);
    for (int i = 0; i < RECEIVERS; i++) {
        listeners[i] = (struct listener){.world = world, .received = UNTOUCHED, .result = 1};
        weft_broadcast_subscribe(world->broadcast, &listeners[i].receiver);
        EXPECT_EQ(weft_group_spawn(group, "listener", recv_once, &listeners[i]), 0);
        await_arrivals(&world->arrivals, i + 1);
    }
}

static int wait_body(void *arg)
{
    struct world world = {.broadcast = broadcast_of_ints(1)};
    struct listener listeners[RECEIVERS];
    struct weft_group group;
    (void)arg;

    spawn_listeners(&group, &world, listeners);
    for (int i = 0; i < 3; i++) /* it fits one item, but the first was handed over */
        EXPECT_EQ(weft_broadcast_send(world.broadcast, &i), RECEIVERS);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < RECEIVERS; i++) {
        int item = UNTOUCHED;

        EXPECT_EQ(listeners[i].result, 0);
        EXPECT_EQ(listeners[i].received, 0);
        EXPECT_EQ(weft_broadcast_recv(&listeners[i].receiver, &item, WEFT_NO_DEADLINE), -EOVERFLOW);
        EXPECT_EQ(weft_broadcast_lost(&listeners[i].receiver), 1);
        EXPECT_EQ(weft_broadcast_recv(&listeners[i].receiver, &item, 0), 0);
        EXPECT_EQ(item, 2);
        weft_broadcast_unsubscribe(&listeners[i].receiver);
    }
    weft_broadcast_free(world.broadcast);
    return 0;
}

Test(broadcast, a_send_wakes_all_who_wait_with_the_item)
{
    on_fibers(1, wait_body, NULL);
}

static int cancel_body(void *arg)
{
    struct world world = {.broadcast = broadcast_of_ints(2)};
    struct listener listeners[RECEIVERS];
    struct weft_group group;
    int item = 3;
    (void)arg;

    spawn_listeners(&group, &world, listeners);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_broadcast_send(world.broadcast, &item), RECEIVERS); /* they stand there still */
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < RECEIVERS; i++) {
        EXPECT_EQ(listeners[i].result, -ECANCELED);
        EXPECT_EQ(listeners[i].received, UNTOUCHED);
        item = 0;
        EXPECT_EQ(weft_broadcast_try_recv(&listeners[i].receiver, &item), 0); /* not lost */
        EXPECT_EQ(item, 3);
        weft_broadcast_unsubscribe(&listeners[i].receiver);
    }
    weft_broadcast_free(world.broadcast);
    return 0;
}

Test(broadcast, an_item_is_not_lost_to_a_cancelled_receiver)
{
    on_fibers(1, cancel_body, NULL);
}

static int handed_over_body(void *arg)
{
    struct world world = {.broadcast = broadcast_of_ints(2)};
    struct listener listeners[RECEIVERS];
    struct weft_group group;
    int item = 3;
    (void)arg;

    spawn_listeners(&group, &world, listeners);
    EXPECT_EQ(weft_broadcast_send(world.broadcast, &item), RECEIVERS);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < RECEIVERS; i++) {
        EXPECT_EQ(listeners[i].result, 0);
        EXPECT_EQ(listeners[i].received, 3);
        EXPECT_EQ(weft_broadcast_try_recv(&listeners[i].receiver, &item), -EAGAIN); /* not twice */
        weft_broadcast_unsubscribe(&listeners[i].receiver);
    }
    weft_broadcast_free(world.broadcast);
    return 0;
}

Test(broadcast, an_item_that_was_handed_over_is_not_lost_to_a_later_cancel)
{
    on_fibers(1, handed_over_body, NULL);
}

static int close_body(void *arg)
{
    struct world world = {.broadcast = broadcast_of_ints(2)};
    struct listener listeners[RECEIVERS];
    struct weft_group group;
    (void)arg;

    spawn_listeners(&group, &world, listeners);
    weft_broadcast_close(world.broadcast);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < RECEIVERS; i++) {
        EXPECT_EQ(listeners[i].result, -EPIPE);
        EXPECT_EQ(listeners[i].received, UNTOUCHED);
        EXPECT_EQ(weft_broadcast_recv(&listeners[i].receiver, &listeners[i].received, 0), -EPIPE);
        weft_broadcast_unsubscribe(&listeners[i].receiver);
    }
    weft_broadcast_free(world.broadcast);
    return 0;
}

Test(broadcast, close_ends_the_waits)
{
    on_fibers(1, close_body, NULL);
}

static int ends_body(void *arg)
{
    struct weft_broadcast *broadcast = broadcast_of_ints(2);
    struct weft_broadcast_receiver receiver;
    struct weft_scope scope;
    int item = 6;
    (void)arg;

    weft_broadcast_subscribe(broadcast, &receiver);
    EXPECT_EQ(weft_broadcast_recv(&receiver, &item, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_broadcast_recv(&receiver, &item, weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    EXPECT_EQ(weft_broadcast_send(broadcast, &item), 1);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_broadcast_recv(&receiver, &item, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_broadcast_recv(&receiver, &item, WEFT_NO_DEADLINE), 0);
    weft_broadcast_unsubscribe(&receiver);
    weft_broadcast_free(broadcast);
    return 0;
}

Test(broadcast, a_deadline_or_a_cancelled_scope_leaves_the_item)
{
    on_fibers(1, ends_body, NULL);
}

static void *send_from_thread(void *arg)
{
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_broadcast_send(arg, &i), 1);
    weft_broadcast_close(arg);
    return NULL;
}

static int thread_body(void *arg)
{
    struct weft_broadcast *broadcast = broadcast_of_ints(8);
    struct weft_broadcast_receiver receiver;
    pthread_t thread;
    int item, next = 0, r;
    (void)arg;

    weft_broadcast_subscribe(broadcast, &receiver);
    EXPECT_EQ(pthread_create(&thread, NULL, send_from_thread, broadcast), 0);
    while ((r = weft_broadcast_recv(&receiver, &item, WEFT_NO_DEADLINE)) != -EPIPE) {
        if (r == -EOVERFLOW) {
            next += (int)weft_broadcast_lost(&receiver);
            continue;
        }
        EXPECT_EQ(r, 0);
        EXPECT_EQ(item, next++);
    }
    EXPECT_EQ(next, 100);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_broadcast_unsubscribe(&receiver);
    weft_broadcast_free(broadcast);
    return 0;
}

Test(broadcast, a_plain_thread_may_send_and_what_is_received_and_lost_adds_up)
{
    on_fibers(1, thread_body, NULL);
}
