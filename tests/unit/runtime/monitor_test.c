/* SPDX-License-Identifier: MIT */
/* monitor_test: observe/monitor.c, graph.c, census.c, owner.c */
#include "support/test.h"

#include "observe/census.h"
#include "observe/monitor.h"
#include "support/io.h"
#include "support/reports.h"

/* --- slow fibers */

static struct reports slow = REPORTS_INIT;

__attribute__((noinline)) static void compute_until_reported(unsigned count)
{
    while (reports_count(&slow, WEFT_REPORT_SLOW_FIBER) < count)
        __asm__ volatile("" ::: "memory");
}

static int compute_slowly(void *arg)
{
    uint64_t end_ns;

    (void)arg;
    compute_until_reported(1);
    end_ns = weft_deadline_after(30 * WEFT_MILLISECOND);
    while (weft_now_ns() < end_ns)
        ;
    EXPECT_EQ(reports_count(&slow, WEFT_REPORT_SLOW_FIBER), 1);
    EXPECT_EQ(weft_sleep(1), 0);
    compute_until_reported(2);
    return 0;
}

static int run_slow(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "slow", compute_slowly, NULL), 0);
    return weft_group_join(&group);
}

static void check_slow(unsigned workers)
{
    struct weft_options options = reports_options(&slow, workers);

    slow.only = "slow";
    options.slow_fiber_ns = 2 * WEFT_MILLISECOND;
    do { /* a thread that the kernel keeps waiting is reported without a backtrace */
        slow.count[WEFT_REPORT_SLOW_FIBER] = 0;
        cr_assert_eq(weft_run(&options, run_slow, NULL), 0);
        cr_assert(slow.elapsed_ns >= options.slow_fiber_ns);
        cr_assert(reports_say(&slow, WEFT_REPORT_SLOW_FIBER, "weft: fiber slow ["));
        cr_assert(
            reports_say(&slow, WEFT_REPORT_SLOW_FIBER, "without returning to the scheduler\n"));
    } while (!reports_say(&slow, WEFT_REPORT_SLOW_FIBER, "compute_until_reported+0x"));
}

Test(monitor, a_slow_fiber_is_reported_with_its_backtrace_once_per_turn)
{
    check_slow(1);
    check_slow(2);
}

/* --- deadlocks */

static struct reports deadlocks = REPORTS_INIT;

struct pair {
    struct weft_mutex one, other;
    struct weft_event both_hold; /* set by the second to come */
    atomic_int holders;
};

static __attribute__((noinline)) void hold_both(struct pair *pair, struct weft_mutex *first,
                                                struct weft_mutex *second)
{
    EXPECT_EQ(weft_mutex_lock(first), 0);
    if (atomic_fetch_add(&pair->holders, 1) == 1)
        weft_event_set(&pair->both_hold);
    EXPECT_EQ(weft_event_wait(&pair->both_hold, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(weft_mutex_lock(second), -ECANCELED);
    weft_mutex_unlock(first);
}

static int lock_up(void *arg)
{
    struct pair *pair = arg;

    hold_both(pair, &pair->one, &pair->other);
    return 0;
}

static int lock_down(void *arg)
{
    struct pair *pair = arg;

    hold_both(pair, &pair->other, &pair->one);
    return 0;
}

static int embrace(void *arg)
{
    struct pair pair = {0};
    struct weft_group group;

    (void)arg;
    weft_mutex_init(&pair.one);
    weft_mutex_init(&pair.other);
    weft_event_init(&pair.both_hold);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "up", lock_up, &pair), 0);
    EXPECT_EQ(weft_group_spawn(&group, "down", lock_down, &pair), 0);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    return 0;
}

static void check_deadlock(unsigned workers, int (*fn)(void *))
{
    struct weft_options options = reports_options(&deadlocks, workers);

    deadlocks.count[WEFT_REPORT_DEADLOCK] = 0;
    deadlocks.stop = true;
    options.debug = true;
    options.slow_fiber_ns = 4 * WEFT_MILLISECOND; /* short periods */
    cr_assert_eq(weft_run(&options, fn, NULL), 0);
    cr_assert_eq(deadlocks.count[WEFT_REPORT_DEADLOCK], 1);
    cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "weft: deadlock: "));
}

Test(monitor, two_fibers_that_hold_what_the_other_wants_are_a_circle)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        check_deadlock(workers, embrace);
        cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "3 fibers wait"));
        cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "circle: "));
        cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "] -> "));
        cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, " for mutex 0x"));
        cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "hold_both+0x"));
    }
}

static int lock_what_the_joiner_holds(void *arg)
{
    EXPECT_EQ(weft_mutex_lock(arg), -ECANCELED);
    return 0;
}

static int join_while_holding(void *arg)
{
    struct weft_mutex mutex;
    struct weft_group group;

    (void)arg;
    weft_mutex_init(&mutex);
    EXPECT_EQ(weft_mutex_lock(&mutex), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "locker", lock_what_the_joiner_holds, &mutex), 0);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    weft_mutex_unlock(&mutex);
    return 0;
}

Test(monitor, a_join_is_part_of_a_circle)
{
    check_deadlock(1, join_while_holding);
    cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "locker [0.1] -> "));
    cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "main [x.1]"));
}

static int wait_for_nobody(void *arg)
{
    struct weft_event event;

    (void)arg;
    weft_event_init(&event);
    EXPECT_EQ(weft_event_wait(&event, WEFT_NO_DEADLINE), -ECANCELED);
    return 0;
}

Test(monitor, a_wait_that_nobody_will_end_is_a_deadlock_without_a_circle)
{
    check_deadlock(2, wait_for_nobody);
    cr_assert(reports_say(&deadlocks, WEFT_REPORT_DEADLOCK, "1 fiber waits"));
    cr_assert_null(strstr(deadlocks.last[WEFT_REPORT_DEADLOCK], "circle"));
}

/* --- what is none: asked directly, as a report that does not come proves nothing */

struct no_deadlock {
    atomic_bool ready, checked;
    int fds[2];
    struct weft_runtime *runtime;
};

static bool sees_deadlock(struct weft_runtime *runtime)
{
    struct census census = {0};
    uint64_t moves;
    bool seen = monitor_sees_deadlock(runtime, &census, &moves);

    census_free(&census);
    return seen;
}

static int count_waiting(const struct weft_fiber_info *info, void *arg)
{
    *(int *)arg += info->state == WEFT_FIBER_WAITING;
    return 0;
}

/* Block until so many fibers wait. */
static void await_waiting(struct weft_runtime *runtime, int fibers)
{
    int waiting;

    do {
        waiting = 0;
        EXPECT_EQ(weft_fibers_each(runtime, 0, count_waiting, &waiting), 0);
    } while (waiting < fibers);
}

/* Block until every worker is parked. */
static void await_parked(struct weft_runtime *runtime, unsigned workers)
{
    for (unsigned i = 0; i < workers; i++) {
        struct weft_worker_stats stats;

        do {
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
            EXPECT_EQ(weft_stats_worker(runtime, i, &stats), 0);
        } while (!stats.parked);
    }
}

static int wait_for_descriptor(void *arg)
{
    struct no_deadlock *world = arg;
    struct weft_descriptor *descriptor;

    EXPECT_EQ(weft_descriptor_new(world->fds[0], &descriptor), 0);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, WEFT_NO_DEADLINE), -ECANCELED);
    weft_descriptor_free(descriptor);
    return 0;
}

static int wait_for_clock(void *arg)
{
    struct weft_event event;

    (void)arg;
    weft_event_init(&event);
    EXPECT_EQ(weft_event_wait(&event, weft_deadline_after(600 * WEFT_SECOND)), -ECANCELED);
    return 0;
}

static int block(void *arg)
{
    struct no_deadlock *world = arg;

    while (!atomic_load(&world->checked))
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    return 0;
}

static int wait_for_call(void *arg)
{
    return weft_offload(block, arg, NULL);
}

static int wait_in_vain(void *arg)
{
    (void)arg;
    return wait_for_nobody(NULL);
}

/* A fiber that runs `fn` and one that waits in vain; whether the monitor says that they are
 * deadlocked.  If they are not, it must never say so; if they are, now and then a worker may wake
 * up for nothing. */
static bool deadlocked_with(int (*fn)(void *), bool expected)
{
    struct no_deadlock world = {0};
    struct weft_options options;
    bool seen = false;

    weft_options_init(&options);
    options.workers = 2;
    raw_pipe(world.fds);
    EXPECT_EQ(weft_runtime_new(&options, &world.runtime), 0);
    EXPECT_EQ(weft_runtime_spawn(world.runtime, "in vain", wait_in_vain, NULL), 0);
    EXPECT_EQ(weft_runtime_spawn(world.runtime, "other", fn, &world), 0);
    await_waiting(world.runtime, 2);
    for (int i = 0; !seen && (expected || i < 10); i++) {
        await_parked(world.runtime, options.workers);
        seen = sees_deadlock(world.runtime);
    }
    atomic_store(&world.checked, true);
    EXPECT_EQ(weft_runtime_free(world.runtime), 0);
    if (fn != wait_for_descriptor)
        close(world.fds[0]);
    close(world.fds[1]);
    return seen;
}

Test(monitor, who_waits_for_a_descriptor_a_clock_or_a_call_is_no_deadlock)
{
    cr_assert(!deadlocked_with(wait_for_descriptor, false));
    cr_assert(!deadlocked_with(wait_for_clock, false));
    cr_assert(!deadlocked_with(wait_for_call, false));
    cr_assert(deadlocked_with(wait_in_vain, true)); /* so that the others may be believed */
}

Test(monitor, a_runtime_without_fibers_is_no_deadlock)
{
    struct weft_runtime *runtime;
    struct weft_options options;

    weft_options_init(&options);
    options.workers = 1;
    cr_assert_eq(weft_runtime_new(&options, &runtime), 0);
    await_parked(runtime, 1);
    cr_assert(!sees_deadlock(runtime));
    cr_assert_eq(weft_runtime_free(runtime), 0);
}

/* --- the thread */

static bool has_thread(const char *name)
{
    char line[32], path[64];
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    bool found = false;

    EXPECT(folder != NULL);
    while (!found && (entry = readdir(folder))) {
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", entry->d_name);
        file = fopen(path, "r");
        if (file && fgets(line, sizeof(line), file))
            found = strncmp(line, name, strlen(name)) == 0;
        if (file)
            fclose(file);
    }
    closedir(folder);
    return found;
}

static int look_for_thread(void *arg)
{
    *(bool *)arg = has_thread("weft-monitor");
    return 0;
}

static bool runs_with(const struct weft_options *options)
{
    bool found = false;

    while (has_thread("weft-monitor"))
        ; /* the last run's, which was joined, may still be listed */
    cr_assert_eq(weft_run(options, look_for_thread, &found), 0);
    return found;
}

Test(monitor, there_is_a_thread_unless_it_has_nothing_to_do)
{
    struct reports reports = REPORTS_INIT;
    struct weft_options options = reports_options(&reports, 1);

    unsetenv("WEFT_DEBUG");
    cr_assert(runs_with(&options));
    options.handoff_ns = WEFT_HANDOFF_NEVER;
    cr_assert(!runs_with(&options));
    options.slow_fiber_ns = WEFT_SECOND;
    cr_assert(runs_with(&options));
    setenv("WEFT_DEBUG", "0", 1);
    options.slow_fiber_ns = 0;
    cr_assert(!runs_with(&options));
    setenv("WEFT_DEBUG", "1", 1);
    cr_assert(runs_with(&options));
}
