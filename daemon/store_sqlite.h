/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite: what the files of the SQLite backend and store_verify.c share; nobody else includes
 * this.
 *   store_sqlite.c        open, transactions, checkpoints, close
 *   store_sqlite_backup.c a copy, made beside the batches
 *   store_sqlite_file.c   a new database file, and whether a found one is ours and whole
 *   store_sqlite_rows.c   job_record <-> row, checksums, recovery
 *   store_sqlite_read.c   GET, LIST and OLDEST
 */
#pragma once

#include "daemon/problem.h"
#include "daemon/store_backend.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SQLITE_STORE_ID      0x57656674 /* PRAGMA application_id: "Weft" */
#define SQLITE_STORE_VERSION 6          /* PRAGMA user_version: of the schema */

enum sqlite_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_INSERT_LONG,
    SQL_GET_LONG,
    SQL_LIST,
    SQL_LIST_QUEUE,
    SQL_SCAN_OLD, /* of a store before version 4 */
    SQL_LIFE,
    SQL_COUNT_START,
    SQL_DELETE,
    SQL_OF_VERSION_2, /* these need tables that a store of version 1 gets at recovery */
    SQL_SETTINGS = SQL_OF_VERSION_2,
    SQL_SET,
    SQL_FORGET,
    SQL_OF_VERSION_4, /* likewise, a column */
    SQL_SCAN_4 = SQL_OF_VERSION_4,
    SQL_OF_VERSION_5,              /* likewise, another and its indexes */
    SQL_OLDEST = SQL_OF_VERSION_5, /* in the order of enum store_oldest */
    SQL_OLDEST_PLAIN,
    SQL_OLDEST_KEPT,
    SQL_SCAN_5,
    SQL_OF_VERSION_6, /* likewise */
    SQL_KEY = SQL_OF_VERSION_6,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_GET,
    SQL_SCAN,
    SQL_STATEMENT_COUNT
};

struct sqlite_store {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_STATEMENT_COUNT];
    char *folder, *path, *wal_path;
    uint64_t wal_bytes;           /* as of the last commit, 0 once all of it is folded back */
    uint64_t deleted;             /* rows, since free pages were looked at */
    uint64_t starts;              /* number of this start */
    struct sqlite_backup *backup; /* under way, or NULL */
    bool committed;               /* the transaction that is being ended is on disk */
    int version; /* of the schema on disk; this program's once recovery is through */
    bool failed; /* an error that is not a shortage of memory: no checkpoint at close */
    _Atomic uint64_t reserve, checkpoint, wal_max;
};

/* The -errno of an SQLite result code, with problem: what SQLite said, the path, and `doing`.  An
 * error of the statement or schema means that the file is not what we wrote: -EBADMSG. */
int sqlite_problem(struct sqlite_store *store, int code, const char *doing,
                   struct problem *problem);

/* Damage that SQLite cannot see: -EBADMSG, with problem. */
int sqlite_corrupt(struct sqlite_store *store, struct problem *problem, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* store_sqlite.c ------------------------------------------------------------------------------- */

/* Open to look only: nothing is made or written, no other process can use it meanwhile.  The rows are
 * not looked at, and of the pages what quick_check says.
 * Errors: -ENOENT there is no store; else as store_open(). */
int store_sqlite_look(const char *state_dir, struct problem *problem,
                      struct sqlite_store **ret_store);
void store_sqlite_look_end(struct sqlite_store *store);

/* Bytes that may be written before the reserve is touched. */
uint64_t sqlite_room(void *backend);

/* store_sqlite_backup.c ------------------------------------------------------------------------ */

int sqlite_backup_begin(void *backend, const char *path, struct problem *problem);
int sqlite_backup_step(void *backend, struct problem *problem);
int sqlite_backup_end(void *backend, struct problem *problem, uint64_t *ret_bytes);

/* store_sqlite_file.c -------------------------------------------------------------------------- */

/* Make a new, empty store: under another name first, then renamed, so that weft.db is whole from
 * the moment it exists.  Errors: the system's, with problem. */
int sqlite_file_create(struct sqlite_store *store, struct problem *problem);

/* Without SQLite, before it may touch anything: is the file there, ours, and its WAL whole?
 * Returns: 1 it is, 0 there is no store yet.  Errors: -EBADMSG, the system's; with problem. */
int sqlite_file_check(struct sqlite_store *store, struct problem *problem);

/* With SQLite: version, schema of that version, structure of every page; sets store->version.
 * Errors: -EBADMSG, -EPROTONOSUPPORT. */
int sqlite_content_check(struct sqlite_store *store, struct problem *problem);

/* The first column of each row of a query, as text. */
int sqlite_query_each(struct sqlite_store *store, const char *sql,
                      void (*see)(void *arg, const char *text), void *arg, struct problem *problem);

/* Inside a transaction: what later versions have brought is made, up to this program's.  Nothing to
 * do if it is of this version.  The caller sets store->version after the commit. */
int sqlite_file_migrate(struct sqlite_store *store, struct problem *problem);

/* store_sqlite_rows.c -------------------------------------------------------------------------- */

/* The statements that a store of its version can have. */
int sqlite_rows_prepare(struct sqlite_store *store, struct problem *problem);
int sqlite_rows_life(void *backend, struct problem *problem, struct store_life *ret_life);
int sqlite_rows_recover(void *backend, int (*row)(void *arg, const struct job_record *record),
                        void *arg, struct problem *problem);
/* Hand over every row, ended ones too: its record, or, with problem, its id alone. */
int sqlite_rows_look(struct sqlite_store *store,
                     void (*row)(void *arg, const struct job_record *record,
                                 const struct problem *problem),
                     void *arg, struct problem *problem);
int sqlite_rows_settings(void *backend,
                         int (*setting)(void *arg, const char *name, const char *value), void *arg,
                         struct problem *problem);
int sqlite_rows_apply(void *backend, const struct store_op *op, struct problem *problem);

/* The row where the statement stands; the record borrows its strings from there. */
int sqlite_row_read(struct sqlite_store *store, sqlite3_stmt *statement, struct problem *problem,
                    struct job_record *ret_record);

/* Run a statement that gives no rows. */
int sqlite_run(struct sqlite_store *store, enum sqlite_statement which, const char *doing,
               struct problem *problem);

/* Checksums of the life row, and of a setting. */
uint64_t sqlite_life_sum(const char *instance, uint64_t starts);
uint64_t sqlite_setting_sum(const char *name, const char *value);

/* store_sqlite_read.c -------------------------------------------------------------------------- */

int sqlite_rows_read(void *backend, struct store_op *op, struct problem *problem);

/* The job that has record's key, of the same user, and ended last, if after `since`; 0: none. */
int sqlite_key_find(struct sqlite_store *store, const struct job_record *record, int64_t since,
                    struct problem *problem, uint64_t *ret_id);
