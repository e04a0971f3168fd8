/* SPDX-License-Identifier: MIT */
/* Jobs with a timeout_total: it ends them whatever they are doing, over retries and restarts, and
 * nobody else. */
#include "engine_retry_support.h"

#include "support/test.h"

#include <inttypes.h>

#define OVER "its timeout_total is over"

static int64_t stored_expiry(struct base *base, uint64_t id)
{
    pthread_mutex_lock(&base->lock);
    int64_t at = base->rows[id]->expires_at;
    pthread_mutex_unlock(&base->lock);
    return at;
}

/* It has ended for its time, in memory and in the store. */
static void expect_expired(struct world *world, uint64_t id, uint32_t attempt, const char *error)
{
    struct job_record *record = ended(world, id);
    EXPECT_EQ(record->state, JOB_TIMED_OUT);
    EXPECT_EQ(record->attempt, attempt);
    EXPECT(record->error && strcmp(record->error, error) == 0);
    EXPECT(record->finished_at >= record->expires_at);
    EXPECT_EQ(base_state(world->base, id), JOB_TIMED_OUT);
    job_record_free(record);
}

/* One that expires in its first attempt, or after it, with that error.  How slow it is here does not
 * matter: the time is doubled until that is so. */
static uint64_t submit_begun(struct world *world, const char *name, const char *error)
{
    for (unsigned ms = 4;; ms *= 2) {
        char more[64];
        snprintf(more, sizeof(more), ",\"timeout_total\":\"%ums\",\"retries\":9", ms);
        uint64_t id = submit(world, name, more);
        struct job_record *record = ended(world, id);
        bool begun = record->attempt == 1 && record->error && strcmp(record->error, error) == 0;
        EXPECT_EQ(record->state, JOB_TIMED_OUT);
        job_record_free(record);
        if (begun)
            return id;
    }
}

/* As if its time had come: which moment that is, is not left to chance. */
static void expire_now(struct world *world, uint64_t id)
{
    engine_lock_shielded(world->engine);
    struct job *job = job_table_find(&world->engine->table, id);
    engine_expiry_leave_locked(world->engine, job);
    job->record.expires_at = 1;
    engine_expiry_join_locked(world->engine, job);
    engine_unlock(world->engine);
}

static size_t count_expiring(struct world *world)
{
    engine_lock_shielded(world->engine);
    size_t count = world->engine->expiring.count;
    engine_unlock(world->engine);
    return count;
}

static void expect_none_left(struct world *world)
{
    EXPECT_EQ(world->engine->mortal, 0);
    EXPECT_EQ(world->engine->expiring.count, 0);
}

static void expire_in_each_state(struct world *world)
{
    char waits[80];
    uint64_t hangs = submit_begun(world, "hang", OVER);
    uint64_t backs_off = submit_begun(world, "fail", OVER "; attempt 1: exit status 3");
    uint64_t queued = submit(world, "ok", ",\"timeout_total\":\"1ms\",\"queue\":\"paused\"");
    uint64_t gate = submit(world, "gate", "");
    await_state(world, gate, JOB_RUNNING);
    snprintf(waits, sizeof(waits), ",\"timeout_total\":\"2ms\",\"after\":[%" PRIu64 "]", gate);
    uint64_t waiting = submit(world, "ok", waits);
    expect_expired(world, queued, 0, OVER);
    expect_expired(world, waiting, 0, OVER);
    expect_expired(world, hangs, 1, OVER);
    expect_expired(world, backs_off, 1, OVER "; attempt 1: exit status 3");
    EXPECT_EQ(state_of(world, gate), JOB_RUNNING);
    EXPECT_EQ(cancel(world, gate), JOB_CANCELLED);
    expect_none_left(world);
}

Test(engine_expire, whatever_it_is_doing)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.jobs.retry_base = world.config.jobs.retry_cap = 3600 * WEFT_SECOND;
    world_live(&world, expire_in_each_state);
    base_free(base);
}

static void end_in_time(struct world *world)
{
    EXPECT_EQ(end_of(world, submit(world, "flaky", ",\"timeout_total\":\"1h\",\"retries\":3")),
              JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, submit(world, "fail", ",\"timeout_total\":\"1h\"")), JOB_FAILED);
    uint64_t brief =
        submit(world, "hang", ",\"timeout_total\":\"1h\",\"timeout\":\"1ms\",\"retries\":1");
    EXPECT_EQ(end_of(world, brief), JOB_DEAD);
    uint64_t delayed = submit(world, "ok", ",\"timeout_total\":\"1ms\",\"delay\":\"1h\"");
    uint64_t far = submit(world, "ok", ",\"timeout_total\":\"36525d\",\"queue\":\"paused\"");
    submit_begun(world, "hang", OVER);
    EXPECT_EQ(state_of(world, delayed), JOB_DELAYED); /* counts from when it is due */
    EXPECT_EQ(state_of(world, far), JOB_QUEUED);
    EXPECT_EQ(cancel(world, delayed), JOB_CANCELLED);
    EXPECT_EQ(cancel(world, far), JOB_CANCELLED);
    expect_none_left(world);
}

Test(engine_expire, who_ends_in_time_is_left_alone)
{
    in_a_world(2, end_in_time);
}

static void expire_a_dependency(struct world *world)
{
    char after[64];
    uint64_t first = submit(world, "ok", ",\"timeout_total\":\"1ms\",\"queue\":\"paused\"");
    snprintf(after, sizeof(after), ",\"after\":[%" PRIu64 "]", first);
    struct job_record *record = ended(world, submit(world, "ok", after));
    EXPECT_EQ(record->state, JOB_CANCELLED);
    EXPECT(strstr(record->error, "which timed out"));
    job_record_free(record);
}

Test(engine_expire, what_waits_for_its_success_is_told)
{
    in_a_world(2, expire_a_dependency);
}

static void expire_many(struct world *world)
{
    enum { MANY = 500 };
    uint64_t first = 0;
    for (int i = 0; i < MANY; i++) {
        uint64_t id = submit(world, "ok", ",\"timeout_total\":\"1ns\",\"queue\":\"paused\"");
        first = first ? first : id;
    }
    for (uint64_t id = first; id < first + MANY; id++)
        expect_expired(world, id, 0, OVER);
    expect_none_left(world);
}

Test(engine_expire, many_at_once)
{
    in_a_world(2, expire_many);
}

/* ---- over restarts and retries --------------------------------------------------------------- */

static int64_t kept[3];

/* The third waits for any end of the second, which may be the first to expire. */
static void leave_some(struct world *world)
{
    char waits[80];
    uint64_t queued = submit(world, "ok", ",\"timeout_total\":\"1h\",\"queue\":\"paused\"");
    uint64_t hangs = submit(world, "hang", ",\"timeout_total\":\"1h\"");
    snprintf(waits, sizeof(waits),
             ",\"timeout_total\":\"1h\",\"after\":{\"ids\":[%" PRIu64 "],\"when\":\"end\"}", hangs);
    uint64_t waiting = submit(world, "ok", waits);
    EXPECT(queued == 1 && hangs == 2 && waiting == 3);
    for (uint64_t id = 1; id <= 3; id++) {
        kept[id - 1] = stored_expiry(world->base, id);
        EXPECT(kept[id - 1] > job_wall_now());
    }
}

static void find_them_again(struct world *world)
{
    EXPECT_EQ(world->engine->mortal, 3);
    for (uint64_t id = 1; id <= 3; id++) {
        struct job_record *record;
        struct rpc_error error;
        EXPECT_EQ(engine_get(world->engine, &me, id, &record, &error), 0);
        EXPECT_EQ(record->expires_at, kept[id - 1]);
        EXPECT(!job_state_is_end(record->state));
        job_record_free(record);
    }
}

static void expire_meanwhile(struct world *world)
{
    for (uint64_t id = 1; id <= 3; id++)
        EXPECT_EQ(end_of(world, id), JOB_TIMED_OUT);
    expect_none_left(world);
}

Test(engine_expire, a_restart_changes_no_time_and_stops_none)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, leave_some);
    world_init(&world, base);
    world_live(&world, find_them_again);
    for (uint64_t id = 1; id <= 3; id++)
        base->rows[id]->expires_at = 1; /* long ago */
    world_init(&world, base);
    world_live(&world, expire_meanwhile);
    base_free(base);
}

static void count_anew(struct world *world)
{
    uint64_t id = submit(world, "ok", ",\"timeout_total\":\"1ms\",\"queue\":\"paused\"");
    for (int i = 0; i < 3; i++) {
        struct job_record *record = ended(world, id);
        int64_t before = record->expires_at;
        job_record_free(record);
        EXPECT_EQ(retry(world, id), JOB_QUEUED);
        expect_expired(world, id, 0, OVER);
        record = ended(world, id);
        EXPECT(record->expires_at > before);
        EXPECT_EQ(stored_expiry(world->base, id), record->expires_at);
        job_record_free(record);
    }
    expect_none_left(world);
}

Test(engine_expire, a_retry_counts_anew)
{
    in_a_world(2, count_anew);
}

static void retry_from_the_store(struct world *world)
{
    world->config.daemon.recent = 0;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    count_anew(world);
}

Test(engine_expire, a_retry_of_what_only_the_store_has_too)
{
    in_a_world(2, retry_from_the_store);
}

/* ---- bad timing ------------------------------------------------------------------------------ */

static int cancel_on_fiber(void *arg)
{
    struct canceller *canceller = arg;
    canceller->state = cancel(canceller->world, canceller->id);
    atomic_store(&canceller->returned, true);
    return 0;
}

static void expire_while_cancelled(struct world *world)
{
    struct weft_group group;
    struct canceller canceller = {.world = world};
    canceller.id = submit(world, "ok", ",\"timeout_total\":\"1h\",\"queue\":\"paused\"");
    base_hold(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "canceller", cancel_on_fiber, &canceller), 0);
    await_held(world->base);
    expire_now(world, canceller.id);
    while (count_expiring(world) > 0) /* it is looked at, and not touched */
        EXPECT_EQ(weft_yield(), 0);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(canceller.state, JOB_CANCELLED);
    expect_none_left(world);
}

Test(engine_expire, a_job_that_somebody_else_ends_is_left_to_them)
{
    in_a_world(1, expire_while_cancelled);
}

static void fail_while_expiring(struct world *world)
{
    uint64_t id = submit(world, "ok", ",\"timeout_total\":\"1h\",\"queue\":\"paused\"");
    atomic_store(&world->base->fail_in, 1);
    expire_now(world, id);
    while (!engine_has_failed(world->engine, NULL))
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(base_state(world->base, id), JOB_QUEUED);
}

static void expire_the_first(struct world *world)
{
    EXPECT_EQ(end_of(world, 1), JOB_TIMED_OUT);
}

Test(engine_expire, a_store_that_fails_keeps_it_for_the_next_start)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, fail_while_expiring);
    EXPECT_EQ(atomic_load(&world.run_rc), -EIO);
    base->rows[1]->expires_at = 1;
    world_init(&world, base);
    world_live(&world, expire_the_first);
    EXPECT_EQ(base_state(base, 1), JOB_TIMED_OUT);
    base_free(base);
}
