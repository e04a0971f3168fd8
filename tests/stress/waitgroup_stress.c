/* SPDX-License-Identifier: MIT */
/* Fibers and a plain thread finish work that others wait for, and are cancelled and timed out while
 * they do: who waited successfully sees all of the work, and whoever frees the wait group after it
 * frees nothing that is still used. */
#include <pthread.h>

#include "support/stress.h"

enum { WORKERS = 8, WAITERS = 8, BATCHES = 100 / STRESS_SLOW };

/* So much work, each piece by one worker or the thread; freed by the last who leaves. */
struct batch {
    struct weft_waitgroup waitgroup;
    atomic_int finished;
    atomic_int waiters;
};

struct world {
    struct batch *batches[BATCHES];
    struct chaos chaos;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static void finish(struct batch *batch)
{
    atomic_fetch_add_explicit(&batch->finished, 1, memory_order_relaxed);
    EXPECT_EQ(weft_waitgroup_done(&batch->waitgroup), 0);
}

static int work(void *arg)
{
    struct actor *actor = arg;

    for (int i = 0; i < BATCHES; i++) {
        finish(actor->world->batches[i]);
        if (dice_roll(&actor->dice, 2))
            weft_yield();
    }
    return 0;
}

static void *work_in_thread(void *arg)
{
    struct actor *actor = arg;

    for (int i = 0; i < BATCHES; i++)
        finish(actor->world->batches[i]);
    return NULL;
}

static int wait_somehow(struct actor *actor, struct batch *batch)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;

    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    int r = weft_waitgroup_wait(&batch->waitgroup, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    EXPECT(r == 0 || stress_ended(r));
    return r;
}

static int await(void *arg)
{
    struct actor *actor = arg;
    struct weft_scope shield;

    for (int i = 0; i < BATCHES; i++) {
        struct batch *batch = actor->world->batches[i];

        int r = wait_somehow(actor, batch);
        if (r < 0) {
            weft_shield_enter(&shield);
            EXPECT_EQ(weft_waitgroup_wait(&batch->waitgroup, WEFT_NO_DEADLINE), 0);
            weft_scope_leave(&shield);
        }
        EXPECT_EQ(atomic_load_explicit(&batch->finished, memory_order_relaxed), WORKERS + 1);
        if (atomic_fetch_sub(&batch->waiters, 1) == 1)
            free(batch); /* the workers may still be inside their last done */
    }
    return 0;
}

static void make_batches(struct world *world)
{
    for (int i = 0; i < BATCHES; i++) {
        struct batch *batch = calloc(1, sizeof(*batch));

        EXPECT(batch);
        weft_waitgroup_init(&batch->waitgroup);
        EXPECT_EQ(weft_waitgroup_add(&batch->waitgroup, WORKERS + 1), 0);
        atomic_init(&batch->waiters, WAITERS);
        world->batches[i] = batch;
    }
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[WAITERS + WORKERS + 1];
    struct weft_group trouble, group;
    pthread_t thread;

    make_batches(&world);
    for (unsigned i = 0; i <= WAITERS + WORKERS; i++)
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < WAITERS + WORKERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "actor", i < WAITERS ? await : work, &actors[i]), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, work_in_thread, &actors[WAITERS + WORKERS]), 0);
    if (round->seed % 4 == 0)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
