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

struct job {
    const struct bench_row *row;
    double value;
};

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

static int run_row(void *arg)
{
    struct job *job = arg;

    job->value = job->row->measure();
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
    fprintf(stderr, "usage: %s [--workers N] [ROW]\n", program);
    return 1;
}

int bench_main(int argc, char **argv, const struct bench_row *rows, size_t row_count)
{
    struct weft_options options;
    struct job job = {0};
    int next = 1, result;

    weft_options_init(&options);
    if (argc > 2 && strcmp(argv[1], "--workers") == 0) {
        options.workers = (unsigned)strtoul(argv[2], NULL, 10);
        next = 3;
    }
    job.row = argc - next > 1 ? NULL : find_row(argv[next], rows, row_count);
    if (!job.row)
        return usage(argv[0]);
    result = weft_run(&options, run_row, &job);
    bench_check(result == 0, result < 0 ? strerror(-result) : "the main fiber's result");
    printf("%s\t%.3f\t%s\n", job.row->name, job.value, job.row->unit);
    return 0;
}
