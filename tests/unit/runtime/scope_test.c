/* SPDX-License-Identifier: MIT */
#include "core/scope.h"

#include <pthread.h>
#include <signal.h>

#include "support/fibers.h"
#include "support/test.h"

static int deadline(void *arg)
{
    struct weft_scope scope;

    (void)arg;
    weft_scope_enter(&scope, weft_deadline_after(5 * WEFT_MILLISECOND));
    EXPECT_EQ(weft_sleep(1000 * WEFT_SECOND), -ETIMEDOUT);
    EXPECT_EQ(weft_sleep(1), -ETIMEDOUT); /* until the scope is left */
    EXPECT_EQ(weft_yield(), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(weft_sleep(1), 0);
    return 0;
}

Test(scope, deadline_ends_waits_until_the_scope_is_left)
{
    on_fibers(1, deadline, NULL);
}

static int passed_deadline(void *arg)
{
    struct weft_scope scope;

    (void)arg;
    weft_scope_enter(&scope, 1);
    EXPECT_EQ(weft_sleep(1), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    return 0;
}

Test(scope, a_deadline_in_the_past_strikes_at_the_first_wait)
{
    on_fibers(1, passed_deadline, NULL);
}

static int unused(void *arg)
{
    struct weft_scope scope;

    (void)arg;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_sleep(1), 0);
    EXPECT_EQ(weft_scope_leave(&scope), 0);
    return 0;
}

Test(scope, left_in_peace_returns_zero)
{
    on_fibers(1, unused, NULL);
}

static int inner_and_outer(void *arg)
{
    struct weft_scope outer, inner;

    (void)arg;
    weft_scope_enter(&outer, weft_deadline_after(5 * WEFT_MILLISECOND));
    weft_scope_enter(&inner, weft_deadline_after(1000 * WEFT_SECOND));
    EXPECT_EQ(weft_sleep(100 * WEFT_SECOND), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&inner), 0); /* it was not the inner one */
    EXPECT_EQ(weft_check_cancel(), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&outer), -ETIMEDOUT);
    return 0;
}

Test(scope, the_outer_deadline_reaches_the_inner_scope)
{
    on_fibers(1, inner_and_outer, NULL);
}

static int inner_only(void *arg)
{
    struct weft_scope outer, inner;

    (void)arg;
    weft_scope_enter(&outer, WEFT_NO_DEADLINE);
    weft_scope_enter(&inner, WEFT_NO_DEADLINE);
    weft_scope_cancel(&inner);
    EXPECT_EQ(weft_sleep(1), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&inner), -ECANCELED);
    EXPECT_EQ(weft_sleep(1), 0);
    EXPECT_EQ(weft_scope_leave(&outer), 0);
    return 0;
}

Test(scope, cancelling_the_inner_scope_leaves_the_outer_alone)
{
    on_fibers(1, inner_only, NULL);
}

static int shielded(void *arg)
{
    struct weft_scope scope, shield;

    (void)arg;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_sleep(1), 0);
    weft_scope_cancel(&scope);
    weft_shield_enter(&shield);
    EXPECT_EQ(weft_sleep(1), 0);
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    EXPECT_EQ(weft_sleep(1), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    return 0;
}

Test(scope, a_shield_holds_cancellation_off_until_it_is_left)
{
    on_fibers(1, shielded, NULL);
}

struct shared {
    struct weft_scope scope;
    atomic_int entered, shield_result, after_result;
};

static int sleep_in_shield(void *arg)
{
    struct shared *shared = arg;
    struct weft_scope shield;

    weft_shield_enter(&shield);
    arrive(&shared->entered);
    atomic_store(&shared->shield_result, weft_sleep(10 * WEFT_MILLISECOND));
    weft_scope_leave(&shield);
    atomic_store(&shared->after_result, weft_sleep(1));
    return 0;
}

static int cancel_a_parked_shield(void *arg)
{
    struct shared shared = {.shield_result = 1, .after_result = 1};
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "shielded", sleep_in_shield, &shared);
    EXPECT_EQ(atomic_load(&shared.entered), 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(atomic_load(&shared.shield_result), 0);
    EXPECT_EQ(atomic_load(&shared.after_result), -ECANCELED);
    return 0;
}

Test(scope, a_fiber_parked_in_a_shield_is_not_cancelled)
{
    on_fibers(1, cancel_a_parked_shield, NULL);
}

static int child_sleeps(void *arg)
{
    *(int *)arg = weft_sleep(1000 * WEFT_SECOND);
    return 0;
}

/* The child is the first to park: it links the scope whose deadline its parent set. */
static int deadline_over_a_group(void *arg)
{
    struct weft_scope scope;
    struct weft_group group;
    int slept = 1;

    (void)arg;
    weft_scope_enter(&scope, weft_deadline_after(10 * WEFT_MILLISECOND));
    weft_group_init(&group);
    weft_group_spawn(&group, "child", child_sleeps, &slept);
    EXPECT_EQ(weft_group_join(&group), -ETIMEDOUT);
    EXPECT_EQ(slept, -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    return 0;
}

Test(scope, a_deadline_reaches_children_although_its_owner_never_parked_in_it)
{
    on_fibers(1, deadline_over_a_group, NULL);
    on_fibers(2, deadline_over_a_group, NULL);
}

static void *cancel_from_thread(void *arg)
{
    weft_scope_cancel(arg);
    return NULL;
}

static int cancelled_by_thread(void *arg)
{
    struct weft_scope scope;
    pthread_t thread;

    (void)arg;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    EXPECT_EQ(pthread_create(&thread, NULL, cancel_from_thread, &scope), 0);
    EXPECT_EQ(weft_sleep(1000 * WEFT_SECOND), -ECANCELED);
    pthread_join(thread, NULL);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    return 0;
}

Test(scope, a_plain_thread_may_cancel)
{
    on_fibers(1, cancelled_by_thread, NULL);
}

enum { DEEP = 2000 };

static struct weft_scope deep[DEEP];

static int nested_deep(void *arg)
{
    (void)arg;
    for (int i = 0; i < DEEP; i++)
        weft_scope_enter(&deep[i], WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_sleep(1), 0);
    weft_scope_cancel(&deep[0]);
    EXPECT_EQ(weft_sleep(1), -ECANCELED);
    for (int i = DEEP - 1; i > 0; i--)
        EXPECT_EQ(weft_scope_leave(&deep[i]), 0);
    EXPECT_EQ(weft_scope_leave(&deep[0]), -ECANCELED);
    EXPECT_EQ(weft_sleep(1), 0);
    return 0;
}

Test(scope, depth_is_not_bounded_by_the_stack)
{
    on_fibers(1, nested_deep, NULL);
}

static int cancelled_inside_an_expired_one(void *arg)
{
    struct weft_scope outer, inner;

    (void)arg;
    weft_scope_enter(&outer, 1); /* passed, but nothing has looked yet */
    weft_scope_enter(&inner, WEFT_NO_DEADLINE);
    weft_scope_cancel(&inner);
    EXPECT_EQ(weft_check_cancel(), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&inner), -ECANCELED);
    EXPECT_EQ(weft_check_cancel(), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&outer), -ETIMEDOUT);
    return 0;
}

Test(scope, its_own_cancel_is_not_renamed_by_an_outer_one)
{
    on_fibers(1, cancelled_inside_an_expired_one, NULL);
}

static int end_inside(void *arg)
{
    weft_scope_enter(arg, WEFT_NO_DEADLINE);
    return 0;
}

Test(scope, a_fiber_that_ends_inside_one_aborts, .signal = SIGABRT)
{
    struct weft_scope scope;

    on_fibers(1, end_inside, &scope);
}
