/* SPDX-License-Identifier: MIT */
/* A fiber is started and joined, one by one, each in a group of its own; ns per fiber. */
#include "bench.h"

#include <weft/group.h>

#define ROUNDS 5000000
#define WARM   20000

static int count_up(void *arg)
{
    uint64_t *ran = arg;

    (*ran)++;
    return 0;
}

static double measure(void)
{
    uint64_t rounds = bench_size(ROUNDS), ran = 0, start = 0;
    struct weft_group group;

    for (uint64_t i = 0; i < WARM + rounds; i++) {
        if (i == WARM)
            start = bench_now_ns();
        weft_group_init(&group);
        bench_check(weft_group_spawn(&group, "child", count_up, &ran) == 0, "spawn");
        bench_check(weft_group_join(&group) == 0, "join");
    }
    bench_check(ran == WARM + rounds, "every fiber ran once");
    return bench_ns_per(start, rounds);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"spawn_join", measure, "ns"}};

    return bench_main(argc, argv, rows, 1);
}
