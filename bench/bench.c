/* SPDX-License-Identifier: MIT */
/*
 * The frame of a benchmark program: see bench.h.  It runs one row on the main fiber of a runtime
 * with the wanted number of workers.  It does not repeat rows or take medians: bench/run.py does.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft/runtime.h>
#include <weft/stats.h>

struct job {
    const struct bench_row *row;
    double value;
    bool counters; /* print the runtime's, too */
};

static uint64_t wanted_size; /* of --size; 0: none.  Written before the runtime starts */

uint64_t bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

double bench_ns_per(uint64_t start_ns, uint64_t count)
{
    return (double)(bench_now_ns() - start_ns) / (double)count;
}

_Noreturn void bench_fail(const char *what)
{
    fprintf(stderr, "wrong: %s\n", what);
    fflush(NULL);
    _Exit(1); /* fibers are still running: no exit handlers under them */
}

uint64_t bench_size(uint64_t otherwise)
{
    return wanted_size ? wanted_size : otherwise;
}

void bench_print(const char *row, double value, const char *unit)
{
    printf("%s\t%.3f\t%s\n", row, value, unit);
}

static void print_counters(void)
{
    static const struct {
        const char *name;
        size_t offset;
    } counters[] = {
        {"counter.turns", offsetof(struct weft_worker_stats, turns)},
        {"counter.spawned", offsetof(struct weft_worker_stats, spawned)},
        {"counter.steals", offsetof(struct weft_worker_stats, steals)},
        {"counter.stolen", offsetof(struct weft_worker_stats, stolen)},
        {"counter.searches", offsetof(struct weft_worker_stats, searches)},
        {"counter.parks", offsetof(struct weft_worker_stats, parks)},
        {"counter.wakes", offsetof(struct weft_worker_stats, wakes)},
        {"counter.polls", offsetof(struct weft_worker_stats, polls)},
        {"counter.events", offsetof(struct weft_worker_stats, events)},
        {"counter.injected", offsetof(struct weft_worker_stats, injected)},
    };
    struct weft_worker_stats stats;

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        uint64_t sum = 0;

        for (unsigned n = 0; weft_stats_worker(weft_runtime_self(), n, &stats) == 0; n++)
            sum += *(const uint64_t *)((const char *)&stats + counters[i].offset);
        bench_print(counters[i].name, (double)sum, "total");
    }
}

static int run_row(void *arg)
{
    struct job *job = arg;

    job->value = job->row->measure();
    if (job->counters)
        print_counters();
    return 0;
}

static const struct bench_row *find_row(const char *name, const struct bench_row *rows,
                                        size_t row_count)
{
    for (size_t i = 0; i < row_count; i++)
        if (!name || strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static int usage(const char *program)
{
    fprintf(stderr, "usage: %s [--workers N] [--size N] [--counters] [ROW]\n", program);
    return 1;
}

/* Reads the options that stand before the row.  Returns where the row stands, or 0: a mistake. */
static int parse(int argc, char **argv, struct weft_options *options, struct job *job)
{
    int i = 1;

    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--counters") == 0)
            job->counters = true;
        else if (strcmp(argv[i], "--workers") == 0 && i + 1 < argc)
            options->workers = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--size") == 0 && i + 1 < argc)
            wanted_size = strtoull(argv[++i], NULL, 10);
        else
            return 0;
    }
    return i;
}

int bench_main(int argc, char **argv, const struct bench_row *rows, size_t row_count)
{
    struct weft_options options;
    struct job job = {0};
    int next, result;

    weft_options_init(&options);
    next = parse(argc, argv, &options, &job);
    if (next == 0 || argc - next > 1)
        return usage(argv[0]);
    job.row = find_row(argv[next], rows, row_count);
    if (!job.row)
        return usage(argv[0]);
    if (options.workers == 0)
        options.workers = job.row->workers;
    result = weft_run(&options, run_row, &job);
    bench_check(result == 0, result < 0 ? strerror(-result) : "the main fiber's result");
    if (job.row->unit)
        bench_print(job.row->name, job.value, job.row->unit);
    return 0;
}
