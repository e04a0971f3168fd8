/* SPDX-License-Identifier: MIT */
/* Fibers and a plain thread take and give the permits of one semaphore, and fibers are cancelled
 * and timed out while they wait: never are more permits out than there are, and in the end all are
 * back. */
#include <pthread.h>

#include "support/stress.h"

enum { FIBERS = 48, PERMITS = 5, OPERATIONS = 300 / STRESS_SLOW };

struct world {
    struct weft_semaphore semaphore;
    struct chaos chaos;
    atomic_int out;
    atomic_bool stop_thread;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static void hold(struct world *world, bool yield)
{
    EXPECT(atomic_fetch_add(&world->out, 1) < PERMITS);
    if (yield)
        weft_yield();
    EXPECT(atomic_fetch_sub(&world->out, 1) > 0);
    EXPECT_EQ(weft_semaphore_release(&world->semaphore), 0);
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct world *world = actor->world;

    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct weft_scope scope;
        int r;

        chaos_enter(&world->chaos, actor->number, &actor->dice, &scope);
        if (dice_roll(&actor->dice, 8) == 0)
            r = weft_semaphore_try_acquire(&world->semaphore);
        else
            r = weft_semaphore_acquire(&world->semaphore,
                                       chaos_deadline(&world->chaos, &actor->dice));
        EXPECT(r == 0 || r == -EAGAIN || stress_ended(r));
        if (r == 0)
            hold(world, dice_roll(&actor->dice, 2));
        chaos_leave(&world->chaos, actor->number, &scope);
    }
    return 0;
}

static void *act_as_thread(void *arg)
{
    struct world *world = arg;

    while (!atomic_load(&world->stop_thread)) {
        if (weft_semaphore_try_acquire(&world->semaphore) == 0)
            hold(world, false);
        sched_yield();
    }
    return NULL;
}

static void check(struct world *world)
{
    EXPECT_EQ(atomic_load(&world->out), 0);
    EXPECT_EQ(weft_semaphore_release(&world->semaphore), -EOVERFLOW);
    for (int i = 0; i < PERMITS; i++)
        EXPECT_EQ(weft_semaphore_try_acquire(&world->semaphore), 0);
    EXPECT_EQ(weft_semaphore_try_acquire(&world->semaphore), -EAGAIN);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_group trouble, group;
    pthread_t thread;

    weft_semaphore_init(&world.semaphore, PERMITS, PERMITS);
    EXPECT_EQ(pthread_create(&thread, NULL, act_as_thread, &world), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
    if (round->seed % 4 == 0)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    atomic_store(&world.stop_thread, true);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    check(&world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
