/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>

#include "support/fibers.h"

enum { WAITERS = 4 };

struct world {
    struct weft_future *future;
    atomic_int arrivals;
    int result;
    void *value;
};

static struct weft_future *new_future(void)
{
    struct weft_future *future = NULL;

    EXPECT_EQ(weft_future_new(&future), 0);
    return future;
}

Test(future, is_done_once_and_stays_so)
{
    struct weft_future *future = new_future();
    int value = 1, other = 2;
    void *result = NULL;

    cr_assert(!weft_future_done(future) && !weft_future_cancelled(future));
    cr_assert_eq(weft_future_result(future, &result), -EAGAIN);
    cr_assert_eq(weft_future_set_result(future, &value), 0);
    cr_assert(weft_future_done(future) && !weft_future_cancelled(future));
    cr_assert_eq(weft_future_set_result(future, &other), -EALREADY);
    cr_assert_eq(weft_future_set_error(future, -EIO), -EALREADY);
    cr_assert_eq(weft_future_cancel(future), -EALREADY);
    cr_assert_eq(weft_future_result(future, &result), 0);
    cr_assert_eq(result, &value);
    cr_assert_eq(weft_future_result(future, NULL), 0);
    weft_future_unref(future);
    weft_future_unref(NULL);
}

Test(future, an_error_is_negative_and_leaves_the_result_alone)
{
    struct weft_future *future = new_future();
    int untouched = 0;
    void *result = &untouched;

    cr_assert_eq(weft_future_set_error(future, 0), -EINVAL);
    cr_assert_eq(weft_future_set_error(future, EIO), -EINVAL);
    cr_assert(!weft_future_done(future));
    cr_assert_eq(weft_future_set_error(future, -EIO), 0);
    cr_assert(weft_future_done(future) && !weft_future_cancelled(future));
    cr_assert_eq(weft_future_result(future, &result), -EIO);
    cr_assert_eq(result, &untouched);
    cr_assert_eq(weft_future_set_result(future, NULL), -EALREADY);
    weft_future_unref(future);
}

Test(future, cancelled_is_told_from_an_error_of_that_number)
{
    struct weft_future *future = new_future();

    cr_assert_eq(weft_future_cancel(future), 0);
    cr_assert(weft_future_done(future) && weft_future_cancelled(future));
    cr_assert_eq(weft_future_result(future, NULL), -ECANCELED);
    cr_assert_eq(weft_future_cancel(future), -EALREADY);
    weft_future_unref(future);
    future = new_future();
    cr_assert_eq(weft_future_set_error(future, -ECANCELED), 0);
    cr_assert(!weft_future_cancelled(future));
    weft_future_unref(future);
}

static int wait_body(void *arg)
{
    struct weft_future *future = new_future();
    void *result = NULL;
    int value = 1;
    (void)arg;

    EXPECT_EQ(weft_future_wait(future, 0, &result), -ETIMEDOUT);
    EXPECT_EQ(weft_future_wait(future, weft_deadline_after(WEFT_MILLISECOND), &result), -ETIMEDOUT);
    EXPECT(!result && !weft_future_done(future));
    EXPECT_EQ(weft_future_set_result(future, &value), 0);
    EXPECT_EQ(weft_future_wait(future, 0, &result), 0); /* no wait is needed */
    EXPECT(result == &value);
    EXPECT_EQ(weft_future_wait(future, WEFT_NO_DEADLINE, NULL), 0);
    weft_future_unref(future);
    return 0;
}

Test(future, wait_ends_with_its_deadline_and_leaves_it_as_it_is)
{
    on_fibers(1, wait_body, NULL);
}

static int wait_and_note(void *arg)
{
    struct world *world = arg;
    void *value = NULL;
    int r;

    arrive(&world->arrivals);
    r = weft_future_wait(world->future, WEFT_NO_DEADLINE, &value);
    EXPECT_EQ(r, world->result);
    EXPECT(r < 0 || value == world->value);
    return 0;
}

static void finish_with_waiters(struct world *world, int (*finish)(struct world *world))
{
    struct weft_group group;

    world->future = new_future();
    atomic_store(&world->arrivals, 0);
    weft_group_init(&group);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_and_note, world), 0);
    await_arrivals(&world->arrivals, WAITERS);
    EXPECT_EQ(finish(world), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_future_unref(world->future);
}

static int finish_with_result(struct world *world)
{
    return weft_future_set_result(world->future, world->value);
}

static int finish_with_error(struct world *world)
{
    return weft_future_set_error(world->future, world->result);
}

static int finish_with_cancel(struct world *world)
{
    return weft_future_cancel(world->future);
}

static int many_body(void *arg)
{
    struct world world = {.value = &world};
    (void)arg;

    finish_with_waiters(&world, finish_with_result);
    world.result = -EIO;
    finish_with_waiters(&world, finish_with_error);
    world.result = -ECANCELED;
    finish_with_waiters(&world, finish_with_cancel);
    return 0;
}

Test(future, many_fibers_wait_for_a_result_an_error_or_a_cancel)
{
    on_fibers(1, many_body, NULL);
    on_fibers(3, many_body, NULL);
}

static int cancelled_wait(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->result = weft_future_wait(world->future, WEFT_NO_DEADLINE, &world->value);
    return 0;
}

static int cancel_body(void *arg)
{
    struct world world = {.future = new_future()};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", cancelled_wait, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_future_wait(world.future, WEFT_NO_DEADLINE, NULL), -ECANCELED);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, -ECANCELED);
    EXPECT(!weft_future_done(world.future)); /* and goes on being awaited by others */
    EXPECT_EQ(weft_future_set_result(world.future, NULL), 0);
    weft_future_unref(world.future);
    return 0;
}

Test(future, cancelling_who_waits_does_not_cancel_it)
{
    on_fibers(1, cancel_body, NULL);
}

static void *set_from_thread(void *arg)
{
    struct world *world = arg;

    EXPECT_EQ(weft_future_set_result(world->future, world->value), 0);
    weft_future_unref(world->future);
    return NULL;
}

static int thread_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        struct world world = {.future = new_future(), .value = &world};
        struct weft_future *future = weft_future_ref(world.future);
        pthread_t thread;
        void *value = NULL;

        EXPECT_EQ(pthread_create(&thread, NULL, set_from_thread, &world), 0);
        EXPECT_EQ(weft_future_wait(future, WEFT_NO_DEADLINE, &value), 0);
        EXPECT(value == &world);
        weft_future_unref(future);
        EXPECT_EQ(pthread_join(thread, NULL), 0);
    }
    return 0;
}

Test(future, a_plain_thread_may_make_it_done)
{
    on_fibers(2, thread_body, NULL);
}

/* --- callbacks */

struct calls {
    char order[16];
    int count;
};

static void note(struct weft_future *future, void *arg)
{
    struct calls *calls = arg;

    EXPECT(weft_future_done(future));
    calls->order[calls->count++] = 'a';
}

static void note_b(struct weft_future *future, void *arg)
{
    struct calls *calls = arg;

    EXPECT(weft_future_done(future));
    calls->order[calls->count++] = 'b';
}

Test(future, callbacks_run_once_in_order_when_it_is_done)
{
    struct weft_future *future = new_future();
    struct calls calls = {{0}, 0};

    cr_assert_eq(weft_future_add_done_callback(future, note, &calls), 0);
    cr_assert_eq(weft_future_add_done_callback(future, note_b, &calls), 0);
    cr_assert_eq(weft_future_add_done_callback(future, note, &calls), 0);
    cr_assert_eq(calls.count, 0);
    cr_assert_eq(weft_future_set_result(future, NULL), 0);
    cr_assert_str_eq(calls.order, "aba");
    cr_assert_eq(weft_future_cancel(future), -EALREADY);
    cr_assert_eq(calls.count, 3);
    weft_future_unref(future);
}

Test(future, a_callback_that_comes_late_runs_at_once)
{
    struct weft_future *future = new_future();
    struct calls calls = {{0}, 0};

    cr_assert_eq(weft_future_set_error(future, -EIO), 0);
    cr_assert_eq(weft_future_add_done_callback(future, note, &calls), 0);
    cr_assert_str_eq(calls.order, "a");
    cr_assert_eq(weft_future_remove_done_callback(future, note, &calls), 0);
    weft_future_unref(future);
}

Test(future, callbacks_can_be_taken_back_before)
{
    struct weft_future *future = new_future();
    struct calls calls = {{0}, 0}, others = {{0}, 0};

    cr_assert_eq(weft_future_remove_done_callback(future, note, &calls), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(weft_future_add_done_callback(future, note, &calls), 0);
        cr_assert_eq(weft_future_add_done_callback(future, note_b, &calls), 0);
        cr_assert_eq(weft_future_add_done_callback(future, note, &others), 0);
    }
    cr_assert_eq(weft_future_remove_done_callback(future, note, &calls), 3);
    cr_assert_eq(weft_future_remove_done_callback(future, note, &others), 3);
    cr_assert_eq(weft_future_add_done_callback(future, note, &calls), 0);
    cr_assert_eq(weft_future_set_result(future, NULL), 0);
    cr_assert_str_eq(calls.order, "bbba");
    cr_assert_eq(others.count, 0);
    weft_future_unref(future);
}

static void drop_reference(struct weft_future *future, void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    weft_future_unref(future);
}

Test(future, a_callback_may_give_away_the_last_reference)
{
    struct weft_future *future = new_future();
    atomic_int count = 0;

    cr_assert_eq(weft_future_add_done_callback(future, drop_reference, &count), 0);
    cr_assert_eq(weft_future_set_result(future, NULL), 0);
    cr_assert_eq(atomic_load(&count), 1);
}

Test(future, callbacks_that_never_ran_go_with_it)
{
    struct weft_future *future = new_future();
    atomic_int count = 0;

    cr_assert_eq(weft_future_add_done_callback(future, drop_reference, &count), 0);
    weft_future_unref(future);
    cr_assert_eq(atomic_load(&count), 0);
}

static void wake_fiber(struct weft_future *future, void *arg)
{
    EXPECT_EQ(weft_future_result(future, NULL), 0);
    weft_event_set(arg);
}

static int callback_body(void *arg)
{
    struct world world = {.future = new_future()};
    struct weft_event event = {{0}};
    pthread_t thread;
    (void)arg;

    EXPECT_EQ(weft_future_add_done_callback(world.future, wake_fiber, &event), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, set_from_thread, &world), 0);
    EXPECT_EQ(weft_event_wait(&event, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    return 0;
}

Test(future, a_callback_runs_on_the_thread_that_makes_it_done)
{
    on_fibers(1, callback_body, NULL);
}
