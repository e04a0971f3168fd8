/* SPDX-License-Identifier: MIT */
/* One owner pushes and pops in bursts, thieves steal: each element comes out exactly once.  Bursts
 * outgrow the ring, and often leave one element to fight for. */
#include "core/deque.h"

#include <pthread.h>

#include "support/stress.h"

enum { THIEVES = 3, ELEMENTS = 200000 / STRESS_SLOW, BURST_LONG = 3000, BURST_SHORT = 4 };

struct arena {
    struct deque deque;
    atomic_bool over;
    atomic_uchar seen[ELEMENTS + 1]; /* element 0 is not used: it would be NULL */
};

/* The deque never looks into what it holds. */
static struct fiber *element(uintptr_t number)
{
    return (struct fiber *)number;
}

static void see(struct arena *arena, struct fiber *taken)
{
    EXPECT((uintptr_t)taken <= ELEMENTS);
    EXPECT_EQ(atomic_fetch_add(&arena->seen[(uintptr_t)taken], 1), 0);
}

static void *steal(void *arg)
{
    struct arena *arena = arg;
    struct fiber *taken;

    for (;;) {
        bool over = atomic_load(&arena->over); /* before the last look */

        if ((taken = deque_steal(&arena->deque)))
            see(arena, taken);
        else if (over && deque_empty(&arena->deque))
            return NULL;
    }
}

/* Pop some, at times all. */
static void pop(struct arena *arena, struct dice *dice)
{
    unsigned most = dice_roll(dice, 2) ? UINT32_MAX : dice_roll(dice, BURST_LONG);
    struct fiber *taken;

    while (most-- > 0 && (taken = deque_pop(&arena->deque)))
        see(arena, taken);
}

static void own(struct arena *arena, struct dice *dice)
{
    uintptr_t next = 1;

    while (next <= ELEMENTS) {
        unsigned most = dice_roll(dice, dice_roll(dice, 8) ? BURST_SHORT : BURST_LONG) + 1;

        while (most-- > 0 && next <= ELEMENTS)
            EXPECT_EQ(deque_push(&arena->deque, element(next++)), 0);
        pop(arena, dice);
    }
}

static void play(uint64_t seed)
{
    static struct arena arena;
    struct dice dice = dice_of(seed, 0);
    pthread_t thieves[THIEVES];

    memset(&arena, 0, sizeof(arena));
    EXPECT_EQ(deque_init(&arena.deque, false), 0);
    for (int i = 0; i < THIEVES; i++)
        EXPECT_EQ(pthread_create(&thieves[i], NULL, steal, &arena), 0);
    own(&arena, &dice);
    atomic_store(&arena.over, true);
    for (int i = 0; i < THIEVES; i++)
        pthread_join(thieves[i], NULL);
    EXPECT(!deque_pop(&arena.deque));
    for (int i = 1; i <= ELEMENTS; i++)
        EXPECT_EQ(atomic_load(&arena.seen[i]), 1);
    deque_destroy(&arena.deque);
}

int main(int argc, char **argv)
{
    return stress_threads(argc, argv, play);
}
