/* SPDX-License-Identifier: MIT */
/*
 * engine_after: jobs that wait for the ends of other jobs.
 *
 * A job with `after` has a block of needs, one for each id.  A need whose dependency is live stands
 * in that job's list of dependents; one whose dependency has ended is met.  When the dependency's
 * end has become visible its list is told: the last need that is met releases the job, to queued or
 * delayed; one that ended badly, where success was asked for, dooms it.  Doomed jobs are cancelled
 * by the fiber that ended the dependency, with one commit for all that hang on it, however deep.
 *
 * I29  A need is in the dependents of a live job (or of an ended one that is being retried), or it
 *      is met.  needs.open counts the former.
 * I30  A release is not stored: the ends of the dependencies, which are, say it again at recovery.
 *      So a job is in the store as waiting until it runs, is cancelled or is doomed.
 * I31  Only job.submit makes needs, and only for jobs that exist: an id of a dependency is lower
 *      than its dependent's, so there are no cycles.  A retried job has none.
 * I32  Whoever makes an end visible lets go of the lock by engine_unlock_settling(), so the doomed
 *      are never left to nobody; each counts as active until it is cancelled (I27 of engine_stop.c).
 * I42  A job that is stored never waits for one that is in memory only: after a restart there would
 *      be nothing to tell how that one ended.  Such a submit is refused; the other way round is
 *      fine, as the one that waits is gone with the memory.
 * I33  No recursion: a chain of any depth is walked as a list.
 *
 * Everything here that is named …_locked runs under the engine's lock.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOOMED_BATCH = 64 }; /* on the stack of a fiber: 16 KiB */

/* ---- needs ----------------------------------------------------------------------------------- */

int engine_needs_new(const struct job_spec *spec, struct job *job)
{
    if (spec->after_count == 0)
        return 0;
    struct job_needs *needs = calloc(1, sizeof(*needs) + spec->after_count * sizeof(needs->all[0]));
    if (!needs)
        return -ENOMEM;
    needs->job = job;
    needs->any_end = spec->after_any_end;
    needs->count = spec->after_count;
    for (size_t i = 0; i < needs->count; i++) {
        needs->all[i].of = needs;
        needs->all[i].id = spec->after[i];
    }
    job->needs = needs;
    return 0;
}

static void unlink_locked(struct job_need *need)
{
    if (!need->link)
        return;
    *need->link = need->next;
    if (need->next)
        need->next->link = need->link;
    need->link = NULL;
    need->of->open--;
}

static void link_locked(struct job_need *need, struct job *dependency)
{
    need->next = dependency->dependents;
    need->link = &dependency->dependents;
    if (need->next)
        need->next->link = &need->next;
    dependency->dependents = need;
    need->of->open++;
}

void engine_needs_drop_locked(struct job *job)
{
    for (size_t i = 0; job->needs && i < job->needs->count; i++)
        unlink_locked(&job->needs->all[i]);
    free(job->needs);
    job->needs = NULL;
}

/* The dependency has ended so.  The first bad one is the one to be named. */
static void meet(struct job_need *need, enum job_state end)
{
    struct job_needs *needs = need->of;
    if (needs->any_end || end == JOB_SUCCEEDED || needs->blamed)
        return;
    needs->blamed = need->id;
    needs->blamed_end = end;
}

/* ---- dependencies that are not in memory ----------------------------------------------------- */

void engine_known_destroy(struct engine_known *known)
{
    engine_records_free(known->records, known->count);
    free(known->ids);
    *known = (struct engine_known){0};
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *one = a, *two = b;
    return *one < *two ? -1 : *one > *two;
}

/* False: the store was not asked.  *ret_record NULL: there is no such job. */
static bool find_known(const struct engine_known *known, uint64_t id,
                       const struct job_record **ret_record)
{
    if (known->count == 0)
        return false;
    const uint64_t *at = bsearch(&id, known->ids, known->count, sizeof(known->ids[0]), compare_ids);
    if (!at)
        return false;
    *ret_record = known->records[at - known->ids];
    return true;
}

/* One that was live in the store and is not in memory any more has ended since: ask again. */
static bool is_settled_locked(struct engine *engine, const struct engine_known *known, uint64_t id)
{
    const struct job_record *record;
    if (job_table_find(&engine->table, id))
        return true;
    return find_known(known, id, &record) && (!record || job_state_is_end(record->state));
}

static size_t count_unsettled_locked(struct engine *engine, const struct job_needs *list,
                                     const struct engine_known *known)
{
    size_t count = 0;
    for (const struct job_needs *needs = list; needs; needs = needs->next)
        for (size_t i = 0; i < needs->count; i++)
            count += !is_settled_locked(engine, known, needs->all[i].id);
    return count;
}

/* Replace what is known by the ids of all that are not in memory, each once, in order. */
static int collect_locked(struct engine *engine, const struct job_needs *list,
                          struct engine_known *known)
{
    size_t count = 0, kept = 0;
    for (const struct job_needs *needs = list; needs; needs = needs->next)
        count += needs->count;
    uint64_t *ids = malloc((count + 1) * sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    count = 0;
    for (const struct job_needs *needs = list; needs; needs = needs->next)
        for (size_t i = 0; i < needs->count; i++)
            if (!job_table_find(&engine->table, needs->all[i].id))
                ids[count++] = needs->all[i].id;
    qsort(ids, count, sizeof(*ids), compare_ids);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || ids[kept - 1] != ids[i])
            ids[kept++] = ids[i];
    engine_known_destroy(known);
    known->ids = ids;
    known->count = kept;
    return 0;
}

static int ask_store(struct engine *engine, struct engine_known *known)
{
    static const struct peer all = {.admin = true}; /* who may see it is asked under the lock */
    known->records = calloc(known->count + 1, sizeof(*known->records));
    if (!known->records)
        return -ENOMEM;
    return engine_fill_stored(engine, &all, known->ids, known->count, NULL, known->records);
}

int engine_lock_knowing(struct engine *engine, const struct job_needs *list,
                        struct engine_known *known)
{
    for (;;) {
        int rc = engine_lock(engine);
        if (rc < 0)
            return rc;
        if (count_unsettled_locked(engine, list, known) == 0)
            return 0;
        rc = collect_locked(engine, list, known);
        engine_unlock(engine);
        if (rc == 0)
            rc = ask_store(engine, known);
        if (rc < 0)
            return rc;
    }
}

/* ---- into the lists -------------------------------------------------------------------------- */

/* An ended job that is being retried (I23) ends again, or its retry fails and it is told to have
 * ended as it did: either way its list is told. */
static void look_at_job_locked(struct job_need *need, struct job *dependency)
{
    if (!job_state_is_end(dependency->record.state) || dependency->committing)
        link_locked(need, dependency);
    else
        meet(need, dependency->record.state);
}

/* Errors: -ENOENT there is no such job that the peer may see. */
static int look_at_locked(struct engine *engine, const struct peer *peer, struct job_need *need,
                          const struct engine_known *known)
{
    const struct job_record *record = NULL;
    struct job *dependency = job_table_find(&engine->table, need->id);
    if (dependency && engine_find_locked(engine, peer, need->id)) {
        look_at_job_locked(need, dependency);
        return 0;
    }
    if (dependency || !find_known(known, need->id, &record) || !record ||
        !engine_may_see(peer, record))
        return -ENOENT;
    meet(need, record->state);
    return 0;
}

int engine_needs_check_locked(struct engine *engine, const struct peer *peer, const struct job *job,
                              uint64_t *ret_id)
{
    const struct job_needs *needs = job->record.memory_only ? NULL : job->needs;
    for (size_t i = 0; needs && i < needs->count; i++) {
        const struct job *dependency = engine_find_locked(engine, peer, needs->all[i].id);
        if (!dependency || !dependency->record.memory_only)
            continue;
        *ret_id = dependency->record.id;
        return -EINVAL;
    }
    return 0;
}

int engine_needs_link_locked(struct engine *engine, const struct peer *peer, struct job *job,
                             const struct engine_known *known, uint64_t *ret_missing)
{
    struct job_needs *needs = job->needs;
    int rc = 0;
    for (size_t i = 0; needs && i < needs->count; i++) {
        if (look_at_locked(engine, peer, &needs->all[i], known) == 0)
            continue;
        rc = -ENOENT;
        *ret_missing = needs->all[i].id;
    }
    if (needs && rc == 0 && needs->open == 0 && needs->blamed == 0)
        engine_needs_drop_locked(job);
    return rc;
}

/* ---- out of them ----------------------------------------------------------------------------- */

static bool may_doom(const struct job *job)
{
    return job->record.state == JOB_WAITING && !job->committing;
}

static void append_doomed_locked(struct engine *engine, struct job *job)
{
    engine_hold_locked(engine);
    job->committing = true;
    job->recent_next = NULL; /* it is in no other list while it waits */
    *(engine->doomed_last ? &engine->doomed_last->recent_next : &engine->doomed_first) = job;
    engine->doomed_last = job;
}

/* What asks for the success of a job that is certain to be cancelled is doomed with it.  One whose
 * own submit or cancel is being committed stays in the list, and is told when the end is there. */
static void doom_dependents_locked(struct engine *engine, struct job *job)
{
    struct job_need *next;
    for (struct job_need *need = job->dependents; need; need = next) {
        next = need->next;
        if (need->of->any_end || !may_doom(need->of->job))
            continue;
        unlink_locked(need);
        meet(need, JOB_CANCELLED);
        append_doomed_locked(engine, need->of->job);
    }
}

static void doom_locked(struct engine *engine, struct job *job)
{
    append_doomed_locked(engine, job);
    for (; job; job = job->recent_next) /* I33: the list grows at its end */
        doom_dependents_locked(engine, job);
}

static void release_locked(struct engine *engine, struct job *job)
{
    int64_t now = job_wall_now();
    bool delayed = job->record.due_at > now;
    engine_needs_drop_locked(job);
    engine_move_locked(engine, job, delayed ? JOB_DELAYED : JOB_QUEUED, JOB_BY_DEPENDENCIES, now);
    engine_place_locked(engine, job);
    weft_event_set(&engine->kick);
}

void engine_needs_settle_locked(struct engine *engine, struct job *job)
{
    if (!may_doom(job))
        return; /* whoever commits it looks again */
    if (job->needs && job->needs->blamed)
        doom_locked(engine, job);
    else if (!job->needs || job->needs->open == 0)
        release_locked(engine, job);
}

void engine_tell_dependents_locked(struct engine *engine, struct job *job)
{
    struct job_need *need;
    while ((need = job->dependents)) {
        struct job *dependent = need->of->job;
        unlink_locked(need);
        meet(need, job->record.state);
        engine_needs_settle_locked(engine, dependent);
    }
}

/* ---- the end of the doomed ------------------------------------------------------------------- */

struct doomed {
    struct job *jobs[DOOMED_BATCH];
    struct job_record records[DOOMED_BATCH];
    const struct job_record *rows[DOOMED_BATCH];
    char errors[DOOMED_BATCH][80];
    size_t count;
};

static void describe(const struct job_needs *needs, char error[80])
{
    const char *how = needs->blamed_end == JOB_CANCELLED   ? "was cancelled"
                      : needs->blamed_end == JOB_TIMED_OUT ? "timed out"
                      : needs->blamed_end == JOB_DEAD      ? "was given up"
                                                           : "failed";
    snprintf(error, 80, "it was to run after job %" PRIu64 ", which %s", needs->blamed, how);
}

static void plan_locked(struct engine *engine, struct doomed *doomed, int64_t now)
{
    for (doomed->count = 0; doomed->count < DOOMED_BATCH && engine->doomed_first; doomed->count++) {
        struct job *job = engine->doomed_first;
        struct job_record *record = &doomed->records[doomed->count];
        engine->doomed_first = job->recent_next;
        job->recent_next = NULL;
        describe(job->needs, doomed->errors[doomed->count]);
        *record = job->record;
        (void)job_record_move(record, JOB_CANCELLED, JOB_BY_DEPENDENCIES, now);
        record->error = doomed->errors[doomed->count];
        doomed->rows[doomed->count] = record;
        doomed->jobs[doomed->count] = job;
    }
    if (!engine->doomed_first)
        engine->doomed_last = NULL;
}

static void cancel_locked(struct engine *engine, struct doomed *doomed, int64_t now)
{
    for (size_t i = 0; i < doomed->count; i++) {
        struct job *job = doomed->jobs[i];
        job_set_texts(job, NULL, strdup(doomed->errors[i])); /* shown; without memory, not */
        engine_move_locked(engine, job, JOB_CANCELLED, JOB_BY_DEPENDENCIES, now);
        job->committing = false;
        engine_place_locked(engine, job);
        engine_release_locked(engine);
    }
}

/* The store has failed: they stay waiting, and recovery dooms them again. */
static void give_up_locked(struct engine *engine, struct doomed *doomed)
{
    do {
        for (size_t i = 0; i < doomed->count; i++)
            engine_release_locked(engine);
        plan_locked(engine, doomed, 0);
    } while (doomed->count > 0);
}

/* The next batch is with the store when this returns; false: there is none. */
static bool push_some_locked(struct engine *engine, struct doomed *doomed, struct engine_op *op,
                             int64_t now)
{
    plan_locked(engine, doomed, now);
    if (doomed->count == 0)
        return false;
    engine_push_rows(engine, op, STORE_UPDATE, doomed->rows, doomed->count);
    return true;
}

/* Returns false when there is nothing left. */
static bool settle_some(struct engine *engine, struct doomed *doomed)
{
    struct engine_op op = {0};
    int64_t now = job_wall_now();
    engine_lock_shielded(engine);
    bool any = push_some_locked(engine, doomed, &op, now);
    engine_unlock(engine);
    if (!any)
        return false;
    int rc = engine_await(engine, &op);
    engine_lock_shielded(engine);
    if (rc == 0)
        cancel_locked(engine, doomed, now);
    else
        give_up_locked(engine, doomed);
    engine_unlock(engine);
    return rc == 0;
}

/* Apart, so that only who needs it pays with stack for the batch. */
static __attribute__((noinline)) void settle_all(struct engine *engine)
{
    struct doomed doomed;
    while (settle_some(engine, &doomed))
        ;
}

void engine_unlock_settling(struct engine *engine)
{
    bool any = engine->doomed_first != NULL;
    engine_unlock(engine);
    if (any)
        settle_all(engine);
}
