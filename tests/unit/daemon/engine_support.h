/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the engine share: a database in memory that can be held up and can fail,
 * attempts that do what their name says, and a world that holds an engine.  Header only.
 *
 * The database checks what no engine may do: change a job that has ended but by a retry, update one
 * that is not there, give an id or an attempt's number twice.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/engine_impl.h"
#include "daemon/store_backend.h"

#include "support/fibers.h"

#include <pthread.h>
#include <string.h>

#define UNUSED __attribute__((unused)) /* a test file needs not all of these */

/* ---- the database ---------------------------------------------------------------------------- */

enum { BASE_IDS = 20000, BASE_OPS = 20000, BASE_SETTINGS = 16 };

struct base {
    struct job_record *rows[BASE_IDS]; /* by id; guarded by lock */
    const struct store_op *batch[BASE_OPS];
    size_t batch_count;
    struct store_setting settings[BASE_SETTINGS]; /* names NULL: free */
    pthread_mutex_t lock;                         /* also guards held */
    pthread_cond_t released;
    bool held;           /* commits wait */
    atomic_int waiting;  /* commits that do */
    atomic_int fail_in;  /* the nth commit from now fails; 0: none */
    atomic_bool no_room; /* the disk is full */
    atomic_int commits;
    uint64_t next_id;
};

static int base_life(void *arg, struct problem *problem, struct store_life *ret_life)
{
    struct base *base = arg;
    (void)problem;
    ret_life->next_id = base->next_id;
    strcpy(ret_life->instance, "0123456789abcdef0123456789abcdef");
    return 0;
}

static int base_recover(void *arg, int (*row)(void *arg, const struct job_record *record),
                        void *row_arg, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    for (size_t id = 0; id < BASE_IDS; id++) {
        int rc = 0;
        if (base->rows[id] && !job_state_is_end(base->rows[id]->state))
            rc = row(row_arg, base->rows[id]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int base_begin(void *arg, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    base->batch_count = 0;
    return 0;
}

static int base_apply(void *arg, const struct store_op *op, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    EXPECT(base->batch_count < BASE_OPS);
    base->batch[base->batch_count++] = op;
    return 0;
}

/* What a retry makes of a job that has ended, and what is kept of it. */
static bool base_revives(const struct job_record *old, const struct job_record *record)
{
    return old->state != JOB_SUCCEEDED && record->state == JOB_QUEUED &&
           record->attempt == old->attempt && record->failures == 0 && record->crashes == 0 &&
           record->finished_at == 0 && !record->error && !record->result;
}

static void base_write(struct base *base, enum store_kind kind, const struct job_record *record)
{
    EXPECT(record->id > 0 && record->id < BASE_IDS);
    struct job_record *old = base->rows[record->id];
    EXPECT(record->state != JOB_NONE);
    EXPECT((kind == STORE_INSERT) == (old == NULL));
    EXPECT(!old || !job_state_is_end(old->state) || base_revives(old, record));
    EXPECT(!old || record->attempt >= old->attempt || record->state == JOB_QUEUED);
    EXPECT_EQ(job_record_copy(record, &base->rows[record->id]), 0);
    job_record_free(old);
    if (record->id >= base->next_id)
        base->next_id = record->id + 1;
}

static void base_set(struct base *base, const struct store_setting *setting)
{
    struct store_setting *at = NULL;
    for (size_t i = 0; i < BASE_SETTINGS; i++) {
        struct store_setting *one = &base->settings[i];
        if (one->name && strcmp(one->name, setting->name) == 0)
            at = one;
        else if (!one->name && !at)
            at = one;
    }
    EXPECT(at != NULL);
    free((char *)at->name);
    free((char *)at->value);
    *at = (struct store_setting){0};
    if (setting->value)
        *at = (struct store_setting){strdup(setting->name), strdup(setting->value)};
}

static int base_settings(void *arg, int (*setting)(void *arg, const char *name, const char *value),
                         void *setting_arg, struct problem *problem)
{
    struct base *base = arg;
    int rc = 0;
    (void)problem;
    for (size_t i = 0; rc == 0 && i < BASE_SETTINGS; i++)
        if (base->settings[i].name)
            rc = setting(setting_arg, base->settings[i].name, base->settings[i].value);
    return rc;
}

static void base_wait(struct base *base)
{
    pthread_mutex_lock(&base->lock);
    atomic_fetch_add(&base->waiting, 1);
    while (base->held)
        pthread_cond_wait(&base->released, &base->lock);
    atomic_fetch_sub(&base->waiting, 1);
    pthread_mutex_unlock(&base->lock);
}

static void base_apply_one(struct base *base, const struct store_op *op, size_t i)
{
    if (op->kind == STORE_SET)
        base_set(base, &op->settings[i]);
    else
        base_write(base, op->kind, op->rows[i]);
}

static int base_commit(void *arg, struct problem *problem)
{
    struct base *base = arg;
    base_wait(base);
    if (atomic_load(&base->fail_in) > 0 && atomic_fetch_sub(&base->fail_in, 1) == 1)
        return problem_set(problem, -EIO, "the disk is on fire");
    pthread_mutex_lock(&base->lock);
    for (size_t i = 0; i < base->batch_count; i++)
        for (size_t k = 0; k < base->batch[i]->count; k++)
            base_apply_one(base, base->batch[i], k);
    pthread_mutex_unlock(&base->lock);
    atomic_fetch_add(&base->commits, 1);
    return 0;
}

static void base_rollback(void *arg)
{
    (void)arg;
}

static int base_read_ids(struct base *base, struct store_op *op)
{
    op->found = calloc(op->count + 1, sizeof(struct job_record *));
    op->found_count = op->count;
    for (size_t i = 0; i < op->count; i++)
        if (op->ids[i] < BASE_IDS && base->rows[op->ids[i]])
            EXPECT_EQ(job_record_copy(base->rows[op->ids[i]], &op->found[i]), 0);
    return 0;
}

static bool base_matches(const struct store_filter *filter, const struct job_record *record)
{
    return record && job_state_is_end(record->state) &&
           (filter->all_users || filter->uid == record->uid) &&
           (filter->states == 0 || (filter->states & 1u << record->state)) &&
           (!filter->queue || strcmp(filter->queue, record->queue) == 0) &&
           (filter->before == 0 || record->id < filter->before);
}

static int base_read(void *arg, struct store_op *op, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    if (op->kind == STORE_GET)
        return base_read_ids(base, op);
    op->found = calloc(op->filter.limit + 1, sizeof(struct job_record *));
    op->found_count = 0;
    for (size_t id = BASE_IDS; id-- > 0 && op->found_count < op->filter.limit;)
        if (base_matches(&op->filter, base->rows[id]))
            EXPECT_EQ(job_record_copy(base->rows[id], &op->found[op->found_count++]), 0);
    return 0;
}

static int base_idle(void *arg, struct problem *problem)
{
    (void)arg, (void)problem;
    return 0;
}

static uint64_t base_room(void *arg)
{
    struct base *base = arg;
    return atomic_load(&base->no_room) ? 0 : UINT64_MAX;
}

static uint64_t base_bytes(void *arg)
{
    (void)arg;
    return 0;
}

static void base_close(void *arg)
{
    (void)arg;
}

static const struct store_backend_ops base_ops = {
    .name = "memory",
    .life = base_life,
    .settings = base_settings,
    .recover = base_recover,
    .begin = base_begin,
    .apply = base_apply,
    .commit = base_commit,
    .rollback = base_rollback,
    .read = base_read,
    .idle = base_idle,
    .room = base_room,
    .file_bytes = base_bytes,
    .close = base_close,
};

UNUSED static void base_hold(struct base *base)
{
    pthread_mutex_lock(&base->lock);
    base->held = true;
    pthread_mutex_unlock(&base->lock);
}

UNUSED static void base_release(struct base *base)
{
    pthread_mutex_lock(&base->lock);
    base->held = false;
    pthread_cond_broadcast(&base->released);
    pthread_mutex_unlock(&base->lock);
}

/* What the database says of a job now; JOB_NONE: nothing. */
UNUSED static enum job_state base_state(struct base *base, uint64_t id)
{
    pthread_mutex_lock(&base->lock);
    enum job_state state = base->rows[id] ? base->rows[id]->state : JOB_NONE;
    pthread_mutex_unlock(&base->lock);
    return state;
}

/* Whether the database has the job, and its spec contains part. */
UNUSED static bool base_has(struct base *base, uint64_t id, const char *part)
{
    pthread_mutex_lock(&base->lock);
    bool has = base->rows[id] && strstr(base->rows[id]->spec, part);
    pthread_mutex_unlock(&base->lock);
    return has;
}

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
    world->queues[0] = (struct config_queue){"default", 8, 0, WEFT_SECOND};
    world->queues[1] = (struct config_queue){"one", 1, 0, WEFT_SECOND};
    world->queues[2] = (struct config_queue){"paused", 0, 0, WEFT_SECOND};
    world->queues[3] = (struct config_queue){"wide", 1000, 0, WEFT_SECOND};
    world->config.queues = world->queues;
    world->config.queues_count = 4;
    world->config.daemon.max_jobs = BASE_IDS;
    world->config.daemon.recent = 1000;
    world->config.daemon.events = 1000;
    world->config.store.batch_max = 4096;
    world->config.jobs = (struct config_jobs){3, WEFT_MILLISECOND, 10 * WEFT_MILLISECOND};
}

static void world_make(struct world *world)
{
    EXPECT_EQ(store_open_backend(&base_ops, world->base, &world->config.store, &world->store), 0);
    struct engine_parts parts = {.config = &world->config, .store = world->store};
    EXPECT_EQ(engine_new(&parts, &world->engine), 0);
    world->engine->runners =
        (struct engine_runners){attempt_exec, attempt_native, attempt_leftovers, attempt_hurry};
    struct problem problem = {0};
    struct store_life life;
    store_life(world->store, &life);
    EXPECT_EQ(store_settings(world->store, engine_adopt_setting, world->engine, &problem), 0);
    EXPECT_EQ(store_recover(world->store, engine_adopt, world->engine, &problem), 0);
    engine_set_next_id(world->engine, life.next_id);
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

UNUSED static uint64_t submit_spec(struct world *world, struct job_spec *spec)
{
    uint64_t id = 0;
    struct rpc_error error = {0};
    int rc = engine_submit(world->engine, &me, spec, NULL, &id, &error);
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
