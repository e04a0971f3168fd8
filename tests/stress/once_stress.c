/* SPDX-License-Identifier: MIT */
/* Many fibers want the same things done once, by functions that suspend, fail at random and are
 * cancelled: one runs at a time, one success is the last run, all who succeed get its result, and
 * each failure goes to one caller. */
#include "support/stress.h"

enum { FIBERS = 32, THINGS = 60 / STRESS_SLOW };

struct thing {
    struct weft_once once;
    atomic_int inside, failures, result; /* result: 0 until it is done */
    atomic_int told;                     /* callers that got what their fn returned, negative */
};

struct world {
    struct thing things[THINGS];
    struct chaos chaos;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    struct thing *thing; /* that it is at */
    bool ran;
};

static int fail(struct thing *thing, int r)
{
    atomic_fetch_add(&thing->failures, 1);
    EXPECT_EQ(atomic_fetch_sub(&thing->inside, 1), 1);
    return r;
}

static int run_thing(void *arg)
{
    struct actor *actor = arg;
    struct thing *thing = actor->thing;

    actor->ran = true;
    EXPECT_EQ(atomic_fetch_add(&thing->inside, 1), 0);
    EXPECT_EQ(atomic_load(&thing->result), 0);
    for (unsigned i = dice_roll(&actor->dice, 4); i > 0; i--) {
        int r = weft_yield();
        if (r < 0)
            return fail(thing, r);
    }
    if (dice_roll(&actor->dice, 3) == 0)
        return fail(thing, -EIO);
    atomic_store(&thing->result, (int)actor->number + 1);
    EXPECT_EQ(atomic_fetch_sub(&thing->inside, 1), 1);
    return (int)actor->number + 1;
}

static void act_on(struct actor *actor, struct thing *thing)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;

    actor->thing = thing;
    actor->ran = false;
    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    int r = weft_once_run(&thing->once, run_thing, actor, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    if (r >= 0) {
        EXPECT_EQ(r, atomic_load(&thing->result));
        EXPECT(weft_once_done(&thing->once));
    } else {
        EXPECT(stress_ended(r) || (actor->ran && r == -EIO));
        atomic_fetch_add(&thing->told, actor->ran);
    }
}

static int act(void *arg)
{
    struct actor *actor = arg;

    for (int i = 0; i < THINGS && weft_check_cancel() == 0; i++)
        act_on(actor, &actor->world->things[i]);
    return 0;
}

static void check(struct world *world)
{
    for (int i = 0; i < THINGS; i++) {
        struct thing *thing = &world->things[i];

        EXPECT_EQ(atomic_load(&thing->inside), 0);
        EXPECT_EQ(atomic_load(&thing->failures), atomic_load(&thing->told));
        EXPECT_EQ(weft_once_done(&thing->once), atomic_load(&thing->result) != 0);
    }
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
        actors[i] = (struct actor){.world = &world, .number = i, .dice = dice_of(round->seed, i)};
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
