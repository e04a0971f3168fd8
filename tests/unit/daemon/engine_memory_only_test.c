/* SPDX-License-Identifier: MIT */
/* Jobs that are not durable: they do what others do, the store hears nothing of them, and nothing
 * that is stored depends on them. */
#include "engine_retry_support.h"

#include "support/test.h"

#include <inttypes.h>

#define PASSING ",\"durable\":false"

static void expect_not_stored(struct world *world, uint64_t id)
{
    EXPECT_EQ(base_state(world->base, id), JOB_NONE);
}

static void expect_not_durable(struct world *world, uint64_t count)
{
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.memory_only, count);
}

static void reach_ends(struct world *world)
{
    uint64_t first = submit(world, "ok", PASSING); /* makes the ids sure */
    EXPECT_EQ(end_of(world, first), JOB_SUCCEEDED);
    int commits = atomic_load(&world->base->commits);
    EXPECT_EQ(end_of(world, submit(world, "flaky", PASSING ",\"retries\":2")), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, submit(world, "fail", PASSING)), JOB_FAILED);
    EXPECT_EQ(end_of(world, submit(world, "fail", PASSING ",\"retries\":1")), JOB_DEAD);
    EXPECT_EQ(end_of(world, submit(world, "hang", PASSING ",\"timeout\":\"1ms\"")), JOB_TIMED_OUT);
    EXPECT_EQ(end_of(world, submit_spec(world, call_of(PASSING))), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, submit(world, "ok", PASSING ",\"delay\":\"1ms\"")), JOB_SUCCEEDED);
    uint64_t expires =
        submit(world, "ok", PASSING ",\"timeout_total\":\"1ms\",\"queue\":\"paused\"");
    EXPECT_EQ(end_of(world, expires), JOB_TIMED_OUT);
    uint64_t runs = submit(world, "hang", PASSING);
    await_state(world, runs, JOB_RUNNING);
    expect_not_durable(world, 1);
    EXPECT_EQ(cancel(world, runs), JOB_CANCELLED);
    expect_not_durable(world, 0);
    EXPECT_EQ(cancel(world, submit(world, "ok", PASSING ",\"queue\":\"paused\"")), JOB_CANCELLED);
    EXPECT_EQ(atomic_load(&world->base->commits), commits);
    for (uint64_t id = first; id < first + 10; id++)
        expect_not_stored(world, id);
    EXPECT_EQ(retry(world, runs), JOB_QUEUED);
    await_state(world, runs, JOB_RUNNING);
    EXPECT_EQ(cancel(world, runs), JOB_CANCELLED);
    EXPECT_EQ(atomic_load(&world->base->commits), commits);
    EXPECT_EQ(world->engine->passing, 0);
    EXPECT_EQ(world->engine->passed, 10);
    EXPECT_EQ(world->engine->stats.kept, 0);
}

Test(engine_memory_only, every_end_without_a_commit)
{
    in_a_world(2, reach_ends);
}

static void list_both_kinds(struct world *world)
{
    uint64_t ids[4] = {submit(world, "ok", PASSING), submit(world, "ok", ""),
                       submit(world, "fail", PASSING), submit(world, "ok", PASSING)};
    for (size_t i = 0; i < 4; i++)
        EXPECT(job_state_is_end(end_of(world, ids[i])));
    struct rpc_error error = {0};
    struct engine_page page;
    struct engine_filter filter = {.limit = 3, .states = 1u << JOB_SUCCEEDED};
    EXPECT_EQ(engine_list(world->engine, &me, &filter, &page, &error), 0);
    EXPECT_EQ(page.count, 3);
    EXPECT(page.records[0]->id == ids[3] && page.records[0]->memory_only);
    EXPECT(page.records[1]->id == ids[1] && !page.records[1]->memory_only);
    EXPECT(page.records[2]->id == ids[0]);
    engine_page_destroy(&page);
    EXPECT_EQ(engine_list(world->engine, &other, &filter, &page, &error), 0);
    EXPECT_EQ(page.count, 0);
    engine_page_destroy(&page);
}

Test(engine_memory_only, a_list_shows_them_among_the_others)
{
    in_a_world(2, list_both_kinds);
}

static int wait_on_fiber(void *arg)
{
    struct canceller *waiter = arg;
    waiter->state = end_of(waiter->world, waiter->id);
    return 0;
}

static bool somebody_waits(struct world *world)
{
    engine_lock_shielded(world->engine);
    bool waits = world->engine->waiters != NULL;
    engine_unlock(world->engine);
    return waits;
}

static void forget_at_once(struct world *world)
{
    struct job_record *record;
    struct rpc_error error = {0};
    for (int i = 0; i < 50; i++) { /* who waits is told all the same */
        struct weft_group group;
        struct canceller waiter = {.world = world};
        waiter.id = submit(world, i % 2 ? "gate" : "gate-fail", PASSING);
        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "wait", wait_on_fiber, &waiter), 0);
        while (!somebody_waits(world)) /* else it may be forgotten before that */
            EXPECT_EQ(weft_yield(), 0);
        weft_event_set(&attempts_gate);
        EXPECT_EQ(weft_group_join(&group), 0);
        weft_event_clear(&attempts_gate);
        EXPECT_EQ(waiter.state, i % 2 ? JOB_SUCCEEDED : JOB_FAILED);
        EXPECT_EQ(engine_get(world->engine, &me, waiter.id, &record, &error), -ENOENT);
    }
    EXPECT_EQ(world->engine->passed, 0);
}

Test(engine_memory_only, an_end_is_told_though_it_is_forgotten_at_once)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.daemon.recent = 0;
    world_live(&world, forget_at_once);
    base_free(base);
}

/* ---- beside what is stored ------------------------------------------------------------------- */

static void wait_for_others(struct world *world)
{
    char after[80];
    uint64_t id = 0, passing = submit(world, "gate", PASSING),
             stored = submit(world, "gate-fail", "");
    struct rpc_error error = {0};
    snprintf(after, sizeof(after), ",\"after\":[%" PRIu64 ",%" PRIu64 "]", stored, passing);
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", after), NULL, &id, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_INVALID_PARAMS);
    EXPECT(strcmp(error.param, "after") == 0 && strstr(error.message, "not durable"));
    EXPECT_EQ(submit_for(world->engine, &other, spec_of("ok", after), NULL, &id, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_JOB); /* whose it is, is not told */
    snprintf(after, sizeof(after), PASSING ",\"after\":[%" PRIu64 "]", passing);
    uint64_t released = submit(world, "ok", after);
    snprintf(after, sizeof(after), PASSING ",\"after\":[%" PRIu64 "]", stored);
    uint64_t doomed = submit(world, "ok", after);
    snprintf(after, sizeof(after), ",\"after\":[%" PRIu64 "]", stored);
    uint64_t doomed_too = submit(world, "ok", after);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, released), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, doomed), JOB_CANCELLED);
    EXPECT_EQ(end_of(world, doomed_too), JOB_CANCELLED);
    expect_not_stored(world, doomed);
    EXPECT_EQ(base_state(world->base, doomed_too), JOB_CANCELLED);
    snprintf(after, sizeof(after), ",\"after\":[%" PRIu64 "]", passing); /* it has ended */
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", after), NULL, &id, &error), -EINVAL);
}

Test(engine_memory_only, nothing_stored_waits_for_one)
{
    in_a_world(2, wait_for_others);
}

static void hold_a_key(struct world *world)
{
    struct rpc_error error = {0};
    uint64_t id = submit(world, "gate", PASSING ",\"key\":\"k\"");
    struct engine_item item = {.spec = spec_of("ok", ",\"key\":\"k\""), .error = &error};
    EXPECT_EQ(engine_submit(world->engine, &me, &item, NULL), 0);
    EXPECT(item.existing && item.memory_only);
    EXPECT_EQ(item.id, id);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
}

Test(engine_memory_only, who_gets_one_by_its_key_is_told)
{
    in_a_world(2, hold_a_key);
}

static void mix(struct world *world)
{
    enum { COUNT = 6 };
    struct rpc_error errors[COUNT] = {0}, error = {0};
    struct engine_item items[COUNT] = {0};
    uint64_t ids[COUNT], purged;
    for (size_t i = 0; i < COUNT; i++)
        items[i] =
            (struct engine_item){.spec = spec_of("ok", i % 2 ? ",\"queue\":\"paused\""
                                                             : PASSING ",\"queue\":\"paused\""),
                                 .error = &errors[i]};
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, COUNT, true, NULL, &error), 0);
    for (size_t i = 0; i < COUNT; i++) {
        ids[i] = items[i].id;
        EXPECT_EQ(items[i].memory_only, i % 2 == 0);
        EXPECT_EQ(base_state(world->base, ids[i]), i % 2 ? JOB_QUEUED : JOB_NONE);
    }
    enum job_state states[2];
    EXPECT_EQ(engine_cancel(world->engine, &me, ids, 2, states, errors), 0);
    EXPECT(states[0] == JOB_CANCELLED && states[1] == JOB_CANCELLED);
    EXPECT_EQ(
        engine_queue_purge(world->engine, &admin, "paused", 1u << JOB_QUEUED, &purged, &error), 0);
    EXPECT_EQ(purged, 4);
    for (size_t i = 0; i < COUNT; i++)
        EXPECT_EQ(base_state(world->base, ids[i]), i % 2 ? JOB_CANCELLED : JOB_NONE);
}

Test(engine_memory_only, one_request_may_be_about_both_kinds)
{
    in_a_world(2, mix);
}

static void fill_the_disk(struct world *world)
{
    uint64_t id = submit(world, "ok", PASSING);
    struct rpc_error error = {0};
    atomic_store(&world->base->no_room, true);
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &id, &error), -ENOSPC);
    EXPECT_EQ(end_of(world, submit(world, "ok", PASSING)), JOB_SUCCEEDED);
}

Test(engine_memory_only, a_full_disk_does_not_matter)
{
    in_a_world(2, fill_the_disk);
}

/* ---- over restarts --------------------------------------------------------------------------- */

static uint64_t highest;

static void leave_some(struct world *world)
{
    submit(world, "hang", PASSING);
    highest = submit(world, "ok", PASSING ",\"queue\":\"paused\"");
}

static void find_none(struct world *world)
{
    struct job_record *record;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_get(world->engine, &me, highest, &record, &error), -ENOENT);
    uint64_t id = submit(world, "ok", "");
    EXPECT_EQ(id, highest + 1); /* the stop was orderly: no id is left out */
    highest = id;
}

static void crash(struct world *world)
{
    struct rpc_error error = {0};
    uint64_t id = 0;
    highest = submit(world, "ok", PASSING ",\"queue\":\"paused\"");
    atomic_store(&world->base->fail_in, 1);
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &id, &error), -EIO);
}

/* Not run: by their ids they would be beyond what attempts are counted for. */
static void give_new_ids(struct world *world)
{
    EXPECT(world->engine->next_id > highest);
    EXPECT(submit(world, "ok", PASSING ",\"queue\":\"paused\"") > highest);
}

Test(engine_memory_only, a_restart_loses_them_and_gives_no_id_twice)
{
    struct world world;
    struct base *base = base_new();
    void (*const lives[])(struct world *) = {leave_some, find_none, crash, give_new_ids};
    for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        world_init(&world, base);
        world_live(&world, lives[i]);
    }
    base_free(base);
}
