/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the engine share: a database (engine_base.h), attempts that do what their name
 * says, and a world that holds an engine.  Header only.
 */
#pragma once

#include "engine_base.h"

#include "daemon/config.h"
#include "daemon/engine_impl.h"

/* ---- attempts ---------------------------------------------------------------------------------
 * argv[0]: ok, fail, missing, hang (until stopped), gate (until opened), gate-fail, flaky (fails
 * but at its third attempt), deaf (fails by itself when it is cancelled).  Calls: echo as ok.
 */

enum { TRACE_MAX = 20000 };

static struct weft_event attempts_gate;
static atomic_int attempts_running, attempts_most; /* at once, now and ever */
static atomic_uint attempts_count[BASE_IDS];       /* by id: how often run */
static atomic_uint attempts_last[BASE_IDS];        /* by id: the number of the last attempt */
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_size_t trace_count; /* grows once its entry is written */
static uint64_t trace[TRACE_MAX]; /* ids, in order of start */

static void attempts_reset(void)
{
    weft_event_init(&attempts_gate);
    atomic_store(&attempts_most, 0);
    atomic_store(&trace_count, 0);
}

static void trace_add(uint64_t id)
{
    pthread_mutex_lock(&trace_lock);
    size_t at = atomic_load(&trace_count);
    if (at < TRACE_MAX)
        trace[at] = id;
    atomic_store(&trace_count, at + 1);
    pthread_mutex_unlock(&trace_lock);
}

static void attempt_begins(const struct run_request *request)
{
    int now = atomic_fetch_add(&attempts_running, 1) + 1;
    int most = atomic_load(&attempts_most);
    while (now > most && !atomic_compare_exchange_weak(&attempts_most, &most, now))
        ;
    atomic_fetch_add(&attempts_count[request->id], 1);
    atomic_store(&attempts_last[request->id], request->attempt);
    trace_add(request->id);
}

static int attempt_exit(struct run_outcome *outcome, int status)
{
    outcome->exit_code = status;
    outcome->error = status ? strdup("exit status 3") : NULL;
    return 0;
}

static int attempt_named(const char *name, const struct run_request *request,
                         struct run_outcome *outcome)
{
    int rc = 0;
    if (strcmp(name, "missing") == 0) {
        outcome->error = strdup("program not found: missing");
        return -ENOENT;
    }
    if (strcmp(name, "hang") == 0 || strcmp(name, "deaf") == 0)
        rc = weft_sleep_until(WEFT_NO_DEADLINE - 1);
    if (strncmp(name, "gate", 4) == 0)
        rc = weft_event_wait(&attempts_gate, WEFT_NO_DEADLINE);
    if (strcmp(name, "deaf") == 0)
        return attempt_exit(outcome, 3);
    if (rc < 0)
        return rc;
    bool flaky = strcmp(name, "flaky") == 0 && request->attempt < 3;
    bool fails = strcmp(name, "fail") == 0 || strcmp(name, "gate-fail") == 0 || flaky;
    return attempt_exit(outcome, fails ? 3 : 0);
}

static int attempt_exec(struct runner *runner, const struct run_request *request,
                        struct run_outcome *outcome)
{
    (void)runner;
    attempt_begins(request);
    int rc = attempt_named(request->spec->argv[0], request, outcome);
    atomic_fetch_sub(&attempts_running, 1);
    return rc;
}

static int attempt_native(struct runner *runner, const struct run_request *request,
                          struct run_outcome *outcome)
{
    (void)runner;
    attempt_begins(request);
    outcome->result = json_dumps(request->spec->args, JSON_COMPACT);
    atomic_fetch_sub(&attempts_running, 1);
    return 0;
}

static int attempt_leftovers(struct runner *runner)
{
    (void)runner;
    return 2;
}

static void attempt_hurry(struct runner *runner)
{
    (void)runner;
}

/* ---- the world ------------------------------------------------------------------------------- */

struct world {
    struct config config;
    struct config_queue queues[4];
    struct base *base; /* outlives the world: what a restart finds */
    struct store *store;
    struct engine *engine;
    struct weft_group group; /* of engine_run() */
    struct engine_recovery recovery;
    unsigned workers;
    atomic_int run_rc; /* engine_run()'s, once it has returned */
    void (*body)(struct world *world);
};

static const struct peer me = {.uid = 1000, .gid = 1000};
UNUSED static const struct peer other = {.uid = 2000, .gid = 2000};
UNUSED static const struct peer admin = {.uid = 0, .admin = true};

UNUSED static struct base *base_new(void)
{
    struct base *base = calloc(1, sizeof(*base));
    pthread_mutex_init(&base->lock, NULL);
    pthread_cond_init(&base->released, NULL);
    base->next_id = 1;
    return base;
}

UNUSED static void base_free(struct base *base)
{
    for (size_t id = 0; id < BASE_IDS; id++)
        job_record_free(base->rows[id]);
    for (size_t i = 0; i < BASE_SETTINGS; i++) {
        free((char *)base->settings[i].name);
        free((char *)base->settings[i].value);
    }
    free(base);
}

/* Queues: default (8 at once), one (one at a time), paused, wide (1000). */
UNUSED static void world_init(struct world *world, struct base *base)
{
    *world = (struct world){.base = base, .workers = 2};
    world->queues[0] =
        (struct config_queue){.name = "default", .concurrency = 8, .aging = WEFT_SECOND};
    world->queues[1] = (struct config_queue){.name = "one", .concurrency = 1, .aging = WEFT_SECOND};
    world->queues[2] =
        (struct config_queue){.name = "paused", .concurrency = 0, .aging = WEFT_SECOND};
    world->queues[3] =
        (struct config_queue){.name = "wide", .concurrency = 1000, .aging = WEFT_SECOND};
    world->config.queues = world->queues;
    world->config.queues_count = 4;
    world->config.daemon.max_jobs = BASE_IDS;
    world->config.daemon.recent = 1000;
    world->config.daemon.events = 1000;
    world->config.store.batch_max = 4096;
    world->config.jobs = (struct config_jobs){
        .crash_limit = 3, .retry_base = WEFT_MILLISECOND, .retry_cap = 10 * WEFT_MILLISECOND};
}

static void attempt_freeze(struct runner *runner)
{
    (void)runner; /* nothing here has a control group */
}

static void world_make(struct world *world)
{
    EXPECT_EQ(store_open_backend(&base_ops, world->base, &world->config.store, &world->store), 0);
    struct engine_parts parts = {.config = &world->config, .store = world->store};
    EXPECT_EQ(engine_new(&parts, &world->engine), 0);
    world->engine->runners = (struct engine_runners){.exec = attempt_exec,
                                                     .native = attempt_native,
                                                     .kill_leftovers = attempt_leftovers,
                                                     .hurry = attempt_hurry,
                                                     .freeze = attempt_freeze};
    struct problem problem = {0};
    struct store_life life;
    store_life(world->store, &life);
    EXPECT_EQ(store_settings(world->store, engine_adopt_setting, world->engine, &problem), 0);
    EXPECT_EQ(store_recover(world->store, engine_adopt, world->engine, &problem), 0);
    engine_set_next_id(world->engine, life.next_id);
    engine_set_kept(world->engine, life.ended);
    EXPECT_EQ(store_start(world->store), 0);
}

static int world_engine(void *arg)
{
    struct world *world = arg;
    atomic_store(&world->run_rc, engine_run(world->engine));
    return 0;
}

static int world_stop_store(void *arg)
{
    struct world *world = arg;
    store_stop(world->store);
    return 0;
}

/* Its thread wakes fibers: it has to end before the runtime does. */
static void world_end(struct world *world)
{
    (void)weft_group_join(&world->group);
    EXPECT_EQ(weft_offload(world_stop_store, world, NULL), 0);
}

static int world_main(void *arg)
{
    struct world *world = arg;
    struct problem problem = {0};
    EXPECT_EQ(engine_recover(world->engine, &problem, &world->recovery), 0);
    weft_group_init(&world->group);
    EXPECT_EQ(weft_group_spawn(&world->group, "engine", world_engine, world), 0);
    world->body(world);
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
    world_end(world);
    return 0;
}

/* One life of a daemon: recover, run body on the main fiber, stop. */
UNUSED static void world_live(struct world *world, void (*body)(struct world *world))
{
    world->body = body;
    attempts_reset();
    world_make(world);
    on_fibers(world->workers, world_main, world);
    store_free(world->store);
    engine_free(world->engine);
}

/* The same on a database of its own. */
UNUSED static void in_a_world(unsigned workers, void (*body)(struct world *world))
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.workers = workers;
    world_live(&world, body);
    base_free(base);
}

/* ---- short forms ----------------------------------------------------------------------------- */

/* {"argv": [name], …more} where more begins with a comma or is empty. */
UNUSED static struct job_spec *spec_of(const char *name, const char *more)
{
    char text[512];
    struct rpc_error error;
    struct job_spec *spec;
    snprintf(text, sizeof(text), "{\"argv\":[\"%s\"]%s}", name, more);
    int rc = job_spec_from_text(text, &spec, &error);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", text, error.message);
    EXPECT_EQ(rc, 0);
    return spec;
}

UNUSED static struct job_spec *call_of(const char *more)
{
    char text[512];
    struct rpc_error error;
    struct job_spec *spec;
    snprintf(text, sizeof(text), "{\"call\":\"echo\"%s}", more);
    EXPECT_EQ(job_spec_from_text(text, &spec, &error), 0);
    return spec;
}

/* Takes over spec. */
static int submit_for(struct engine *engine, const struct peer *peer, struct job_spec *spec,
                      const struct engine_turn *turn, uint64_t *ret_id, struct rpc_error *error)
{
    struct engine_item item = {.spec = spec, .error = error};
    int rc = engine_submit(engine, peer, &item, turn);
    if (rc == 0)
        *ret_id = item.id;
    return rc;
}

UNUSED static uint64_t submit_spec(struct world *world, struct job_spec *spec)
{
    uint64_t id = 0;
    struct rpc_error error = {0};
    int rc = submit_for(world->engine, &me, spec, NULL, &id, &error);
    if (rc < 0)
        fprintf(stderr, "submit: %s\n", error.message);
    EXPECT_EQ(rc, 0);
    EXPECT(id > 0);
    return id;
}

UNUSED static uint64_t submit(struct world *world, const char *name, const char *more)
{
    return submit_spec(world, spec_of(name, more));
}

UNUSED static enum job_state state_of(struct world *world, uint64_t id)
{
    struct job_record *record;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_get(world->engine, &me, id, &record, &error), 0);
    enum job_state state = record->state;
    job_record_free(record);
    return state;
}

/* Wait until the job has ended; its record is the caller's. */
UNUSED static struct job_record *ended(struct world *world, uint64_t id)
{
    struct engine_page page;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_wait(world->engine, &me, &id, 1, WEFT_NO_DEADLINE, &page, &error), 0);
    EXPECT_EQ(page.count, 1);
    struct job_record *record = page.records[0];
    page.records[0] = NULL;
    engine_page_destroy(&page);
    return record;
}

UNUSED static enum job_state end_of(struct world *world, uint64_t id)
{
    struct job_record *record = ended(world, id);
    enum job_state state = record->state;
    EXPECT_EQ(record->id, id);
    job_record_free(record);
    return state;
}

UNUSED static void await_state(struct world *world, uint64_t id, enum job_state state)
{
    while (state_of(world, id) != state)
        EXPECT_EQ(weft_yield(), 0);
}

/* Until this many attempts have begun, and one worker would run them. */
UNUSED static void await_attempts(size_t count)
{
    while (atomic_load(&trace_count) < count)
        EXPECT_EQ(weft_yield(), 0);
}

/* Until the store thread stands in a commit that is held. */
UNUSED static void await_held(struct base *base)
{
    while (atomic_load(&base->waiting) == 0)
        EXPECT_EQ(weft_yield(), 0);
}

UNUSED static enum job_state cancel(struct world *world, uint64_t id)
{
    enum job_state state = JOB_NONE;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_cancel(world->engine, &me, &id, 1, &state, &error), 0);
    return state;
}

/* As job.explain has it. */
UNUSED static enum engine_why why_of(struct world *world, uint64_t id)
{
    struct engine_explanation facts = {0};
    struct rpc_error error = {0};
    EXPECT_EQ(engine_explain(world->engine, &me, id, &facts, &error), 0);
    job_record_free(facts.record);
    return facts.why;
}

/* Somebody who asks for a job's end, on a fiber of its own. */
struct canceller {
    struct world *world;
    uint64_t id;
    enum job_state state;
    atomic_bool returned;
};

/* Long enough for whatever is ready to come to rest. */
static inline void yield_often(void)
{
    for (int i = 0; i < 200; i++)
        EXPECT_EQ(weft_yield(), 0);
}
