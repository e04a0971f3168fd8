/* SPDX-License-Identifier: MIT */
/*
 * engine_retry: jobs that have ended badly, and get another chance.
 *
 * The way back of a job: its record is found, in memory among the recent ones or in the store; under
 * the lock it is checked, given its place in every container again (I8), and marked `committing`
 * while it is still shown in its end; one UPDATE for all; after the commit, moved to queued.  A
 * commit that fails leaves it in its end.
 *
 * I21  A job that is brought back is in memory before its retry is pushed.  So whoever finds it in
 *      no memory, and live in the store, finds it in memory when he looks again.
 * I22  From the look at the jobs until they are live, engine.retrying is held alone.  So a record
 *      that the store gave is still true when its job is made from it (else its attempt might be a
 *      number that was used since), and of two retries of one job one comes second, and finds it
 *      live.
 * I23  An ended job in memory is among the recent ones, or being retried, and then `committing`.
 *
 * Who may call: request fibers.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* One id on its way. */
struct chance {
    uint64_t id;
    size_t place;          /* in what was asked */
    struct job *made;      /* of the store's record, and not needed if it is in memory; or NULL */
    int64_t expires_at;    /* by then, if it is taken now; 0: it does not */
    struct job *job;       /* taken: to be moved once that is committed; or NULL */
    struct job_record row; /* what the store is told: the job as it will be */
};

struct retry {
    const struct peer *peer;
    const uint64_t *ids;
    size_t count;
    enum job_state *results;
    struct rpc_error *errors;
    struct job_record **records; /* by place, as found */
    struct chance *all;          /* in order of id, then of place */
    struct job **fresh;          /* not in memory before, in order of id */
    size_t fresh_count;
    const struct job_record **rows; /* of those taken */
    size_t taken;
    const struct chance *last; /* the one taken last, or NULL */
};

static int compare(const void *a, const void *b)
{
    const struct chance *one = a, *two = b;
    if (one->id != two->id)
        return one->id < two->id ? -1 : 1;
    return one->place < two->place ? -1 : one->place > two->place;
}

/* ---- before the lock ------------------------------------------------------------------------- */

static int find(struct engine *engine, struct retry *retry)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    rc = engine_fill_locked(engine, retry->peer, retry->ids, retry->count, retry->records);
    engine_unlock(engine);
    if (rc < 0)
        return rc;
    return engine_fill_stored(engine, retry->peer, retry->ids, retry->count, NULL, retry->records);
}

static int make_job(struct chance *chance, const struct job_record *record, int64_t now)
{
    int rc = job_new(record, NULL, &chance->made);
    if (rc == 0)
        rc = engine_key_from_record(chance->made);
    return rc < 0 ? rc : engine_expiry_again(record, now, &chance->expires_at);
}

/* A job for each record that may need one, so that nothing is built under the lock. */
static int make_jobs(struct retry *retry, int64_t now)
{
    for (size_t i = 0; i < retry->count; i++) {
        struct chance *chance = &retry->all[i];
        const struct job_record *record = retry->records[i];
        *chance = (struct chance){.id = retry->ids[i], .place = i};
        if (record && record->state != JOB_SUCCEEDED && /* it may end until it is looked at */
            make_job(chance, record, now) < 0)
            return -ENOMEM;
    }
    qsort(retry->all, retry->count, sizeof(*retry->all), compare);
    return 0;
}

/* ---- under the lock -------------------------------------------------------------------------- */

static int refuse_state(struct rpc_error *error, uint64_t id, enum job_state state)
{
    if (state == JOB_SUCCEEDED)
        return rpc_error_set(error, RPC_CONFLICT,
                             "job %" PRIu64 " has succeeded: there is nothing to retry", id);
    return rpc_error_set(error, RPC_CONFLICT,
                         "job %" PRIu64 " is %s: only a job that has ended can be retried", id,
                         job_state_name(state));
}

static bool awaits_key_locked(struct engine *engine, const struct retry *retry)
{
    for (size_t i = 0; i < retry->count; i++)
        if (engine_key_pending_locked(engine, retry->all[i].made))
            return true;
    return false;
}

/* Take the lock when it can be told who has the keys: a job that is being submitted with one may
 * turn out to be the one that we bring back (I51), and then never was. */
static int lock_settled(struct engine *engine, const struct retry *retry)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    while (rc == 0 && awaits_key_locked(engine, retry))
        rc = weft_cond_wait(&engine->keyed, &engine->lock, WEFT_NO_DEADLINE);
    if (rc < 0)
        engine_unlock(engine);
    return rc;
}

/* What forbids a retry, whatever becomes of others.  job: in memory, or NULL.
 * Returns 0, or -errno with the id's error. */
static int check_locked(struct engine *engine, const struct job_record *record,
                        const struct job *job, struct rpc_error *error)
{
    enum job_state state = job ? job->record.state : record->state;
    if (job && job->committing && job_state_is_end(state)) /* I23 */
        return rpc_error_set(error, RPC_CONFLICT, "job %" PRIu64 " is being retried already",
                             record->id);
    if (!job_state_may_retry(state))
        return refuse_state(error, record->id, state);
    const struct queue *queue = queue_set_find(engine->queues, record->queue);
    if (!queue || !queue->configured)
        return rpc_error_set_param(error, RPC_NO_SUCH_QUEUE, "queue", NULL,
                                   "queue \"%.64s\" of job %" PRIu64
                                   " is not in the configuration any more",
                                   record->queue, record->id);
    return 0;
}

/* Another job may have taken its key meanwhile. */
static int check_key_locked(struct engine *engine, const struct chance *chance,
                            struct rpc_error *error)
{
    const struct job *holder = chance->made ? engine_key_holder_locked(engine, chance->made) : NULL;
    if (!holder)
        return 0;
    return rpc_error_set(error, RPC_CONFLICT,
                         "job %" PRIu64 " has the key of job %" PRIu64 " now, and has not ended",
                         holder->record.id, chance->id);
}

/* Room for one more live job, and for all fresh ones in the table. */
static int reserve_locked(struct engine *engine, const struct retry *retry, struct queue *queue,
                          const struct job_record *record, int64_t expires_at,
                          struct rpc_error *error)
{
    int rc = engine_room_locked(engine, queue, record->uid, error);
    if (rc < 0)
        return rc;
    if (job_keys_reserve(&engine->keys) < 0 ||
        engine_expiry_reserve_locked(engine, expires_at) < 0 ||
        job_table_reserve(&engine->table, retry->fresh_count + 1) < 0)
        return engine_refuse(engine, error, -ENOMEM);
    return 0;
}

/* Nothing can fail any more: it is taken. */
static void claim_locked(struct engine *engine, struct retry *retry, struct chance *chance,
                         struct job *job, struct queue *queue, int64_t now)
{
    if (job) {
        engine_leave_recent_locked(engine, job);
        engine_key_pass(chance->made, job);
    } else {
        job = chance->made;
        chance->made = NULL;
        job->queue = queue;
        job->record.queue = queue->name;
        retry->fresh[retry->fresh_count++] = job;
    }
    job->committing = true;
    job->record.expires_at = chance->expires_at;
    engine_count_live_locked(engine, job);
    engine_key_join_locked(engine, job);
    chance->job = job;
    chance->row = job->record;
    (void)job_record_move(&chance->row, JOB_QUEUED, JOB_BY_RETRY, now);
    chance->row.result = NULL;
    chance->row.error = NULL;
    retry->rows[retry->taken++] = &chance->row;
    retry->last = chance;
}

static void take_locked(struct engine *engine, struct retry *retry, struct chance *chance,
                        int64_t now)
{
    const struct job_record *record = retry->records[chance->place];
    struct rpc_error *error = &retry->errors[chance->place];
    if (!record) {
        engine_refuse_id(error, chance->id);
        return;
    }
    bool again = retry->last && retry->last->id == chance->id; /* asked for twice at once */
    struct job *job =
        again ? retry->last->job : engine_find_locked(engine, retry->peer, chance->id);
    if (check_locked(engine, record, job, error) < 0 || check_key_locked(engine, chance, error) < 0)
        return;
    struct queue *queue = queue_set_find(engine->queues, record->queue);
    if (reserve_locked(engine, retry, queue, record, chance->expires_at, error) == 0)
        claim_locked(engine, retry, chance, job, queue, now);
}

static int push(struct engine *engine, struct retry *retry, struct engine_op *op, int64_t now)
{
    int rc = lock_settled(engine, retry);
    if (rc < 0)
        return rc;
    rc = engine_failed(engine) ? -EIO : engine->draining ? -ESHUTDOWN : 0;
    for (size_t i = 0; rc == 0 && i < retry->count; i++)
        take_locked(engine, retry, &retry->all[i], now);
    job_table_insert(&engine->table, retry->fresh, retry->fresh_count); /* I21 */
    engine_push_change_locked(engine, op, STORE_UPDATE, retry->rows, retry->taken);
    engine_unlock(engine);
    return rc;
}

/* ---- after the commit ------------------------------------------------------------------------ */

static void settle_locked(struct engine *engine, struct retry *retry, struct chance *chance,
                          int64_t now)
{
    struct job *job = chance->job;
    job_set_texts(job, NULL, NULL);
    engine_move_locked(engine, job, JOB_QUEUED, JOB_BY_RETRY, now);
    job->committing = false;
    engine_place_locked(engine, job);
    engine->stats.revived++;
    retry->results[chance->place] = JOB_QUEUED;
}

/* As if it had not been asked for: it ended when it did. */
static void give_up_locked(struct engine *engine, struct chance *chance)
{
    engine->stats.live[chance->job->record.state]--;
    chance->job->queue->states[chance->job->record.state]--;
    chance->job->committing = false;
    engine_place_locked(engine, chance->job);
}

static int commit(struct engine *engine, struct retry *retry, struct engine_op *op, int64_t now)
{
    if (retry->taken == 0)
        return 0;
    int rc = engine_await(engine, op);
    engine_lock_shielded(engine);
    for (size_t i = 0; i < retry->count; i++) {
        struct chance *chance = &retry->all[i];
        if (chance->job && rc == 0)
            settle_locked(engine, retry, chance, now);
        else if (chance->job)
            give_up_locked(engine, chance);
    }
    engine_release_locked(engine);
    weft_event_set(&engine->kick);
    engine_unlock_settling(engine);
    return rc;
}

static int retry_all(struct engine *engine, struct retry *retry)
{
    struct engine_op op = {0};
    int rc = weft_rwlock_wrlock(&engine->retrying, WEFT_NO_DEADLINE); /* I22 */
    if (rc < 0)
        return rc;
    rc = find(engine, retry);
    int64_t now = job_wall_now();
    if (rc == 0)
        rc = make_jobs(retry, now);
    if (rc == 0)
        rc = push(engine, retry, &op, now);
    if (rc == 0)
        rc = commit(engine, retry, &op, now);
    weft_rwlock_unlock(&engine->retrying);
    return rc;
}

int engine_retry(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                 enum job_state *results, struct rpc_error *errors, struct rpc_error *error)
{
    struct retry retry = {
        .peer = peer, .ids = ids, .count = count, .results = results, .errors = errors};
    retry.records = calloc(count + 1, sizeof(*retry.records));
    retry.all = calloc(count + 1, sizeof(*retry.all));
    retry.fresh = calloc(count + 1, sizeof(*retry.fresh));
    retry.rows = calloc(count + 1, sizeof(*retry.rows));
    bool made = retry.records && retry.all && retry.fresh && retry.rows;
    int rc = made ? retry_all(engine, &retry) : -ENOMEM;
    for (size_t i = 0; retry.all && i < count; i++)
        job_free(retry.all[i].made);
    engine_records_free(retry.records, count);
    free(retry.all);
    free(retry.fresh);
    free(retry.rows);
    return rc < 0 ? engine_refuse(engine, error, rc) : 0;
}
