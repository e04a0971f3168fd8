/* SPDX-License-Identifier: MIT */
/*
 * store_backend: what a database must do for the store.  Called by the store thread only (and by
 * the opening thread before it starts), never by two threads at once, may block.
 *
 * Each call returns 0 or -errno with problem.  An error of begin, apply or commit is final: the
 * store calls rollback, then close, and nothing else (store.h, I2).  But not -ENOMEM, which says
 * that nothing of the transaction is on disk: after the rollback the same is begun again.
 */
#pragma once

#include "daemon/store.h"

struct store_backend_ops {
    const char *name; /* "sqlite" */

    /* Once, first: the life data.  Reads only. */
    int (*life)(void *backend, struct problem *problem, struct store_life *ret_life);

    /* All settings; see store_settings().  NULL: there are none. */
    int (*settings)(void *backend, int (*setting)(void *arg, const char *name, const char *value),
                    void *arg, struct problem *problem);

    /* All jobs that have not ended; see store_recover().  Then brings an older store to this
     * version, and counts the start, durably: before
     * that nothing has been written. */
    int (*recover)(void *backend, int (*row)(void *arg, const struct job_record *record), void *arg,
                   struct problem *problem);

    int (*begin)(void *backend, struct problem *problem);
    /* One of the kinds that write inside the transaction.  An update of an id that is not
     * there is -EBADMSG: memory and disk disagree. */
    int (*apply)(void *backend, const struct store_op *op, struct problem *problem);
    /* Durable when it returns 0. */
    int (*commit)(void *backend, struct problem *problem);
    void (*rollback)(void *backend);

    /* One of the kinds that read, outside any transaction; fills op->found and found_count. */
    int (*read)(void *backend, struct store_op *op, struct problem *problem);

    /* A bounded piece of housekeeping (WAL checkpoint, giving back free pages): after a batch when
     * nothing is pending, and at the latest every 16 batches, so that it also happens under load.
     * Returns 1 if there is more to do, which is asked for as long as nothing is pending. */
    int (*idle)(void *backend, struct problem *problem);

    /* A copy of the database as it is when the last step is through; what is written meanwhile is
     * in it.  _begin, then _step while it returns 1 (a bounded piece was copied), then _end, which
     * leaves a whole file or, after an error or before the last step, none.  An error of these is no
     * failure of the store.  NULL: cannot be backed up. */
    int (*backup_begin)(void *backend, const char *path, struct problem *problem);
    int (*backup_step)(void *backend, struct problem *problem);
    int (*backup_end)(void *backend, struct problem *problem, uint64_t *ret_bytes);

    /* Bytes that may still be written before the reserve is touched; UINT64_MAX if unknown. */
    uint64_t (*room)(void *backend);
    uint64_t (*file_bytes)(void *backend);
    /* Bytes of the log that are not in the database yet.  NULL: there is no log. */
    uint64_t (*wal_bytes)(void *backend);
    /* Take over what may change live.  The one call that any thread may make.  NULL: nothing. */
    void (*configure)(void *backend, const struct config_store *config);
    void (*close)(void *backend);
};

/* The SQLite backend: STATE/weft.db, WAL, synchronous=FULL, application_id and user_version
 * checked, quick_check at open.  Errors: as store_open(). */
int store_sqlite_open(const struct config_store *config, const char *state_dir,
                      struct problem *problem, void **ret_backend);
extern const struct store_backend_ops store_sqlite_ops;
