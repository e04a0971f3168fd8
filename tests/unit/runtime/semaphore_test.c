/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <string.h>

#include "support/fibers.h"

enum { WAITERS = 4 };

struct world {
    struct weft_semaphore semaphore;
    atomic_int arrivals;
    int order[WAITERS];
    int count;
    int result;
};

struct place {
    struct world *world;
    int number;
};

Test(semaphore, permits_can_be_tried_and_given_from_a_plain_thread)
{
    struct weft_semaphore semaphore;

    memset(&semaphore, 0xff, sizeof(semaphore));
    weft_semaphore_init(&semaphore, 2, 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), -EAGAIN);
    cr_assert_eq(weft_semaphore_release(&semaphore), 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), -EAGAIN);
}

Test(semaphore, release_beyond_the_limit_is_refused_and_changes_nothing)
{
    struct weft_semaphore semaphore;

    weft_semaphore_init(&semaphore, 1, 2);
    cr_assert_eq(weft_semaphore_release(&semaphore), 0);
    cr_assert_eq(weft_semaphore_release(&semaphore), -EOVERFLOW);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), -EAGAIN);
}

Test(semaphore, more_permits_than_the_limit_are_cut_to_it)
{
    struct weft_semaphore semaphore;

    weft_semaphore_init(&semaphore, 5, 1);
    cr_assert_eq(weft_semaphore_release(&semaphore), -EOVERFLOW);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), 0);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), -EAGAIN);
}

Test(semaphore, without_a_limit_the_count_does_not_wrap)
{
    struct weft_semaphore semaphore;

    weft_semaphore_init(&semaphore, UINT32_MAX, 0);
    cr_assert_eq(weft_semaphore_release(&semaphore), -EOVERFLOW);
    cr_assert_eq(weft_semaphore_try_acquire(&semaphore), 0);
    cr_assert_eq(weft_semaphore_release(&semaphore), 0);
}

static int acquire_body(void *arg)
{
    struct weft_semaphore semaphore;
    (void)arg;

    weft_semaphore_init(&semaphore, 2, 2);
    EXPECT_EQ(weft_semaphore_acquire(&semaphore, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(weft_semaphore_acquire(&semaphore, 0), 0); /* over already, but no wait is needed */
    EXPECT_EQ(weft_semaphore_acquire(&semaphore, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_semaphore_acquire(&semaphore, weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    EXPECT_EQ(weft_semaphore_release(&semaphore), 0);
    EXPECT_EQ(weft_semaphore_release(&semaphore), 0);
    EXPECT_EQ(weft_semaphore_release(&semaphore), -EOVERFLOW);
    return 0;
}

Test(semaphore, acquire_takes_a_permit_or_waits_until_the_deadline)
{
    on_fibers(1, acquire_body, NULL);
}

static int acquire_and_note_place(void *arg)
{
    struct place *place = arg;
    struct world *world = place->world;

    arrive(&world->arrivals);
    EXPECT_EQ(weft_semaphore_acquire(&world->semaphore, WEFT_NO_DEADLINE), 0);
    world->order[world->count++] = place->number;
    return 0;
}

static int order_body(void *arg)
{
    struct world world = {0};
    struct place places[WAITERS];
    struct weft_group group;
    (void)arg;

    weft_semaphore_init(&world.semaphore, 0, 1);
    weft_group_init(&group);
    for (int i = 0; i < WAITERS; i++) {
        places[i] = (struct place){&world, i};
        EXPECT_EQ(weft_group_spawn(&group, "waiter", acquire_and_note_place, &places[i]), 0);
        await_arrivals(&world.arrivals, i + 1);
    }
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(weft_semaphore_release(&world.semaphore), 0);
        EXPECT_EQ(weft_semaphore_try_acquire(&world.semaphore), -EAGAIN); /* given, not freed */
        while (world.count == i)
            EXPECT_EQ(weft_yield(), 0);
        EXPECT_EQ(world.order[i], i);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.count, WAITERS);
    return 0;
}

static int many_grants_body(void *arg)
{
    struct world world = {0};
    struct place places[WAITERS];
    struct weft_group group;
    (void)arg;

    weft_semaphore_init(&world.semaphore, 0, 1);
    weft_group_init(&group);
    for (int i = 0; i < WAITERS; i++) {
        places[i] = (struct place){&world, i};
        EXPECT_EQ(weft_group_spawn(&group, "waiter", acquire_and_note_place, &places[i]), 0);
        await_arrivals(&world.arrivals, i + 1);
    }
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(weft_semaphore_release(&world.semaphore), 0);
    EXPECT_EQ(weft_semaphore_release(&world.semaphore), 0); /* the first that is free */
    EXPECT_EQ(weft_semaphore_release(&world.semaphore), -EOVERFLOW);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.count, WAITERS);
    return 0;
}

Test(semaphore, permits_given_to_waiters_do_not_count_towards_the_limit)
{
    on_fibers(1, many_grants_body, NULL);
}

Test(semaphore, release_gives_to_waiters_first_come_first_served)
{
    on_fibers(1, order_body, NULL);
}

static int acquire_and_note_result(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->result = weft_semaphore_acquire(&world->semaphore, WEFT_NO_DEADLINE);
    return 0;
}

static int cancel_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    weft_semaphore_init(&world.semaphore, 0, 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", acquire_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_semaphore_release(&world.semaphore), 0); /* the waiter still stands in line */
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, -ECANCELED);
    EXPECT_EQ(weft_semaphore_try_acquire(&world.semaphore), 0); /* so the permit is free */
    EXPECT_EQ(weft_semaphore_try_acquire(&world.semaphore), -EAGAIN);
    return 0;
}

Test(semaphore, a_permit_is_not_lost_to_a_cancelled_waiter)
{
    on_fibers(1, cancel_body, NULL);
}

static int claimed_then_cancelled_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    weft_semaphore_init(&world.semaphore, 0, 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", acquire_and_note_result, &world), 0);
    await_arrivals(&world.arrivals, 1);
    EXPECT_EQ(weft_semaphore_release(&world.semaphore), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, 0);
    EXPECT_EQ(weft_semaphore_try_acquire(&world.semaphore), -EAGAIN);
    return 0;
}

Test(semaphore, a_permit_that_was_granted_is_not_lost_to_a_later_cancel)
{
    on_fibers(1, claimed_then_cancelled_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct weft_semaphore semaphore;
    struct weft_scope scope;
    (void)arg;

    weft_semaphore_init(&semaphore, 1, 1);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_semaphore_acquire(&semaphore, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_semaphore_acquire(&semaphore, WEFT_NO_DEADLINE), 0); /* it was left in place */
    return 0;
}

Test(semaphore, acquire_in_a_cancelled_scope_leaves_the_permit)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static void *release_from_thread(void *arg)
{
    struct weft_semaphore *semaphore = arg;

    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_semaphore_release(semaphore), 0);
    return NULL;
}

static int thread_body(void *arg)
{
    struct weft_semaphore semaphore;
    pthread_t thread;
    (void)arg;

    weft_semaphore_init(&semaphore, 0, 0);
    EXPECT_EQ(pthread_create(&thread, NULL, release_from_thread, &semaphore), 0);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_semaphore_acquire(&semaphore, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(weft_semaphore_try_acquire(&semaphore), -EAGAIN);
    return 0;
}

Test(semaphore, a_plain_thread_may_release_to_a_waiting_fiber)
{
    on_fibers(1, thread_body, NULL);
}

static int release_once(void *arg)
{
    return weft_semaphore_release(arg);
}

/* The waiter frees the semaphore while the releaser may still be inside release. */
static int free_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 500; round++) {
        struct weft_semaphore *semaphore = malloc(sizeof(*semaphore));
        struct weft_group group;

        EXPECT(semaphore);
        weft_semaphore_init(semaphore, 0, 0);
        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "releaser", release_once, semaphore), 0);
        EXPECT_EQ(weft_semaphore_acquire(semaphore, WEFT_NO_DEADLINE), 0);
        free(semaphore);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

Test(semaphore, who_acquired_last_may_free_it)
{
    on_fibers(2, free_body, NULL);
}
