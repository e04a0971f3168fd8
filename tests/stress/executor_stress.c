/* SPDX-License-Identifier: MIT */
/*
 * Fibers and plain threads share a small pool with a short queue: they submit, wait, give up
 * waiting, take back, post and are refused, while fibers are cancelled at random.  Each job runs
 * exactly when its owner is told so, and the pool ends while posted jobs are still queued.
 */
#include <pthread.h>

#include "support/stress.h"

enum { FIBERS = 16, OUTSIDERS = 3, OPERATIONS = 100 / STRESS_SLOW, THREADS = 3, QUEUE = 8 };

struct world {
    struct chaos chaos;
    struct weft_executor *executor;
    atomic_uint posted, ran; /* of posted ones */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

/* Lives on the owner's stack: a job that ran late would write to what is something else then. */
struct work {
    unsigned spin;
    unsigned runs;
};

static int run(void *arg)
{
    struct work *work = arg;
    work->runs++;
    for (unsigned i = 0; i < work->spin; i++)
        sched_yield();
    return (int)work->spin;
}

static int run_posted(void *arg)
{
    struct world *world = arg;
    atomic_fetch_add(&world->ran, 1);
    return 0;
}

static void expect_run(const struct work *work, int r, int result)
{
    EXPECT(r == 0 || r == -EAGAIN || stress_ended(r));
    EXPECT_EQ(work->runs, r == 0);
    EXPECT_EQ(result, r == 0 ? (int)work->spin : -1);
}

static void call(struct actor *actor)
{
    struct work work = {.spin = dice_roll(&actor->dice, 8)};
    int result = -1;
    int r = weft_executor_run(actor->world->executor, run, &work, &result);
    expect_run(&work, r, result);
}

/* Wait a little, then take it back, or wait to the end. */
static void submit(struct actor *actor, uint64_t deadline_ns)
{
    struct work work = {.spin = dice_roll(&actor->dice, 8)};
    struct weft_scope shield;
    struct weft_job job;
    int result = -1;
    int r = weft_executor_submit(actor->world->executor, &job, run, &work);
    if (r < 0) {
        EXPECT_EQ(r, -EAGAIN);
        return;
    }
    r = weft_job_wait(&job, deadline_ns, &result);
    EXPECT(r == 0 || stress_ended(r));
    if (r < 0 && weft_job_cancel(&job) == 0) {
        expect_run(&work, -ECANCELED, result);
        return;
    }
    bool fiber = weft_on_fiber();
    if (fiber)
        weft_shield_enter(&shield);
    EXPECT_EQ(weft_job_wait(&job, WEFT_NO_DEADLINE, &result), 0);
    if (fiber)
        weft_scope_leave(&shield);
    EXPECT(weft_job_done(&job));
    expect_run(&work, 0, result);
}

static void post(struct actor *actor)
{
    int r = weft_executor_post(actor->world->executor, run_posted, actor->world);
    EXPECT(r == 0 || r == -EAGAIN);
    if (r == 0)
        atomic_fetch_add(&actor->world->posted, 1);
}

static void operate(struct actor *actor)
{
    const struct chaos *chaos = &actor->world->chaos;
    switch (dice_roll(&actor->dice, 3)) {
    case 0:
        call(actor);
        return;
    case 1:
        submit(actor, chaos_deadline(chaos, &actor->dice));
        return;
    default:
        post(actor);
    }
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;
    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct weft_scope scope;
        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        operate(actor);
        chaos_leave(chaos, actor->number, &scope);
    }
    return 0;
}

static void *act_outside(void *arg)
{
    for (int i = 0; i < OPERATIONS; i++)
        operate(arg);
    return NULL;
}

static void run_fibers(struct world *world, struct actor *actors)
{
    struct weft_group trouble, group;
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    if (world->chaos.seed % 5 == 0)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS + OUTSIDERS];
    struct weft_executor_options options;
    pthread_t outsiders[OUTSIDERS];
    weft_executor_options_init(&options);
    options.threads = THREADS;
    options.queue_limit = QUEUE;
    options.idle_ns = round->seed % 2 ? 0 : 50 * WEFT_MICROSECOND;
    EXPECT_EQ(weft_executor_new_with(&options, &world.executor), 0);
    for (unsigned i = 0; i < FIBERS + OUTSIDERS; i++)
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
    for (unsigned i = 0; i < OUTSIDERS; i++)
        EXPECT_EQ(pthread_create(&outsiders[i], NULL, act_outside, &actors[FIBERS + i]), 0);
    run_fibers(&world, actors);
    for (unsigned i = 0; i < OUTSIDERS; i++)
        pthread_join(outsiders[i], NULL);
    weft_executor_free(world.executor);
    EXPECT_EQ(atomic_load(&world.ran), atomic_load(&world.posted));
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
