/* SPDX-License-Identifier: MIT */
/*
 * A fan-out that only computes: one fiber spawns 400 fibers of about a millisecond each, and joins
 * them; ms for all.  With N workers it should take 1/N of the time.  The steals of each worker go
 * to standard error.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <weft/group.h>
#include <weft/runtime.h>
#include <weft/stats.h>

#define FIBERS 400
#define STEPS  400000

static uint64_t results[FIBERS];

static uint64_t compute(uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (int i = 0; i < STEPS; i++) {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
    }
    return x;
}

static int work(void *arg)
{
    uint64_t *result = arg;

    *result = compute((uint64_t)(result - results));
    return 0;
}

static void fan_out(void)
{
    struct weft_group group;

    weft_group_init(&group);
    for (int i = 0; i < FIBERS; i++)
        bench_check(weft_group_spawn(&group, "work", work, &results[i]) == 0, "spawn");
    bench_check(weft_group_join(&group) == 0, "join");
}

static void report_steals(void)
{
    struct weft_worker_stats stats;

    for (unsigned i = 0; weft_stats_worker(weft_runtime_self(), i, &stats) == 0; i++)
        fprintf(stderr, "worker %u: %" PRIu64 " turns, %" PRIu64 " steals\n", i, stats.turns,
                stats.steals);
}

static double measure(void)
{
    uint64_t start;
    double ms;

    fan_out();
    start = bench_now_ns();
    fan_out();
    ms = bench_ns_per(start, 1) / 1e6;
    for (uint64_t i = 0; i < FIBERS; i++)
        bench_check(results[i] == compute(i), "a result");
    report_steals();
    return ms;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"fanout", measure, "ms"}};

    return bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
