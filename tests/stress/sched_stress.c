/* SPDX-License-Identifier: MIT */
/* Trees of fibers that spawn, yield, sleep, compute and wake each other, stolen all the while: each
 * runs exactly once, and finds its stack, its errno and its arguments as it left them. */
#include "support/stress.h"

enum { DEPTH = 5, BRANCHES = 4, TREES = 4, BAITS_MAX = 400, LONG_TURN = 20000 };

struct world {
    uint64_t seed;
    atomic_uint_fast64_t started, ended, errands;
    struct weft_semaphore tokens; /* what the fibers wake each other with */
};

struct node {
    struct world *world;
    unsigned depth;
    uint64_t number;
};

/* Not inlined: the address of errno is the thread's, and must not be kept across a suspension. */
static __attribute__((noinline)) void set_errno(int value)
{
    errno = value;
}

static __attribute__((noinline)) int get_errno(void)
{
    return errno;
}

static void compute(struct dice *dice)
{
    volatile unsigned sink = 0;

    for (unsigned i = dice_roll(dice, LONG_TURN); i > 0; i--)
        sink += i;
    (void)sink;
}

static void pass_token(struct world *world)
{
    EXPECT_EQ(weft_semaphore_release(&world->tokens), 0);
    EXPECT_EQ(weft_semaphore_acquire(&world->tokens, WEFT_NO_DEADLINE), 0);
}

/* Suspend, or not, in one of the ways there are. */
static void go_on_somehow(struct world *world, struct dice *dice)
{
    switch (dice_roll(dice, 8)) {
    case 0:
    case 1:
    case 2:
        EXPECT_EQ(weft_yield(), 0);
        break;
    case 3:
        EXPECT_EQ(weft_sleep(dice_roll(dice, 40) * WEFT_MICROSECOND), 0);
        break;
    case 4:
        pass_token(world);
        break;
    case 5:
        compute(dice);
        break;
    default:
        break;
    }
}

/* Fill some of the stack, suspend, and look whether it is still the same. */
static void use_stack(struct world *world, struct dice *dice, uint64_t mark)
{
    uint64_t bait[BAITS_MAX];
    unsigned baits = dice_roll(dice, BAITS_MAX);
    int number = (int)(mark % 100) + 1;

    for (unsigned i = 0; i < baits; i++)
        bait[i] = mark ^ i;
    set_errno(number);
    go_on_somehow(world, dice);
    EXPECT_EQ(get_errno(), number);
    for (unsigned i = 0; i < baits; i++)
        EXPECT(bait[i] == (mark ^ i));
}

static int errand(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->seed, atomic_fetch_add(&world->errands, 1));

    EXPECT_EQ(get_errno(), 0);
    go_on_somehow(world, &dice);
    atomic_fetch_add(&world->ended, 1);
    return 0;
}

static int grow(void *arg)
{
    struct node self = *(struct node *)arg;
    struct world *world = self.world;
    struct dice dice = dice_of(world->seed, self.number);
    struct node children[BRANCHES];
    struct weft_group group;
    unsigned branches = self.depth ? dice_roll(&dice, BRANCHES + 1) : 0;

    EXPECT_EQ(get_errno(), 0);
    use_stack(world, &dice, self.number);
    weft_group_init(&group);
    for (unsigned i = 0; i < branches; i++) {
        children[i] = (struct node){world, self.depth - 1, self.number * BRANCHES + i + 1};
        atomic_fetch_add(&world->started, 1);
        EXPECT_EQ(weft_group_spawn(&group, "node", grow, &children[i]), 0);
        go_on_somehow(world, &dice);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    use_stack(world, &dice, ~self.number);
    if (dice_roll(&dice, 4) == 0) { /* nobody joins this one but the runtime's end */
        atomic_fetch_add(&world->started, 1);
        EXPECT_EQ(weft_runtime_spawn(weft_runtime_self(), "errand", errand, world), 0);
    }
    atomic_fetch_add(&world->ended, 1);
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.seed = round->seed};
    struct node roots[TREES];
    struct weft_group group;

    weft_semaphore_init(&world.tokens, 0, 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < TREES; i++) {
        roots[i] = (struct node){&world, DEPTH - (STRESS_SLOW > 1), i + 1};
        atomic_fetch_add(&world.started, 1);
        EXPECT_EQ(weft_group_spawn(&group, "root", grow, &roots[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    while (atomic_load(&world.ended) < atomic_load(&world.started))
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(atomic_load(&world.ended), atomic_load(&world.started));
    EXPECT_EQ(weft_semaphore_try_acquire(&world.tokens), -EAGAIN);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
