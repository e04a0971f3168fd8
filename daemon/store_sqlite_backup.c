/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite_backup: a copy of the database, while it is written.
 *
 * SQLite's online backup copies pages from our own connection; what that connection writes
 * meanwhile goes into the copy too, so it never starts over, and it is the database as of its last
 * step.
 *
 * I1  The file has its name only when it is whole and synced: until then it is NAME.new.  What a
 *     crash leaves under that name is replaced by the next backup of that name, and nothing else is.
 * I2  A step copies STEP_PAGES, so a commit waits for one piece at most.
 * I3  An error here is the backup's alone.  A source that cannot be read is found by who needs it.
 *
 * The copy is a store of one file: its header says WAL, as sqlite_file_check() wants it.
 */
#include "daemon/store_files.h"
#include "daemon/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP_PAGES 256

struct sqlite_backup {
    sqlite3 *db; /* the copy */
    sqlite3_backup *copying;
    char *path, *new_path;
    bool whole; /* the last step is through */
};

static int refuse(struct sqlite_backup *backup, int err, struct problem *problem)
{
    return problem_set(problem, err, "the backup %s: %s", backup->path, strerror(-err));
}

static int errno_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* After a failed call on the copy. */
static int copy_problem(struct sqlite_backup *backup, int code, struct problem *problem)
{
    int err = errno_of(code), system = sqlite3_system_errno(backup->db);
    return problem_set(problem, err == -EIO && system ? -system : err, "the backup %s: %s",
                       backup->path, sqlite3_errmsg(backup->db));
}

static void backup_free(struct sqlite_backup *backup)
{
    sqlite3_backup_finish(backup->copying);
    sqlite3_close(backup->db);
    free(backup->path);
    free(backup->new_path);
    free(backup);
}

static int make_names(struct sqlite_backup *backup, const char *path)
{
    backup->path = strdup(path);
    if (asprintf(&backup->new_path, "%s.new", path) < 0)
        backup->new_path = NULL;
    return backup->path && backup->new_path ? 0 : -ENOMEM;
}

/* An empty file of ours alone. */
static int make_file(const struct sqlite_backup *backup)
{
    if (access(backup->path, F_OK) == 0)
        return -EEXIST;
    if (unlink(backup->new_path) < 0 && errno != ENOENT)
        return -errno;
    int fd = open(backup->new_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* It is synced once, at the end. */
static int begin_copying(struct sqlite_store *store, struct sqlite_backup *backup,
                         struct problem *problem)
{
    int code = sqlite3_open_v2(backup->new_path, &backup->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(backup->db, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL,
                            NULL, NULL);
    if (code != SQLITE_OK)
        return copy_problem(backup, code, problem);
    backup->copying = sqlite3_backup_init(backup->db, "main", store->db, "main");
    return backup->copying ? 0
                           : copy_problem(backup, sqlite3_extended_errcode(backup->db), problem);
}

static uint64_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) < 0 ? 0 : (uint64_t)status.st_size;
}

/* What is accepted must still fit when it is there. */
static bool fits(struct sqlite_store *store)
{
    return size_of(store->path) + store->wal_bytes <= sqlite_room(store);
}

int sqlite_backup_begin(void *backend, const char *path, struct problem *problem)
{
    struct sqlite_store *store = backend;
    struct sqlite_backup *backup = calloc(1, sizeof *backup);
    if (!backup)
        return problem_set(problem, -ENOMEM, "no memory");
    int err = make_names(backup, path);
    if (!err && !fits(store))
        err = -ENOSPC;
    if (!err)
        err = make_file(backup);
    err = err ? refuse(backup, err, problem) : begin_copying(store, backup, problem);
    if (err) {
        if (backup->db)
            unlink(backup->new_path);
        backup_free(backup);
        return err;
    }
    store->backup = backup;
    return 0;
}

int sqlite_backup_step(void *backend, struct problem *problem)
{
    struct sqlite_store *store = backend;
    struct sqlite_backup *backup = store->backup;
    int code = sqlite3_backup_step(backup->copying, STEP_PAGES);
    backup->whole = code == SQLITE_DONE;
    if (code == SQLITE_DONE)
        return 0;
    if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return 1;
    return problem_set(problem, errno_of(code), "the backup %s: %s", backup->path,
                       sqlite3_errstr(code));
}

static int sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return err;
}

/* A name that might not outlive a power cut is taken away again. */
static int name_it(const struct sqlite_backup *backup, const char *folder)
{
    if (link(backup->new_path, backup->path) < 0)
        return -errno;
    int err = store_folder_sync(folder);
    if (err)
        unlink(backup->path);
    return err;
}

/* I1.  A file of that name that came meanwhile is kept. */
static int put_in_place(const struct sqlite_backup *backup)
{
    char *folder = strdup(backup->path);
    int err = folder ? sync_file(backup->new_path) : -ENOMEM;
    if (!err)
        err = name_it(backup, dirname(folder));
    unlink(backup->new_path);
    free(folder);
    return err;
}

int sqlite_backup_end(void *backend, struct problem *problem, uint64_t *ret_bytes)
{
    struct sqlite_store *store = backend;
    struct sqlite_backup *backup = store->backup;
    int code = sqlite3_backup_finish(backup->copying);
    backup->copying = NULL;
    store->backup = NULL;
    int err = backup->whole && code != SQLITE_OK ? copy_problem(backup, code, problem) : 0;
    sqlite3_close(backup->db);
    backup->db = NULL;
    if (backup->whole && !err) {
        err = put_in_place(backup);
        if (err)
            refuse(backup, err, problem);
        else
            *ret_bytes = size_of(backup->path);
    } else {
        unlink(backup->new_path);
    }
    backup_free(backup);
    return err;
}
