/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite_read: what is asked of the store while it runs: by id, by state and queue, by age, by
 * key.
 *
 * I1  What is listed is found by an index, and then read row by row with its checksums.
 * I2  A LIST looks at BUDGET entries at most, a row counting for many: commits wait meanwhile.  It
 *     says how far it has come, and whoever asked asks on.
 */
#include "daemon/store_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUDGET = 20000, ROW_COST = 16, ROW_COST_BYTES = 256 }; /* about 5 ms */

/* *ret_record NULL: no such job. */
static int get_one(struct sqlite_store *store, uint64_t id, struct problem *problem,
                   struct job_record **ret_record)
{
    sqlite3_stmt *statement = store->statements[SQL_GET];
    struct job_record record;
    sqlite3_bind_int64(statement, 1, (int64_t)id);
    int code = sqlite3_step(statement);
    int err = 0;
    if (code == SQLITE_ROW) {
        err = sqlite_row_read(store, statement, problem, &record);
        if (!err)
            err = job_record_copy(&record, ret_record);
    } else if (code == SQLITE_DONE) {
        *ret_record = NULL;
    } else {
        err = sqlite_problem(store, code, "get", problem);
    }
    sqlite3_reset(statement);
    sqlite3_reset(store->statements[SQL_GET_LONG]);
    return err;
}

static void free_found(struct job_record **found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        job_record_free(found[i]);
    free(found);
}

/* All of ids or nothing; op is filled on success only. */
static int get_many(struct sqlite_store *store, struct store_op *op, const uint64_t *ids,
                    size_t count, struct problem *problem)
{
    struct job_record **found = calloc(count ? count : 1, sizeof *found);
    int err = found ? 0 : -ENOMEM;
    for (size_t i = 0; !err && i < count; i++)
        err = get_one(store, ids[i], problem, &found[i]);
    if (err) {
        free_found(found, found ? count : 0);
        return err;
    }
    op->found = found;
    op->found_count = count;
    return 0;
}

/* ---- LIST ------------------------------------------------------------------------------------ */

struct scan {
    const struct store_filter *filter;
    struct job_record **found;
    size_t count, size;
    size_t budget;
    uint64_t reached; /* of the queues so far, the highest */
};

static sqlite3_stmt *bind_filter(struct sqlite_store *store, const struct store_filter *filter,
                                 const char *queue)
{
    uint64_t before = filter->before ? filter->before : INT64_MAX;
    sqlite3_stmt *statement = store->statements[queue ? SQL_LIST_QUEUE : SQL_LIST];
    sqlite3_bind_int64(statement, 1, before > INT64_MAX ? INT64_MAX : (int64_t)before);
    sqlite3_bind_int64(statement, 2, filter->states ? filter->states : UINT32_MAX);
    if (queue)
        sqlite3_bind_text(statement, 3, queue, -1, SQLITE_STATIC);
    return statement;
}

static void spend(struct scan *scan, size_t cost)
{
    scan->budget -= cost < scan->budget ? cost : scan->budget;
}

/* One entry of the index. */
static int look_at(struct sqlite_store *store, struct scan *scan, uint64_t id, uid_t uid,
                   struct problem *problem)
{
    const struct store_filter *filter = scan->filter;
    struct job_record *record;
    spend(scan, 1);
    if (!filter->all_users && filter->uid != uid)
        return 0;
    int err = get_one(store, id, problem, &record);
    if (err || !record)
        return err;
    if (filter->match) {
        spend(scan, ROW_COST + strlen(record->spec) / ROW_COST_BYTES);
        if (!job_match_text(filter->match, record->spec)) {
            job_record_free(record);
            return 0;
        }
    }
    scan->found[scan->count++] = record;
    return 0;
}

/* The first of a queue, or of all: `limit` of them, or as far as the budget goes. */
static int scan_queue(struct sqlite_store *store, struct scan *scan, const char *queue,
                      struct problem *problem)
{
    sqlite3_stmt *statement = bind_filter(store, scan->filter, queue);
    size_t most = scan->count + scan->filter->limit;
    uint64_t id = scan->filter->before;
    int err = 0;
    while (!err && scan->count < most && sqlite3_step(statement) == SQLITE_ROW) {
        if (scan->budget == 0) {
            scan->reached = id > scan->reached ? id : scan->reached;
            break;
        }
        id = (uint64_t)sqlite3_column_int64(statement, 0);
        err = look_at(store, scan, id, (uid_t)sqlite3_column_int64(statement, 1), problem);
    }
    int code = sqlite3_reset(statement); /* the error of step, if it had one */
    sqlite3_clear_bindings(statement);   /* the text is not ours */
    return !err && code != SQLITE_OK ? sqlite_problem(store, code, "list", problem) : err;
}

static int newest_first(const void *a, const void *b)
{
    const struct job_record *const *one = a, *const *two = b;
    return (*one)->id < (*two)->id ? 1 : -1;
}

/* Of several queues: those are the newest of all that every queue was looked at for. */
static void merge(struct scan *scan)
{
    size_t kept = 0;
    qsort(scan->found, scan->count, sizeof(scan->found[0]), newest_first);
    while (kept < scan->count && kept < scan->filter->limit &&
           scan->found[kept]->id >= scan->reached)
        kept++;
    for (size_t i = kept; i < scan->count; i++)
        job_record_free(scan->found[i]);
    scan->count = kept;
}

static int scan_all(struct sqlite_store *store, struct scan *scan, size_t queues,
                    struct problem *problem)
{
    int err = 0;
    if (queues == 0)
        return scan_queue(store, scan, NULL, problem);
    for (size_t i = 0; !err && i < queues; i++) { /* to each its share of what is left */
        size_t left = scan->budget, share = left / (queues - i);
        scan->budget = share ? share : 1;
        err = scan_queue(store, scan, scan->filter->queues[i], problem);
        scan->budget += left - (share ? share : 1);
    }
    if (!err)
        merge(scan);
    return err;
}

static int list(struct sqlite_store *store, struct store_op *op, struct problem *problem)
{
    const struct store_filter *filter = &op->filter;
    struct scan scan = {.filter = filter, .budget = BUDGET};
    size_t queues = 0;
    while (filter->queues && filter->queues[queues])
        queues++;
    scan.found = calloc(filter->limit * (queues ? queues : 1) + 1, sizeof(struct job_record *));
    if (!scan.found)
        return -ENOMEM;
    int err = scan_all(store, &scan, queues, problem);
    if (err) {
        free_found(scan.found, scan.count);
        return err;
    }
    op->found = scan.found;
    op->found_count = scan.count;
    op->reached = scan.reached;
    return 0;
}

/* ---- OLDEST ---------------------------------------------------------------------------------- */

static int oldest(struct sqlite_store *store, struct store_op *op, struct problem *problem)
{
    sqlite3_stmt *statement = store->statements[SQL_OLDEST + op->oldest];
    size_t limit = op->filter.limit, count = 0;
    uint64_t *ids = calloc(limit ? limit : 1, sizeof *ids);
    if (!ids)
        return -ENOMEM;
    sqlite3_bind_int64(statement, 1, op->ended_by);
    sqlite3_bind_int64(statement, 2, limit > INT32_MAX ? INT32_MAX : (int)limit);
    while (count < limit && sqlite3_step(statement) == SQLITE_ROW)
        ids[count++] = (uint64_t)sqlite3_column_int64(statement, 0);
    int code = sqlite3_reset(statement); /* the error of step, if it had one */
    int err = code == SQLITE_OK ? get_many(store, op, ids, count, problem)
                                : sqlite_problem(store, code, "list", problem);
    free(ids);
    return err;
}

/* ---- a key ----------------------------------------------------------------------------------- */

/* What hashes alike need not be the same. */
static int has_its_key(struct sqlite_store *store, const struct job_record *record, uint64_t id,
                       struct problem *problem, bool *ret_has)
{
    struct job_record *other;
    int err = get_one(store, id, problem, &other);
    if (err)
        return err;
    bool may_have = other && other->uid == record->uid;
    int has = may_have ? job_spec_text_same_key(other->spec, record->spec) : 0;
    job_record_free(other);
    if (has < 0)
        return problem_set(problem, has, "%s: look for a key: no memory", store->path);
    *ret_has = has;
    return 0;
}

int sqlite_key_find(struct sqlite_store *store, const struct job_record *record, int64_t since,
                    struct problem *problem, uint64_t *ret_id)
{
    sqlite3_stmt *statement = store->statements[SQL_KEY];
    uint64_t id = 0;
    bool found = false;
    int err = 0;
    sqlite3_bind_int64(statement, 1, (int64_t)record->key_hash);
    sqlite3_bind_int64(statement, 2, since);
    while (!err && !found && sqlite3_step(statement) == SQLITE_ROW) {
        id = (uint64_t)sqlite3_column_int64(statement, 0);
        err = has_its_key(store, record, id, problem, &found);
    }
    int code = sqlite3_reset(statement); /* the error of step, if it had one */
    if (!err && code != SQLITE_OK)
        return sqlite_problem(store, code, "look for a key", problem);
    if (!err)
        *ret_id = found ? id : 0;
    return err;
}

int sqlite_rows_read(void *backend, struct store_op *op, struct problem *problem)
{
    if (op->kind == STORE_GET)
        return get_many(backend, op, op->ids, op->count, problem);
    return op->kind == STORE_LIST ? list(backend, op, problem) : oldest(backend, op, problem);
}
