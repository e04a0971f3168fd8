/* SPDX-License-Identifier: MIT */
/*
 * Tasks that work, wait, join each other, and are cancelled at random by each other and by a plain
 * thread.  Each task may use only those that were started before it, so that nobody waits in a
 * circle.  In the end every task has one result, which all who joined it saw; those that were
 * detached or freed on the way have ended, too.
 */
#include <pthread.h>

#include "support/stress.h"

enum { TASKS = 60, STEPS = 24 / (STRESS_SLOW > 1 ? 3 : 1) };

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    atomic_int seen; /* what the first who joined it saw; 0: nobody yet */
};

struct world {
    struct chaos chaos;
    struct weft_event event;
    struct weft_task *tasks[TASKS];
    struct actor actors[TASKS];
    atomic_uint published; /* so many of the tasks may be used by all */
    atomic_int started, ended;
    atomic_bool stop_thread;
};

/* What a task returns that was not cancelled. */
static int value_of(unsigned number)
{
    return (int)number + 1;
}

/* Everybody sees the same result. */
static void see(struct actor *actor, int result)
{
    int nobody = 0;

    EXPECT(result == value_of(actor->number) || result == -ECANCELED);
    if (!atomic_compare_exchange_strong(&actor->seen, &nobody, result))
        EXPECT_EQ(nobody, result);
}

static int small_task(void *arg)
{
    struct world *world = arg;
    struct weft_scope shield;

    weft_yield();
    weft_shield_enter(&shield); /* what must be done is done */
    weft_yield();
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    atomic_fetch_add(&world->ended, 1);
    return 0;
}

static void start_small_task(struct world *world, struct dice *dice)
{
    struct weft_task *task;
    int result = 1;

    atomic_fetch_add(&world->started, 1);
    EXPECT_EQ(weft_task_new("small", small_task, world, &task), 0);
    switch (dice_roll(dice, 3)) {
    case 0:
        weft_task_detach(task);
        return;
    case 1:
        if (weft_task_join(task, chaos_deadline(&world->chaos, dice), &result) == 0)
            EXPECT_EQ(result, 0);
        break;
    }
    weft_task_free(task);
}

static void wait_for_some(struct actor *actor, struct dice *dice)
{
    struct world *world = actor->world;
    unsigned count = dice_roll(dice, actor->number + 1);
    enum weft_wait mode = (enum weft_wait)dice_roll(dice, 3);
    int done = 0, r;

    r = weft_tasks_wait(world->tasks, count, mode, chaos_deadline(&world->chaos, dice));
    EXPECT(stress_ended(r) || (r >= 0 && r <= (int)count));
    if (r < 0)
        return;
    for (unsigned i = 0; i < count; i++)
        done += weft_task_done(world->tasks[i]);
    EXPECT(done >= r && (r > 0 || count == 0));
    if (mode == WEFT_WAIT_ALL)
        EXPECT_EQ(r, count);
}

static void join_one(struct actor *actor, struct dice *dice)
{
    struct world *world = actor->world;
    unsigned other;
    int result = 0, r;

    if (actor->number == 0)
        return;
    other = dice_roll(dice, actor->number);
    r = weft_task_join(world->tasks[other], chaos_deadline(&world->chaos, dice), &result);
    EXPECT(r == 0 || stress_ended(r));
    if (r == 0)
        see(&world->actors[other], result);
}

static void take_step(struct actor *actor)
{
    struct world *world = actor->world;
    struct dice *dice = &actor->dice;

    switch (dice_roll(dice, 8)) {
    case 0:
        start_small_task(world, dice);
        break;
    case 1:
    case 2:
        join_one(actor, dice);
        break;
    case 3:
        wait_for_some(actor, dice);
        break;
    case 4:
        if (actor->number > 0 && dice_roll(dice, 4) == 0)
            weft_task_cancel(world->tasks[dice_roll(dice, actor->number)]);
        break;
    case 5:
        weft_event_wait(&world->event, weft_deadline_after(dice_roll(dice, 20) * WEFT_MICROSECOND));
        break;
    default:
        weft_yield();
    }
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct world *world = actor->world;

    for (int i = 0; i < STEPS && weft_check_cancel() == 0; i++) {
        struct weft_scope scope;

        chaos_enter(&world->chaos, actor->number, &actor->dice, &scope);
        take_step(actor);
        chaos_leave(&world->chaos, actor->number, &scope);
    }
    return weft_check_cancel() < 0 ? -ECANCELED : value_of(actor->number);
}

static void *cancel_as_thread(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->chaos.seed, 2000);

    while (!atomic_load(&world->stop_thread)) {
        unsigned count = atomic_load(&world->published);
        unsigned number = count ? dice_roll(&dice, count) : 0;
        int result = 0;

        if (count && weft_task_result(world->tasks[number], &result) == 0)
            see(&world->actors[number], result);
        else if (count && dice_roll(&dice, 64) == 0)
            weft_task_cancel(world->tasks[number]);
        sched_yield();
    }
    return NULL;
}

static void finish(struct world *world)
{
    int result = 0;

    for (unsigned i = 0; i < TASKS; i++) {
        EXPECT_EQ(weft_task_join(world->tasks[i], WEFT_NO_DEADLINE, &result), 0);
        see(&world->actors[i], result);
    }
    EXPECT_EQ(weft_tasks_wait(world->tasks, TASKS, WEFT_WAIT_ALL, 0), TASKS);
    while (atomic_load(&world->ended) < atomic_load(&world->started))
        EXPECT_EQ(weft_yield(), 0); /* those that were detached */
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct weft_runtime_stats stats;
    struct weft_group trouble;
    pthread_t thread;

    EXPECT(world);
    world->chaos.seed = round->seed;
    EXPECT_EQ(pthread_create(&thread, NULL, cancel_as_thread, world), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    for (unsigned i = 0; i < TASKS; i++) {
        world->actors[i] = (struct actor){world, i, dice_of(round->seed, i), 0};
        EXPECT_EQ(weft_task_new("actor", act, &world->actors[i], &world->tasks[i]), 0);
        atomic_store(&world->published, i + 1);
    }
    finish(world);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    atomic_store(&world->stop_thread, true);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    for (unsigned i = 0; i < TASKS; i++)
        weft_task_free(world->tasks[i]);
    weft_stats_runtime(weft_runtime_self(), &stats);
    EXPECT_EQ(stats.unjoined, 0);
    free(world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
