/* SPDX-License-Identifier: MIT */
/* For tests of workers that change hands. */
#pragma once
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/fibers.h"

static inline struct weft_options options_of(unsigned workers, uint64_t handoff_ns)
{
    struct weft_options options;

    weft_options_init(&options);
    options.workers = workers;
    options.handle_signals = false;
    options.handoff_ns = handoff_ns;
    return options;
}

static inline void run(unsigned workers, uint64_t handoff_ns, int (*fn)(void *), void *arg)
{
    struct weft_options options = options_of(workers, handoff_ns);

    EXPECT_EQ(weft_run(&options, fn, arg), 0);
}

static inline uint64_t handoffs(void)
{
    struct weft_worker_stats stats;
    uint64_t sum = 0;

    for (unsigned i = 0; weft_stats_worker(weft_runtime_self(), i, &stats) == 0; i++)
        sum += stats.handoffs;
    return sum;
}

static inline struct weft_runtime_stats runtime_stats(void)
{
    struct weft_runtime_stats stats;

    weft_stats_runtime(weft_runtime_self(), &stats);
    return stats;
}

/* Not inlined: the thread's, so not to be kept across a suspension. */
static __attribute__((noinline, unused)) pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* Until it is true, without entering the runtime. */
static inline void spin_until(const atomic_bool *flag)
{
    while (!atomic_load(flag))
        ;
}

/* What a fiber blocks on, as C does. */
struct blocked {
    sem_t sem;
    atomic_bool reached;
};

static inline void wait_like_c(struct blocked *blocked)
{
    atomic_store(&blocked->reached, true);
    while (sem_wait(&blocked->sem) < 0)
        ;
}

static inline int count_up(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}
