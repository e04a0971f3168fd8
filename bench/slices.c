/* SPDX-License-Identifier: MIT */
/*
 * How long an echo waits while every worker computes: on each, a fiber computes in slices of 50 ms
 * and yields in between, and two fibers send a byte to and fro over a socket pair.  The median and
 * the 99th percentile of a round trip, in ms; the latter should stay within two slices.
 *
 * slices:        the runtime hands the workers over (counter.handoffs).
 * slices_pinned: the fibers that compute are pinned, so that their workers stay with them.
 */
#include "bench.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <weft/blocking.h>
#include <weft/fiber.h>
#include <weft/group.h>
#include <weft/runtime.h>
#include <weft/stats.h>
#include <weft/stream.h>
#include <weft/time.h>

#define ROUNDS   100
#define SLICE_NS (50 * WEFT_MILLISECOND)

struct echo {
    struct weft_stream *streams[2];
    atomic_bool stop;
    bool pinned;
    double *took_ms;
    uint64_t rounds;
};

static int compute(void *arg)
{
    struct echo *echo = arg;

    if (echo->pinned)
        bench_check(weft_pin() == 0, "pin");
    while (!atomic_load_explicit(&echo->stop, memory_order_relaxed)) {
        uint64_t end_ns = bench_now_ns() + SLICE_NS;

        while (bench_now_ns() < end_ns)
            ;
        bench_check(weft_yield() == 0, "yield");
    }
    return 0;
}

static int answer(void *arg)
{
    struct echo *echo = arg;
    char byte;

    while (weft_read(echo->streams[0], &byte, 1) == 1)
        bench_check(weft_write(echo->streams[0], &byte, 1, NULL) == 0, "answer");
    return 0;
}

static int ask(void *arg)
{
    struct echo *echo = arg;
    char byte = 'x';

    for (uint64_t i = 0; i < echo->rounds; i++) {
        uint64_t start_ns = bench_now_ns();

        bench_check(weft_write(echo->streams[1], &byte, 1, NULL) == 0, "ask");
        bench_check(weft_read(echo->streams[1], &byte, 1) == 1, "be answered");
        echo->took_ms[i] = (double)(bench_now_ns() - start_ns) / WEFT_MILLISECOND;
        bench_check(weft_sleep(WEFT_MILLISECOND) == 0, "pause");
    }
    atomic_store_explicit(&echo->stop, true, memory_order_relaxed);
    return weft_stream_shutdown_write(echo->streams[1]);
}

static int by_value(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;

    return (difference > 0) - (difference < 0);
}

static void print_handoffs(void)
{
    struct weft_worker_stats stats;
    uint64_t handoffs = 0;

    for (unsigned i = 0; weft_stats_worker(weft_runtime_self(), i, &stats) == 0; i++)
        handoffs += stats.handoffs;
    bench_print("counter.handoffs", (double)handoffs, "total");
}

static double measure_as(bool pinned)
{
    struct echo echo = {.pinned = pinned, .rounds = bench_size(ROUNDS)};
    struct weft_runtime_stats stats;
    struct weft_group group;
    double p99;

    echo.took_ms = calloc(echo.rounds, sizeof(*echo.took_ms));
    bench_check(echo.took_ms != NULL, "memory");
    bench_check(weft_stream_pair(echo.streams) == 0, "socketpair");
    weft_stats_runtime(weft_runtime_self(), &stats);
    weft_group_init(&group);
    bench_check(weft_group_spawn(&group, "answer", answer, &echo) == 0, "spawn");
    bench_check(weft_group_spawn(&group, "ask", ask, &echo) == 0, "spawn");
    for (unsigned i = 0; i < stats.workers; i++)
        bench_check(weft_group_spawn(&group, "compute", compute, &echo) == 0, "spawn");
    bench_check(weft_group_join(&group) == 0, "join");
    weft_stream_free(echo.streams[0]);
    weft_stream_free(echo.streams[1]);
    qsort(echo.took_ms, echo.rounds, sizeof(*echo.took_ms), by_value);
    bench_print("p50", echo.took_ms[echo.rounds / 2], "ms");
    p99 = echo.took_ms[(echo.rounds - 1) * 99 / 100];
    free(echo.took_ms);
    print_handoffs();
    return p99;
}

static double measure(void)
{
    return measure_as(false);
}

static double measure_pinned(void)
{
    return measure_as(true);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"slices", measure, "ms", 0},
                                            {"slices_pinned", measure_pinned, "ms", 0}};

    return bench_main(argc, argv, rows, 2);
}
