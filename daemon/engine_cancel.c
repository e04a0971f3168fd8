/* SPDX-License-Identifier: MIT */
/*
 * engine_cancel: cancelling jobs in any state.
 *
 * Waiting, queued and delayed jobs leave their places, one store op ends them all, and then they move.  A
 * running job's run is told to stop, and ends it.  A job that awaits a commit already is left to
 * whoever awaits it: a run looks at run.stop once more after its commit (I14 of engine_run.c).
 * Then this fiber waits, like job.wait, until each has ended.
 *
 * I17  A cancelled request stops waiting; the cancelling goes on.
 *
 * No job is retried between the look at memory and the one at the store (I22): what is found there
 * has ended.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <stdlib.h>

struct cancel {
    const struct peer *peer;
    const uint64_t *ids;
    size_t count;
    enum job_state *results;
    struct rpc_error *errors;
    struct job_waiters *nodes;  /* .waiter set: it is in memory; .ended is its result */
    struct job_record **stored; /* of ids that are not in memory */
    struct job **jobs;          /* taken out of their heaps, to be ended here */
    struct job_record *rows;    /* what the store is told of them */
    const struct job_record **row_list;
    size_t taken;
    struct engine_waiter waiter;
};

void engine_take_waiting_locked(struct engine *engine, struct job *job, enum job_state to,
                                enum job_cause cause, struct job_record *row, int64_t now)
{
    if (job->record.state == JOB_QUEUED)
        queue_remove(job->queue, job);
    else if (job->record.state == JOB_DELAYED)
        job_heap_remove(&engine->delayed, job);
    job->committing = true;
    *row = job->record;
    (void)job_record_move(row, to, cause, now);
}

void engine_end_taken_locked(struct engine *engine, struct job *job, enum job_state to,
                             enum job_cause cause, int64_t now)
{
    engine_move_locked(engine, job, to, cause, now);
    job->committing = false;
    engine_place_locked(engine, job);
}

static void take_locked(struct engine *engine, struct cancel *cancel, struct job *job, int64_t now)
{
    struct job_record *row = &cancel->rows[cancel->taken];
    engine_take_waiting_locked(engine, job, JOB_CANCELLED, JOB_BY_CANCEL, row, now);
    cancel->row_list[cancel->taken] = row;
    cancel->jobs[cancel->taken++] = job;
}

static void cancel_one_locked(struct engine *engine, struct cancel *cancel, size_t i, int64_t now)
{
    struct job *job = engine_find_locked(engine, cancel->peer, cancel->ids[i]);
    if (!job)
        return;
    if (job_state_is_end(job->record.state)) {
        cancel->nodes[i].waiter = &cancel->waiter; /* answered, as if it had been watched */
        cancel->nodes[i].ended = job->record.state;
        return;
    }
    engine_waiter_watch_locked(&cancel->waiter, &cancel->nodes[i], job);
    if (job->run)
        job_run_stop_locked(job->run, RUN_CANCELLED);
    else if (!job->committing)
        take_locked(engine, cancel, job, now);
}

/* Stop what runs, take what waits, and push the end of those. */
static int begin(struct engine *engine, struct cancel *cancel, struct engine_op *op, int64_t now)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    if (engine_failed(engine) || engine->stopped) {
        rc = engine_failed(engine) ? -EIO : -ESHUTDOWN;
        engine_unlock(engine);
        return rc;
    }
    engine_waiter_add_locked(engine, &cancel->waiter, cancel->nodes, cancel->count);
    for (size_t i = 0; i < cancel->count; i++)
        cancel_one_locked(engine, cancel, i, now);
    engine_push_change_locked(engine, op, STORE_UPDATE, cancel->row_list, cancel->taken);
    engine_unlock(engine);
    return 0;
}

static int end_taken(struct engine *engine, struct cancel *cancel, struct engine_op *op,
                     int64_t now)
{
    if (cancel->taken == 0)
        return 0;
    int rc = engine_await(engine, op);
    engine_lock_shielded(engine);
    for (size_t i = 0; rc == 0 && i < cancel->taken; i++)
        engine_end_taken_locked(engine, cancel->jobs[i], JOB_CANCELLED, JOB_BY_CANCEL, now);
    engine_release_locked(engine);
    engine_unlock_settling(engine);
    return rc;
}

/* err: why those that have not ended yet will not be waited for, or 0. */
static void answer(struct engine *engine, struct cancel *cancel, int err)
{
    for (size_t i = 0; i < cancel->count; i++) {
        const struct job_record *stored = cancel->stored[i];
        enum job_state state = stored ? stored->state : cancel->nodes[i].ended;
        cancel->results[i] = job_state_is_end(state) ? state : JOB_NONE;
        if (cancel->results[i] != JOB_NONE)
            continue;
        if (err < 0)
            engine_refuse(engine, &cancel->errors[i], err);
        else
            engine_refuse_id(&cancel->errors[i], cancel->ids[i]);
    }
}

/* What is left then is to wait.  *ret_rc: why some may not have been cancelled, or 0. */
static int look_and_stop(struct engine *engine, struct cancel *cancel, int *ret_rc)
{
    struct engine_op op = {0};
    int64_t now = job_wall_now();
    int rc = weft_rwlock_rdlock(&engine->retrying, WEFT_NO_DEADLINE);
    if (rc < 0)
        return rc;
    rc = begin(engine, cancel, &op, now);
    if (rc == 0) {
        int commit_rc = end_taken(engine, cancel, &op, now);
        int stored_rc = engine_fill_stored(engine, cancel->peer, cancel->ids, cancel->count,
                                           cancel->nodes, cancel->stored);
        *ret_rc = commit_rc < 0 ? commit_rc : stored_rc;
    }
    weft_rwlock_unlock(&engine->retrying);
    return rc;
}

static int cancel_all(struct engine *engine, struct cancel *cancel)
{
    int stop_rc = 0;
    int rc = look_and_stop(engine, cancel, &stop_rc);
    if (rc < 0)
        return rc;
    rc = engine_waiter_wait(engine, &cancel->waiter, WEFT_NO_DEADLINE);
    if (rc == -ECANCELED || rc == -ETIMEDOUT) /* I17 */
        return rc;
    answer(engine, cancel, rc < 0 ? rc : stop_rc);
    return 0;
}

int engine_cancel(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                  enum job_state *results, struct rpc_error *errors)
{
    struct cancel cancel = {
        .peer = peer, .ids = ids, .count = count, .results = results, .errors = errors};
    cancel.nodes = calloc(count + 1, sizeof(*cancel.nodes));
    cancel.stored = calloc(count + 1, sizeof(*cancel.stored));
    cancel.jobs = calloc(count + 1, sizeof(*cancel.jobs));
    cancel.rows = calloc(count + 1, sizeof(*cancel.rows));
    cancel.row_list = calloc(count + 1, sizeof(*cancel.row_list));
    bool made = cancel.nodes && cancel.stored && cancel.jobs && cancel.rows && cancel.row_list;
    int rc = made ? cancel_all(engine, &cancel) : -ENOMEM;
    free(cancel.nodes);
    engine_records_free(cancel.stored, count);
    free(cancel.jobs);
    free(cancel.rows);
    free(cancel.row_list);
    return rc;
}
