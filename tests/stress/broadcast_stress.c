/* SPDX-License-Identifier: MIT */
/* Fibers and a plain thread send to receivers that are cancelled and timed out while they wait: all
 * receivers see the same items in the same places, what each received and what it was told to have
 * lost is all that was sent, and nobody waits on after the close. */
#include <pthread.h>

#include "support/stress.h"

enum { SENDERS = 5, RECEIVERS = 12, ITEMS = 200 / STRESS_SLOW, ALL = SENDERS * ITEMS };

struct world {
    struct weft_broadcast *broadcast;
    struct chaos chaos;
    atomic_uint_fast64_t places[ALL]; /* the item sent as number n, as the first receiver saw it */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    struct weft_broadcast_receiver receiver;
};

static void send_one(struct actor *actor, unsigned i)
{
    uint64_t item = (uint64_t)(actor->number + 1) << 32 | i;

    EXPECT_EQ(weft_broadcast_send(actor->world->broadcast, &item), RECEIVERS);
}

static int send_all(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < ITEMS; i++) {
        send_one(actor, i);
        if (dice_roll(&actor->dice, 3) == 0)
            weft_yield();
    }
    return 0;
}

static void *send_in_thread(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < ITEMS; i++) {
        send_one(actor, i);
        sched_yield();
    }
    return NULL;
}

static int recv_somehow(struct actor *actor, uint64_t *ret_item)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;
    int r;

    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        r = weft_broadcast_try_recv(&actor->receiver, ret_item);
    else
        r = weft_broadcast_recv(&actor->receiver, ret_item, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    return r;
}

static void note_received(struct world *world, uint64_t place, uint64_t item)
{
    uint_fast64_t before = 0;

    EXPECT(place < ALL && item != 0);
    if (!atomic_compare_exchange_strong(&world->places[place], &before, item))
        EXPECT_EQ(item, before);
}

/* In a shield, so that each receiver gets to the end, whatever became of the group. */
static int receive(void *arg)
{
    struct actor *actor = arg;
    struct weft_scope shield;
    uint64_t place = 0;
    int r;

    weft_shield_enter(&shield);
    do {
        uint64_t item = 0;

        r = recv_somehow(actor, &item);
        if (r == 0)
            note_received(actor->world, place++, item);
        else
            EXPECT_EQ(item, 0);
        if (r == -EOVERFLOW)
            place += weft_broadcast_lost(&actor->receiver);
        EXPECT(r == 0 || r == -EAGAIN || r == -EOVERFLOW || r == -EPIPE || stress_ended(r));
    } while (r != -EPIPE);
    weft_scope_leave(&shield);
    EXPECT_EQ(place, ALL);
    weft_broadcast_unsubscribe(&actor->receiver);
    return 0;
}

/* Each sender's items are in their order. */
static void check(struct world *world)
{
    uint32_t next[SENDERS] = {0};

    for (int i = 0; i < ALL; i++) {
        uint64_t item = atomic_load(&world->places[i]);
        uint64_t sender = (item >> 32) - 1;

        if (item == 0)
            continue; /* lost to all */
        EXPECT(sender < SENDERS);
        EXPECT((uint32_t)item >= next[sender]);
        next[sender] = (uint32_t)item + 1;
    }
}

static void play_in(struct world *world, struct actor *senders, struct actor *receivers)
{
    struct weft_group trouble, sending, receiving;
    pthread_t thread;

    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    for (int i = 0; i < RECEIVERS; i++)
        weft_broadcast_subscribe(world->broadcast, &receivers[i].receiver);
    EXPECT_EQ(pthread_create(&thread, NULL, send_in_thread, &senders[SENDERS - 1]), 0);
    weft_group_init(&receiving);
    for (int i = 0; i < RECEIVERS; i++)
        EXPECT_EQ(weft_group_spawn(&receiving, "receiver", receive, &receivers[i]), 0);
    weft_group_init(&sending);
    for (int i = 0; i < SENDERS - 1; i++)
        EXPECT_EQ(weft_group_spawn(&sending, "sender", send_all, &senders[i]), 0);
    EXPECT_EQ(weft_group_join(&sending), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_broadcast_close(world->broadcast);
    EXPECT_EQ(weft_group_join(&receiving), 0);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    static const size_t capacities[] = {1, 7, 64, ALL};
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct actor senders[SENDERS], receivers[RECEIVERS];

    EXPECT(world);
    world->chaos.seed = round->seed;
    EXPECT_EQ(weft_broadcast_new(sizeof(uint64_t), capacities[round->seed % 4], &world->broadcast),
              0);
    for (unsigned i = 0; i < SENDERS; i++)
        senders[i] = (struct actor){world, i, dice_of(round->seed, i), {{0}}};
    for (unsigned i = 0; i < RECEIVERS; i++)
        receivers[i] = (struct actor){world, i, dice_of(round->seed, SENDERS + i), {{0}}};
    play_in(world, senders, receivers);
    check(world);
    weft_broadcast_free(world->broadcast);
    free(world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
