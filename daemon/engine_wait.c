/* SPDX-License-Identifier: MIT */
/*
 * engine_wait: who waits for the ends of jobs, and job.wait.
 *
 * A waiter hangs one node on each job it waits for.  Whoever ends the job takes the nodes off, and
 * wakes the waiter with its last one.
 *
 * I15  A node is on a job exactly while that job is live and its waiter waits; waiter.remaining
 *      counts them.  All under the engine's lock.
 * I16  The waiter's fiber takes its nodes off before it frees them, whatever woke it.
 *
 * job.wait looks at its jobs, waits for those that are live, and looks again, until it has the
 * record of an end for each.  Mostly it looks twice; a job that was retried before its end was
 * written down is waited for anew.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void engine_waiter_add_locked(struct engine *engine, struct engine_waiter *waiter,
                              struct job_waiters *nodes, size_t count)
{
    *waiter = (struct engine_waiter){.nodes = nodes, .count = count};
    weft_event_init(&waiter->woken);
    waiter->next = engine->waiters;
    waiter->link = &engine->waiters;
    if (waiter->next)
        waiter->next->link = &waiter->next;
    engine->waiters = waiter;
}

void engine_waiter_watch_locked(struct engine_waiter *waiter, struct job_waiters *node,
                                struct job *job)
{
    node->waiter = waiter;
    node->next = job->waiters;
    node->link = &job->waiters;
    if (node->next)
        node->next->link = &node->next;
    job->waiters = node;
    waiter->remaining++;
}

static void unlink_node(struct job_waiters *node)
{
    *node->link = node->next;
    if (node->next)
        node->next->link = node->link;
    node->link = NULL;
    node->waiter->remaining--;
}

void engine_waiter_remove_locked(struct engine_waiter *waiter)
{
    for (size_t i = 0; waiter->remaining > 0 && i < waiter->count; i++)
        if (waiter->nodes[i].link)
            unlink_node(&waiter->nodes[i]);
    if (!waiter->link)
        return;
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    waiter->link = NULL;
}

void engine_wake_locked(struct job *job)
{
    while (job->waiters) {
        struct job_waiters *node = job->waiters;
        node->ended = job->record.state;
        /* It may be forgotten before who waits looks. */
        if (node->keep && job->record.memory_only && job_record_copy(&job->record, node->keep) < 0)
            node->waiter->keep_err = -ENOMEM;
        unlink_node(node);
        if (node->waiter->remaining == 0)
            weft_event_set(&node->waiter->woken);
    }
}

void engine_wake_all_locked(struct engine *engine, int err)
{
    for (struct engine_waiter *waiter = engine->waiters; waiter; waiter = waiter->next) {
        waiter->err = err;
        weft_event_set(&waiter->woken);
    }
}

/* Why nobody may begin to wait, or 0. */
static int refuse_waiting(struct engine *engine)
{
    if (engine_failed(engine))
        return -EIO;
    return engine->stopped ? -ESHUTDOWN : 0;
}

int engine_waiter_wait(struct engine *engine, struct engine_waiter *waiter, uint64_t deadline_ns)
{
    engine_lock_shielded(engine);
    int rc = waiter->remaining > 0 ? refuse_waiting(engine) : 0;
    size_t remaining = waiter->remaining;
    engine_unlock(engine);
    if (rc == 0 && remaining > 0)
        rc = weft_event_wait(&waiter->woken, deadline_ns);
    engine_lock_shielded(engine);
    if (waiter->remaining == 0)
        rc = 0; /* all ended, whatever else happened at the same time */
    else if (waiter->err < 0)
        rc = waiter->err;
    engine_waiter_remove_locked(waiter); /* I16 */
    engine_unlock(engine);
    return rc;
}

/* ---- job.wait -------------------------------------------------------------------------------- */

struct wait {
    const struct peer *peer;
    const uint64_t *ids;
    size_t count;
    struct job_waiters *nodes;
    struct job_record **records;
    struct engine_waiter waiter;
};

static bool is_live(const struct job *job)
{
    return job && !job_state_is_end(job->record.state);
}

static void watch_one_locked(struct wait *wait, size_t i, struct job *job)
{
    wait->nodes[i].keep = &wait->records[i];
    engine_waiter_watch_locked(&wait->waiter, &wait->nodes[i], job);
}

/* Of those without a record: copy what has ended and is in memory, watch what is live. */
static int watch(struct engine *engine, struct wait *wait)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    memset(wait->nodes, 0, wait->count * sizeof(*wait->nodes));
    engine_waiter_add_locked(engine, &wait->waiter, wait->nodes, wait->count);
    for (size_t i = 0; i < wait->count && rc == 0; i++) {
        struct job *job = NULL;
        if (!wait->records[i])
            job = engine_find_locked(engine, wait->peer, wait->ids[i]);
        if (is_live(job))
            watch_one_locked(wait, i, job);
        else if (job)
            rc = job_record_copy(&job->record, &wait->records[i]);
    }
    if (rc < 0)
        engine_waiter_remove_locked(&wait->waiter);
    engine_unlock(engine);
    return rc;
}

/* Every id must be watched or have a record by now.  One from the store that is no end is dropped:
 * the next look finds the job in memory (I18). */
static int check_known(struct wait *wait, struct rpc_error *error)
{
    for (size_t i = 0; i < wait->count; i++) {
        if (wait->nodes[i].waiter) /* whoever ends it may write its record */
            continue;
        struct job_record *record = wait->records[i];
        if (!record)
            return engine_refuse_id(error, wait->ids[i]);
        if (!job_state_is_end(record->state)) {
            job_record_free(record);
            wait->records[i] = NULL;
        }
    }
    return 0;
}

static void unwatch(struct engine *engine, struct wait *wait)
{
    engine_lock_shielded(engine);
    engine_waiter_remove_locked(&wait->waiter);
    engine_unlock(engine);
}

/* Nothing is watched after an error. */
static int look(struct engine *engine, struct wait *wait, struct rpc_error *error)
{
    int rc = watch(engine, wait);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    rc = engine_fill_stored(engine, wait->peer, wait->ids, wait->count, wait->nodes, wait->records);
    if (rc < 0) {
        unwatch(engine, wait);
        return engine_refuse(engine, error, rc);
    }
    rc = check_known(wait, error);
    if (rc < 0)
        unwatch(engine, wait);
    return rc;
}

static bool is_complete(const struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++)
        if (!wait->records[i])
            return false;
    return true;
}

static int wait_for(struct engine *engine, struct wait *wait, uint64_t deadline_ns,
                    struct rpc_error *error)
{
    do {
        int rc = look(engine, wait, error);
        if (rc < 0)
            return rc;
        rc = engine_waiter_wait(engine, &wait->waiter, deadline_ns);
        if (rc == 0)
            rc = wait->waiter.keep_err;
        if (rc < 0)
            return engine_refuse(engine, error, rc);
    } while (!is_complete(wait));
    return 0;
}

int engine_wait(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                uint64_t deadline_ns, struct engine_page *ret_page, struct rpc_error *error)
{
    struct wait wait = {.peer = peer, .ids = ids, .count = count};
    wait.nodes = calloc(count + 1, sizeof(*wait.nodes));
    wait.records = calloc(count + 1, sizeof(struct job_record *));
    int rc = -ENOMEM;
    if (wait.nodes && wait.records)
        rc = wait_for(engine, &wait, deadline_ns, error);
    else
        engine_refuse(engine, error, rc);
    free(wait.nodes);
    if (rc < 0) {
        engine_records_free(wait.records, count);
        return rc;
    }
    *ret_page = (struct engine_page){.records = wait.records, .count = count};
    return 0;
}
