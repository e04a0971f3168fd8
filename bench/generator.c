/* SPDX-License-Identifier: MIT */
/* Numbers from a producer to whoever asks, one by one: from a generator, and from a fiber that
 * sends them on a channel of capacity 0; ns per item. */
#include "bench.h"

#include <errno.h>
#include <weft/channel.h>
#include <weft/generator.h>
#include <weft/group.h>
#include <weft/time.h>

#define ITEMS 5000000
#define WARM  200000

static int produce(struct weft_generator *generator, void *arg)
{
    int r = 0;

    (void)arg;
    for (uint64_t i = 0; r == 0; i++)
        r = weft_generator_yield(generator, &i);
    return r;
}

static double measure_generator(void)
{
    struct weft_generator *generator;
    uint64_t number, start = 0;
    double value;

    bench_check(weft_generator_new("produce", produce, NULL, sizeof(number), &generator) == 0,
                "generator");
    for (uint64_t i = 0; i < WARM + ITEMS; i++) {
        if (i == WARM)
            start = bench_now_ns();
        bench_check(weft_generator_next(generator, &number, WEFT_NO_DEADLINE) == 1, "next");
        bench_check(number == i, "the numbers in order");
    }
    value = bench_ns_per(start, ITEMS);
    weft_generator_free(generator);
    return value;
}

static int send(void *arg)
{
    int r = 0;

    for (uint64_t i = 0; r == 0; i++)
        r = weft_channel_send(arg, &i, WEFT_NO_DEADLINE);
    return r == -EPIPE ? 0 : r;
}

static double measure_channel(void)
{
    struct weft_channel *channel;
    struct weft_group group;
    uint64_t number, start = 0;
    double value;

    bench_check(weft_channel_new(sizeof(number), 0, &channel) == 0, "channel");
    weft_group_init(&group);
    bench_check(weft_group_spawn(&group, "send", send, channel) == 0, "spawn");
    for (uint64_t i = 0; i < WARM + ITEMS; i++) {
        if (i == WARM)
            start = bench_now_ns();
        bench_check(weft_channel_recv(channel, &number, WEFT_NO_DEADLINE) == 0, "receive");
        bench_check(number == i, "the numbers in order");
    }
    value = bench_ns_per(start, ITEMS);
    weft_channel_close(channel);
    bench_check(weft_group_join(&group) == 0, "join");
    weft_channel_free(channel);
    return value;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"generator", measure_generator, "ns", 1},
                                            {"generator_channel", measure_channel, "ns", 1}};

    return bench_main(argc, argv, rows, 2);
}
