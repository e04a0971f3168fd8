/* SPDX-License-Identifier: MIT */
/*
 * engine_expire: jobs whose timeout_total is over.
 *
 * The time is one of the record, on the wall clock, so it holds over restarts.  A job that runs by
 * then is ended by its own run, whose scope has that deadline (engine_run.c).  Those that wait, for
 * others, for a time or for a slot, are ended by one fiber here, which sleeps until the first of
 * them is due.
 *
 * I44  A job with a time is in engine.expiring from when it is placed as waiting, delayed or queued
 *      until it starts, ends, or its time has come.  Whoever commits its end by then has taken it
 *      already, and this fiber leaves it to them.
 * I45  expiring has room for every live job with a time (engine.mortal counts them): what I8 says.
 *
 * Who may call: the engine's own files, under its lock; the fiber: engine_run().
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPIRED_BATCH = 32 }; /* on the stack of the fiber: 12 KiB */

/* ---- who expires, and when ------------------------------------------------------------------- */

int64_t engine_expiry_of(const struct job_spec *spec, int64_t due_at)
{
    return spec->timeout_total_ns ? job_wall_after(due_at, spec->timeout_total_ns) : 0;
}

int engine_expiry_again(const struct job_record *record, int64_t now, int64_t *ret_expires_at)
{
    struct job_spec *spec;
    struct rpc_error error;
    *ret_expires_at = 0;
    if (!strstr(record->spec, "\"timeout_total\":")) /* most have none, and need not be parsed */
        return 0;
    int rc = job_spec_from_text(record->spec, &spec, &error);
    if (rc < 0)
        return rc == -ENOMEM ? rc : 0; /* it fails when it is run, and says why there */
    *ret_expires_at = engine_expiry_of(spec, now);
    job_spec_free(spec);
    return 0;
}

int engine_expiry_reserve_locked(struct engine *engine, int64_t expires_at)
{
    if (expires_at == 0)
        return 0;
    return job_heap_reserve(&engine->expiring, engine->mortal + 1 - engine->expiring.count);
}

void engine_expiry_join_locked(struct engine *engine, struct job *job)
{
    if (job->record.expires_at == 0 || job->expiry_index != JOB_NOT_IN_HEAP)
        return;
    job_heap_push(&engine->expiring, job);
    if (job_heap_peek(&engine->expiring) == job) /* sooner than what is slept for */
        weft_event_set(&engine->expiry);
}

void engine_expiry_leave_locked(struct engine *engine, struct job *job)
{
    if (job->expiry_index != JOB_NOT_IN_HEAP)
        job_heap_remove(&engine->expiring, job);
}

/* ---- the fiber ------------------------------------------------------------------------------- */

struct expired {
    struct job *jobs[EXPIRED_BATCH];
    struct job_record records[EXPIRED_BATCH];
    const struct job_record *rows[EXPIRED_BATCH];
    char errors[EXPIRED_BATCH][160];
    size_t count;
    int64_t now;
    uint64_t next_ns; /* monotonic: when the first of the others is due */
};

/* What the last attempt left is worth keeping: it may be why there was no success in time. */
static void describe(const struct job_record *record, char error[160])
{
    if (record->error)
        snprintf(error, 160, ENGINE_EXPIRED "; attempt %u: %s", record->attempt, record->error);
    else
        snprintf(error, 160, ENGINE_EXPIRED);
}

static void take_locked(struct engine *engine, struct expired *expired)
{
    struct job *job;
    while (expired->count < EXPIRED_BATCH && (job = job_heap_peek(&engine->expiring)) &&
           job->record.expires_at <= expired->now) {
        job_heap_pop(&engine->expiring);
        if (job->committing) /* I44 */
            continue;
        struct job_record *record = &expired->records[expired->count];
        describe(&job->record, expired->errors[expired->count]);
        engine_take_waiting_locked(engine, job, JOB_TIMED_OUT, JOB_BY_EXPIRY, record, expired->now);
        record->error = expired->errors[expired->count];
        expired->rows[expired->count] = record;
        expired->jobs[expired->count++] = job;
    }
}

static uint64_t next_locked(const struct engine *engine, int64_t now)
{
    const struct job *first = job_heap_peek(&engine->expiring);
    if (!first)
        return WEFT_NO_DEADLINE;
    return engine_deadline_at(first->record.expires_at, now);
}

static void end_taken(struct engine *engine, struct expired *expired, struct engine_op *op)
{
    int rc = engine_await(engine, op);
    engine_lock_shielded(engine);
    for (size_t i = 0; rc == 0 && i < expired->count; i++) {
        struct job *job = expired->jobs[i];
        job_set_texts(job, NULL, strdup(expired->errors[i])); /* shown; without memory, not */
        engine_end_taken_locked(engine, job, JOB_TIMED_OUT, JOB_BY_EXPIRY, expired->now);
    }
    engine_release_locked(engine);
    engine_unlock_settling(engine);
}

/* Returns false once the engine is to end. */
static bool expire_some(struct engine *engine, struct expired *expired)
{
    struct engine_op op = {0};
    engine_lock_shielded(engine);
    bool goes_on = !engine->stopped && !engine_failed(engine);
    expired->count = 0;
    expired->now = job_wall_now();
    if (goes_on)
        take_locked(engine, expired);
    engine_push_change_locked(engine, &op, STORE_UPDATE, expired->rows, expired->count);
    expired->next_ns = next_locked(engine, expired->now);
    engine_unlock(engine);
    if (expired->count > 0)
        end_taken(engine, expired, &op);
    return goes_on;
}

int engine_expire(void *arg)
{
    struct engine *engine = arg;
    struct expired expired;
    int rc = 0;
    do {
        weft_event_clear(&engine->expiry);
        if (!expire_some(engine, &expired))
            return 0;
        if (expired.count == 0) /* else there may be more, and the time has moved on */
            rc = weft_event_wait(&engine->expiry, expired.next_ns);
    } while (rc == 0 || (rc == -ETIMEDOUT && weft_check_cancel() == 0));
    return 0;
}
