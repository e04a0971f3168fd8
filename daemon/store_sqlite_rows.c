/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite_rows: job_record <-> row.
 *
 * I1  Column c of JOB_COLUMNS is parameter c+1 of every statement that writes a row, so one
 *     function binds them all.
 * I2  Every row carries checksums of its content, verified whenever it is read; a start reads
 *     every row.  SQLite has none: a flipped byte inside a command line would be run, and one
 *     inside a state would hide the job from recovery.
 * I3  Nothing is written before recovery has read the last row.
 */
#include "daemon/store_sqlite.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_INLINE_MAX 1024 /* a longer one goes into long_spec */

#define OLD_COLUMNS                                                                                \
    "id, state, uid, gid, queue, priority, attempt, failures, crashes, exit_code, term_signal, "   \
    "submitted_at, due_at, started_at, finished_at, sum, fixed_sum, spec, result, error"
#define JOB_COLUMNS OLD_COLUMNS ", expires_at, keep, key_hash"

enum job_column {
    COLUMN_ID,
    COLUMN_STATE,
    COLUMN_UID,
    COLUMN_GID,
    COLUMN_QUEUE,
    COLUMN_PRIORITY,
    COLUMN_ATTEMPT,
    COLUMN_FAILURES,
    COLUMN_CRASHES,
    COLUMN_EXIT_CODE,
    COLUMN_TERM_SIGNAL,
    COLUMN_SUBMITTED_AT,
    COLUMN_DUE_AT,
    COLUMN_STARTED_AT,
    COLUMN_FINISHED_AT,
    COLUMN_SUM,
    COLUMN_FIXED_SUM,
    COLUMN_SPEC,
    COLUMN_RESULT,
    COLUMN_ERROR,
    COLUMN_EXPIRES_AT,
    COLUMN_KEEP,
    COLUMN_KEY_HASH
};

/* One arm for each end state, merged by id: each walks an index and none is read further than the
 * page needs.  `state >= 5` is there for the planner: the indexes are partial. */
#define LIST_ARM(index, state, bit, also)                                                          \
    "SELECT id, uid FROM job INDEXED BY " index " WHERE state >= 5 AND state = " state             \
    " AND (?2 & " bit ") AND id < ?1" also
#define LIST_ARMS(index, also)                                                                     \
    LIST_ARM(index, "5", "32", also)                                                               \
    " UNION ALL " LIST_ARM(index, "6", "64", also) " UNION ALL " LIST_ARM(                         \
        index, "7", "128",                                                                         \
        also) " UNION ALL " LIST_ARM(index, "8", "256",                                            \
                                     also) " UNION ALL " LIST_ARM(index, "9", "512",               \
                                                                  also) " ORDER BY id DESC"

static const char *const statements[SQL_STATEMENT_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_INSERT] = "INSERT INTO job (" JOB_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                   "?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
    [SQL_INSERT_LONG] = "INSERT INTO long_spec (id, spec) VALUES (?1, ?2)",
    [SQL_UPDATE] = "UPDATE job SET state = ?2, priority = ?6, attempt = ?7, failures = ?8, "
                   "crashes = ?9, exit_code = ?10, term_signal = ?11, due_at = ?13, "
                   "started_at = ?14, finished_at = ?15, sum = ?16, result = ?19, error = ?20, "
                   "expires_at = ?21 WHERE id = ?1",
    [SQL_GET] = "SELECT " JOB_COLUMNS " FROM job WHERE id = ?1",
    [SQL_GET_LONG] = "SELECT spec FROM long_spec WHERE id = ?1",
    [SQL_LIST] = LIST_ARMS("ended_by_state", ""),
    [SQL_LIST_QUEUE] = LIST_ARMS("ended_by_queue", " AND queue = ?3"),
    [SQL_SCAN_OLD] = "SELECT " OLD_COLUMNS ", 0, 0, 0 FROM job ORDER BY id",
    [SQL_SCAN_4] = "SELECT " OLD_COLUMNS ", expires_at, 0, 0 FROM job ORDER BY id",
    [SQL_SCAN_5] = "SELECT " OLD_COLUMNS ", expires_at, keep, 0 FROM job ORDER BY id",
    [SQL_SCAN] = "SELECT " JOB_COLUMNS " FROM job ORDER BY id",
    [SQL_LIFE] = ("SELECT instance, starts, sum, max(next_id, (SELECT ifnull(max(id), 0) + 1 "
                  "FROM job)), (SELECT count(*) FROM job WHERE state >= 5) FROM life"),
    [SQL_COUNT_START] = "UPDATE life SET starts = ?1, sum = ?2",
    [SQL_DELETE] = "DELETE FROM job WHERE id = ?1 AND state >= 5",
    [SQL_SETTINGS] = "SELECT name, value, sum FROM setting ORDER BY name",
    [SQL_SET] = "INSERT OR REPLACE INTO setting (name, value, sum) VALUES (?1, ?2, ?3)",
    [SQL_FORGET] = "DELETE FROM setting WHERE name = ?1",
    [SQL_OLDEST] = "SELECT id FROM ("
                   "SELECT * FROM (SELECT id, finished_at FROM job INDEXED BY ended_by_time "
                   "WHERE state >= 5 AND keep = 0 AND finished_at <= ?1 "
                   "ORDER BY finished_at LIMIT ?2) UNION ALL "
                   "SELECT * FROM (SELECT id, finished_at FROM job INDEXED BY kept_by_time "
                   "WHERE state >= 5 AND keep > 0 AND finished_at <= ?1 "
                   "ORDER BY finished_at LIMIT ?2)) ORDER BY finished_at LIMIT ?2",
    [SQL_OLDEST_PLAIN] = "SELECT id FROM job INDEXED BY ended_by_time WHERE state >= 5 AND "
                         "keep = 0 AND finished_at <= ?1 ORDER BY finished_at LIMIT ?2",
    [SQL_OLDEST_KEPT] = "SELECT id FROM job INDEXED BY kept_by_due WHERE state >= 5 AND keep > 0 "
                        "AND finished_at + keep <= ?1 ORDER BY finished_at + keep LIMIT ?2",
    [SQL_KEY] = "SELECT id FROM job INDEXED BY ended_by_key WHERE state >= 5 AND key_hash <> 0 AND "
                "key_hash = ?1 AND finished_at > ?2 ORDER BY finished_at DESC",
};

int sqlite_rows_prepare(struct sqlite_store *store, struct problem *problem)
{
    size_t count = store->version < 2   ? SQL_OF_VERSION_2
                   : store->version < 4 ? SQL_OF_VERSION_4
                   : store->version < 5 ? SQL_OF_VERSION_5
                   : store->version < 6 ? SQL_OF_VERSION_6
                                        : SQL_STATEMENT_COUNT;
    for (size_t i = 0; i < count; i++) {
        if (store->statements[i])
            continue;
        int code = sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &store->statements[i], NULL);
        if (code != SQLITE_OK)
            return sqlite_problem(store, code, "prepare", problem);
    }
    return 0;
}

/* ---- checksums ------------------------------------------------------------------------------- */

/* One to one in `sum` and in `word`: a change of one word always changes the result. */
static uint64_t mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ (sum >> 32);
}

static uint64_t mix_text(uint64_t sum, const char *text)
{
    if (!text)
        return mix(sum, UINT64_MAX);
    size_t size = strlen(text);
    sum = mix(sum, size);
    for (; size > 0; text += 8) {
        uint64_t word = 0;
        size_t part = size < 8 ? size : 8;
        memcpy(&word, text, part);
        sum = mix(sum, le64toh(word));
        size -= part;
    }
    return sum;
}

/* Of what an update writes. */
static uint64_t record_sum(const struct job_record *record)
{
    const uint64_t words[] = {
        record->id,
        (uint64_t)record->state,
        (uint64_t)(int64_t)record->priority,
        record->attempt,
        record->failures,
        record->crashes,
        (uint64_t)(int64_t)record->exit_code,
        (uint64_t)(int64_t)record->term_signal,
        (uint64_t)record->due_at,
        (uint64_t)record->started_at,
        (uint64_t)record->finished_at,
    };
    uint64_t sum = 1;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        sum = mix(sum, words[i]);
    if (record->expires_at) /* none, as in every row from before version 4, leaves the sum alone */
        sum = mix(sum, (uint64_t)record->expires_at);
    return mix_text(mix_text(sum, record->result), record->error);
}

/* Of what only the insert writes. */
static uint64_t record_fixed_sum(const struct job_record *record)
{
    uint64_t sum = mix(2, record->id);
    sum = mix(sum, record->uid);
    sum = mix(sum, record->gid);
    sum = mix(sum, (uint64_t)record->submitted_at);
    if (record->keep) /* as with expires_at: before version 5, and 6 */
        sum = mix(sum, (uint64_t)record->keep);
    if (record->key_hash)
        sum = mix(sum, record->key_hash);
    return mix_text(mix_text(sum, record->queue), record->spec);
}

uint64_t sqlite_life_sum(const char *instance, uint64_t starts)
{
    return mix_text(mix(3, starts), instance);
}

uint64_t sqlite_setting_sum(const char *name, const char *value)
{
    return mix_text(mix_text(4, name), value);
}

/* ---- record -> row --------------------------------------------------------------------------- */

static void bind_int(sqlite3_stmt *statement, enum job_column column, int64_t value)
{
    sqlite3_bind_int64(statement, (int)column + 1, value);
}

static void bind_text(sqlite3_stmt *statement, enum job_column column, const char *text)
{
    sqlite3_bind_text(statement, (int)column + 1, text, -1, SQLITE_STATIC);
}

static void bind_changing(sqlite3_stmt *statement, const struct job_record *record)
{
    bind_int(statement, COLUMN_ID, (int64_t)record->id);
    bind_int(statement, COLUMN_STATE, record->state);
    bind_int(statement, COLUMN_PRIORITY, record->priority);
    bind_int(statement, COLUMN_ATTEMPT, record->attempt);
    bind_int(statement, COLUMN_FAILURES, record->failures);
    bind_int(statement, COLUMN_CRASHES, record->crashes);
    bind_int(statement, COLUMN_EXIT_CODE, record->exit_code);
    bind_int(statement, COLUMN_TERM_SIGNAL, record->term_signal);
    bind_int(statement, COLUMN_DUE_AT, record->due_at);
    bind_int(statement, COLUMN_STARTED_AT, record->started_at);
    bind_int(statement, COLUMN_FINISHED_AT, record->finished_at);
    bind_int(statement, COLUMN_EXPIRES_AT, record->expires_at);
    bind_int(statement, COLUMN_SUM, (int64_t)record_sum(record));
    bind_text(statement, COLUMN_RESULT, record->result);
    bind_text(statement, COLUMN_ERROR, record->error);
}

static int insert_long_spec(struct sqlite_store *store, const struct job_record *record,
                            struct problem *problem)
{
    sqlite3_stmt *statement = store->statements[SQL_INSERT_LONG];
    sqlite3_bind_int64(statement, 1, (int64_t)record->id);
    sqlite3_bind_text(statement, 2, record->spec, -1, SQLITE_STATIC);
    int err = sqlite_run(store, SQL_INSERT_LONG, "insert", problem);
    sqlite3_clear_bindings(statement); /* the text is not ours */
    return err;
}

static int insert_row(struct sqlite_store *store, const struct job_record *record,
                      struct problem *problem)
{
    sqlite3_stmt *statement = store->statements[SQL_INSERT];
    bool is_long = strlen(record->spec) > SPEC_INLINE_MAX;
    bind_changing(statement, record);
    bind_int(statement, COLUMN_UID, record->uid);
    bind_int(statement, COLUMN_GID, record->gid);
    bind_text(statement, COLUMN_QUEUE, record->queue);
    bind_int(statement, COLUMN_SUBMITTED_AT, record->submitted_at);
    bind_int(statement, COLUMN_KEEP, record->keep);
    bind_int(statement, COLUMN_KEY_HASH, (int64_t)record->key_hash);
    bind_int(statement, COLUMN_FIXED_SUM, (int64_t)record_fixed_sum(record));
    bind_text(statement, COLUMN_SPEC, is_long ? NULL : record->spec);
    int err = sqlite_run(store, SQL_INSERT, "insert", problem);
    return err || !is_long ? err : insert_long_spec(store, record, problem);
}

/* A row whose key is taken is left out. */
static int insert_unless_existing(struct sqlite_store *store, const struct store_op *op, size_t i,
                                  struct problem *problem)
{
    const struct job_record *record = op->rows[i];
    int err = 0;
    if (op->existing && record->key_hash)
        err = sqlite_key_find(store, record, op->key_since, problem, &op->existing[i]);
    if (err || (op->existing && op->existing[i]))
        return err;
    return insert_row(store, record, problem);
}

static int update_row(struct sqlite_store *store, const struct job_record *record,
                      struct problem *problem)
{
    bind_changing(store->statements[SQL_UPDATE], record);
    int err = sqlite_run(store, SQL_UPDATE, "update", problem);
    if (!err && sqlite3_changes(store->db) != 1)
        return sqlite_corrupt(store, problem, "job %llu is gone", (unsigned long long)record->id);
    return err;
}

static int write_setting(struct sqlite_store *store, const struct store_setting *setting,
                         struct problem *problem)
{
    enum sqlite_statement which = setting->value ? SQL_SET : SQL_FORGET;
    sqlite3_stmt *statement = store->statements[which];
    sqlite3_bind_text(statement, 1, setting->name, -1, SQLITE_STATIC);
    if (setting->value) {
        sqlite3_bind_text(statement, 2, setting->value, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 3,
                           (int64_t)sqlite_setting_sum(setting->name, setting->value));
    }
    int err = sqlite_run(store, which, "set", problem);
    sqlite3_clear_bindings(statement); /* the texts are not ours */
    return err;
}

/* An id that has no row, or whose job lives, is nothing to complain of: it is not in the way. */
static int delete_row(struct sqlite_store *store, uint64_t id, struct problem *problem)
{
    sqlite3_bind_int64(store->statements[SQL_DELETE], 1, (int64_t)id);
    int err = sqlite_run(store, SQL_DELETE, "delete", problem);
    store->deleted += err ? 0 : (uint64_t)sqlite3_changes(store->db);
    return err;
}

static int apply_one(struct sqlite_store *store, const struct store_op *op, size_t i,
                     struct problem *problem)
{
    switch (op->kind) {
    case STORE_INSERT:
        return insert_unless_existing(store, op, i, problem);
    case STORE_DELETE:
        return delete_row(store, op->ids[i], problem);
    case STORE_SET:
        return write_setting(store, &op->settings[i], problem);
    default:
        return update_row(store, op->rows[i], problem);
    }
}

int sqlite_rows_apply(void *backend, const struct store_op *op, struct problem *problem)
{
    int err = 0;
    for (size_t i = 0; !err && i < op->count; i++)
        err = apply_one(backend, op, i, problem);
    return err;
}

/* ---- row -> record --------------------------------------------------------------------------- */

/* *ret_text NULL: the column is. */
static int column_text(struct sqlite_store *store, sqlite3_stmt *statement, int column,
                       struct problem *problem, const char **ret_text)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    if (!text && sqlite3_column_type(statement, column) != SQLITE_NULL)
        return sqlite_problem(store, sqlite3_errcode(store->db), "read", problem);
    *ret_text = text;
    return 0;
}

/* Valid until SQL_GET_LONG is run again. */
static int read_long_spec(struct sqlite_store *store, uint64_t id, struct problem *problem,
                          const char **ret_spec)
{
    sqlite3_stmt *statement = store->statements[SQL_GET_LONG];
    sqlite3_reset(statement);
    sqlite3_bind_int64(statement, 1, (int64_t)id);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return column_text(store, statement, 0, problem, ret_spec);
    if (code == SQLITE_DONE)
        return sqlite_corrupt(store, problem, "the spec of job %llu is gone",
                              (unsigned long long)id);
    return sqlite_problem(store, sqlite3_reset(statement), "read", problem);
}

static int read_texts(struct sqlite_store *store, sqlite3_stmt *statement,
                      struct job_record *record, struct problem *problem)
{
    int err = column_text(store, statement, COLUMN_QUEUE, problem, &record->queue);
    if (!err)
        err = column_text(store, statement, COLUMN_SPEC, problem, &record->spec);
    if (!err && !record->spec)
        err = read_long_spec(store, record->id, problem, &record->spec);
    if (!err)
        err = column_text(store, statement, COLUMN_RESULT, problem, &record->result);
    return err ? err : column_text(store, statement, COLUMN_ERROR, problem, &record->error);
}

int sqlite_row_read(struct sqlite_store *store, sqlite3_stmt *statement, struct problem *problem,
                    struct job_record *ret_record)
{
#define INT(column) sqlite3_column_int64(statement, column)
    struct job_record record = {
        .id = (uint64_t)INT(COLUMN_ID),
        .uid = (uid_t)INT(COLUMN_UID),
        .gid = (gid_t)INT(COLUMN_GID),
        .state = (enum job_state)INT(COLUMN_STATE),
        .attempt = (uint32_t)INT(COLUMN_ATTEMPT),
        .failures = (uint32_t)INT(COLUMN_FAILURES),
        .crashes = (uint32_t)INT(COLUMN_CRASHES),
        .exit_code = (int32_t)INT(COLUMN_EXIT_CODE),
        .term_signal = (int32_t)INT(COLUMN_TERM_SIGNAL),
        .priority = (int32_t)INT(COLUMN_PRIORITY),
        .submitted_at = INT(COLUMN_SUBMITTED_AT),
        .due_at = INT(COLUMN_DUE_AT),
        .started_at = INT(COLUMN_STARTED_AT),
        .finished_at = INT(COLUMN_FINISHED_AT),
        .expires_at = INT(COLUMN_EXPIRES_AT),
        .keep = INT(COLUMN_KEEP),
        .key_hash = (uint64_t)INT(COLUMN_KEY_HASH),
    };
    int err = read_texts(store, statement, &record, problem);
    if (err)
        return err;
    if (record_sum(&record) != (uint64_t)INT(COLUMN_SUM) ||
        record_fixed_sum(&record) != (uint64_t)INT(COLUMN_FIXED_SUM)) /* I2 */
        return sqlite_corrupt(store, problem, "the checksum of job %llu is wrong",
                              (unsigned long long)record.id);
    if (record.state <= JOB_NONE || record.state >= JOB_STATE_COUNT)
        return sqlite_corrupt(store, problem,
                              "job %llu is in a state that this weftd does not "
                              "know",
                              (unsigned long long)record.id);
    *ret_record = record;
    return 0;
#undef INT
}

/* ---- at start -------------------------------------------------------------------------------- */

static int read_life(struct sqlite_store *store, sqlite3_stmt *statement, struct problem *problem,
                     struct store_life *ret_life)
{
    const char *instance = (const char *)sqlite3_column_text(statement, 0);
    struct store_life life = {
        .starts = (uint64_t)sqlite3_column_int64(statement, 1),
        .next_id = (uint64_t)sqlite3_column_int64(statement, 3),
        .ended = (uint64_t)sqlite3_column_int64(statement, 4),
    };
    if (!instance || strlen(instance) != sizeof life.instance - 1 ||
        sqlite_life_sum(instance, life.starts) != (uint64_t)sqlite3_column_int64(statement, 2))
        return sqlite_corrupt(store, problem, "the checksum of its life data is wrong");
    strcpy(life.instance, instance);
    life.starts++;
    store->starts = life.starts;
    *ret_life = life;
    return 0;
}

int sqlite_rows_life(void *backend, struct problem *problem, struct store_life *ret_life)
{
    struct sqlite_store *store = backend;
    sqlite3_stmt *statement = store->statements[SQL_LIFE];
    int code = sqlite3_step(statement);
    int err = code == SQLITE_ROW    ? read_life(store, statement, problem, ret_life)
              : code == SQLITE_DONE ? sqlite_corrupt(store, problem, "its life data is gone")
                                    : sqlite_problem(store, code, "read", problem);
    sqlite3_reset(statement);
    return err;
}

/* Every row is read and verified; the ended ones go no further. */
static int scan(struct sqlite_store *store, sqlite3_stmt *statement,
                int (*row)(void *arg, const struct job_record *record), void *arg,
                struct problem *problem)
{
    int code, err = 0;
    while (!err && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct job_record record;
        err = sqlite_row_read(store, statement, problem, &record);
        if (!err && !job_state_is_end(record.state))
            err = row(arg, &record);
    }
    return err || code == SQLITE_DONE ? err : sqlite_problem(store, code, "recover", problem);
}

/* The one that finds all rows, for the version that the store has. */
static sqlite3_stmt *scan_statement(const struct sqlite_store *store)
{
    return store->statements[store->version < 4   ? SQL_SCAN_OLD
                             : store->version < 5 ? SQL_SCAN_4
                             : store->version < 6 ? SQL_SCAN_5
                                                  : SQL_SCAN];
}

int sqlite_rows_look(struct sqlite_store *store,
                     void (*row)(void *arg, const struct job_record *record,
                                 const struct problem *problem),
                     void *arg, struct problem *problem)
{
    sqlite3_stmt *statement = scan_statement(store);
    int code, err = 0;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct job_record record = {.id = (uint64_t)sqlite3_column_int64(statement, COLUMN_ID)};
        struct problem bad = {0};
        err = sqlite_row_read(store, statement, &bad, &record);
        if (err && err != -EBADMSG)
            break;
        row(arg, &record, err ? &bad : NULL);
    }
    if (code == SQLITE_ROW)
        problem_set(problem, err, "the rows cannot be read: %s", strerror(-err));
    sqlite3_reset(statement);
    sqlite3_reset(store->statements[SQL_GET_LONG]);
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        return code == SQLITE_ROW ? err : 0;
    return sqlite_problem(store, code, "look", problem);
}

static int count_start(struct sqlite_store *store, struct problem *problem)
{
    struct store_life life;
    int err = sqlite_rows_life(store, problem, &life);
    if (err)
        return err;
    sqlite3_stmt *statement = store->statements[SQL_COUNT_START];
    sqlite3_bind_int64(statement, 1, (int64_t)life.starts);
    sqlite3_bind_int64(statement, 2, (int64_t)sqlite_life_sum(life.instance, life.starts));
    return sqlite_run(store, SQL_COUNT_START, "count the start", problem);
}

/* The first thing that is written: what the version lacks, and the start; both or neither. */
static int begin_life(struct sqlite_store *store, struct problem *problem)
{
    int err = sqlite_run(store, SQL_BEGIN, "begin", problem);
    if (!err)
        err = sqlite_file_migrate(store, problem);
    if (!err)
        err = count_start(store, problem);
    if (!err)
        err = sqlite_run(store, SQL_COMMIT, "commit", problem);
    if (err) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        return err;
    }
    store->version = SQLITE_STORE_VERSION;
    return sqlite_rows_prepare(store, problem);
}

int sqlite_rows_recover(void *backend, int (*row)(void *arg, const struct job_record *record),
                        void *arg, struct problem *problem)
{
    struct sqlite_store *store = backend;
    sqlite3_stmt *statement = scan_statement(store);
    int err = scan(store, statement, row, arg, problem);
    sqlite3_reset(statement);
    sqlite3_reset(store->statements[SQL_GET_LONG]);
    return err ? err : begin_life(store, problem); /* I3 */
}

static int read_setting(struct sqlite_store *store, sqlite3_stmt *statement,
                        int (*setting)(void *arg, const char *name, const char *value), void *arg,
                        struct problem *problem)
{
    const char *name = NULL, *value = NULL;
    int err = column_text(store, statement, 0, problem, &name);
    if (!err)
        err = column_text(store, statement, 1, problem, &value);
    if (err)
        return err;
    if (!name || !value ||
        sqlite_setting_sum(name, value) != (uint64_t)sqlite3_column_int64(statement, 2)) /* I2 */
        return sqlite_corrupt(store, problem, "the checksum of a setting is wrong");
    return setting(arg, name, value);
}

int sqlite_rows_settings(void *backend,
                         int (*setting)(void *arg, const char *name, const char *value), void *arg,
                         struct problem *problem)
{
    struct sqlite_store *store = backend;
    sqlite3_stmt *statement = store->statements[SQL_SETTINGS];
    int code = SQLITE_DONE, err = 0;
    while (!err && statement && (code = sqlite3_step(statement)) == SQLITE_ROW)
        err = read_setting(store, statement, setting, arg, problem);
    sqlite3_reset(statement);
    return err || code == SQLITE_DONE ? err : sqlite_problem(store, code, "read", problem);
}
