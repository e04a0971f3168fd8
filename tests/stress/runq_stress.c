/* SPDX-License-Identifier: MIT */
/* One owner fills and empties its ring, thieves take halves of it, and of each other's: each
 * element comes out exactly once, also of a ring that is full. */
#include "core/runq.h"

#include <pthread.h>

#include "support/stress.h"

enum { PLAYERS = 4, ELEMENTS = 200000 / STRESS_SLOW };

struct arena;

struct player {
    struct arena *arena;
    struct runq runq;
    struct dice dice;
};

struct arena {
    struct player player[PLAYERS]; /* the first is the only one that pushes new elements */
    atomic_uint left;              /* elements that nobody has seen */
    atomic_uchar seen[ELEMENTS + 1];
};

static void see(struct arena *arena, const struct fiber *taken)
{
    EXPECT(taken && (uintptr_t)taken <= ELEMENTS);
    EXPECT_EQ(atomic_fetch_add(&arena->seen[(uintptr_t)taken], 1), 0);
    atomic_fetch_sub(&arena->left, 1);
}

static void pop_some(struct player *player)
{
    unsigned most = dice_roll(&player->dice, 2) ? UINT32_MAX : dice_roll(&player->dice, 100);
    struct fiber *taken;

    while (most-- > 0 && (taken = runq_pop(&player->runq)))
        see(player->arena, taken);
}

/* As a worker does: only with an empty ring of its own. */
static void steal(struct player *player)
{
    struct player *victim = &player->arena->player[dice_roll(&player->dice, PLAYERS)];
    unsigned count = 0;
    struct fiber *first;

    if (victim == player || runq_length(&player->runq) > 0)
        return;
    first = runq_steal(&victim->runq, &player->runq, &count);
    if (!first)
        return;
    EXPECT(count >= 1 && count <= RUNQ_SLOTS / 2);
    see(player->arena, first);
}

static void push(struct player *player, uintptr_t number)
{
    struct fiber *half[RUNQ_SLOTS / 2];

    while (!runq_push(&player->runq, (struct fiber *)number)) {
        unsigned count = runq_take_half(&player->runq, half);

        for (unsigned i = 0; i < count; i++)
            see(player->arena, half[i]);
    }
}

static void *be_thief(void *arg)
{
    struct player *player = arg;

    while (atomic_load(&player->arena->left) > 0) {
        steal(player);
        pop_some(player);
    }
    return NULL;
}

static void own(struct player *player)
{
    uintptr_t next = 1;

    while (next <= ELEMENTS) {
        unsigned most = dice_roll(&player->dice, dice_roll(&player->dice, 4) ? 8 : 600) + 1;

        while (most-- > 0 && next <= ELEMENTS)
            push(player, next++);
        if (dice_roll(&player->dice, 2))
            pop_some(player);
    }
    be_thief(player);
}

static void play(uint64_t seed)
{
    static struct arena arena;
    pthread_t threads[PLAYERS];

    memset(&arena, 0, sizeof(arena));
    atomic_store(&arena.left, ELEMENTS);
    for (unsigned i = 0; i < PLAYERS; i++) {
        arena.player[i].arena = &arena;
        arena.player[i].dice = dice_of(seed, i);
        /* Near the end of the numbers, so that head and tail wrap. */
        atomic_store(&arena.player[i].runq.head, UINT32_MAX - 1000);
        atomic_store(&arena.player[i].runq.tail, UINT32_MAX - 1000);
    }
    for (unsigned i = 1; i < PLAYERS; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, be_thief, &arena.player[i]), 0);
    own(&arena.player[0]);
    for (unsigned i = 1; i < PLAYERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i <= ELEMENTS; i++)
        EXPECT_EQ(atomic_load(&arena.seen[i]), 1);
}

int main(int argc, char **argv)
{
    return stress_threads(argc, argv, play);
}
