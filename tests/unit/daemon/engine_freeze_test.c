/* SPDX-License-Identifier: MIT */
/* Queues that are frozen: what the engine wishes of its runs, when, and what it tells.  That programs
 * stand still is tests/integration/control_group_test.py's. */
#include "engine_support.h"

#include "support/test.h"

#include <stdlib.h>

/* The run that can be frozen; the others have no group. */
static struct run_freeze *_Atomic able;
static atomic_int asked;

static int able_exec(struct runner *runner, const struct run_request *request,
                     struct run_outcome *outcome)
{
    if (request->spec->name)
        atomic_store(&able, request->freeze);
    int rc = attempt_exec(runner, request, outcome);
    if (request->spec->name)
        atomic_store(&able, NULL);
    return rc;
}

static void able_freeze(struct runner *runner)
{
    struct run_freeze *freeze = atomic_load(&able);
    (void)runner;
    atomic_fetch_add(&asked, 1);
    if (freeze)
        atomic_store(&freeze->done, atomic_load(&freeze->wanted));
}

static void make_able(struct world *world)
{
    world->engine->runners.exec = able_exec;
    world->engine->runners.freeze = able_freeze;
    atomic_store(&able, NULL);
    atomic_store(&asked, 0);
}

static struct engine_queue changed(int rc, struct engine_queue *queues, size_t count)
{
    EXPECT_EQ(rc, 0);
    EXPECT_EQ(count, 1);
    struct engine_queue queue = queues[0];
    free(queues);
    return queue;
}

static struct engine_queue freeze(struct world *world, bool frozen)
{
    struct engine_queue *queues = NULL;
    struct rpc_error error = {0};
    size_t count = 0;
    int rc = engine_queue_freeze(world->engine, &admin, "default", frozen, &queues, &count, &error);
    return changed(rc, queues, count);
}

static struct engine_queue change(struct world *world, struct queue_change wish)
{
    struct engine_queue *queues = NULL;
    struct rpc_error error = {0};
    size_t count = 0;
    int rc = engine_queue_change(world->engine, &admin, "default", &wish, &queues, &count, &error);
    return changed(rc, queues, count);
}

static struct engine_queue set_paused(struct world *world, bool paused)
{
    return change(world, (struct queue_change){.given = QUEUE_PAUSED, .values.paused = paused});
}

static void end_all(struct world *world, uint64_t first, uint64_t second)
{
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, first), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
}

static void freeze_and_resume(struct world *world)
{
    make_able(world);
    uint64_t one = submit(world, "gate", ",\"name\":\"able\"");
    uint64_t bound = submit(world, "gate", "");
    await_attempts(2);
    EXPECT(set_paused(world, true).frozen == false);
    EXPECT_EQ(atomic_load(&asked), 0);
    struct engine_queue queue = freeze(world, true);
    EXPECT(queue.frozen);
    EXPECT_EQ(queue.frozen_jobs, 1);
    EXPECT_EQ(queue.not_frozen_jobs, 1);
    EXPECT_EQ(why_of(world, one), ENGINE_WHY_FROZEN);
    EXPECT_EQ(why_of(world, bound), ENGINE_WHY_RUNNING);
    EXPECT(set_paused(world, true).frozen); /* it is both already */
    queue = set_paused(world, false);
    EXPECT(!queue.frozen);
    EXPECT_EQ(queue.frozen_jobs, 0);
    EXPECT_EQ(atomic_load(&asked), 2);
    EXPECT_EQ(why_of(world, one), ENGINE_WHY_RUNNING);
    end_all(world, one, bound);
}

Test(engine_freeze, a_queue_is_frozen_until_it_is_resumed)
{
    in_a_world(2, freeze_and_resume);
}

static void freeze_without_pause(struct world *world)
{
    struct engine_queue *queues = NULL;
    struct rpc_error error = {0};
    size_t count = 0;
    make_able(world);
    uint64_t one = submit(world, "gate", ",\"name\":\"able\"");
    await_attempts(1);
    EXPECT(!freeze(world, true).frozen); /* it was resumed meanwhile */
    EXPECT_EQ(why_of(world, one), ENGINE_WHY_RUNNING);
    (void)set_paused(world, true);
    EXPECT(freeze(world, true).frozen);
    EXPECT(!freeze(world, false).frozen);
    EXPECT_EQ(why_of(world, one), ENGINE_WHY_RUNNING);
    EXPECT_EQ(engine_queue_freeze(world->engine, &admin, "defualt", true, &queues, &count, &error),
              -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_QUEUE);
    end_all(world, one, one);
}

Test(engine_freeze, only_what_is_paused_is_frozen)
{
    in_a_world(2, freeze_without_pause);
}

static void end_the_pause_otherwise(struct world *world)
{
    make_able(world);
    uint64_t one = submit(world, "gate", ",\"name\":\"able\"");
    await_attempts(1);
    (void)set_paused(world, true);
    EXPECT(freeze(world, true).frozen);
    EXPECT(!change(world, (struct queue_change){.reset = QUEUE_PAUSED}).frozen);
    EXPECT_EQ(why_of(world, one), ENGINE_WHY_RUNNING);
    world->queues[0].paused = true;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    EXPECT(freeze(world, true).frozen);
    world->queues[0].paused = false;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    EXPECT_EQ(why_of(world, one), ENGINE_WHY_RUNNING);
    end_all(world, one, one);
}

Test(engine_freeze, whatever_ends_the_pause_ends_the_frost)
{
    in_a_world(2, end_the_pause_otherwise);
}
