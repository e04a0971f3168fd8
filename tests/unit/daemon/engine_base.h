/* SPDX-License-Identifier: MIT */
/*
 * A database in memory for the tests of the engine, that can be held up and can fail.  Header only.
 *
 * It checks what no engine may do: change a job that has ended but by a retry, update one that is
 * not there, give an id or an attempt's number twice.
 */
#pragma once

#include "daemon/store_backend.h"

#include "support/fibers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED __attribute__((unused)) /* a test file needs not all of these */

/* ---- the database ---------------------------------------------------------------------------- */

enum { BASE_IDS = 20000, BASE_OPS = 20000, BASE_SETTINGS = 16 };

struct base {
    struct job_record *rows[BASE_IDS]; /* by id; guarded by lock */
    const struct store_op *batch[BASE_OPS];
    size_t batch_count;
    struct store_setting settings[BASE_SETTINGS]; /* names NULL: free */
    pthread_mutex_t lock;                         /* also guards held */
    pthread_cond_t released;
    bool held;           /* commits wait */
    atomic_int waiting;  /* commits that do */
    atomic_int fail_in;  /* the nth commit from now fails; 0: none */
    atomic_bool no_room; /* the disk is full */
    int backup_err;      /* what a backup fails with */
    atomic_int commits;
    size_t list_most; /* rows that a LIST looks at; 0: all; set before the start */
    uint64_t next_id;
};

static int base_life(void *arg, struct problem *problem, struct store_life *ret_life)
{
    struct base *base = arg;
    (void)problem;
    ret_life->next_id = base->next_id;
    ret_life->ended = 0;
    for (size_t id = 0; id < BASE_IDS; id++)
        ret_life->ended += base->rows[id] && job_state_is_end(base->rows[id]->state);
    strcpy(ret_life->instance, "0123456789abcdef0123456789abcdef");
    return 0;
}

static int base_recover(void *arg, int (*row)(void *arg, const struct job_record *record),
                        void *row_arg, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    for (size_t id = 0; id < BASE_IDS; id++) {
        int rc = 0;
        if (base->rows[id] && !job_state_is_end(base->rows[id]->state))
            rc = row(row_arg, base->rows[id]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int base_begin(void *arg, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    base->batch_count = 0;
    return 0;
}

static int base_apply(void *arg, const struct store_op *op, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    EXPECT(base->batch_count < BASE_OPS);
    base->batch[base->batch_count++] = op;
    return 0;
}

/* What a retry makes of a job that has ended, and what is kept of it. */
static bool base_revives(const struct job_record *old, const struct job_record *record)
{
    return old->state != JOB_SUCCEEDED && record->state == JOB_QUEUED &&
           record->attempt == old->attempt && record->failures == 0 && record->crashes == 0 &&
           record->finished_at == 0 && !record->error && !record->result;
}

static void base_write(struct base *base, enum store_kind kind, const struct job_record *record)
{
    EXPECT(record->id > 0 && record->id < BASE_IDS);
    struct job_record *old = base->rows[record->id];
    EXPECT(record->state != JOB_NONE);
    EXPECT((kind == STORE_INSERT) == (old == NULL));
    EXPECT(!old || !job_state_is_end(old->state) || base_revives(old, record));
    EXPECT(!old || record->attempt >= old->attempt || record->state == JOB_QUEUED);
    EXPECT_EQ(job_record_copy(record, &base->rows[record->id]), 0);
    job_record_free(old);
    if (record->id >= base->next_id)
        base->next_id = record->id + 1;
}

static void base_set(struct base *base, const struct store_setting *setting)
{
    struct store_setting *at = NULL;
    for (size_t i = 0; i < BASE_SETTINGS; i++) {
        struct store_setting *one = &base->settings[i];
        bool is_it = one->name && strcmp(one->name, setting->name) == 0;
        if (is_it || (!one->name && !at))
            at = one;
    }
    EXPECT(at != NULL);
    free((char *)at->name);
    free((char *)at->value);
    *at = (struct store_setting){0};
    if (setting->value)
        *at = (struct store_setting){strdup(setting->name), strdup(setting->value)};
}

static int base_settings(void *arg, int (*setting)(void *arg, const char *name, const char *value),
                         void *setting_arg, struct problem *problem)
{
    struct base *base = arg;
    int rc = 0;
    (void)problem;
    for (size_t i = 0; rc == 0 && i < BASE_SETTINGS; i++)
        if (base->settings[i].name)
            rc = setting(setting_arg, base->settings[i].name, base->settings[i].value);
    return rc;
}

static void base_wait(struct base *base)
{
    pthread_mutex_lock(&base->lock);
    atomic_fetch_add(&base->waiting, 1);
    while (base->held)
        pthread_cond_wait(&base->released, &base->lock);
    atomic_fetch_sub(&base->waiting, 1);
    pthread_mutex_unlock(&base->lock);
}

/* Whether a job that waits for success, in the database, waits for this one's. */
static bool base_is_awaited(const struct base *base, uint64_t id)
{
    char list[64];
    snprintf(list, sizeof(list), "\"after\":[%llu]", (unsigned long long)id);
    for (size_t i = 0; i < BASE_IDS; i++)
        if (base->rows[i] && base->rows[i]->state == JOB_WAITING &&
            strstr(base->rows[i]->spec, list))
            return true;
    return false;
}

/* A recovery takes one that is not there for one that succeeded. */
static void base_delete(struct base *base, uint64_t id)
{
    EXPECT(id < BASE_IDS && base->rows[id] && job_state_is_end(base->rows[id]->state));
    EXPECT(base->rows[id]->state == JOB_SUCCEEDED || !base_is_awaited(base, id));
    job_record_free(base->rows[id]);
    base->rows[id] = NULL;
}

/* The id of the job that has its key and has ended after `since`; 0: there is none. */
static uint64_t base_find_key(const struct base *base, const struct job_record *record,
                              int64_t since)
{
    for (size_t id = BASE_IDS; id-- > 0;) {
        const struct job_record *row = base->rows[id];
        if (row && job_state_is_end(row->state) && row->key_hash == record->key_hash &&
            row->uid == record->uid && row->finished_at > since &&
            job_spec_text_same_key(row->spec, record->spec))
            return id;
    }
    return 0;
}

static bool base_key_is_taken(const struct base *base, const struct store_op *op, size_t i)
{
    if (op->kind != STORE_INSERT || !op->existing || !op->rows[i]->key_hash)
        return false;
    op->existing[i] = base_find_key(base, op->rows[i], op->key_since);
    return op->existing[i] != 0;
}

static void base_apply_one(struct base *base, const struct store_op *op, size_t i)
{
    if (base_key_is_taken(base, op, i))
        return;
    if (op->kind == STORE_SET)
        base_set(base, &op->settings[i]);
    else if (op->kind == STORE_DELETE)
        base_delete(base, op->ids[i]);
    else
        base_write(base, op->kind, op->rows[i]);
}

static int base_commit(void *arg, struct problem *problem)
{
    struct base *base = arg;
    base_wait(base);
    if (atomic_load(&base->fail_in) > 0 && atomic_fetch_sub(&base->fail_in, 1) == 1)
        return problem_set(problem, -EIO, "the disk is on fire");
    pthread_mutex_lock(&base->lock);
    for (size_t i = 0; i < base->batch_count; i++)
        for (size_t k = 0; k < base->batch[i]->count; k++)
            base_apply_one(base, base->batch[i], k);
    pthread_mutex_unlock(&base->lock);
    atomic_fetch_add(&base->commits, 1);
    return 0;
}

static void base_rollback(void *arg)
{
    (void)arg;
}

static int base_read_ids(struct base *base, struct store_op *op)
{
    op->found = calloc(op->count + 1, sizeof(struct job_record *));
    op->found_count = op->count;
    for (size_t i = 0; i < op->count; i++)
        if (op->ids[i] < BASE_IDS && base->rows[op->ids[i]])
            EXPECT_EQ(job_record_copy(base->rows[op->ids[i]], &op->found[i]), 0);
    return 0;
}

static bool base_is_in(const char *const *queues, const char *queue)
{
    bool in = queues == NULL;
    for (; queues && *queues; queues++)
        in = in || strcmp(*queues, queue) == 0;
    return in;
}

static bool base_matches(const struct store_filter *filter, const struct job_record *record)
{
    return record && job_state_is_end(record->state) &&
           (filter->all_users || filter->uid == record->uid) &&
           (filter->states == 0 || (filter->states & 1u << record->state)) &&
           base_is_in(filter->queues, record->queue) &&
           (!filter->match || job_match_text(filter->match, record->spec)) &&
           (filter->before == 0 || record->id < filter->before);
}

static int64_t base_due(const struct job_record *row, enum store_oldest oldest)
{
    return row->finished_at + (oldest == STORE_OLDEST_KEPT ? row->keep : 0);
}

static bool base_has_ended(const struct job_record *row, enum store_oldest oldest)
{
    bool wanted = oldest == STORE_OLDEST_ALL || (oldest == STORE_OLDEST_KEPT) == (row->keep > 0);
    return wanted && job_state_is_end(row->state);
}

/* In order of what is due first; of equal ones, of id. */
static struct job_record *base_next_ended(struct base *base, enum store_oldest oldest,
                                          const struct job_record *last)
{
    struct job_record *next = NULL;
    for (size_t id = 0; id < BASE_IDS; id++) {
        struct job_record *row = base->rows[id];
        if (!row || !base_has_ended(row, oldest))
            continue;
        int64_t due = base_due(row, oldest), after = last ? base_due(last, oldest) : INT64_MIN;
        bool behind = due > after || (last && due == after && row->id > last->id);
        if (behind && (!next || due < base_due(next, oldest)))
            next = row;
    }
    return next;
}

static int base_read_oldest(struct base *base, struct store_op *op)
{
    struct job_record *row = NULL;
    op->found = calloc(op->filter.limit + 1, sizeof(struct job_record *));
    op->found_count = 0;
    while (op->found_count < op->filter.limit && (row = base_next_ended(base, op->oldest, row)) &&
           base_due(row, op->oldest) <= op->ended_by)
        EXPECT_EQ(job_record_copy(row, &op->found[op->found_count++]), 0);
    return 0;
}

static int base_read(void *arg, struct store_op *op, struct problem *problem)
{
    struct base *base = arg;
    (void)problem;
    if (op->kind == STORE_GET)
        return base_read_ids(base, op);
    if (op->kind == STORE_OLDEST)
        return base_read_oldest(base, op);
    op->found = calloc(op->filter.limit + 1, sizeof(struct job_record *));
    op->found_count = 0;
    size_t looked = 0;
    for (size_t id = BASE_IDS; id-- > 0 && op->found_count < op->filter.limit;) {
        if (op->filter.before && id >= op->filter.before)
            continue;
        if (base_matches(&op->filter, base->rows[id]))
            EXPECT_EQ(job_record_copy(base->rows[id], &op->found[op->found_count++]), 0);
        if (!base->rows[id] || !base->list_most || ++looked < base->list_most)
            continue;
        op->reached = op->found_count < op->filter.limit ? id : 0;
        return 0;
    }
    return 0;
}

static int base_idle(void *arg, struct problem *problem)
{
    (void)arg, (void)problem;
    return 0;
}

static uint64_t base_room(void *arg)
{
    struct base *base = arg;
    return atomic_load(&base->no_room) ? 0 : UINT64_MAX;
}

static uint64_t base_bytes(void *arg)
{
    (void)arg;
    return 0;
}

static void base_close(void *arg)
{
    (void)arg;
}

static int base_backup(void *arg, const char *path, struct problem *problem)
{
    const struct base *base = arg;
    return problem_set(problem, base->backup_err, "the backup %s: it failed", path);
}

static const struct store_backend_ops base_ops = {
    .name = "memory",
    .life = base_life,
    .settings = base_settings,
    .recover = base_recover,
    .begin = base_begin,
    .apply = base_apply,
    .commit = base_commit,
    .rollback = base_rollback,
    .read = base_read,
    .idle = base_idle,
    .backup_begin = base_backup,
    .room = base_room,
    .file_bytes = base_bytes,
    .close = base_close,
};

UNUSED static void base_hold(struct base *base)
{
    pthread_mutex_lock(&base->lock);
    base->held = true;
    pthread_mutex_unlock(&base->lock);
}

UNUSED static void base_release(struct base *base)
{
    pthread_mutex_lock(&base->lock);
    base->held = false;
    pthread_cond_broadcast(&base->released);
    pthread_mutex_unlock(&base->lock);
}

/* What the database says of a job now; JOB_NONE: nothing. */
UNUSED static enum job_state base_state(struct base *base, uint64_t id)
{
    pthread_mutex_lock(&base->lock);
    enum job_state state = base->rows[id] ? base->rows[id]->state : JOB_NONE;
    pthread_mutex_unlock(&base->lock);
    return state;
}

/* Whether the database has the job, and its spec contains part. */
UNUSED static bool base_has(struct base *base, uint64_t id, const char *part)
{
    pthread_mutex_lock(&base->lock);
    bool has = base->rows[id] && strstr(base->rows[id]->spec, part);
    pthread_mutex_unlock(&base->lock);
    return has;
}
