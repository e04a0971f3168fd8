/* SPDX-License-Identifier: MIT */
/* Ended jobs that are forgotten: which, when, and who still needs them.  That no job still waits
 * for one that failed and is forgotten, the database checks at each deletion (engine_base.h). */
#include "engine_retry_support.h"

#include "support/test.h"

#include <inttypes.h>

#define HOUR (3600 * WEFT_SECOND)

/* Put into the database a job that ended so long ago, or, ago 0, one that waits for its time. */
static void plant_kept(struct base *base, uint64_t id, uint64_t ago, uint64_t keep)
{
    struct job_record record = {
        .id = id,
        .uid = me.uid,
        .state = ago ? JOB_FAILED : JOB_DELAYED,
        .attempt = ago ? 1 : 0,
        .submitted_at = 1,
        .due_at = ago ? 0 : INT64_MAX,
        .finished_at = ago ? job_wall_now() - (int64_t)ago : 0,
        .keep = (int64_t)keep,
        .queue = "default",
        .spec = "{\"argv\":[\"ok\"]}",
    };
    EXPECT_EQ(job_record_copy(&record, &base->rows[id]), 0);
    base->next_id = base->next_id > id ? base->next_id : id + 1;
}

static void plant(struct base *base, uint64_t id, uint64_t ago)
{
    plant_kept(base, id, ago, 0);
}

static int retain_main(void *arg)
{
    struct world *world = arg;
    (void)engine_retain(world->engine);
    return 0;
}

/* body with the fiber that forgets beside it. */
static void (*retaining_body)(struct world *world);

static void beside(struct world *world)
{
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "retain", retain_main, world), 0);
    retaining_body(world);
    weft_group_cancel(&group);
    (void)weft_group_join(&group);
}

static void retaining(struct base *base, uint64_t retain, uint64_t most,
                      void (*body)(struct world *world))
{
    struct world world;
    world_init(&world, base);
    world.workers = 2;
    world.config.jobs.retain = retain;
    world.config.jobs.retain_max = most;
    retaining_body = body;
    world_live(&world, beside);
}

static void await_kept(struct world *world, uint64_t kept)
{
    struct engine_stats stats;
    do {
        EXPECT_EQ(weft_yield(), 0);
        engine_stats(world->engine, &stats);
    } while (stats.kept != kept);
}

static bool is_known(struct world *world, uint64_t id)
{
    struct job_record *record = NULL;
    struct rpc_error error = {0};
    int rc = engine_get(world->engine, &me, id, &record, &error);
    EXPECT(rc == 0 || error.code == RPC_NO_SUCH_JOB);
    if (rc == 0)
        job_record_free(record);
    return rc == 0;
}

/* ---- which ----------------------------------------------------------------------------------- */

static void old_ones(struct world *world)
{
    await_kept(world, 1);
    EXPECT_EQ(base_state(world->base, 1), JOB_DELAYED);
    for (uint64_t id = 2; id <= 400; id++)
        EXPECT_EQ(base_state(world->base, id), JOB_NONE);
    EXPECT_EQ(base_state(world->base, 401), JOB_FAILED);
    EXPECT(!is_known(world, 2));
    EXPECT(is_known(world, 401));
}

Test(engine_retain, what_is_old_is_forgotten_beside_a_live_job_that_is_older)
{
    struct base *base = base_new();
    plant(base, 1, 0);
    for (uint64_t id = 2; id <= 400; id++)
        plant(base, id, 2 * HOUR + id);
    plant(base, 401, WEFT_SECOND);
    retaining(base, HOUR, 0, old_ones);
    base_free(base);
}

static void kept_otherwise(struct world *world)
{
    await_kept(world, 2);
    EXPECT_EQ(base_state(world->base, 1), JOB_NONE);   /* the configuration's time is over */
    EXPECT_EQ(base_state(world->base, 2), JOB_FAILED); /* kept longer */
    EXPECT_EQ(base_state(world->base, 3), JOB_NONE);   /* kept shorter */
    EXPECT_EQ(base_state(world->base, 4), JOB_FAILED);
}

Test(engine_retain, a_keep_of_its_own_goes_before_the_configurations_time)
{
    struct base *base = base_new();
    plant(base, 1, 2 * HOUR);
    plant_kept(base, 2, 2 * HOUR, 3 * HOUR);
    plant_kept(base, 3, 60 * WEFT_SECOND, 59 * WEFT_SECOND);
    plant(base, 4, 60 * WEFT_SECOND);
    retaining(base, HOUR, 0, kept_otherwise);
    base_free(base);
}

static void only_two(struct world *world)
{
    await_kept(world, 2);
    EXPECT_EQ(base_state(world->base, 3), JOB_FAILED);
    EXPECT_EQ(base_state(world->base, 4), JOB_FAILED);
}

Test(engine_retain, the_most_that_are_kept_goes_before_a_keep)
{
    struct base *base = base_new();
    plant_kept(base, 1, 400 * WEFT_SECOND, HOUR);
    plant(base, 2, 300 * WEFT_SECOND);
    plant_kept(base, 3, 200 * WEFT_SECOND, HOUR);
    plant(base, 4, 100 * WEFT_SECOND);
    retaining(base, 0, 2, only_two);
    base_free(base);
}

static int64_t keep_looked(struct world *world)
{
    weft_mutex_lock(&world->engine->lock);
    int64_t at = world->engine->keep_looked;
    weft_mutex_unlock(&world->engine->lock);
    return at;
}

static void await_look(struct world *world, uint64_t id)
{
    struct job_record *record = ended(world, id);
    while (keep_looked(world) != record->finished_at + record->keep)
        EXPECT_EQ(weft_yield(), 0);
    job_record_free(record);
}

static void sleepless(struct world *world)
{
    uint64_t id = submit(world, "ok", ",\"keep\":\"2h\"");
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    await_look(world, id);
    id = submit(world, "ok", ",\"keep\":\"1h\"");
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    await_look(world, id); /* I50: it has been woken, and sleeps less */
    EXPECT_EQ(end_of(world, submit(world, "ok", ",\"keep\":\"3h\"")), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    await_look(world, id); /* it sleeps as long as before, though it may just look once more */
    id = submit(world, "ok", ",\"keep\":0"); /* as long as it takes to tell its end */
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    await_look(world, id);
    EXPECT(is_known(world, id));
}

Test(engine_retain, who_is_kept_less_than_it_sleeps_wakes_the_fiber)
{
    struct base *base = base_new();
    retaining(base, 0, 0, sleepless);
    base_free(base);
}

static void most_recent(struct world *world)
{
    await_kept(world, 5);
    for (uint64_t id = 1; id <= 300; id++) /* low ids ended last */
        EXPECT_EQ(base_state(world->base, id), (id <= 5 ? JOB_FAILED : JOB_NONE));
}

Test(engine_retain, of_too_many_those_that_ended_first_are_forgotten)
{
    struct base *base = base_new();
    for (uint64_t id = 1; id <= 300; id++)
        plant(base, id, HOUR + id * WEFT_SECOND);
    retaining(base, 0, 5, most_recent);
    base_free(base);
}

static void just_ended(struct world *world)
{
    struct store_stats stats;
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    do { /* until it has looked */
        EXPECT_EQ(weft_yield(), 0);
        store_stats(world->store, &stats);
    } while (stats.reads == 0);
    await_kept(world, 20);
}

Test(engine_retain, none_is_forgotten_for_number_that_has_just_ended)
{
    struct base *base = base_new();
    retaining(base, 0, 10, just_ended);
    base_free(base);
}

static void nothing_is_forgotten(struct world *world)
{
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    yield_often();
    await_kept(world, 70);
}

Test(engine_retain, without_limits_all_are_kept)
{
    struct base *base = base_new();
    for (uint64_t id = 1; id <= 50; id++)
        plant(base, id, 20000 * HOUR);
    retaining(base, 0, 0, nothing_is_forgotten);
    base_free(base);
}

/* A reload says so. */
static void new_limits(struct world *world)
{
    yield_often();
    await_kept(world, 50);
    world->config.jobs.retain = HOUR;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    await_kept(world, 0);
}

Test(engine_retain, a_reload_changes_what_is_kept)
{
    struct base *base = base_new();
    for (uint64_t id = 1; id <= 50; id++)
        plant(base, id, 2 * HOUR);
    retaining(base, 0, 0, new_limits);
    base_free(base);
}

/* ---- who still needs them -------------------------------------------------------------------- */

static void memory_too(struct world *world)
{
    uint64_t id = submit(world, "ok", ""); /* among the recent ones, when it has ended */
    while (is_known(world, id))
        EXPECT_EQ(weft_yield(), 0);
    await_kept(world, 0);
    EXPECT_EQ(world->engine->stats.recent, 0);
    EXPECT_EQ(retry(world, id), JOB_NONE);
    EXPECT_EQ(last_error.code, RPC_NO_SUCH_JOB);
}

Test(engine_retain, a_forgotten_job_is_in_no_memory_either)
{
    struct base *base = base_new();
    retaining(base, WEFT_MILLISECOND, 0, memory_too);
    base_free(base);
}

enum { ASKERS = 4, TURNS = 40 };

/* Fails, and is brought back as long as it is known; never runs twice at once, or after it was
 * forgotten: base_write() would see an update of what is not there. */
static int bring_back(void *arg)
{
    struct world *world = arg;
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t id = submit(world, "fail", "");
        enum job_state state = JOB_QUEUED;
        for (int i = 0; i < 3 && state != JOB_NONE; i++) {
            struct rpc_error errors = {0}, error = {0};
            EXPECT_EQ(engine_retry(world->engine, &me, &id, 1, &state, &errors, &error), 0);
            EXPECT_EQ(weft_yield(), 0);
        }
        while (is_known(world, id))
            EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

/* A job that waits for one which fails never runs, even if that is forgotten meanwhile. */
static int depend(void *arg)
{
    struct world *world = arg;
    char options[64];
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t first = submit(world, "fail", ""), second = 0;
        struct rpc_error error = {0};
        for (int i = turn % 7; i > 0; i--)
            EXPECT_EQ(weft_yield(), 0);
        snprintf(options, sizeof(options), ",\"after\":[%" PRIu64 "]", first);
        int rc = submit_for(world->engine, &me, spec_of("ok", options), NULL, &second, &error);
        EXPECT(rc == 0 || error.code == RPC_NO_SUCH_JOB);
        while (rc == 0 && is_known(world, second))
            EXPECT_EQ(weft_yield(), 0);
        EXPECT(rc < 0 || atomic_load(&attempts_count[second]) == 0);
    }
    return 0;
}

static void everybody(struct world *world)
{
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < ASKERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "ask", i % 2 ? bring_back : depend, world), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    await_kept(world, 0);
}

Test(engine_retain, retries_and_dependents_are_right_while_jobs_are_forgotten_at_once)
{
    struct base *base = base_new();
    retaining(base, WEFT_MILLISECOND / 4, 0, everybody);
    base_free(base);
}

static void failing_store(struct world *world)
{
    while (!engine_has_failed(world->engine, NULL))
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(base_state(world->base, 1), JOB_FAILED);
}

Test(engine_retain, a_deletion_that_fails_fails_the_store)
{
    struct base *base = base_new();
    plant(base, 1, 2 * HOUR);
    atomic_store(&base->fail_in, 1);
    retaining(base, HOUR, 0, failing_store);
    base_free(base);
}
