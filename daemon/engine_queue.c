/* SPDX-License-Identifier: MIT */
/*
 * engine_queue: the queues as clients see them, what admins set of them, and purging.
 *
 * What is set goes into the store first and holds after the commit, like the end of a job: what a
 * client was told is there after a crash.  It lies over the configuration, queue.h has how (I7).
 *
 * I26  What is set of a queue is read and written by one request at a time (engine.setting), so the
 *      store's last word is memory's.
 * I49  Whether a queue is frozen is nobody's but this life's: what was frozen is ended with it.  It is
 *      paused as long, so nothing starts there frozen.
 * I28  A purge holds the lock for a bounded piece of the table at a time, and commits what it took
 *      there before it goes on.
 *
 * Who may call: request fibers; engine_adopt_setting(): main, before recovery.
 */
#include "daemon/engine_impl.h"

#include "daemon/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PURGE_JOBS = 512, PURGE_SLOTS = 16384 };

#define PREFIX "queue " /* of a setting's name in the store */

/* ---- looking --------------------------------------------------------------------------------- */

int64_t engine_next_start_locked(const struct queue *queue)
{
    uint64_t now_ns = weft_now_ns(), next_ns = rate_next(&queue->rate);
    return next_ns > now_ns ? job_wall_now() + (int64_t)(next_ns - now_ns) : 0;
}

static void count_frozen(const struct engine *engine, struct engine_queue *look,
                         const struct queue *queue)
{
    for (const struct job_run *run = engine->runs; run; run = run->next) {
        if (run->job->queue != queue)
            continue;
        if (atomic_load(&run->freeze.done))
            look->frozen_jobs++;
        else
            look->not_frozen_jobs++;
    }
}

static void look_at(const struct engine *engine, const struct queue *queue,
                    struct engine_queue *ret_queue)
{
    *ret_queue = (struct engine_queue){
        .name = queue->name,
        .configured = queue->configured,
        .running = queue->running,
        .given = queue->over.given,
        .now = queue->now,
        .next_start_at = engine_next_start_locked(queue),
        .frozen = queue->frozen,
    };
    if (queue->frozen)
        count_frozen(engine, ret_queue, queue);
    for (int state = JOB_NONE + 1; state < JOB_STATE_COUNT; state++)
        if (!job_state_is_end((enum job_state)state))
            ret_queue->states[state] = queue->states[state];
}

static bool is_listed(const struct queue *queue)
{
    return queue->configured || queue->live > 0 || queue->over.given;
}

/* Whether a request for `name` means this one. */
static bool is_meant(const struct queue *queue, const char *name)
{
    return name ? strcmp(queue->name, name) == 0 : is_listed(queue);
}

static size_t count_meant_locked(const struct engine *engine, const char *name)
{
    size_t count = 0;
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next)
        count += is_meant(queue, name);
    return count;
}

static int list_locked(const struct engine *engine, struct engine_queue **ret_queues,
                       size_t *ret_count)
{
    size_t count = 0;
    struct engine_queue *queues = calloc(count_meant_locked(engine, NULL) + 1, sizeof(*queues));
    if (!queues)
        return -ENOMEM;
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next)
        if (is_listed(queue))
            look_at(engine, queue, &queues[count++]);
    *ret_queues = queues;
    *ret_count = count;
    return 0;
}

int engine_queue_list(struct engine *engine, struct engine_queue **ret_queues, size_t *ret_count,
                      struct rpc_error *error)
{
    int rc = engine_lock(engine);
    if (rc == 0) {
        rc = list_locked(engine, ret_queues, ret_count);
        engine_unlock(engine);
    }
    return rc < 0 ? engine_refuse(engine, error, rc) : 0;
}

/* ---- setting --------------------------------------------------------------------------------- */

struct plan {
    struct queue *queue;
    struct queue_change live; /* what will be set of it */
    char name[sizeof(PREFIX) + QUEUE_NAME_MAX];
    char *text; /* for the store; NULL: nothing is set */
};

struct plans {
    struct plan *all;
    struct store_setting *settings;
    size_t count;
};

static void plan_one(struct plan *plan, struct queue *queue, const struct queue_change *change)
{
    plan->queue = queue;
    plan->live = queue->over;
    queue_change_put(&plan->live, change);
    if (!plan->live.values.paused && !queue->configured_as.paused)
        plan->live.given &= ~(uint32_t)QUEUE_PAUSED;
    if (!plan->live.values.drained)
        plan->live.given &= ~(uint32_t)QUEUE_DRAINED;
}

static int plan_locked(struct engine *engine, const char *name, const struct queue_change *change,
                       struct plans *plans, struct rpc_error *error)
{
    size_t count = count_meant_locked(engine, name);
    if (count == 0 && name)
        return engine_refuse_queue_locked(engine, name, error);
    plans->all = calloc(count + 1, sizeof(*plans->all));
    plans->settings = calloc(count + 1, sizeof(*plans->settings));
    if (!plans->all || !plans->settings)
        return engine_refuse(engine, error, -ENOMEM);
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next)
        if (is_meant(queue, name))
            plan_one(&plans->all[plans->count++], queue, change);
    return 0;
}

/* Without the lock: queues and their names do not go away. */
static int write_texts(struct plans *plans)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < plans->count; i++) {
        struct plan *plan = &plans->all[i];
        snprintf(plan->name, sizeof(plan->name), PREFIX "%s", plan->queue->name);
        if (plan->live.given)
            rc = queue_change_to_text(plan->queue->name, &plan->live, &plan->text);
        plans->settings[i] = (struct store_setting){plan->name, plan->text};
    }
    return rc;
}

/* -EIO, -ESHUTDOWN: nothing may be changed any more. */
static int may_change_locked(struct engine *engine)
{
    if (engine_failed(engine))
        return -EIO;
    return engine->stopped ? -ESHUTDOWN : 0;
}

static int push_settings(struct engine *engine, const struct plans *plans, struct engine_op *op)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    rc = may_change_locked(engine);
    if (rc == 0) {
        op->op.settings = plans->settings;
        op->op.count = plans->count;
        engine_push(engine, op, STORE_SET);
        engine_hold_locked(engine);
    }
    engine_unlock(engine);
    return rc;
}

static void log_plan(const struct peer *peer, const struct plan *plan)
{
    log_notice("queue %s: user %u has set %s", plan->queue->name, (unsigned)peer->uid,
               plan->text ? plan->text : "nothing more: the configuration holds");
}

static void settle_locked(struct engine *engine, const struct plans *plans,
                          struct engine_queue *queues)
{
    for (size_t i = 0; i < plans->count; i++)
        queue_set_over(plans->all[i].queue, &plans->all[i].live);
    engine_thaw_open_locked(engine);
    for (size_t i = 0; i < plans->count; i++)
        look_at(engine, plans->all[i].queue, &queues[i]);
}

/* What was pushed is stored, and holds from here on. */
static int end_settings(struct engine *engine, const struct plans *plans, struct engine_op *op,
                        struct engine_queue *queues)
{
    int rc = engine_await(engine, op);
    engine_lock_shielded(engine);
    if (rc == 0)
        settle_locked(engine, plans, queues);
    engine_release_locked(engine);
    engine_unlock(engine);
    weft_event_set(&engine->kick);
    return rc;
}

static void plans_destroy(struct plans *plans)
{
    for (size_t i = 0; i < plans->count; i++)
        free(plans->all[i].text);
    free(plans->all);
    free(plans->settings);
}

/* I26 holds. */
static int carry_out(struct engine *engine, const struct peer *peer, struct plans *plans,
                     struct engine_queue **ret_queues)
{
    struct engine_op op = {0};
    struct engine_queue *queues = calloc(plans->count + 1, sizeof(*queues));
    int rc = queues ? write_texts(plans) : -ENOMEM;
    if (rc == 0)
        rc = push_settings(engine, plans, &op);
    if (rc == 0)
        rc = end_settings(engine, plans, &op, queues);
    if (rc < 0) {
        free(queues);
        return rc;
    }
    for (size_t i = 0; i < plans->count; i++)
        log_plan(peer, &plans->all[i]);
    *ret_queues = queues;
    return 0;
}

static int change_alone(struct engine *engine, const struct peer *peer, const char *name,
                        const struct queue_change *change, struct engine_queue **ret_queues,
                        size_t *ret_count, struct rpc_error *error)
{
    struct plans plans = {0};
    int rc = engine_lock(engine);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    rc = plan_locked(engine, name, change, &plans, error);
    engine_unlock(engine);
    if (rc == 0) {
        rc = carry_out(engine, peer, &plans, ret_queues);
        *ret_count = plans.count;
        if (rc < 0)
            engine_refuse(engine, error, rc);
    }
    plans_destroy(&plans);
    return rc;
}

int engine_queue_change(struct engine *engine, const struct peer *peer, const char *name,
                        const struct queue_change *change, struct engine_queue **ret_queues,
                        size_t *ret_count, struct rpc_error *error)
{
    int rc = weft_mutex_lock(&engine->setting);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    rc = change_alone(engine, peer, name, change, ret_queues, ret_count, error);
    weft_mutex_unlock(&engine->setting);
    return rc;
}

int engine_adopt_setting(void *arg, const char *name, const char *value)
{
    struct engine *engine = arg;
    struct queue_change live;
    char queue_name[QUEUE_NAME_MAX + 1];
    if (engine_ids_adopt(engine, name, value))
        return 0;
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return 0; /* somebody else's */
    int rc = queue_change_from_text(value, queue_name, &live);
    if (rc < 0)
        return rc;
    struct queue *queue = queue_set_find(engine->queues, queue_name);
    if (!queue)
        rc = queue_set_add_orphan(engine->queues, queue_name, &queue);
    if (rc == 0)
        queue_set_over(queue, &live);
    return rc;
}

/* ---- freezing -------------------------------------------------------------------------------- */

/* The runner is still to be told. */
static void want_frozen_locked(struct engine *engine, struct queue *queue, bool frozen)
{
    queue->frozen = frozen;
    for (struct job_run *run = engine->runs; run; run = run->next)
        if (run->job->queue == queue)
            atomic_store(&run->freeze.wanted, frozen);
}

void engine_thaw_open_locked(struct engine *engine)
{
    bool any = false;
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next) {
        if (!queue->frozen || queue->now.paused)
            continue;
        want_frozen_locked(engine, queue, false);
        any = true;
    }
    if (any)
        engine->runners.freeze(engine->runner);
}

/* I49: a queue that was resumed meanwhile is left alone. */
static size_t freeze_locked(struct engine *engine, const char *name, bool frozen,
                            struct engine_queue *queues)
{
    size_t count = 0;
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next)
        if (is_meant(queue, name) && (queue->now.paused || !frozen))
            want_frozen_locked(engine, queue, frozen);
    engine->runners.freeze(engine->runner);
    for (struct queue *queue = queue_set_first(engine->queues); queue; queue = queue->next)
        if (is_meant(queue, name))
            look_at(engine, queue, &queues[count++]);
    return count;
}

static void log_freeze(const struct peer *peer, const struct engine_queue *queue)
{
    if (queue->frozen)
        log_notice("queue %s: user %u has frozen %u of its %u jobs that run", queue->name,
                   (unsigned)peer->uid, queue->frozen_jobs,
                   queue->frozen_jobs + queue->not_frozen_jobs);
    else
        log_notice("queue %s: user %u lets its jobs go on", queue->name, (unsigned)peer->uid);
}

int engine_queue_freeze(struct engine *engine, const struct peer *peer, const char *name,
                        bool frozen, struct engine_queue **ret_queues, size_t *ret_count,
                        struct rpc_error *error)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    size_t count = count_meant_locked(engine, name);
    struct engine_queue *queues = calloc(count + 1, sizeof(*queues));
    if (count == 0 && name)
        rc = engine_refuse_queue_locked(engine, name, error);
    else if (!queues)
        rc = engine_refuse(engine, error, -ENOMEM);
    else
        count = freeze_locked(engine, name, frozen, queues);
    engine_unlock(engine);
    if (rc < 0) {
        free(queues);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        log_freeze(peer, &queues[i]);
    *ret_queues = queues;
    *ret_count = count;
    return 0;
}

/* ---- purging --------------------------------------------------------------------------------- */

struct purge {
    struct queue *queue;
    uint32_t states;
    uint64_t before; /* ids below it are still to be looked at */
    int64_t now;
    struct job *jobs[PURGE_JOBS]; /* taken out of their heaps … */
    struct job_record rows[PURGE_JOBS];
    const struct job_record *row_list[PURGE_JOBS];
    size_t taken;
};

static bool is_purged(const struct purge *purge, const struct job *job)
{
    return job && job->queue == purge->queue && !job->committing && !job->run &&
           (purge->states & 1u << job->record.state);
}

static void take_locked(struct engine *engine, struct purge *purge)
{
    const struct job_table *table = &engine->table;
    size_t index = job_table_index(table, purge->before);
    for (size_t seen = 0; index > 0 && seen < PURGE_SLOTS && purge->taken < PURGE_JOBS; seen++) {
        struct job *job = table->slots[--index].job;
        purge->before = table->slots[index].id;
        if (!is_purged(purge, job))
            continue;
        engine_take_waiting_locked(engine, job, JOB_CANCELLED, JOB_BY_CANCEL,
                                   &purge->rows[purge->taken], purge->now);
        purge->row_list[purge->taken] = &purge->rows[purge->taken];
        purge->jobs[purge->taken++] = job;
    }
    if (index == 0)
        purge->before = 0;
}

static int end_taken(struct engine *engine, const struct purge *purge, struct engine_op *op)
{
    int rc = engine_await(engine, op);
    engine_lock_shielded(engine);
    for (size_t i = 0; rc == 0 && i < purge->taken; i++)
        engine_end_taken_locked(engine, purge->jobs[i], JOB_CANCELLED, JOB_BY_CANCEL, purge->now);
    engine_release_locked(engine);
    engine_unlock_settling(engine);
    return rc;
}

/* The next piece of the table; I28. */
static int purge_some(struct engine *engine, struct purge *purge)
{
    struct engine_op op = {0};
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    purge->taken = 0;
    purge->now = job_wall_now();
    rc = may_change_locked(engine);
    if (rc == 0)
        take_locked(engine, purge);
    engine_push_change_locked(engine, &op, STORE_UPDATE, purge->row_list, purge->taken);
    engine_unlock(engine);
    return purge->taken > 0 ? end_taken(engine, purge, &op) : rc;
}

static int find_queue(struct engine *engine, const char *name, struct purge *purge,
                      struct rpc_error *error)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    purge->queue = queue_set_find(engine->queues, name);
    purge->before = engine->next_id;
    if (!purge->queue)
        rc = engine_refuse_queue_locked(engine, name, error);
    engine_unlock(engine);
    return rc;
}

static int purge_all(struct engine *engine, struct purge *purge, uint64_t *ret_count,
                     struct rpc_error *error)
{
    uint64_t count = 0;
    int rc = 0;
    while (rc == 0 && purge->before > 0) {
        rc = purge_some(engine, purge);
        if (rc == 0)
            count += purge->taken;
    }
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    *ret_count = count;
    return 0;
}

int engine_queue_purge(struct engine *engine, const struct peer *peer, const char *name,
                       uint32_t states, uint64_t *ret_count, struct rpc_error *error)
{
    struct purge *purge = calloc(1, sizeof(*purge));
    if (!purge)
        return engine_refuse(engine, error, -ENOMEM);
    purge->states = states;
    int rc = find_queue(engine, name, purge, error);
    if (rc == 0)
        rc = purge_all(engine, purge, ret_count, error);
    if (rc == 0)
        log_notice("queue %s: user %u has purged %llu jobs", name, (unsigned)peer->uid,
                   (unsigned long long)*ret_count);
    free(purge);
    return rc;
}
