/* SPDX-License-Identifier: MIT */
/* Producers and consumers, fibers and plain threads, on a channel of capacity 0, 1, 7 or 64, whose
 * calls are cancelled and timed out: an item whose send succeeded is received exactly once, one
 * whose send failed never, and each consumer sees the items of each producer in their order. */
#include <pthread.h>
#include <string.h>

#include "support/stress.h"

enum {
    PRODUCERS = 13, /* the last is a plain thread */
    CONSUMERS = 13, /* the last is a plain thread */
    ITEMS = 300 / STRESS_SLOW
};

/* What became of an item. */
enum fate { UNSENT, SENT, REFUSED };

struct item {
    uint32_t producer, number;
};

struct world {
    struct weft_channel *channel;
    struct chaos chaos;
    enum fate fates[PRODUCERS][ITEMS]; /* written by the producer, read when it has ended */
    atomic_uchar received[PRODUCERS][ITEMS];
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static const struct item untouched = {UINT32_MAX, UINT32_MAX};

static int send_somehow(struct actor *actor, unsigned slot, const struct item *item)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;
    int r;

    chaos_enter(chaos, slot, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        r = weft_channel_try_send(actor->world->channel, item);
    else
        r = weft_channel_send(actor->world->channel, item, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, slot, &scope);
    return r;
}

static int recv_somehow(struct actor *actor, unsigned slot, struct item *ret_item)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;
    int r;

    chaos_enter(chaos, slot, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        r = weft_channel_try_recv(actor->world->channel, ret_item);
    else
        r = weft_channel_recv(actor->world->channel, ret_item, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, slot, &scope);
    return r;
}

static void note_sent(struct actor *actor, unsigned number, int r)
{
    EXPECT(r == 0 || r == -EAGAIN || stress_ended(r));
    actor->world->fates[actor->number][number] = r == 0 ? SENT : REFUSED;
}

static int produce(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < ITEMS && weft_check_cancel() == 0; i++) {
        struct item item = {actor->number, i};

        note_sent(actor, i, send_somehow(actor, actor->number, &item));
    }
    return 0;
}

static void *produce_in_thread(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < ITEMS; i++) {
        struct item item = {actor->number, i};

        note_sent(actor, i, weft_channel_try_send(actor->world->channel, &item));
        sched_yield();
    }
    return NULL;
}

/* What one consumer got last from each producer, plus one. */
struct progress {
    uint32_t next[PRODUCERS];
};

static void note_received(struct world *world, struct progress *progress, int r, struct item item)
{
    if (r < 0) {
        EXPECT(r == -EPIPE || r == -EAGAIN || stress_ended(r));
        EXPECT(memcmp(&item, &untouched, sizeof(item)) == 0);
        return;
    }
    EXPECT(item.producer < PRODUCERS && item.number < ITEMS);
    EXPECT(item.number >= progress->next[item.producer]);
    progress->next[item.producer] = item.number + 1;
    EXPECT_EQ(atomic_fetch_add(&world->received[item.producer][item.number], 1), 0);
}

static int consume(void *arg)
{
    struct actor *actor = arg;
    struct progress progress = {0};
    int r;

    do {
        struct item item = untouched;

        r = recv_somehow(actor, PRODUCERS + actor->number, &item);
        note_received(actor->world, &progress, r, item);
    } while (r != -EPIPE && weft_check_cancel() == 0);
    return 0;
}

static void *consume_in_thread(void *arg)
{
    struct actor *actor = arg;
    struct progress progress = {0};
    int r;

    do {
        struct item item = untouched;

        r = weft_channel_try_recv(actor->world->channel, &item);
        note_received(actor->world, &progress, r, item);
        sched_yield();
    } while (r != -EPIPE);
    return NULL;
}

static void check(struct world *world)
{
    for (int i = 0; i < PRODUCERS; i++)
        for (int j = 0; j < ITEMS; j++)
            EXPECT_EQ(atomic_load(&world->received[i][j]), world->fates[i][j] == SENT);
}

static void spawn_fibers(struct weft_group *group, struct actor *actors, unsigned count,
                         int (*fn)(void *))
{
    weft_group_init(group);
    for (unsigned i = 0; i < count; i++)
        EXPECT_EQ(weft_group_spawn(group, "actor", fn, &actors[i]), 0);
}

static void start_thread(pthread_t *ret_thread, void *(*fn)(void *), struct actor *actor)
{
    EXPECT_EQ(pthread_create(ret_thread, NULL, fn, actor), 0);
}

/* All but the threads are cancelled in some rounds; the consumer thread then drains what is
 * left. */
static void play_in(struct world *world, struct actor *producers, struct actor *consumers,
                    bool cancel)
{
    struct weft_group trouble, producing, consuming;
    pthread_t threads[2];

    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    start_thread(&threads[0], produce_in_thread, &producers[PRODUCERS - 1]);
    start_thread(&threads[1], consume_in_thread, &consumers[CONSUMERS - 1]);
    spawn_fibers(&consuming, consumers, CONSUMERS - 1, consume);
    spawn_fibers(&producing, producers, PRODUCERS - 1, produce);
    if (cancel)
        weft_group_cancel(&consuming);
    int r = weft_group_join(&producing);
    EXPECT(r == 0 || r == -ECANCELED);
    EXPECT_EQ(pthread_join(threads[0], NULL), 0);
    weft_channel_close(world->channel);
    r = weft_group_join(&consuming);
    EXPECT(r == 0 || r == -ECANCELED);
    EXPECT_EQ(pthread_join(threads[1], NULL), 0);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    static const size_t capacities[] = {0, 1, 7, 64};
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct actor producers[PRODUCERS], consumers[CONSUMERS];

    EXPECT(world);
    world->chaos.seed = round->seed;
    for (unsigned i = 0; i < PRODUCERS; i++)
        producers[i] = (struct actor){world, i, dice_of(round->seed, i)};
    for (unsigned i = 0; i < CONSUMERS; i++)
        consumers[i] = (struct actor){world, i, dice_of(round->seed, PRODUCERS + i)};
    EXPECT_EQ(weft_channel_new(sizeof(struct item), capacities[round->seed % 4], &world->channel),
              0);
    play_in(world, producers, consumers, round->seed / 4 % 4 == 0);
    check(world);
    weft_channel_free(world->channel);
    free(world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
