/* SPDX-License-Identifier: MIT */
/* Fibers nest scopes, shields and groups at random, with near deadlines, while plain threads cancel
 * any scope that is entered: what is cancelled stays so until it is left, shields hold, and nothing
 * of it is left behind outside. */
#include <pthread.h>

#include "support/stress.h"

enum { ACTORS = 12, THREADS = 2, DIVES = 60 / STRESS_SLOW + 1, DEPTH_MAX = 6, CHILDREN_MAX = 2 };

struct world {
    uint64_t seed;
    atomic_bool over;
    _Atomic(struct weft_scope *) targets[CHAOS_SLOTS];
};

struct diver {
    struct world *world;
    struct dice dice;
};

static void *cancel_any(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->seed, 2000);

    while (!atomic_load(&world->over)) {
        _Atomic(struct weft_scope *) *target = &world->targets[dice_roll(&dice, CHAOS_SLOTS)];
        struct weft_scope *scope = atomic_load(target);

        if (scope && scope != CHAOS_BUSY &&
            atomic_compare_exchange_strong(target, &scope, CHAOS_BUSY)) {
            weft_scope_cancel(scope);
            atomic_store(target, NULL);
        }
        sched_yield();
    }
    return NULL;
}

static void withdraw(_Atomic(struct weft_scope *) *target, struct weft_scope *scope)
{
    struct weft_scope *expected = scope;

    if (!atomic_compare_exchange_strong(target, &expected, NULL))
        while (atomic_load(target) == CHAOS_BUSY)
            sched_yield();
}

/* Level-triggered: once cancelled, every call says so, and the same. */
static void look_twice(int r)
{
    if (r < 0) {
        EXPECT(stress_ended(r));
        EXPECT_EQ(weft_check_cancel(), r);
        EXPECT_EQ(weft_yield(), r);
        EXPECT_EQ(weft_sleep(WEFT_SECOND), r);
    }
}

static void rest(struct diver *diver)
{
    if (dice_roll(&diver->dice, 2))
        look_twice(weft_yield());
    else
        look_twice(weft_sleep(dice_roll(&diver->dice, 30) * WEFT_MICROSECOND));
}

static void dive(struct diver *diver, unsigned depth);

/* A shield that nobody cancels: inside, nothing outside is felt. */
static void dive_shielded(struct diver *diver, unsigned depth)
{
    struct weft_scope shield;

    weft_shield_enter(&shield);
    EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(weft_sleep(dice_roll(&diver->dice, 20) * WEFT_MICROSECOND), 0);
    dive(diver, depth);
    EXPECT_EQ(weft_check_cancel(), 0);
    EXPECT_EQ(weft_scope_leave(&shield), 0);
}

static void dive_scoped(struct diver *diver, unsigned depth)
{
    unsigned slot = dice_roll(&diver->dice, CHAOS_SLOTS);
    _Atomic(struct weft_scope *) *target = &diver->world->targets[slot];
    struct weft_scope *empty = NULL, scope;
    uint64_t deadline_ns = WEFT_NO_DEADLINE;
    bool targeted;

    if (dice_roll(&diver->dice, 3) == 0)
        deadline_ns = weft_deadline_after(dice_roll(&diver->dice, 100) * WEFT_MICROSECOND);
    int before = weft_check_cancel();
    weft_scope_enter(&scope, deadline_ns);
    targeted = atomic_compare_exchange_strong(target, &empty, &scope);
    dive(diver, depth);
    int inside = weft_check_cancel();
    if (targeted)
        withdraw(target, &scope);
    int r = weft_scope_leave(&scope);
    EXPECT(r == 0 || stress_ended(r));
    EXPECT(!before || inside);                   /* what was outside is inside */
    EXPECT(!inside || r || weft_check_cancel()); /* and comes from somewhere */
    if (!targeted && deadline_ns == WEFT_NO_DEADLINE)
        EXPECT_EQ(r, 0);
    memset(&scope, 0xa5, sizeof(scope));
}

static int dive_below(void *arg)
{
    struct diver *diver = arg;

    rest(diver);
    dive(diver, 2);
    return 0;
}

/* The children are inside all that this fiber is inside of. */
static void dive_together(struct diver *diver, unsigned depth)
{
    struct diver children[CHILDREN_MAX];
    struct weft_group group;

    weft_group_init(&group);
    for (unsigned i = dice_roll(&diver->dice, CHILDREN_MAX + 1); i > 0; i--) {
        children[i - 1] =
            (struct diver){diver->world, {dice_roll(&diver->dice, UINT32_MAX) + 1ull}};
        EXPECT_EQ(weft_group_spawn(&group, "below", dive_below, &children[i - 1]), 0);
    }
    dive(diver, depth);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || (stress_ended(r) && weft_check_cancel() == r));
    memset(&group, 0xa5, sizeof(group));
}

static void dive(struct diver *diver, unsigned depth)
{
    rest(diver);
    if (depth == 0)
        return;
    switch (dice_roll(&diver->dice, 6)) {
    case 0:
        dive_shielded(diver, depth - 1);
        break;
    case 1:
        dive_together(diver, depth - 1);
        break;
    default:
        dive_scoped(diver, depth - 1);
        break;
    }
    rest(diver);
}

static int be_diver(void *arg)
{
    struct diver *diver = arg;

    for (int i = 0; i < DIVES; i++) {
        dive(diver, DEPTH_MAX);
        EXPECT_EQ(weft_check_cancel(), 0);
        EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.seed = round->seed};
    struct diver divers[ACTORS];
    struct weft_group group;
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, cancel_any, &world), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < ACTORS; i++) {
        divers[i] = (struct diver){&world, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "diver", be_diver, &divers[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world.over, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
