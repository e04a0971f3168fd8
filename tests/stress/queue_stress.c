/* SPDX-License-Identifier: MIT */
/*
 * Producers and consumers, fibers and plain threads, on a queue of each order and of several sizes,
 * whose calls are cancelled and timed out: an item whose put succeeded is got exactly once (or was
 * thrown away by an immediate shutdown), one whose put failed never; first in first out, each
 * consumer sees the items of each producer in their order; and join returns when all work is done.
 */
#include <pthread.h>

#include "support/stress.h"

enum {
    PRODUCERS = 9, /* the last is a plain thread */
    CONSUMERS = 9, /* the last is a plain thread */
    JOINERS = 2,
    ITEMS = 200 / STRESS_SLOW
};

/* What became of an item. */
enum fate { NOT_PUT, PUT, REFUSED };

struct item {
    int64_t priority;
    uint32_t producer, number;
};

struct world {
    struct weft_queue *queue;
    struct chaos chaos;
    bool fifo, immediate;              /* how it is ordered, and shut down */
    atomic_bool over;                  /* it was shut down */
    atomic_uint_fast64_t done;         /* items that were got and are done */
    enum fate fates[PRODUCERS][ITEMS]; /* written by the producer, read when it has ended */
    atomic_uchar got[PRODUCERS][ITEMS];
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    uint32_t next[PRODUCERS]; /* what a consumer got last from each producer, plus one */
};

static const struct item untouched = {-1, UINT32_MAX, UINT32_MAX};

static int put_somehow(struct actor *actor, const struct item *item)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;
    int r;

    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        r = weft_queue_try_put(actor->world->queue, item);
    else
        r = weft_queue_put(actor->world->queue, item, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    return r;
}

static int get_somehow(struct actor *actor, struct item *ret_item)
{
    struct chaos *chaos = &actor->world->chaos;
    unsigned slot = PRODUCERS + actor->number;
    struct weft_scope scope;
    int r;

    chaos_enter(chaos, slot, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        r = weft_queue_try_get(actor->world->queue, ret_item);
    else
        r = weft_queue_get(actor->world->queue, ret_item, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, slot, &scope);
    return r;
}

static struct item item_of(struct actor *actor, unsigned number)
{
    return (struct item){dice_roll(&actor->dice, 5), actor->number, number};
}

static void note_put(struct actor *actor, unsigned number, int r)
{
    EXPECT(r == 0 || r == -EAGAIN || stress_ended(r));
    actor->world->fates[actor->number][number] = r == 0 ? PUT : REFUSED;
}

static int produce(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < ITEMS && weft_check_cancel() == 0; i++) {
        struct item item = item_of(actor, i);

        note_put(actor, i, put_somehow(actor, &item));
    }
    return 0;
}

static void *produce_in_thread(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < ITEMS; i++) {
        struct item item = item_of(actor, i);

        note_put(actor, i, weft_queue_try_put(actor->world->queue, &item));
        sched_yield();
    }
    return NULL;
}

static void note_got(struct actor *actor, int r, struct item item)
{
    struct world *world = actor->world;

    if (r < 0) {
        EXPECT(r == -EPIPE || r == -EAGAIN || stress_ended(r));
        EXPECT(memcmp(&item, &untouched, sizeof(item)) == 0);
        return;
    }
    EXPECT(item.producer < PRODUCERS && item.number < ITEMS);
    EXPECT(!world->fifo || item.number >= actor->next[item.producer]);
    actor->next[item.producer] = item.number + 1;
    EXPECT_EQ(atomic_fetch_add(&world->got[item.producer][item.number], 1), 0);
    atomic_fetch_add(&world->done, 1);
    EXPECT_EQ(weft_queue_task_done(world->queue), 0);
}

static int consume(void *arg)
{
    struct actor *actor = arg;
    int r;

    do {
        struct item item = untouched;

        r = get_somehow(actor, &item);
        note_got(actor, r, item);
    } while (r != -EPIPE && weft_check_cancel() == 0);
    return 0;
}

static void *consume_in_thread(void *arg)
{
    struct actor *actor = arg;
    int r;

    do {
        struct item item = untouched;

        r = weft_queue_try_get(actor->world->queue, &item);
        note_got(actor, r, item);
        sched_yield();
    } while (r != -EPIPE);
    return NULL;
}

static int join_again_and_again(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;
    unsigned slot = PRODUCERS + CONSUMERS + actor->number;

    while (!atomic_load(&actor->world->over)) {
        struct weft_scope scope;

        chaos_enter(chaos, slot, &actor->dice, &scope);
        int r = weft_queue_join(actor->world->queue, chaos_deadline(chaos, &actor->dice));
        chaos_leave(chaos, slot, &scope);
        EXPECT(r == 0 || stress_ended(r));
        weft_sleep(dice_roll(&actor->dice, 50) * WEFT_MICROSECOND);
    }
    return 0;
}

static uint64_t count_put(struct world *world)
{
    uint64_t put = 0;

    for (int i = 0; i < PRODUCERS; i++)
        for (int j = 0; j < ITEMS; j++)
            put += world->fates[i][j] == PUT;
    return put;
}

static void check(struct world *world)
{
    for (int i = 0; i < PRODUCERS; i++)
        for (int j = 0; j < ITEMS; j++) {
            int got = atomic_load(&world->got[i][j]);

            EXPECT(got == (world->fates[i][j] == PUT) || (got == 0 && world->immediate));
        }
    EXPECT(weft_queue_empty(world->queue));
    EXPECT_EQ(weft_queue_task_done(world->queue), -EINVAL); /* nothing is left to be done */
}

static void spawn_all(struct weft_group *group, struct actor *actors, unsigned count,
                      int (*fn)(void *))
{
    weft_group_init(group);
    for (unsigned i = 0; i < count; i++)
        EXPECT_EQ(weft_group_spawn(group, "actor", fn, &actors[i]), 0);
}

static void shut_down(struct world *world)
{
    if (!world->immediate) {
        EXPECT_EQ(weft_queue_join(world->queue, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(atomic_load(&world->done), count_put(world));
    }
    atomic_store(&world->over, true);
    weft_queue_shutdown(world->queue, world->immediate);
}

/* All but the threads are cancelled in some rounds; the consumer thread then gets what is left. */
static void play_in(struct world *world, struct actor *actors, bool cancel)
{
    struct weft_group trouble, joining, consuming, producing;
    struct actor *consumers = actors + PRODUCERS, *joiners = consumers + CONSUMERS;
    pthread_t threads[2];

    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    EXPECT_EQ(pthread_create(&threads[0], NULL, produce_in_thread, &actors[PRODUCERS - 1]), 0);
    EXPECT_EQ(pthread_create(&threads[1], NULL, consume_in_thread, &consumers[CONSUMERS - 1]), 0);
    spawn_all(&joining, joiners, JOINERS, join_again_and_again);
    spawn_all(&consuming, consumers, CONSUMERS - 1, consume);
    spawn_all(&producing, actors, PRODUCERS - 1, produce);
    int r = weft_group_join(&producing);
    EXPECT(r == 0 || r == -ECANCELED);
    EXPECT_EQ(pthread_join(threads[0], NULL), 0);
    if (cancel) {
        weft_group_cancel(&consuming);
        r = weft_group_join(&consuming);
        EXPECT_EQ(r, -ECANCELED);
        shut_down(world);
    } else {
        shut_down(world);
        EXPECT_EQ(weft_group_join(&consuming), 0);
    }
    EXPECT_EQ(pthread_join(threads[1], NULL), 0);
    EXPECT_EQ(weft_group_join(&joining), 0);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    static const size_t sizes[] = {0, 1, 7, 64};
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct actor actors[PRODUCERS + CONSUMERS + JOINERS];
    enum weft_queue_order order = (enum weft_queue_order)(round->seed / 4 % 3);

    EXPECT(world);
    world->chaos.seed = round->seed;
    world->fifo = order == WEFT_QUEUE_FIFO;
    world->immediate = round->seed % 5 == 0;
    for (unsigned i = 0; i < PRODUCERS + CONSUMERS + JOINERS; i++) {
        unsigned number = i < PRODUCERS ? i : (i - PRODUCERS) % CONSUMERS;

        actors[i] = (struct actor){world, number, dice_of(round->seed, i), {0}};
    }
    EXPECT_EQ(weft_queue_new(sizeof(struct item), sizes[round->seed % 4], order, &world->queue), 0);
    play_in(world, actors, round->seed % 7 == 0);
    check(world);
    weft_queue_free(world->queue);
    free(world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
