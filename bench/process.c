/* SPDX-License-Identifier: MIT */
/*
 * A program (/bin/true) is started and waited for, one by one; us each.
 *
 * process:        from a small process.
 * process_large:  from one that has written to 256 MiB of its memory.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <weft/process.h>
#include <weft/time.h>

#define ROUNDS 2000
#define WARM   100
#define LARGE  (256u << 20)

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

static double measure(void)
{
    uint64_t start = 0;

    for (uint64_t i = 0; i < WARM + ROUNDS; i++) {
        if (i == WARM)
            start = bench_now_ns();
        run_true();
    }
    return bench_ns_per(start, ROUNDS) / 1000;
}

static double measure_large(void)
{
    char *memory = malloc(LARGE);
    double value;

    bench_check(memory != NULL, "memory");
    memset(memory, 1, LARGE);
    value = measure();
    bench_check(memory[LARGE / 2] == 1, "memory is kept");
    free(memory);
    return value;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"process", measure, "us"},
                                            {"process_large", measure_large, "us"}};

    return bench_main(argc, argv, rows, 2);
}
