/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <signal.h>
#include <string.h>

#include "support/fibers.h"

enum { WAITERS = 4 };

struct world {
    struct weft_mutex mutex;
    atomic_int arrivals;
    int order[WAITERS]; /* guarded by mutex */
    int count;          /* guarded by mutex */
    int result;
};

struct place {
    struct world *world;
    int number;
};

static int zeroed_body(void *arg)
{
    struct weft_mutex mutex = {0};
    (void)arg;

    EXPECT_EQ(weft_mutex_trylock(&mutex), 0);
    EXPECT_EQ(weft_mutex_trylock(&mutex), -EBUSY);
    weft_mutex_unlock(&mutex);
    EXPECT_EQ(weft_mutex_lock(&mutex), 0);
    weft_mutex_unlock(&mutex);
    EXPECT_EQ(weft_mutex_lock_shielded(&mutex), 0);
    weft_mutex_unlock(&mutex);
    return 0;
}

Test(mutex, zeroes_are_an_unlocked_mutex)
{
    on_fibers(1, zeroed_body, NULL);
}

static int init_body(void *arg)
{
    struct weft_mutex mutex;
    (void)arg;

    memset(&mutex, 0xff, sizeof(mutex));
    weft_mutex_init(&mutex);
    EXPECT_EQ(weft_mutex_trylock(&mutex), 0);
    weft_mutex_unlock(&mutex);
    return 0;
}

Test(mutex, init_makes_garbage_an_unlocked_mutex)
{
    on_fibers(1, init_body, NULL);
}

static int relock_body(void *arg)
{
    struct weft_mutex mutex = {0};
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&mutex), 0);
    EXPECT_EQ(weft_mutex_lock(&mutex), -EDEADLK);
    EXPECT_EQ(weft_mutex_lock_shielded(&mutex), -EDEADLK);
    EXPECT_EQ(weft_mutex_trylock(&mutex), -EBUSY);
    weft_mutex_unlock(&mutex);
    EXPECT_EQ(weft_mutex_trylock(&mutex), 0);
    weft_mutex_unlock(&mutex);
    return 0;
}

Test(mutex, locking_it_twice_is_an_error_and_leaves_it_locked_once)
{
    on_fibers(1, relock_body, NULL);
}

static int unlock_unowned_body(void *arg)
{
    struct weft_mutex mutex = {0};
    (void)arg;

    weft_mutex_unlock(&mutex);
    return 0;
}

Test(mutex, unlocking_what_one_does_not_own_aborts, .signal = SIGABRT)
{
    on_fibers(1, unlock_unowned_body, NULL);
}

static int append_when_locked(void *arg)
{
    struct place *place = arg;
    struct world *world = place->world;

    arrive(&world->arrivals);
    EXPECT_EQ(weft_mutex_lock(&world->mutex), 0);
    world->order[world->count++] = place->number;
    weft_mutex_unlock(&world->mutex);
    return 0;
}

static int order_body(void *arg)
{
    struct world world = {0};
    struct place places[WAITERS];
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&world.mutex), 0);
    weft_group_init(&group);
    for (int i = 0; i < WAITERS; i++) {
        places[i] = (struct place){&world, i};
        EXPECT_EQ(weft_group_spawn(&group, "waiter", append_when_locked, &places[i]), 0);
        await_arrivals(&world.arrivals, i + 1);
    }
    EXPECT_EQ(world.count, 0);
    weft_mutex_unlock(&world.mutex);
    EXPECT_EQ(weft_mutex_trylock(&world.mutex), -EBUSY); /* it is the first waiter's already */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.count, WAITERS);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(world.order[i], i);
    return 0;
}

Test(mutex, unlock_hands_over_to_waiters_first_come_first_served)
{
    on_fibers(1, order_body, NULL);
}

static int cancelled_body(void *arg)
{
    struct weft_mutex mutex = {0};
    struct weft_scope scope;
    (void)arg;

    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_mutex_lock(&mutex), -ECANCELED);
    EXPECT_EQ(weft_mutex_trylock(&mutex), 0); /* it stayed free; try never suspends */
    weft_mutex_unlock(&mutex);
    EXPECT_EQ(weft_mutex_lock_shielded(&mutex), 0);
    weft_mutex_unlock(&mutex);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_mutex_lock(&mutex), 0);
    weft_mutex_unlock(&mutex);
    return 0;
}

Test(mutex, lock_in_a_cancelled_scope_is_refused_unless_shielded)
{
    on_fibers(1, cancelled_body, NULL);
}

static int lock_and_note_result(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->result = weft_mutex_lock(&world->mutex);
    if (world->result == 0)
        weft_mutex_unlock(&world->mutex);
    return 0;
}

static int lock_shielded_and_note_result(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->result = weft_mutex_lock_shielded(&world->mutex);
    EXPECT_EQ(weft_mutex_trylock(&world->mutex), -EBUSY);
    weft_mutex_unlock(&world->mutex);
    return 0;
}

static int cancel_waiter_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&world.mutex), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", lock_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, -ECANCELED);
    EXPECT_EQ(weft_mutex_trylock(&world.mutex), -EBUSY); /* still ours */
    weft_mutex_unlock(&world.mutex);
    EXPECT_EQ(weft_mutex_trylock(&world.mutex), 0); /* and nobody is left to hand it to */
    weft_mutex_unlock(&world.mutex);
    return 0;
}

Test(mutex, a_cancelled_waiter_leaves_the_queue)
{
    on_fibers(1, cancel_waiter_body, NULL);
}

/* The cancelled waiter is claimed by the cancel but has not run yet when the mutex is unlocked:
 * unlock must pass over it. */
static int pass_over_body(void *arg)
{
    struct world cancelled = {.result = 1};
    struct place place = {&cancelled, 7};
    struct weft_group first, second;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&cancelled.mutex), 0);
    weft_group_init(&second);
    weft_group_init(&first);
    EXPECT_EQ(weft_group_spawn(&first, "cancelled", lock_and_note_result, &cancelled), 0);
    await_arrivals(&cancelled.arrivals, 1);
    EXPECT_EQ(weft_group_spawn(&second, "next", append_when_locked, &place), 0);
    await_arrivals(&cancelled.arrivals, 2);
    weft_group_cancel(&first);
    weft_mutex_unlock(&cancelled.mutex);
    EXPECT_EQ(weft_group_join(&first), -ECANCELED);
    EXPECT_EQ(weft_group_join(&second), 0);
    EXPECT_EQ(cancelled.result, -ECANCELED);
    EXPECT_EQ(cancelled.count, 1);
    EXPECT_EQ(cancelled.order[0], 7);
    return 0;
}

Test(mutex, unlock_passes_over_a_waiter_that_was_cancelled)
{
    on_fibers(1, pass_over_body, NULL);
}

static int claimed_then_cancelled_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&world.mutex), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", lock_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_mutex_unlock(&world.mutex);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, 0);
    EXPECT_EQ(weft_mutex_trylock(&world.mutex), 0);
    weft_mutex_unlock(&world.mutex);
    return 0;
}

Test(mutex, a_lock_that_was_handed_over_is_not_lost_to_a_later_cancel)
{
    on_fibers(1, claimed_then_cancelled_body, NULL);
}

static int shielded_waiter_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&world.mutex), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", lock_shielded_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    weft_mutex_unlock(&world.mutex);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, 0);
    return 0;
}

Test(mutex, a_shielded_waiter_is_not_cancelled)
{
    on_fibers(1, shielded_waiter_body, NULL);
}

static int lock_until_deadline(void *arg)
{
    struct world *world = arg;
    struct weft_scope scope;

    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    world->result = weft_mutex_lock(&world->mutex);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    return 0;
}

static int deadline_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock(&world.mutex), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", lock_until_deadline, &world), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.result, -ETIMEDOUT);
    weft_mutex_unlock(&world.mutex);
    EXPECT_EQ(weft_mutex_trylock(&world.mutex), 0);
    weft_mutex_unlock(&world.mutex);
    return 0;
}

Test(mutex, a_scope_deadline_ends_the_wait)
{
    on_fibers(1, deadline_body, NULL);
}

/* The last user frees the mutex while the one before may still be inside unlock. */
struct shared {
    struct weft_mutex mutex;
    int users; /* guarded by mutex */
};

static int leave_and_free(void *arg)
{
    struct shared *shared = arg;

    EXPECT_EQ(weft_mutex_lock(&shared->mutex), 0);
    int left = --shared->users;
    weft_mutex_unlock(&shared->mutex);
    if (left == 0)
        free(shared);
    return 0;
}

static int free_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 500; round++) {
        struct shared *shared = calloc(1, sizeof(*shared));
        struct weft_group group;

        EXPECT(shared);
        shared->users = 3;
        weft_group_init(&group);
        for (int i = 0; i < 3; i++)
            EXPECT_EQ(weft_group_spawn(&group, "user", leave_and_free, shared), 0);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

Test(mutex, the_last_user_may_free_it)
{
    on_fibers(2, free_body, NULL);
}

static int count_up(void *arg)
{
    struct world *world = arg;

    for (int i = 0; i < 200; i++) {
        EXPECT_EQ(weft_mutex_lock(&world->mutex), 0);
        int seen = world->count;
        if (i % 8 == 0)
            EXPECT_EQ(weft_yield(), 0);
        world->count = seen + 1;
        weft_mutex_unlock(&world->mutex);
    }
    return 0;
}

static int exclusion_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(weft_group_spawn(&group, "counter", count_up, &world), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.count, 20 * 200);
    return 0;
}

Test(mutex, only_one_fiber_is_inside)
{
    on_fibers(2, exclusion_body, NULL);
}

static int lock_until_soon(void *arg)
{
    EXPECT_EQ(weft_mutex_lock_until(arg, 0), -ETIMEDOUT);
    return weft_mutex_lock_until(arg, weft_deadline_after(WEFT_MILLISECOND));
}

static int lock_until_body(void *arg)
{
    struct weft_mutex mutex = {0};
    struct weft_group group;
    struct weft_scope scope;
    (void)arg;

    EXPECT_EQ(weft_mutex_lock_until(&mutex, 0), 0); /* over already, but it is free */
    EXPECT_EQ(weft_mutex_lock_until(&mutex, 0), -EDEADLK);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "other", lock_until_soon, &mutex), 0);
    EXPECT_EQ(weft_group_join(&group), -ETIMEDOUT);
    weft_mutex_unlock(&mutex);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_mutex_lock_until(&mutex, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_mutex_trylock(&mutex), 0); /* nobody had it */
    weft_mutex_unlock(&mutex);
    return 0;
}

Test(mutex, lock_until_gives_up_at_its_deadline)
{
    on_fibers(1, lock_until_body, NULL);
}
