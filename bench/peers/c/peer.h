/* SPDX-License-Identifier: MIT */
/*
 * What the C floors share: the clock, the command line and the result line.
 *
 * Every program is called as `PROGRAM [--workers N] ROW` and prints one line
 * `row<TAB>value<TAB>unit`; a row that it does not know, or a wrong result, ends it with status 1.
 */
#ifndef WEFT_BENCH_PEER_H
#define WEFT_BENCH_PEER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct peer_row {
    const char *name;
    double (*measure)(int workers); /* the figure itself; warms up first */
    const char *unit;
};

static inline uint64_t peer_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline double peer_ns_per(uint64_t start_ns, uint64_t count)
{
    return (double)(peer_now_ns() - start_ns) / (double)count;
}

static inline void peer_check(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "wrong result: %s\n", what);
    exit(1);
}

static inline int peer_main(int argc, char **argv, const struct peer_row *rows, size_t row_count)
{
    int workers = 1;

    if (argc == 4 && strcmp(argv[1], "--workers") == 0)
        workers = atoi(argv[2]);
    for (size_t i = 0; i < row_count; i++) {
        if (strcmp(argv[argc - 1], rows[i].name) != 0)
            continue;
        printf("%s\t%.3f\t%s\n", rows[i].name, rows[i].measure(workers), rows[i].unit);
        return 0;
    }
    fprintf(stderr, "usage: %s [--workers N] ROW\n", argv[0]);
    return 1;
}

#endif
