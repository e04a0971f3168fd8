/* SPDX-License-Identifier: MIT */
/*
 * Numbers through one channel of 1024 places; millions of messages a second.
 *
 * channel_1_1: from one fiber to another.
 * channel_4_4: from four fibers to four others.
 */
#include "bench.h"

#include <errno.h>
#include <weft/channel.h>
#include <weft/group.h>
#include <weft/time.h>

#define CAPACITY 1024
#define MESSAGES 8000000
#define WARM     200000
#define ENDS_MAX 4

struct end {
    struct weft_channel *channel;
    uint64_t first, count; /* of a sender: the numbers that it sends */
    uint64_t sum;          /* of a receiver: of what it got */
};

static int send_all(void *arg)
{
    struct end *end = arg;
    int r = 0;

    for (uint64_t i = 0; i < end->count && r == 0; i++) {
        uint64_t number = end->first + i;

        r = weft_channel_send(end->channel, &number, WEFT_NO_DEADLINE);
    }
    return r;
}

static int receive_all(void *arg)
{
    struct end *end = arg;
    uint64_t number, sum = 0, count = 0;
    int r;

    while ((r = weft_channel_recv(end->channel, &number, WEFT_NO_DEADLINE)) == 0) {
        sum += number;
        count++;
    }
    end->sum = sum;
    end->count = count;
    return r == -EPIPE ? 0 : r;
}

/* `ends` fibers send `count` numbers each, as many others receive them. */
static void pass(uint64_t ends, uint64_t count)
{
    struct end senders[ENDS_MAX], receivers[ENDS_MAX];
    struct weft_group sending, receiving;
    struct weft_channel *channel;
    uint64_t sum = 0, received = 0, all = ends * count;

    bench_check(weft_channel_new(sizeof(uint64_t), CAPACITY, &channel) == 0, "channel");
    weft_group_init(&receiving);
    for (uint64_t i = 0; i < ends; i++) {
        receivers[i] = (struct end){.channel = channel};
        bench_check(weft_group_spawn(&receiving, "receiver", receive_all, &receivers[i]) == 0,
                    "spawn");
    }
    weft_group_init(&sending);
    for (uint64_t i = 0; i < ends; i++) {
        senders[i] = (struct end){channel, i * count, count, 0};
        bench_check(weft_group_spawn(&sending, "sender", send_all, &senders[i]) == 0, "spawn");
    }
    bench_check(weft_group_join(&sending) == 0, "join");
    weft_channel_close(channel);
    bench_check(weft_group_join(&receiving) == 0, "join");
    for (uint64_t i = 0; i < ends; i++) {
        sum += receivers[i].sum;
        received += receivers[i].count;
    }
    bench_check(received == all && sum == all * (all - 1) / 2, "every number came once");
    weft_channel_free(channel);
}

static double measure(uint64_t ends)
{
    uint64_t count = bench_size(MESSAGES) / ends, start;

    pass(ends, WARM / ends);
    start = bench_now_ns();
    pass(ends, count);
    return 1000 / bench_ns_per(start, ends * count);
}

static double measure_1_1(void)
{
    return measure(1);
}

static double measure_4_4(void)
{
    return measure(4);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"channel_1_1", measure_1_1, "M/s"},
                                            {"channel_4_4", measure_4_4, "M/s"}};

    return bench_main(argc, argv, rows, 2);
}
