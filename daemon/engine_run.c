/* SPDX-License-Identifier: MIT */
/*
 * engine_run: dispatch, and the life of one run.
 *
 * The dispatcher is one fiber.  It takes jobs in batches under one lock and starts a fiber for
 * each outside it (a spawned fiber runs at once).  The run fiber tells the store that the attempt
 * starts, runs it inside a scope, judges the outcome, gives the slot back, commits, and moves the
 * job.  So the commits of all runs that end at about the same time are one.
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

#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, DUE_BATCH = 1024 };
#define SHORTAGE_PAUSE_NS (100 * WEFT_MILLISECOND) /* no memory or no fiber for a run */

/* ---- one run --------------------------------------------------------------------------------- */

void engine_stop_run_locked(struct job_run *run, enum run_stop why)
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

static void link_run_locked(struct engine *engine, struct job_run *run, struct job *job)
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

static void run_free(struct job_run *run)
{
    job_spec_free(run->spec);
    run_outcome_destroy(&run->outcome);
    free(run);
}

static int run_new(struct job_run **ret_run)
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

/* rc: what attempt() returned.  Frees run. */
static void run_end(struct job_run *run, int rc)
{
    struct engine *engine = run->engine;
    failpoint(FAILPOINT_RAN);
    engine_lock_shielded(engine);
    engine_progress_end_locked(run);
    struct run_end end = plan_locked(run, rc);
    run->job->committing = true;
    queue_release(run->job);
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
    run_free(run);
}

/* The fiber of a run.  I5: always 0. */
static int run_main(void *arg)
{
    struct job_run *run = arg;
    run_end(run, attempt(run));
    return 0;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

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
    while (batch->made < BATCH && run_new(&batch->runs[batch->made]) == 0)
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
        run_free(batch->runs[i]);
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
        link_run_locked(engine, run, job);
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
    int64_t now = job_wall_now();
    engine_lock_shielded(engine);
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
    engine_stop_run_locked(run, RUN_INTERRUPTED);
    engine_unlock(engine);
    run_end(run, -ECANCELED);
}

/* Returns the first error of a spawn, and 0 if each run has its fiber. */
static int start_batch(struct engine *engine, struct batch *batch)
{
    int first_rc = 0;
    for (size_t i = 0; i < batch->taken; i++) {
        int rc = first_rc;
        if (rc == 0)
            rc = weft_group_spawn(&engine->group, "job", run_main, batch->runs[i]);
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
