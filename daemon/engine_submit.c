/* SPDX-License-Identifier: MIT */
/*
 * engine_submit: new jobs, one or many, committed by one store op.
 *
 * The way of a job: built outside the lock; under it, given its queue, its place in every container
 * (I8 of engine.c) and its id, in state none, which nobody is shown; one INSERT for all; after the
 * commit, moved to queued or delayed and put into its heap.  A refused commit drops them again.
 *
 * Who may call: request fibers.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

/* One item on its way. */
struct submission {
    struct engine_item *item;
    struct job *job;         /* NULL: refused, or there is one of its key */
    uint64_t existing;       /* that one, or 0 */
    struct submission *twin; /* that one's, if it is of the same call; NULL: it is not */
    struct job_record row;   /* what the store is told: the job as it will be */
    int err;
};

struct submissions {
    const struct engine_turn *turn; /* may be NULL */
    const struct peer *peer;
    struct job_needs *needs;   /* of all that wait for other jobs, … */
    struct engine_known known; /* … and what the store says of those */
    struct submission *all;
    const struct job_record **rows; /* of the accepted ones */
    uint64_t *taken; /* by row that is stored: who has its key and has ended (store_op.existing) */
    uint64_t first_id; /* of the accepted ones, which follow each other */
    size_t count, accepted, existing;
    size_t passing; /* of them in memory only */
    bool atomic;
};

static void refuse(struct engine *engine, struct submission *one, int err)
{
    job_free(one->job);
    one->job = NULL;
    one->err = engine_refuse(engine, one->item->error, err);
}

/* What the jobs do not name is their queue's as of now; from here on it is their own.  One of an
 * unknown queue is refused later. */
static int give_defaults(struct engine *engine, struct submissions *these)
{
    if (!atomic_load_explicit(&engine->defaults, memory_order_relaxed))
        return 0;
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < these->count; i++) {
        struct job_spec *spec = these->all[i].item->spec;
        const struct queue *queue = spec ? queue_set_find(engine->queues, spec->queue) : NULL;
        if (queue)
            queue_defaults_give(&queue->defaults, spec);
    }
    engine_unlock(engine);
    return 0;
}

static void build(struct engine *engine, const struct peer *peer, struct submission *one)
{
    char *text;
    const struct job_spec *spec = one->item->spec;
    if (!spec) {
        one->err = -EINVAL; /* the caller has filled the error */
        return;
    }
    if (job_spec_to_text(spec, &text) < 0) {
        refuse(engine, one, -ENOMEM);
        return;
    }
    struct job_record record = {
        .uid = peer->uid,
        .gid = peer->gid,
        .state = JOB_NONE,
        .priority = spec->priority,
        .memory_only = spec->memory_only,
        .keep = engine_keep_of(spec),
        .key_hash = engine_key_hash(peer->uid, spec->key),
        .exit_code = JOB_NO_EXIT,
        .term_signal = JOB_NO_EXIT,
        .spec = text,
    };
    if (job_new(&record, NULL, &one->job) < 0 || engine_needs_new(spec, one->job) < 0 ||
        engine_key_new(spec->key, one->job) < 0)
        refuse(engine, one, -ENOMEM);
    free(text);
}

/* When it may start at the soonest; 0: at once. */
static int64_t due_of(const struct job_spec *spec, int64_t now)
{
    if (spec->start_at > now)
        return spec->start_at;
    return spec->delay_ns == 0 ? 0 : job_wall_after(now, spec->delay_ns);
}

static void plan_row(struct submission *one, int64_t due_at, int64_t now)
{
    enum job_state to = one->job->needs ? JOB_WAITING : due_at ? JOB_DELAYED : JOB_QUEUED;
    one->row = one->job->record;
    (void)job_record_move(&one->row, to, JOB_BY_SUBMIT, now);
    if (due_at)
        one->row.due_at = due_at;
}

/* What it waits for must be there, and visible to who asks. */
static int link_needs_locked(struct engine *engine, const struct peer *peer, struct submission *one,
                             const struct engine_known *known)
{
    uint64_t missing;
    int rc = engine_needs_check_locked(engine, peer, one->job, &missing);
    if (rc < 0)
        return rpc_error_set_param(one->item->error, RPC_INVALID_PARAMS, "after", NULL,
                                   "it is to run after job %" PRIu64 ", which is not durable: only "
                                   "a job that is not durable either can wait for that",
                                   missing);
    rc = engine_needs_link_locked(engine, peer, one->job, known, &missing);
    if (rc == 0)
        return 0;
    return rpc_error_set_param(one->item->error, RPC_NO_SUCH_JOB, "after", NULL,
                               "it is to run after job %" PRIu64 ", which does not exist", missing);
}

static int make_room_locked(struct engine *engine, struct queue *queue,
                            const struct submission *one)
{
    int rc = engine_room_locked(engine, queue, one->job->record.uid, one->item->error);
    if (rc < 0)
        return rc;
    if ((one->job->key && job_keys_reserve(&engine->keys) < 0) ||
        engine_expiry_reserve_locked(engine, one->job->record.expires_at) < 0)
        return engine_refuse(engine, one->item->error, -ENOMEM);
    return 0;
}

static void turn_down_locked(struct submission *one, int err)
{
    engine_needs_drop_locked(one->job);
    job_free(one->job);
    one->job = NULL;
    one->err = err;
}

/* Whose row this is. */
static struct submission *of_row(const struct job_record *row)
{
    return (struct submission *)((char *)row - offsetof(struct submission, row));
}

/* There is one of its key already, or was made by an item before: then that is the answer. */
static bool answer_key_locked(struct engine *engine, struct submissions *these,
                              struct submission *one)
{
    const struct job *holder = engine_key_holder_locked(engine, one->job);
    if (!holder)
        return false;
    one->existing = holder->record.id;
    if (holder->record.state == JOB_NONE) /* nobody else's are (lock_settled()) */
        one->twin = of_row(these->rows[holder->record.id - these->first_id]);
    one->item->memory_only = holder->record.memory_only;
    these->existing++;
    job_free(one->job);
    one->job = NULL;
    return true;
}

static void accept_locked(struct engine *engine, struct submissions *these, struct submission *one,
                          int64_t now)
{
    const struct job_spec *spec = one->item->spec;
    const char *name = spec->queue;
    int64_t due_at = due_of(spec, now);
    struct queue *queue = queue_set_find(engine->queues, name);
    int rc = 0;
    if (!queue || !queue->configured)
        rc = engine_refuse_queue_locked(engine, name, one->item->error);
    else if (answer_key_locked(engine, these, one))
        return;
    one->job->record.expires_at = engine_expiry_of(spec, due_at ? due_at : now);
    if (rc == 0)
        rc = make_room_locked(engine, queue, one);
    if (rc == 0)
        rc = link_needs_locked(engine, these->peer, one, &these->known);
    if (rc < 0) {
        turn_down_locked(one, rc);
        return;
    }
    one->job->record.id = engine->next_id++;
    one->job->record.queue = queue->name;
    one->job->queue = queue;
    one->job->committing = true;
    engine_add_live_locked(engine, one->job);
    engine_key_join_locked(engine, one->job);
    plan_row(one, due_at, now);
}

static void drop_all_locked(struct engine *engine, struct submissions *these)
{
    for (size_t i = 0; i < these->count; i++) {
        if (these->all[i].job)
            engine_drop_locked(engine, these->all[i].job);
        these->all[i].job = NULL;
    }
    these->accepted = 0;
}

static size_t first_refused(const struct submissions *these)
{
    size_t i = 0;
    while (i < these->count && these->all[i].err == 0)
        i++;
    return i;
}

static int64_t time_before(int64_t now, uint64_t time_ns)
{
    return time_ns > (uint64_t)now ? 0 : now - (int64_t)time_ns;
}

/* Accept what can be accepted and push it.  Errors: -EINVAL atomic and one is bad, and the
 * engine's; nothing was pushed then. */
static int push_locked(struct engine *engine, struct submissions *these, struct engine_op *op,
                       int64_t now)
{
    if (engine_failed(engine))
        return -EIO;
    if (engine->draining)
        return -ESHUTDOWN;
    these->first_id = engine->next_id;
    for (size_t i = 0; i < these->count; i++) {
        struct submission *one = &these->all[i];
        if (one->job)
            accept_locked(engine, these, one, now);
        if (one->job)
            these->rows[these->accepted++] = &one->row;
    }
    if (these->atomic && these->accepted + these->existing < these->count) {
        drop_all_locked(engine, these);
        return -EINVAL;
    }
    if (engine->limits.key_keep > 0) /* I51 */
        op->op.existing = these->taken;
    op->op.key_since = time_before(now, engine->limits.key_keep);
    engine_push_change_locked(engine, op, STORE_INSERT, these->rows, these->accepted);
    return 0;
}

/* I51: the jobs that the store has not taken. */
static void drop_taken_locked(struct engine *engine, struct submissions *these)
{
    size_t row = 0; /* of the stored ones, in the same order */
    for (size_t i = 0; these->taken && i < these->count; i++) {
        struct submission *one = &these->all[i];
        if (!one->job || one->row.memory_only || !these->taken[row++])
            continue;
        one->existing = these->taken[row - 1];
        one->item->memory_only = false;
        engine_drop_locked(engine, one->job);
        one->job = NULL;
    }
}

static void answer_existing(struct submission *one)
{
    bool moved = one->twin && one->twin->existing; /* to whom the one before it was told */
    one->item->id = moved ? one->twin->existing : one->existing;
    one->item->existing = true;
}

static void settle_locked(struct engine *engine, struct submissions *these, int64_t now)
{
    drop_taken_locked(engine, these);
    for (size_t i = 0; i < these->count; i++) {
        struct submission *one = &these->all[i];
        if (one->existing)
            answer_existing(one);
        if (!one->job)
            continue;
        one->job->record.due_at = one->row.due_at;
        engine_move_locked(engine, one->job, one->row.state, JOB_BY_SUBMIT, now);
        one->job->committing = false;
        one->item->id = one->row.id;
        one->item->memory_only = one->row.memory_only;
        engine_place_locked(engine, one->job);
        engine_needs_settle_locked(engine, one->job); /* while it was committed */
        engine->stats.submitted++;
    }
}

/* The jobs were given to the store: 0, or the reason why none was taken. */
static int commit(struct engine *engine, struct submissions *these, struct engine_op *op,
                  int64_t now)
{
    bool held = these->accepted > 0;
    int rc = held ? engine_await(engine, op) : 0;
    engine_lock_shielded(engine);
    if (rc == 0)
        settle_locked(engine, these, now);
    else
        drop_all_locked(engine, these);
    if (held)
        engine_release_locked(engine);
    weft_event_set(&engine->kick);
    weft_cond_broadcast(&engine->keyed);
    engine_unlock_settling(engine);
    return rc;
}

static void free_unaccepted(struct submissions *these)
{
    for (size_t i = 0; i < these->count; i++)
        job_free(these->all[i].job);
}

static void list_needs(struct submissions *these, const struct job *job)
{
    if (!job || !job->needs)
        return;
    job->needs->next = these->needs;
    these->needs = job->needs;
}

static bool awaits_key_locked(struct engine *engine, const struct submissions *these)
{
    for (size_t i = 0; i < these->count; i++)
        if (engine_key_pending_locked(engine, these->all[i].job))
            return true;
    return false;
}

/* Take the lock when everything that the jobs refer to can be told.  Nothing of ours has been
 * accepted yet, so two who wait here never wait for each other. */
static int lock_settled(struct engine *engine, struct submissions *these)
{
    for (;;) {
        int rc = engine_lock_knowing(engine, these->needs, &these->known);
        if (rc < 0)
            return rc;
        bool marked = these->passing == 0 || engine_ids_suffice_locked(engine, these->count);
        bool settled = !awaits_key_locked(engine, these);
        if (marked && settled)
            return 0;
        if (!settled)
            rc = weft_cond_wait(&engine->keyed, &engine->lock, WEFT_NO_DEADLINE);
        engine_unlock(engine);
        if (settled)
            rc = engine_ids_mark(engine, these->count);
        if (rc < 0)
            return rc;
    }
}

/* Returns 0 if the commit stands. */
static int submit(struct engine *engine, const struct peer *peer, struct submissions *these)
{
    struct engine_op op = {0};
    int64_t now = job_wall_now();
    these->peer = peer;
    int rc = give_defaults(engine, these);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < these->count; i++) {
        build(engine, peer, &these->all[i]);
        list_needs(these, these->all[i].job);
        these->passing += these->all[i].job && these->all[i].job->record.memory_only;
    }
    if (these->atomic && first_refused(these) < these->count) {
        free_unaccepted(these);
        return -EINVAL;
    }
    rc = lock_settled(engine, these);
    if (rc == 0) {
        rc = push_locked(engine, these, &op, now);
        engine_unlock(engine);
    }
    engine_known_destroy(&these->known);
    if (rc == 0 && these->turn)
        these->turn->done(these->turn->arg);
    if (rc == 0)
        return commit(engine, these, &op, now);
    free_unaccepted(these);
    return rc;
}

/* What others have ended as is still in the store when what is concluded from it is (I47). */
static int submit_remembering(struct engine *engine, const struct peer *peer,
                              struct submissions *these)
{
    bool refers = false;
    for (size_t i = 0; i < these->count; i++)
        refers = refers || (these->all[i].item->spec && these->all[i].item->spec->after_count > 0);
    if (!refers)
        return submit(engine, peer, these);
    int rc = weft_rwlock_rdlock(&engine->forgetting, WEFT_NO_DEADLINE);
    if (rc < 0)
        return rc;
    rc = submit(engine, peer, these);
    weft_rwlock_unlock(&engine->forgetting);
    return rc;
}

int engine_submit(struct engine *engine, const struct peer *peer, struct engine_item *item,
                  const struct engine_turn *turn)
{
    struct submission one = {.item = item};
    const struct job_record *row;
    uint64_t taken = 0;
    struct submissions these = {
        .turn = turn, .all = &one, .rows = &row, .taken = &taken, .count = 1};
    int rc = submit_remembering(engine, peer, &these);
    job_spec_free(item->spec);
    item->spec = NULL;
    return rc < 0 ? engine_refuse(engine, item->error, rc) : one.err;
}

/* Nothing was accepted: say why, for the whole.  Items keep the errors of their own. */
static int refuse_all(struct engine *engine, struct submissions *these, int err,
                      struct rpc_error *error)
{
    size_t bad = first_refused(these);
    for (size_t i = 0; i < these->count; i++)
        these->all[i].item->id = 0;
    if (err == -EINVAL && bad < these->count) {
        const struct rpc_error *cause = these->all[bad].item->error;
        rpc_error_set(error, cause->code, "nothing was accepted, because of jobs[%zu]: %s", bad,
                      cause->message);
        return err;
    }
    return engine_refuse(engine, error, err);
}

int engine_submit_many(struct engine *engine, const struct peer *peer, struct engine_item *items,
                       size_t count, bool atomic, const struct engine_turn *turn,
                       struct rpc_error *error)
{
    struct submissions these = {.turn = turn, .count = count, .atomic = atomic};
    these.all = calloc(count + 1, sizeof(*these.all));
    these.rows = calloc(count + 1, sizeof(*these.rows));
    these.taken = calloc(count + 1, sizeof(*these.taken));
    int rc = these.all && these.rows && these.taken ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        items[i].id = 0;
        items[i].existing = false;
        these.all[i].item = &items[i];
    }
    if (rc == 0)
        rc = submit_remembering(engine, peer, &these);
    for (size_t i = 0; i < count; i++) {
        job_spec_free(items[i].spec);
        items[i].spec = NULL;
    }
    if (rc < 0 && these.all && these.rows && these.taken)
        rc = refuse_all(engine, &these, rc, error);
    else if (rc < 0)
        engine_refuse(engine, error, rc);
    free(these.all);
    free(these.rows);
    free(these.taken);
    return rc;
}
