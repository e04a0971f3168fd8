/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <string.h>

#include "support/fibers.h"

enum { WAITERS = 4 };

struct world {
    struct weft_event event;
    atomic_int arrivals;
    int count;
    int result;
};

Test(event, it_is_set_and_cleared_from_a_plain_thread)
{
    struct weft_event event = {0};

    cr_assert(!weft_event_is_set(&event));
    weft_event_set(&event);
    weft_event_set(&event);
    cr_assert(weft_event_is_set(&event));
    weft_event_clear(&event);
    cr_assert(!weft_event_is_set(&event));
    weft_event_clear(&event);
    cr_assert(!weft_event_is_set(&event));
}

Test(event, init_makes_garbage_an_event_that_is_not_set)
{
    struct weft_event event;

    memset(&event, 0xff, sizeof(event));
    weft_event_init(&event);
    cr_assert(!weft_event_is_set(&event));
    weft_event_set(&event);
    cr_assert(weft_event_is_set(&event));
}

static int wait_body(void *arg)
{
    struct weft_event event = {0};
    (void)arg;

    EXPECT_EQ(weft_event_wait(&event, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_event_wait(&event, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    weft_event_set(&event);
    EXPECT_EQ(weft_event_wait(&event, 0), 0);
    EXPECT_EQ(weft_event_wait(&event, WEFT_NO_DEADLINE), 0); /* it stays set */
    weft_event_wait_shielded(&event);
    weft_event_clear(&event);
    EXPECT_EQ(weft_event_wait(&event, 0), -ETIMEDOUT);
    return 0;
}

Test(event, wait_returns_at_once_when_set_and_else_at_the_deadline)
{
    on_fibers(1, wait_body, NULL);
}

static int wait_and_count(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    EXPECT_EQ(weft_event_wait(&world->event, WEFT_NO_DEADLINE), 0);
    world->count++;
    return 0;
}

static int all_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_and_count, &world), 0);
        await_arrivals(&world.arrivals, i + 1);
    }
    EXPECT_EQ(world.count, 0);
    weft_event_set(&world.event);
    weft_event_clear(&world.event); /* does not take the set back from who waited then */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.count, WAITERS);
    return 0;
}

Test(event, set_wakes_all_waiters_even_if_cleared_at_once)
{
    on_fibers(1, all_body, NULL);
}

static int wait_and_note_result(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->result = weft_event_wait(&world->event, WEFT_NO_DEADLINE);
    return 0;
}

static int cancel_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    weft_event_set(&world.event); /* too late for the waiter, which still stands in line */
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, -ECANCELED);
    EXPECT_EQ(weft_event_wait(&world.event, WEFT_NO_DEADLINE), 0);
    return 0;
}

Test(event, a_cancel_that_came_first_wins)
{
    on_fibers(1, cancel_body, NULL);
}

static int claimed_then_cancelled_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_event_set(&world.event);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, 0);
    return 0;
}

Test(event, a_set_that_came_first_wins)
{
    on_fibers(1, claimed_then_cancelled_body, NULL);
}

static int wait_shielded(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    weft_event_wait_shielded(&world->event);
    world->result = 0;
    return 0;
}

static int shielded_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_scope shield;
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_shielded, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    weft_shield_enter(&shield); /* we are inside the cancelled scope, too */
    for (int turn = 0; turn < 10; turn++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    EXPECT_EQ(world.result, 1); /* it waits on */
    weft_event_set(&world.event);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, 0);
    return 0;
}

Test(event, a_shielded_wait_ends_only_by_set)
{
    on_fibers(1, shielded_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct weft_event event = {0};
    struct weft_scope scope;
    (void)arg;

    weft_event_set(&event);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_event_wait(&event, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_event_wait(&event, WEFT_NO_DEADLINE), 0);
    return 0;
}

Test(event, a_wait_in_a_cancelled_scope_is_refused)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

/* The waiter frees the event while the setter may still be inside set. */
static void *set_from_thread(void *arg)
{
    weft_event_set(arg);
    return NULL;
}

static int thread_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 50; round++) {
        struct weft_event *event = calloc(1, sizeof(*event));
        pthread_t thread;

        EXPECT(event);
        EXPECT_EQ(pthread_create(&thread, NULL, set_from_thread, event), 0);
        EXPECT_EQ(weft_event_wait(event, WEFT_NO_DEADLINE), 0);
        free(event);
        EXPECT_EQ(pthread_join(thread, NULL), 0);
    }
    return 0;
}

Test(event, a_plain_thread_may_set_and_the_waiter_may_free)
{
    on_fibers(1, thread_body, NULL);
}

static int set_once(void *arg)
{
    weft_event_set(arg);
    return 0;
}

static int free_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 500; round++) {
        struct weft_event *event = calloc(1, sizeof(*event));
        struct weft_group group;

        EXPECT(event);
        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "setter", set_once, event), 0);
        EXPECT_EQ(weft_event_wait(event, WEFT_NO_DEADLINE), 0);
        free(event);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

Test(event, who_waited_may_free_it_on_two_workers)
{
    on_fibers(2, free_body, NULL);
}
