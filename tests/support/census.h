/* SPDX-License-Identifier: MIT */
/* What there is of everything, counted before and after something goes wrong, over and over. */
#pragma once
#include <malloc.h>

#include "support/io.h"

enum { REPEATS = 10, WINDOWS = 20, SPARE = 4096 };

struct census {
    int fds;
    size_t heap;
    struct weft_runtime_stats stats;
};

static inline void take_census(struct census *census)
{
    weft_stats_runtime(weft_runtime_self(), &census->stats);
    census->fds = open_fds();
    census->heap = mallinfo2().uordblks; /* 0 under a sanitizer, which counts by itself */
}

struct scenario {
    void (*play)(void);
};

/* Play it some times.  Returns: whether more memory is used, or more stacks there are, than
 * before. */
static inline bool grows(const struct scenario *scenario)
{
    struct census before, after;
    take_census(&before);
    for (int i = 0; i < REPEATS; i++)
        scenario->play();
    take_census(&after);
    EXPECT(after.fds >= before.fds);
    EXPECT_EQ(after.stats.descriptors, before.stats.descriptors);
    EXPECT_EQ(after.stats.live_fibers, before.stats.live_fibers);
    EXPECT_EQ(after.stats.timers_armed, before.stats.timers_armed);
    return after.fds > before.fds || after.heap > before.heap + SPARE ||
           after.stats.stacks > before.stats.stacks;
}

/* Caches fill, and each worker makes its ring at its first use of files; but what leaks grows each
 * time. */
static inline int repeat(void *arg)
{
    int windows = 1;
    while (grows(arg))
        EXPECT(windows++ < WINDOWS);
    return 0;
}

/** Play it over and over: no descriptor, fiber, timer, stack or memory may be left of it. */
static inline void repeatedly(void (*play)(void))
{
    struct scenario scenario = {.play = play};
    on_fibers_counting_fds(1, repeat, &scenario);
    on_fibers_counting_fds(2, repeat, &scenario);
}
