/* SPDX-License-Identifier: MIT */
/* A million duels of a completion, a cancellation and at times a deadline for one wait: exactly one
 * wins, what the completion carried is not lost, and a cancellation that lost is told at the next
 * call. */
#include "support/stress.h"

enum { PAIRS = 8, DUELS = 12000 / STRESS_SLOW };

struct pair {
    uint64_t seed;
    struct weft_semaphore prize, begin, end;
    struct weft_scope scope;
};

/* Both strike, in either order, from wherever this fiber runs. */
static void strike(struct pair *pair, struct dice *dice)
{
    bool cancel_first = dice_roll(dice, 2);

    if (cancel_first)
        weft_scope_cancel(&pair->scope);
    EXPECT_EQ(weft_semaphore_release(&pair->prize), 0);
    if (!cancel_first)
        weft_scope_cancel(&pair->scope);
}

static int challenge(void *arg)
{
    struct pair *pair = arg;
    struct dice dice = dice_of(pair->seed, 1);

    for (int i = 0; i < DUELS; i++) {
        EXPECT_EQ(weft_semaphore_acquire(&pair->begin, WEFT_NO_DEADLINE), 0);
        if (dice_roll(&dice, 4) == 0)
            EXPECT_EQ(weft_yield(), 0);
        strike(pair, &dice);
        EXPECT_EQ(weft_semaphore_release(&pair->end), 0);
    }
    return 0;
}

/* Leave the scope only after the challenger has let go of it. */
static void await_challenger(struct pair *pair)
{
    struct weft_scope shield;

    weft_shield_enter(&shield);
    EXPECT_EQ(weft_semaphore_acquire(&pair->end, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    EXPECT(stress_ended(weft_check_cancel()));
}

static void duel(struct pair *pair, struct dice *dice)
{
    uint64_t deadline_ns = WEFT_NO_DEADLINE;

    if (dice_roll(dice, 16) == 0)
        deadline_ns = weft_deadline_after(dice_roll(dice, 20) * WEFT_MICROSECOND);
    weft_scope_enter(&pair->scope, deadline_ns);
    EXPECT_EQ(weft_semaphore_release(&pair->begin), 0);
    int r = weft_semaphore_acquire(&pair->prize, WEFT_NO_DEADLINE);
    EXPECT(r == 0 || stress_ended(r));
    await_challenger(pair);
    int cause = weft_scope_leave(&pair->scope);
    EXPECT(r == 0 ? stress_ended(cause) : cause == r);
    EXPECT_EQ(weft_semaphore_try_acquire(&pair->prize), r == 0 ? -EAGAIN : 0);
}

static int defend(void *arg)
{
    struct pair *pair = arg;
    struct dice dice = dice_of(pair->seed, 0);

    for (int i = 0; i < DUELS; i++)
        duel(pair, &dice);
    EXPECT_EQ(weft_check_cancel(), 0);
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    static struct pair pairs[PAIRS];
    struct weft_group group;

    weft_group_init(&group);
    for (unsigned i = 0; i < PAIRS; i++) {
        pairs[i] = (struct pair){.seed = round->seed * PAIRS + i};
        weft_semaphore_init(&pairs[i].prize, 0, 0);
        weft_semaphore_init(&pairs[i].begin, 0, 0);
        weft_semaphore_init(&pairs[i].end, 0, 0);
        EXPECT_EQ(weft_group_spawn(&group, "defender", defend, &pairs[i]), 0);
        EXPECT_EQ(weft_group_spawn(&group, "challenger", challenge, &pairs[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
