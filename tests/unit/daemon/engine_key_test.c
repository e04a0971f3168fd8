/* SPDX-License-Identifier: MIT */
/* Keys: one live job for each, whoever asks at the same time, and after a restart too. */
#include "engine_retry_support.h"

#include "support/test.h"

#include <inttypes.h>

struct asker {
    struct world *world;
    const struct peer *peer;
    const char *name, *more;
    uint64_t id;
    bool existing;
    struct rpc_error error;
};

static int ask(void *arg)
{
    struct asker *asker = arg;
    struct engine_item item = {.spec = spec_of(asker->name, asker->more), .error = &asker->error};
    int rc = engine_submit(asker->world->engine, asker->peer, &item, NULL);
    EXPECT_EQ(rc < 0, asker->error.code != RPC_OK);
    asker->id = item.id;
    asker->existing = item.existing;
    return 0;
}

static uint64_t made(struct world *world, const struct peer *peer, const char *name,
                     const char *more)
{
    struct asker asker = {.world = world, .peer = peer, .name = name, .more = more};
    ask(&asker);
    EXPECT_EQ(asker.error.code, RPC_OK);
    EXPECT(!asker.existing && asker.id > 0);
    return asker.id;
}

static uint64_t found(struct world *world, const char *more)
{
    struct asker asker = {.world = world, .peer = &me, .name = "fail", .more = more};
    ask(&asker);
    EXPECT_EQ(asker.error.code, RPC_OK);
    EXPECT(asker.existing);
    return asker.id;
}

static const char KEY[] = ",\"key\":\"k\"", KEY_ELSEWHERE[] = ",\"key\":\"k\",\"queue\":\"one\"";

static void one_for_each(struct world *world)
{
    uint64_t first = made(world, &me, "gate", KEY);
    EXPECT_EQ(found(world, KEY), first);
    EXPECT_EQ(found(world, KEY_ELSEWHERE), first);
    await_state(world, first, JOB_RUNNING);
    EXPECT_EQ(found(world, KEY), first);
    uint64_t others = made(world, &other, "ok", KEY);
    EXPECT(others != first);
    EXPECT(made(world, &me, "ok", ",\"key\":\"K\"") != first);
    EXPECT(made(world, &me, "ok", "") != first);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, first), JOB_SUCCEEDED);
    EXPECT_EQ(atomic_load(&attempts_count[first]), 1);
    uint64_t second = made(world, &me, "ok", KEY);
    EXPECT(second > first);
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
}

Test(engine_key, a_user_has_one_live_job_of_a_key)
{
    in_a_world(2, one_for_each);
}

enum { ASKERS = 16 };

/* The first stands in its commit; the others must not answer before that is done. */
static void at_once(struct world *world)
{
    struct weft_group group;
    struct asker askers[ASKERS];
    size_t makers = 0;
    weft_group_init(&group);
    base_hold(world->base);
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.world = world, .peer = &me, .name = "ok", .more = KEY};
        EXPECT_EQ(weft_group_spawn(&group, "asker", ask, &askers[i]), 0);
    }
    await_held(world->base);
    yield_often();
    for (size_t i = 0; i < ASKERS; i++)
        EXPECT_EQ(askers[i].id, 0);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (size_t i = 0; i < ASKERS; i++)
        makers += !askers[i].existing;
    EXPECT(makers >= 1); /* one that asks after the end of the first makes another */
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.submitted, makers);
}

static void at_once_and_stay(struct world *world)
{
    struct weft_group group;
    struct asker askers[ASKERS];
    weft_group_init(&group);
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.world = world, .peer = &me, .name = "hang", .more = KEY};
        EXPECT_EQ(weft_group_spawn(&group, "asker", ask, &askers[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    struct engine_stats stats;
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.submitted, 1);
    for (size_t i = 0; i < ASKERS; i++)
        EXPECT_EQ(askers[i].id, askers[0].id);
}

Test(engine_key, of_submits_at_once_one_makes_the_job)
{
    in_a_world(2, at_once);
    in_a_world(2, at_once_and_stay);
}

/* Nothing was accepted: the key is nobody's, and who waited for it makes the job. */
static void refused_by_disk(struct world *world)
{
    struct asker asker = {.world = world, .peer = &me, .name = "ok", .more = KEY};
    atomic_store(&world->base->no_room, true);
    ask(&asker);
    EXPECT_EQ(asker.error.code, RPC_STORE_FAILED);
    atomic_store(&world->base->no_room, false);
    EXPECT_EQ(end_of(world, made(world, &me, "ok", KEY)), JOB_SUCCEEDED);
}

Test(engine_key, a_refused_submit_holds_no_key)
{
    in_a_world(2, refused_by_disk);
}

static int submit_three(struct world *world, const char *third, struct engine_item *items,
                        bool atomic)
{
    static struct rpc_error errors[3];
    struct rpc_error error = {0};
    const char *more[] = {KEY, KEY, third};
    memset(errors, 0, sizeof(errors));
    for (size_t i = 0; i < 3; i++)
        items[i] = (struct engine_item){.spec = spec_of("hang", more[i]), .error = &errors[i]};
    return engine_submit_many(world->engine, &me, items, 3, atomic, NULL, &error);
}

static void in_one_call(struct world *world)
{
    struct engine_item items[3];
    EXPECT_EQ(submit_three(world, ",\"key\":\"n\",\"queue\":\"none\"", items, true), -EINVAL);
    EXPECT_EQ(submit_three(world, ",\"key\":\"n\"", items, true), 0);
    EXPECT(!items[0].existing && items[1].existing && !items[2].existing);
    EXPECT_EQ(items[1].id, items[0].id);
    uint64_t first = items[0].id;
    EXPECT_EQ(submit_three(world, KEY, items, false), 0);
    for (size_t i = 0; i < 3; i++)
        EXPECT(items[i].existing && items[i].id == first);
}

Test(engine_key, counts_within_one_call_too)
{
    in_a_world(2, in_one_call);
}

static void retried(struct world *world)
{
    uint64_t first = made(world, &me, "fail", KEY);
    EXPECT_EQ(end_of(world, first), JOB_FAILED);
    uint64_t second = made(world, &me, "hang", KEY);
    EXPECT_EQ(retry(world, first), JOB_NONE);
    EXPECT_EQ(last_error.code, RPC_CONFLICT);
    EXPECT_EQ(cancel(world, second), JOB_CANCELLED);
    EXPECT_EQ(retry(world, second), JOB_QUEUED);
    EXPECT_EQ(found(world, KEY), second);
    EXPECT_EQ(cancel(world, second), JOB_CANCELLED);
    EXPECT_EQ(made(world, &me, "ok", KEY), second + 1);
}

Test(engine_key, a_retry_takes_its_key_back_or_is_refused)
{
    in_a_world(2, retried);
}

/* Enough for the table to grow. */
static void leave_many(struct world *world)
{
    char more[64];
    for (int i = 0; i < 200; i++) {
        snprintf(more, sizeof(more), ",\"key\":\"k%d\",\"queue\":\"paused\"", i);
        made(world, &me, "ok", more);
    }
}

static void find_many(struct world *world)
{
    char more[64];
    for (int i = 0; i < 200; i++) {
        snprintf(more, sizeof(more), ",\"key\":\"k%d\"", i);
        EXPECT_EQ(found(world, more), (uint64_t)i + 1);
    }
    EXPECT_EQ(cancel(world, 7), JOB_CANCELLED);
    made(world, &me, "ok", ",\"key\":\"k6\"");
}

Test(engine_key, survives_a_restart)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, leave_many);
    world_live(&world, find_many);
    base_free(base);
}

/* ---- after the end --------------------------------------------------------------------------- */

static void in_a_keeping_world(void (*body)(struct world *world), void (*next)(struct world *world))
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.config.daemon.key_keep = 3600 * WEFT_SECOND;
    world_live(&world, body);
    if (next)
        world_live(&world, next);
    base_free(base);
}

static void ask_after_the_end(struct world *world)
{
    struct engine_stats stats;
    uint64_t first = made(world, &me, "ok", KEY);
    EXPECT_EQ(end_of(world, first), JOB_SUCCEEDED);
    EXPECT_EQ(found(world, KEY), first);
    EXPECT_EQ(found(world, KEY_ELSEWHERE), first);
    EXPECT(made(world, &other, "ok", KEY) != first);
    EXPECT(made(world, &me, "ok", ",\"key\":\"K\"") != first);
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.submitted, 3);
    EXPECT_EQ(stats.live[JOB_NONE] + stats.live[JOB_DELAYED] + stats.live[JOB_WAITING], 0);
}

static void ask_after_the_restart(struct world *world)
{
    EXPECT_EQ(found(world, KEY), 1);
    weft_mutex_lock(&world->engine->lock);
    world->base->rows[1]->finished_at -= 3600 * (int64_t)WEFT_SECOND;
    weft_mutex_unlock(&world->engine->lock);
    uint64_t fresh = made(world, &me, "hang", KEY);
    EXPECT_EQ(found(world, KEY), fresh);
    EXPECT_EQ(cancel(world, fresh), JOB_CANCELLED);
    EXPECT_EQ(found(world, KEY), fresh);
}

Test(engine_key, a_job_keeps_its_key_for_a_while_after_its_end)
{
    in_a_keeping_world(ask_after_the_end, ask_after_the_restart);
}

/* Those that have ended, those of the same call, and others beside them. */
static void many_after_the_end(struct world *world)
{
    struct engine_item items[3];
    uint64_t first = made(world, &me, "ok", KEY);
    EXPECT_EQ(end_of(world, first), JOB_SUCCEEDED);
    EXPECT_EQ(submit_three(world, ",\"key\":\"n\"", items, true), 0);
    EXPECT(items[0].existing && items[0].id == first);
    EXPECT(items[1].existing && items[1].id == first); /* not that of the one before it */
    EXPECT(!items[2].existing && items[2].id > first);
    await_state(world, items[2].id, JOB_RUNNING);
    uint64_t passing = made(world, &me, "ok", ",\"durable\":false,\"key\":\"p\"");
    EXPECT_EQ(end_of(world, passing), JOB_SUCCEEDED);
    EXPECT_EQ(submit_three(world, ",\"durable\":false,\"key\":\"p\"", items, true), 0);
    EXPECT(items[0].existing && items[1].existing && items[1].id == first);
    EXPECT(!items[2].existing && items[2].memory_only); /* its key was free */
}

Test(engine_key, one_call_may_be_answered_with_jobs_that_have_ended_and_others)
{
    in_a_keeping_world(many_after_the_end, NULL);
}

/* All of them, whoever makes the job and however soon it ends. */
static void at_once_and_once(struct world *world)
{
    struct weft_group group;
    struct asker askers[ASKERS];
    struct engine_stats stats;
    for (int turn = 0; turn < 20; turn++) {
        char more[32];
        snprintf(more, sizeof(more), ",\"key\":\"t%d\"", turn);
        weft_group_init(&group);
        for (size_t i = 0; i < ASKERS; i++) {
            askers[i] = (struct asker){.world = world, .peer = &me, .name = "ok", .more = more};
            EXPECT_EQ(weft_group_spawn(&group, "asker", ask, &askers[i]), 0);
        }
        EXPECT_EQ(weft_group_join(&group), 0);
        for (size_t i = 0; i < ASKERS; i++)
            EXPECT(askers[i].id > 0 && askers[i].id == askers[0].id);
    }
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.submitted, 20);
}

Test(engine_key, of_submits_at_once_one_makes_the_job_even_if_that_ends_meanwhile)
{
    in_a_keeping_world(at_once_and_once, NULL);
}

struct retrier {
    struct world *world;
    uint64_t id;
    enum job_state state;
};

static int retry_it(void *arg)
{
    struct retrier *retrier = arg;
    retrier->state = retry(retrier->world, retrier->id);
    return 0;
}

/* The submit's job holds the key until the store says that there is one of it, which is the one
 * that is retried: no reason to refuse that. */
static void retried_meanwhile(struct world *world)
{
    struct weft_group group;
    uint64_t first = made(world, &me, "fail", KEY);
    EXPECT_EQ(end_of(world, first), JOB_FAILED);
    struct asker asker = {.world = world, .peer = &me, .name = "ok", .more = KEY};
    struct retrier retrier = {.world = world, .id = first};
    weft_group_init(&group);
    base_hold(world->base);
    EXPECT_EQ(weft_group_spawn(&group, "asker", ask, &asker), 0);
    await_held(world->base);
    EXPECT_EQ(weft_group_spawn(&group, "retrier", retry_it, &retrier), 0);
    yield_often();
    EXPECT_EQ(retrier.state, JOB_NONE);
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT(asker.existing && asker.id == first);
    EXPECT_EQ(retrier.state, JOB_QUEUED);
    EXPECT_EQ(end_of(world, first), JOB_FAILED);
    EXPECT_EQ(atomic_load(&attempts_count[first]), 2);
}

Test(engine_key, a_retry_beside_a_submit_with_its_key_is_not_refused)
{
    in_a_keeping_world(retried_meanwhile, NULL);
}
