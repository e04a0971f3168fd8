/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite: STATE/weft.db, write-ahead log, synchronous=FULL.
 *
 * I1  A commit is one fdatasync of the WAL (two when the WAL starts over after a checkpoint).
 *     Nothing is acknowledged on less.
 * I2  SQLite never folds the WAL back by itself: not by autocheckpoint, and not at close.  So a
 *     store that is refused, or that failed, stays byte for byte as it was found.
 * I3  After an error nothing more is written: a failed fsync may have dropped what it was to sync,
 *     and trying again would succeed without it.  A shortage of memory is no such error: the
 *     transaction is rolled back, and whatever of it reached the WAL is overwritten.
 *
 * locking_mode is NORMAL, not EXCLUSIVE: sqlite3 and backups can read while weftd runs, which
 * costs a few fcntl(2) per batch.  A second weftd is kept out by the lock of store_files.h.
 * A reader that never ends (a sqlite3 with an open transaction) keeps the WAL from starting over.
 * I4  Beyond wal_max there is no room for new jobs until it can be folded back; what is there
 *     already is brought to its end, which is bounded.  So the WAL is.
 * I5  What deleted rows leave free is used again; where it is more than a quarter of the file,
 *     pages go back to the system, VACUUM_PAGES at a time, so that commits wait for one piece at
 *     most.  A file made before version 3 keeps its size.
 */
#include "daemon/store_sqlite.h"

#include "daemon/config.h"
#include "daemon/failpoint.h"
#include "daemon/store_files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PAGE         4096
#define VACUUM_PAGES 256  /* given back at once */
#define BUSY_MS      5000 /* somebody else's write transaction: sqlite3 on the command line */

/* ---- errors ---------------------------------------------------------------------------------- */

/* What the system said to the last failed call on a file of the database, 0 if nothing. */
static int file_errno(struct sqlite_store *store, int which)
{
    sqlite3_file *file = NULL;
    int err = 0;
    sqlite3_file_control(store->db, "main", which, &file);
    if (file && file->pMethods)
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &err);
    return err;
}

/* SQLite keeps the errno with the file; sqlite3_system_errno() is only as good as errno is when
 * the statement ends.  But the file's may be of long ago: of a shortage of memory, which a store
 * survives, if the other does not say so too. */
static int system_error(struct sqlite_store *store)
{
    static const int files[] = {SQLITE_FCNTL_JOURNAL_POINTER /* the WAL */,
                                SQLITE_FCNTL_FILE_POINTER};
    int said = store->db ? sqlite3_system_errno(store->db) : 0, err = 0;
    for (size_t i = 0; store->db && err == 0 && i < 2; i++) {
        err = file_errno(store, files[i]);
        if (err == ENOMEM && said != ENOMEM)
            err = 0;
    }
    if (err == 0)
        err = said;
    return err > 0 ? -err : -EIO;
}

/* I3.  The kernel may lack memory in a sync, which says no more of the disk than any other error. */
static int sync_error(struct sqlite_store *store)
{
    int err = system_error(store);
    return err == -ENOMEM ? -EIO : err;
}

static int errno_of(struct sqlite_store *store, int code)
{
    if (code == SQLITE_IOERR_NOMEM)
        return -ENOMEM;
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        return sync_error(store);
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_PERM:
        return -EACCES;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return system_error(store);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR:      /* a table or column that should be there is not */
    case SQLITE_SCHEMA:     /* likewise */
    case SQLITE_CONSTRAINT: /* an id twice: memory and disk disagree */
    case SQLITE_MISMATCH:
        return -EBADMSG;
    default:
        return -EIO;
    }
}

int sqlite_problem(struct sqlite_store *store, int code, const char *doing, struct problem *problem)
{
    int err = errno_of(store, code);
    const char *said = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code);
    store->failed = store->failed || err != -ENOMEM;
    if (err == -EBADMSG)
        return sqlite_corrupt(store, problem, "%s: %s", doing, said);
    return problem_set(problem, err, "%s: %s: %s (%s)", store->path, doing, said, strerror(-err));
}

int sqlite_corrupt(struct sqlite_store *store, struct problem *problem, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    store->failed = true;
    return problem_set(problem, -EBADMSG,
                       "%s is damaged or not a weft store (%s); it was left as it is: restore a "
                       "copy, or move it away to start with an empty store",
                       store->path, what);
}

/* ---- open and close -------------------------------------------------------------------------- */

static void store_destroy(struct sqlite_store *store)
{
    for (size_t i = 0; i < SQL_STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db);
    free(store->folder);
    free(store->path);
    free(store->wal_path);
    free(store);
}

static void sqlite_close(void *backend)
{
    struct sqlite_store *store = backend;
    if (!store->failed)
        sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    store_destroy(store);
}

static void sqlite_configure(void *backend, const struct config_store *config)
{
    struct sqlite_store *store = backend;
    atomic_store_explicit(&store->reserve, config->reserve, memory_order_relaxed);
    atomic_store_explicit(&store->checkpoint, config->checkpoint, memory_order_relaxed);
    atomic_store_explicit(&store->wal_max, config->wal_max, memory_order_relaxed);
}

static struct sqlite_store *store_new(const struct config_store *config, const char *folder)
{
    struct sqlite_store *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    store->folder = strdup(folder);
    store->path = store_folder_path(folder, "weft.db");
    store->wal_path = store_folder_path(folder, "weft.db-wal");
    sqlite_configure(store, config);
    if (store->folder && store->path && store->wal_path)
        return store;
    store_destroy(store);
    return NULL;
}

/* After each commit: how much is in the WAL now. */
static int committed(void *arg, sqlite3 *db, const char *schema, int frames)
{
    struct sqlite_store *store = arg;
    (void)db;
    (void)schema;
    store->wal_bytes = (uint64_t)frames * PAGE;
    store->committed = true;
    return SQLITE_OK;
}

/* I1, I2, and distrust of what the file says. */
static int configure_connection(struct sqlite_store *store, struct problem *problem)
{
    sqlite3 *db = store->db;
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    int code = sqlite3_exec(db,
                            "PRAGMA synchronous = FULL;"
                            "PRAGMA cache_size = -8192;"
                            "PRAGMA mmap_size = 0;"
                            "PRAGMA temp_store = MEMORY;"
                            "PRAGMA cell_size_check = ON;"
                            "PRAGMA journal_size_limit = 67108864;",
                            NULL, NULL, NULL);
    sqlite3_wal_hook(db, committed, store); /* takes the place of autocheckpoint */
    return code == SQLITE_OK ? 0 : sqlite_problem(store, code, "set up", problem);
}

static int connect(struct sqlite_store *store, struct problem *problem)
{
    int code =
        sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return sqlite_problem(store, code, "open", problem);
    if (sqlite3_db_readonly(store->db, "main"))
        return problem_set(problem, -EACCES, "%s is not writable", store->path);
    int err = configure_connection(store, problem);
    if (!err)
        err = sqlite_content_check(store, problem);
    return err ? err : sqlite_rows_prepare(store, problem);
}

static int open_or_create(struct sqlite_store *store, struct problem *problem)
{
    int there = sqlite_file_check(store, problem);
    if (there < 0)
        return there;
    int err = there ? 0 : sqlite_file_create(store, problem);
    return err ? err : connect(store, problem);
}

int store_sqlite_open(const struct config_store *config, const char *state_dir,
                      struct problem *problem, void **ret_backend)
{
    struct sqlite_store *store = store_new(config, state_dir);
    if (!store)
        return problem_set(problem, -ENOMEM, "no memory");
    int err = open_or_create(store, problem);
    if (err) {
        store_destroy(store);
        return err;
    }
    *ret_backend = store;
    return 0;
}

/* Before the first look at the database, so that the index of the log is made in memory. */
static int look(struct sqlite_store *store, struct problem *problem)
{
    int code =
        sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(store->db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON",
                            NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return sqlite_problem(store, code, "open", problem);
    int err = configure_connection(store, problem);
    if (!err)
        err = sqlite_content_check(store, problem);
    return err ? err : sqlite_rows_prepare(store, problem);
}

int store_sqlite_look(const char *state_dir, struct problem *problem,
                      struct sqlite_store **ret_store)
{
    static const struct config_store none = {0};
    struct sqlite_store *store = store_new(&none, state_dir);
    if (!store)
        return problem_set(problem, -ENOMEM, "no memory");
    int there = sqlite_file_check(store, problem);
    int err = there < 0 ? there : 0;
    if (there == 0)
        err = problem_set(problem, -ENOENT, "there is no store in %s", state_dir);
    if (!err)
        err = look(store, problem);
    if (err) {
        store_destroy(store);
        return err;
    }
    *ret_store = store;
    return 0;
}

void store_sqlite_look_end(struct sqlite_store *store)
{
    store_destroy(store);
}

/* ---- transactions ---------------------------------------------------------------------------- */

int sqlite_run(struct sqlite_store *store, enum sqlite_statement which, const char *doing,
               struct problem *problem)
{
    sqlite3_step(store->statements[which]);
    int code = sqlite3_reset(store->statements[which]);
    return code == SQLITE_OK ? 0 : sqlite_problem(store, code, doing, problem);
}

/* Where memory was short SQLite may have rolled back by itself. */
static void sqlite_rollback(void *backend)
{
    struct sqlite_store *store = backend;
    if (!sqlite3_get_autocommit(store->db)) {
        sqlite3_step(store->statements[SQL_ROLLBACK]);
        sqlite3_reset(store->statements[SQL_ROLLBACK]);
    }
}

static int sqlite_begin(void *backend, struct problem *problem)
{
    struct sqlite_store *store = backend;
    sqlite_rollback(store); /* a rollback may lack memory too */
    if (!sqlite3_get_autocommit(store->db))
        return problem_set(problem, -ENOMEM, "%s: roll back: no memory", store->path);
    store->committed = false;
    return sqlite_run(store, SQL_BEGIN, "begin", problem);
}

/* Short of memory for what comes after it, a commit that is through reports that, too: then all is
 * well. */
static int sqlite_commit(void *backend, struct problem *problem)
{
    struct sqlite_store *store = backend;
    int err = sqlite_run(store, SQL_COMMIT, "commit", problem);
    return err == -ENOMEM && store->committed ? 0 : err;
}

/* ---- housekeeping ---------------------------------------------------------------------------- */

/* PASSIVE waits for nobody; a reader in the way leaves the rest for the next time. */
static int fold_back(struct sqlite_store *store, struct problem *problem)
{
    int frames = -1, folded = -1;
    if (store->wal_bytes < atomic_load_explicit(&store->checkpoint, memory_order_relaxed))
        return 0;
    int code =
        sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &folded);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY)
        return sqlite_problem(store, code, "checkpoint", problem);
    failpoint(FAILPOINT_FOLDED);
    if (code == SQLITE_OK && frames == folded)
        store->wal_bytes = 0;
    return 0;
}

/* *ret_value is 0 where the file does not say. */
static int read_pragma(struct sqlite_store *store, const char *sql, struct problem *problem,
                       int64_t *ret_value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    *ret_value = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0
                                                     : sqlite_problem(store, code, sql, problem);
}

/* Returns 1 if pages were given back, 0 if there are too few. */
static int give_back_some(struct sqlite_store *store, struct problem *problem)
{
    int64_t pages, left, kind;
    int err = read_pragma(store, "PRAGMA page_count", problem, &pages);
    if (!err)
        err = read_pragma(store, "PRAGMA freelist_count", problem, &left);
    if (!err)
        err = read_pragma(store, "PRAGMA auto_vacuum", problem, &kind);
    if (err || kind != 2 || left < VACUUM_PAGES || left < pages / 4)
        return err;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return sqlite_problem(store, code, "give back pages", problem);
    return 1;
}

/* I5.  Returns 1 if there may be more to give back. */
static int give_back_pages(struct sqlite_store *store, struct problem *problem)
{
    int more = store->deleted > 0 ? give_back_some(store, problem) : 0;
    if (more == 0)
        store->deleted = 0; /* after an error it looks again */
    return more;
}

static int sqlite_idle(void *backend, struct problem *problem)
{
    int err = fold_back(backend, problem);
    return err ? err : give_back_pages(backend, problem);
}

uint64_t sqlite_room(void *backend)
{
    struct sqlite_store *store = backend;
    struct statvfs status;
    uint64_t wal_max = atomic_load_explicit(&store->wal_max, memory_order_relaxed);
    if (wal_max > 0 && store->wal_bytes > wal_max) /* I4 */
        return 0;
    if (statvfs(store->folder, &status) < 0)
        return UINT64_MAX;
    uint64_t available = (uint64_t)status.f_bavail * status.f_frsize;
    uint64_t reserve = atomic_load_explicit(&store->reserve, memory_order_relaxed);
    return available > reserve ? available - reserve : 0;
}

static uint64_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) < 0 ? 0 : (uint64_t)status.st_size;
}

static uint64_t sqlite_file_bytes(void *backend)
{
    struct sqlite_store *store = backend;
    return size_of(store->path) + size_of(store->wal_path);
}

static uint64_t sqlite_wal_bytes(void *backend)
{
    return ((struct sqlite_store *)backend)->wal_bytes;
}

const struct store_backend_ops store_sqlite_ops = {
    .name = "sqlite",
    .life = sqlite_rows_life,
    .settings = sqlite_rows_settings,
    .recover = sqlite_rows_recover,
    .begin = sqlite_begin,
    .apply = sqlite_rows_apply,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .read = sqlite_rows_read,
    .idle = sqlite_idle,
    .backup_begin = sqlite_backup_begin,
    .backup_step = sqlite_backup_step,
    .backup_end = sqlite_backup_end,
    .room = sqlite_room,
    .file_bytes = sqlite_file_bytes,
    .wal_bytes = sqlite_wal_bytes,
    .configure = sqlite_configure,
    .close = sqlite_close,
};
