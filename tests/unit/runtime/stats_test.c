/* SPDX-License-Identifier: MIT */
/* stats_test: core/stats.c */
#include "support/test.h"

#include "support/io.h"

static struct weft_runtime_stats all(void)
{
    struct weft_runtime_stats stats;

    weft_stats_runtime(weft_runtime_self(), &stats);
    return stats;
}

static struct weft_worker_stats one(unsigned worker)
{
    struct weft_worker_stats stats;

    EXPECT_EQ(weft_stats_worker(weft_runtime_self(), worker, &stats), 0);
    return stats;
}

static int wait_for_event(void *arg)
{
    return weft_event_wait(arg, WEFT_NO_DEADLINE);
}

static int fibers_and_timers(void *arg)
{
    struct weft_runtime_stats before = all();
    struct weft_worker_stats worker;
    struct weft_event event;
    struct weft_group group;
    struct weft_scope scope;

    (void)arg;
    weft_event_init(&event);
    weft_group_init(&group);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_for_event, &event), 0);
    EXPECT_EQ(all().live_fibers, before.live_fibers + 5);
    EXPECT_EQ(all().spawned, before.spawned + 5);
    weft_event_set(&event);
    worker = one(0);
    EXPECT_EQ(worker.ready, 5);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(all().live_fibers, before.live_fibers);
    EXPECT_EQ(one(0).ready, 0);
    EXPECT_EQ(one(0).finished, worker.finished + 5);

    weft_scope_enter(&scope, weft_deadline_after(600 * WEFT_SECOND));
    EXPECT_EQ(weft_sleep(1), 0); /* the scope is linked, and its timer armed */
    EXPECT_EQ(all().timers_armed, before.timers_armed + 1);
    EXPECT_EQ(one(0).timers_armed, 1);
    EXPECT_EQ(weft_scope_leave(&scope), 0);
    EXPECT_EQ(all().timers_armed, before.timers_armed);
    return 0;
}

Test(stats, fibers_queues_and_timers_are_counted)
{
    on_fibers(1, fibers_and_timers, NULL);
}

static int yield_alone(void *arg)
{
    uint64_t yields = one(0).lone_yields, turns = one(0).turns;

    (void)arg;
    for (int i = 0; i < 1000; i++)
        EXPECT_EQ(weft_yield(), 0);
    /* Now and then the scheduler has its turn. */
    EXPECT_EQ(one(0).lone_yields - yields + one(0).turns - turns, 1000);
    EXPECT(one(0).lone_yields > yields);
    return 0;
}

Test(stats, a_yield_that_finds_nobody_is_counted_as_such)
{
    on_fibers(1, yield_alone, NULL);
}

static int open_descriptors(void *arg)
{
    uint64_t before = all().descriptors;
    struct weft_stream *pipes[2];

    (void)arg;
    stream_pipe(pipes);
    EXPECT_EQ(all().descriptors, before + 2);
    free_pair(pipes);
    EXPECT_EQ(all().descriptors, before);
    return 0;
}

Test(stats, descriptors_are_counted)
{
    on_fibers(1, open_descriptors, NULL);
}

static int limits(void *arg)
{
    struct weft_worker_stats stats = {.turns = 77};

    (void)arg;
    EXPECT_EQ(weft_stats_worker(weft_runtime_self(), 2, &stats), -ERANGE);
    EXPECT_EQ(stats.turns, 77);
    EXPECT_EQ(all().workers, 2);
    EXPECT(all().stacks > 0 && all().stack_bytes >= all().stacks * 65536);
    return 0;
}

Test(stats, a_worker_that_is_not_there_is_an_error)
{
    on_fibers(2, limits, NULL);
}
