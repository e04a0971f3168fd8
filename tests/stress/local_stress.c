/* SPDX-License-Identifier: MIT */
/*
 * A tree of fibers that set, replace and take away values at random, in groups and as tasks.  Each
 * fiber sees what it set or inherited, and nothing else; a value is there as long as any fiber can
 * see it, and is released once.
 */
#include "support/stress.h"

enum {
    KEYS = 3,
    ROOTS = STRESS_SLOW > 1 ? 3 : 8,
    DEPTH = STRESS_SLOW > 1 ? 3 : 4,
    STEPS = 6,
    ALIVE = 0x600d
};

struct value {
    atomic_int state; /* ALIVE until it is released */
    struct world *world;
};

struct world {
    uint64_t seed;
    atomic_int made, released;
};

struct node {
    struct world *world;
    unsigned depth;
    struct dice dice;
    struct value *inherited[KEYS];
};

static void release(void *arg)
{
    struct value *value = arg;

    EXPECT_EQ(atomic_exchange(&value->state, 0), ALIVE);
    atomic_fetch_add(&value->world->released, 1);
    free(value); /* who still looks at it is found by AddressSanitizer */
}

static struct weft_local keys[KEYS] = {WEFT_LOCAL(release), WEFT_LOCAL(release),
                                       WEFT_LOCAL(release)};

static void check(struct value *const *mine)
{
    for (int i = 0; i < KEYS; i++) {
        EXPECT(weft_local_get(&keys[i]) == mine[i]);
        if (mine[i])
            EXPECT_EQ(atomic_load(&mine[i]->state), ALIVE);
    }
}

static void set_one(struct node *node, struct value **mine)
{
    unsigned key = dice_roll(&node->dice, KEYS);
    struct value *value = NULL;

    if (dice_roll(&node->dice, 4)) {
        value = malloc(sizeof(*value));
        EXPECT(value);
        atomic_init(&value->state, ALIVE);
        value->world = node->world;
        atomic_fetch_add(&node->world->made, 1);
    }
    EXPECT_EQ(weft_local_set(&keys[key], value), 0);
    mine[key] = value;
}

static int grow(void *arg);

static struct node child_of(struct node *node, struct value *const *mine)
{
    struct node child = {.world = node->world, .depth = node->depth + 1};

    child.dice = dice_of(node->dice.state, dice_roll(&node->dice, 1000));
    memcpy(child.inherited, mine, sizeof(child.inherited));
    return child;
}

static void grow_group(struct node *node, struct value **mine)
{
    struct node children[3];
    struct weft_group group;

    weft_group_init(&group);
    for (int i = 0; i < 3; i++) {
        children[i] = child_of(node, mine);
        EXPECT_EQ(weft_group_spawn(&group, "child", grow, &children[i]), 0);
        if (i == 1)
            set_one(node, mine); /* while the first ones may still run with what was before */
    }
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void grow_task(struct node *node, struct value **mine)
{
    struct node child = child_of(node, mine);
    struct weft_task *task;

    EXPECT_EQ(weft_task_new("task", grow, &child, &task), 0);
    set_one(node, mine);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, NULL), 0);
    weft_task_free(task);
}

static int grow(void *arg)
{
    struct node *node = arg;
    struct value *mine[KEYS];

    memcpy(mine, node->inherited, sizeof(mine));
    check(mine);
    for (int i = 0; i < STEPS; i++) {
        unsigned step = dice_roll(&node->dice, 8);

        if (step < 3)
            set_one(node, mine);
        else if (step < 5)
            EXPECT_EQ(weft_yield(), 0);
        else if (step == 5 && node->depth < DEPTH)
            grow_group(node, mine);
        else if (step == 6 && node->depth < DEPTH)
            grow_task(node, mine);
        check(mine);
    }
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.seed = round->seed};
    struct node nodes[ROOTS];
    struct weft_group group;

    weft_group_init(&group);
    for (unsigned i = 0; i < ROOTS; i++) {
        nodes[i] = (struct node){.world = &world, .dice = dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "root", grow, &nodes[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.released), atomic_load(&world.made));
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
