/* SPDX-License-Identifier: MIT */
/*
 * store: what must survive.  One pthread, one list of requests, one commit for whatever arrived
 * during the last commit.
 *
 * A request is a struct store_op that the caller owns and hands over by store_push(); the store
 * thread applies a whole batch in one transaction, commits, and only then calls op->done for each
 * of them, in the order of arrival.  store.c knows threads, batches and errors; what a row is,
 * the backend knows (store_backend.h; store_sqlite.c today, PostgreSQL later, a fake in tests).
 *
 * I1  done is called exactly once per pushed op, on the store thread, after COMMIT (reads: after
 *     the commit of the batch they came with, so a reader sees its own earlier writes).
 * I2  The first failed apply, commit or sync is sticky: that op and every later one completes with
 *     the same -errno and text, writes and reads alike, and nothing is ever acknowledged again.
 *     The whole batch was rolled back.  The daemon then stops; a restart recovers.
 *     A batch for which memory is short is tried again for some seconds first: -ENOMEM is sticky
 *     only after that.
 *     Exceptions, which fail one op and are not sticky: -ENOSPC of an insert refused by the
 *     reserve *before* the transaction, -ENOMEM of a read, and any error of a backup: -EEXIST the
 *     path, -EBUSY another backup is being made, -ENOSPC beyond the reserve, the system's.
 * I3  Writes take effect in the order in which they were pushed.
 * I4  The store thread never calls into the engine except through done, and never waits for a
 *     fiber.  done must not block, suspend or lock a fiber mutex; weft_event_set() is allowed.
 * I5  After done returned, and even after it set an event, the store does not touch the op again.
 */
#pragma once

#include "daemon/job.h"
#include "daemon/job_match.h"
#include "daemon/problem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct config_store;
struct store_backend_ops;

enum store_kind {
    STORE_INSERT, /* rows: new jobs, all or none, but for those whose key is taken: existing says */
    STORE_UPDATE, /* rows: every field but id, uid, gid, queue, spec, submitted_at, keep and
                   * key_hash is written.
                   * One kind for started, ended, requeued, cancelled and retried: the record
                   * says it */
    STORE_GET,    /* ids -> found, in the order of ids; an unknown id gives NULL */
    STORE_LIST,   /* filter -> found */
    STORE_OLDEST, /* oldest, ended_by, filter.limit -> found: what ended first */
    STORE_DELETE, /* ids: jobs that have ended are forgotten; others stay.  Not held up by the
                   * reserve */
    STORE_BACKUP, /* path -> bytes: a copy of the whole store, made in pieces beside the batches */
    STORE_SET,  /* settings: each is kept, or forgotten; all or none.  Not held up by the reserve */
    STORE_PING, /* nothing: completes when the thread gets to it (watchdog, flush) */
};

/* Which ended jobs STORE_LIST wants, newest (highest id) first. */
struct store_filter {
    bool all_users; /* else only uid's */
    uid_t uid;
    uint32_t states; /* bit 1u << state; 0: every end state.  Live states are never matched:
                        * the engine knows them better */
    const char *const *queues;     /* NULL-terminated; NULL: any */
    const struct job_match *match; /* borrowed; NULL: any */
    uint64_t before;               /* only ids below this; 0: from the newest */
    size_t limit;                  /* 1 and up */
};

/* Which ended jobs STORE_OLDEST wants, and in which order. */
enum store_oldest {
    STORE_OLDEST_ALL,   /* all, by their ends */
    STORE_OLDEST_PLAIN, /* those without a `keep` of their own, likewise */
    STORE_OLDEST_KEPT,  /* those with one, by when it is over */
};

/* A thing to be remembered besides the jobs: "queue video" -> {"paused":true}. */
struct store_setting {
    const char *name;
    const char *value; /* NULL: forget it */
};

struct store_op {
    struct store_op *next; /* the store's, between push and done */
    enum store_kind kind;
    void (*done)(struct store_op *op); /* I1, I4 */
    void *owner;                       /* the caller's */

    /* input, borrowed until done */
    const struct job_record *const *rows; /* INSERT, UPDATE; strings need not outlive done */
    const uint64_t *ids;                  /* GET, DELETE */
    const struct store_setting *settings; /* SET */
    size_t count;                         /* of rows, ids or settings */
    int64_t key_since;                    /* INSERT: a key is taken by the job that had it, of the
                                           * same user, and ended after this */
    struct store_filter filter;           /* LIST */
    enum store_oldest oldest;             /* OLDEST: … */
    int64_t ended_by;                     /* … only those that ended then or before; of KEPT,
                                           * whose keep did */
    const char *path;                     /* BACKUP: made anew, whole and on disk once it exists */
    atomic_bool *give_up;                 /* BACKUP, may be NULL: set by any thread, it ends soon
                                           * with -ECANCELED */
    struct problem *problem;              /* BACKUP: filled with why it failed */

    /* output, valid in done */
    int err; /* 0 or -errno; its text: store_error() */
    /* GET, LIST, OLDEST: malloc'ed array of one-block records, the caller's to free. */
    struct job_record **found;
    size_t found_count;
    /* INSERT, by row: the id of the ended job that has its key, and then the row is not inserted.  The
     * caller's array, zeroed; NULL: nobody looks for keys. */
    uint64_t *existing;
    /* LIST: it looked no further than to this id, lest others wait; 0: to the end, or found as many
     * as it should. */
    uint64_t reached;
    uint64_t bytes; /* BACKUP */
};

struct store_stats {
    uint64_t commits;   /* transactions made durable */
    uint64_t writes;    /* rows in them */
    uint64_t reads;     /* GET, LIST and OLDEST ops */
    uint64_t batch_max; /* most ops in one batch */
    uint64_t commit_ns; /* time spent in commit, in total */
    uint64_t commit_max_ns;
    uint64_t pending;    /* pushed, not done */
    uint64_t file_bytes; /* database and WAL */
    uint64_t wal_bytes;  /* of these, the WAL, as long as it is not folded back */
    bool failed;         /* I2 happened */
};

/**
 * Open or create the store in the state folder and lock it against a second daemon (flock on
 * STATE/lock, before anything is read).  Starts no thread yet.
 * Context: any thread, may block: called by main before the runtime starts.
 * Errors:  -EBUSY another weftd holds it, -EACCES/-EROFS not writable, -EBADMSG corrupt or not
 *          ours (the file is left as it is), -EPROTONOSUPPORT written by a newer weftd, and the
 *          system's; always with problem, which names the path.
 */
int store_open(const struct config_store *config, const char *state_dir, struct problem *problem,
               struct store **ret_store);

/* The same over any backend; no file is touched.  On success the store owns the backend.  For
 * tests. */
int store_open_backend(const struct store_backend_ops *ops, void *backend,
                       const struct config_store *config, struct store **ret_store);

/* What is remembered besides the jobs. */
struct store_life {
    uint64_t next_id;  /* higher than any id that was ever given, kept across deletions */
    uint64_t starts;   /* which start this is, 1 for the first; durable once recovery is through */
    uint64_t ended;    /* jobs in it that have ended */
    char instance[33]; /* 32 hex digits, made when the store was created: WEFT_INSTANCE */
};

/* As read at open.  Any thread. */
void store_life(const struct store *store, struct store_life *ret_life);

/**
 * Hand every setting that is kept to `setting`, in order of name; its texts are lent for the call.  A
 * non-zero return stops and is returned.
 * Context: any thread, may block; after store_open(), before store_recover().
 * Errors:  -EBADMSG corrupt, and setting's.
 */
int store_settings(struct store *store,
                   int (*setting)(void *arg, const char *name, const char *value), void *arg,
                   struct problem *problem);

/**
 * Hand every job that has not ended to `row`, in order of id.  The record is lent for the call.
 * A non-zero return stops and is returned.  Ended jobs stay in the store.
 * Context: any thread, may block; after store_open(), before store_start().
 * Errors:  -EBADMSG corrupt, and row's.
 */
int store_recover(struct store *store, int (*row)(void *arg, const struct job_record *record),
                  void *arg, struct problem *problem);

/* Start the store thread (all signals blocked in it).  Errors: -EAGAIN, -ENOMEM. */
int store_start(struct store *store);

/* Hand over an op.  Any thread, lock-free, never fails: after I2 or store_stop() the op completes
 * with the error.  done may have run before this returns. */
void store_push(struct store *store, struct store_op *op);

/* 0 while healthy; else the sticky -errno, and its sentence in problem (may be NULL).  Any
 * thread. */
int store_error(struct store *store, struct problem *problem);

/* Called once, on the store thread, when I2 strikes; set before store_start().  Must only wake
 * somebody (weft_event_set). */
void store_on_failure(struct store *store, void (*failed)(void *arg), void *arg);

/* Take over what may change live (reserve, checkpoint size).  Any thread. */
void store_apply_config(struct store *store, const struct config_store *config);

/* A consistent-enough snapshot; atomic counters.  Any thread. */
void store_stats(struct store *store, struct store_stats *ret_stats);

/* Complete what was pushed and join the thread.  Ops pushed later complete with -ESHUTDOWN, on the
 * pusher's thread.  Blocks: call it off the loops (weft_offload, or main after the runtime).  Twice
 * is fine. */
void store_stop(struct store *store);

/* store_stop(), fold the WAL back (unless I2 struck), close, drop the lock.  Nobody may be inside
 * store_push() any more.  NULL is fine. */
void store_free(struct store *store);
