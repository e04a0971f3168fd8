/* SPDX-License-Identifier: MIT */
/*
 * Generators that several fibers ask in turn, some cancelled or timed out while they ask: every
 * item comes once and in order, none is lost.  Half of the generators are freed before their end;
 * then their producers clean up.
 */
#include "support/stress.h"

enum { GENERATORS = 6, ASKERS = 4, LIMIT = 400 / STRESS_SLOW };

struct line {
    struct world *world;
    struct weft_generator *generator;
    struct weft_mutex turn; /* one asks at a time; guards next */
    int next;               /* the item that has to come */
    unsigned number;
    int limit;
    bool cleaned_up;
    struct dice dice; /* the producer's */
};

struct world {
    struct chaos chaos;
    struct line lines[GENERATORS];
};

struct asker {
    struct line *line;
    unsigned number;
    struct dice dice;
};

static int produce(struct weft_generator *generator, void *arg)
{
    struct line *line = arg;
    int r = 0;

    for (int i = 0; i < line->limit && r == 0; i++) {
        if (dice_roll(&line->dice, 8) == 0)
            r = weft_yield();
        else if (dice_roll(&line->dice, 64) == 0)
            r = weft_sleep(dice_roll(&line->dice, 20) * WEFT_MICROSECOND);
        if (r == 0)
            r = weft_generator_yield(generator, &i);
    }
    EXPECT(r == 0 || r == -ECANCELED);
    line->cleaned_up = true;
    return r;
}

/* Ask once.  Returns: false at the end. */
static bool ask(struct asker *asker)
{
    struct line *line = asker->line;
    struct chaos *chaos = &line->world->chaos;
    struct weft_scope scope;
    int item = -1, r;

    EXPECT_EQ(weft_mutex_lock_shielded(&line->turn), 0);
    chaos_enter(chaos, asker->number, &asker->dice, &scope);
    r = weft_generator_next(line->generator, &item, chaos_deadline(chaos, &asker->dice));
    chaos_leave(chaos, asker->number, &scope);
    EXPECT(r == 0 || r == 1 || stress_ended(r));
    if (r == 1)
        EXPECT_EQ(item, line->next++);
    else
        EXPECT_EQ(item, -1);
    weft_mutex_unlock(&line->turn);
    return r != 0;
}

static int act(void *arg)
{
    struct asker *asker = arg;
    /* A generator with an odd number is left before its end. */
    int most = asker->line->number % 2 ? LIMIT / ASKERS / 2 : INT_MAX;

    for (int i = 0; i < most && ask(asker); i++)
        if (dice_roll(&asker->dice, 4) == 0)
            weft_yield();
    return 0;
}

static void start(struct world *world, struct weft_group *group, struct asker *askers)
{
    for (unsigned i = 0; i < GENERATORS; i++) {
        struct line *line = &world->lines[i];

        *line = (struct line){.world = world, .number = i, .limit = LIMIT};
        line->dice = dice_of(world->chaos.seed, 100 + i);
        EXPECT_EQ(weft_generator_new("produce", produce, line, sizeof(int), &line->generator), 0);
    }
    for (unsigned i = 0; i < GENERATORS * ASKERS; i++) {
        askers[i] = (struct asker){&world->lines[i % GENERATORS], i, dice_of(world->chaos.seed, i)};
        EXPECT_EQ(weft_group_spawn(group, "asker", act, &askers[i]), 0);
    }
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct asker askers[GENERATORS * ASKERS];
    struct weft_group trouble, group;

    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    start(&world, &group, askers);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < GENERATORS; i++) {
        if (i % 2 == 0)
            EXPECT_EQ(world.lines[i].next, LIMIT);
        weft_generator_free(world.lines[i].generator);
        EXPECT(world.lines[i].cleaned_up || i % 2); /* one that was never asked never began */
    }
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
