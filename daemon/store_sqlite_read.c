/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite_read: what is asked of the store while it runs: by id, by state and queue, by age.
 *
 * I1  A page is found as ids by an index, and then read row by row with its checksums.
 */
#include "daemon/store_sqlite.h"

#include <errno.h>
#include <stdlib.h>

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

static void bind_filter(sqlite3_stmt *statement, const struct store_filter *filter)
{
    uint64_t before = filter->before ? filter->before : INT64_MAX;
    sqlite3_bind_int64(statement, 1, before > INT64_MAX ? INT64_MAX : (int64_t)before);
    sqlite3_bind_int64(statement, 2, filter->states ? filter->states : UINT32_MAX);
    sqlite3_bind_int64(statement, 3, filter->all_users ? -1 : (int64_t)filter->uid);
    sqlite3_bind_int64(statement, 4, filter->limit > INT32_MAX ? INT32_MAX : (int)filter->limit);
    if (filter->queue)
        sqlite3_bind_text(statement, 5, filter->queue, -1, SQLITE_STATIC);
}

static sqlite3_stmt *bind_question(struct sqlite_store *store, const struct store_op *op)
{
    const struct store_filter *filter = &op->filter;
    enum sqlite_statement which = op->kind == STORE_OLDEST ? SQL_OLDEST
                                  : filter->queue          ? SQL_LIST_QUEUE
                                                           : SQL_LIST;
    sqlite3_stmt *statement = store->statements[which];
    if (op->kind == STORE_LIST) {
        bind_filter(statement, filter);
        return statement;
    }
    sqlite3_bind_int64(statement, 1, op->ended_by);
    sqlite3_bind_int64(statement, 2, filter->limit > INT32_MAX ? INT32_MAX : (int)filter->limit);
    return statement;
}

/* The ids asked for, at most limit, on the heap. */
static int list_ids(struct sqlite_store *store, const struct store_op *op, struct problem *problem,
                    uint64_t **ret_ids, size_t *ret_count)
{
    const struct store_filter *filter = &op->filter;
    sqlite3_stmt *statement = bind_question(store, op);
    uint64_t *ids = calloc(filter->limit ? filter->limit : 1, sizeof *ids);
    size_t count = 0;
    if (!ids)
        return -ENOMEM;
    while (count < filter->limit && sqlite3_step(statement) == SQLITE_ROW)
        ids[count++] = (uint64_t)sqlite3_column_int64(statement, 0);
    int code = sqlite3_reset(statement); /* the error of step, if it had one */
    if (code != SQLITE_OK) {
        free(ids);
        return sqlite_problem(store, code, "list", problem);
    }
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

static int list(struct sqlite_store *store, struct store_op *op, struct problem *problem)
{
    uint64_t *ids = NULL;
    size_t count = 0;
    int err = list_ids(store, op, problem, &ids, &count);
    if (err)
        return err;
    err = get_many(store, op, ids, count, problem);
    free(ids);
    return err;
}

int sqlite_rows_read(void *backend, struct store_op *op, struct problem *problem)
{
    return op->kind == STORE_GET ? get_many(backend, op, op->ids, op->count, problem)
                                 : list(backend, op, problem);
}
