/* SPDX-License-Identifier: MIT */
/*
 * Many fibers offload short jobs to few threads, which leave as soon as they idle, while the fibers
 * are cancelled and timed out: a job runs exactly when its fiber is told so, and never after.
 */
#include <unistd.h>

#include "core/offload.h"
#include "core/worker.h"
#include "support/stress.h"

enum { FIBERS = 32, OPERATIONS = 200 / STRESS_SLOW, THREADS = 3 };

struct world {
    struct chaos chaos;
    atomic_int running;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

/* Lives on the fiber's stack: a job that ran late would write to what is something else then. */
struct work {
    struct world *world;
    unsigned pause_us;
    unsigned runs;
};

static int run(void *arg)
{
    struct work *work = arg;
    EXPECT(atomic_fetch_add(&work->world->running, 1) < THREADS);
    work->runs++;
    if (work->pause_us)
        usleep(work->pause_us);
    atomic_fetch_sub(&work->world->running, 1);
    return (int)work->pause_us;
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;
    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct work work = {.world = actor->world};
        struct weft_scope scope;
        int result = -1;
        if (dice_roll(&actor->dice, 8) == 0)
            work.pause_us = 1 + dice_roll(&actor->dice, 100);
        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        int r = weft_offload(run, &work, &result);
        chaos_leave(chaos, actor->number, &scope);
        EXPECT(r == 0 || stress_ended(r));
        EXPECT_EQ(work.runs, r == 0);
        EXPECT_EQ(result, r == 0 ? (int)work.pause_us : -1);
    }
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_group trouble, group;
    struct weft_executor_stats stats;
    struct offload_pool *pool = worker_offload(worker_self());
    offload_pool_set_idle(pool, round->seed % 2 ? 0 : 50 * WEFT_MICROSECOND);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
    if (round->seed % 5 == 0)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    EXPECT_EQ(atomic_load(&world.running), 0);
    offload_pool_stats(pool, &stats);
    EXPECT_EQ(stats.queued, 0);
    return 0;
}

/* As stress_on, with few threads in the pool. */
static unsigned rounds_on(unsigned workers, uint64_t seed)
{
    uint64_t end_ns = weft_deadline_after(stress_budget_ns());
    struct weft_options options;
    unsigned rounds = 0;
    weft_options_init(&options);
    options.workers = workers;
    options.offload_threads = THREADS;
    options.handle_signals = false;
    do {
        struct stress_round round = {.seed = seed + rounds++, .workers = workers};
        EXPECT_EQ(weft_run(&options, play, &round), 0);
    } while (weft_now_ns() < end_ns);
    return rounds;
}

int main(int argc, char **argv)
{
    static const unsigned workers[] = {1, 2, 4};
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %" PRIu64 "\n", seed);
    for (size_t i = 0; i < sizeof(workers) / sizeof(*workers); i++)
        printf("%u workers: %u rounds\n", workers[i], rounds_on(workers[i], seed));
    return 0;
}
