/* SPDX-License-Identifier: MIT */
/*
 * A tree of fibers, ten children each, with a million leaves, adds up the numbers of its leaves;
 * ms.
 *
 * skynet_join:    a parent joins its children and adds their results.
 * skynet_channel: each child sends its sum to the parent over a channel.
 */
#include "bench.h"

#include <weft/channel.h>
#include <weft/group.h>
#include <weft/time.h>

#define LEAVES 1000000
#define SUM    499999500000
#define FANOUT 10
#define ROUNDS 5

struct node {
    uint64_t number; /* the first leaf under it */
    uint64_t size;   /* leaves under it */
    uint64_t sum;
    struct weft_channel *parent; /* NULL: joined */
};

static int add_by_join(void *arg)
{
    struct node *node = arg, children[FANOUT];
    struct weft_group group;
    uint64_t sum = 0;

    if (node->size == 1) {
        node->sum = node->number;
        return 0;
    }
    weft_group_init(&group);
    for (uint64_t i = 0, size = node->size / FANOUT; i < FANOUT; i++) {
        children[i] = (struct node){.number = node->number + i * size, .size = size};
        bench_check(weft_group_spawn(&group, "node", add_by_join, &children[i]) == 0, "spawn");
    }
    bench_check(weft_group_join(&group) == 0, "join");
    for (int i = 0; i < FANOUT; i++)
        sum += children[i].sum;
    node->sum = sum;
    return 0;
}

static uint64_t receive_sum(struct weft_channel *channel)
{
    uint64_t sum = 0, part;

    for (int i = 0; i < FANOUT; i++) {
        bench_check(weft_channel_recv(channel, &part, WEFT_NO_DEADLINE) == 0, "recv");
        sum += part;
    }
    return sum;
}

static int add_by_channel(void *arg);

static uint64_t add_children(const struct node *node)
{
    struct node children[FANOUT];
    struct weft_channel *channel;
    struct weft_group group;
    uint64_t sum;

    bench_check(weft_channel_new(sizeof(uint64_t), FANOUT, &channel) == 0, "channel");
    weft_group_init(&group);
    for (uint64_t i = 0, size = node->size / FANOUT; i < FANOUT; i++) {
        children[i] = (struct node){node->number + i * size, size, 0, channel};
        bench_check(weft_group_spawn(&group, "node", add_by_channel, &children[i]) == 0, "spawn");
    }
    sum = receive_sum(channel);
    bench_check(weft_group_join(&group) == 0, "join");
    weft_channel_free(channel);
    return sum;
}

static int add_by_channel(void *arg)
{
    const struct node *node = arg;
    uint64_t sum = node->size == 1 ? node->number : add_children(node);

    bench_check(weft_channel_send(node->parent, &sum, WEFT_NO_DEADLINE) == 0, "send");
    return 0;
}

static uint64_t tree_by_join(void)
{
    struct node root = {.size = LEAVES};

    add_by_join(&root);
    return root.sum;
}

static uint64_t tree_by_channel(void)
{
    const struct node root = {.size = LEAVES};

    return add_children(&root);
}

static double measure(uint64_t (*tree)(void))
{
    uint64_t start = 0;

    for (int i = 0; i < ROUNDS + 1; i++) {
        if (i == 1)
            start = bench_now_ns();
        bench_check(tree() == SUM, "the sum of the leaves");
    }
    return bench_ns_per(start, ROUNDS) / 1e6;
}

static double measure_join(void)
{
    return measure(tree_by_join);
}

static double measure_channel(void)
{
    return measure(tree_by_channel);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {
        {"skynet_join", measure_join, "ms"},
        {"skynet_channel", measure_channel, "ms"},
    };

    return bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
