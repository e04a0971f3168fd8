/* SPDX-License-Identifier: MIT */
/* fair_turns_test: core/worker.c, more ready fibers than a worker's ring holds */
#include <pthread.h>
#include <stdatomic.h>
#include <weft/stats.h>

#include "core/runq.h"
#include "support/test.h"

#include "support/io.h"

enum { CROWD = 4 * RUNQ_SLOTS, ROUNDS = 20, TURN_NS = 5000 };

static atomic_bool outsider_ran;

static int run_outsider(void *unused)
{
    (void)unused;
    atomic_store(&outsider_ran, true);
    return 0;
}

static void *spawn_outsider(void *runtime)
{
    EXPECT_EQ(weft_runtime_spawn(runtime, "outsider", run_outsider, NULL), 0);
    return NULL;
}

static int yield_until_outsider_ran(void *deadline)
{
    while (!atomic_load(&outsider_ran)) {
        if (weft_now_ns() > *(uint64_t *)deadline)
            return -ETIMEDOUT;
        EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

/* `count` fibers and the caller take turns until a fiber from outside has run. */
static int outsider_among(int count)
{
    uint64_t deadline = soon();
    struct weft_group group;
    pthread_t thread;

    atomic_store(&outsider_ran, false);
    weft_group_init(&group);
    for (int i = 0; i < count; i++)
        EXPECT_EQ(weft_group_spawn(&group, "yielder", yield_until_outsider_ran, &deadline), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, spawn_outsider, weft_runtime_self()), 0);
    yield_until_outsider_ran(&deadline);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    return weft_group_join(&group);
}

static int any_count_lets_outsiders_in(void *unused)
{
    (void)unused;
    for (int count = RUNQ_SLOTS - 2; count <= RUNQ_SLOTS + 2; count++)
        EXPECT_EQ(outsider_among(count), 0);
    return 0;
}

Test(fair_turns, a_full_ring_does_not_keep_the_inject_queue_waiting)
{
    on_fibers(1, any_count_lets_outsiders_in, NULL);
}

/* Each turn takes long enough for the scheduler to look at its queues every few of them. */
static int yield_slowly(void *begin)
{
    EXPECT_EQ(weft_event_wait(begin, WEFT_NO_DEADLINE), 0);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = weft_now_ns();

        while (weft_now_ns() - start < TURN_NS)
            ;
        EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

static int crowd_takes_turns(void *unused)
{
    struct weft_worker_stats before, after;
    struct weft_event begin;
    struct weft_group group;

    (void)unused;
    weft_event_init(&begin);
    weft_group_init(&group);
    for (int i = 0; i < CROWD; i++)
        EXPECT_EQ(weft_group_spawn(&group, "yielder", yield_slowly, &begin), 0);
    EXPECT_EQ(weft_stats_worker(weft_runtime_self(), 0, &before), 0);
    weft_event_set(&begin);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(weft_stats_worker(weft_runtime_self(), 0, &after), 0);
    EXPECT(after.injected - before.injected <= after.turns - before.turns);
    return 0;
}

/* What goes to the inject queue and comes back before it ran is touched for nothing. */
Test(fair_turns, a_crowd_does_not_go_round_through_the_inject_queue)
{
    on_fibers(1, crowd_takes_turns, NULL);
}
