/* SPDX-License-Identifier: MIT */
/* What the engine tells of its jobs: each move once, in order, and not before job.get shows it. */
#include "engine_support.h"

#include "support/test.h"

#include <inttypes.h>

/* The moves that were told since `since`, as "id:cause:state ", in order. */
static const char *told(struct world *world, uint64_t since)
{
    static char text[4096];
    struct events_reader reader;
    struct events_batch batch;
    uint64_t last;
    char *end = text;
    EXPECT_EQ(events_open(world->engine->events, since, &reader, &last), 0);
    *end = '\0';
    while (events_read(&reader, &batch, 0) == 0) {
        EXPECT_EQ(batch.gap_to, 0);
        for (size_t i = 0; i < batch.count; i++)
            end +=
                sprintf(end, "%" PRIu64 ":%s:%s ", batch.list[i]->id,
                        job_cause_name(batch.list[i]->cause), job_state_name(batch.list[i]->state));
        events_release(&batch);
    }
    events_leave(&reader);
    return text;
}

static void expect_told(struct world *world, uint64_t since, const char *expected)
{
    const char *text = told(world, since);
    if (strcmp(text, expected) != 0)
        fprintf(stderr, "told: %s\nand not: %s\n", text, expected);
    EXPECT_EQ(strcmp(text, expected), 0);
}

static uint64_t newest(struct world *world)
{
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    return stats.events.last;
}

/* ---- the ways of a job ----------------------------------------------------------------------- */

static void ways(struct world *world)
{
    EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    expect_told(world, 0, "1:submit:queued 1:dispatch:running 1:success:succeeded ");
    uint64_t since = newest(world);
    EXPECT_EQ(end_of(world, submit(world, "fail", ",\"retries\":1")), JOB_DEAD);
    expect_told(world, since,
                "2:submit:queued 2:dispatch:running 2:failure:delayed 2:due:queued "
                "2:dispatch:running 2:failure:dead ");
    since = newest(world);
    EXPECT_EQ(cancel(world, submit(world, "ok", ",\"delay\":3600")), JOB_CANCELLED);
    expect_told(world, since, "3:submit:delayed 3:cancel:cancelled ");
    since = newest(world);
    EXPECT_EQ(end_of(world, submit(world, "hang", ",\"timeout\":\"1ms\"")), JOB_TIMED_OUT);
    expect_told(world, since, "4:submit:queued 4:dispatch:running 4:timeout:timed_out ");
}

Test(engine_events, every_move_is_told_once_and_in_order)
{
    in_a_world(1, ways);
}

static void bring_back(struct world *world)
{
    uint64_t id = submit(world, "fail", "");
    enum job_state state;
    struct rpc_error one = {0}, error = {0};
    EXPECT_EQ(end_of(world, id), JOB_FAILED);
    uint64_t since = newest(world);
    EXPECT_EQ(engine_retry(world->engine, &me, &id, 1, &state, &one, &error), 0);
    EXPECT_EQ(end_of(world, id), JOB_FAILED);
    expect_told(world, since, "1:retry:queued 1:dispatch:running 1:failure:failed ");
}

Test(engine_events, retry_is_told)
{
    in_a_world(1, bring_back);
}

/* The late cancel of I14: both moves are shown, and both are told.  However late it is, it
 * comes before the next attempt. */
static void cancel_late(struct world *world)
{
    world->config.jobs.retry_base = world->config.jobs.retry_cap = 3600 * WEFT_SECOND;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    uint64_t id = submit(world, "gate-fail", ",\"retries\":5");
    await_attempts(1);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(cancel(world, id), JOB_CANCELLED);
    const char *text = told(world, 0);
    EXPECT(strstr(text, "1:cancel:cancelled ") != NULL);
    EXPECT_EQ(strlen(strstr(text, "1:cancel:cancelled ")), strlen("1:cancel:cancelled "));
}

Test(engine_events, nothing_is_told_after_the_end)
{
    in_a_world(2, cancel_late);
}

/* ---- after the commit ------------------------------------------------------------------------ */

struct submitting {
    struct world *world;
    uint64_t id;
};

static int submit_in_background(void *arg)
{
    struct submitting *submitting = arg;
    submitting->id = submit(submitting->world, "ok", ",\"queue\":\"paused\"");
    return 0;
}

static void tell_after_commit(struct world *world)
{
    struct submitting submitting = {.world = world};
    struct weft_group group;
    base_hold(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "submit", submit_in_background, &submitting), 0);
    await_held(world->base);
    yield_often();
    expect_told(world, 0, "");
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    expect_told(world, 0, "1:submit:queued ");
}

Test(engine_events, submit_is_told_after_its_commit)
{
    in_a_world(1, tell_after_commit);
}

static void refused_submit(struct world *world)
{
    uint64_t id;
    struct rpc_error error = {0};
    atomic_store(&world->base->no_room, true);
    EXPECT(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &id, &error) < 0);
    expect_told(world, 0, "");
}

Test(engine_events, refused_submit_is_not_told)
{
    in_a_world(1, refused_submit);
}

/* A listener that asks for the job as soon as it is told: what it finds is that, or later. */
struct asking {
    struct world *world;
    struct events_reader reader;
    size_t asked;
};

static int ask_when_told(void *arg)
{
    struct asking *asking = arg;
    struct events_batch batch;
    while (events_read(&asking->reader, &batch, WEFT_NO_DEADLINE) == 0) {
        for (size_t i = 0; i < batch.count; i++) {
            enum job_state told = batch.list[i]->state, found;
            found = state_of(asking->world, batch.list[i]->id);
            EXPECT(!job_state_is_end(told) || found == told);
            asking->asked++;
        }
        events_release(&batch);
    }
    events_leave(&asking->reader);
    return 0;
}

static void ask_while_running(struct world *world)
{
    struct asking asking = {.world = world};
    struct weft_group group;
    uint64_t last;
    EXPECT_EQ(events_open(world->engine->events, 0, &asking.reader, &last), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "asking", ask_when_told, &asking), 0);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(end_of(world, submit(world, "ok", ",\"queue\":\"wide\"")), JOB_SUCCEEDED);
    EXPECT_EQ(engine_stop(world->engine, 0), 0); /* which ends the listening */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(asking.asked, 60);
}

Test(engine_events, who_is_told_of_an_end_finds_it)
{
    in_a_world(2, ask_while_running);
}

/* ---- stop, and another life ------------------------------------------------------------------ */

static void leave_one_running(struct world *world)
{
    (void)submit(world, "hang", "");
    await_attempts(1);
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
    expect_told(world, 0, "1:submit:queued 1:dispatch:running 1:interrupt:queued ");
}

static void mark_crashed(struct base *base, uint64_t id)
{
    base->rows[id]->state = JOB_RUNNING;
    base->rows[id]->attempt = 1;
}

static void recovered(struct world *world)
{
    const char *text = told(world, 0);
    EXPECT_EQ(strncmp(text, "1:crash:queued ", 15), 0);
}

Test(engine_events, numbers_begin_anew_and_what_recovery_finds_comes_first)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.workers = 1;
    world_live(&world, leave_one_running);
    mark_crashed(base, 1);
    world_init(&world, base);
    world.workers = 1;
    world_live(&world, recovered);
    base_free(base);
}

static void subscribe_badly(struct world *world)
{
    struct events_reader reader;
    struct rpc_error error = {0};
    uint64_t last;
    EXPECT_EQ(engine_subscribe(world->engine, "defualt", 0, &reader, &last, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_QUEUE);
    EXPECT_EQ(strcmp(error.nearest, "default"), 0);
    EXPECT_EQ(engine_subscribe(world->engine, NULL, 9, &reader, &last, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_INVALID_PARAMS);
    EXPECT_EQ(strcmp(error.param, "since"), 0);
    EXPECT(strstr(error.message, "no event 9 yet") != NULL);
}

Test(engine_events, subscription_that_cannot_be_is_refused)
{
    in_a_world(1, subscribe_badly);
}

static void resize_by_reload(struct world *world)
{
    struct config config = world->config;
    struct engine_stats stats;
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    config.daemon.events = 4;
    EXPECT_EQ(engine_apply_config(world->engine, &config), 0);
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.events.last, 9);
    EXPECT_EQ(stats.events.kept, 4);
}

Test(engine_events, reload_changes_how_many_are_kept)
{
    in_a_world(1, resize_by_reload);
}
