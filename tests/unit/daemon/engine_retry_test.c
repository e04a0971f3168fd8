/* SPDX-License-Identifier: MIT */
/* Jobs that get another chance: from which ends, from memory and from the store, and who may not. */
#include "engine_retry_support.h"

#include "support/test.h"

static struct job_record *record_of(struct world *world, uint64_t id)
{
    struct job_record *record;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_get(world->engine, &me, id, &record, &error), 0);
    return record;
}

static void set_paused(struct world *world, uint32_t concurrency)
{
    world->queues[2].concurrency = concurrency;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
}

/* A job of the paused queue that was cancelled: another retry leaves it queued. */
static uint64_t cancelled_one(struct world *world)
{
    uint64_t id = submit(world, "ok", ",\"queue\":\"paused\"");
    EXPECT_EQ(cancel(world, id), JOB_CANCELLED);
    return id;
}

/* The same test with the ended jobs in memory, and with none kept there. */
static void in_both_worlds(unsigned workers, void (*body)(struct world *world))
{
    for (uint32_t recent = 0; recent <= 1000; recent += 1000) {
        struct world world;
        struct base *base = base_new();
        world_init(&world, base);
        world.workers = workers;
        world.config.daemon.recent = recent;
        for (size_t id = 0; id < BASE_IDS; id++)
            atomic_store(&attempts_count[id], 0);
        world_live(&world, body);
        base_free(base);
    }
}

/* ---- from which ends ------------------------------------------------------------------------- */

static void retry_every_end(struct world *world)
{
    uint64_t failed = submit(world, "fail", "");
    uint64_t dead = submit(world, "fail", ",\"retries\":1");
    uint64_t late = submit(world, "hang", ",\"timeout\":\"1ms\"");
    uint64_t cancelled = cancelled_one(world);
    uint64_t ids[] = {failed, dead, late, cancelled};
    static const enum job_state ends[] = {JOB_FAILED, JOB_DEAD, JOB_TIMED_OUT, JOB_CANCELLED};
    static const uint32_t attempts[] = {1, 2, 1, 0};
    set_paused(world, 1);
    for (size_t i = 0; i < 4; i++) {
        EXPECT_EQ(end_of(world, ids[i]), ends[i]);
        EXPECT_EQ(retry(world, ids[i]), JOB_QUEUED);
        struct job_record *record = ended(world, ids[i]);
        EXPECT_EQ(record->id, ids[i]);
        EXPECT_EQ(record->state, ends[i] == JOB_CANCELLED ? JOB_SUCCEEDED : ends[i]);
        EXPECT_EQ(record->attempt, attempts[i] + (ends[i] == JOB_DEAD ? 2 : 1));
        EXPECT_EQ(atomic_load(&attempts_last[ids[i]]), record->attempt);
        EXPECT_EQ(base_state(world->base, ids[i]), record->state);
        job_record_free(record);
    }
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.revived, 4);
    EXPECT_EQ(stats.submitted, 4);
    EXPECT_EQ(world->engine->live, 0);
    for (int state = JOB_WAITING; state < JOB_STATE_COUNT; state++)
        EXPECT_EQ(stats.live[state], 0);
}

Test(engine_retry, every_end_but_success_may_be_left)
{
    in_both_worlds(2, retry_every_end);
}

static void look_at_the_new_start(struct world *world)
{
    uint64_t id = submit(world, "fail", ",\"queue\":\"paused\"");
    set_paused(world, 1);
    EXPECT_EQ(end_of(world, id), JOB_FAILED);
    set_paused(world, 0);
    EXPECT_EQ(retry(world, id), JOB_QUEUED);
    struct job_record *record = record_of(world, id);
    EXPECT_EQ(record->state, JOB_QUEUED);
    EXPECT_EQ(record->attempt, 1);
    EXPECT_EQ(record->failures, 0);
    EXPECT_EQ(record->exit_code, JOB_NO_EXIT);
    EXPECT_EQ(record->started_at, 0);
    EXPECT_EQ(record->finished_at, 0);
    EXPECT(record->submitted_at > 0);
    EXPECT(record->error == NULL && record->result == NULL);
    job_record_free(record);
    EXPECT_EQ(base_state(world->base, id), JOB_QUEUED);
    EXPECT_EQ(cancel(world, id), JOB_CANCELLED);
}

Test(engine_retry, nothing_is_left_of_the_end_before)
{
    in_both_worlds(2, look_at_the_new_start);
}

static void refuse_by_state(struct world *world)
{
    uint64_t done = submit(world, "ok", "");
    uint64_t running = submit(world, "hang", "");
    uint64_t queued = submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t delayed = submit(world, "ok", ",\"delay\":\"1h\"");
    uint64_t failed = submit(world, "fail", "");
    uint64_t ids[] = {done, failed, running, 999, queued, failed, delayed, failed};
    enum job_state states[8] = {0};
    struct rpc_error errors[8] = {0}, error = {0};
    EXPECT_EQ(end_of(world, done), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, failed), JOB_FAILED);
    await_state(world, running, JOB_RUNNING);
    EXPECT_EQ(engine_retry(world->engine, &me, ids, 8, states, errors, &error), 0);
    static const struct {
        int code;
        const char *piece;
    } expected[] = {
        {RPC_CONFLICT, "has succeeded: there is nothing to retry"},
        {RPC_OK, ""},
        {RPC_CONFLICT, "is running: only a job that has ended"},
        {RPC_NO_SUCH_JOB, "there is no job 999"},
        {RPC_CONFLICT, "is queued: only"},
        {RPC_CONFLICT, "is being retried already"},
        {RPC_CONFLICT, "is delayed: only"},
        {RPC_CONFLICT, "is being retried already"},
    };
    for (size_t i = 0; i < 8; i++) {
        EXPECT_EQ(errors[i].code, expected[i].code);
        EXPECT(strstr(errors[i].message, expected[i].piece) != NULL);
        EXPECT_EQ(states[i], i == 1 ? JOB_QUEUED : JOB_NONE);
    }
    EXPECT_EQ(end_of(world, failed), JOB_FAILED);
    EXPECT_EQ(atomic_load(&attempts_count[failed]), 2);
    EXPECT_EQ(atomic_load(&attempts_count[done]), 1);
}

Test(engine_retry, each_id_is_answered_by_its_state)
{
    in_both_worlds(2, refuse_by_state);
}

static void keep_others_out(struct world *world)
{
    uint64_t id = cancelled_one(world);
    EXPECT_EQ(retry_as(world, &other, id), JOB_NONE);
    EXPECT_EQ(last_error.code, RPC_NO_SUCH_JOB);
    EXPECT_EQ(state_of(world, id), JOB_CANCELLED);
    EXPECT_EQ(retry_as(world, &admin, id), JOB_QUEUED);
    EXPECT_EQ(base_state(world->base, id), JOB_QUEUED);
}

Test(engine_retry, a_job_of_another_user_is_none_but_for_an_admin)
{
    in_both_worlds(2, keep_others_out);
}

/* ---- its place among the others -------------------------------------------------------------- */

enum { OLD = 40 };

/* Old ids between and below newer ones, asked for out of order. */
static void retry_many(struct world *world)
{
    uint64_t ids[OLD], live[OLD];
    enum job_state states[OLD] = {0};
    struct rpc_error errors[OLD] = {0}, error = {0};
    for (size_t i = 0; i < OLD; i++) {
        ids[(i * 7) % OLD] = cancelled_one(world);
        live[i] = submit(world, "ok", ",\"queue\":\"paused\"");
    }
    EXPECT_EQ(engine_retry(world->engine, &me, ids, OLD, states, errors, &error), 0);
    struct engine_filter filter = {.limit = 100};
    struct engine_page page;
    EXPECT_EQ(engine_list(world->engine, &me, &filter, &page, &error), 0);
    EXPECT_EQ(page.count, 2 * OLD);
    for (size_t i = 0; i < page.count; i++) {
        EXPECT_EQ(page.records[i]->id, 2 * OLD - i);
        EXPECT_EQ(page.records[i]->state, JOB_QUEUED);
    }
    engine_page_destroy(&page);
    set_paused(world, 8);
    for (size_t i = 0; i < OLD; i++) {
        EXPECT_EQ(states[i], JOB_QUEUED);
        EXPECT_EQ(end_of(world, ids[i]), JOB_SUCCEEDED);
        EXPECT_EQ(end_of(world, live[i]), JOB_SUCCEEDED);
    }
    set_paused(world, 0);
    EXPECT_EQ(world->engine->live, 0);
}

Test(engine_retry, old_ids_are_found_and_listed_among_the_newer_ones)
{
    in_both_worlds(2, retry_many);
}

/* By its submit it would be the first. */
static void retry_behind_the_others(struct world *world)
{
    uint64_t old = cancelled_one(world);
    uint64_t newer = submit(world, "ok", ",\"queue\":\"paused\"");
    EXPECT_EQ(retry(world, old), JOB_QUEUED);
    uint64_t newest = submit(world, "ok", ",\"queue\":\"paused\"");
    world->queues[2].aging = 2 * WEFT_SECOND; /* all are ranked again */
    set_paused(world, 1);
    EXPECT_EQ(end_of(world, newest), JOB_SUCCEEDED);
    EXPECT_EQ(trace[0], newer);
    EXPECT_EQ(trace[1], old);
    EXPECT_EQ(trace[2], newest);
}

Test(engine_retry, a_retried_job_waits_behind_those_that_came_before_the_retry)
{
    in_a_world(2, retry_behind_the_others);
}

static size_t count_recent(const struct engine *engine)
{
    size_t count = 0;
    const struct job *before = NULL;
    for (const struct job *job = engine->recent_first; job; before = job, job = job->recent_next) {
        EXPECT(job->recent_before == before);
        EXPECT(job_state_is_end(job->record.state));
        count++;
    }
    EXPECT(engine->recent_last == before);
    EXPECT_EQ(count, engine->stats.recent);
    return count;
}

/* The first, the last and one between leave the list of the recent ones, which then goes on. */
static void leave_recent(struct world *world)
{
    uint64_t ids[6];
    for (size_t i = 0; i < 6; i++)
        ids[i] = cancelled_one(world);
    EXPECT_EQ(count_recent(world->engine), 5); /* as many as are kept */
    static const size_t order[] = {1, 5, 3};
    for (size_t i = 0; i < 3; i++) {
        EXPECT_EQ(retry(world, ids[order[i]]), JOB_QUEUED);
        EXPECT_EQ(count_recent(world->engine), 4 - i);
    }
    for (size_t i = 0; i < 10; i++)
        cancelled_one(world);
    EXPECT_EQ(count_recent(world->engine), 5);
    for (size_t i = 0; i < 3; i++)
        EXPECT_EQ(state_of(world, ids[order[i]]), JOB_QUEUED);
    set_paused(world, 1);
    for (size_t i = 0; i < 3; i++)
        EXPECT_EQ(end_of(world, ids[order[i]]), JOB_SUCCEEDED);
    EXPECT_EQ(count_recent(world->engine), 5);
}

Test(engine_retry, a_retried_job_is_none_of_the_recent_ones)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.daemon.recent = 5;
    world_live(&world, leave_recent);
    base_free(base);
}

static void leave_retried(struct world *world)
{
    uint64_t old = cancelled_one(world);
    submit(world, "ok", ",\"queue\":\"paused\"");
    EXPECT_EQ(retry(world, old), JOB_QUEUED);
}

static void run_retried(struct world *world)
{
    EXPECT_EQ(world->recovery.queued, 2);
    EXPECT_EQ(end_of(world, 1), JOB_SUCCEEDED);
    EXPECT_EQ(trace[0], 2);
    EXPECT_EQ(trace[1], 1);
}

Test(engine_retry, a_restart_finds_it_queued_and_in_its_place)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, leave_retried);
    world_init(&world, base);
    world.queues[2].concurrency = 1;
    world_live(&world, run_retried);
    base_free(base);
}

/* ---- the commit ------------------------------------------------------------------------------ */

static int retry_on_fiber(void *arg)
{
    struct canceller *retrier = arg;
    retrier->state = JOB_NONE;
    struct rpc_error error = {0}, whole = {0};
    int rc =
        engine_retry(retrier->world->engine, &me, &retrier->id, 1, &retrier->state, &error, &whole);
    EXPECT(rc == 0 || (rc == -EIO && whole.code == RPC_STORE_FAILED));
    EXPECT_EQ(rc < 0 || error.code == RPC_CONFLICT, retrier->state == JOB_NONE);
    atomic_store(&retrier->returned, true);
    return 0;
}

static void acknowledge_after_commit(struct world *world)
{
    struct canceller retrier = {.world = world, .id = cancelled_one(world)};
    struct weft_group group;
    set_paused(world, 1);
    base_hold(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "retry", retry_on_fiber, &retrier), 0);
    await_held(world->base);
    yield_often();
    EXPECT(!atomic_load(&retrier.returned));
    EXPECT_EQ(state_of(world, retrier.id), JOB_CANCELLED); /* as the store says */
    EXPECT_EQ(atomic_load(&attempts_count[retrier.id]), 0);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(retrier.state, JOB_QUEUED);
    EXPECT_EQ(end_of(world, retrier.id), JOB_SUCCEEDED);
}

Test(engine_retry, it_is_shown_run_and_acknowledged_after_its_commit)
{
    in_a_world(1, acknowledge_after_commit);
}

static int cancel_on_fiber(void *arg)
{
    struct canceller *canceller = arg;
    canceller->state = cancel(canceller->world, canceller->id);
    atomic_store(&canceller->returned, true);
    return 0;
}

/* It comes while the retry is being committed, and must not be told the end before. */
static void cancel_the_retried(struct world *world)
{
    struct canceller retrier = {.world = world, .id = cancelled_one(world)};
    struct canceller canceller = retrier;
    struct weft_group group;
    base_hold(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "retry", retry_on_fiber, &retrier), 0);
    await_held(world->base);
    EXPECT_EQ(weft_group_spawn(&group, "cancel", cancel_on_fiber, &canceller), 0);
    yield_often();
    EXPECT(!atomic_load(&canceller.returned));
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(retrier.state, JOB_QUEUED);
    EXPECT_EQ(canceller.state, JOB_CANCELLED);
    EXPECT_EQ(base_state(world->base, retrier.id), JOB_CANCELLED);
    EXPECT_EQ(world->engine->live, 0);
}

Test(engine_retry, a_cancel_during_its_commit_cancels_it)
{
    in_a_world(1, cancel_the_retried);
}

static void retry_by_many(struct world *world)
{
    enum { RETRIERS = 20 };
    struct canceller retriers[RETRIERS];
    struct weft_group group;
    uint64_t id = cancelled_one(world);
    size_t won = 0;
    weft_group_init(&group);
    for (size_t i = 0; i < RETRIERS; i++) {
        retriers[i] = (struct canceller){.world = world, .id = id};
        EXPECT_EQ(weft_group_spawn(&group, "retry", retry_on_fiber, &retriers[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (size_t i = 0; i < RETRIERS; i++)
        won += retriers[i].state == JOB_QUEUED;
    EXPECT_EQ(won, 1);
    EXPECT_EQ(world->engine->live, 1);
}

Test(engine_retry, of_many_who_retry_one_job_one_wins)
{
    in_both_worlds(2, retry_by_many);
}

static void lose_the_store(struct world *world)
{
    struct canceller retrier = {.world = world, .id = cancelled_one(world)};
    atomic_store(&world->base->fail_in, 1);
    EXPECT_EQ(retry_on_fiber(&retrier), 0);
    EXPECT_EQ(retrier.state, JOB_NONE);
    EXPECT_EQ(base_state(world->base, retrier.id), JOB_CANCELLED);
    EXPECT_EQ(world->engine->live, 0);
    EXPECT_EQ(world->engine->stats.live[JOB_CANCELLED], 0);
}

Test(engine_retry, a_commit_that_fails_leaves_the_job_in_its_end)
{
    in_both_worlds(1, lose_the_store);
}

/* ---- who waits ------------------------------------------------------------------------------- */

static int wait_for_two(void *arg)
{
    struct canceller *waiter = arg;
    uint64_t ids[2] = {waiter->id, waiter->id + 1};
    struct engine_page page;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_wait(waiter->world->engine, &me, ids, 2, WEFT_NO_DEADLINE, &page, &error), 0);
    waiter->state = page.records[0]->state;
    EXPECT_EQ(page.records[0]->attempt, 1);
    EXPECT_EQ(page.records[1]->state, JOB_CANCELLED);
    engine_page_destroy(&page);
    atomic_store(&waiter->returned, true);
    return 0;
}

/* The first has ended and lives again when the second ends. */
static void wait_anew(struct world *world)
{
    struct canceller waiter = {.world = world};
    struct weft_group group;
    waiter.id = submit(world, "gate", ",\"queue\":\"paused\"");
    uint64_t second = submit(world, "hang", ",\"queue\":\"paused\"");
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "wait", wait_for_two, &waiter), 0);
    while (world->engine->waiters == NULL)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(cancel(world, waiter.id), JOB_CANCELLED);
    EXPECT_EQ(retry(world, waiter.id), JOB_QUEUED);
    EXPECT_EQ(cancel(world, second), JOB_CANCELLED);
    set_paused(world, 1);
    await_attempts(1);
    yield_often();
    EXPECT(!atomic_load(&waiter.returned));
    weft_event_set(&attempts_gate);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(waiter.state, JOB_SUCCEEDED);
    EXPECT(world->engine->waiters == NULL);
}

Test(engine_retry, who_waits_for_a_job_that_was_retried_waits_for_its_next_end)
{
    in_both_worlds(1, wait_anew);
}

/* ---- when nothing may come back -------------------------------------------------------------- */

static void retry_over_the_limit(struct world *world)
{
    uint64_t ids[2] = {cancelled_one(world), cancelled_one(world)};
    enum job_state states[2] = {0};
    struct rpc_error errors[2] = {0}, error = {0};
    EXPECT_EQ(engine_retry(world->engine, &me, ids, 2, states, errors, &error), 0);
    EXPECT_EQ(states[0], JOB_QUEUED);
    EXPECT_EQ(states[1], JOB_NONE);
    EXPECT_EQ(errors[1].code, RPC_BUSY);
    EXPECT_EQ(state_of(world, ids[1]), JOB_CANCELLED);
    EXPECT_EQ(cancel(world, ids[0]), JOB_CANCELLED);
    EXPECT_EQ(retry(world, ids[1]), JOB_QUEUED);
}

Test(engine_retry, max_jobs_counts_them)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.daemon.max_jobs = 1;
    world_live(&world, retry_over_the_limit);
    base_free(base);
}

static void retry_while_draining(struct world *world)
{
    enum job_state state = JOB_NONE;
    struct rpc_error error = {0}, whole = {0};
    uint64_t id = cancelled_one(world);
    engine_drain(world->engine);
    EXPECT_EQ(engine_retry(world->engine, &me, &id, 1, &state, &error, &whole), -ESHUTDOWN);
    EXPECT_EQ(whole.code, RPC_SHUTTING_DOWN);
    EXPECT_EQ(state_of(world, id), JOB_CANCELLED);
}

Test(engine_retry, a_daemon_that_stops_takes_nothing_back)
{
    in_both_worlds(1, retry_while_draining);
}

static void leave_cancelled(struct world *world)
{
    cancelled_one(world);
}

static void retry_without_its_queue(struct world *world)
{
    EXPECT_EQ(retry(world, 1), JOB_NONE);
    EXPECT_EQ(last_error.code, RPC_NO_SUCH_QUEUE);
    EXPECT(strstr(last_error.message, "\"paused\" of job 1 is not in the configuration") != NULL);
    EXPECT_EQ(state_of(world, 1), JOB_CANCELLED);
    world->queues[2].name = "paused";
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    EXPECT_EQ(retry(world, 1), JOB_QUEUED);
}

Test(engine_retry, a_job_whose_queue_left_the_configuration_waits_for_it_to_return)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, leave_cancelled);
    world_init(&world, base);
    world.queues[2].name = "renamed";
    world_live(&world, retry_without_its_queue);
    base_free(base);
}

/* Nobody who gave up asking leaves anything locked or half done. */
static void give_up_asking(struct world *world)
{
    struct weft_scope scope;
    enum job_state state = JOB_NONE;
    struct rpc_error error = {0}, whole = {0};
    uint64_t id = cancelled_one(world);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(engine_retry(world->engine, &me, &id, 1, &state, &error, &whole), -ECANCELED);
    (void)weft_scope_leave(&scope);
    EXPECT_EQ(retry(world, id), JOB_QUEUED);
}

Test(engine_retry, a_cancelled_request_leaves_nothing_behind)
{
    in_both_worlds(1, give_up_asking);
}
