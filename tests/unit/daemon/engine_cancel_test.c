/* SPDX-License-Identifier: MIT */
/* Cancelling jobs in every state, and what it leaves behind. */
#include "engine_support.h"

#include "support/test.h"

static void cancel_everywhere(struct world *world)
{
    uint64_t queued = submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t delayed = submit(world, "ok", ",\"delay\":\"1h\"");
    uint64_t running = submit(world, "hang", "");
    uint64_t done = submit(world, "ok", "");
    uint64_t ids[6] = {queued, delayed, running, done, 999, queued};
    enum job_state states[6] = {0};
    struct rpc_error errors[6] = {0};
    EXPECT_EQ(end_of(world, done), JOB_SUCCEEDED);
    await_attempts(2);
    EXPECT_EQ(state_of(world, delayed), JOB_DELAYED);
    EXPECT_EQ(engine_cancel(world->engine, &me, ids, 6, states, errors), 0);
    EXPECT_EQ(states[0], JOB_CANCELLED);
    EXPECT_EQ(states[1], JOB_CANCELLED);
    EXPECT_EQ(states[2], JOB_CANCELLED);
    EXPECT_EQ(states[3], JOB_SUCCEEDED);
    EXPECT_EQ(states[4], JOB_NONE);
    EXPECT_EQ(errors[4].code, RPC_NO_SUCH_JOB);
    EXPECT_EQ(states[5], JOB_CANCELLED);
    for (size_t i = 0; i < 3; i++)
        EXPECT_EQ(base_state(world->base, ids[i]), JOB_CANCELLED);
    EXPECT_EQ(world->engine->live, 0);
    EXPECT_EQ(atomic_load(&attempts_running), 0);
}

Test(engine_cancel, cancel_ends_jobs_in_every_state)
{
    in_a_world(2, cancel_everywhere);
}

static int cancel_on_fiber(void *arg)
{
    struct canceller *canceller = arg;
    canceller->state = cancel(canceller->world, canceller->id);
    atomic_store(&canceller->returned, true);
    return 0;
}

/* The attempt has failed and its retry is being committed when the cancel comes. */
static void cancel_during_commit(struct world *world)
{
    uint64_t id = submit(world, "gate-fail", ",\"retries\":5");
    struct canceller canceller = {.world = world, .id = id};
    struct weft_group group;
    await_attempts(1);
    while (base_state(world->base, id) != JOB_RUNNING)
        EXPECT_EQ(weft_yield(), 0);
    base_hold(world->base);
    weft_event_set(&attempts_gate);
    await_held(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "cancel", cancel_on_fiber, &canceller), 0);
    yield_often();
    EXPECT(!atomic_load(&canceller.returned));
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(canceller.state, JOB_CANCELLED);
    EXPECT_EQ(base_state(world->base, id), JOB_CANCELLED);
    EXPECT_EQ(atomic_load(&attempts_count[id]), 1);
}

Test(engine_cancel, cancel_during_the_commit_of_a_retry_is_carried_out)
{
    in_a_world(1, cancel_during_commit);
}

static void cancel_a_deaf_one(struct world *world)
{
    uint64_t id = submit(world, "deaf", ",\"retries\":5");
    await_attempts(1);
    EXPECT_EQ(cancel(world, id), JOB_CANCELLED);
    EXPECT_EQ(atomic_load(&attempts_count[id]), 1);
    uint64_t once = submit(world, "deaf", "");
    await_attempts(2);
    enum job_state state = cancel(world, once);
    EXPECT_EQ(state, JOB_FAILED); /* it ended by itself: that is what is told */
}

Test(engine_cancel, cancel_of_a_job_that_fails_instead_is_not_retried)
{
    in_a_world(1, cancel_a_deaf_one);
}

/* A cancel that arrives while the attempt's start is being committed. */
static void cancel_before_start(struct world *world)
{
    uint64_t id = submit_spec(world, call_of(",\"queue\":\"paused\""));
    struct canceller canceller = {.world = world, .id = id};
    struct weft_group group;
    base_hold(world->base);
    world->queues[2].concurrency = 1;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    await_held(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "cancel", cancel_on_fiber, &canceller), 0);
    yield_often();
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(canceller.state, JOB_CANCELLED);
    EXPECT_EQ(atomic_load(&attempts_count[id]), 0);
}

Test(engine_cancel, cancel_before_the_attempt_begins_keeps_it_from_beginning)
{
    in_a_world(1, cancel_before_start);
}

static void cancel_by_many(struct world *world)
{
    enum { CANCELLERS = 20 };
    struct canceller cancellers[CANCELLERS];
    struct weft_group group;
    uint64_t id = submit(world, "ok", ",\"queue\":\"paused\"");
    base_hold(world->base);
    weft_group_init(&group);
    for (size_t i = 0; i < CANCELLERS; i++) {
        cancellers[i] = (struct canceller){.world = world, .id = id};
        EXPECT_EQ(weft_group_spawn(&group, "cancel", cancel_on_fiber, &cancellers[i]), 0);
    }
    await_held(world->base);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (size_t i = 0; i < CANCELLERS; i++)
        EXPECT_EQ(cancellers[i].state, JOB_CANCELLED);
}

Test(engine_cancel, cancel_of_one_job_by_many_is_one_cancel)
{
    in_a_world(2, cancel_by_many);
}

/* A request that is cancelled while it waits: its cancelling goes on, its memory is its own. */
static void cancelled_waits(struct world *world)
{
    struct weft_scope scope;
    struct engine_page page;
    struct rpc_error error = {0};
    uint64_t id = submit(world, "gate", "");
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    int rc = engine_wait(world->engine, &me, &id, 1, WEFT_NO_DEADLINE, &page, &error);
    EXPECT_EQ(rc, -ECANCELED);
    uint64_t refused;
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &refused, &error),
              -ECANCELED);
    (void)weft_scope_leave(&scope);
    EXPECT(world->engine->waiters == NULL);
    EXPECT_EQ(world->engine->live, 1);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
}

Test(engine_cancel, a_cancelled_request_leaves_nothing_behind)
{
    in_a_world(2, cancelled_waits);
}
