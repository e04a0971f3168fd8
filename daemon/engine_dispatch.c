/* SPDX-License-Identifier: MIT */
/*
 * engine_dispatch: who runs next, and when.
 *
 * The dispatcher is one fiber.  It takes jobs in batches under one lock and starts a fiber for each
 * outside it (a spawned fiber runs at once); then the job belongs to its run (engine_run.c).  It
 * sleeps until it is kicked, or the next delayed job is due, or a queue's rate lets one go.
 */
#include "daemon/engine_impl.h"

#include "daemon/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, DUE_BATCH = 1024 };
#define SHORTAGE_PAUSE_NS (100 * WEFT_MILLISECOND) /* no memory or no fiber for a run */

struct batch {
    struct job_run *runs[BATCH]; /* [0, taken) have a job, [taken, made) are spare */
    size_t made, taken;
    size_t most;      /* to take at once: one after a shortage, then twice as many each time */
    uint64_t next_ns; /* monotonic: the next job is due, or gets a token of its queue's rate;
                       * WEFT_NO_DEADLINE: nothing waits for time to pass */
    bool more;        /* due jobs are left */
};

static void fill_spare(struct batch *batch)
{
    batch->taken = 0;
    while (batch->made < BATCH && job_run_new(&batch->runs[batch->made]) == 0)
        batch->made++;
}

/* The started ones are no longer ours. */
static void drop_taken(struct batch *batch)
{
    batch->made -= batch->taken;
    memmove(batch->runs, batch->runs + batch->taken, batch->made * sizeof(batch->runs[0]));
    batch->taken = 0;
}

static void free_spare(struct batch *batch)
{
    for (size_t i = 0; i < batch->made; i++)
        job_run_free(batch->runs[i]);
    batch->made = 0;
}

static void move_due_locked(struct engine *engine, struct batch *batch, int64_t now)
{
    struct job *job;
    size_t moved = 0;
    while ((job = job_heap_peek(&engine->delayed)) && job->record.due_at <= now) {
        if (moved++ == DUE_BATCH)
            break;
        job_heap_pop(&engine->delayed);
        engine_move_locked(engine, job, JOB_QUEUED, JOB_BY_DUE, now);
        engine_place_locked(engine, job);
    }
    batch->more = moved > DUE_BATCH;
}

static void take_jobs_locked(struct engine *engine, struct batch *batch, int64_t now,
                             uint64_t now_ns)
{
    while (batch->taken < batch->made && batch->taken < batch->most) {
        struct job *job = queue_set_take_next(engine->queues, now_ns);
        if (!job)
            return;
        struct job_run *run = batch->runs[batch->taken++];
        engine_move_locked(engine, job, JOB_RUNNING, JOB_BY_DISPATCH, now);
        job_run_link_locked(engine, run, job);
        run->started_row = job->record;
        engine->stats.started++;
    }
}

static uint64_t next_due_locked(const struct engine *engine, int64_t now)
{
    const struct job *first = job_heap_peek(&engine->delayed);
    return first ? engine_deadline_at(first->record.due_at, now) : WEFT_NO_DEADLINE;
}

/* The one timer of delays and rates.  now_ns: when the jobs were taken; what had no token then is
 * what is waited for, even if it has one by now. */
static uint64_t next_time_locked(const struct engine *engine, int64_t now, uint64_t now_ns)
{
    if (engine->draining)
        return WEFT_NO_DEADLINE;
    uint64_t due = next_due_locked(engine, now);
    if (engine->drained)
        return due;
    uint64_t token = queue_set_next_token(engine->queues, now_ns);
    return token < due ? token : due;
}

/* Returns false once the engine is to end: nothing was taken then. */
static bool take_batch(struct engine *engine, struct batch *batch)
{
    engine_lock_shielded(engine);
    int64_t now = job_wall_now(); /* under it: no job starts before what it came after has ended */
    uint64_t now_ns = weft_now_ns();
    bool goes_on = !engine->stopped && !engine_failed(engine);
    if (goes_on && !engine->draining) {
        move_due_locked(engine, batch, now);
        if (!engine->drained)
            take_jobs_locked(engine, batch, now, now_ns);
    }
    batch->next_ns = next_time_locked(engine, now, now_ns);
    engine_unlock(engine);
    return goes_on;
}

/* A fiber could not be had: the attempt is given back as at a stop, by the same way. */
static void give_back(struct engine *engine, struct job_run *run)
{
    engine_lock_shielded(engine);
    job_run_stop_locked(run, RUN_INTERRUPTED);
    engine_unlock(engine);
    job_run_end(run, -ECANCELED);
}

/* Returns the first error of a spawn, and 0 if each run has its fiber. */
static int start_batch(struct engine *engine, struct batch *batch)
{
    int first_rc = 0;
    for (size_t i = 0; i < batch->taken; i++) {
        int rc = first_rc;
        if (rc == 0)
            rc = weft_group_spawn(&engine->group, "job", job_run_main, batch->runs[i]);
        if (rc < 0)
            give_back(engine, batch->runs[i]);
        if (first_rc == 0)
            first_rc = rc;
    }
    drop_taken(batch);
    return first_rc;
}

/* Wait until there is something to do: a kick, the next due job, or better times. */
static int pause_dispatch(struct engine *engine, const struct batch *batch, bool shortage)
{
    uint64_t deadline = batch->next_ns;
    uint64_t retry = shortage ? weft_deadline_after(SHORTAGE_PAUSE_NS) : WEFT_NO_DEADLINE;
    if (batch->more)
        return weft_yield();
    if (shortage) /* the giving back has kicked us, and every submit would */
        return weft_sleep_until(retry < deadline ? retry : deadline);
    int rc = weft_event_wait(&engine->kick, deadline);
    return rc == -ETIMEDOUT ? weft_check_cancel() : rc;
}

static void note_shortage(struct batch *batch, int rc)
{
    if (batch->most == BATCH)
        log_warning("cannot start more jobs now, and will try again: %s", strerror(-rc));
    batch->most = 1;
}

/* Returns 0 when the engine has stopped or failed, or the -errno that cancelled this fiber. */
static int dispatch(struct engine *engine, struct batch *batch)
{
    batch->most = BATCH;
    for (;;) {
        weft_event_clear(&engine->kick);
        fill_spare(batch);
        if (!take_batch(engine, batch))
            return 0;
        size_t taken = batch->taken;
        int rc = batch->made == 0 ? -ENOMEM : start_batch(engine, batch);
        if (rc < 0)
            note_shortage(batch, rc);
        else if (taken > 0 && batch->most < BATCH)
            batch->most *= 2;
        if (rc == 0 && taken > 0)
            continue;
        rc = pause_dispatch(engine, batch, rc < 0);
        if (rc < 0)
            return rc;
    }
}

/* Cancelled from outside (the runtime stops): no new work, and the runs, which are cancelled too,
 * go back to queued. */
static void end_runs(struct engine *engine, int rc)
{
    if (rc < 0)
        engine_drain(engine);
    if (rc < 0 || engine_failed(engine))
        weft_group_cancel(&engine->group);
    weft_event_set(&engine->expiry);
    if (!engine_failed(engine))
        return;
    engine_lock_shielded(engine);
    engine_wake_all_locked(engine, -EIO);
    engine_unlock(engine);
}

int engine_run(struct engine *engine)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return -ENOMEM;
    engine_progress_start(engine);
    weft_group_init(&engine->group);
    int spawn_rc = weft_group_spawn(&engine->group, "expiry", engine_expire, engine);
    if (spawn_rc == 0)
        end_runs(engine, dispatch(engine, batch));
    weft_group_join(&engine->group); /* I5: no run has failed; a cancel is known already */
    engine_progress_stop(engine);
    free_spare(batch);
    free(batch);
    return engine_failed(engine) ? -EIO : spawn_rc;
}
