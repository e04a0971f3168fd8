/* SPDX-License-Identifier: MIT */
/*
 * engine_run: the life of one run, in a fiber of its own.
 *
 * It tells the store that the attempt starts, runs it inside a scope, judges the outcome, gives the
 * slot back, commits, and moves the job.  So the commits of all runs that end at about the same
 * time are one.
 *
 * I11  From dispatch to its settling a job belongs to its run: nobody else moves it, pushes store
 *      ops for it or frees it.  Others may set run.stop and cancel run.scope, under the lock.
 * I12  run.scope is cancelled only while run.scope_open, which changes under the lock.
 * I13  A run that cannot commit (the store failed) ends without moving its job: recovery will find
 *      it running, and call it a crash.
 * I14  A cancel that arrives while the end of an attempt is being committed, and the job would go
 *      on (retry), is carried out by the run itself, after that commit.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- its place in the engine ----------------------------------------------------------------- */

void job_run_stop_locked(struct job_run *run, enum run_stop why)
{
    if (why <= run->stop)
        return;
    run->stop = why;
    if (run->scope_open)
        weft_scope_cancel(&run->scope);
}

static void unlink_run_locked(struct engine *engine, struct job_run *run)
{
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    if (engine->drained && !engine->runs)
        weft_cond_broadcast(&engine->idle);
    engine_release_locked(engine);
}

void job_run_link_locked(struct engine *engine, struct job_run *run, struct job *job)
{
    run->engine = engine;
    run->job = job;
    run->queue_timeout_ns = job->queue->timeout_ns;
    run->next = engine->runs;
    run->link = &engine->runs;
    if (run->next)
        run->next->link = &run->next;
    engine->runs = run;
    engine_hold_locked(engine);
    job->run = run;
}

void job_run_free(struct job_run *run)
{
    job_spec_free(run->spec);
    run_outcome_destroy(&run->outcome);
    free(run);
}

int job_run_new(struct job_run **ret_run)
{
    struct job_run *run = calloc(1, sizeof(*run));
    if (!run)
        return -ENOMEM;
    run_outcome_init(&run->outcome);
    *ret_run = run;
    return 0;
}

/* Also when the spec cannot be read: then the attempt fails with that reason. */
static int read_spec(struct job_run *run)
{
    struct rpc_error error;
    int rc = job_spec_from_text(run->job->record.spec, &run->spec, &error);
    if (rc < 0)
        run->outcome.error = strdup(error.message);
    return rc;
}

static void push_row(struct job_run *run, struct engine_op *op, const struct job_record *row,
                     const struct job_record **rows)
{
    *rows = row;
    op->op.rows = rows;
    op->op.count = 1;
    engine_push(run->engine, op, STORE_UPDATE);
}

/* I3 of engine.h.  Errors: -EIO the store failed. */
static int tell_started(struct job_run *run)
{
    if (run->started_row.memory_only)
        return 0;
    failpoint(FAILPOINT_START);
    push_row(run, &run->started, &run->started_row, &run->started_rows);
    run->started_pushed = true;
    bool awaited = run->spec->call || run->spec->on_crash == JOB_CRASH_FAIL;
    int rc = awaited ? engine_await(run->engine, &run->started) : 0;
    failpoint(FAILPOINT_STARTED);
    return rc;
}

/* The attempt's time or the job's, whichever ends first. */
static uint64_t deadline_of(struct job_run *run)
{
    uint64_t timeout = run->spec->timeout_ns ? run->spec->timeout_ns : run->queue_timeout_ns;
    uint64_t deadline = timeout ? weft_deadline_after(timeout) : WEFT_NO_DEADLINE;
    int64_t expires_at = run->started_row.expires_at, now = job_wall_now();
    if (expires_at == 0)
        return deadline;
    uint64_t expiry = engine_deadline_at(expires_at, now);
    run->expires = expiry < deadline;
    return run->expires ? expiry : deadline;
}

/* Errors: -ECANCELED told to stop before it began, -ETIMEDOUT its timeout_total was over. */
static int open_scope(struct job_run *run)
{
    struct engine *engine = run->engine;
    uint64_t deadline = deadline_of(run);
    run->late = run->expires && deadline <= weft_now_ns();
    if (run->late)
        return -ETIMEDOUT;
    engine_lock_shielded(engine);
    bool stopped = run->stop != RUN_GOES_ON;
    if (!stopped) {
        weft_scope_enter(&run->scope, deadline);
        run->scope_open = true;
    }
    engine_unlock(engine);
    return stopped ? -ECANCELED : 0;
}

/* Returns what the runner said, or why it was not asked. */
static int attempt(struct job_run *run)
{
    struct engine *engine = run->engine;
    int rc = read_spec(run);
    if (rc == 0)
        rc = tell_started(run);
    if (rc == 0)
        rc = open_scope(run);
    if (rc < 0)
        return rc;
    struct run_request request = {.spec = run->spec,
                                  .id = run->started_row.id,
                                  .attempt = run->started_row.attempt,
                                  .uid = run->started_row.uid,
                                  .gid = run->started_row.gid,
                                  .report = engine_progress_say,
                                  .report_arg = run,
                                  .freeze = &run->freeze};
    return (run->spec->call ? engine->runners.native
                            : engine->runners.exec)(engine->runner, &request, &run->outcome);
}

/* ---- what an outcome means ------------------------------------------------------------------- */

static bool succeeded(const struct job_run *run, int rc)
{
    return rc == 0 && (run->spec->call || run->outcome.exit_code == 0);
}

/* scope_rc: how the attempt's scope ended.  A stop counts only if it is what ended the attempt:
 * what ended by itself, ended by itself. */
static enum job_cause judge(const struct job_run *run, int rc, int scope_rc)
{
    if (succeeded(run, rc))
        return JOB_BY_SUCCESS;
    if (rc == 0)
        return JOB_BY_FAILURE;
    if (run->stop == RUN_CANCELLED)
        return JOB_BY_CANCEL;
    if (scope_rc == -ETIMEDOUT || run->late)
        return run->expires ? JOB_BY_EXPIRY : JOB_BY_TIMEOUT;
    if (run->stop == RUN_INTERRUPTED)
        return JOB_BY_INTERRUPT;
    if (run->outcome.crashed)
        return JOB_BY_CRASH;
    if (rc == -ENOMEM && !run->spec) /* it could not even begin */
        return JOB_BY_INTERRUPT;
    /* the runtime is stopping: the fiber was cancelled, and not by us */
    return rc == -ECANCELED && weft_check_cancel() < 0 ? JOB_BY_INTERRUPT : JOB_BY_FAILURE;
}

/* After a failure or timeout that is already counted in row.  What a handler refused is not tried
 * again. */
static enum job_state after_failure(const struct job_run *run, enum job_cause cause)
{
    uint32_t retries = run->spec && !run->outcome.refused ? run->spec->retries : 0;
    if (run->row.failures < retries + 1)
        return JOB_DELAYED;
    if (retries > 0)
        return JOB_DEAD;
    return cause == JOB_BY_TIMEOUT ? JOB_TIMED_OUT : JOB_FAILED;
}

static enum job_state target(struct job_run *run, enum job_cause *cause)
{
    run->row.failures++; /* as the move will, if it is one */
    enum job_state failed = after_failure(run, *cause);
    run->row.failures--;
    switch (*cause) {
    case JOB_BY_SUCCESS:
        return JOB_SUCCEEDED;
    case JOB_BY_CANCEL:
        return JOB_CANCELLED;
    case JOB_BY_EXPIRY:
        return JOB_TIMED_OUT;
    case JOB_BY_INTERRUPT:
        return JOB_QUEUED;
    case JOB_BY_CRASH:
        return engine_after_crash(run->engine, &run->row, run->spec->on_crash);
    default:
        if (failed != JOB_DELAYED || run->stop != RUN_CANCELLED)
            return failed;
        *cause = JOB_BY_CANCEL; /* it would have been tried again, and nobody wants it */
        return JOB_CANCELLED;
    }
}

static void describe(struct job_run *run, enum job_cause cause)
{
    const char *why = NULL;
    if (cause == JOB_BY_TIMEOUT)
        why = "timed out";
    else if (cause == JOB_BY_EXPIRY)
        why = ENGINE_EXPIRED;
    else if (cause == JOB_BY_FAILURE && !run->outcome.error)
        why = "failed";
    if (!why)
        return;
    free(run->outcome.error);
    run->outcome.error = strdup(why); /* without memory the state has to say it */
}

static void fill_outcome(struct job_run *run, enum job_cause cause)
{
    bool failed = cause != JOB_BY_SUCCESS && cause != JOB_BY_CANCEL;
    describe(run, cause);
    if (cause == JOB_BY_INTERRUPT)
        return; /* as if it had not been */
    run->row.exit_code = run->outcome.exit_code;
    run->row.term_signal = run->outcome.term_signal;
    run->row.result = cause == JOB_BY_SUCCESS ? run->outcome.result : NULL;
    run->row.error = failed ? run->outcome.error : NULL;
}

/* ---- the end of a run ------------------------------------------------------------------------ */

struct run_end {
    enum job_state to;
    enum job_cause cause;
    int64_t now;
};

/* Fills run->row with the job as it will be. */
static struct run_end plan_locked(struct job_run *run, int rc)
{
    int scope_rc = 0;
    if (run->scope_open) {
        run->scope_open = false; /* I12 */
        scope_rc = weft_scope_leave(&run->scope);
    }
    struct run_end end = {.cause = judge(run, rc, scope_rc), .now = job_wall_now()};
    run->row = run->job->record;
    end.to = target(run, &end.cause);
    (void)job_record_move(&run->row, end.to, end.cause, end.now);
    fill_outcome(run, end.cause);
    if (end.to == JOB_DELAYED)
        run->row.due_at = engine_retry_at_locked(run->engine, run->row.failures, end.now);
    return end;
}

/* The texts of an end replace the job's; an interrupt leaves them. */
static void take_texts(struct job_run *run, const struct run_end *end)
{
    if (end->cause == JOB_BY_INTERRUPT)
        return;
    char *result = run->row.result ? run->outcome.result : NULL;
    char *error = run->row.error ? run->outcome.error : NULL;
    if (result)
        run->outcome.result = NULL;
    if (error)
        run->outcome.error = NULL;
    job_set_texts(run->job, result, error);
}

static void settle_locked(struct job_run *run, const struct run_end *end)
{
    struct engine *engine = run->engine;
    struct job_record *record = &run->job->record;
    record->exit_code = run->row.exit_code;
    record->term_signal = run->row.term_signal;
    record->due_at = run->row.due_at;
    take_texts(run, end);
    engine_move_locked(engine, run->job, end->to, end->cause, end->now);
    if (end->to == JOB_DELAYED)
        engine->stats.retried++;
    if (end->cause == JOB_BY_INTERRUPT)
        engine->stats.interrupted++;
}

static void plan_late_cancel_locked(struct job_run *run, struct run_end *end)
{
    *end = (struct run_end){JOB_CANCELLED, JOB_BY_CANCEL, job_wall_now()};
    run->row = run->job->record;
    (void)job_record_move(&run->row, end->to, end->cause, end->now);
    run->row.result = NULL;
    run->row.error = NULL;
}

/* Commit what plan_locked() planned.  Called without the lock, returns with it. */
static int commit_end(struct job_run *run, const struct run_end *end)
{
    int rc = 0;
    if (!run->row.memory_only) {
        push_row(run, &run->ended, &run->row, &run->rows);
        rc = engine_await(run->engine, &run->ended);
        failpoint(FAILPOINT_ENDED);
    }
    engine_lock_shielded(run->engine);
    if (rc == 0)
        settle_locked(run, end);
    return rc;
}

/* Let go of the job: it is where its state belongs, unless the store failed (I13). */
static void leave_job_locked(struct job_run *run, int rc)
{
    struct engine *engine = run->engine;
    struct job *job = run->job;
    job->run = NULL;
    job->committing = false;
    if (rc == 0)
        engine_place_locked(engine, job);
    unlink_run_locked(engine, run);
}

/* I13, and the store may still read started_row. */
static void abandon(struct job_run *run)
{
    engine_fail(run->engine);
    if (run->started_pushed)
        weft_event_wait_shielded(&run->started.done);
}

void job_run_end(struct job_run *run, int rc)
{
    struct engine *engine = run->engine;
    failpoint(FAILPOINT_RAN);
    engine_lock_shielded(engine);
    engine_progress_end_locked(run);
    struct run_end end = plan_locked(run, rc);
    run->job->committing = true;
    queue_release(run->job);
    if (end.cause == JOB_BY_INTERRUPT)
        queue_return_token(run->job);
    engine_unlock(engine);
    weft_event_set(&engine->kick);

    rc = engine_failed(engine) ? -EIO : 0;
    if (rc == 0)
        rc = commit_end(run, &end);
    else
        engine_lock_shielded(engine);
    if (rc == 0 && run->stop == RUN_CANCELLED && !job_state_is_end(end.to)) { /* I14 */
        plan_late_cancel_locked(run, &end);
        engine_unlock(engine);
        rc = commit_end(run, &end);
    }
    if (rc < 0) {
        engine_unlock(engine);
        abandon(run);
        engine_lock_shielded(engine);
    }
    leave_job_locked(run, rc);
    weft_event_set(&engine->kick);
    engine_unlock_settling(engine);
    job_run_free(run);
}

/* I5: always 0. */
int job_run_main(void *arg)
{
    struct job_run *run = arg;
    job_run_end(run, attempt(run));
    return 0;
}
