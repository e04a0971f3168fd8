/* SPDX-License-Identifier: MIT */
/* Jobs that wait for others: when they are released, when they are cancelled, and that neither a
 * restart nor bad timing changes it. */
#include "engine_retry_support.h"

#include "support/test.h"

#include <inttypes.h>

static char options[400];

static const char *after(uint64_t id)
{
    snprintf(options, sizeof(options), ",\"after\":[%" PRIu64 "]", id);
    return options;
}

static const char *after_end(uint64_t id)
{
    snprintf(options, sizeof(options), ",\"after\":{\"ids\":[%" PRIu64 "],\"when\":\"end\"}", id);
    return options;
}

/* It ended as cancelled, and says that this job is why. */
static void expect_doomed(struct world *world, uint64_t id, uint64_t by, const char *how)
{
    char error[96];
    struct job_record *record = ended(world, id);
    snprintf(error, sizeof(error), "it was to run after job %" PRIu64 ", which %s", by, how);
    EXPECT_EQ(record->state, JOB_CANCELLED);
    EXPECT(record->error && strcmp(record->error, error) == 0);
    EXPECT_EQ(record->attempt, 0);
    EXPECT_EQ(base_state(world->base, id), JOB_CANCELLED);
    job_record_free(record);
}

/* ---- release --------------------------------------------------------------------------------- */

static void release(struct world *world)
{
    uint64_t first = submit(world, "gate", ""), second = submit(world, "ok", "");
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
    snprintf(options, sizeof(options), ",\"after\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", first,
             second, first);
    uint64_t third = submit(world, "ok", options);
    yield_often();
    EXPECT_EQ(state_of(world, third), JOB_WAITING);
    EXPECT_EQ(base_state(world->base, third), JOB_WAITING);
    EXPECT_EQ(atomic_load(&attempts_count[third]), 0);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, third), JOB_SUCCEEDED);
    EXPECT_EQ(state_of(world, first), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, submit(world, "ok", after(third))), JOB_SUCCEEDED);
}

Test(engine_after, a_job_runs_once_all_it_waits_for_have_succeeded)
{
    in_a_world(2, release);
}

static void any_end(struct world *world)
{
    uint64_t first = submit(world, "gate-fail", "");
    uint64_t second = submit(world, "ok", after_end(first));
    uint64_t later = submit(world, "ok", after_end(second));
    EXPECT_EQ(state_of(world, second), JOB_WAITING);
    EXPECT_EQ(cancel(world, second), JOB_CANCELLED);
    EXPECT_EQ(end_of(world, later), JOB_SUCCEEDED);
    second = submit(world, "ok", after_end(first));
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
    EXPECT_EQ(state_of(world, first), JOB_FAILED);
    EXPECT_EQ(end_of(world, submit(world, "ok", after_end(first))), JOB_SUCCEEDED);
}

Test(engine_after, any_end_is_enough_where_that_was_asked)
{
    in_a_world(2, any_end);
}

static void delay(struct world *world)
{
    uint64_t first = submit(world, "gate", "");
    snprintf(options, sizeof(options), ",\"delay\":\"1h\",\"after\":[%" PRIu64 "]", first);
    uint64_t later = submit(world, "ok", options);
    snprintf(options, sizeof(options), ",\"delay\":\"1ns\",\"after\":[%" PRIu64 "]", first);
    uint64_t soon = submit(world, "ok", options);
    EXPECT_EQ(state_of(world, later), JOB_WAITING);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, soon), JOB_SUCCEEDED);
    await_state(world, later, JOB_DELAYED);
    EXPECT_EQ(cancel(world, later), JOB_CANCELLED);
}

Test(engine_after, a_delay_counts_from_the_submit)
{
    in_a_world(2, delay);
}

/* ---- doom ------------------------------------------------------------------------------------ */

static void doom(struct world *world)
{
    uint64_t failed = submit(world, "gate-fail", "");
    uint64_t dead = submit(world, "gate-fail", ",\"retries\":1");
    uint64_t cancelled = submit(world, "hang", "");
    uint64_t late = submit(world, "hang", ",\"timeout\":\"1ms\"");
    uint64_t a = submit(world, "ok", after(failed)), b = submit(world, "ok", after(dead));
    uint64_t c = submit(world, "ok", after(cancelled)), d = submit(world, "ok", after(late));
    uint64_t behind = submit(world, "ok", after(a));
    uint64_t all_the_same = submit(world, "ok", after_end(behind));
    weft_event_set(&attempts_gate);
    cancel(world, cancelled);
    expect_doomed(world, a, failed, "failed");
    expect_doomed(world, b, dead, "was given up");
    expect_doomed(world, c, cancelled, "was cancelled");
    expect_doomed(world, d, late, "timed out");
    expect_doomed(world, behind, a, "was cancelled");
    EXPECT_EQ(end_of(world, all_the_same), JOB_SUCCEEDED);
    expect_doomed(world, submit(world, "ok", after(failed)), failed, "failed");
}

Test(engine_after, what_had_to_succeed_and_did_not_cancels_what_waits_for_it)
{
    in_a_world(2, doom);
}

enum { CHAIN = 300 };

/* A cancel of the first ends all, with no commit for each. */
static void fall(struct world *world)
{
    uint64_t first = submit(world, "hang", ""), last = first;
    for (int i = 0; i < CHAIN; i++)
        last = submit(world, "ok", after(last));
    int before = atomic_load(&world->base->commits);
    EXPECT_EQ(cancel(world, first), JOB_CANCELLED);
    expect_doomed(world, last, last - 1, "was cancelled");
    EXPECT(atomic_load(&world->base->commits) - before < CHAIN / 10);
    for (uint64_t id = first + 1; id <= last; id++)
        EXPECT_EQ(state_of(world, id), JOB_CANCELLED);
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.live[JOB_WAITING], 0);
    EXPECT_EQ(stats.ended[JOB_CANCELLED], CHAIN + 1);
}

Test(engine_after, a_long_chain_falls_without_recursion)
{
    in_a_world(2, fall);
}

/* ---- where dependencies are found ------------------------------------------------------------ */

static void only_stored(struct world *world)
{
    uint64_t good = submit(world, "ok", ""), bad = submit(world, "fail", "");
    EXPECT_EQ(end_of(world, good), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, bad), JOB_FAILED);
    while (job_table_find(&world->engine->table, good) ||
           job_table_find(&world->engine->table, bad))
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(end_of(world, submit(world, "ok", after(good))), JOB_SUCCEEDED);
    expect_doomed(world, submit(world, "ok", after(bad)), bad, "failed");
    EXPECT_EQ(end_of(world, submit(world, "ok", after_end(bad))), JOB_SUCCEEDED);
}

Test(engine_after, a_dependency_that_only_the_store_knows_counts)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.workers = 1; /* the table is looked at without the lock */
    world.config.daemon.recent = 0;
    world_live(&world, only_stored);
    base_free(base);
}

static void refuse_as(struct world *world, const struct peer *peer, uint64_t id)
{
    uint64_t accepted;
    struct rpc_error error = {0};
    EXPECT(submit_for(world->engine, peer, spec_of("ok", after(id)), NULL, &accepted, &error) < 0);
    EXPECT_EQ(error.code, RPC_NO_SUCH_JOB);
    EXPECT(strcmp(error.param, "after") == 0);
}

static void refuse_unknown(struct world *world)
{
    uint64_t first = submit(world, "hang", ""), old = submit(world, "ok", "");
    EXPECT_EQ(end_of(world, old), JOB_SUCCEEDED);
    refuse_as(world, &me, 1000);
    refuse_as(world, &other, first);
    refuse_as(world, &other, old);
    uint64_t id = 0;
    struct rpc_error error = {0};
    EXPECT_EQ(submit_for(world->engine, &admin, spec_of("ok", after(old)), NULL, &id, &error), 0);
    EXPECT_EQ(id, old + 1);
    EXPECT_EQ(end_of(world, id - 1), JOB_SUCCEEDED);
}

Test(engine_after, a_dependency_that_the_submitter_cannot_see_is_refused)
{
    in_a_world(2, refuse_unknown);
}

/* The second names the first, which has no id yet. */
static int submit_two(struct world *world, uint64_t next, bool atomic, struct rpc_error *errors,
                      struct engine_item *items)
{
    struct rpc_error error = {0};
    items[0] = (struct engine_item){.spec = spec_of("ok", ""), .error = &errors[0]};
    items[1] = (struct engine_item){.spec = spec_of("ok", after(next)), .error = &errors[1]};
    return engine_submit_many(world->engine, &me, items, 2, atomic, NULL, &error);
}

static void refuse_forward(struct world *world)
{
    struct rpc_error errors[2] = {0};
    struct engine_item items[2];
    EXPECT_EQ(submit_two(world, 1, true, errors, items), -EINVAL);
    EXPECT_EQ(errors[1].code, RPC_NO_SUCH_JOB);
    EXPECT_EQ(submit_two(world, 2, false, errors, items), 0); /* 1 was given, and dropped */
    EXPECT_EQ(items[0].id, 2);
    EXPECT_EQ(errors[1].code, RPC_NO_SUCH_JOB);
    EXPECT_EQ(end_of(world, 2), JOB_SUCCEEDED);
}

Test(engine_after, a_job_of_the_same_submit_cannot_be_named)
{
    in_a_world(2, refuse_forward);
}

/* ---- timing ---------------------------------------------------------------------------------- */

struct submitter {
    struct world *world;
    uint64_t dependency, id;
};

static int submit_after(void *arg)
{
    struct submitter *submitter = arg;
    char text[64];
    snprintf(text, sizeof(text), ",\"after\":[%" PRIu64 "]", submitter->dependency);
    submitter->id = submit(submitter->world, "ok", text);
    return 0;
}

/* The end of the dependency stands in a commit while the dependent is accepted. */
static void end_meanwhile(struct world *world, const char *name, enum job_state expected)
{
    struct weft_group group;
    struct submitter submitter = {.world = world, .dependency = submit(world, name, "")};
    await_state(world, submitter.dependency, JOB_RUNNING);
    weft_group_init(&group);
    base_hold(world->base);
    weft_event_set(&attempts_gate);
    await_held(world->base);
    EXPECT_EQ(weft_group_spawn(&group, "submitter", submit_after, &submitter), 0);
    yield_often();
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(end_of(world, submitter.id), expected);
}

static void end_meanwhile_well(struct world *world)
{
    end_meanwhile(world, "gate", JOB_SUCCEEDED);
}

static void end_meanwhile_badly(struct world *world)
{
    end_meanwhile(world, "gate-fail", JOB_CANCELLED);
}

Test(engine_after, an_end_while_the_dependent_is_committed_is_not_missed)
{
    in_a_world(2, end_meanwhile_well);
    in_a_world(2, end_meanwhile_badly);
}

static int retry_one(void *arg)
{
    struct submitter *submitter = arg;
    EXPECT_EQ(retry(submitter->world, submitter->dependency), JOB_QUEUED);
    return 0;
}

/* Flaky succeeds at its third attempt. */
static void wait_for_retried(struct world *world)
{
    struct weft_group group;
    uint64_t flaky = submit(world, "flaky", ",\"retries\":1");
    EXPECT_EQ(end_of(world, flaky), JOB_DEAD);
    struct submitter retrier = {.world = world, .dependency = flaky}, submitter = retrier;
    weft_group_init(&group);
    base_hold(world->base);
    EXPECT_EQ(weft_group_spawn(&group, "retrier", retry_one, &retrier), 0);
    await_held(world->base);
    EXPECT_EQ(weft_group_spawn(&group, "submitter", submit_after, &submitter), 0);
    yield_often();
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(end_of(world, submitter.id), JOB_SUCCEEDED);
    EXPECT_EQ(state_of(world, flaky), JOB_SUCCEEDED);
}

Test(engine_after, a_dependency_that_is_being_retried_is_waited_for)
{
    in_a_world(2, wait_for_retried);
}

static void retry_doomed(struct world *world)
{
    uint64_t failed = submit(world, "fail", "");
    EXPECT_EQ(end_of(world, failed), JOB_FAILED);
    uint64_t doomed = submit(world, "ok", after(failed));
    expect_doomed(world, doomed, failed, "failed");
    EXPECT_EQ(retry(world, doomed), JOB_QUEUED);
    EXPECT_EQ(end_of(world, doomed), JOB_SUCCEEDED);
}

Test(engine_after, a_retried_job_waits_for_nobody)
{
    in_a_world(2, retry_doomed);
}

/* ---- restart --------------------------------------------------------------------------------- */

/* 1 goes on, 2 to 4 hang on it, 5 waits for a job in a queue that starts nothing. */
static void before_restart(struct world *world)
{
    submit(world, "hang", "");
    await_state(world, 1, JOB_RUNNING);
    submit(world, "ok", after(1));
    submit(world, "ok", after_end(2));
    submit(world, "ok", after(2));
    submit(world, "ok", ",\"queue\":\"paused\"");
    submit(world, "ok", after(5));
}

static void after_restart(struct world *world)
{
    EXPECT_EQ(world->recovery.waiting, 4);
    await_state(world, 1, JOB_RUNNING);
    for (uint64_t id = 2; id <= 4; id++)
        EXPECT_EQ(state_of(world, id), JOB_WAITING);
    EXPECT_EQ(state_of(world, 6), JOB_WAITING);
    EXPECT_EQ(cancel(world, 1), JOB_CANCELLED);
    expect_doomed(world, 2, 1, "was cancelled");
    expect_doomed(world, 4, 2, "was cancelled");
    EXPECT_EQ(end_of(world, 3), JOB_SUCCEEDED);
    EXPECT_EQ(state_of(world, 6), JOB_WAITING);
}

Test(engine_after, who_waits_waits_on_after_a_restart)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, before_restart);
    EXPECT_EQ(base_state(base, 2), JOB_WAITING);
    world_live(&world, after_restart);
    base_free(base);
}

/* As if weftd had died between the commit of the end and what follows from it. */
static void end_in_base(struct base *base, uint64_t id, enum job_state state)
{
    base->rows[id]->state = state;
    base->rows[id]->attempt = 1;
    base->rows[id]->finished_at = base->rows[id]->submitted_at;
}

static void see_ends(struct world *world)
{
    expect_doomed(world, 2, 1, "failed");
    EXPECT_EQ(end_of(world, 3), JOB_SUCCEEDED);
    expect_doomed(world, 4, 2, "was cancelled");
    EXPECT_EQ(end_of(world, 6), JOB_SUCCEEDED);
}

Test(engine_after, what_ended_before_a_crash_counts_after_it)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, before_restart);
    end_in_base(base, 1, JOB_FAILED);
    end_in_base(base, 5, JOB_SUCCEEDED);
    world_live(&world, see_ends);
    base_free(base);
}

static void see_release(struct world *world)
{
    EXPECT_EQ(end_of(world, 6), JOB_SUCCEEDED);
    cancel(world, 1);
}

Test(engine_after, a_dependency_that_the_store_has_let_go_of_has_ended)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, before_restart);
    job_record_free(base->rows[5]);
    base->rows[5] = NULL;
    world_live(&world, see_release);
    base_free(base);
}

/* ---- explain --------------------------------------------------------------------------------- */

static void explain(struct world *world)
{
    uint64_t first = submit(world, "gate", ""), second = submit(world, "ok", "");
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
    snprintf(options, sizeof(options), ",\"after\":[%" PRIu64 ",%" PRIu64 "]", second, first);
    uint64_t id = submit(world, "ok", options);
    struct engine_explanation facts = {0};
    struct rpc_error error = {0};
    EXPECT_EQ(engine_explain(world->engine, &me, id, &facts, &error), 0);
    EXPECT_EQ(facts.why, ENGINE_WHY_DEPENDENCIES);
    EXPECT_EQ(facts.waits_for_count, 1);
    EXPECT_EQ(facts.waits_for[0], first);
    job_record_free(facts.record);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
}

Test(engine_after, explain_names_what_is_waited_for)
{
    in_a_world(2, explain);
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { NODES = 600 };

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* A random graph, submitted while it runs: each ends as its ancestors say, and none begins before
 * those it waits for have ended. */
static void run_graph(struct world *world)
{
    enum job_state expected[NODES + 1];
    unsigned seed = 7;
    for (uint64_t id = 1; id <= NODES; id++) {
        uint64_t one = id > 1 ? 1 + next_random(&seed) % (id - 1) : 0;
        uint64_t two = id > 1 ? 1 + next_random(&seed) % (id - 1) : 0;
        bool fails = next_random(&seed) % 16 == 0, any = next_random(&seed) % 3 == 0;
        bool good =
            any || !one || (expected[one] == JOB_SUCCEEDED && expected[two] == JOB_SUCCEEDED);
        expected[id] = !good ? JOB_CANCELLED : fails ? JOB_FAILED : JOB_SUCCEEDED;
        snprintf(options, sizeof(options),
                 ",\"after\":{\"ids\":[%" PRIu64 ",%" PRIu64 "],\"when\":\"%s\"}", one, two,
                 any ? "end" : "ok");
        if (!one)
            options[0] = '\0';
        EXPECT_EQ(submit(world, fails ? "fail" : "ok", options), id);
    }
    for (uint64_t id = 1; id <= NODES; id++)
        EXPECT_EQ(end_of(world, id), expected[id]);
}

Test(engine_after, a_graph_ends_as_its_edges_say)
{
    in_a_world(2, run_graph);
}
