/* SPDX-License-Identifier: MIT */
/* Fibers and a plain thread set a value that others watch, who are cancelled and timed out while
 * they wait: no value is seen half set, a version has one value, versions only grow, and everybody
 * sees the last. */
#include <pthread.h>

#include "support/stress.h"

enum { SETTERS = 5, WATCHERS = 12, SETS = 200 / STRESS_SLOW, ALL = SETTERS * SETS };

struct value {
    uint64_t stamp, copies[3]; /* all the same */
};

struct world {
    struct weft_watch *watch;
    struct chaos chaos;
    atomic_uint_fast64_t stamps[ALL + 2]; /* of each version, as the first watcher saw it */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static void set(struct actor *actor, unsigned i)
{
    uint64_t stamp = (uint64_t)(actor->number + 1) << 32 | i;
    struct value value = {stamp, {stamp, stamp, stamp}};

    EXPECT_EQ(weft_watch_set(actor->world->watch, &value), 0);
}

static int set_all(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < SETS; i++) {
        set(actor, i);
        if (dice_roll(&actor->dice, 3) == 0)
            weft_yield();
    }
    return 0;
}

static void *set_in_thread(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < SETS; i++) {
        set(actor, i);
        sched_yield();
    }
    return NULL;
}

static void note_seen(struct world *world, uint64_t version, const struct value *value)
{
    uint_fast64_t before = 0;

    EXPECT(version >= 1 && version <= ALL + 1);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(value->copies[i], value->stamp);
    if (!atomic_compare_exchange_strong(&world->stamps[version], &before, value->stamp))
        EXPECT_EQ(value->stamp, before);
}

static int look_somehow(struct actor *actor, uint64_t *version, struct value *value)
{
    struct world *world = actor->world;
    struct chaos *chaos = &world->chaos;
    struct weft_scope scope;
    int r;

    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        r = weft_watch_try_changed(world->watch, version, value);
    else
        r = weft_watch_changed(world->watch, version, value, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    return r;
}

static int look(void *arg)
{
    struct actor *actor = arg;
    uint64_t version = 0, before;
    struct value value;
    int r;

    do {
        before = version;
        r = look_somehow(actor, &version, &value);
        if (r == 0) {
            EXPECT(version > before);
            note_seen(actor->world, version, &value);
        } else {
            EXPECT_EQ(version, before);
            EXPECT(r == -EAGAIN || r == -EPIPE || stress_ended(r));
        }
    } while (r != -EPIPE);
    EXPECT_EQ(version, ALL + 1);
    return 0;
}

static void play_in(struct world *world, struct actor *setters, struct actor *watchers)
{
    struct weft_group trouble, setting, watching;
    pthread_t thread;

    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, set_in_thread, &setters[SETTERS - 1]), 0);
    weft_group_init(&watching);
    for (int i = 0; i < WATCHERS; i++)
        EXPECT_EQ(weft_group_spawn(&watching, "watcher", look, &watchers[i]), 0);
    weft_group_init(&setting);
    for (int i = 0; i < SETTERS - 1; i++)
        EXPECT_EQ(weft_group_spawn(&setting, "setter", set_all, &setters[i]), 0);
    EXPECT_EQ(weft_group_join(&setting), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_watch_close(world->watch);
    EXPECT_EQ(weft_group_join(&watching), 0);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct actor setters[SETTERS], watchers[WATCHERS];
    struct value value = {1, {1, 1, 1}};

    EXPECT(world);
    world->chaos.seed = round->seed;
    EXPECT_EQ(weft_watch_new(sizeof(value), &value, &world->watch), 0);
    for (unsigned i = 0; i < SETTERS; i++)
        setters[i] = (struct actor){world, i, dice_of(round->seed, i)};
    for (unsigned i = 0; i < WATCHERS; i++)
        watchers[i] = (struct actor){world, i, dice_of(round->seed, SETTERS + i)};
    play_in(world, setters, watchers);
    weft_watch_free(world->watch);
    free(world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
