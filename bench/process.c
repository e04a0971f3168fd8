/* SPDX-License-Identifier: MIT */
/*
 * A program (/bin/true) is started and waited for, one by one; us each.
 *
 * process:        from a small process.
 * process_large:  from one that has written to 256 MiB of its memory, in small pages.
 */
#include "bench.h"

#include <string.h>
#include <sys/mman.h>
#include <weft/process.h>
#include <weft/time.h>

#define ROUNDS       2000
#define ROUNDS_LARGE 100
#define WARM         20
#define LARGE        (256u << 20)

static void run_true(void)
{
    static const char *const argv[] = {"/bin/true", NULL};
    struct weft_process_options options;
    struct weft_process_status status;
    struct weft_process *process;

    weft_process_options_init(&options);
    options.argv = argv;
    bench_check(weft_process_spawn(&options, &process) == 0, "spawn");
    bench_check(weft_process_wait(process, WEFT_NO_DEADLINE, &status) == 0, "wait");
    bench_check(status.exit_code == 0, "exit status");
    weft_process_free(process);
}

static double measure_rounds(uint64_t rounds)
{
    uint64_t start = 0;

    for (uint64_t i = 0; i < WARM + rounds; i++) {
        if (i == WARM)
            start = bench_now_ns();
        run_true();
    }
    return bench_ns_per(start, rounds) / 1000;
}

static double measure(void)
{
    return measure_rounds(ROUNDS);
}

static double measure_large(void)
{
    char *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    double value;

    bench_check(memory != MAP_FAILED && madvise(memory, LARGE, MADV_NOHUGEPAGE) == 0, "memory");
    memset(memory, 1, LARGE);
    value = measure_rounds(ROUNDS_LARGE);
    bench_check(memory[LARGE / 2] == 1, "memory is kept");
    munmap(memory, LARGE);
    return value;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"process", measure, "us", 1},
                                            {"process_large", measure_large, "us", 1}};

    return bench_main(argc, argv, rows, 2);
}
