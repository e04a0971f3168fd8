/* SPDX-License-Identifier: MIT */
/* What the tests of tasks share. */
#ifndef TESTS_UNIT_RUNTIME_TASK_SUPPORT_H
#define TESTS_UNIT_RUNTIME_TASK_SUPPORT_H

#include "support/test.h"

#include <pthread.h>
#include <signal.h>

#include "core/runtime.h"
#include "support/fibers.h"

enum { JOINERS = 4, MANY = 100 };

struct world {
    struct weft_event event;
    struct weft_task *task;
    atomic_int arrivals;
    atomic_bool ran;
    int result;
    int value;
};

static inline int return_its_argument(void *arg)
{
    return *(int *)arg;
}

static inline int wait_for_event(void *arg)
{
    struct world *world = arg;
    int r;

    arrive(&world->arrivals);
    r = weft_event_wait(&world->event, WEFT_NO_DEADLINE);
    return r < 0 ? r : world->value;
}

/* Give the fiber's last steps, after its task has ended, a chance to be taken. */
static inline void expect_live_fibers(uint64_t count)
{
    struct weft_runtime_stats stats;

    do {
        EXPECT_EQ(weft_yield(), 0);
        weft_stats_runtime(weft_runtime_self(), &stats);
    } while (stats.live_fibers != count);
}

static inline uint64_t count_unjoined(void)
{
    struct weft_runtime_stats stats;

    weft_stats_runtime(weft_runtime_self(), &stats);
    return stats.unjoined;
}

static inline int expect_no_self(void *arg)
{
    (void)arg;
    EXPECT(!weft_task_self());
    return 0;
}

#endif
