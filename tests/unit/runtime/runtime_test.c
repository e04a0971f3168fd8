/* SPDX-License-Identifier: MIT */
#include "core/runtime.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "support/fibers.h"
#include "support/test.h"

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

Test(runtime, run_returns_the_main_fiber_s_result)
{
    cr_assert_eq(weft_run(NULL, return_arg, (void *)42), 42);
    cr_assert_eq(weft_run(NULL, return_arg, (void *)(intptr_t)-EIO), -EIO);
}

Test(runtime, bad_options_are_refused)
{
    struct weft_options options;

    weft_options_init(&options);
    options.stack_size = 64 << 20;
    cr_assert_eq(weft_run(&options, return_arg, NULL), -EINVAL);
    weft_options_init(&options);
    options.workers = 100000;
    cr_assert_eq(weft_run(&options, return_arg, NULL), -EINVAL);
}

static int run_inside(void *arg)
{
    EXPECT_EQ(weft_run(NULL, return_arg, arg), -EINVAL);
    return 0;
}

Test(runtime, run_on_a_fiber_is_refused)
{
    on_fibers(1, run_inside, NULL);
}

static int sleep_long(void *arg)
{
    (void)arg;
    return weft_sleep(1000 * WEFT_SECOND);
}

static int left_behind(void *arg)
{
    atomic_store((atomic_int *)arg, weft_sleep(1000 * WEFT_SECOND));
    return 0;
}

static int leave_one_behind(void *arg)
{
    return weft_runtime_spawn(weft_runtime_self(), "left behind", left_behind, arg);
}

Test(runtime, fibers_left_behind_by_main_are_cancelled)
{
    atomic_int result = 1;

    on_fibers(2, leave_one_behind, &result);
    cr_assert_eq(atomic_load(&result), -ECANCELED);
}

static int count_up(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static void *spawn_hundred(void *arg)
{
    void **both = arg;

    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_runtime_spawn(both[0], "foreign", count_up, both[1]), 0);
    return NULL;
}

Test(runtime, plain_threads_spawn_into_a_runtime)
{
    struct weft_runtime *runtime;
    struct weft_runtime_stats stats;
    pthread_t threads[4];
    atomic_int done = 0;
    void *both[2];

    cr_assert_eq(weft_runtime_new(NULL, &runtime), 0);
    both[0] = runtime;
    both[1] = &done;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, spawn_hundred, both);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    do
        weft_stats_runtime(runtime, &stats);
    while (stats.live_fibers > 0);
    cr_assert_eq(atomic_load(&done), 400);
    cr_assert_eq(weft_runtime_free(runtime), 0);
}

Test(runtime, spawn_after_stop_is_refused)
{
    struct weft_runtime *runtime;
    atomic_int done = 0;

    cr_assert_eq(weft_runtime_new(NULL, &runtime), 0);
    weft_runtime_stop(runtime);
    cr_assert_eq(weft_runtime_spawn(runtime, "late", count_up, &done), -ESHUTDOWN);
    cr_assert_eq(weft_runtime_free(runtime), 0);
    cr_assert_eq(atomic_load(&done), 0);
}

Test(runtime, free_of_null_does_nothing)
{
    cr_assert_eq(weft_runtime_free(NULL), 0);
}

static int hide_behind_shield(void *arg)
{
    struct weft_scope shield;
    int r;

    weft_shield_enter(&shield);
    arrive(arg);
    r = weft_sleep(1000 * WEFT_SECOND);
    weft_scope_leave(&shield);
    return r;
}

static void start_shielded(uint64_t grace_ns, struct weft_runtime **ret_runtime)
{
    struct weft_options options;
    atomic_int arrived = 0;

    weft_options_init(&options);
    options.workers = 2;
    options.grace_ns = grace_ns;
    cr_assert_eq(weft_runtime_new(&options, ret_runtime), 0);
    cr_assert_eq(weft_runtime_spawn(*ret_runtime, "shielded", hide_behind_shield, &arrived), 0);
    while (atomic_load(&arrived) == 0)
        sched_yield();
}

Test(runtime, shields_are_broken_when_the_grace_is_over)
{
    struct weft_runtime *runtime;

    start_shielded(2 * WEFT_SECOND, &runtime); /* they have as long again to end */
    cr_assert_eq(weft_runtime_free(runtime), 0);
}

Test(runtime, a_second_stop_breaks_shields_at_once)
{
    struct weft_runtime *runtime;

    start_shielded(1000 * WEFT_SECOND, &runtime);
    weft_runtime_stop(runtime);
    weft_runtime_stop(runtime);
    cr_assert_eq(weft_runtime_free(runtime), 0);
}

static int signal_self(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
    return weft_sleep(1000 * WEFT_SECOND);
}

Test(runtime, sigterm_cancels_the_main_fiber)
{
    cr_assert_eq(weft_run(NULL, signal_self, NULL), -ECANCELED);
}

static void *run_another(void *arg)
{
    *(int *)arg = weft_run(&(struct weft_options){.workers = 2}, return_arg, (void *)7);
    return NULL;
}

static int two_runtimes(void *arg)
{
    pthread_t thread;
    int result = 0;

    (void)arg;
    EXPECT_EQ(pthread_create(&thread, NULL, run_another, &result), 0);
    while (pthread_tryjoin_np(thread, NULL) != 0)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(result, 7);
    return 0;
}

Test(runtime, several_runtimes_live_side_by_side)
{
    on_fibers(2, two_runtimes, NULL);
}

static int fill_up(void *arg)
{
    struct weft_group group;
    int started = 0, r = 0;

    (void)arg;
    weft_group_init(&group);
    while (r == 0 && started < 100) {
        r = weft_group_spawn(&group, "sleeper", sleep_long, NULL);
        started += r == 0;
    }
    EXPECT_EQ(r, -EAGAIN);
    EXPECT_EQ(started, 9); /* and this one */
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    weft_group_init(&group);
    for (int i = 0; i < 100; i++) /* what has ended does not count, on whichever worker it was */
        while ((r = weft_group_spawn(&group, "short", return_arg, NULL)) != 0)
            EXPECT(r == -EAGAIN && weft_yield() == 0);
    return weft_group_join(&group);
}

Test(runtime, the_fiber_limit_is_an_error_and_counts_the_living_only)
{
    struct weft_options options;

    weft_options_init(&options);
    options.workers = 4;
    options.max_fibers = 10;
    cr_assert_eq(weft_run(&options, fill_up, NULL), 0);
}

static int free_ones_own(void *arg)
{
    (void)arg;
    EXPECT_EQ(weft_runtime_free(weft_runtime_self()), -EDEADLK);
    return 0;
}

Test(runtime, free_on_a_fiber_of_the_runtime_is_refused)
{
    on_fibers(1, free_ones_own, NULL);
}

/* --- work is spread and nobody starves */

static atomic_bool enough;

static int storm_child(void *arg)
{
    (void)arg;
    return 0;
}

static int storm(void *arg)
{
    (void)arg;
    while (!atomic_load(&enough)) {
        struct weft_group group;

        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "drop", storm_child, NULL), 0);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

static int tick(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(i % 2 ? weft_yield() : weft_sleep(WEFT_MILLISECOND), 0);
    atomic_store(&enough, true);
    return 0;
}

static int storm_and_tick(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "tick", tick, NULL);
    weft_group_spawn(&group, "storm", storm, NULL);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(runtime, a_spawn_storm_starves_neither_timers_nor_woken_fibers)
{
    on_fibers(1, storm_and_tick, NULL);
}

static int yield_until_enough(void *arg)
{
    (void)arg;
    while (!atomic_load(&enough))
        EXPECT_EQ(weft_yield(), 0);
    return 0;
}

static int yields_and_tick(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "yield", yield_until_enough, NULL);
    weft_group_spawn(&group, "yield", yield_until_enough, NULL);
    weft_group_spawn(&group, "tick", tick, NULL);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(runtime, yielding_fibers_do_not_starve_timers)
{
    on_fibers(1, yields_and_tick, NULL);
}

static int meet(void *arg)
{
    atomic_int *met = arg;

    /* Busy, without suspending: it ends only if another worker runs the other fiber. */
    atomic_fetch_add(met, 1);
    while (atomic_load(met) < 2)
        ;
    return 0;
}

static int meet_on_two(void *arg)
{
    struct weft_group group;
    atomic_int met = 0;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "one", meet, &met);
    weft_group_spawn(&group, "two", meet, &met);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(runtime, an_idle_worker_steals_the_spawner_s_continuation)
{
    struct weft_options options;

    weft_options_init(&options);
    options.workers = 2;
    options.handle_signals = false;
    options.handoff_ns =
        WEFT_HANDOFF_NEVER; /* else the continuation would go on in that way, too */
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(weft_run(&options, meet_on_two, NULL), 0);
}

static int keep_errno(void *arg)
{
    for (int i = 0; i < 100; i++) {
        errno = (int)(intptr_t)arg;
        EXPECT_EQ(weft_yield(), 0);
        EXPECT_EQ(errno, (int)(intptr_t)arg);
    }
    return 0;
}

static int errno_per_fiber(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    for (intptr_t i = 1; i <= 5; i++)
        weft_group_spawn(&group, "errno", keep_errno, (void *)i);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(runtime, errno_is_the_fiber_s_own)
{
    on_fibers(1, errno_per_fiber, NULL);
}

static int names(void *arg)
{
    (void)arg;
    EXPECT(weft_on_fiber());
    EXPECT(strcmp(weft_fiber_name(), "main") == 0);
    EXPECT_EQ(weft_worker_index(), 0);
    return 0;
}

Test(runtime, the_main_fiber_is_called_main)
{
    on_fibers(1, names, NULL);
}

static int count_work(void *arg)
{
    struct weft_worker_stats stats;

    (void)arg;
    EXPECT_EQ(weft_sleep(1), 0);
    EXPECT_EQ(weft_stats_worker(weft_runtime_self(), 0, &stats), 0);
    EXPECT(stats.turns > 0 && stats.timers == 1 && stats.polls > 0 && stats.parks > 0);
    EXPECT_EQ(weft_stats_worker(weft_runtime_self(), 1, &stats), -ERANGE);
    return 0;
}

Test(runtime, counters_count)
{
    on_fibers(1, count_work, NULL);
}
