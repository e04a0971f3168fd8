/* SPDX-License-Identifier: MIT */
/* Queues while they run: what an admin sets holds, survives and lies over the configuration; rates,
 * limits and purges. */
#include "engine_support.h"

#include "support/test.h"

/* ---- short forms ----------------------------------------------------------------------------- */

static struct engine_queue queue_of(struct world *world, const char *name)
{
    struct engine_queue *queues, found = {0};
    struct rpc_error error = {0};
    size_t count;
    EXPECT_EQ(engine_queue_list(world->engine, &queues, &count, &error), 0);
    for (size_t i = 0; i < count; i++)
        if (strcmp(queues[i].name, name) == 0)
            found = queues[i];
    free(queues);
    return found;
}

static int change(struct world *world, const char *name, struct queue_change wish)
{
    struct engine_queue *queues;
    struct rpc_error error = {0};
    size_t count;
    int rc = engine_queue_change(world->engine, &admin, name, &wish, &queues, &count, &error);
    if (rc < 0)
        EXPECT(error.code != RPC_OK && error.message[0]);
    else
        free(queues);
    return rc;
}

static int pause_queue(struct world *world, const char *name, bool paused)
{
    return change(world, name,
                  (struct queue_change){.given = QUEUE_PAUSED, .values.paused = paused});
}

static uint64_t purge(struct world *world, const char *name, uint32_t states)
{
    uint64_t count = UINT64_MAX;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_queue_purge(world->engine, &admin, name, states, &count, &error), 0);
    return count;
}

static bool is_paused(struct world *world, const char *name)
{
    return queue_of(world, name).now.paused;
}

#define ALL_WAITING (1u << JOB_WAITING | 1u << JOB_DELAYED | 1u << JOB_QUEUED)

/* ---- pausing --------------------------------------------------------------------------------- */

static void pause_and_resume(struct world *world)
{
    uint64_t running = submit(world, "gate", "");
    await_attempts(1);
    EXPECT_EQ(pause_queue(world, "default", true), 0);
    uint64_t held = submit(world, "ok", "");
    EXPECT_EQ(why_of(world, held), ENGINE_WHY_QUEUE_PAUSED);
    uint64_t beside = submit(world, "ok", ",\"queue\":\"one\"");
    EXPECT_EQ(end_of(world, beside), JOB_SUCCEEDED);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, running), JOB_SUCCEEDED); /* what ran goes on */
    yield_often();
    EXPECT_EQ(state_of(world, held), JOB_QUEUED);
    EXPECT_EQ(queue_of(world, "default").states[JOB_QUEUED], 1);
    EXPECT_EQ(pause_queue(world, "default", false), 0);
    EXPECT_EQ(end_of(world, held), JOB_SUCCEEDED);
    EXPECT_EQ(queue_of(world, "default").given, 0); /* nothing is left of it */
}

Test(engine_queue, a_paused_queue_starts_nothing_and_stops_nothing)
{
    in_a_world(2, pause_and_resume);
}

static void pause_all(struct world *world)
{
    EXPECT_EQ(pause_queue(world, NULL, true), 0);
    EXPECT(is_paused(world, "default") && is_paused(world, "one") && is_paused(world, "wide"));
    EXPECT_EQ(pause_queue(world, "one", false), 0);
    EXPECT(is_paused(world, "default") && !is_paused(world, "one"));
    EXPECT_EQ(pause_queue(world, NULL, false), 0);
    EXPECT(!is_paused(world, "default") && !is_paused(world, "wide"));
    EXPECT_EQ(pause_queue(world, "defualt", true), -EINVAL);
}

Test(engine_queue, all_of_them_are_paused_at_once)
{
    in_a_world(2, pause_all);
}

/* ---- what survives --------------------------------------------------------------------------- */

static void set_some(struct world *world)
{
    EXPECT_EQ(pause_queue(world, "one", true), 0);
    struct queue_change wide = {.given = QUEUE_CONCURRENCY | QUEUE_RATE,
                                .values = {.concurrency = 7, .rate = {5, WEFT_SECOND}}};
    EXPECT_EQ(change(world, "wide", wide), 0);
    EXPECT_EQ(change(world, "wide", (struct queue_change){.reset = QUEUE_RATE}), 0);
    submit(world, "ok", ",\"queue\":\"one\"");
}

static void find_some(struct world *world)
{
    EXPECT(is_paused(world, "one"));
    struct engine_queue wide = queue_of(world, "wide");
    EXPECT_EQ(wide.given, QUEUE_CONCURRENCY);
    EXPECT_EQ(wide.now.concurrency, 7);
    EXPECT_EQ(wide.now.rate.count, 0);
    EXPECT_EQ(state_of(world, 1), JOB_QUEUED);
    /* a reload changes what is not set, and leaves what is */
    world->queues[3].concurrency = 9;
    world->queues[3].max_waiting = 11;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    wide = queue_of(world, "wide");
    EXPECT_EQ(wide.now.concurrency, 7);
    EXPECT_EQ(wide.now.max_waiting, 11);
    EXPECT_EQ(change(world, "wide", (struct queue_change){.reset = QUEUE_CONCURRENCY}), 0);
    EXPECT_EQ(queue_of(world, "wide").now.concurrency, 9);
    EXPECT_EQ(pause_queue(world, "one", false), 0);
    EXPECT_EQ(end_of(world, 1), JOB_SUCCEEDED);
}

static void find_none(struct world *world)
{
    EXPECT(!is_paused(world, "one"));
    EXPECT_EQ(queue_of(world, "wide").given, 0);
}

Test(engine_queue, what_was_set_survives_and_lies_over_the_configuration)
{
    struct world world;
    struct base *base = base_new();
    void (*const lives[])(struct world *) = {set_some, find_some, find_none};
    for (size_t i = 0; i < 3; i++) {
        world_init(&world, base);
        world_live(&world, lives[i]);
    }
    base_free(base);
}

/* The configuration pauses it: a resume is something set then, and stays. */
static void resume_over_configuration(struct world *world)
{
    EXPECT(is_paused(world, "one"));
    EXPECT_EQ(pause_queue(world, "one", false), 0);
    EXPECT(!is_paused(world, "one"));
    EXPECT_EQ(queue_of(world, "one").given, QUEUE_PAUSED);
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    EXPECT(!is_paused(world, "one"));
    EXPECT_EQ(change(world, "one", (struct queue_change){.reset = QUEUE_PAUSED}), 0);
    EXPECT(is_paused(world, "one"));
}

Test(engine_queue, a_resume_lies_over_a_configuration_that_pauses)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.queues[1].paused = true;
    world_live(&world, resume_over_configuration);
    base_free(base);
}

static void set_one_that_goes(struct world *world)
{
    EXPECT_EQ(pause_queue(world, "wide", true), 0);
    world->config.queues_count = 3;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    struct engine_queue gone = queue_of(world, "wide");
    EXPECT(gone.name && !gone.configured && gone.now.paused);
}

static void find_it_gone(struct world *world)
{
    struct engine_queue gone = queue_of(world, "wide");
    EXPECT(gone.name && !gone.configured && gone.now.paused);
    EXPECT_EQ(pause_queue(world, "wide", false), 0);
    EXPECT(queue_of(world, "wide").name == NULL); /* nothing set, no jobs */
}

Test(engine_queue, what_was_set_of_a_queue_outlives_its_place_in_the_configuration)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world_live(&world, set_one_that_goes);
    world_init(&world, base);
    world.config.queues_count = 3;
    world_live(&world, find_it_gone);
    base_free(base);
}

Test(engine_queue, a_setting_that_cannot_be_read_stops_the_start)
{
    struct world world;
    struct base *base = base_new();
    struct problem problem = {0};
    world_init(&world, base);
    base_set(base, &(struct store_setting){"queue one", "{\"queue\":\"one\",\"paused\":7}"});
    base_set(base, &(struct store_setting){"something of a later version", "?"});
    EXPECT_EQ(store_open_backend(&base_ops, base, &world.config.store, &world.store), 0);
    struct engine_parts parts = {.config = &world.config, .store = world.store};
    EXPECT_EQ(engine_new(&parts, &world.engine), 0);
    EXPECT_EQ(store_settings(world.store, engine_adopt_setting, world.engine, &problem), -EBADMSG);
    store_free(world.store);
    engine_free(world.engine);
    base_free(base);
}

/* ---- it holds once it is committed ----------------------------------------------------------- */

struct pauser {
    struct world *world;
    const char *name;
    int rc;
    atomic_bool returned;
};

static int pause_on_fiber(void *arg)
{
    struct pauser *pauser = arg;
    pauser->rc = pause_queue(pauser->world, pauser->name, true);
    atomic_store(&pauser->returned, true);
    return 0;
}

static void pause_while_held(struct world *world)
{
    struct weft_group group;
    struct pauser pausers[2] = {{.world = world, .name = "one"}, {.world = world, .name = "one"}};
    base_hold(world->base);
    weft_group_init(&group);
    for (size_t i = 0; i < 2; i++)
        EXPECT_EQ(weft_group_spawn(&group, "pause", pause_on_fiber, &pausers[i]), 0);
    await_held(world->base);
    yield_often();
    EXPECT(!atomic_load(&pausers[0].returned) && !atomic_load(&pausers[1].returned));
    EXPECT(!is_paused(world, "one"));
    base_release(world->base);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(pausers[0].rc, 0);
    EXPECT_EQ(pausers[1].rc, 0);
    EXPECT(is_paused(world, "one"));
    EXPECT_EQ(pause_queue(world, "one", false), 0);
}

Test(engine_queue, a_pause_holds_once_it_is_on_disk)
{
    in_a_world(2, pause_while_held);
}

static void pause_on_a_failing_disk(struct world *world)
{
    atomic_store(&world->base->fail_in, 1);
    EXPECT_EQ(pause_queue(world, "one", true), -EIO);
    EXPECT(!is_paused(world, "one"));
    EXPECT_EQ(pause_queue(world, "one", true), -EIO);
}

Test(engine_queue, a_pause_that_is_not_on_disk_does_not_hold)
{
    in_a_world(2, pause_on_a_failing_disk);
}

/* ---- rates and limits ------------------------------------------------------------------------ */

static void keep_to_a_rate(struct world *world)
{
    struct queue_change hourly = {.given = QUEUE_RATE, .values.rate = {1, 3600 * WEFT_SECOND}};
    EXPECT_EQ(change(world, "wide", hourly), 0);
    uint64_t first = submit(world, "ok", ",\"queue\":\"wide\"");
    EXPECT_EQ(end_of(world, first), JOB_SUCCEEDED);
    uint64_t second = submit(world, "ok", ",\"queue\":\"wide\"");
    uint64_t third = submit(world, "fail", ",\"queue\":\"wide\"");
    EXPECT_EQ(why_of(world, second), ENGINE_WHY_QUEUE_RATE);
    EXPECT(queue_of(world, "wide").next_start_at > job_wall_now());
    uint64_t beside = submit(world, "ok", "");
    EXPECT_EQ(end_of(world, beside), JOB_SUCCEEDED);
    EXPECT_EQ(state_of(world, second), JOB_QUEUED);
    struct queue_change fast = {.given = QUEUE_RATE, .values.rate = {200, WEFT_SECOND}};
    EXPECT_EQ(change(world, "wide", fast), 0);
    for (int i = 0; i < 20; i++)
        submit(world, "ok", ",\"queue\":\"wide\"");
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, third), JOB_FAILED);
    for (uint64_t id = beside + 1; id <= beside + 20; id++)
        EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
}

Test(engine_queue, a_rate_holds_up_its_queue_and_its_timer_goes_on)
{
    in_a_world(2, keep_to_a_rate);
}

static void submit_many(struct world *world, const char *name, size_t count)
{
    char more[64];
    struct engine_item *items = calloc(count, sizeof(*items));
    struct rpc_error *errors = calloc(count, sizeof(*errors)), error = {0};
    snprintf(more, sizeof(more), ",\"queue\":\"%s\"", name);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct engine_item){.spec = spec_of("ok", more), .error = &errors[i]};
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, count, true, NULL, &error), 0);
    free(items);
    free(errors);
}

/* So fast that tokens come while the dispatcher looks at the clock: each of them must wake it. */
static void keep_to_a_fast_rate(struct world *world)
{
    enum { JOBS = 3000 };
    struct queue_change fast = {.given = QUEUE_RATE, .values.rate = {100000, WEFT_SECOND}};
    EXPECT_EQ(change(world, "wide", fast), 0);
    submit_many(world, "wide", JOBS);
    for (uint64_t id = 1; id <= JOBS; id++)
        EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
}

Test(engine_queue, no_token_of_a_fast_rate_is_missed)
{
    in_a_world(2, keep_to_a_fast_rate);
}

static void refuse(struct world *world, const char *more)
{
    uint64_t id;
    struct rpc_error error = {0};
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", more), NULL, &id, &error), -EAGAIN);
    EXPECT_EQ(error.code, RPC_BUSY);
    EXPECT(strstr(error.message, "\"one\" has 2 jobs waiting and takes 2") != NULL);
    EXPECT_EQ(strcmp(error.param, "queue"), 0);
}

static void fill_a_queue(struct world *world)
{
    struct queue_change two = {.given = QUEUE_MAX_WAITING, .values.max_waiting = 2};
    EXPECT_EQ(change(world, "one", two), 0);
    uint64_t failed = submit(world, "fail", ",\"queue\":\"one\"");
    EXPECT_EQ(end_of(world, failed), JOB_FAILED);
    uint64_t running = submit(world, "gate", ",\"queue\":\"one\"");
    await_attempts(2);
    submit(world, "ok", ",\"queue\":\"one\"");
    uint64_t last = submit(world, "ok", ",\"queue\":\"one\",\"delay\":\"1h\"");
    refuse(world, ",\"queue\":\"one\"");
    refuse(world, ",\"queue\":\"one\",\"delay\":\"1h\"");
    enum job_state state;
    struct rpc_error errors = {0}, error = {0};
    EXPECT_EQ(engine_retry(world->engine, &me, &failed, 1, &state, &errors, &error), 0);
    EXPECT_EQ(errors.code, RPC_BUSY);
    EXPECT_EQ(cancel(world, last), JOB_CANCELLED);
    last = submit(world, "ok", ",\"queue\":\"one\"");
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, running), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, last), JOB_SUCCEEDED);
}

Test(engine_queue, a_full_queue_refuses_submits_and_retries)
{
    in_a_world(2, fill_a_queue);
}

/* Those on their way count: of many at once no more are taken than fit. */
static void overfill_at_once(struct world *world)
{
    enum { MANY = 20 };
    struct engine_item items[MANY];
    struct rpc_error errors[MANY], error = {0};
    struct queue_change five = {.given = QUEUE_MAX_WAITING, .values.max_waiting = 5};
    EXPECT_EQ(change(world, "paused", five), 0);
    memset(errors, 0, sizeof(errors));
    for (size_t i = 0; i < MANY; i++)
        items[i] = (struct engine_item){.spec = spec_of("ok", ",\"queue\":\"paused\""),
                                        .error = &errors[i]};
    EXPECT_EQ(engine_submit_many(world->engine, &me, items, MANY, false, NULL, &error), 0);
    for (size_t i = 0; i < MANY; i++) {
        EXPECT_EQ(items[i].id > 0, i < 5);
        EXPECT_EQ(errors[i].code, i < 5 ? RPC_OK : RPC_BUSY);
    }
}

Test(engine_queue, of_many_at_once_as_many_are_taken_as_fit)
{
    in_a_world(2, overfill_at_once);
}

/* ---- purging --------------------------------------------------------------------------------- */

enum { MANY = 1500 }; /* over several commits */

static void purge_a_queue(struct world *world)
{
    uint64_t running = submit(world, "gate", "");
    uint64_t beside = submit(world, "ok", ",\"delay\":\"1h\"");
    await_attempts(1);
    submit_many(world, "paused", MANY);
    uint64_t delayed = submit(world, "ok", ",\"queue\":\"paused\",\"delay\":\"1h\"");
    EXPECT_EQ(purge(world, "paused", 1u << JOB_DELAYED), 1);
    EXPECT_EQ(state_of(world, delayed), JOB_CANCELLED);
    EXPECT_EQ(base_state(world->base, delayed), JOB_CANCELLED);
    EXPECT_EQ(queue_of(world, "paused").states[JOB_QUEUED], MANY);
    EXPECT_EQ(purge(world, "paused", ALL_WAITING), MANY);
    EXPECT_EQ(queue_of(world, "paused").states[JOB_QUEUED], 0);
    for (uint64_t id = beside + 1; id <= beside + MANY; id++)
        EXPECT_EQ(base_state(world->base, id), JOB_CANCELLED);
    EXPECT_EQ(purge(world, "paused", ALL_WAITING), 0);
    EXPECT_EQ(state_of(world, beside), JOB_DELAYED);
    EXPECT_EQ(purge(world, "default", ALL_WAITING), 1);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, running), JOB_SUCCEEDED); /* it had started */
    uint64_t count;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_queue_purge(world->engine, &admin, "pasued", ALL_WAITING, &count, &error),
              -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_QUEUE);
}

Test(engine_queue, a_purge_cancels_what_waits_in_its_queue_and_nothing_else)
{
    in_a_world(2, purge_a_queue);
}

static int cancel_on_fiber(void *arg)
{
    struct canceller *canceller = arg;
    canceller->state = cancel(canceller->world, canceller->id);
    return 0;
}

/* Who waits for one hears of it; one that is being cancelled already is not counted. */
static void purge_what_is_wanted(struct world *world)
{
    struct weft_group group;
    submit_many(world, "paused", 3);
    struct canceller canceller = {.world = world, .id = 2};
    base_hold(world->base);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "cancel", cancel_on_fiber, &canceller), 0);
    await_held(world->base);
    EXPECT_EQ(weft_yield(), 0);
    base_release(world->base);
    EXPECT_EQ(purge(world, "paused", ALL_WAITING), 2);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(canceller.state, JOB_CANCELLED);
    EXPECT_EQ(end_of(world, 1), JOB_CANCELLED);
    EXPECT_EQ(end_of(world, 3), JOB_CANCELLED);
}

Test(engine_queue, a_purge_and_a_cancel_share_the_jobs)
{
    in_a_world(2, purge_what_is_wanted);
}

static void purge_on_a_failing_disk(struct world *world)
{
    uint64_t count = 77;
    struct rpc_error error = {0};
    submit_many(world, "paused", 3);
    atomic_store(&world->base->fail_in, 1);
    EXPECT_EQ(engine_queue_purge(world->engine, &admin, "paused", ALL_WAITING, &count, &error),
              -EIO);
    EXPECT_EQ(count, 77);
    EXPECT_EQ(base_state(world->base, 1), JOB_QUEUED);
}

Test(engine_queue, a_purge_that_is_not_on_disk_is_an_error)
{
    in_a_world(2, purge_on_a_failing_disk);
}

static void drain_a_queue(struct world *world)
{
    struct rpc_error error = {0}, errors = {0};
    enum job_state state;
    uint64_t failed = submit(world, "fail", ",\"queue\":\"one\""), id;
    EXPECT_EQ(end_of(world, failed), JOB_FAILED);
    uint64_t running = submit(world, "gate", ",\"queue\":\"one\"");
    uint64_t queued = submit(world, "ok", ",\"queue\":\"one\"");
    struct queue_change drain = {.given = QUEUE_DRAINED, .values.drained = true};
    EXPECT_EQ(change(world, "one", drain), 0);
    EXPECT_EQ(
        submit_for(world->engine, &me, spec_of("ok", ",\"queue\":\"one\""), NULL, &id, &error),
        -EAGAIN);
    EXPECT_EQ(error.code, RPC_BUSY);
    EXPECT(strstr(error.message, "\"one\" is drained") != NULL);
    EXPECT_EQ(engine_retry(world->engine, &me, &failed, 1, &state, &errors, &error), 0);
    EXPECT_EQ(errors.code, RPC_BUSY);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, running), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, queued), JOB_SUCCEEDED);
    struct queue_change open = {.given = QUEUE_DRAINED};
    EXPECT_EQ(change(world, "one", open), 0);
    EXPECT_EQ(queue_of(world, "one").given, 0);
    submit(world, "ok", ",\"queue\":\"one\"");
}

Test(engine_queue, a_drained_queue_runs_what_it_has_and_takes_no_more)
{
    in_a_world(2, drain_a_queue);
}

/* ---- users ----------------------------------------------------------------------------------- */

static int try_submit(struct world *world, const struct peer *peer, const char *name,
                      const char *more, struct rpc_error *error)
{
    uint64_t id;
    *error = (struct rpc_error){0};
    return submit_for(world->engine, peer, spec_of(name, more), NULL, &id, error);
}

static void keep_to_a_quota(struct world *world)
{
    struct rpc_error error, errors = {0};
    enum job_state state;
    uint64_t failed = submit(world, "fail", "");
    EXPECT_EQ(end_of(world, failed), JOB_FAILED);
    world->config.daemon.max_jobs_user = 2;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    submit(world, "ok", ",\"queue\":\"paused\"");
    uint64_t last = submit(world, "ok", ",\"delay\":\"1h\"");
    EXPECT_EQ(try_submit(world, &me, "ok", ",\"queue\":\"wide\"", &error), -EAGAIN);
    EXPECT_EQ(error.code, RPC_BUSY);
    EXPECT(strstr(error.message, "user 1000 has 2 jobs") != NULL);
    EXPECT(strstr(error.message, "daemon.max_jobs_user") != NULL);
    EXPECT_EQ(engine_retry(world->engine, &me, &failed, 1, &state, &errors, &error), 0);
    EXPECT_EQ(errors.code, RPC_BUSY);
    EXPECT_EQ(try_submit(world, &other, "ok", ",\"queue\":\"paused\"", &error), 0);
    EXPECT_EQ(cancel(world, last), JOB_CANCELLED);
    EXPECT_EQ(try_submit(world, &me, "ok", ",\"delay\":\"1h\"", &error), 0);
    EXPECT_EQ(try_submit(world, &me, "ok", "", &error), -EAGAIN);
}

Test(engine_queue, a_user_may_have_as_many_jobs_as_the_configuration_says)
{
    in_a_world(2, keep_to_a_quota);
}

static void share_a_queue(struct world *world)
{
    struct queue_change each = {.given = QUEUE_CONCURRENCY_USER, .values.concurrency_user = 1};
    struct engine_explanation facts;
    struct rpc_error error;
    EXPECT_EQ(change(world, "wide", each), 0);
    submit(world, "gate", ",\"queue\":\"wide\"");
    uint64_t second = submit(world, "gate", ",\"queue\":\"wide\"");
    await_attempts(1);
    EXPECT_EQ(engine_explain(world->engine, &me, second, &facts, &error), 0);
    EXPECT_EQ(facts.why, ENGINE_WHY_USER_FULL);
    EXPECT_EQ(facts.running_user, 1);
    job_record_free(facts.record);
    EXPECT_EQ(try_submit(world, &other, "gate", ",\"queue\":\"wide\"", &error), 0);
    await_attempts(2); /* the other's, before mine */
    EXPECT_EQ(atomic_load(&attempts_count[second]), 0);
    struct queue_change none = {.reset = QUEUE_CONCURRENCY_USER};
    EXPECT_EQ(change(world, "wide", none), 0);
    await_attempts(3);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, second), JOB_SUCCEEDED);
}

Test(engine_queue, slots_that_one_user_may_not_have_are_another_s)
{
    in_a_world(2, share_a_queue);
}
