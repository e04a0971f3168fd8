/* SPDX-License-Identifier: MIT */
/*
 * engine_recover: jobs from the store, at start.
 *
 * engine_adopt() puts what was queued and delayed where it belongs and sets aside what was running
 * or waiting.  engine_recover() looks how the dependencies of the waiting ones ended, then treats
 * the running ones as crashes, and commits that before anybody is served.
 *
 * I20  A record from disk is checked, never trusted: what cannot be is -EBADMSG, and the daemon
 *      does not start.
 * Who may call: main, before anything else uses the engine; engine_recover() on the main fiber.
 */
#include "daemon/engine_impl.h"

#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CRASH_BATCH = 1024, ADOPT_BATCH = 256 };

/* ---- adopt ----------------------------------------------------------------------------------- */

static bool is_sane(const struct engine *engine, const struct job_record *record)
{
    const struct job_table *table = &engine->table;
    uint64_t last = table->count > 0 ? table->slots[table->count - 1].id : 0;
    bool live = record->state > JOB_NONE && record->state < JOB_SUCCEEDED;
    return live && record->id > last && record->queue && record->spec &&
           (record->state != JOB_RUNNING || record->attempt > 0);
}

static int find_queue(struct engine *engine, const char *name, struct queue **ret_queue)
{
    struct queue *queue = queue_set_find(engine->queues, name);
    if (!queue) {
        int rc = queue_set_add_orphan(engine->queues, name, &queue);
        if (rc < 0)
            return rc;
        log_warning("queue %s is in the store and not in the configuration: its jobs run one at a "
                    "time, and it takes no new ones",
                    name);
    }
    *ret_queue = queue;
    return 0;
}

/* One whose spec cannot be read any more waits for nothing: it fails when it is run, and says why
 * there. */
static int adopt_needs(struct job *job)
{
    struct job_spec *spec;
    struct rpc_error error;
    int rc = job_spec_from_text(job->record.spec, &spec, &error);
    if (rc < 0)
        return rc == -ENOMEM ? rc : 0;
    rc = engine_needs_new(spec, job);
    job_spec_free(spec);
    return rc;
}

/* I20: of two that cannot both be, the later one has no key. */
static int adopt_key(struct engine *engine, struct job *job)
{
    int rc = engine_key_from_record(job);
    if (rc < 0 || !job->key)
        return rc;
    if (!engine_key_holder_locked(engine, job))
        return job_keys_reserve(&engine->keys);
    free(job->key);
    job->key = NULL;
    return 0;
}

static void set_aside(struct job **list, struct job *job)
{
    job->recent_next = *list;
    *list = job;
}

int engine_adopt(void *arg, const struct job_record *record)
{
    struct engine *engine = arg;
    struct queue *queue;
    struct job *job;
    if (!is_sane(engine, record))
        return -EBADMSG;
    int rc = find_queue(engine, record->queue, &queue);
    if (rc == 0)
        rc = engine_reserve_locked(engine, queue, record->uid, 1);
    if (rc == 0)
        rc = job_new(record, queue, &job);
    if (rc < 0)
        return rc;
    rc = record->state == JOB_WAITING ? adopt_needs(job) : 0;
    if (rc == 0)
        rc = adopt_key(engine, job);
    if (rc == 0)
        rc = engine_expiry_reserve_locked(engine, record->expires_at);
    if (rc < 0) {
        job_free(job);
        return rc;
    }
    engine_add_live_locked(engine, job);
    engine_key_join_locked(engine, job);
    engine_set_next_id(engine, record->id + 1);
    if (record->state == JOB_RUNNING)
        set_aside(&engine->crashed, job);
    else if (record->state == JOB_WAITING)
        set_aside(&engine->adopted, job);
    if (record->state !=
        JOB_RUNNING) /* a waiting one is placed nowhere but among those that expire */
        engine_place_locked(engine, job);
    return 0;
}

/* ---- dependencies ---------------------------------------------------------------------------- */

/* The needs of some that were set aside, as a list; those without go back to the engine at once. */
static size_t take_adopted(struct engine *engine, struct job **jobs, struct job_needs **ret_needs)
{
    size_t count = 0;
    *ret_needs = NULL;
    while (engine->adopted && count < ADOPT_BATCH) {
        struct job *job = engine->adopted;
        engine->adopted = job->recent_next;
        job->recent_next = NULL;
        jobs[count++] = job;
        if (!job->needs)
            continue;
        job->needs->next = *ret_needs;
        *ret_needs = job->needs;
    }
    return count;
}

/* A dependency that is not there any more has ended, and the store has let go of it: had it ended
 * badly, its dependents would have been cancelled before. */
static int settle_adopted(struct engine *engine)
{
    static const struct peer all = {.admin = true}; /* who may see what was asked at the submit */
    struct job *jobs[ADOPT_BATCH];
    struct job_needs *needs;
    struct engine_known known = {0};
    uint64_t missing;
    size_t count = take_adopted(engine, jobs, &needs);
    int rc = engine_lock_knowing(engine, needs, &known);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        (void)engine_needs_link_locked(engine, &all, jobs[i], &known, &missing);
        engine_needs_settle_locked(engine, jobs[i]);
    }
    if (rc == 0)
        engine_unlock_settling(engine);
    engine_known_destroy(&known);
    return rc;
}

static int settle_waiting(struct engine *engine, struct problem *problem)
{
    int rc = 0;
    while (rc == 0 && engine->adopted)
        rc = settle_adopted(engine);
    if (rc < 0 && !engine_has_failed(engine, problem))
        problem_set(problem, rc, "the store refused what recovery asked: %s", strerror(-rc));
    return rc;
}

/* ---- crashes --------------------------------------------------------------------------------- */

struct crash {
    struct job *job;
    struct job_record row;
    char error[96];
};

struct crashes {
    struct crash all[CRASH_BATCH];
    const struct job_record *rows[CRASH_BATCH];
    size_t count;
};

/* A spec that cannot be read any more fails when it is run, and says why there.  Errors: -ENOMEM. */
static int on_crash(const struct job *job, enum job_on_crash *ret_wish)
{
    struct job_spec *spec;
    struct rpc_error error;
    int rc = job_spec_from_text(job->record.spec, &spec, &error);
    *ret_wish = rc < 0 ? JOB_CRASH_REQUEUE : spec->on_crash;
    if (rc == 0)
        job_spec_free(spec);
    return rc == -ENOMEM ? rc : 0;
}

static int plan(struct engine *engine, struct crash *crash, struct job *job, int64_t now)
{
    enum job_on_crash wish;
    int rc = on_crash(job, &wish);
    if (rc < 0)
        return rc;
    crash->job = job;
    crash->row = job->record;
    enum job_state to = engine_after_crash(engine, &job->record, wish);
    (void)job_record_move(&crash->row, to, JOB_BY_CRASH, now);
    snprintf(crash->error, sizeof(crash->error), "weftd died during attempt %" PRIu32 "%s",
             job->record.attempt,
             crash->row.state == JOB_DEAD ? "; it has died too often for another" : "");
    crash->row.error = crash->error;
    crash->row.result = NULL;
    return 0;
}

static void count_crash(struct engine_recovery *recovery, enum job_state state)
{
    recovery->requeued += state == JOB_QUEUED;
    recovery->failed += state == JOB_FAILED;
    recovery->dead += state == JOB_DEAD;
}

static void settle(struct engine *engine, struct crashes *crashes, int64_t now,
                   struct engine_recovery *recovery)
{
    engine_lock_shielded(engine);
    for (size_t i = 0; i < crashes->count; i++) {
        struct crash *crash = &crashes->all[i];
        count_crash(recovery, crash->row.state);
        job_set_texts(crash->job, NULL, strdup(crash->error)); /* shown; without memory, not */
        engine_move_locked(engine, crash->job, crash->row.state, JOB_BY_CRASH, now);
        engine_place_locked(engine, crash->job);
    }
    engine_unlock_settling(engine);
}

/* One store op's worth of the jobs that were set aside. */
static int plan_some(struct engine *engine, struct crashes *crashes, int64_t now)
{
    crashes->count = 0;
    while (engine->crashed && crashes->count < CRASH_BATCH) {
        struct job *job = engine->crashed;
        int rc = plan(engine, &crashes->all[crashes->count], job, now);
        if (rc < 0)
            return rc;
        engine->crashed = job->recent_next;
        crashes->rows[crashes->count] = &crashes->all[crashes->count].row;
        crashes->count++;
    }
    return 0;
}

static int settle_some(struct engine *engine, struct crashes *crashes,
                       struct engine_recovery *recovery)
{
    int64_t now = job_wall_now();
    int rc = plan_some(engine, crashes, now);
    if (rc < 0)
        return rc;
    struct engine_op op = {.op = {.rows = crashes->rows, .count = crashes->count}};
    engine_push(engine, &op, STORE_UPDATE);
    rc = engine_await(engine, &op);
    if (rc == 0)
        settle(engine, crashes, now, recovery);
    return rc;
}

static int settle_crashes(struct engine *engine, struct problem *problem,
                          struct engine_recovery *recovery)
{
    struct crashes *crashes = malloc(sizeof(*crashes));
    int rc = crashes ? 0 : problem_set(problem, -ENOMEM, "out of memory");
    while (rc == 0 && engine->crashed) {
        rc = settle_some(engine, crashes, recovery);
        if (rc < 0 && !engine_has_failed(engine, problem))
            problem_set(problem, rc, "what recovery found cannot be settled: %s", strerror(-rc));
    }
    free(crashes);
    return rc;
}

/* One that cannot be killed (it hangs in the kernel) must not keep all others from running: the
 * number of its attempt sets it apart. */
static size_t kill_leftovers(struct engine *engine)
{
    int killed = engine->runners.kill_leftovers(engine->runner);
    if (killed < 0)
        log_warning("processes of an earlier life of weftd may be left: %s", strerror(-killed));
    return killed > 0 ? (size_t)killed : 0;
}

int engine_recover(struct engine *engine, struct problem *problem,
                   struct engine_recovery *ret_recovery)
{
    struct engine_recovery recovery = {
        .queued = engine->stats.live[JOB_QUEUED],
        .delayed = engine->stats.live[JOB_DELAYED],
        .waiting = engine->stats.live[JOB_WAITING],
        .killed = kill_leftovers(engine),
    };
    int rc = settle_waiting(engine, problem);
    if (rc == 0)
        rc = settle_crashes(engine, problem, &recovery);
    if (rc < 0)
        return rc;
    *ret_recovery = recovery;
    return 0;
}
