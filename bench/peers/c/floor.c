/* SPDX-License-Identifier: MIT */
/*
 * Floors of the rows of sleeping fibers.
 *
 * timers, timers_p50:  1000 sleeps of up to 2 ms by nanosleep, one after the other: how late the
 *                      kernel itself wakes an idle thread; us.
 * sleepers:            a million stacks of 64 KiB, of each of which one page is touched: what the
 *                      memory of a stackful fiber cannot be less than, and the time to touch it.
 */
#include "peer.h"

#include <sys/mman.h>

#define SLEEPS     1000
#define LONGEST_NS 2000000
#define STACKS     1000000
#define STACK_SIZE (64L * 1024)

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

static double measure_timers(int workers)
{
    static double late_us[SLEEPS];

    (void)workers;
    for (int i = 0; i < SLEEPS; i++) {
        long duration = random() % LONGEST_NS;
        struct timespec time = {0, duration};
        uint64_t start = peer_now_ns();

        nanosleep(&time, NULL);
        late_us[i] = (peer_ns_per(start, 1) - (double)duration) / 1000;
    }
    qsort(late_us, SLEEPS, sizeof(late_us[0]), by_size);
    printf("timers_p50\t%.3f\tus\n", late_us[SLEEPS / 2]);
    return late_us[SLEEPS * 99 / 100];
}

static double memory_of(const char *field)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    double value = -1;

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtod(line + strlen(field), NULL) * 1024;
    peer_check(value >= 0, field);
    fclose(file);
    return value;
}

static double measure_sleepers(int workers)
{
    double resident = memory_of("VmRSS:"), tables = memory_of("VmPTE:");
    uint64_t start = peer_now_ns();
    char *stacks = mmap(NULL, STACKS * STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    (void)workers;
    peer_check(stacks != MAP_FAILED, "mmap");
    madvise(stacks, STACKS * STACK_SIZE, MADV_NOHUGEPAGE);
    for (long i = 0; i < STACKS; i++)
        stacks[(i + 1) * STACK_SIZE - 1] = 1;
    printf("sleepers_create\t%.3f\tms\n", peer_ns_per(start, 1) / 1e6);
    printf("sleepers_page_table\t%.3f\tB\n", (memory_of("VmPTE:") - tables) / STACKS);
    return (memory_of("VmRSS:") - resident) / STACKS;
}

int main(int argc, char **argv)
{
    static const struct peer_row rows[] = {
        {"timers", measure_timers, "us"},
        {"sleepers", measure_sleepers, "B"},
    };

    return peer_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
