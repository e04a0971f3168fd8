/* SPDX-License-Identifier: MIT */
/*
 * fib(32) with a fiber for each n-1 side, the n-2 side inline, no cut-off; ns per fib() call, of
 * which half are fibers.  The rows differ only in the number of workers.
 */
#include "bench.h"

#include <weft/group.h>

#define N          32
#define VALUE      2178309
#define CALLS      7049155
#define WARM       25
#define WARM_VALUE 75025

struct call {
    int n;
    long value;
};

static int fib(void *arg)
{
    struct call *call = arg, left = {call->n - 1, 0}, right = {call->n - 2, 0};
    struct weft_group group;

    if (call->n < 2) {
        call->value = call->n;
        return 0;
    }
    weft_group_init(&group);
    bench_check(weft_group_spawn(&group, "fib", fib, &left) == 0, "spawn");
    fib(&right);
    bench_check(weft_group_join(&group) == 0, "join");
    call->value = left.value + right.value;
    return 0;
}

static double measure(void)
{
    struct call warm = {WARM, 0}, call = {N, 0};
    uint64_t start;

    fib(&warm);
    bench_check(warm.value == WARM_VALUE, "fib(25)");
    start = bench_now_ns();
    fib(&call);
    bench_check(call.value == VALUE, "fib(32)");
    return bench_ns_per(start, CALLS);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {
        {"fib", measure, "ns", 0},
        {"fib_1", measure, "ns", 1},
        {"fib_2", measure, "ns", 2},
    };

    return bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
