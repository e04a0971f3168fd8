/* SPDX-License-Identifier: MIT */
/* The engine's promises to clients: submit, wait, get, order, retries, limits. */
#include "engine_support.h"

#include "support/test.h"

#include <inttypes.h>

/* ---- submit ---------------------------------------------------------------------------------- */

struct submitter {
    struct world *world;
    atomic_bool acknowledged;
    uint64_t id;
};

static int submit_on_fiber(void *arg)
{
    struct submitter *submitter = arg;
    submitter->id = submit(submitter->world, "ok", "");
    atomic_store(&submitter->acknowledged, true);
    return 0;
}

static void acknowledge_after_commit(struct world *world)
{
    struct submitter submitter = {.world = world};
    struct weft_group group;
    base_hold(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "submit", submit_on_fiber, &submitter), 0);
    await_held(world->base);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT(!atomic_load(&submitter.acknowledged));
    EXPECT_EQ(base_state(world->base, 1), JOB_NONE);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(end_of(world, submitter.id), JOB_SUCCEEDED);
}

Test(engine, acknowledges_a_submit_after_its_commit)
{
    in_a_world(2, acknowledge_after_commit);
}

static void refuse_unknown_queue(struct world *world)
{
    uint64_t id = 77;
    struct rpc_error error = {0};
    struct job_spec *spec = spec_of("ok", ",\"queue\":\"defualt\"");
    EXPECT_EQ(submit_for(world->engine, &me, spec, NULL, &id, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_QUEUE);
    EXPECT_EQ(strcmp(error.nearest, "default"), 0);
    EXPECT_EQ(id, 77);
}

Test(engine, names_the_queue_that_was_meant)
{
    in_a_world(1, refuse_unknown_queue);
}

static void submit_mixed(struct world *world)
{
    struct rpc_error errors[4] = {0}, error = {0};
    struct engine_item items[4] = {
        {.spec = spec_of("ok", ""), .error = &errors[0]},
        {.spec = NULL, .error = &errors[1]},
        {.spec = spec_of("ok", ",\"queue\":\"nowhere\""), .error = &errors[2]},
        {.spec = call_of(",\"args\":{\"a\":1}"), .error = &errors[3]},
    };
    rpc_error_set(&errors[1], RPC_INVALID_PARAMS, "the caller's");
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, 4, false, NULL, &error), 0);
    EXPECT(items[0].id > 0 && items[1].id == 0 && items[2].id == 0 && items[3].id > items[0].id);
    EXPECT_EQ(errors[1].code, RPC_INVALID_PARAMS);
    EXPECT_EQ(errors[2].code, RPC_NO_SUCH_QUEUE);
    EXPECT_EQ(errors[0].code, RPC_OK);
    struct job_record *record = ended(world, items[3].id);
    EXPECT_EQ(record->state, JOB_SUCCEEDED);
    EXPECT_EQ(strcmp(record->result, "{\"a\":1}"), 0);
    job_record_free(record);
}

Test(engine, submit_many_answers_for_each_item)
{
    in_a_world(2, submit_mixed);
}

static void submit_atomic(struct world *world)
{
    struct rpc_error errors[2] = {0}, error = {0};
    struct engine_item items[2] = {
        {.spec = spec_of("ok", ""), .error = &errors[0]},
        {.spec = spec_of("ok", ",\"queue\":\"nowhere\""), .error = &errors[1]},
    };
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, 2, true, NULL, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_QUEUE);
    EXPECT(strstr(error.message, "jobs[1]") != NULL);
    EXPECT_EQ(errors[0].code, RPC_OK);
    EXPECT_EQ(items[0].id, 0);
    EXPECT_EQ(atomic_load(&world->base->commits), 0);
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.submitted, 0);
    EXPECT_EQ(world->engine->live, 0);
}

Test(engine, submit_many_atomic_accepts_all_or_nothing)
{
    in_a_world(2, submit_atomic);
}

static void submit_thousands(struct world *world)
{
    enum { COUNT = TEST_COUNT(10000, 2000) };
    struct engine_item *items = calloc(COUNT, sizeof(*items));
    struct rpc_error *errors = calloc(COUNT, sizeof(*errors)), error = {0};
    uint64_t *ids = calloc(COUNT, sizeof(*ids));
    for (size_t i = 0; i < COUNT; i++)
        items[i] =
            (struct engine_item){.spec = call_of(",\"queue\":\"wide\""), .error = &errors[i]};
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, COUNT, false, NULL, &error), 0);
    EXPECT_EQ(atomic_load(&world->base->commits) >= 1, true);
    for (size_t i = 0; i < COUNT; i++) {
        ids[i] = items[i].id;
        EXPECT_EQ(ids[i], i + 1);
    }
    struct engine_page page;
    EXPECT_EQ(engine_wait(world->engine, &me, ids, COUNT, WEFT_NO_DEADLINE, &page, &error), 0);
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT_EQ(page.records[i]->id, ids[i]);
        EXPECT_EQ(page.records[i]->state, JOB_SUCCEEDED);
        EXPECT_EQ(atomic_load(&attempts_count[ids[i]]), 1);
    }
    engine_page_destroy(&page);
    free(items);
    free(errors);
    free(ids);
}

/* More than daemon.recent: some results come from memory, the rest from the store. */
Test(engine, runs_thousands_of_calls_and_returns_each_result)
{
    in_a_world(2, submit_thousands);
}

static void refuse_too_many(struct world *world)
{
    uint64_t id;
    struct rpc_error error = {0};
    submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t second = submit(world, "ok", ",\"queue\":\"paused\"");
    struct job_spec *spec = spec_of("ok", "");
    EXPECT_EQ(submit_for(world->engine, &me, spec, NULL, &id, &error), -EAGAIN);
    EXPECT_EQ(error.code, RPC_BUSY);
    EXPECT_EQ(cancel(world, second), JOB_CANCELLED);
    EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
}

Test(engine, refuses_more_than_max_jobs_until_some_have_ended)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.daemon.max_jobs = 2;
    world_live(&world, refuse_too_many);
    base_free(base);
}

static void refuse_on_a_full_disk(struct world *world)
{
    uint64_t id;
    struct rpc_error error = {0};
    atomic_store(&world->base->no_room, true);
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &id, &error), -ENOSPC);
    EXPECT_EQ(error.code, RPC_STORE_FAILED);
    EXPECT(!engine_has_failed(world->engine, NULL));
    EXPECT_EQ(world->engine->live, 0);
    atomic_store(&world->base->no_room, false);
    EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
}

Test(engine, refuses_submits_on_a_full_disk_and_goes_on)
{
    in_a_world(2, refuse_on_a_full_disk);
}

/* ---- order and slots ------------------------------------------------------------------------- */

static void unpause(struct world *world, uint32_t concurrency)
{
    world->queues[2].concurrency = concurrency;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
}

static void run_by_priority(struct world *world)
{
    uint64_t low = submit(world, "ok", ",\"queue\":\"paused\",\"priority\":-5");
    uint64_t first = submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t second = submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t high = submit(world, "ok", ",\"queue\":\"paused\",\"priority\":7");
    unpause(world, 1);
    EXPECT_EQ(end_of(world, low), JOB_SUCCEEDED);
    const uint64_t order[] = {high, first, second, low};
    for (size_t i = 0; i < 4; i++)
        EXPECT_EQ(trace[i], order[i]);
}

Test(engine, starts_jobs_by_priority_then_age)
{
    in_a_world(2, run_by_priority);
}

static void respect_concurrency(struct world *world)
{
    enum { COUNT = 300 };
    uint64_t ids[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = submit(world, "ok", ",\"queue\":\"paused\"");
    unpause(world, 3);
    for (size_t i = 0; i < COUNT; i++)
        EXPECT_EQ(end_of(world, ids[i]), JOB_SUCCEEDED);
    EXPECT(atomic_load(&attempts_most) <= 3);
}

Test(engine, never_runs_more_than_a_queue_allows)
{
    in_a_world(2, respect_concurrency);
}

static void give_slot_back_before_commit(struct world *world)
{
    uint64_t first = submit(world, "gate", ",\"queue\":\"one\"");
    uint64_t second = submit(world, "ok", ",\"queue\":\"one\"");
    await_attempts(1);
    await_state(world, first, JOB_RUNNING);
    base_hold(world->base);
    weft_event_set(&attempts_gate);
    await_attempts(2); /* the second began while the first's end is not committed */
    EXPECT_EQ(state_of(world, first), JOB_RUNNING);
    base_release(world->base);
    EXPECT_EQ(end_of(world, first), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
}

Test(engine, gives_the_slot_back_before_the_end_is_committed_and_shows_it_after)
{
    in_a_world(2, give_slot_back_before_commit);
}

static int submit_call_on_fiber(void *arg)
{
    struct submitter *submitter = arg;
    submitter->id = submit_spec(submitter->world, call_of(",\"queue\":\"paused\""));
    return 0;
}

static void start_calls_after_commit(struct world *world)
{
    struct submitter submitter = {.world = world};
    EXPECT_EQ(submit_call_on_fiber(&submitter), 0);
    base_hold(world->base);
    unpause(world, 1);
    await_held(world->base); /* the attempt's commit */
    EXPECT_EQ(atomic_load(&trace_count), 0);
    EXPECT_EQ(base_state(world->base, submitter.id), JOB_QUEUED);
    base_release(world->base);
    EXPECT_EQ(end_of(world, submitter.id), JOB_SUCCEEDED);
}

Test(engine, commits_an_attempt_before_a_native_handler_runs)
{
    in_a_world(2, start_calls_after_commit);
}

static void start_programs_before_commit(struct world *world)
{
    uint64_t id = submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t careful = submit(world, "ok", ",\"queue\":\"paused\",\"on_crash\":\"fail\"");
    base_hold(world->base);
    unpause(world, 2);
    await_attempts(1);
    await_held(world->base);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(atomic_load(&trace_count), 1);
    EXPECT_EQ(trace[0], id);
    base_release(world->base);
    EXPECT_EQ(end_of(world, careful), JOB_SUCCEEDED);
}

Test(engine, starts_a_program_before_the_commit_unless_on_crash_is_fail)
{
    in_a_world(2, start_programs_before_commit);
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void expect_record(struct world *world, uint64_t id, enum job_state state, uint32_t attempt,
                          int32_t exit_code, const char *error)
{
    struct job_record *record = ended(world, id);
    EXPECT_EQ(record->state, state);
    EXPECT_EQ(record->attempt, attempt);
    EXPECT_EQ(record->exit_code, exit_code);
    EXPECT_EQ(record->error != NULL, error != NULL);
    EXPECT(!error || strcmp(record->error, error) == 0);
    EXPECT(record->finished_at >= record->started_at);
    EXPECT(record->started_at >= record->submitted_at);
    EXPECT_EQ(base_state(world->base, id), state);
    job_record_free(record);
}

static void reach_outcomes(struct world *world)
{
    expect_record(world, submit(world, "ok", ""), JOB_SUCCEEDED, 1, 0, NULL);
    expect_record(world, submit(world, "fail", ""), JOB_FAILED, 1, 3, "exit status 3");
    expect_record(world, submit(world, "missing", ""), JOB_FAILED, 1, JOB_NO_EXIT,
                  "program not found: missing");
    expect_record(world, submit(world, "fail", ",\"retries\":2"), JOB_DEAD, 3, 3, "exit status 3");
    expect_record(world, submit(world, "flaky", ",\"retries\":2"), JOB_SUCCEEDED, 3, 0, NULL);
    expect_record(world, submit(world, "hang", ",\"timeout\":\"2ms\""), JOB_TIMED_OUT, 1,
                  JOB_NO_EXIT, "timed out");
    expect_record(world, submit(world, "hang", ",\"timeout\":\"2ms\",\"retries\":1"), JOB_DEAD, 2,
                  JOB_NO_EXIT, "timed out");
    expect_record(world, submit(world, "ok", ",\"delay\":\"3ms\""), JOB_SUCCEEDED, 1, 0, NULL);
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.ended[JOB_SUCCEEDED], 3);
    EXPECT_EQ(stats.ended[JOB_DEAD], 2);
    EXPECT_EQ(stats.retried, 5);
    EXPECT_EQ(stats.started, 13);
    EXPECT_EQ(stats.live[JOB_RUNNING] + stats.live[JOB_QUEUED] + stats.live[JOB_DELAYED], 0);
}

Test(engine, reaches_every_outcome_of_an_attempt)
{
    in_a_world(2, reach_outcomes);
}

static void start_at_a_time(struct world *world)
{
    char options[80];
    struct job_record *record;
    struct rpc_error error;
    int64_t at = job_wall_now() + 3600 * (int64_t)WEFT_SECOND;
    snprintf(options, sizeof(options), ",\"start_at\":%" PRId64 ".25", at / (int64_t)WEFT_SECOND);
    uint64_t later = submit(world, "ok", options);
    EXPECT_EQ(engine_get(world->engine, &me, later, &record, &error), 0);
    EXPECT_EQ(record->state, JOB_DELAYED);
    EXPECT_EQ(record->due_at, at / (int64_t)WEFT_SECOND * (int64_t)WEFT_SECOND + 250000000);
    job_record_free(record);
    expect_record(world, submit(world, "ok", ",\"start_at\":\"2001-09-09T01:46:40Z\""),
                  JOB_SUCCEEDED, 1, 0, NULL);
    EXPECT_EQ(cancel(world, later), JOB_CANCELLED);
}

Test(engine, a_job_is_delayed_until_its_start_and_one_that_is_past_is_now)
{
    in_a_world(2, start_at_a_time);
}

static void use_the_queues_timeout(struct world *world)
{
    world->queues[0].timeout = 2 * WEFT_MILLISECOND;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    EXPECT_EQ(end_of(world, submit(world, "hang", "")), JOB_TIMED_OUT);
}

Test(engine, uses_the_timeout_of_the_queue_where_the_job_names_none)
{
    in_a_world(2, use_the_queues_timeout);
}

static void expect_spec(struct world *world, uint64_t id, const char *text, int32_t priority)
{
    struct job_record *record;
    struct rpc_error error;
    EXPECT_EQ(engine_get(world->engine, &me, id, &record, &error), 0);
    if (strcmp(record->spec, text) != 0)
        fprintf(stderr, "%s is not %s\n", record->spec, text);
    EXPECT(strcmp(record->spec, text) == 0);
    EXPECT_EQ(record->priority, priority);
    EXPECT_EQ(record->expires_at != 0, strstr(text, "timeout_total") != NULL);
    job_record_free(record);
}

static void use_the_queues_defaults(struct world *world)
{
    const char *all = ",\"priority\":0,\"retries\":0,\"timeout_total\":0,\"on_crash\":\"requeue\"";
    char more[200];
    EXPECT(!atomic_load(&world->engine->defaults));
    world->queues[2].priority = -7;
    world->queues[2].retries = 3;
    world->queues[2].crash_fails = true;
    world->queues[2].timeout = 60 * WEFT_SECOND;
    world->queues[2].timeout_total = 3600 * WEFT_SECOND;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    uint64_t given = submit(world, "ok", ",\"queue\":\"paused\"");
    const char *kept = "{\"argv\":[\"ok\"],\"queue\":\"paused\",\"priority\":-7,\"retries\":3,"
                       "\"timeout\":\"1m\",\"timeout_total\":\"1h\",\"on_crash\":\"fail\"}";
    expect_spec(world, given, kept, -7);
    snprintf(more, sizeof(more), ",\"queue\":\"paused\",\"timeout\":\"2s\"%s", all);
    expect_spec(world, submit(world, "ok", more),
                "{\"argv\":[\"ok\"],\"queue\":\"paused\",\"timeout\":\"2s\"}", 0);
    expect_spec(world, submit(world, "hang", ""), "{\"argv\":[\"hang\"]}", 0);
    world->queues[2].priority = 5;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    expect_spec(world, given, kept, -7); /* what was given stays */
    world->queues[0].retries = 2;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    EXPECT_EQ(end_of(world, submit(world, "flaky", "")), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, submit(world, "fail", ",\"retries\":0")), JOB_FAILED);
}

Test(engine, a_job_gets_from_its_queue_what_it_does_not_name)
{
    in_a_world(2, use_the_queues_defaults);
}

/* ---- wait and get ---------------------------------------------------------------------------- */

static void wait_times_out(struct world *world)
{
    uint64_t ids[3] = {submit(world, "gate", ""), submit(world, "ok", ""), 0};
    struct engine_page page;
    struct rpc_error error = {0};
    ids[2] = ids[1];
    uint64_t soon = weft_deadline_after(WEFT_MILLISECOND);
    EXPECT_EQ(engine_wait(world->engine, &me, ids, 3, soon, &page, &error), -ETIMEDOUT);
    EXPECT_EQ(error.code, RPC_TIMEOUT);
    EXPECT(world->engine->waiters == NULL);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(engine_wait(world->engine, &me, ids, 3, WEFT_NO_DEADLINE, &page, &error), 0);
    for (size_t i = 0; i < 3; i++)
        EXPECT_EQ(page.records[i]->id, ids[i]);
    engine_page_destroy(&page);
}

Test(engine, wait_takes_duplicates_and_gives_up_at_its_deadline)
{
    in_a_world(2, wait_times_out);
}

static void hide_jobs_of_others(struct world *world)
{
    uint64_t ids[2] = {submit(world, "gate", ""), 4711};
    struct job_record *record;
    struct engine_page page;
    struct rpc_error error = {0};
    enum job_state state;
    EXPECT_EQ(engine_get(world->engine, &other, ids[0], &record, &error), -ENOENT);
    EXPECT_EQ(error.code, RPC_NO_SUCH_JOB);
    EXPECT_EQ(engine_wait(world->engine, &other, ids, 1, 0, &page, &error), -ENOENT);
    EXPECT_EQ(engine_wait(world->engine, &me, ids, 2, 0, &page, &error), -ENOENT);
    EXPECT_EQ(engine_cancel(world->engine, &other, ids, 1, &state, &error), 0);
    EXPECT_EQ(state, JOB_NONE);
    EXPECT_EQ(error.code, RPC_NO_SUCH_JOB);
    await_state(world, ids[0], JOB_RUNNING);
    EXPECT_EQ(engine_get(world->engine, &admin, ids[0], &record, &error), 0);
    EXPECT_EQ(record->state, JOB_RUNNING);
    job_record_free(record);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, ids[0]), JOB_SUCCEEDED);
    EXPECT_EQ(engine_get(world->engine, &other, ids[0], &record, &error), -ENOENT);
}

Test(engine, shows_jobs_to_their_user_and_to_admins)
{
    in_a_world(1, hide_jobs_of_others);
}

static void forget_ended_jobs(struct world *world)
{
    uint64_t ids[5];
    for (size_t i = 0; i < 5; i++) {
        ids[i] = submit(world, i % 2 ? "fail" : "ok", "");
        EXPECT_EQ(end_of(world, ids[i]), i % 2 ? JOB_FAILED : JOB_SUCCEEDED);
    }
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.recent, 2);
    EXPECT_EQ(state_of(world, ids[0]), JOB_SUCCEEDED); /* from the store */
    EXPECT_EQ(cancel(world, ids[1]), JOB_FAILED);
    EXPECT_EQ(cancel(world, ids[4]), JOB_SUCCEEDED);
}

Test(engine, keeps_few_ended_jobs_and_asks_the_store_for_the_others)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.daemon.recent = 2;
    world_live(&world, forget_ended_jobs);
    base_free(base);
}

/* ---- backups --------------------------------------------------------------------------------- */

static void fail_backups(struct world *world)
{
    static const struct {
        int err, code;
    } cases[] = {{-ENOMEM, RPC_INTERNAL_ERROR}, {-EMFILE, RPC_BUSY}, {-ENFILE, RPC_BUSY},
                 {-EEXIST, RPC_CONFLICT},       {-EBUSY, RPC_BUSY},  {-ENOSPC, RPC_STORE_FAILED},
                 {-EIO, RPC_STORE_FAILED}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rpc_error error = {0};
        uint64_t bytes;
        char *path;
        world->base->backup_err = cases[i].err;
        EXPECT_EQ(engine_backup(world->engine, "copy.db", &path, &bytes, &error), cases[i].err);
        EXPECT_EQ(error.code, cases[i].code);
    }
}

Test(engine, says_of_a_backup_what_it_lacked)
{
    char folder[] = "/tmp/weft-engine-XXXXXX", backups[64];
    struct world world;
    struct base *base = base_new();
    cr_assert_not_null(mkdtemp(folder));
    snprintf(backups, sizeof(backups), "%s/backup", folder);
    world_init(&world, base);
    world.workers = 1;
    world.config.daemon.state_dir = folder;
    world_live(&world, fail_backups);
    base_free(base);
    cr_assert_eq(rmdir(backups), 0);
    cr_assert_eq(rmdir(folder), 0);
}
