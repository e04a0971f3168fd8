/* SPDX-License-Identifier: MIT */
/*
 * 10,000 fibers are started in one group and then joined; ns per fiber.  Each adds to a slot of its
 * own, so that the workers share no word and every fiber can be checked.
 */
#include "bench.h"

#include <weft/group.h>

#define BATCH   10000
#define BATCHES 300
#define WARM    30

static uint32_t ran[BATCH];

static int count_up(void *arg)
{
    uint32_t *slot = arg;

    (*slot)++;
    return 0;
}

static void run_batch(uint32_t number)
{
    struct weft_group group;
    bool all = true;

    weft_group_init(&group);
    for (int i = 0; i < BATCH; i++)
        bench_check(weft_group_spawn(&group, "child", count_up, &ran[i]) == 0, "spawn");
    bench_check(weft_group_join(&group) == 0, "join");
    for (int i = 0; i < BATCH; i++)
        all &= ran[i] == number + 1;
    bench_check(all, "every fiber ran once, before the join ended");
}

static double measure(void)
{
    uint64_t start = 0;

    for (uint32_t i = 0; i < WARM + BATCHES; i++) {
        if (i == WARM)
            start = bench_now_ns();
        run_batch(i);
    }
    return bench_ns_per(start, (uint64_t)BATCHES * BATCH);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"spawn_batch", measure, "ns"}};

    return bench_main(argc, argv, rows, 1);
}
