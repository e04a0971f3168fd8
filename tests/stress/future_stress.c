/* SPDX-License-Identifier: MIT */
/*
 * Fibers and a plain thread race to make futures done, while others wait for them, some cancelled
 * or timed out, and add and take back callbacks.  Each future is done once, by one winner; all who
 * see it done see what that one set; each callback has run once or was taken back.
 */
#include <pthread.h>

#include "support/stress.h"

enum { FIBERS = 40, FUTURES = 16, OPERATIONS = 120 / STRESS_SLOW };

struct place {
    struct weft_future *future;
    atomic_int winners;
    atomic_int outcome; /* what the winner set: 1 to N a result, negative an error; 0: not known */
    atomic_int added, called, taken_back;
};

struct world {
    struct chaos chaos;
    struct place places[FUTURES];
    int values[FIBERS + 2];
    atomic_bool stop_thread;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

/* What one saw must be what all see. */
static void see(struct place *place, int outcome)
{
    int unknown = 0;

    if (!atomic_compare_exchange_strong(&place->outcome, &unknown, outcome))
        EXPECT_EQ(unknown, outcome);
}

static void look(struct place *place)
{
    void *result = NULL;
    int r = weft_future_result(place->future, &result);

    EXPECT(r != -EAGAIN);
    EXPECT_EQ(weft_future_cancelled(place->future), r == -ECANCELED);
    see(place, r < 0 ? r : *(int *)result);
}

static void make_done(struct world *world, struct place *place, unsigned number, struct dice *dice)
{
    int r;

    switch (dice_roll(dice, 3)) {
    case 0:
        r = weft_future_set_result(place->future, &world->values[number]);
        break;
    case 1:
        r = weft_future_set_error(place->future, -1000 - (int)number);
        break;
    default:
        r = weft_future_cancel(place->future);
    }
    EXPECT(r == 0 || r == -EALREADY);
    if (r == 0)
        EXPECT_EQ(atomic_fetch_add(&place->winners, 1), 0);
    look(place);
}

static void called_back(struct weft_future *future, void *arg)
{
    struct place *place = arg;

    EXPECT(future == place->future);
    atomic_fetch_add(&place->called, 1);
    look(place);
}

static void act_once(struct actor *actor, struct place *place)
{
    struct dice *dice = &actor->dice;
    int r;

    switch (dice_roll(dice, 12)) {
    case 0:
        make_done(actor->world, place, actor->number, dice);
        return;
    case 1:
    case 2:
        atomic_fetch_add(&place->added, 1);
        EXPECT_EQ(weft_future_add_done_callback(place->future, called_back, place), 0);
        return;
    case 3:
        atomic_fetch_add(&place->taken_back,
                         (int)weft_future_remove_done_callback(place->future, called_back, place));
        return;
    case 4:
        EXPECT(weft_future_ref(place->future) == place->future);
        weft_yield();
        weft_future_unref(place->future);
        return;
    }
    r = weft_future_wait(place->future,
                         weft_deadline_after(dice_roll(dice, 200) * WEFT_MICROSECOND), NULL);
    if (weft_future_done(place->future))
        look(place);
    else
        EXPECT(stress_ended(r));
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct world *world = actor->world;

    for (int i = 0; i < OPERATIONS; i++) {
        struct place *place = &world->places[dice_roll(&actor->dice, FUTURES)];
        struct weft_scope scope;

        chaos_enter(&world->chaos, actor->number, &actor->dice, &scope);
        act_once(actor, place);
        chaos_leave(&world->chaos, actor->number, &scope);
    }
    return 0;
}

/* Waits for one future, and nothing but its end ends the wait. */
static int wait_patiently(void *arg)
{
    struct place *place = arg;
    void *result = NULL;
    int r = weft_future_wait(place->future, WEFT_NO_DEADLINE, &result);

    see(place, r < 0 ? r : *(int *)result);
    weft_future_unref(place->future);
    return 0;
}

static void *act_as_thread(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->chaos.seed, 2000);

    while (!atomic_load(&world->stop_thread)) {
        if (dice_roll(&dice, 8) == 0)
            make_done(world, &world->places[dice_roll(&dice, FUTURES)], FIBERS, &dice);
        sched_yield();
    }
    return NULL;
}

static void start(struct world *world, struct weft_group *patient)
{
    for (int i = 0; i < FIBERS + 2; i++)
        world->values[i] = i + 1;
    weft_group_init(patient);
    for (int i = 0; i < FUTURES; i++) {
        struct place *place = &world->places[i];

        EXPECT_EQ(weft_future_new(&place->future), 0);
        weft_future_ref(place->future);
        EXPECT_EQ(weft_group_spawn(patient, "patient", wait_patiently, place), 0);
    }
}

static void finish(struct world *world, struct weft_group *patient)
{
    for (int i = 0; i < FUTURES; i++) {
        struct place *place = &world->places[i];
        struct dice dice = dice_of(world->chaos.seed, 3000);

        make_done(world, place, FIBERS + 1, &dice);
        EXPECT_EQ(atomic_load(&place->winners), 1);
    }
    EXPECT_EQ(weft_group_join(patient), 0);
    for (int i = 0; i < FUTURES; i++) {
        struct place *place = &world->places[i];

        EXPECT_EQ(atomic_load(&place->called) + atomic_load(&place->taken_back),
                  atomic_load(&place->added));
        weft_future_unref(place->future);
    }
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_group patient, trouble, group;
    pthread_t thread;

    start(&world, &patient);
    EXPECT_EQ(pthread_create(&thread, NULL, act_as_thread, &world), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    atomic_store(&world.stop_thread, true);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    finish(&world, &patient);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
