/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite_file: the database file before it is used.
 *
 * I1  weft.db is whole from the moment it exists: it is made as weft.db.new and renamed.  So an
 *     empty or half-written weft.db is damage, never a start that was cut short.
 * I2  Its first page always says that it is ours and in WAL mode, whatever is still in the WAL; so
 *     a file that is not ours is recognised before SQLite opens, recovers or locks it.
 * I3  Nothing here writes to a file that was found, but sqlite_file_migrate(), which recovery calls
 *     once every row was found good; and nothing removes one but weft.db.new, which nobody ever had
 *     a use for.
 * I4  A store of an older version has what was made since that version or before, as it is written
 *     here today: what was once made is changed only together with a step that brings it there.
 */
#include "daemon/store_files.h"
#include "daemon/store_sqlite.h"
#include "daemon/store_wal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the schema ------------------------------------------------------------------------------ */

/* Times are nanoseconds since 1970, states the numbers of enum job_state.  `sum` covers what an
 * update writes, `fixed_sum` the rest.  A spec over 1 KiB lies in long_spec, so that an update
 * does not write it again.  Only ended jobs are in the indexes: the live ones are in memory, and a
 * start reads every row anyway.  Jobs with a `keep` of their own have indexes of their own, so that
 * who looks for what is kept as long as the configuration says does not walk over them. */
#define EXPIRES_AT "expires_at INTEGER NOT NULL DEFAULT 0"
#define KEEP       "keep INTEGER NOT NULL DEFAULT 0"
#define KEY_HASH   "key_hash INTEGER NOT NULL DEFAULT 0"
#define JOB_1                                                                                      \
    "CREATE TABLE job (id INTEGER PRIMARY KEY CHECK (id > 0), state INTEGER NOT NULL, "            \
    "uid INTEGER NOT NULL, gid INTEGER NOT NULL, queue TEXT NOT NULL, "                            \
    "priority INTEGER NOT NULL, attempt INTEGER NOT NULL, failures INTEGER NOT NULL, "             \
    "crashes INTEGER NOT NULL, exit_code INTEGER NOT NULL, term_signal INTEGER NOT NULL, "         \
    "submitted_at INTEGER NOT NULL, due_at INTEGER NOT NULL, started_at INTEGER NOT NULL, "        \
    "finished_at INTEGER NOT NULL, sum INTEGER NOT NULL, fixed_sum INTEGER NOT NULL, "             \
    "spec TEXT, result TEXT, error TEXT"
#define JOB_4 JOB_1 ", " EXPIRES_AT
#define JOB_5 JOB_4 ", " KEEP
#define JOB_6 JOB_5 ", " KEY_HASH
#define ENDED_BY_TIME                                                                              \
    "CREATE INDEX ended_by_time ON job (finished_at) WHERE state >= 5 AND keep = 0"

static const struct {
    int since; /* version of the store */
    const char *name, *sql;
    const char *change; /* what brings it there from the row before it, which it replaces */
} schema[] = {
    {1, "life",
     "CREATE TABLE life (id INTEGER PRIMARY KEY CHECK (id = 1), instance TEXT NOT NULL, "
     "starts INTEGER NOT NULL, sum INTEGER NOT NULL, next_id INTEGER NOT NULL) STRICT"},
    {1, "job", JOB_1 ") STRICT"},
    {4, "job", JOB_4 ") STRICT", .change = "ALTER TABLE job ADD COLUMN " EXPIRES_AT},
    {5, "job", JOB_5 ") STRICT", .change = "ALTER TABLE job ADD COLUMN " KEEP},
    {6, "job", JOB_6 ") STRICT", .change = "ALTER TABLE job ADD COLUMN " KEY_HASH},
    {1, "long_spec", "CREATE TABLE long_spec (id INTEGER PRIMARY KEY, spec TEXT NOT NULL) STRICT"},
    {1, "ended_by_state", "CREATE INDEX ended_by_state ON job (state, id, uid) WHERE state >= 5"},
    {1, "ended_by_queue",
     "CREATE INDEX ended_by_queue ON job (queue, state, id, uid) WHERE state >= 5"},
    /* An id is never given twice, whoever deletes the row of the highest one. */
    {1, "job_deleted",
     "CREATE TRIGGER job_deleted AFTER DELETE ON job BEGIN "
     "UPDATE life SET next_id = max(next_id, old.id + 1); "
     "DELETE FROM long_spec WHERE id = old.id; END"},
    {2, "setting",
     "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) "
     "STRICT, WITHOUT ROWID"},
    {3, "ended_by_time", "CREATE INDEX ended_by_time ON job (finished_at) WHERE state >= 5"},
    {5, "ended_by_time", ENDED_BY_TIME, .change = "DROP INDEX ended_by_time; " ENDED_BY_TIME},
    {5, "kept_by_time",
     "CREATE INDEX kept_by_time ON job (finished_at) WHERE state >= 5 AND keep > 0"},
    {5, "kept_by_due",
     "CREATE INDEX kept_by_due ON job (finished_at + keep) WHERE state >= 5 AND keep > 0"},
    {6, "ended_by_key",
     "CREATE INDEX ended_by_key ON job (key_hash, finished_at) WHERE state >= 5 AND key_hash <> 0"},
};

#define SCHEMA_COUNT (sizeof schema / sizeof schema[0])

/* Whether row i is as it stands in a store of that version: it is there, and not replaced yet. */
static bool is_of_version(size_t i, int version)
{
    bool replaced = i + 1 < SCHEMA_COUNT && schema[i + 1].change && schema[i + 1].since <= version;
    return schema[i].since <= version && !replaced;
}

/* ---- a new file ------------------------------------------------------------------------------ */

static int run_sql(sqlite3 *db, char *sql)
{
    int code = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return code;
}

static int fill_life(sqlite3 *db)
{
    uint8_t random[16];
    char instance[33];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return SQLITE_IOERR;
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(instance + 2 * i, 3, "%02x", random[i]);
    return run_sql(db, sqlite3_mprintf("INSERT INTO life VALUES (1, '%s', 0, %lld, 1)", instance,
                                       (sqlite3_int64)sqlite_life_sum(instance, 0)));
}

static int fill_new(sqlite3 *db)
{
    int code = run_sql(db, sqlite3_mprintf("PRAGMA synchronous = FULL;"
                                           "PRAGMA auto_vacuum = INCREMENTAL; BEGIN IMMEDIATE;"
                                           "PRAGMA application_id = %d; PRAGMA user_version = %d",
                                           SQLITE_STORE_ID, SQLITE_STORE_VERSION));
    for (size_t i = 0; code == SQLITE_OK && i < SCHEMA_COUNT; i++)
        if (is_of_version(i, SQLITE_STORE_VERSION))
            code = sqlite3_exec(db, schema[i].sql, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = fill_life(db);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT; PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    return code;
}

/* Fill the file that open(2) made, by a connection of its own: closing it leaves one whole file.
 * store->db serves the error text, and is closed again. */
static int write_new(struct sqlite_store *store, const char *path, struct problem *problem)
{
    int code = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = fill_new(store->db);
    int err = code == SQLITE_OK ? 0 : sqlite_problem(store, code, "create", problem);
    code = sqlite3_close(store->db);
    store->db = NULL;
    return !err && code != SQLITE_OK ? sqlite_problem(store, code, "create", problem) : err;
}

static int make_empty(const char *path)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int put_in_place(struct sqlite_store *store, const char *path)
{
    if (rename(path, store->path) < 0)
        return -errno;
    return store_folder_sync(store->folder);
}

static int create_as(struct sqlite_store *store, const char *path, struct problem *problem)
{
    int err = make_empty(path);
    if (err)
        return problem_set(problem, err, "cannot create %s: %s", path, strerror(-err));
    err = write_new(store, path, problem);
    if (err) {
        unlink(path);
        return err;
    }
    err = put_in_place(store, path);
    return err ? problem_set(problem, err, "cannot create %s: %s", store->path, strerror(-err)) : 0;
}

int sqlite_file_create(struct sqlite_store *store, struct problem *problem)
{
    char *path = store_folder_path(store->folder, "weft.db.new");
    if (!path)
        return problem_set(problem, -ENOMEM, "no memory");
    char *journal = store_folder_path(store->folder, "weft.db.new-journal");
    if (journal)
        unlink(journal); /* of a creation that was cut short */
    int err = journal ? create_as(store, path, problem) : -ENOMEM;
    free(journal);
    free(path);
    return err;
}

/* ---- a file that was found ------------------------------------------------------------------- */

static uint32_t load_be(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return be32toh(word);
}

/* NULL if the first 100 bytes are those of a store of ours, else why not (I2). */
static const char *header_fault(const uint8_t *header, ssize_t size)
{
    if (size < 100)
        return "it is shorter than its header";
    if (memcmp(header, "SQLite format 3", 16) != 0)
        return "it is not an SQLite database";
    if (load_be(header + 68) != SQLITE_STORE_ID)
        return "it belongs to another program";
    if (header[18] != 2 || header[19] != 2)
        return "its header does not say WAL";
    return NULL;
}

static int check_header(struct sqlite_store *store, int fd, struct problem *problem)
{
    uint8_t header[100];
    ssize_t size = pread(fd, header, sizeof header, 0);
    if (size < 0)
        return problem_set(problem, -errno, "cannot read %s: %s", store->path, strerror(errno));
    const char *fault = header_fault(header, size);
    return fault ? sqlite_corrupt(store, problem, "%s", fault) : 0;
}

static int check_wal(struct sqlite_store *store, struct problem *problem)
{
    char reason[128];
    int err = store_wal_check(store->wal_path, reason, sizeof reason);
    if (err == -EBADMSG)
        return sqlite_corrupt(store, problem, "%s", reason);
    return err ? problem_set(problem, err, "cannot read %s: %s", store->wal_path, strerror(-err))
               : 0;
}

/* No database: then there must be no WAL with something in it either, or it would be replayed
 * into the new one. */
static int check_absent(struct sqlite_store *store, struct problem *problem)
{
    struct stat status;
    if (stat(store->wal_path, &status) == 0 && status.st_size > 0)
        return sqlite_corrupt(store, problem, "it is gone, but weft.db-wal is still there");
    return 0;
}

int sqlite_file_check(struct sqlite_store *store, struct problem *problem)
{
    int fd = open(store->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return check_absent(store, problem);
    if (fd < 0)
        return problem_set(problem, -errno, "cannot open %s: %s", store->path, strerror(errno));
    int err = check_header(store, fd, problem);
    close(fd); /* before SQLite opens it: closing would drop SQLite's locks */
    if (!err)
        err = check_wal(store, problem);
    return err ? err : 1;
}

/* ---- what is in it --------------------------------------------------------------------------- */

/* The first column of the first row, as text on the heap.  -ENOENT: no row. */
static int query_text(struct sqlite_store *store, const char *sql, const char *argument,
                      struct problem *problem, char **ret_text)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (code != SQLITE_OK)
        return sqlite_problem(store, code, "check", problem);
    if (argument)
        sqlite3_bind_text(statement, 1, argument, -1, SQLITE_STATIC);
    code = sqlite3_step(statement);
    const char *text = NULL;
    if (code == SQLITE_ROW)
        text = (const char *)sqlite3_column_text(statement, 0);
    char *copy = text ? strdup(text) : NULL;
    int err = code == SQLITE_DONE  ? -ENOENT
              : code != SQLITE_ROW ? sqlite_problem(store, code, "check", problem)
              : !copy              ? problem_set(problem, -ENOMEM, "no memory")
                                   : 0;
    sqlite3_finalize(statement);
    if (!err)
        *ret_text = copy;
    return err;
}

int sqlite_query_each(struct sqlite_store *store, const char *sql,
                      void (*see)(void *arg, const char *text), void *arg, struct problem *problem)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        see(arg, text ? text : "?");
        code = SQLITE_OK;
    }
    int err = code == SQLITE_DONE ? 0 : sqlite_problem(store, code, "check", problem);
    sqlite3_finalize(statement);
    return err;
}

static int check_version(struct sqlite_store *store, struct problem *problem)
{
    char *text;
    int err = query_text(store, "PRAGMA user_version", NULL, problem, &text);
    if (err)
        return err;
    long version = strtol(text, NULL, 10);
    free(text);
    store->version = version > 0 && version <= SQLITE_STORE_VERSION ? (int)version : 0;
    if (version > SQLITE_STORE_VERSION)
        return problem_set(problem, -EPROTONOSUPPORT,
                           "%s was written by a newer weftd (version %ld of the store, this one "
                           "knows %d)",
                           store->path, version, SQLITE_STORE_VERSION);
    return store->version ? 0 : sqlite_corrupt(store, problem, "version %ld of the store", version);
}

/* Our tables and indexes are there and say what we said (I4); others may be there too. */
static int check_schema(struct sqlite_store *store, struct problem *problem)
{
    for (size_t i = 0; i < SCHEMA_COUNT; i++) {
        char *sql;
        if (!is_of_version(i, store->version))
            continue;
        int err = query_text(store, "SELECT sql FROM sqlite_schema WHERE name = ?1", schema[i].name,
                             problem, &sql);
        if (err && err != -ENOENT)
            return err;
        bool same = !err && strcmp(sql, schema[i].sql) == 0;
        if (!err)
            free(sql);
        if (!same)
            return sqlite_corrupt(store, problem, "table or index %s is not as it was made",
                                  schema[i].name);
    }
    return 0;
}

/* Walks every page.  Row contents have checksums of their own (store_sqlite_rows.c). */
static int check_pages(struct sqlite_store *store, struct problem *problem)
{
    char *verdict;
    int err = query_text(store, "PRAGMA quick_check(1)", NULL, problem, &verdict);
    if (err)
        return err == -ENOENT ? sqlite_corrupt(store, problem, "quick_check said nothing") : err;
    if (strcmp(verdict, "ok") != 0)
        err = sqlite_corrupt(store, problem, "%s", verdict);
    free(verdict);
    return err;
}

int sqlite_content_check(struct sqlite_store *store, struct problem *problem)
{
    int err = check_version(store, problem);
    if (!err)
        err = check_schema(store, problem);
    return err ? err : check_pages(store, problem);
}

/* ---- from one version to the next ------------------------------------------------------------ */

int sqlite_file_migrate(struct sqlite_store *store, struct problem *problem)
{
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < SCHEMA_COUNT; i++)
        if (schema[i].since > store->version)
            code = sqlite3_exec(store->db, schema[i].change ? schema[i].change : schema[i].sql,
                                NULL, NULL, NULL);
    if (code == SQLITE_OK && store->version < SQLITE_STORE_VERSION)
        code =
            run_sql(store->db, sqlite3_mprintf("PRAGMA user_version = %d", SQLITE_STORE_VERSION));
    return code == SQLITE_OK ? 0 : sqlite_problem(store, code, "migrate", problem);
}
