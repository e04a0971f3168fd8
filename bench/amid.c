/* SPDX-License-Identifier: MIT */
/*
 * What things cost amid many fibers, for the growth curves: `--size` of them sleep (or, in
 * among_yield, take turns) while two others do the work; ns.  Curves that rise with the number show
 * what the hot paths owe to it: caches may, a loop over all fibers must not.
 *
 * amid_yield:      a switch, as in yield.
 * amid_spawn_join: a fiber, as in spawn_join.
 * amid_deadline:   a round trip over two channels, every wait with a deadline.
 * among_yield:     a switch, when all of them are ready and take turns.
 */
#include "bench.h"

#include <errno.h>
#include <weft/channel.h>
#include <weft/event.h>
#include <weft/fiber.h>
#include <weft/group.h>
#include <weft/time.h>

#define FIBERS     1000
#define ROUNDS     1000000
#define ROUNDS_MIN 20 /* so that waking and ending the fibers weighs little */
#define SLEEP      (3600 * WEFT_SECOND)

static int sleep_long(void *unused)
{
    (void)unused;
    return weft_sleep(SLEEP);
}

/* Runs `work` while the sleepers sleep.  One worker: each has begun to when its spawn returns. */
static double amid_sleepers(double (*work)(void))
{
    uint64_t count = bench_size(FIBERS);
    struct weft_group group;
    double value;

    weft_group_init(&group);
    for (uint64_t i = 0; i < count; i++)
        bench_check(weft_group_spawn(&group, "sleeper", sleep_long, NULL) == 0, "spawn");
    value = work();
    weft_group_cancel(&group);
    bench_check(weft_group_join(&group) == -ECANCELED, "the sleepers were cancelled");
    return value;
}

struct game {
    struct weft_event begin;
    uint64_t rounds;
};

static int take_turns(void *arg)
{
    struct game *game = arg;
    int r = weft_event_wait(&game->begin, WEFT_NO_DEADLINE);

    for (uint64_t i = 0; i < game->rounds && r == 0; i++)
        r = weft_yield();
    return r;
}

/* `count` fibers yield `rounds` times each; ns per switch. */
static double all_yield(uint64_t count, uint64_t rounds)
{
    struct game game = {.rounds = rounds};
    struct weft_group group;
    uint64_t start;

    weft_event_init(&game.begin);
    weft_group_init(&group);
    for (uint64_t i = 0; i < count; i++)
        bench_check(weft_group_spawn(&group, "player", take_turns, &game) == 0, "spawn");
    start = bench_now_ns();
    weft_event_set(&game.begin);
    bench_check(weft_group_join(&group) == 0, "join");
    return bench_ns_per(start, count * rounds);
}

static double yield_both(void)
{
    return all_yield(2, ROUNDS);
}

static int count_up(void *arg)
{
    uint64_t *ran = arg;

    (*ran)++;
    return 0;
}

static double spawn_and_join(void)
{
    uint64_t ran = 0, start = bench_now_ns();
    struct weft_group group;

    for (uint64_t i = 0; i < ROUNDS; i++) {
        weft_group_init(&group);
        bench_check(weft_group_spawn(&group, "child", count_up, &ran) == 0, "spawn");
        bench_check(weft_group_join(&group) == 0, "join");
    }
    bench_check(ran == ROUNDS, "every fiber ran once");
    return bench_ns_per(start, ROUNDS);
}

struct table {
    struct weft_channel *ping, *pong;
};

static int answer(void *arg)
{
    struct table *table = arg;
    uint64_t number;
    int r;

    while ((r = weft_channel_recv(table->ping, &number, weft_deadline_after(SLEEP))) == 0 &&
           (r = weft_channel_send(table->pong, &number, weft_deadline_after(SLEEP))) == 0)
        ;
    return r == -EPIPE ? 0 : r;
}

static double ping_pong(void)
{
    struct weft_group group;
    struct table table;
    uint64_t start, back;

    bench_check(weft_channel_new(sizeof(uint64_t), 0, &table.ping) == 0, "channel");
    bench_check(weft_channel_new(sizeof(uint64_t), 0, &table.pong) == 0, "channel");
    weft_group_init(&group);
    bench_check(weft_group_spawn(&group, "answer", answer, &table) == 0, "spawn");
    start = bench_now_ns();
    for (uint64_t i = 0; i < ROUNDS; i++) {
        bench_check(weft_channel_send(table.ping, &i, weft_deadline_after(SLEEP)) == 0, "send");
        bench_check(weft_channel_recv(table.pong, &back, weft_deadline_after(SLEEP)) == 0, "recv");
        bench_check(back == i, "the number that came back");
    }
    weft_channel_close(table.ping);
    bench_check(weft_group_join(&group) == 0, "join");
    weft_channel_free(table.ping);
    weft_channel_free(table.pong);
    return bench_ns_per(start, ROUNDS);
}

static double measure_yield(void)
{
    return amid_sleepers(yield_both);
}

static double measure_spawn_join(void)
{
    return amid_sleepers(spawn_and_join);
}

static double measure_deadline(void)
{
    return amid_sleepers(ping_pong);
}

static double measure_among(void)
{
    uint64_t count = bench_size(FIBERS), rounds = 4 * ROUNDS / count;

    return all_yield(count, rounds < ROUNDS_MIN ? ROUNDS_MIN : rounds);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {
        {"amid_yield", measure_yield, "ns", 1},
        {"amid_spawn_join", measure_spawn_join, "ns", 1},
        {"amid_deadline", measure_deadline, "ns", 1},
        {"among_yield", measure_among, "ns", 1},
    };

    return bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
