/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <string.h>

#include "support/fibers.h"

enum { WAITERS = 4 };

struct world {
    struct weft_mutex mutex;
    struct weft_cond cond;
    atomic_int arrivals;
    int woken[WAITERS]; /* guarded by mutex */
    int woken_count;    /* guarded by mutex */
    int result;         /* guarded by mutex */
    bool ready;         /* guarded by mutex */
};

struct place {
    struct world *world;
    int number;
};

static void wait_once(struct world *world, uint64_t deadline_ns)
{
    EXPECT_EQ(weft_mutex_lock(&world->mutex), 0);
    arrive(&world->arrivals);
    world->result = weft_cond_wait(&world->cond, &world->mutex, deadline_ns);
    EXPECT_EQ(weft_mutex_trylock(&world->mutex), -EBUSY); /* held whatever came */
}

static int wait_and_note_place(void *arg)
{
    struct place *place = arg;
    struct world *world = place->world;

    wait_once(world, WEFT_NO_DEADLINE);
    EXPECT_EQ(world->result, 0);
    world->woken[world->woken_count++] = place->number;
    weft_mutex_unlock(&world->mutex);
    return 0;
}

static int wait_and_note_result(void *arg)
{
    struct world *world = arg;

    wait_once(world, WEFT_NO_DEADLINE);
    weft_mutex_unlock(&world->mutex);
    return 0;
}

static void spawn_waiters(struct weft_group *group, struct world *world, struct place *places)
{
    for (int i = 0; i < WAITERS; i++) {
        places[i] = (struct place){world, i};
        EXPECT_EQ(weft_group_spawn(group, "waiter", wait_and_note_place, &places[i]), 0);
        await_arrivals(&world->arrivals, i + 1);
    }
}

static void await_woken(struct world *world, int count)
{
    while (world->woken_count < count) /* one worker: nobody else runs now */
        EXPECT_EQ(weft_yield(), 0);
}

static int signal_body(void *arg)
{
    struct world world = {0};
    struct place places[WAITERS];
    struct weft_group group;
    (void)arg;

    weft_cond_signal(&world.cond); /* nobody waits: forgotten */
    weft_group_init(&group);
    spawn_waiters(&group, &world, places);
    for (int i = 0; i < WAITERS; i++) {
        weft_cond_signal(&world.cond);
        await_woken(&world, i + 1);
        for (int turn = 0; turn < 10; turn++)
            EXPECT_EQ(weft_yield(), 0);
        EXPECT_EQ(world.woken_count, i + 1); /* one signal, one waiter */
        EXPECT_EQ(world.woken[i], i);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(cond, signal_wakes_one_waiter_the_first)
{
    on_fibers(1, signal_body, NULL);
}

static int broadcast_body(void *arg)
{
    struct world world = {0};
    struct place places[WAITERS];
    struct weft_group group;
    (void)arg;

    memset(&world.cond, 0xff, sizeof(world.cond));
    weft_cond_init(&world.cond);
    weft_cond_broadcast(&world.cond);
    weft_group_init(&group);
    spawn_waiters(&group, &world, places);
    weft_cond_broadcast(&world.cond);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.woken_count, WAITERS);
    return 0;
}

Test(cond, broadcast_wakes_all)
{
    on_fibers(1, broadcast_body, NULL);
}

static int deadline_body(void *arg)
{
    struct world world = {0};
    (void)arg;

    wait_once(&world, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(world.result, -ETIMEDOUT);
    weft_mutex_unlock(&world.mutex);
    wait_once(&world, weft_now_ns()); /* over already */
    EXPECT_EQ(world.result, -ETIMEDOUT);
    weft_mutex_unlock(&world.mutex);
    weft_cond_signal(&world.cond); /* nobody is left in the queue */
    return 0;
}

Test(cond, a_deadline_ends_the_wait_and_the_mutex_is_held)
{
    on_fibers(1, deadline_body, NULL);
}

static int cancel_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    EXPECT_EQ(weft_mutex_lock(&world.mutex), 0); /* the wait has released it */
    weft_group_cancel(&group);
    weft_mutex_unlock(&world.mutex);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, -ECANCELED);
    return 0;
}

Test(cond, a_cancel_ends_the_wait_and_the_mutex_is_held)
{
    on_fibers(1, cancel_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct world world = {0};
    struct weft_scope scope;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&world.mutex), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_cond_wait(&world.cond, &world.mutex, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_mutex_trylock(&world.mutex), -EBUSY);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    weft_mutex_unlock(&world.mutex);
    return 0;
}

Test(cond, a_wait_in_a_cancelled_scope_returns_at_once_with_the_mutex_held)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static int claimed_then_cancelled_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_cond_signal(&world.cond);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, 0);
    return 0;
}

Test(cond, a_signal_received_is_not_lost_to_a_later_cancel)
{
    on_fibers(1, claimed_then_cancelled_body, NULL);
}

static int pass_over_body(void *arg)
{
    struct world world = {.result = 1};
    struct place place = {&world, 7};
    struct weft_group first, second;
    (void)arg;

    weft_group_init(&second);
    weft_group_init(&first);
    EXPECT_EQ(weft_group_spawn(&first, "cancelled", wait_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    EXPECT_EQ(weft_group_spawn(&second, "next", wait_and_note_place, &place), 0);
    await_arrivals(&world.arrivals, 2);
    weft_group_cancel(&first);
    weft_cond_signal(&world.cond); /* the first has not run yet, and still stands in the queue */
    EXPECT_EQ(weft_group_join(&first), -ECANCELED);
    EXPECT_EQ(weft_group_join(&second), 0);
    EXPECT_EQ(world.woken_count, 1);
    EXPECT_EQ(world.woken[0], 7);
    return 0;
}

Test(cond, a_signal_passes_over_a_waiter_that_was_cancelled)
{
    on_fibers(1, pass_over_body, NULL);
}

static void *signal_from_thread(void *arg)
{
    struct world *world = arg;

    weft_cond_signal(&world->cond);
    return NULL;
}

static int thread_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    pthread_t thread;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    EXPECT_EQ(pthread_create(&thread, NULL, signal_from_thread, &world), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.result, 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    return 0;
}

Test(cond, a_plain_thread_may_signal)
{
    on_fibers(1, thread_body, NULL);
}

static int pass_the_turn(void *arg)
{
    struct place *place = arg;
    struct world *world = place->world;

    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(weft_mutex_lock(&world->mutex), 0);
        while (world->ready != (place->number == 1))
            EXPECT_EQ(weft_cond_wait(&world->cond, &world->mutex, WEFT_NO_DEADLINE), 0);
        world->ready = !world->ready;
        world->woken_count++;
        weft_cond_signal(&world->cond);
        weft_mutex_unlock(&world->mutex);
    }
    return 0;
}

static int turns_body(void *arg)
{
    struct world world = {0};
    struct place places[2] = {{&world, 0}, {&world, 1}};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_group_spawn(&group, "player", pass_the_turn, &places[i]), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.woken_count, 200);
    return 0;
}

Test(cond, two_fibers_take_turns_on_two_workers)
{
    on_fibers(2, turns_body, NULL);
}
