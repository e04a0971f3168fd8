/* SPDX-License-Identifier: MIT */
/* How jobs end before their time: stop, crash, a failing store (cancel: engine_cancel_test.c).  And
 * that among all of this every edge of the state machine is taken. */
#include "engine_retry_support.h"

#include "support/test.h"

#include <inttypes.h>

/* ---- stop ------------------------------------------------------------------------------------ */

enum { SLEEPERS = 200, WAITING = TEST_COUNT(5000, 500), FINISHED = 50 };

static void fill_and_stop(struct world *world)
{
    for (size_t i = 0; i < FINISHED; i++)
        EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    for (size_t i = 0; i < SLEEPERS; i++)
        submit(world, "gate", ",\"queue\":\"wide\"");
    struct engine_item *items = calloc(WAITING, sizeof(*items));
    struct rpc_error *errors = calloc(WAITING, sizeof(*errors)), error = {0};
    for (size_t i = 0; i < WAITING; i++)
        items[i] = (struct engine_item){.spec = spec_of("ok", ",\"queue\":\"paused\""),
                                        .error = &errors[i]};
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, WAITING, true, NULL, &error), 0);
    free(items);
    free(errors);
    await_attempts(FINISHED + SLEEPERS);
    EXPECT_EQ(engine_stop(world->engine, weft_deadline_after(WEFT_MILLISECOND)), 0);
    uint64_t id;
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &id, &error), -ESHUTDOWN);
    EXPECT_EQ(error.code, RPC_SHUTTING_DOWN);
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.interrupted, SLEEPERS);
    EXPECT_EQ(stats.live[JOB_RUNNING], 0);
    EXPECT_EQ(stats.live[JOB_QUEUED], SLEEPERS + WAITING);
}

static void run_what_was_left(struct world *world)
{
    EXPECT_EQ(world->recovery.queued, SLEEPERS + WAITING);
    EXPECT_EQ(world->recovery.requeued, 0);
    weft_event_set(&attempts_gate);
    for (uint64_t id = FINISHED + 1; id <= FINISHED + SLEEPERS + WAITING; id++) {
        struct job_record *record = ended(world, id);
        EXPECT_EQ(record->state, JOB_SUCCEEDED);
        EXPECT_EQ(record->attempt, 1); /* the interrupted one was given back */
        EXPECT_EQ(record->crashes, 0);
        job_record_free(record);
    }
    for (uint64_t id = 1; id <= FINISHED; id++)
        EXPECT_EQ(atomic_load(&attempts_count[id]), 1);
}

Test(engine_life, stop_gives_running_jobs_back_and_a_restart_runs_them)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, fill_and_stop);
    EXPECT_EQ(atomic_load(&world.run_rc), 0);
    for (uint64_t id = 1; id <= FINISHED + SLEEPERS; id++)
        EXPECT_EQ(base->rows[id]->attempt, id <= FINISHED ? 1 : 0);
    world_init(&world, base);
    world.queues[2].concurrency = 1000;
    world_live(&world, run_what_was_left);
    base_free(base);
}

struct stopper {
    struct world *world;
    uint64_t deadline_ns;
    atomic_bool stopped;
};

static int stop_on_fiber(void *arg)
{
    struct stopper *stopper = arg;
    EXPECT_EQ(engine_stop(stopper->world->engine, stopper->deadline_ns), 0);
    atomic_store(&stopper->stopped, true);
    return 0;
}

static void drain_to_the_end(struct world *world)
{
    struct stopper stopper = {.world = world, .deadline_ns = WEFT_NO_DEADLINE};
    struct weft_group group;
    uint64_t running = submit(world, "gate", "");
    uint64_t cancelled = submit(world, "hang", "");
    uint64_t retried = submit(world, "gate-fail", ",\"retries\":1");
    await_attempts(3);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "stop", stop_on_fiber, &stopper), 0);
    yield_often();
    EXPECT(!atomic_load(&stopper.stopped));
    EXPECT_EQ(cancel(world, cancelled), JOB_CANCELLED); /* works while draining */
    weft_event_set(&attempts_gate);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(state_of(world, running), JOB_SUCCEEDED);
    EXPECT_EQ(state_of(world, retried), JOB_DELAYED);
    EXPECT_EQ(base_state(world->base, retried), JOB_DELAYED);
}

Test(engine_life, stop_lets_running_jobs_end_within_the_drain)
{
    in_a_world(1, drain_to_the_end);
}

static int wait_on_fiber(void *arg)
{
    struct canceller *waiter = arg;
    struct engine_page page;
    struct rpc_error error = {0};
    int rc =
        engine_wait(waiter->world->engine, &me, &waiter->id, 1, WEFT_NO_DEADLINE, &page, &error);
    EXPECT_EQ(rc, -ESHUTDOWN);
    EXPECT_EQ(error.code, RPC_SHUTTING_DOWN);
    return 0;
}

static void hurry_the_stop(struct world *world)
{
    struct stopper stopper = {.world = world, .deadline_ns = WEFT_NO_DEADLINE};
    struct canceller waiter = {.world = world};
    struct weft_group group;
    waiter.id = submit(world, "hang", "");
    await_attempts(1);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "wait", wait_on_fiber, &waiter), 0);
    EXPECT_EQ(weft_group_spawn(&group, "stop", stop_on_fiber, &stopper), 0);
    yield_often();
    EXPECT(!atomic_load(&stopper.stopped));
    engine_hurry(world->engine);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(base_state(world->base, waiter.id), JOB_QUEUED);
}

Test(engine_life, hurry_ends_the_drain_and_waiters_hear_of_the_stop)
{
    in_a_world(1, hurry_the_stop);
}

/* Stopped while a start, an end and a submit are being committed. */
static int submit_late(void *arg)
{
    struct canceller *submitter = arg;
    submitter->id = submit(submitter->world, "ok", "");
    return 0;
}

static void stop_during_commits(struct world *world)
{
    struct stopper stopper = {.world = world};
    struct canceller submitter = {.world = world};
    struct weft_group group;
    uint64_t ending = submit(world, "gate", "");
    uint64_t starting = submit_spec(world, call_of(",\"queue\":\"paused\""));
    await_attempts(1);
    base_hold(world->base);
    weft_event_set(&attempts_gate);
    world->queues[2].concurrency = 1;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    await_held(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "submit", submit_late, &submitter), 0);
    EXPECT_EQ(weft_group_spawn(&group, "stop", stop_on_fiber, &stopper), 0);
    yield_often();
    EXPECT(!atomic_load(&stopper.stopped));
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(base_state(world->base, ending), JOB_SUCCEEDED);
    EXPECT_EQ(base_state(world->base, starting), JOB_QUEUED);
    EXPECT_EQ(base_state(world->base, submitter.id), JOB_QUEUED);
    EXPECT_EQ(atomic_load(&attempts_count[starting]), 0);
}

Test(engine_life, stop_waits_for_the_commits_under_way)
{
    in_a_world(1, stop_during_commits);
}

/* ---- crash ------------------------------------------------------------------------------------
 * A crash is a store that fails: nothing that happens afterwards reaches the database.
 */

static bool all_are_running(struct base *base)
{
    bool all = true;
    pthread_mutex_lock(&base->lock);
    for (uint64_t id = 1; id < base->next_id; id++) {
        const struct job_record *row = base->rows[id];
        all &= job_state_is_end(row->state) ||
               (row->state == JOB_RUNNING && row->attempt == atomic_load(&attempts_last[id]));
    }
    pthread_mutex_unlock(&base->lock);
    return all;
}

/* Once each job that has not ended runs, and the database knows it. */
static void crash_while_running(struct world *world)
{
    while (!all_are_running(world->base))
        EXPECT_EQ(weft_yield(), 0);
    atomic_store(&world->base->fail_in, 1);
    uint64_t id;
    struct rpc_error error = {0};
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &id, &error), -EIO);
    EXPECT_EQ(error.code, RPC_STORE_FAILED);
    EXPECT(strstr(error.message, "the disk is on fire") != NULL);
}

static void submit_and_crash(struct world *world)
{
    submit(world, "hang", "");
    submit(world, "hang", ",\"on_crash\":\"fail\"");
    await_attempts(2);
    crash_while_running(world);
}

static void see_recovery(struct world *world)
{
    EXPECT_EQ(world->recovery.requeued, 1);
    EXPECT_EQ(world->recovery.failed, 1);
    EXPECT_EQ(world->recovery.killed, 2);
    struct job_record *record = ended(world, 2);
    EXPECT_EQ(record->state, JOB_FAILED);
    EXPECT_EQ(strcmp(record->error, "weftd died during attempt 1"), 0);
    job_record_free(record);
    crash_while_running(world);
}

static void see_death(struct world *world)
{
    EXPECT_EQ(world->recovery.dead, 1);
    struct job_record *record = ended(world, 1);
    EXPECT_EQ(record->state, JOB_DEAD);
    EXPECT_EQ(record->crashes, 4);
    EXPECT_EQ(record->attempt, 4);
    job_record_free(record);
    EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
}

/* crash_limit is 3: it is run again three times. */
Test(engine_life, a_crash_requeues_fails_or_buries_the_job)
{
    struct world world;
    struct base *base = base_new();
    void (*const lives[])(struct world *) = {submit_and_crash, see_recovery, crash_while_running,
                                             crash_while_running, see_death};
    for (size_t i = 0; i < 5; i++) {
        world_init(&world, base);
        world_live(&world, lives[i]);
        EXPECT_EQ(atomic_load(&world.run_rc), i < 4 ? -EIO : 0);
    }
    EXPECT_EQ(atomic_load(&attempts_count[1]), 4);
    EXPECT_EQ(atomic_load(&attempts_count[2]), 1);
    base_free(base);
}

static void fail_while_busy(struct world *world)
{
    enum { COUNT = 100 };
    struct canceller waiter = {.world = world};
    struct engine_page page;
    struct rpc_error error = {0};
    for (size_t i = 0; i < COUNT; i++)
        waiter.id = submit(world, "gate", ",\"queue\":\"wide\"");
    await_attempts(COUNT);
    atomic_store(&world->base->fail_in, 1);
    weft_event_set(&attempts_gate);
    int rc = engine_wait(world->engine, &me, &waiter.id, 1, WEFT_NO_DEADLINE, &page, &error);
    EXPECT_EQ(rc, -EIO);
    EXPECT_EQ(error.code, RPC_STORE_FAILED);
    struct problem problem = {0};
    EXPECT(engine_has_failed(world->engine, &problem));
    EXPECT_EQ(strcmp(problem.text, "the disk is on fire"), 0);
    enum job_state state = JOB_NONE;
    EXPECT_EQ(engine_cancel(world->engine, &me, &waiter.id, 1, &state, &error), -EIO);
    EXPECT(base_state(world->base, waiter.id) != JOB_SUCCEEDED);
}

Test(engine_life, a_failed_store_ends_everything_and_acknowledges_nothing)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, fail_while_busy);
    EXPECT_EQ(atomic_load(&world.run_rc), -EIO);
    base_free(base);
}

static void do_nothing(struct world *world)
{
    (void)world;
}

static int adopt(struct engine *engine, uint64_t id, enum job_state state, uint32_t attempt)
{
    struct job_record record = {
        .id = id,
        .state = state,
        .attempt = attempt,
        .queue = "default",
        .spec = "{\"argv\":[\"ok\"]}",
        .exit_code = JOB_NO_EXIT,
        .term_signal = JOB_NO_EXIT,
    };
    return engine_adopt(engine, &record);
}

Test(engine_life, recovery_refuses_records_that_cannot_be)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_make(&world);
    EXPECT_EQ(adopt(world.engine, 5, JOB_QUEUED, 0), 0);
    EXPECT_EQ(adopt(world.engine, 5, JOB_QUEUED, 0), -EBADMSG);
    EXPECT_EQ(adopt(world.engine, 4, JOB_QUEUED, 0), -EBADMSG);
    EXPECT_EQ(adopt(world.engine, 6, JOB_SUCCEEDED, 1), -EBADMSG);
    EXPECT_EQ(adopt(world.engine, 6, JOB_RUNNING, 0), -EBADMSG);
    EXPECT_EQ(adopt(world.engine, 6, (enum job_state)77, 0), -EBADMSG);
    EXPECT_EQ(adopt(world.engine, 6, JOB_RUNNING, 1), 0);
    store_free(world.store);
    engine_free(world.engine);
    base_free(base);
}

static void leave_in_orphan_queue(struct world *world)
{
    for (size_t i = 0; i < 20; i++)
        submit(world, "ok", ",\"queue\":\"paused\"");
}

static void run_orphans(struct world *world)
{
    for (uint64_t id = 1; id <= 20; id++)
        EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    EXPECT_EQ(atomic_load(&attempts_most), 1);
    uint64_t id;
    struct rpc_error error = {0};
    struct job_spec *spec = spec_of("ok", ",\"queue\":\"paused\"");
    EXPECT_EQ(submit_for(world->engine, &me, spec, NULL, &id, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_QUEUE);
}

Test(engine_life, jobs_of_a_queue_that_left_the_configuration_still_run)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, leave_in_orphan_queue);
    world_init(&world, base);
    world.queues[2].name = "renamed";
    world_live(&world, run_orphans);
    base_free(base);
}

/* ---- shortage -------------------------------------------------------------------------------- */

static int shortage_main(void *arg)
{
    enum { COUNT = 12 };
    struct world *world = arg;
    uint64_t ids[COUNT];
    world->body = do_nothing;
    struct problem problem = {0};
    EXPECT_EQ(engine_recover(world->engine, &problem, &world->recovery), 0);
    weft_group_init(&world->group);
    EXPECT_EQ(weft_group_spawn(&world->group, "engine", world_engine, world), 0);
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = submit(world, "gate", ",\"queue\":\"wide\"");
    await_attempts(3);
    weft_event_set(&attempts_gate);
    for (size_t i = 0; i < COUNT; i++)
        EXPECT_EQ(end_of(world, ids[i]), JOB_SUCCEEDED);
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
    world_end(world);
    return 0;
}

static int block(void *arg)
{
    (void)arg;
    return weft_event_wait(&attempts_gate, WEFT_NO_DEADLINE);
}

static int rated_shortage_main(void *arg)
{
    struct world *world = arg;
    struct engine_stats stats = {0};
    struct problem problem = {0};
    world->body = do_nothing;
    EXPECT_EQ(engine_recover(world->engine, &problem, &world->recovery), 0);
    weft_group_init(&world->group);
    EXPECT_EQ(weft_group_spawn(&world->group, "blocker", block, NULL), 0);
    EXPECT_EQ(weft_group_spawn(&world->group, "engine", world_engine, world), 0);
    uint64_t id = submit(world, "ok", ",\"queue\":\"wide\"");
    while (stats.interrupted == 0) {
        EXPECT_EQ(weft_yield(), 0);
        engine_stats(world->engine, &stats);
    }
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
    world_end(world);
    return 0;
}

/* In a runtime of so many fibers, with one worker: a stack in another's cache counts, and cannot be
 * had. */
static void in_fibers(unsigned max_fibers, int (*body)(void *), uint64_t per_ns)
{
    struct world world;
    struct base *base = base_new();
    struct weft_options options;
    weft_options_init(&options);
    options.workers = 1;
    options.max_fibers = max_fibers;
    options.handle_signals = false;
    world_init(&world, base);
    for (size_t i = 0; per_ns && i < world.config.queues_count; i++)
        world.queues[i].rate = (struct units_rate){1, per_ns};
    attempts_reset();
    world_make(&world);
    EXPECT_EQ(weft_run(&options, body, &world), 0);
    store_free(world.store);
    engine_free(world.engine);
    base_free(base);
}

/* Eight fibers in all: main, engine, those that tell of progress and look for what has expired, and
 * four runs; 12 jobs want to run. */
Test(engine_life, jobs_wait_for_a_fiber_when_there_is_none)
{
    in_fibers(8, shortage_main, 0);
}

/* Five: a sixth would be the run. */
Test(engine_life, a_start_that_found_no_fiber_has_not_spent_the_token_of_its_rate)
{
    in_fibers(5, rated_shortage_main, 3600 * WEFT_SECOND);
}

/* ---- every edge ------------------------------------------------------------------------------ */

/* dependency: it is running, and is cancelled here. */
static void take_edges_of_waiting(struct world *world, uint64_t dependency)
{
    char all_ok[64], any_end[64], later[96];
    snprintf(all_ok, sizeof(all_ok), ",\"after\":[%" PRIu64 "]", dependency);
    snprintf(any_end, sizeof(any_end), ",\"after\":{\"ids\":[%" PRIu64 "],\"when\":\"end\"}",
             dependency);
    snprintf(later, sizeof(later), "%s,\"delay\":\"1h\"", any_end);
    uint64_t cancelled = submit(world, "ok", all_ok), doomed = submit(world, "ok", all_ok);
    uint64_t released = submit(world, "ok", any_end), delayed = submit(world, "ok", later);
    EXPECT_EQ(cancel(world, cancelled), JOB_CANCELLED);
    EXPECT_EQ(state_of(world, doomed), JOB_WAITING);
    cancel(world, dependency);
    EXPECT_EQ(end_of(world, doomed), JOB_CANCELLED);
    EXPECT_EQ(end_of(world, released), JOB_SUCCEEDED);
    EXPECT_EQ(state_of(world, delayed), JOB_DELAYED);
    cancel(world, delayed);
}

/* Until one has expired in its attempt, or in the backoff after it, however slow it is here. */
static void expire_begun(struct world *world, const char *name, const char *error)
{
    bool begun = false;
    for (unsigned ms = 4; !begun; ms *= 2) {
        char more[64];
        snprintf(more, sizeof(more), ",\"timeout_total\":\"%ums\",\"retries\":1", ms);
        struct job_record *record = ended(world, submit(world, name, more));
        EXPECT_EQ(record->state, JOB_TIMED_OUT);
        begun = record->attempt == 1 && record->error && strstr(record->error, error);
        job_record_free(record);
    }
}

/* Queued, running, waiting for another, and delayed by a backoff. */
static void take_edges_of_expiry(struct world *world)
{
    uint64_t queued = submit(world, "ok", ",\"timeout_total\":\"1ms\",\"queue\":\"paused\"");
    uint64_t hangs = submit(world, "hang", "");
    char waits[64];
    snprintf(waits, sizeof(waits), ",\"timeout_total\":\"1ns\",\"after\":[%" PRIu64 "]", hangs);
    EXPECT_EQ(end_of(world, submit(world, "ok", waits)), JOB_TIMED_OUT);
    EXPECT_EQ(end_of(world, queued), JOB_TIMED_OUT);
    EXPECT_EQ(cancel(world, hangs), JOB_CANCELLED);
    expire_begun(world, "hang", "is over");
    world->config.jobs.retry_base = world->config.jobs.retry_cap = 3600 * WEFT_SECOND;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    expire_begun(world, "fail", "; attempt 1: exit");
    world->config.jobs.retry_base = world->config.jobs.retry_cap = WEFT_MILLISECOND;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
}

static void take_most_edges(struct world *world)
{
    submit(world, "ok", ",\"delay\":\"1ms\"");
    submit(world, "fail", "");
    submit(world, "fail", ",\"retries\":1");
    submit(world, "hang", ",\"timeout\":\"1ms\"");
    submit(world, "hang", ",\"timeout\":\"1ms\",\"retries\":1");
    for (uint64_t id = 1; id <= 5; id++)
        EXPECT(job_state_is_end(end_of(world, id)));
    cancel(world, submit(world, "ok", ",\"queue\":\"paused\""));
    cancel(world, submit(world, "ok", ",\"delay\":\"1h\""));
    take_edges_of_expiry(world);
    for (uint64_t id = 2; id <= 5; id++) { /* failed, dead, timed out, dead */
        EXPECT_EQ(retry(world, id), JOB_QUEUED);
        EXPECT(job_state_is_end(end_of(world, id)));
    }
    EXPECT_EQ(retry(world, 7), JOB_QUEUED);
    EXPECT_EQ(end_of(world, 7), JOB_SUCCEEDED);
    uint64_t running = submit(world, "hang", "");
    await_state(world, running, JOB_RUNNING);
    take_edges_of_waiting(world, running);
    cancel(world, running);
    uint64_t interrupted = submit(world, "hang", "");
    await_state(world, interrupted, JOB_RUNNING);
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
}

static void take_crash(struct world *world)
{
    static bool once;
    if (!once)
        submit(world, "hang", ",\"on_crash\":\"fail\"");
    once = true;
    crash_while_running(world);
}

Test(engine_life, every_edge_of_the_state_machine_is_taken)
{
    struct world world;
    struct base *base = base_new();
    void (*const lives[])(struct world *) = {take_most_edges, take_crash, take_crash,
                                             take_crash,      take_crash, do_nothing};
    for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        world_init(&world, base);
        world_live(&world, lives[i]);
    }
    for (size_t i = 0; i < job_edge_count; i++)
        cr_assert(job_edge_taken(i) > 0, "no test takes %s -> %s by %s",
                  job_state_name(job_edges[i].from), job_state_name(job_edges[i].to),
                  job_cause_name(job_edges[i].cause));
    base_free(base);
}
