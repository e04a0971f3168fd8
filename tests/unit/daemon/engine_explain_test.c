/* SPDX-License-Identifier: MIT */
/* Why a job does not run: the reason is the one that has to go first, and the facts are true. */
#include "engine_retry_support.h"

#include "support/test.h"

static struct engine_explanation explained(struct world *world, uint64_t id)
{
    struct engine_explanation facts = {0};
    struct rpc_error error = {0};
    EXPECT_EQ(engine_explain(world->engine, &me, id, &facts, &error), 0);
    EXPECT_EQ(facts.record->id, id);
    return facts;
}

/* Only the reason; the state must fit it. */
static enum engine_why why(struct world *world, uint64_t id, enum job_state state)
{
    struct engine_explanation facts = explained(world, id);
    EXPECT_EQ(facts.record->state, state);
    job_record_free(facts.record);
    return facts.why;
}

static size_t ahead_of(struct world *world, uint64_t id)
{
    struct engine_explanation facts = explained(world, id);
    job_record_free(facts.record);
    return facts.ahead;
}

static void set_paused(struct world *world, uint32_t concurrency)
{
    world->queues[2].concurrency = concurrency;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
}

/* ---- queued ---------------------------------------------------------------------------------- */

static void explain_queue(struct world *world)
{
    uint64_t running = submit(world, "gate", ",\"queue\":\"one\"");
    await_attempts(1);
    uint64_t first = submit(world, "ok", ",\"queue\":\"one\"");
    uint64_t second = submit(world, "ok", ",\"queue\":\"one\"");
    uint64_t hurried = submit(world, "ok", ",\"queue\":\"one\",\"priority\":1000");
    EXPECT_EQ(why(world, running, JOB_RUNNING), ENGINE_WHY_RUNNING);
    struct engine_explanation facts = explained(world, second);
    EXPECT_EQ(facts.why, ENGINE_WHY_QUEUE_FULL);
    EXPECT(facts.configured && !facts.draining);
    EXPECT_EQ(facts.running, 1);
    EXPECT_EQ(facts.concurrency, 1);
    EXPECT_EQ(facts.queued, 3);
    EXPECT_EQ(facts.ahead, 2);
    job_record_free(facts.record);
    EXPECT_EQ(ahead_of(world, first), 1);
    EXPECT_EQ(ahead_of(world, hurried), 0);
    uint64_t off = submit(world, "ok", ",\"queue\":\"paused\"");
    EXPECT_EQ(why(world, off, JOB_QUEUED), ENGINE_WHY_QUEUE_OFF);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
}

Test(engine_explain, a_queued_job_waits_for_a_slot_and_for_those_before_it)
{
    in_a_world(2, explain_queue);
}

/* The dispatcher has not come to it yet: it and the test take turns on one worker. */
static void explain_a_free_slot(struct world *world)
{
    uint64_t ids[2] = {submit(world, "ok", ",\"queue\":\"paused\""),
                       submit(world, "ok", ",\"queue\":\"paused\"")};
    set_paused(world, 1);
    EXPECT_EQ(why(world, ids[0], JOB_QUEUED), ENGINE_WHY_NEXT);
    EXPECT_EQ(why(world, ids[1], JOB_QUEUED), ENGINE_WHY_QUEUE_ORDER);
    EXPECT_EQ(end_of(world, ids[1]), JOB_SUCCEEDED);
}

Test(engine_explain, a_free_slot_is_no_reason_but_its_order_is)
{
    in_a_world(1, explain_a_free_slot);
}

enum { CROWD = ENGINE_AHEAD_MAX + 100 };

static void explain_a_crowd(struct world *world)
{
    struct engine_item *items = calloc(CROWD, sizeof(*items));
    struct rpc_error *errors = calloc(CROWD, sizeof(*errors)), error = {0};
    for (size_t i = 0; i < CROWD; i++)
        items[i] = (struct engine_item){.spec = spec_of("ok", ",\"queue\":\"paused\""),
                                        .error = &errors[i]};
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, CROWD, true, NULL, &error), 0);
    EXPECT_EQ(ahead_of(world, 1), 0);
    EXPECT_EQ(ahead_of(world, ENGINE_AHEAD_MAX), ENGINE_AHEAD_MAX - 1);
    EXPECT_EQ(ahead_of(world, CROWD), ENGINE_AHEAD_MAX);
    struct engine_explanation facts = explained(world, CROWD);
    EXPECT_EQ(facts.queued, CROWD);
    job_record_free(facts.record);
    free(items);
    free(errors);
}

Test(engine_explain, counting_those_ahead_ends_at_its_limit)
{
    in_a_world(2, explain_a_crowd);
}

/* ---- delayed and running --------------------------------------------------------------------- */

static void explain_delays(struct world *world)
{
    uint64_t delayed = submit(world, "ok", ",\"delay\":\"1h\"");
    uint64_t failing = submit(world, "fail", ",\"retries\":5");
    EXPECT_EQ(why(world, delayed, JOB_DELAYED), ENGINE_WHY_DELAY);
    await_state(world, failing, JOB_DELAYED);
    struct engine_explanation facts = explained(world, failing);
    EXPECT_EQ(facts.why, ENGINE_WHY_BACKOFF);
    EXPECT_EQ(facts.record->attempt, 1);
    EXPECT_EQ(facts.record->failures, 1);
    EXPECT(facts.record->due_at > 0);
    EXPECT_EQ(strcmp(facts.record->error, "exit status 3"), 0);
    job_record_free(facts.record);
}

Test(engine_explain, a_delay_is_the_client_s_or_a_backoff)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.jobs.retry_base = world.config.jobs.retry_cap = 3600 * WEFT_SECOND;
    world_live(&world, explain_delays);
    base_free(base);
}

static int cancel_on_fiber(void *arg)
{
    struct canceller *canceller = arg;
    canceller->state = cancel(canceller->world, canceller->id);
    return 0;
}

/* What is under way while a commit is held up. */
static void explain_commits(struct world *world)
{
    struct weft_group group;
    uint64_t ending = submit(world, "gate", "");
    struct canceller queued = {.world = world, .id = submit(world, "ok", ",\"queue\":\"paused\"")};
    struct canceller running = {.world = world, .id = submit(world, "deaf", "")};
    await_attempts(2);
    while (base_state(world->base, running.id) != JOB_RUNNING)
        EXPECT_EQ(weft_yield(), 0);
    base_hold(world->base);
    weft_event_set(&attempts_gate);
    await_held(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "cancel", cancel_on_fiber, &queued), 0);
    EXPECT_EQ(weft_group_spawn(&group, "cancel", cancel_on_fiber, &running), 0);
    yield_often();
    EXPECT_EQ(why(world, ending, JOB_RUNNING), ENGINE_WHY_ENDING);
    EXPECT_EQ(why(world, queued.id, JOB_QUEUED), ENGINE_WHY_CANCELLING);
    EXPECT_EQ(ahead_of(world, queued.id), 0);
    EXPECT_EQ(why(world, running.id, JOB_RUNNING), ENGINE_WHY_CANCELLING);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
}

Test(engine_explain, what_is_being_committed_is_told_as_such)
{
    in_a_world(1, explain_commits);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static int stop_on_fiber(void *arg)
{
    struct world *world = arg;
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
    return 0;
}

static void explain_a_stop(struct world *world)
{
    struct weft_group group;
    uint64_t running = submit(world, "gate", "");
    uint64_t queued = submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t delayed = submit(world, "ok", ",\"delay\":\"1h\"");
    await_attempts(1);
    while (base_state(world->base, running) != JOB_RUNNING)
        EXPECT_EQ(weft_yield(), 0);
    engine_drain(world->engine);
    EXPECT_EQ(why(world, queued, JOB_QUEUED), ENGINE_WHY_DRAINING);
    EXPECT_EQ(why(world, delayed, JOB_DELAYED), ENGINE_WHY_DRAINING);
    EXPECT_EQ(why(world, running, JOB_RUNNING), ENGINE_WHY_RUNNING);
    engine_lock_shielded(world->engine); /* told to stop, and not yet stopped */
    world->engine->runs->stop = RUN_INTERRUPTED;
    engine_unlock(world->engine);
    EXPECT_EQ(why(world, running, JOB_RUNNING), ENGINE_WHY_STOPPING);
    engine_lock_shielded(world->engine);
    world->engine->runs->stop = RUN_GOES_ON;
    engine_unlock(world->engine);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "stop", stop_on_fiber, world), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(why(world, running, JOB_QUEUED), ENGINE_WHY_DRAINING);
}

Test(engine_explain, a_daemon_that_stops_is_the_reason)
{
    in_a_world(1, explain_a_stop);
}

/* ---- ended ----------------------------------------------------------------------------------- */

static int retry_on_fiber(void *arg)
{
    struct canceller *retrier = arg;
    retrier->state = retry(retrier->world, retrier->id);
    return 0;
}

static void explain_ends(struct world *world)
{
    uint64_t failed = submit(world, "fail", "");
    uint64_t done = submit(world, "ok", "");
    EXPECT_EQ(end_of(world, failed), JOB_FAILED);
    EXPECT_EQ(end_of(world, done), JOB_SUCCEEDED);
    struct engine_explanation facts = explained(world, failed);
    EXPECT_EQ(facts.why, ENGINE_WHY_ENDED);
    EXPECT_EQ(facts.record->state, JOB_FAILED);
    EXPECT(facts.configured);
    EXPECT_EQ(facts.concurrency, 8);
    EXPECT_EQ(strcmp(facts.record->error, "exit status 3"), 0);
    job_record_free(facts.record);
    EXPECT_EQ(why(world, done, JOB_SUCCEEDED), ENGINE_WHY_ENDED);
    struct rpc_error error = {0};
    EXPECT_EQ(engine_explain(world->engine, &other, failed, &facts, &error), -ENOENT);
    EXPECT_EQ(error.code, RPC_NO_SUCH_JOB);
    EXPECT_EQ(engine_explain(world->engine, &me, 999, &facts, &error), -ENOENT);
}

static void explain_a_retry(struct world *world)
{
    struct weft_group group;
    struct canceller retrier = {.world = world, .id = submit(world, "fail", "")};
    EXPECT_EQ(end_of(world, retrier.id), JOB_FAILED);
    base_hold(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "retry", retry_on_fiber, &retrier), 0);
    await_held(world->base);
    EXPECT_EQ(why(world, retrier.id, JOB_FAILED), ENGINE_WHY_RETRYING);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(retrier.state, JOB_QUEUED);
}

Test(engine_explain, an_ended_job_is_explained_from_memory)
{
    in_a_world(1, explain_ends);
    in_a_world(1, explain_a_retry);
}

Test(engine_explain, an_ended_job_is_explained_from_the_store)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.daemon.recent = 0;
    world_live(&world, explain_ends);
    base_free(base);
}
