/* SPDX-License-Identifier: MIT */
/*
 * 100,000 fibers, started as fast as it goes, each of which sleeps once for 0 to 1000 ms; how late
 * they wake, from when they began to sleep, in us.
 *
 * timers:     the 99th percentile.
 * timers_p50: the median.
 */
#include "bench.h"

#include <stdlib.h>
#include <weft/group.h>
#include <weft/time.h>

#define SLEEPERS   100000
#define LONGEST_NS 1000000000

struct sleeper {
    uint64_t duration_ns;
    uint64_t late_ns;
};

static int sleep_once(void *arg)
{
    struct sleeper *sleeper = arg;
    uint64_t start = bench_now_ns(), slept;
    int r = weft_sleep(sleeper->duration_ns);

    slept = bench_now_ns() - start;
    bench_check(slept >= sleeper->duration_ns, "no timer is early");
    sleeper->late_ns = slept - sleeper->duration_ns;
    return r;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int by_lateness(const void *one, const void *other)
{
    const struct sleeper *a = one, *b = other;

    return (a->late_ns > b->late_ns) - (a->late_ns < b->late_ns);
}

static double measure(void)
{
    uint64_t count = bench_size(SLEEPERS), seed = 88172645463325252;
    struct sleeper *sleepers = calloc(count, sizeof(*sleepers));
    struct weft_group group;
    double late_us;

    bench_check(sleepers != NULL, "memory");
    for (uint64_t i = 0; i < count; i++)
        sleepers[i].duration_ns = next_random(&seed) % LONGEST_NS;
    weft_group_init(&group);
    for (uint64_t i = 0; i < count; i++)
        bench_check(weft_group_spawn(&group, "sleeper", sleep_once, &sleepers[i]) == 0, "spawn");
    bench_check(weft_group_join(&group) == 0, "join");
    qsort(sleepers, count, sizeof(*sleepers), by_lateness);
    const struct sleeper *median = &sleepers[count / 2], *late = &sleepers[count * 99 / 100];
    bench_print("timers_p50", (double)median->late_ns / 1000, "us");
    late_us = (double)late->late_ns / 1000;
    free(sleepers);
    return late_us;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"timers", measure, "us"}};

    return bench_main(argc, argv, rows, 1);
}
