/* SPDX-License-Identifier: MIT */
/*
 * Two fibers take turns by weft_yield; ns per switch.  Wants one worker: on more, the two may run
 * side by side and nothing is switched.  Each fiber notes whose turn it was last, so that a yield
 * which came straight back would be found out.
 */
#include "bench.h"

#include <weft/fiber.h>
#include <weft/group.h>

#define ROUNDS 20000000
#define WARM   50000

struct player {
    const void **last; /* who ran before */
    uint64_t rounds;
    uint64_t switched;
};

static int take_turns(void *arg)
{
    struct player *player = arg;

    for (uint64_t i = 0; i < player->rounds; i++) {
        *player->last = player;
        bench_check(weft_yield() == 0, "weft_yield");
        player->switched += *player->last != player;
    }
    return 0;
}

static double play(uint64_t rounds)
{
    const void *last = NULL;
    struct player one = {&last, rounds, 0}, two = {&last, rounds, 0};
    uint64_t start = bench_now_ns();
    struct weft_group group;

    weft_group_init(&group);
    bench_check(weft_group_spawn(&group, "one", take_turns, &one) == 0, "spawn");
    bench_check(weft_group_spawn(&group, "two", take_turns, &two) == 0, "spawn");
    bench_check(weft_group_join(&group) == 0, "join");
    bench_check(one.switched + two.switched + rounds / 100 >= 2 * rounds, "the fibers took turns");
    return bench_ns_per(start, 2 * rounds);
}

static double measure(void)
{
    play(WARM);
    return play(bench_size(ROUNDS));
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"yield", measure, "ns", 1}};

    return bench_main(argc, argv, rows, 1);
}
