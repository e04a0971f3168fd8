/* SPDX-License-Identifier: MIT */
/* Many fibers and a plain thread read and write under few locks, and are cancelled and timed out
 * while they wait: a writer is alone, readers see no write half done, every write is counted, and
 * in the end all locks are free. */
#include <pthread.h>

#include "support/stress.h"

enum { FIBERS = 48, LOCKS = 3, OPERATIONS = 300 / STRESS_SLOW };

struct cell {
    struct weft_rwlock rwlock;
    uint64_t entered, left; /* writes; equal whenever nobody writes */
    atomic_int readers;
};

struct world {
    struct cell cells[LOCKS];
    struct chaos chaos;
    atomic_uint_fast64_t written, read; /* times, in all */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static void be_reading(struct actor *actor, struct cell *cell, bool on_fiber)
{
    atomic_fetch_add(&cell->readers, 1);
    EXPECT(cell->entered == cell->left);
    if (on_fiber && dice_roll(&actor->dice, 4) == 0)
        weft_yield();
    EXPECT(cell->entered == cell->left);
    atomic_fetch_sub(&cell->readers, 1);
    atomic_fetch_add(&actor->world->read, 1);
    weft_rwlock_unlock(&cell->rwlock);
}

static void be_writing(struct actor *actor, struct cell *cell, bool on_fiber)
{
    EXPECT_EQ(atomic_load(&cell->readers), 0);
    EXPECT(cell->entered == cell->left);
    cell->entered++;
    if (on_fiber && dice_roll(&actor->dice, 4) == 0)
        weft_yield();
    EXPECT_EQ(atomic_load(&cell->readers), 0);
    cell->left++;
    atomic_fetch_add(&actor->world->written, 1);
    weft_rwlock_unlock(&cell->rwlock);
}

static void operate(struct actor *actor, struct cell *cell)
{
    uint64_t deadline_ns = chaos_deadline(&actor->world->chaos, &actor->dice);
    bool write = dice_roll(&actor->dice, 3) == 0, try = dice_roll(&actor->dice, 8) == 0;
    int r;

    if (write)
        r = try ? weft_rwlock_trywrlock(&cell->rwlock)
                : weft_rwlock_wrlock(&cell->rwlock, deadline_ns);
    else
        r = try ? weft_rwlock_tryrdlock(&cell->rwlock)
                : weft_rwlock_rdlock(&cell->rwlock, deadline_ns);
    if (r < 0)
        EXPECT(stress_ended(r) || (try && r == -EBUSY));
    else if (write)
        be_writing(actor, cell, true);
    else
        be_reading(actor, cell, true);
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;

    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct weft_scope scope;

        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        operate(actor, &actor->world->cells[dice_roll(&actor->dice, LOCKS)]);
        chaos_leave(chaos, actor->number, &scope);
    }
    return 0;
}

static void *act_in_thread(void *arg)
{
    struct actor *actor = arg;

    for (int i = 0; i < OPERATIONS; i++) {
        struct cell *cell = &actor->world->cells[dice_roll(&actor->dice, LOCKS)];

        if (weft_rwlock_tryrdlock(&cell->rwlock) == 0)
            be_reading(actor, cell, false);
        if (weft_rwlock_trywrlock(&cell->rwlock) == 0)
            be_writing(actor, cell, false);
        sched_yield();
    }
    return NULL;
}

static void check(struct world *world)
{
    uint64_t entered = 0;

    for (int i = 0; i < LOCKS; i++) {
        struct cell *cell = &world->cells[i];

        EXPECT_EQ(weft_rwlock_trywrlock(&cell->rwlock), 0);
        EXPECT(cell->entered == cell->left);
        entered += cell->entered;
        weft_rwlock_unlock(&cell->rwlock);
        EXPECT_EQ(weft_rwlock_tryrdlock(&cell->rwlock), 0);
        weft_rwlock_unlock(&cell->rwlock);
    }
    EXPECT_EQ(entered, atomic_load(&world->written));
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS + 1];
    struct weft_group trouble, group;
    pthread_t thread;

    for (unsigned i = 0; i <= FIBERS; i++)
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, act_in_thread, &actors[FIBERS]), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    if (round->seed % 4 == 0)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    check(&world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
