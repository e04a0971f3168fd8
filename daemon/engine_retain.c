/* SPDX-License-Identifier: MIT */
/*
 * engine_retain: ended jobs are forgotten when they have been kept long enough, as they say
 * themselves (`keep`) or else the configuration does, or when there are too many of them.
 *
 * One fiber asks the store who ended first, hands it the deletion of those, and then removes their
 * output.  It looks at ended jobs alone, by the time of their end, so no live job is in its way,
 * however old; and it takes BATCH at a time, so that commits wait for one batch at most.
 *
 * I46  The row goes first, its files after the commit: a job that is shown has its output.  What a
 *      crash leaves in between is a file without a row, which the next start finds and removes.
 *      That looks only at ids which had been given before it: a later file has a job.
 * I47  Nothing is forgotten that somebody still draws a conclusion from.  Who is about to do
 *      something with an ended job holds engine.retrying (retry, cancel, list) or
 *      engine.forgetting (a submit with `after`, until the cancel that may follow is with the
 *      store), and what an end dooms is pushed before a deletion is (I3 of store.h).  Hence a job
 *      that waits for one which the store does not know has been told of its success.
 * I48  A job is not forgotten for there being too many within GRACE of its end: whoever waits for
 *      it can still be told.  Nor for a shorter `keep`: engine_keep_of() gives it GRACE.
 * I50  Whoever is kept less than the fiber sleeps wakes it: an end compares with keep_looked under
 *      the lock, which is INT64_MAX from when the fiber takes the lock to look until it knows how
 *      long it will sleep, and what was set meanwhile stays set (`full`).
 *
 * Who may call: the fiber that is made for it.
 */
#include "daemon/engine_impl.h"

#include "daemon/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 128, SWEEP = 64, SLACK_MAX = 512 };
#define GRACE        (5 * WEFT_SECOND)
#define LATENESS_MAX (60 * WEFT_SECOND)
#define KEEP_LATE    WEFT_SECOND /* how late who has a `keep` is looked for: several at once */
#define SHORTAGE     (10 * WEFT_SECOND) /* before trying again without memory */

/* What to forget, as of one moment. */
struct retain_plan {
    uint64_t retain; /* 0: for ever */
    size_t excess;   /* more than may be kept */
    int64_t now;
    bool over;        /* the engine has failed or stopped */
    struct job *left; /* taken from the engine */
};

/* So many more than retain_max that it is worth a commit. */
static uint64_t slack_of(uint64_t most)
{
    return most / 64 < SLACK_MAX ? most / 64 : SLACK_MAX;
}

int64_t engine_keep_of(const struct job_spec *spec)
{
    if (!spec->keeps)
        return 0;
    return (int64_t)(spec->keep_ns > GRACE ? spec->keep_ns : GRACE);
}

void engine_retain_kick_locked(struct engine *engine, const struct job_record *record)
{
    uint64_t most = engine->limits.retain_max;
    bool many = most > 0 && engine->stats.kept > most + slack_of(most);
    bool soon = record->keep > 0 && record->finished_at + record->keep < engine->keep_looked;
    if (many || soon) /* I50 */
        weft_event_set(&engine->full);
}

static int make_plan(struct engine *engine, struct retain_plan *plan)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    uint64_t most = engine->limits.retain_max, kept = engine->stats.kept;
    *plan = (struct retain_plan){
        .retain = engine->limits.retain,
        .excess = most > 0 && kept > most ? (size_t)(kept - most) : 0,
        .now = job_wall_now(),
        .over = engine_failed(engine) || engine->stopped,
        .left = engine->left,
    };
    engine->left = NULL;
    engine->keep_looked = INT64_MAX; /* I50 */
    engine_unlock(engine);
    return 0;
}

/* ---- one batch ------------------------------------------------------------------------------- */

/* page, from before, is replaced. */
static int ask_oldest(struct engine *engine, enum store_oldest oldest, int64_t ended_by,
                      size_t limit, struct engine_page *page)
{
    struct engine_op op = {.op = {.oldest = oldest, .ended_by = ended_by, .filter.limit = limit}};
    engine_push(engine, &op, STORE_OLDEST);
    int rc = engine_await(engine, &op);
    if (rc < 0)
        return rc;
    engine_page_destroy(page);
    *page = (struct engine_page){.records = op.op.found, .count = op.op.found_count};
    return 0;
}

static int64_t before(int64_t now, uint64_t time_ns)
{
    return time_ns > (uint64_t)now ? 0 : now - (int64_t)time_ns;
}

/* Those to be forgotten now, BATCH at most. */
static int find_batch(struct engine *engine, const struct retain_plan *plan,
                      struct engine_page *ret_page)
{
    size_t excess = plan->excess < BATCH ? plan->excess : BATCH;
    struct engine_page page = {0};
    int rc = 0;
    if (excess > 0) /* I48 */
        rc = ask_oldest(engine, STORE_OLDEST_ALL, before(plan->now, GRACE), excess, &page);
    if (rc == 0 && page.count == 0 && plan->retain > 0)
        rc = ask_oldest(engine, STORE_OLDEST_PLAIN, before(plan->now, plan->retain), BATCH, &page);
    if (rc == 0 && page.count == 0)
        rc = ask_oldest(engine, STORE_OLDEST_KEPT, plan->now, BATCH, &page);
    if (rc == 0)
        *ret_page = page;
    return rc;
}

/* Out of memory; false: its end is in the store, and whoever brought it there has not come round to
 * moving the job. */
static bool drop_locked(struct engine *engine, uint64_t id)
{
    struct job *job = job_table_find(&engine->table, id);
    if (!job)
        return true;
    if (!job_state_is_end(job->record.state))
        return false;
    engine_leave_recent_locked(engine, job);
    job_table_remove(&engine->table, id);
    job_free(job);
    return true;
}

/* Keeps of page those that are forgotten now. */
static size_t drop_all_locked(struct engine *engine, struct engine_page *page, uint64_t *ids)
{
    size_t kept = 0;
    for (size_t i = 0; i < page->count; i++) {
        struct job_record *record = page->records[i];
        if (drop_locked(engine, record->id)) {
            ids[kept] = record->id;
            page->records[kept++] = record;
        } else {
            job_record_free(record);
        }
    }
    page->count = kept;
    return kept;
}

/* Take the lock at a moment when nothing is doomed whose cancel is not with the store (I47). */
static int lock_settled(struct engine *engine)
{
    for (;;) {
        int rc = engine_lock(engine);
        if (rc < 0 || !engine->doomed_first)
            return rc;
        engine_unlock_settling(engine);
    }
}

static int push_deletion(struct engine *engine, struct engine_page *page, uint64_t *ids,
                         struct engine_op *op)
{
    int rc = weft_rwlock_wrlock(&engine->forgetting, WEFT_NO_DEADLINE);
    if (rc < 0)
        return rc;
    rc = lock_settled(engine);
    if (rc == 0) {
        op->op.count = drop_all_locked(engine, page, ids);
        op->op.ids = ids;
        engine_push(engine, op, STORE_DELETE);
        engine_unlock(engine);
    }
    weft_rwlock_unlock(&engine->forgetting);
    return rc;
}

static int delete_all(struct engine *engine, struct engine_page *page)
{
    uint64_t ids[BATCH];
    struct engine_op op = {0};
    int rc = push_deletion(engine, page, ids, &op);
    if (rc == 0)
        rc = engine_await(engine, &op);
    if (rc < 0)
        return rc;
    engine_lock_shielded(engine);
    engine->stats.kept -= page->count < engine->stats.kept ? page->count : engine->stats.kept;
    engine->stats.forgotten += page->count;
    engine_unlock(engine);
    return 0;
}

/* I46.  What cannot be removed is left to the next start. */
static void remove_output(struct engine *engine, const struct engine_page *page)
{
    for (size_t i = 0; engine->outputs && i < page->count; i++) {
        const struct job_record *record = page->records[i];
        int rc =
            record->attempt > 0 ? output_remove(engine->outputs, record->id, record->attempt) : 0;
        if (rc < 0 && rc != -ECANCELED)
            log_warning("output of job %llu, which is forgotten, cannot be removed: %s",
                        (unsigned long long)record->id, strerror(-rc));
    }
}

/* Returns how many were forgotten. */
static int forget_some(struct engine *engine, const struct retain_plan *plan)
{
    struct engine_page page = {0};
    int rc = weft_rwlock_rdlock(&engine->retrying, WEFT_NO_DEADLINE); /* I47 */
    if (rc < 0)
        return rc;
    rc = find_batch(engine, plan, &page);
    if (rc == 0 && page.count > 0)
        rc = delete_all(engine, &page);
    weft_rwlock_unlock(&engine->retrying);
    if (page.count > 0)
        failpoint(FAILPOINT_FORGOTTEN);
    if (rc == 0)
        remove_output(engine, &page);
    int count = (int)page.count;
    engine_page_destroy(&page);
    return rc < 0 ? rc : count;
}

/* Of jobs that were in memory only, and are not any more. */
static void remove_left(struct engine *engine, struct job *left)
{
    while (left) {
        struct job *next = left->recent_next;
        const struct job_record *record = &left->record;
        if (engine->outputs)
            (void)output_remove(engine->outputs, record->id, record->attempt);
        job_free(left); /* what could not be removed is left to the next start */
        left = next;
    }
}

/* ---- when ------------------------------------------------------------------------------------ */

/* Not each at its own time: what is due soon is forgotten with it. */
static uint64_t lateness(uint64_t retain)
{
    return retain / 100 < LATENESS_MAX ? retain / 100 : LATENESS_MAX;
}

/* Of those without a `keep`, nothing that ends from now on can be due earlier than what ended
 * first.  ret_wait: WEFT_NO_DEADLINE, none is ever due. */
static int next_plain(struct engine *engine, const struct retain_plan *plan, uint64_t *ret_wait)
{
    struct engine_page page = {0};
    uint64_t wait = plan->retain;
    if (plan->retain == 0) {
        *ret_wait = WEFT_NO_DEADLINE;
        return 0;
    }
    int rc = ask_oldest(engine, STORE_OLDEST_PLAIN, INT64_MAX, 1, &page);
    if (rc < 0)
        return rc;
    int64_t age = page.count > 0 ? plan->now - page.records[0]->finished_at : 0;
    if (age > 0)
        wait = (uint64_t)age < wait ? wait - (uint64_t)age : 0;
    engine_page_destroy(&page);
    *ret_wait = wait + lateness(plan->retain);
    return 0;
}

/* Of those with one, nobody is due earlier who has ended by now. */
static int next_kept(struct engine *engine, const struct retain_plan *plan, uint64_t *ret_wait)
{
    struct engine_page page = {0};
    int rc = ask_oldest(engine, STORE_OLDEST_KEPT, INT64_MAX, 1, &page);
    if (rc < 0)
        return rc;
    *ret_wait = WEFT_NO_DEADLINE;
    if (page.count > 0) {
        int64_t at = page.records[0]->finished_at + page.records[0]->keep;
        *ret_wait = (at > plan->now ? (uint64_t)(at - plan->now) : 0) + KEEP_LATE;
    }
    engine_page_destroy(&page);
    return 0;
}

/* I50 */
static int tell_ends(struct engine *engine, const struct retain_plan *plan, uint64_t wait)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    if (wait != WEFT_NO_DEADLINE)
        engine->keep_looked = job_wall_after(plan->now, wait) - (int64_t)KEEP_LATE;
    engine_unlock(engine);
    return 0;
}

static int next_look(struct engine *engine, const struct retain_plan *plan, uint64_t *ret_ns)
{
    uint64_t plain = WEFT_NO_DEADLINE, kept = WEFT_NO_DEADLINE;
    int rc = next_plain(engine, plan, &plain);
    if (rc == 0)
        rc = next_kept(engine, plan, &kept);
    if (rc < 0)
        return rc;
    uint64_t wait = plain < kept ? plain : kept;
    if (plan->excess > 0 && wait > GRACE)
        wait = GRACE; /* too many, and they have just ended */
    *ret_ns = wait == WEFT_NO_DEADLINE ? wait : weft_deadline_after(wait);
    return tell_ends(engine, plan, wait);
}

/* Until something is to be forgotten, or may be. */
static int await_due(struct engine *engine, const struct retain_plan *plan)
{
    uint64_t next_ns;
    int rc = next_look(engine, plan, &next_ns);
    if (rc == 0)
        rc = weft_event_wait(&engine->full, next_ns);
    if (rc == 0 && plan->excess > 0) /* each further end sets it */
        rc = weft_sleep_until(next_ns);
    return rc == -ETIMEDOUT ? weft_check_cancel() : rc;
}

/* Returns 0: go on. */
static int look(struct engine *engine, struct retain_plan *plan)
{
    weft_event_clear(&engine->full);
    int rc = make_plan(engine, plan);
    if (rc == 0)
        remove_left(engine, plan->left);
    if (rc < 0 || plan->over)
        return rc < 0 ? rc : -ESHUTDOWN;
    rc = forget_some(engine, plan);
    if (rc > 0)
        return weft_yield();
    if (rc == 0)
        rc = await_due(engine, plan);
    return rc == -ENOMEM ? weft_sleep(SHORTAGE) : rc;
}

/* ---- what a crash has left ------------------------------------------------------------------- */

static int remove_strays(struct engine *engine, const uint64_t *ids, size_t count)
{
    static const struct peer all = {.admin = true};
    struct job_record *records[SWEEP] = {0};
    uint64_t strays[SWEEP];
    size_t found = 0;
    int rc = engine_fill_stored(engine, &all, ids, count, NULL, records);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (!records[i])
            strays[found++] = ids[i];
    for (size_t i = 0; i < count; i++)
        job_record_free(records[i]);
    if (rc == 0 && found > 0) {
        log_info("output of %zu forgotten jobs is removed, from %llu on", found,
                 (unsigned long long)strays[0]);
        rc = output_remove_all(engine->outputs, strays, found);
    }
    return rc;
}

static int sweep_folder(struct engine *engine, uint64_t folder, uint64_t limit)
{
    uint64_t *ids;
    size_t count;
    int rc = output_jobs(engine->outputs, folder, &ids, &count);
    if (rc < 0)
        return rc;
    while (count > 0 && ids[count - 1] >= limit)
        count--;
    for (size_t at = 0; rc == 0 && at < count; at += SWEEP)
        rc = remove_strays(engine, ids + at, count - at < SWEEP ? count - at : SWEEP);
    free(ids);
    return rc;
}

/* limit: ids below it had been given before this start. */
static int sweep(struct engine *engine, uint64_t limit)
{
    uint64_t *folders;
    size_t count;
    int rc = engine->outputs ? output_folders(engine->outputs, &folders, &count) : -ENOENT;
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = sweep_folder(engine, folders[i], limit);
    free(folders);
    return rc;
}

int engine_retain(struct engine *engine)
{
    struct retain_plan plan;
    int rc = sweep(engine, engine->first_id);
    if (rc < 0 && rc != -ECANCELED)
        log_warning("output of forgotten jobs cannot be looked for: %s", strerror(-rc));
    do {
        rc = look(engine, &plan);
    } while (rc == 0);
    return rc;
}
