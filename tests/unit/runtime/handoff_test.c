/* SPDX-License-Identifier: MIT */
/* handoff_test: core/handoff.c, thread.c, and observe/ of fibers without a worker */
#include "support/test.h"

#include <unistd.h>

#include "support/handoff.h"
#include "support/io.h"
#include "support/reports.h"

/* --- a fiber that is stuck, and the others */

enum { TICKERS = 1000, TICKS = 10 };

struct ticking {
    atomic_uint ticked; /* tickers that are through */
    struct weft_event stuck;
};

static int tick(void *arg)
{
    struct ticking *ticking = arg;

    EXPECT_EQ(weft_event_wait(&ticking->stuck, WEFT_NO_DEADLINE), 0);
    for (int i = 0; i < TICKS; i++)
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    atomic_fetch_add(&ticking->ticked, 1);
    return 0;
}

/* One turn, with nothing announced.  It ends when the others have ticked, which they can only if
 * they run meanwhile: the two seconds are many times what they need, unless the machine is busy. */
static int sleep_like_c(void *arg)
{
    struct ticking *ticking = arg;

    weft_event_set(&ticking->stuck); /* nobody else runs yet: the worker is this fiber's */
    do
        usleep(2000000);
    while (atomic_load(&ticking->ticked) < TICKERS);
    return 0;
}

static int others_tick(void *arg)
{
    struct ticking ticking = {0};
    struct weft_group group;

    (void)arg;
    weft_event_init(&ticking.stuck);
    weft_group_init(&group);
    for (int i = 0; i < TICKERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "ticker", tick, &ticking), 0);
    EXPECT_EQ(weft_group_spawn(&group, "sleeper", sleep_like_c, &ticking), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT(handoffs() >= 1);
    return 0;
}

Test(handoff, a_thousand_fibers_tick_while_one_blocks_the_only_worker)
{
    run(1, 0, others_tick, NULL);
}

struct events {
    atomic_bool stuck, timer, bytes, expired;
    int fds[2];
    struct weft_event never;
};

static int await_timers(void *arg)
{
    struct events *events = arg;
    bool after;

    do {
        after = atomic_load(&events->stuck);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    } while (!after);
    atomic_store(&events->timer, true);
    return 0;
}

static int await_bytes(void *arg)
{
    struct events *events = arg;
    struct weft_stream *stream;
    char byte;

    EXPECT_EQ(weft_stream_new(events->fds[0], &stream), 0);
    EXPECT_EQ(weft_read(stream, &byte, 1), 1);
    atomic_store(&events->bytes, true);
    weft_stream_free(stream);
    return 0;
}

static int await_deadline(void *arg)
{
    struct events *events = arg;
    bool after;

    do {
        struct weft_scope scope;

        after = atomic_load(&events->stuck);
        weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
        EXPECT_EQ(weft_event_wait(&events->never, WEFT_NO_DEADLINE), -ETIMEDOUT);
        weft_scope_leave(&scope);
    } while (!after);
    atomic_store(&events->expired, true);
    return 0;
}

static int be_stuck(void *arg)
{
    struct events *events = arg;

    atomic_store(&events->stuck, true);
    EXPECT_EQ(write(events->fds[1], "x", 1), 1);
    spin_until(&events->timer);
    spin_until(&events->bytes);
    spin_until(&events->expired);
    return 0;
}

static int events_come(void *arg)
{
    struct events events = {0};
    struct weft_group group;

    (void)arg;
    raw_pipe(events.fds);
    weft_event_init(&events.never);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "timers", await_timers, &events), 0);
    EXPECT_EQ(weft_group_spawn(&group, "bytes", await_bytes, &events), 0);
    EXPECT_EQ(weft_group_spawn(&group, "deadline", await_deadline, &events), 0);
    EXPECT_EQ(weft_group_spawn(&group, "stuck", be_stuck, &events), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    close(events.fds[1]);
    return 0;
}

Test(handoff, timers_descriptors_and_deadlines_of_a_stuck_worker_go_on)
{
    run(1, 0, events_come, NULL);
}

static int set_flag(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    return 0;
}

static int spin_main(void *arg)
{
    atomic_bool *flags = arg;

    atomic_store(&flags[0], true);
    spin_until(&flags[1]);
    return 0;
}

Test(handoff, what_a_plain_thread_spawns_runs_although_every_worker_computes)
{
    struct weft_options options = options_of(2, 0);
    atomic_bool flags[2] = {false, false}, others[2] = {false, false};
    struct weft_runtime *runtime;

    cr_assert_eq(weft_runtime_new(&options, &runtime), 0);
    cr_assert_eq(weft_runtime_spawn(runtime, "one", spin_main, flags), 0);
    cr_assert_eq(weft_runtime_spawn(runtime, "two", spin_main, others), 0);
    spin_until(&flags[0]);
    spin_until(&others[0]);
    cr_assert_eq(weft_runtime_spawn(runtime, "flag", set_flag, &flags[1]), 0);
    cr_assert_eq(weft_runtime_spawn(runtime, "flag", set_flag, &others[1]), 0);
    cr_assert_eq(weft_runtime_free(runtime), 0);
}

/* Nobody minds: it must keep its worker however long it takes.  (Were it taken, this would be seen
 * by the time the monitor has looked some times.) */
static int compute_alone(void *arg)
{
    uint64_t end_ns = weft_deadline_after(30 * WEFT_MILLISECOND);

    (void)arg;
    while (weft_now_ns() < end_ns)
        ;
    EXPECT_EQ(handoffs(), 0);
    EXPECT_EQ(runtime_stats().without_worker, 0);
    return 0;
}

Test(handoff, a_fiber_that_nobody_waits_for_keeps_its_worker)
{
    run(1, WEFT_MILLISECOND, compute_alone, NULL);
}

static int stay_pinned(void *arg)
{
    struct events *events = arg;
    uint64_t end_ns = weft_deadline_after(30 * WEFT_MILLISECOND), before;

    EXPECT_EQ(weft_pin(), 0);
    before = handoffs(); /* one that the kernel kept waiting may have lost its worker until then */
    while (weft_now_ns() < end_ns)
        ;
    EXPECT(!atomic_load(&events->timer));
    EXPECT_EQ(weft_blocking_begin(), -EBUSY);
    EXPECT_EQ(weft_blocking_end(), -EINVAL);
    EXPECT_EQ(handoffs(), before);
    atomic_store(&events->stuck, true);
    return 0;
}

static int the_worker_stays(void *arg)
{
    struct events events = {0};
    struct weft_group group;
    uint64_t before;

    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "timers", await_timers, &events), 0);
    EXPECT_EQ(weft_group_spawn(&group, "pinned", stay_pinned, &events), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(weft_yield(), 0); /* it has a worker, though it may have lost it before */
    before = handoffs();
    EXPECT_EQ(weft_blocking_begin(), 0); /* it was unpinned by its end */
    EXPECT_EQ(weft_blocking_end(), 0);
    EXPECT_EQ(handoffs(), before + 1);
    return 0;
}

Test(handoff, the_worker_of_a_pinned_fiber_stays_with_its_thread)
{
    run(1, WEFT_MILLISECOND, the_worker_stays, NULL);
}

/* --- looking at it */

static struct reports slow = REPORTS_INIT;

__attribute__((noinline)) static int block_unannounced(void *arg)
{
    struct ticking *ticking = arg;

    weft_event_set(&ticking->stuck);
    while (reports_count(&slow, WEFT_REPORT_SLOW_FIBER) == 0 || atomic_load(&ticking->ticked) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return 0;
}

static int report_culprit(void *arg)
{
    struct ticking ticking = {0};
    struct weft_group group;

    (void)arg;
    weft_event_init(&ticking.stuck);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "ticker", tick, &ticking), 0);
    EXPECT_EQ(weft_group_spawn(&group, "culprit", block_unannounced, &ticking), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&ticking.ticked), 1);
    EXPECT(handoffs() > 0);
    return 0;
}

Test(handoff, the_report_names_the_culprit_although_its_worker_went_on)
{
    struct weft_options options = reports_options(&slow, 1);

    options.handoff_ns = 2 * WEFT_MILLISECOND;
    options.slow_fiber_ns = 20 * WEFT_MILLISECOND;
    slow.only = "culprit";
    do { /* a thread that the kernel keeps waiting is reported without a backtrace */
        slow.count[WEFT_REPORT_SLOW_FIBER] = 0;
        cr_assert_eq(weft_run(&options, report_culprit, NULL), 0);
        cr_assert_eq(slow.count[WEFT_REPORT_SLOW_FIBER], 1);
        cr_assert(slow.elapsed_ns >= options.slow_fiber_ns);
        cr_assert(reports_say(&slow, WEFT_REPORT_SLOW_FIBER, "weft: fiber culprit ["));
        cr_assert(reports_say(&slow, WEFT_REPORT_SLOW_FIBER, "the worker goes on without it\n"));
    } while (!reports_say(&slow, WEFT_REPORT_SLOW_FIBER, "block_unannounced+0x"));
}

struct seen {
    struct blocked blocked;
    bool found, backtrace;
};

static int see_blocker(const struct weft_fiber_info *info, void *arg)
{
    struct seen *seen = arg;

    if (!info->name || strcmp(info->name, "blocker") != 0)
        return 0;
    EXPECT_EQ(info->state, WEFT_FIBER_RUNNING);
    EXPECT(info->without_worker);
    EXPECT(info->since_ns > 0 && info->since_ns <= weft_now_ns());
    EXPECT_EQ(info->worker, 0);
    seen->found = true;
    seen->backtrace = info->frame_count > 0;
    return 0;
}

static int be_seen(void *arg)
{
    struct seen *seen = arg;

    EXPECT_EQ(weft_blocking_begin(), 0);
    wait_like_c(&seen->blocked);
    return weft_blocking_end();
}

static int look_at_blocker(void *arg)
{
    struct seen seen = {0};
    struct weft_group group;

    (void)arg;
    sem_init(&seen.blocked.sem, 0, 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "blocker", be_seen, &seen), 0);
    while (!atomic_load(&seen.blocked.reached))
        EXPECT_EQ(weft_yield(), 0);
    do { /* a thread that the kernel keeps waiting is shown without a backtrace */
        EXPECT_EQ(weft_fibers_each(weft_runtime_self(), WEFT_DUMP_BACKTRACE | WEFT_DUMP_INTERRUPT,
                                   see_blocker, &seen),
                  0);
        EXPECT(seen.found);
    } while (!seen.backtrace);
    sem_post(&seen.blocked.sem);
    EXPECT_EQ(weft_group_join(&group), 0);
    sem_destroy(&seen.blocked.sem);
    return 0;
}

Test(handoff, a_dump_shows_who_runs_without_a_worker)
{
    run(1, WEFT_HANDOFF_NEVER, look_at_blocker, NULL);
}
