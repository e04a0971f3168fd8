/* SPDX-License-Identifier: MIT */
/* Many fibers meet at a barrier for few, and are cancelled, timed out and sent away by resets from
 * a plain thread while they wait: all of a meeting pass or none, so each number is given equally
 * often. */
#include <pthread.h>

#include "support/stress.h"

enum { FIBERS = 24, MOST_PARTIES = 8, OPERATIONS = 300 / STRESS_SLOW };

struct world {
    struct weft_barrier barrier;
    unsigned parties;
    struct chaos chaos;
    atomic_bool over; /* somebody is through: the barrier was broken for good */
    atomic_uint_fast64_t passed[MOST_PARTIES]; /* times, with each number */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static int wait_somehow(struct actor *actor)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;

    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    int r = weft_barrier_wait(&actor->world->barrier, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    return r;
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct world *world = actor->world;

    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        int r = wait_somehow(actor);

        if (r >= 0) {
            EXPECT((unsigned)r < world->parties);
            atomic_fetch_add(&world->passed[r], 1);
        } else if (r == -EPIPE && atomic_load(&world->over)) {
            break;
        } else {
            EXPECT(stress_ended(r) || (r == -EPIPE && !chaos_quiet(&world->chaos)));
        }
    }
    /* The others may be too few now: send them home. */
    atomic_store(&world->over, true);
    weft_barrier_abort(&world->barrier);
    return 0;
}

static void *reset_in_thread(void *arg)
{
    struct world *world = arg;

    for (int i = 0; i < OPERATIONS && !chaos_quiet(&world->chaos); i++) {
        if (!weft_barrier_broken(&world->barrier) && weft_barrier_waiting(&world->barrier) > 2)
            weft_barrier_reset(&world->barrier);
        sched_yield();
    }
    if (atomic_load(&world->over)) /* the last reset may have mended it */
        weft_barrier_abort(&world->barrier);
    return NULL;
}

static void check(struct world *world)
{
    for (unsigned i = 1; i < world->parties; i++)
        EXPECT_EQ(atomic_load(&world->passed[i]), atomic_load(&world->passed[0]));
    EXPECT_EQ(weft_barrier_waiting(&world->barrier), 0);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed,
                          .parties = (unsigned)(round->seed % MOST_PARTIES) + 1};
    struct actor actors[FIBERS];
    struct weft_group trouble, group;
    pthread_t thread;

    EXPECT_EQ(weft_barrier_init(&world.barrier, world.parties), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, reset_in_thread, &world), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
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
