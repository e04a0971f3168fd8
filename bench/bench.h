/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark programs share: the command line, the runtime around the row, the clock and
 * the result lines.
 *
 * Every program is called as `bench-NAME [--workers N] [--size N] [--counters] [ROW]` (no ROW: the
 * first of its table) and prints `row<TAB>value<TAB>unit`; where one run gives several figures, a
 * line for each.  A wrong result, an error of the runtime or an unknown row ends it with status 1.
 *
 * `--size N` is for the growth curves: how many fibers, messages or rounds, where a row has such a
 * number.  `--counters` adds a line `counter.NAME<TAB>value<TAB>total` for each of the runtime's
 * counters, summed over the workers.
 */
#ifndef WEFT_BENCH_H
#define WEFT_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_row {
    const char *name;
    double (*measure)(void); /* on the main fiber; warms up first; returns the figure */
    const char *unit;        /* NULL: measure prints what there is to print itself */
    unsigned workers;        /* where --workers names none; 0: one for each CPU */
};

/** Runs the row that the command line names.  Returns the program's exit status. */
int bench_main(int argc, char **argv, const struct bench_row *rows, size_t row_count);

/** Ends the program with status 1 and a line that says what was wrong. */
_Noreturn void bench_fail(const char *what);

/** bench_fail, unless `good`.  Inline: it stands on the measured paths. */
static inline void bench_check(bool good, const char *what)
{
    if (__builtin_expect(!good, 0))
        bench_fail(what);
}

/** One more result line: a figure that the row's run gave besides its own. */
void bench_print(const char *row, double value, const char *unit);

/** The value of --size, or `otherwise` where the command line names none. */
uint64_t bench_size(uint64_t otherwise);

/** Monotonic time, without the runtime's help. */
uint64_t bench_now_ns(void);

/** The time since `start_ns`, divided by `count`. */
double bench_ns_per(uint64_t start_ns, uint64_t count);

#endif
