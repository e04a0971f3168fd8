/* SPDX-License-Identifier: MIT */
/* blocking_test: weft/blocking.h, of core/handoff.c */
#include "support/test.h"

#include <pthread.h>

#include "support/handoff.h"

/* --- announced */

static int post(void *arg)
{
    struct blocked *blocked = arg;

    while (!atomic_load(&blocked->reached))
        EXPECT_EQ(weft_yield(), 0);
    sem_post(&blocked->sem);
    return 0;
}

static int hand_over_at_once(void *arg)
{
    struct blocked blocked = {0};
    struct weft_group group;

    (void)arg;
    sem_init(&blocked.sem, 0, 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "poster", post, &blocked), 0);
    EXPECT_EQ(weft_blocking_begin(), 0);
    EXPECT_EQ(weft_blocking_begin(), 0); /* they nest */
    EXPECT_EQ(runtime_stats().without_worker, 1);
    EXPECT_EQ(weft_worker_index(), 0); /* that it had */
    wait_like_c(&blocked);
    EXPECT_EQ(weft_blocking_end(), 0);
    EXPECT_EQ(runtime_stats().without_worker, 1);
    EXPECT_EQ(weft_blocking_end(), 0);
    EXPECT_EQ(runtime_stats().without_worker, 0);
    EXPECT_EQ(weft_blocking_end(), -EINVAL);
    EXPECT_EQ(handoffs(), 1);
    sem_destroy(&blocked.sem);
    return weft_group_join(&group);
}

static int see_main(const char *text, size_t size, void *arg)
{
    char *seen = arg;
    EXPECT(strlen(seen) + size < 4096);
    strncat(seen, text, size);
    return 0;
}

static int look_at_oneself(void *arg)
{
    char text[4096] = "";
    (void)arg;
    EXPECT_EQ(weft_blocking_begin(), 0);
    EXPECT_EQ(weft_dump(weft_runtime_self(), 0, see_main, text), 0);
    EXPECT_EQ(weft_blocking_end(), 0);
    EXPECT(strstr(text, " s, and worker 0 goes on without it") != NULL);
    return 0;
}

Test(blocking, a_dump_says_that_the_worker_goes_on_without_it)
{
    on_fibers(1, look_at_oneself, NULL);
}

Test(blocking, an_announced_call_does_not_block_the_worker)
{
    run(1, WEFT_HANDOFF_NEVER, hand_over_at_once, NULL);
}

Test(blocking, on_a_plain_thread_a_region_is_nothing)
{
    cr_assert_eq(weft_blocking_begin(), 0);
    cr_assert_eq(weft_blocking_end(), 0);
    cr_assert_eq(weft_blocking_end(), 0);
}

/* What a fiber does without a worker, without a suspension, as a plain thread would. */
static int act_as_stray(void *arg)
{
    struct weft_event event;
    struct weft_semaphore semaphore;
    struct weft_group group;
    atomic_int woken = 0;

    (void)arg;
    weft_event_init(&event);
    weft_semaphore_init(&semaphore, 0, 0);
    EXPECT_EQ(weft_blocking_begin(), 0);
    weft_event_set(&event);
    EXPECT_EQ(weft_semaphore_release(&semaphore), 0);
    EXPECT_EQ(weft_semaphore_try_acquire(&semaphore), 0);
    weft_trace_mark("stray", 1);
    EXPECT_EQ(weft_check_cancel(), 0);
    EXPECT(weft_on_fiber());
    EXPECT_EQ(runtime_stats().without_worker, 1);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "child", count_up, &woken), 0); /* this suspends */
    EXPECT_EQ(runtime_stats().without_worker, 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&woken), 1);
    EXPECT_EQ(weft_blocking_end(), 0); /* the region was there all the same */
    return weft_blocking_end() == -EINVAL ? 0 : -EIO;
}

Test(blocking, what_suspends_goes_home_first_and_what_does_not_does_not)
{
    run(1, WEFT_HANDOFF_NEVER, act_as_stray, NULL);
    run(2, WEFT_HANDOFF_NEVER, act_as_stray, NULL);
}

static int arm_as_stray(void *arg)
{
    struct weft_scope scope;
    struct weft_event never;

    (void)arg;
    weft_event_init(&never);
    EXPECT_EQ(weft_blocking_begin(), 0);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    while (weft_check_cancel() == 0)
        ; /* the first links the scope; its timer is another worker's, which sleeps and must be told */
    EXPECT_EQ(weft_check_cancel(), -ETIMEDOUT);
    EXPECT_EQ(runtime_stats().without_worker, 1);
    EXPECT_EQ(weft_blocking_end(), -ETIMEDOUT);
    EXPECT_EQ(runtime_stats().without_worker, 0);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    return 0;
}

Test(blocking, a_deadline_that_a_stray_sets_strikes)
{
    run(1, WEFT_HANDOFF_NEVER, arm_as_stray, NULL);
}

/* In one function on purpose: a compiler that believes errno's address to be constant, as the C
 * library declares it, reads that of the thread that was left. */
static int keep_errno(void *arg)
{
    pid_t left = thread_id();

    (void)arg;
    EXPECT_EQ(weft_blocking_begin(), 0);
    errno = EXDEV;
    EXPECT_EQ(weft_blocking_end(), 0);
    EXPECT(thread_id() != left);
    EXPECT_EQ(errno, EXDEV);
    errno = 0;
    EXPECT_EQ(close(-1), -1);
    EXPECT_EQ(errno, EBADF);
    return 0;
}

Test(blocking, errno_of_the_call_outlives_the_way_home)
{
    run(1, WEFT_HANDOFF_NEVER, keep_errno, NULL);
}

static int end_inside(void *arg)
{
    (void)arg;
    EXPECT_EQ(weft_blocking_begin(), 0);
    EXPECT_EQ(weft_blocking_begin(), 0);
    return 0;
}

static int start_clean(void *arg)
{
    (void)arg;
    EXPECT_EQ(weft_blocking_end(), -EINVAL);
    EXPECT_EQ(weft_unpin(), -EINVAL);
    return 0;
}

static int end_pinned(void *arg)
{
    (void)arg;
    EXPECT_EQ(weft_pin(), 0);
    EXPECT_EQ(weft_pin(), 0);
    return 0;
}

static int one_after_the_other(void *arg)
{
    static int (*const fns[])(void *) = {end_inside, start_clean, end_pinned, start_clean};

    (void)arg;
    for (unsigned i = 0; i < 4; i++) {
        struct weft_group group;

        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "same stack", fns[i], NULL), 0);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

Test(blocking, a_fiber_that_ends_leaves_no_region_and_no_pin_behind)
{
    run(1, WEFT_HANDOFF_NEVER, one_after_the_other, NULL);
}

struct crowd {
    sem_t sem;
    atomic_int inside, refused;
};

static int join_crowd(void *arg)
{
    struct crowd *crowd = arg;
    int r = weft_blocking_begin();

    if (r < 0) {
        EXPECT_EQ(r, -EAGAIN);
        EXPECT_EQ(weft_blocking_end(), -EINVAL);
        atomic_fetch_add(&crowd->refused, 1);
        return 0;
    }
    atomic_fetch_add(&crowd->inside, 1);
    while (sem_wait(&crowd->sem) < 0)
        ;
    return weft_blocking_end();
}

static int too_many(void *arg)
{
    struct crowd crowd = {0};
    struct weft_group group;

    (void)arg;
    sem_init(&crowd.sem, 0, 0);
    weft_group_init(&group);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(weft_group_spawn(&group, "blocker", join_crowd, &crowd), 0);
    await_arrivals(&crowd.refused, 2);
    await_arrivals(&crowd.inside, 3);
    EXPECT_EQ(runtime_stats().spare_threads, 3);
    for (int i = 0; i < 3; i++)
        sem_post(&crowd.sem);
    EXPECT_EQ(weft_group_join(&group), 0);
    sem_destroy(&crowd.sem);
    return 0;
}

Test(blocking, there_are_no_more_threads_than_the_option_allows)
{
    struct weft_options options = options_of(1, WEFT_HANDOFF_NEVER);

    options.spare_threads = 3;
    cr_assert_eq(weft_run(&options, too_many, NULL), 0);
}

static int wait_in_region(void *arg)
{
    EXPECT_EQ(weft_blocking_begin(), 0);
    wait_like_c(arg);
    EXPECT_EQ(weft_blocking_end(), -ECANCELED);
    return 0;
}

Test(blocking, a_stop_waits_for_who_blocks)
{
    struct weft_options options = options_of(2, WEFT_HANDOFF_NEVER);
    struct blocked blocked = {0};
    struct weft_runtime *runtime;

    sem_init(&blocked.sem, 0, 0);
    options.grace_ns = WEFT_MILLISECOND;
    cr_assert_eq(weft_runtime_new(&options, &runtime), 0);
    cr_assert_eq(weft_runtime_spawn(runtime, "blocked", wait_in_region, &blocked), 0);
    spin_until(&blocked.reached);
    cr_assert_eq(weft_runtime_free(runtime), -ETIMEDOUT);
    sem_post(&blocked.sem);
    while (weft_runtime_free(runtime) == -ETIMEDOUT)
        ;
    sem_destroy(&blocked.sem);
}

/* --- pins */

enum { PINNED = 4, PIN_STEPS = 200 };

struct pinning {
    struct weft_semaphore turns;
    atomic_bool stop;
};

static int stay(void *arg)
{
    struct pinning *pinning = arg;
    struct weft_group group;
    atomic_int children = 0;
    pid_t thread;

    EXPECT_EQ(weft_pin(), 0);
    thread = thread_id();
    weft_group_init(&group);
    for (int i = 0; i < PIN_STEPS; i++) {
        EXPECT_EQ(i % 2 ? weft_yield() : weft_sleep(1), 0);
        EXPECT_EQ(thread_id(), thread);
        EXPECT_EQ(weft_semaphore_acquire(&pinning->turns, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(thread_id(), thread);
        EXPECT_EQ(weft_group_spawn(&group, "child", count_up, &children), 0);
        EXPECT_EQ(thread_id(), thread);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(thread_id(), thread);
    EXPECT_EQ(atomic_load(&children), PIN_STEPS);
    return weft_unpin();
}

/* Wakes them from everywhere, and is a reason to steal. */
static int give_turns(void *arg)
{
    struct pinning *pinning = arg;

    for (int i = 0; i < PIN_STEPS; i++) {
        EXPECT_EQ(weft_semaphore_release(&pinning->turns), 0);
        EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

static void *give_from_outside(void *arg)
{
    struct pinning *pinning = arg;

    for (int i = 0; i < PIN_STEPS; i++)
        EXPECT_EQ(weft_semaphore_release(&pinning->turns), 0);
    return NULL;
}

static int pinned_ones_stay(void *arg)
{
    struct pinning pinning = {0};
    struct weft_group group;
    pthread_t outside;

    (void)arg;
    weft_semaphore_init(&pinning.turns, 0, 0);
    weft_group_init(&group);
    EXPECT_EQ(pthread_create(&outside, NULL, give_from_outside, &pinning), 0);
    for (int i = 0; i < PINNED; i++) {
        EXPECT_EQ(weft_group_spawn(&group, "pinned", stay, &pinning), 0);
        if (i > 0)
            EXPECT_EQ(weft_group_spawn(&group, "giver", give_turns, &pinning), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(pthread_join(outside, NULL), 0);
    return 0;
}

Test(blocking, a_pinned_fiber_stays_on_its_thread)
{
    run(1, 0, pinned_ones_stay, NULL);
    run(4, WEFT_MILLISECOND, pinned_ones_stay, NULL);
}
