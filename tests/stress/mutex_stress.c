/* SPDX-License-Identifier: MIT */
/* Many fibers want few mutexes, and are cancelled and timed out while they wait: nobody is ever
 * inside with another, every lock taken is counted, and in the end all mutexes are free. */
#include "support/stress.h"

enum { FIBERS = 48, MUTEXES = 3, OPERATIONS = 300 / STRESS_SLOW };

struct cell {
    struct weft_mutex mutex;
    uint64_t entered, left; /* guarded by mutex; equal whenever it is free */
};

struct world {
    struct cell cells[MUTEXES];
    struct chaos chaos;
    atomic_uint_fast64_t locked; /* times, in all */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    uint64_t locked;
};

static int lock_somehow(struct actor *actor, struct weft_mutex *mutex)
{
    switch (dice_roll(&actor->dice, 8)) {
    case 0:
        return weft_mutex_trylock(mutex);
    case 1:
        return weft_mutex_lock_shielded(mutex);
    default:
        return weft_mutex_lock(mutex);
    }
}

static void be_inside(struct actor *actor, struct cell *cell)
{
    EXPECT(cell->entered == cell->left);
    cell->entered++;
    if (dice_roll(&actor->dice, 4) == 0)
        weft_yield();
    cell->left++;
    EXPECT(cell->entered == cell->left);
    actor->locked++;
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;

    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct cell *cell = &actor->world->cells[dice_roll(&actor->dice, MUTEXES)];
        struct weft_scope scope;

        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        int r = lock_somehow(actor, &cell->mutex);
        if (r == 0) {
            be_inside(actor, cell);
            weft_mutex_unlock(&cell->mutex);
        } else {
            EXPECT(stress_ended(r) || r == -EBUSY);
        }
        chaos_leave(chaos, actor->number, &scope);
    }
    atomic_fetch_add(&actor->world->locked, actor->locked);
    return 0;
}

static void check(struct world *world)
{
    uint64_t entered = 0;

    for (int i = 0; i < MUTEXES; i++) {
        EXPECT_EQ(weft_mutex_trylock(&world->cells[i].mutex), 0);
        EXPECT(world->cells[i].entered == world->cells[i].left);
        entered += world->cells[i].entered;
        weft_mutex_unlock(&world->cells[i].mutex);
    }
    EXPECT_EQ(entered, atomic_load(&world->locked));
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_group trouble, group;

    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i), 0};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
    if (round->seed % 4 == 0)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    check(&world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
