/* SPDX-License-Identifier: MIT */
/*
 * engine: making it, its failures, its counters, and where a job goes after a move.
 * engine.h has the invariants I1-I7; engine_impl.h says what lies in which file.
 *
 * I8   Room for a job in every container it may enter is made before it is accepted; from then on
 *      nothing on its way can fail but the store and the attempt itself.
 * I9   engine.live counts the jobs that have not ended; queue.live those of one queue; stats.live
 *      and queue.states split them by state.  engine_move_locked() and engine_place_locked() keep them so.  A job
 *      whose retry is being committed counts already, under the end that it is still shown in.
 * I10  A waiter hears of an end under the lock, after the job's commit; it finds the result in its
 *      own node, so the job may be gone before the waiter runs.
 * I25  An event is published by engine_move_locked() alone, so each move tells one, under the lock
 *      and after its commit, if it has one: when job.get shows it.  The record is whole by then.
 */
#include "daemon/engine_impl.h"

#include "daemon/config.h"
#include "daemon/log.h"
#include "protocol/nearest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

/* ---- failure --------------------------------------------------------------------------------- */

void engine_fail(struct engine *engine)
{
    atomic_store_explicit(&engine->failed, true, memory_order_release); /* with engine_failed */
    weft_event_set(&engine->kick);
}

static void store_failed(void *engine)
{
    engine_fail(engine);
}

bool engine_has_failed(struct engine *engine, struct problem *problem)
{
    if (!engine_failed(engine))
        return false;
    if (store_error(engine->store, problem) == 0)
        problem_set(problem, -EIO, "the store was closed while jobs were running");
    return true;
}

static int refuse_store(struct engine *engine, struct rpc_error *error, int err)
{
    struct problem problem = {0};
    if (!engine_has_failed(engine, &problem))
        store_error(engine->store, &problem);
    if (problem.err)
        rpc_error_set(error, RPC_STORE_FAILED, "the store has failed: %s", problem.text);
    else
        rpc_error_set(error, RPC_STORE_FAILED, NULL);
    return err;
}

int engine_refuse(struct engine *engine, struct rpc_error *error, int err)
{
    switch (err) {
    case -ESHUTDOWN:
        rpc_error_set(error, RPC_SHUTTING_DOWN, NULL);
        return err;
    case -ENOMEM:
        rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory");
        return err;
    case -ETIMEDOUT:
        rpc_error_set(error, RPC_TIMEOUT, NULL);
        return err;
    case -ECANCELED:
        rpc_error_set(error, RPC_SHUTTING_DOWN, "the request was cancelled");
        return err;
    case -ENOSPC:
        rpc_error_set(
            error, RPC_STORE_FAILED,
            "too little disk space is left (store.reserve), or somebody who reads weft.db "
            "keeps its log too large (store.wal_max): nothing was accepted");
        return err;
    case -EAGAIN:
        rpc_error_set(error, RPC_BUSY, "too many unfinished jobs (daemon.max_jobs): wait for some");
        return err;
    default:
        return refuse_store(engine, error, err);
    }
}

int engine_refuse_id(struct rpc_error *error, uint64_t id)
{
    rpc_error_set(error, RPC_NO_SUCH_JOB, "there is no job %" PRIu64, id);
    return -ENOENT;
}

int engine_refuse_queue_locked(struct engine *engine, const char *name, struct rpc_error *error)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next)
        if (queue->configured)
            nearest_offer(&nearest, queue->name);
    if (nearest.best)
        return rpc_error_set_param(error, RPC_NO_SUCH_QUEUE, "queue", nearest.best,
                                   "there is no queue \"%.64s\"; did you mean \"%s\"?", name,
                                   nearest.best);
    return rpc_error_set_param(error, RPC_NO_SUCH_QUEUE, "queue", NULL,
                               "there is no queue \"%.64s\" in the configuration", name);
}

/* ---- store ops ------------------------------------------------------------------------------- */

static void op_done(struct store_op *op)
{
    struct engine_op *self = op->owner;
    weft_event_set(&self->done);
}

void engine_push(struct engine *engine, struct engine_op *op, enum store_kind kind)
{
    weft_event_init(&op->done);
    op->op.kind = kind;
    op->op.done = op_done;
    op->op.owner = op;
    store_push(engine->store, &op->op);
}

int engine_await(struct engine *engine, struct engine_op *op)
{
    if (op->nothing)
        return engine_failed(engine) ? -EIO : 0;
    weft_event_wait_shielded(&op->done);
    if (op->op.err == 0)
        return 0;
    if (store_error(engine->store, NULL) == 0)
        return op->op.err;
    engine_fail(engine);
    return -EIO;
}

/* ---- jobs in their places -------------------------------------------------------------------- */

bool engine_may_see(const struct peer *peer, const struct job_record *record)
{
    return peer->admin || peer->uid == record->uid;
}

struct job *engine_find_locked(struct engine *engine, const struct peer *peer, uint64_t id)
{
    struct job *job = job_table_find(&engine->table, id);
    bool shown = job && job->record.state != JOB_NONE && engine_may_see(peer, &job->record);
    return shown ? job : NULL;
}

int engine_reserve_locked(struct engine *engine, struct queue *queue, uid_t uid, size_t more)
{
    int rc = job_table_reserve(&engine->table, more);
    if (rc == 0)
        rc = queue_reserve(queue, uid, more);
    if (rc == 0)
        rc = job_heap_reserve(&engine->delayed, engine->live + more - engine->delayed.count);
    return rc;
}

/* Jobs that have not ended and do not run, those being submitted included. */
static size_t waiting(const struct queue *queue)
{
    return queue->live - queue->states[JOB_RUNNING];
}

static int refuse_quota(uid_t uid, size_t most, struct rpc_error *error)
{
    rpc_error_set(error, RPC_BUSY,
                  "user %u has %zu jobs that have not ended, and may have no more "
                  "(daemon.max_jobs_user): wait for some",
                  (unsigned)uid, most);
    return -EAGAIN;
}

static int refuse_drained(const struct queue *queue, struct rpc_error *error)
{
    rpc_error_set_param(error, RPC_BUSY, "queue", NULL,
                        "queue \"%s\" is drained: it takes no jobs until an admin resumes it",
                        queue->name);
    return -EAGAIN;
}

int engine_room_locked(struct engine *engine, struct queue *queue, uid_t uid,
                       struct rpc_error *error)
{
    if (queue->now.drained)
        return refuse_drained(queue, error);
    uint64_t most = queue->now.max_waiting, most_user = engine->limits.max_jobs_user;
    size_t count = most_user ? queue_set_count_of(engine->queues, uid) : 0;
    if (most_user && count >= most_user)
        return refuse_quota(uid, count, error);
    if (most && waiting(queue) >= most) {
        rpc_error_set_param(error, RPC_BUSY, "queue", NULL,
                            "queue \"%s\" has %zu jobs waiting and takes %" PRIu64
                            " (max_waiting): wait for some",
                            queue->name, waiting(queue), most);
        return -EAGAIN;
    }
    int rc = engine->live >= engine->limits.max_jobs ? -EAGAIN
                                                     : engine_reserve_locked(engine, queue, uid, 1);
    return rc < 0 ? engine_refuse(engine, error, rc) : 0;
}

void engine_add_live_locked(struct engine *engine, struct job *job)
{
    job_table_append(&engine->table, job);
    engine_count_live_locked(engine, job);
}

void engine_count_live_locked(struct engine *engine, struct job *job)
{
    queue_join(job->queue, job);
    engine->live++;
    engine->mortal += job->record.expires_at != 0;
    engine->passing += job->record.memory_only;
    engine->stats.live[job->record.state]++;
}

static void end_live(struct engine *engine, struct job *job)
{
    queue_leave(job->queue, job);
    engine->live--;
    engine->mortal -= job->record.expires_at != 0;
    engine->passing -= job->record.memory_only;
    job_heap_trim(&engine->delayed, engine->live);
    job_heap_trim(&engine->expiring, engine->mortal);
}

void engine_drop_locked(struct engine *engine, struct job *job)
{
    engine->stats.live[job->record.state]--;
    job->queue->states[job->record.state]--;
    engine_needs_drop_locked(job);
    engine_key_leave_locked(engine, job);
    end_live(engine, job);
    job_table_remove(&engine->table, job->record.id);
    job_free(job);
}

void engine_move_locked(struct engine *engine, struct job *job, enum job_state to,
                        enum job_cause cause, int64_t now)
{
    enum job_state from = job->record.state;
    if (job_move(job, to, cause, now) < 0) {
        log_error("job %" PRIu64 ": no edge from %s to %s by %s", job->record.id,
                  job_state_name(from), job_state_name(to), job_cause_name(cause));
        return;
    }
    engine->stats.live[from]--;
    job->queue->states[from]--;
    engine->stats.kept -= job_state_is_end(from) && !job->record.memory_only;
    if (to == JOB_RUNNING || job_state_is_end(to))
        engine_expiry_leave_locked(engine, job);
    if (job_state_is_end(to)) {
        engine->stats.ended[to]++;
        engine->stats.kept += !job->record.memory_only;
        engine_retain_kick_locked(engine, &job->record);
    } else {
        engine->stats.live[to]++;
        job->queue->states[to]++;
    }
    if (events_publish(engine->events, &job->record, from, cause, now)) /* I25 */
        engine->heard = true;
}

void engine_leave_recent_locked(struct engine *engine, struct job *job)
{
    struct job *before = job->recent_before, *next = job->recent_next;
    *(before ? &before->recent_next : &engine->recent_first) = next;
    *(next ? &next->recent_before : &engine->recent_last) = before;
    job->recent_before = NULL;
    job->recent_next = NULL;
    engine->stats.recent--;
    engine->passed -= job->record.memory_only;
}

/* Nobody can ask for it any more.  Files are removed elsewhere (engine_retain.c): of a job that the
 * store has, when it is forgotten there. */
static void forget_locked(struct engine *engine, struct job *job)
{
    if (!job->record.memory_only || job->record.attempt == 0) {
        job_free(job);
        return;
    }
    job->recent_next = engine->left;
    engine->left = job;
    weft_event_set(&engine->full);
}

void engine_trim_recent_locked(struct engine *engine)
{
    while (engine->stats.recent > engine->limits.recent_max) {
        struct job *oldest = engine->recent_first;
        engine_leave_recent_locked(engine, oldest);
        job_table_remove(&engine->table, oldest->record.id);
        forget_locked(engine, oldest);
    }
}

static void place_ended(struct engine *engine, struct job *job)
{
    end_live(engine, job);
    engine_needs_drop_locked(job);
    engine_key_leave_locked(engine, job);
    engine_tell_dependents_locked(engine, job);
    engine_wake_locked(job);
    job->recent_next = NULL;
    job->recent_before = engine->recent_last;
    if (engine->recent_last)
        engine->recent_last->recent_next = job;
    else
        engine->recent_first = job;
    engine->recent_last = job;
    engine->stats.recent++;
    engine->passed += job->record.memory_only;
    engine_trim_recent_locked(engine);
}

void engine_place_locked(struct engine *engine, struct job *job)
{
    if (job_state_is_end(job->record.state)) {
        place_ended(engine, job);
        return;
    }
    if (job->record.state == JOB_QUEUED)
        queue_push(job->queue, job);
    else if (job->record.state == JOB_DELAYED)
        job_heap_push(&engine->delayed, job);
    engine_expiry_join_locked(engine, job);
}

/* xorshift64*: spreads backoffs; nothing secret hangs on it. */
uint64_t engine_random_locked(struct engine *engine)
{
    uint64_t x = engine->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    engine->random = x;
    return (x * UINT64_C(0x2545F4914F6CDD1D)) >> 11;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void read_limits(struct engine *engine, const struct config *config)
{
    atomic_store_explicit(&engine->defaults, queue_set_has_defaults(engine->queues),
                          memory_order_relaxed);
    engine->limits = (struct engine_limits){
        .max_jobs = config->daemon.max_jobs,
        .max_jobs_user = config->daemon.max_jobs_user,
        .recent_max = config->daemon.recent,
        .events = config->daemon.events,
        .crash_limit = config->jobs.crash_limit,
        .retry_base = config->jobs.retry_base,
        .retry_cap = config->jobs.retry_cap,
        .key_keep = config->daemon.key_keep,
        .retain = config->jobs.retain,
        .retain_max = config->jobs.retain_max,
    };
}

int engine_new(const struct engine_parts *parts, struct engine **ret_engine)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    int rc = engine ? queue_set_new(parts->config, &engine->queues) : -ENOMEM;
    if (rc == 0)
        rc = events_new(parts->config->daemon.events, &engine->events);
    if (rc < 0) {
        queue_set_free(engine ? engine->queues : NULL);
        free(engine);
        return rc;
    }
    engine->store = parts->store;
    engine->runner = parts->runner;
    engine->outputs = parts->outputs;
    engine->state_dir = parts->config->daemon.state_dir;
    engine->runners = (struct engine_runners){run_exec, run_native, runner_kill_leftovers,
                                              runner_hurry, runner_freeze};
    weft_rwlock_init(&engine->retrying);
    weft_rwlock_init(&engine->forgetting);
    weft_mutex_init(&engine->setting);
    weft_mutex_init(&engine->marking);
    weft_mutex_init(&engine->lock);
    weft_cond_init(&engine->idle);
    weft_cond_init(&engine->keyed);
    engine_progress_init(&engine->progress);
    weft_event_init(&engine->kick);
    weft_event_init(&engine->quiet);
    weft_event_init(&engine->full);
    weft_event_init(&engine->expiry);
    job_heap_init(&engine->delayed, JOB_HEAP_BY_DUE);
    job_heap_init(&engine->expiring, JOB_HEAP_BY_EXPIRY);
    read_limits(engine, parts->config);
    engine->next_id = 1;
    if (getrandom(&engine->random, sizeof(engine->random), 0) < 0 || engine->random == 0)
        engine->random = (uint64_t)job_wall_now() | 1;
    store_on_failure(engine->store, store_failed, engine);
    *ret_engine = engine;
    return 0;
}

static void free_left(struct job *job)
{
    while (job) {
        struct job *next = job->recent_next;
        job_free(job);
        job = next;
    }
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    job_heap_destroy(&engine->delayed);
    job_heap_destroy(&engine->expiring);
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next)
        shares_destroy(&queue->shares);
    free_left(engine->left);
    job_table_destroy(&engine->table);
    job_keys_destroy(&engine->keys);
    queue_set_free(engine->queues);
    events_free(engine->events);
    engine_progress_destroy(&engine->progress);
    free(engine);
}

void engine_set_next_id(struct engine *engine, uint64_t next_id)
{
    if (engine->next_id < next_id)
        engine->next_id = next_id;
    engine->first_id = engine->next_id;
}

void engine_set_kept(struct engine *engine, uint64_t kept)
{
    engine->stats.kept = kept;
}

int engine_apply_config(struct engine *engine, const struct config *config)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    if (config->daemon.events != engine->limits.events) /* done in vain, it does no harm */
        rc = events_resize(engine->events, config->daemon.events);
    if (rc == 0)
        rc = queue_set_apply(engine->queues, config);
    if (rc == 0) {
        read_limits(engine, config);
        engine_thaw_open_locked(engine);
        engine_trim_recent_locked(engine);
    }
    engine_unlock(engine);
    weft_event_set(&engine->kick);
    weft_event_set(&engine->full);
    return rc;
}

void engine_stats(struct engine *engine, struct engine_stats *ret_stats)
{
    engine_lock_shielded(engine);
    *ret_stats = engine->stats;
    ret_stats->memory_only = engine->passing;
    ret_stats->drained = engine->drained;
    engine_unlock(engine);
    events_stats(engine->events, &ret_stats->events);
    ret_stats->live[JOB_NONE] = 0; /* being submitted: not accepted yet */
}

enum job_state engine_after_crash(const struct engine *engine, const struct job_record *record,
                                  enum job_on_crash wish)
{
    if (wish == JOB_CRASH_FAIL)
        return JOB_FAILED;
    return record->crashes + 1 > engine->limits.crash_limit ? JOB_DEAD : JOB_QUEUED;
}

int64_t engine_retry_at_locked(struct engine *engine, uint32_t failures, int64_t now)
{
    const struct engine_limits *limits = &engine->limits;
    uint64_t wait = job_backoff_ns(failures, limits->retry_base, limits->retry_cap,
                                   engine_random_locked(engine));
    return wait > (uint64_t)(INT64_MAX - now) ? INT64_MAX : now + (int64_t)wait;
}
