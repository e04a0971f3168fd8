/* SPDX-License-Identifier: MIT */
/*
 * A million fibers that sleep.
 *
 * sleepers:            resident memory of each, stack and all; bytes.
 * sleepers_page_table: what the kernel's page tables grow by for each; bytes.
 * sleepers_create:     from the first spawn until the last one is asleep; ms.
 *
 * They sleep for an hour, and are cancelled when all has been measured.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/fiber.h>
#include <weft/group.h>
#include <weft/runtime.h>
#include <weft/stats.h>
#include <weft/time.h>

#define SLEEPERS  1000000
#define SLEEP     (3600 * WEFT_SECOND)
#define KIBIBYTES 1024.0

/* A figure of /proc/self/status, which gives them in KiB. */
static double memory_of(const char *field)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    double value = -1;

    bench_check(file != NULL, "/proc/self/status");
    while (value < 0 && fgets(line, sizeof(line), file))
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtod(line + strlen(field), NULL) * KIBIBYTES;
    fclose(file);
    bench_check(value >= 0, field);
    return value;
}

static int sleep_long(void *unused)
{
    (void)unused;
    return weft_sleep(SLEEP);
}

/* A spawned fiber may not have run yet when its spawn returns: its parent may have been stolen. */
static void wait_asleep(uint64_t count)
{
    struct weft_runtime_stats stats;

    do {
        bench_check(weft_yield() == 0, "weft_yield");
        weft_stats_runtime(weft_runtime_self(), &stats);
    } while (stats.timers_armed < count);
}

static double measure(void)
{
    uint64_t count = bench_size(SLEEPERS), start;
    double resident = memory_of("VmRSS:"), tables = memory_of("VmPTE:");
    struct weft_group group;
    double ms;

    weft_group_init(&group);
    start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++)
        bench_check(weft_group_spawn(&group, "sleeper", sleep_long, NULL) == 0, "spawn");
    wait_asleep(count);
    ms = bench_ns_per(start, 1) / 1e6;
    resident = (memory_of("VmRSS:") - resident) / (double)count;
    tables = (memory_of("VmPTE:") - tables) / (double)count;
    weft_group_cancel(&group);
    bench_check(weft_group_join(&group) == -ECANCELED, "the sleepers were cancelled");
    bench_print("sleepers_create", ms, "ms");
    bench_print("sleepers_page_table", tables, "B");
    return resident;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"sleepers", measure, "B"}};

    return bench_main(argc, argv, rows, 1);
}
