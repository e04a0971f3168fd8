/* SPDX-License-Identifier: MIT */
/* A number goes to another fiber and comes back one greater, over two channels that hand over
 * directly (capacity 0, as Go's do); ns per round trip. */
#include "bench.h"

#include <errno.h>
#include <weft/channel.h>
#include <weft/group.h>
#include <weft/time.h>

#define ROUNDS 2000000
#define WARM   10000

struct table {
    struct weft_channel *ping, *pong;
};

static int answer(void *arg)
{
    struct table *table = arg;
    uint64_t number;
    int result;

    while ((result = weft_channel_recv(table->ping, &number, WEFT_NO_DEADLINE)) == 0) {
        number++;
        bench_check(weft_channel_send(table->pong, &number, WEFT_NO_DEADLINE) == 0, "send");
    }
    return result == -EPIPE ? 0 : result;
}

static void play(struct table *table, uint64_t rounds)
{
    uint64_t number;

    for (uint64_t i = 0; i < rounds; i++) {
        bench_check(weft_channel_send(table->ping, &i, WEFT_NO_DEADLINE) == 0, "send");
        bench_check(weft_channel_recv(table->pong, &number, WEFT_NO_DEADLINE) == 0, "recv");
        bench_check(number == i + 1, "the number that came back");
    }
}

static double measure(void)
{
    uint64_t rounds = bench_size(ROUNDS), start;
    struct weft_group group;
    struct table table;
    double value;

    bench_check(weft_channel_new(sizeof(uint64_t), 0, &table.ping) == 0, "channel");
    bench_check(weft_channel_new(sizeof(uint64_t), 0, &table.pong) == 0, "channel");
    weft_group_init(&group);
    bench_check(weft_group_spawn(&group, "answer", answer, &table) == 0, "spawn");
    play(&table, WARM);
    start = bench_now_ns();
    play(&table, rounds);
    value = bench_ns_per(start, rounds);
    weft_channel_close(table.ping);
    bench_check(weft_group_join(&group) == 0, "join");
    weft_channel_free(table.ping);
    weft_channel_free(table.pong);
    return value;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"ping_pong", measure, "ns"}};

    return bench_main(argc, argv, rows, 1);
}
