/* SPDX-License-Identifier: MIT */
/*
 * A bounded buffer made of a mutex and two conditions, whose users are cancelled and timed out
 * while they wait: no signal is lost (the program would hang), nothing is lost or made up.
 *
 * Before it a duel: one fiber waits, another snatches the mutex the moment it is released, signals,
 * and never signals again until it was heard.
 */
#include "support/stress.h"

enum { PRODUCERS = 16, CONSUMERS = 16, ROOM = 4, OPERATIONS = 200 / STRESS_SLOW };
enum { DUELS = 5000 / STRESS_SLOW };

struct world {
    struct weft_mutex mutex;
    struct weft_cond not_empty, not_full;
    unsigned stored;     /* guarded by mutex */
    uint64_t put, taken; /* guarded by mutex */
    bool closed;         /* guarded by mutex: nothing is put any more */
    struct chaos chaos;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static int put_one(struct world *world, uint64_t deadline_ns)
{
    int r = weft_mutex_lock(&world->mutex);
    if (r < 0)
        return r;

    while (r == 0 && world->stored == ROOM)
        r = weft_cond_wait(&world->not_full, &world->mutex, deadline_ns);
    if (r == 0) {
        world->stored++;
        world->put++;
        weft_cond_signal(&world->not_empty);
    }
    weft_mutex_unlock(&world->mutex);
    return r;
}

/* Errors: -EPIPE closed and empty. */
static int take_one(struct world *world, uint64_t deadline_ns)
{
    int r = weft_mutex_lock(&world->mutex);
    if (r < 0)
        return r;

    while (r == 0 && world->stored == 0 && !world->closed)
        r = weft_cond_wait(&world->not_empty, &world->mutex, deadline_ns);
    if (r == 0 && world->stored == 0)
        r = -EPIPE;
    if (r == 0) {
        EXPECT(world->stored <= ROOM);
        world->stored--;
        world->taken++;
        weft_cond_signal(&world->not_full);
    }
    weft_mutex_unlock(&world->mutex);
    return r;
}

static int produce(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;
    int done = 0;

    while (done < OPERATIONS) {
        struct weft_scope scope;

        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        int r = put_one(actor->world, chaos_deadline(chaos, &actor->dice));
        chaos_leave(chaos, actor->number, &scope);
        EXPECT(r == 0 || stress_ended(r));
        done += r == 0;
    }
    return 0;
}

static int consume(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;
    int r;

    do {
        struct weft_scope scope;

        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        r = take_one(actor->world, chaos_deadline(chaos, &actor->dice));
        chaos_leave(chaos, actor->number, &scope);
        EXPECT(r == 0 || r == -EPIPE || stress_ended(r));
    } while (r != -EPIPE);
    return 0;
}

static void spawn(struct weft_group *group, struct actor *actor, int (*fn)(void *))
{
    EXPECT_EQ(weft_group_spawn(group, "actor", fn, actor), 0);
}

static void close_buffer(struct world *world)
{
    EXPECT_EQ(weft_mutex_lock(&world->mutex), 0);
    world->closed = true;
    weft_cond_broadcast(&world->not_empty);
    weft_mutex_unlock(&world->mutex);
}

struct duel {
    struct weft_mutex mutex;
    struct weft_cond cond;
    bool full; /* guarded by mutex */
};

static int duel_signaller(void *arg)
{
    struct duel *duel = arg;

    for (int sent = 0; sent < DUELS;) {
        for (int spins = 0; weft_mutex_trylock(&duel->mutex) != 0;)
            if (++spins % 256 == 0)
                EXPECT_EQ(weft_yield(), 0);
        bool heard = !duel->full;
        if (heard) {
            duel->full = true;
            weft_cond_signal(&duel->cond);
            sent++;
        }
        weft_mutex_unlock(&duel->mutex);
        if (!heard)
            EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

static void play_duel(void)
{
    struct duel duel = {0};
    struct weft_group group;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "signaller", duel_signaller, &duel), 0);
    EXPECT_EQ(weft_mutex_lock(&duel.mutex), 0);
    for (int heard = 0; heard < DUELS; heard++) {
        while (!duel.full)
            EXPECT_EQ(weft_cond_wait(&duel.cond, &duel.mutex, WEFT_NO_DEADLINE), 0);
        duel.full = false;
    }
    weft_mutex_unlock(&duel.mutex);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void play_buffer(struct stress_round *round)
{
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[PRODUCERS + CONSUMERS];
    struct weft_group trouble, producers, consumers;

    for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++)
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&consumers);
    for (unsigned i = 0; i < CONSUMERS; i++)
        spawn(&consumers, &actors[i], consume);
    weft_group_init(&producers);
    for (unsigned i = CONSUMERS; i < CONSUMERS + PRODUCERS; i++)
        spawn(&producers, &actors[i], produce);
    EXPECT_EQ(weft_group_join(&producers), 0);
    close_buffer(&world);
    EXPECT_EQ(weft_group_join(&consumers), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);

    EXPECT_EQ(world.put, PRODUCERS * OPERATIONS);
    EXPECT_EQ(world.taken, PRODUCERS * OPERATIONS);
    EXPECT_EQ(world.stored, 0);
}

static int play(void *arg)
{
    play_duel();
    play_buffer(arg);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
