/* SPDX-License-Identifier: MIT */
/*
 * For tests whose bodies run on fibers.
 *
 * A test framework's assertion jumps to a frame of the thread that started the test, which a fiber
 * must not do: on fibers say EXPECT, which ends the process and so fails the test.
 *
 * With one worker, a fiber runs until it suspends, as its worker is never handed over here.  So
 * once arrive() was seen by await_arrivals(), the fiber that arrived is suspended in the call that
 * follows.  With more of them it may not have begun that call: ask await_waits().
 */
#pragma once
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/weft.h"

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: expected: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Also says what came instead. */
#define EXPECT_EQ(actual, expected)                                                                \
    do {                                                                                           \
        long long actual_value = (long long)(actual), expected_value = (long long)(expected);      \
        if (actual_value != expected_value) {                                                      \
            fprintf(stderr, "%s:%d: expected: %s == %s, but it is %lld and not %lld\n", __FILE__,  \
                    __LINE__, #actual, #expected, actual_value, expected_value);                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/** With one worker, one fiber at a time: one that computes for long keeps it. */
static inline void one_at_a_time(struct weft_options *options)
{
    options->workers = 1;
    options->handoff_ns = WEFT_HANDOFF_NEVER;
}

/** Run fn(arg) as the main fiber of a runtime with so many workers, one_at_a_time if it is one; it
 * must return 0. */
static inline void on_fibers(unsigned workers, int (*fn)(void *), void *arg)
{
    struct weft_options options;

    weft_options_init(&options);
    options.workers = workers;
    options.handle_signals = false;
    if (workers == 1)
        one_at_a_time(&options);
    EXPECT_EQ(weft_run(&options, fn, arg), 0);
}

static inline void arrive(atomic_int *arrivals)
{
    atomic_fetch_add(arrivals, 1);
}

static inline void await_arrivals(atomic_int *arrivals, int count)
{
    while (atomic_load(arrivals) < count)
        EXPECT_EQ(weft_yield(), 0);
}

struct waits {
    const char *kind;
    int count;
};

static inline int count_wait(const struct weft_fiber_info *info, void *arg)
{
    struct waits *waits = arg;
    if (info->wait_kind && strcmp(info->wait_kind, waits->kind) == 0)
        waits->count++;
    return 0;
}

/** Until `count` fibers or more are suspended in waits of this kind (as a dump calls it). */
static inline void await_waits(const char *kind, int count)
{
    struct waits waits;
    do {
        EXPECT_EQ(weft_yield(), 0);
        waits = (struct waits){.kind = kind};
        EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, count_wait, &waits), 0);
    } while (waits.count < count);
}
