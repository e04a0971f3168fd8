/* SPDX-License-Identifier: MIT */
/*
 * engine: all jobs, and what happens to them.
 *
 * Live jobs are in memory (a table by id that can be walked newest first, a heap per queue, a heap
 * by due time).  An ended job stays in memory until its end is committed and its waiters were
 * told, then among the last daemon.recent ended ones, and after that only in the store: memory is
 * bounded by live jobs, not by history.
 *
 * I1  Acknowledged means committed: submit, cancel and retry return 0 only after the store's commit.
 * I2  What a client has been shown is in the store (job.h, I2): an end becomes visible, and wakes
 *     waiters, after its commit.  The queue slot is given back before it, so commits do not
 *     throttle dispatch.
 * I3  started(attempt) is committed before a native handler runs and before a program with
 *     on_crash=fail; for other programs it is pushed and not awaited.
 * I4  The engine's lock (one fiber mutex) is never held over a store wait, a spawn, a run, or any
 *     call out.  A job that awaits a commit is marked `committing` instead.
 * I5  A run is a fiber of the engine's group and returns 0 always: a failed job is not a failed
 *     fiber, and must not cancel its siblings.
 * I6  After a store failure nothing is dispatched, moved or acknowledged any more.
 * I7  For one job, store ops are pushed in the order of its moves (the push happens under the
 *     lock, the wait outside).
 *
 * Defaults for this header: called from a fiber, may suspend, may resume on another thread.
 * `error` is filled on failure.  A job of another user is -ENOENT (no_such_job) unless the peer is
 * admin.  Returned records are one-block copies, free with job_record_free().
 * Errors everywhere: -ESHUTDOWN (shutting_down) draining, -EIO (store_failed) with the store's
 * sentence, -ENOMEM, and -ECANCELED / -ETIMEDOUT of the caller's scope.  A caller that is cancelled
 * while its commit is under way waits for the commit all the same (shielded): the op is its own.
 */
#pragma once

#include "daemon/events.h"
#include "daemon/job.h"
#include "daemon/job_match.h"
#include "daemon/output.h"
#include "daemon/queue_settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct engine;
struct problem;
struct runner;
struct store;

/* Everything is borrowed and outlives the engine. */
struct engine_parts {
    const struct config *config; /* as at the start */
    struct store *store;
    struct runner *runner;
    struct output_store *outputs;
};

/* ---- life: in this order --------------------------------------------------------------------- */

int engine_new(const struct engine_parts *parts, struct engine **ret_engine);

/* Take over one job from the store: the `row` callback of store_recover(), arg is the engine; the
 * record is copied.  Context: main, before engine_recover().  Errors: -ENOMEM, -EBADMSG. */
int engine_adopt(void *engine, const struct job_record *record);

/* Take over what an admin had set: the `setting` callback of store_settings(), arg is the engine.
 * Context: main, before store_recover().  Errors: -ENOMEM, -EBADMSG. */
int engine_adopt_setting(void *engine, const char *name, const char *value);

/* store_life.next_id: no id below it is given.  Before engine_recover(). */
void engine_set_next_id(struct engine *engine, uint64_t next_id);

/* store_life.ended, the jobs that have ended and are kept.  Before engine_recover(). */
void engine_set_kept(struct engine *engine, uint64_t kept);

struct engine_recovery {
    size_t queued, delayed, waiting; /* taken over as they were */
    size_t requeued;                 /* were running, will run again */
    size_t failed, dead;             /* were running: on_crash=fail, crash_limit */
    size_t killed;                   /* left-over processes */
};

/**
 * Take the jobs that engine_adopt() was given into the heaps, kill left-over processes, decide on
 * jobs that were running (a crash: crashes+1, then on_crash and crash_limit) and commit that.
 * After store_start().
 * Context: main fiber; nothing else uses the engine yet.
 * Errors:  the store's, with problem.
 */
int engine_recover(struct engine *engine, struct problem *problem,
                   struct engine_recovery *ret_recovery);

/**
 * Dispatch until engine_stop() is through: opens the group, starts runs as slots get free, moves
 * delayed jobs when due (sleeps exactly until the next one: no periodic wake-up).
 * Context: a fiber of its own, for the daemon's whole life.  Returns 0 after an orderly stop, -EIO
 * after a store failure (runs were stopped, nothing was moved: recovery will see a crash).
 */
int engine_run(struct engine *engine);

/**
 * Forget ended jobs as [jobs] retain and retain_max say, with their output, until cancelled or the
 * engine has failed or stopped; before the first, remove output that has no job.
 * Context: a fiber of its own, beside engine_run().  Sleeps until there is something to forget.
 */
int engine_retain(struct engine *engine);

/**
 * See to it that what is due at a point of wall time is not late when the clock is set, until
 * cancelled.  Returns: -ECANCELED, or why it cannot; that was logged, and all else works.
 * Context: a fiber of its own, beside engine_run().  Sleeps until the clock is set.
 */
int engine_clock(struct engine *engine);

/* Phase 1: refuse submits, start nothing more.  Running jobs go on; cancel, get, list, wait and
 * logs still work.  Never suspends long; twice is fine. */
void engine_drain(struct engine *engine);

/* Phase 2: wait for running jobs until drain_deadline_ns (0: do not wait), then stop the rest: each
 * goes back to queued, attempt given back, committed.  Returns 0 when nothing runs any more, and
 * nothing that a client asked for is being stored.  Implies engine_drain().  Waiters of unfinished
 * jobs get -ESHUTDOWN, and so does cancel from then on. */
int engine_stop(struct engine *engine, uint64_t drain_deadline_ns);

/* An admin wants nothing to be started until it is undone, or weftd is started anew; jobs are still
 * accepted.  Returns how many run. */
size_t engine_set_drained(struct engine *engine, const struct peer *peer, bool drained);
/* Until nothing runs.  Errors: -ETIMEDOUT, -ECANCELED; -EAGAIN the drain was undone meanwhile. */
int engine_wait_drained(struct engine *engine, uint64_t deadline_ns);

/* A second signal: no more waiting, no more grace.  Any fiber, during engine_stop(). */
void engine_hurry(struct engine *engine);

void engine_free(struct engine *engine); /* after engine_run() returned; NULL is fine */

/* Take over queues, limits and retry settings.  All or nothing: -ENOMEM leaves the old ones. */
int engine_apply_config(struct engine *engine, const struct config *config);

/* Set once the store failed: main watches it and ends with status 1.  Any thread. */
bool engine_has_failed(struct engine *engine, struct problem *problem);

/* ---- what clients ask ------------------------------------------------------------------------ */

/* Called once the jobs of a submit have their ids, before they are committed: what the same client
 * submits from then on gets higher ids.  Not called when nothing was accepted. */
struct engine_turn {
    void (*done)(void *arg);
    void *arg;
};

/* In: spec, which is taken over on success and on failure alike; of many, NULL: error was filled by
 * the caller already and stays.  Out: id, or 0 with error filled. */
struct engine_item {
    struct job_spec *spec;
    uint64_t id;
    bool memory_only;        /* the job is not durable */
    bool existing;           /* id is that of a job of the same key that has not ended, or did so
                              * within key_keep; nothing was made */
    struct rpc_error *error; /* the caller's, one each */
};

/**
 * Accept a job.  turn may be NULL.
 * Errors: -EINVAL (no_such_queue, with the nearest), -ENOENT (no_such_job in `after`), -EAGAIN (busy)
 * over a limit, -ENOSPC.
 */
int engine_submit(struct engine *engine, const struct peer *peer, struct engine_item *item,
                  const struct engine_turn *turn);

/**
 * Accept many in one store op: all good ones are committed together, ids ascend in order.
 * atomic: if any is bad none is accepted (-EINVAL; the others' errors are left RPC_OK).
 * Returns 0 if the commit stands, even if some items were refused.
 */
int engine_submit_many(struct engine *engine, const struct peer *peer, struct engine_item *items,
                       size_t count, bool atomic, const struct engine_turn *turn,
                       struct rpc_error *error);

int engine_get(struct engine *engine, const struct peer *peer, uint64_t id,
               struct job_record **ret_record, struct rpc_error *error);

struct engine_filter {
    uint32_t states;           /* bit 1u << state; 0: all */
    const char *const *queues; /* NULL-terminated; NULL: all; an unknown one is no_such_queue */
    struct job_match match;    /* the caller's */
    bool of_user;              /* only this user's, of those that the peer may see */
    uid_t uid;
    uint64_t before; /* ids below this; 0: from the newest */
    size_t limit;    /* 1 … ENGINE_LIST_MAX */
};
#define ENGINE_LIST_MAX 1000

struct engine_page {
    struct job_record **records; /* newest first; malloc'ed, with engine_page_destroy() */
    size_t count;
    uint64_t next; /* `before` of the next page, which may be there though this one is not full, or
                    * is empty: no request looks at all jobs; 0: this was the last */
};
void engine_page_destroy(struct engine_page *page);

/* Live jobs from memory, ended ones from the store.  Memory is read first and the store second,
 * and where both have an id the store wins: so a job that ends meanwhile shows once, not never. */
int engine_list(struct engine *engine, const struct peer *peer, const struct engine_filter *filter,
                struct engine_page *ret_page, struct rpc_error *error);

/* Wait until every one of ids has ended.  Records in the order of ids (duplicates are fine), as a
 * page with next = 0.  An unknown id fails at once.  deadline_ns is monotonic, WEFT_NO_DEADLINE for
 * none.  Errors: -ETIMEDOUT (timeout). */
int engine_wait(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                uint64_t deadline_ns, struct engine_page *ret_page, struct rpc_error *error);

/* Cancel each and wait until each has ended: of a running one, until its tree is gone.  results[i]
 * gets the state in which it ended: JOB_CANCELLED, or another end if that came first; JOB_NONE with
 * errors[i] filled if there is no such job.  Returns 0 even then. */
int engine_cancel(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                  enum job_state *results, struct rpc_error *errors);

/* Bring back each that has ended and did not succeed: the same id is queued again, its failures and
 * crashes counted anew, its attempts numbered on.  results[i] gets JOB_QUEUED, or JOB_NONE with
 * errors[i] filled: no_such_job; conflict where it is live, has succeeded, or is in ids twice;
 * no_such_queue where its queue is not in the configuration any more; busy over daemon.max_jobs.
 * Returns 0 even then. */
int engine_retry(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                 enum job_state *results, struct rpc_error *errors, struct rpc_error *error);

/* Why a job does not run, or that it does; of several reasons the one that has to go first. */
enum engine_why {
    ENGINE_WHY_ENDED,
    ENGINE_WHY_RETRYING,     /* it has ended, and its way back is being committed */
    ENGINE_WHY_CANCELLING,   /* its cancel is under way */
    ENGINE_WHY_RUNNING,      /* it does */
    ENGINE_WHY_FROZEN,       /* it does, and stands still, as its queue has been frozen */
    ENGINE_WHY_ENDING,       /* its attempt is over; what follows is being committed */
    ENGINE_WHY_STOPPING,     /* weftd stops: it still runs, and goes back to its queue */
    ENGINE_WHY_DRAINING,     /* weftd stops: it waits for the next start */
    ENGINE_WHY_DRAINED,      /* an admin has drained weftd */
    ENGINE_WHY_DEPENDENCIES, /* jobs that it is to run after have not ended */
    ENGINE_WHY_DELAY,        /* the client's */
    ENGINE_WHY_BACKOFF,      /* the wait after an attempt that failed */
    ENGINE_WHY_QUEUE_PAUSED, /* its queue is paused */
    ENGINE_WHY_QUEUE_OFF,    /* its queue runs nothing: concurrency 0 */
    ENGINE_WHY_QUEUE_RATE,   /* its queue has started as many as its rate allows by now */
    ENGINE_WHY_QUEUE_FULL,   /* every slot of its queue is taken */
    ENGINE_WHY_USER_FULL,    /* its user has as many of them as each user may have */
    ENGINE_WHY_QUEUE_ORDER,  /* a slot is free, and others get it first */
    ENGINE_WHY_NEXT,         /* nothing holds it up: the dispatcher is about to take it */
    ENGINE_WHY_COUNT
};

#define ENGINE_NEEDS_MAX 100

/* The facts; methods_explain.c puts them into words. */
struct engine_explanation {
    struct job_record *record; /* a copy, free with job_record_free() */
    enum engine_why why;
    bool draining;
    bool drained;
    bool configured;           /* its queue is in the configuration */
    bool paused;               /* its queue is */
    uint32_t running;          /* of its queue: slots taken, … */
    uint32_t concurrency;      /* … and how many there are */
    uint32_t running_user;     /* of its user there: slots taken, … */
    uint32_t concurrency_user; /* … and how many each user may have; 0: no limit */
    struct units_rate rate;    /* of its queue's starts */
    int64_t next_start_at; /* wall: when its rate allows the next; 0: now, as far as that goes */
    size_t queued;         /* of its queue: jobs that wait for a slot, this one included */
    uint64_t waits_for[ENGINE_NEEDS_MAX]; /* waiting: the first of the jobs it waits for … */
    size_t waits_for_count;               /* … and how many there are in all */
    size_t ahead; /* queued: of those, how many start before it; ENGINE_AHEAD_MAX: or more */
};
/* Counting costs O(ahead) under the lock: half a millisecond at most. */
#define ENGINE_AHEAD_MAX 4096

int engine_explain(struct engine *engine, const struct peer *peer, uint64_t id,
                   struct engine_explanation *ret_explanation, struct rpc_error *error);

/* ---- queues ---------------------------------------------------------------------------------- */

struct engine_queue {
    const char *name; /* borrowed, good while the engine lives */
    bool configured;  /* false: it is not in the configuration and takes no new jobs */
    uint32_t running; /* slots taken */
    uint32_t given;   /* bits of enum queue_setting: set by an admin, not the configuration's */
    struct queue_settings now;
    int64_t next_start_at; /* wall: when its rate allows the next; 0: now, as far as that goes */
    uint64_t states[JOB_STATE_COUNT]; /* its jobs that have not ended */
    bool frozen;
    uint32_t frozen_jobs; /* while it is: those that stand still … */
    uint32_t
        not_frozen_jobs; /* … and those that run on: without a control group, within weftd, just
                               * starting or ending */
};

/* Every queue that is configured, has jobs, or something set.  The array is the caller's. */
int engine_queue_list(struct engine *engine, struct engine_queue **ret_queues, size_t *ret_count,
                      struct rpc_error *error);

/* Change what is set of the queue called `name`, NULL: of every one that is listed; all or none.
 * Committed before it holds and before this returns.  Not being paused is nothing set where the
 * configuration does not pause the queue either.  The array, of what was changed, is the caller's.
 * Errors: -EINVAL no_such_queue. */
int engine_queue_change(struct engine *engine, const struct peer *peer, const char *name,
                        const struct queue_change *change, struct engine_queue **ret_queues,
                        size_t *ret_count, struct rpc_error *error);

/* Freeze the programs that run in queues that are paused, or thaw them; name and what comes back as
 * there.  It is not stored, and over when the queue is paused no more.  Errors: -EINVAL
 * no_such_queue. */
int engine_queue_freeze(struct engine *engine, const struct peer *peer, const char *name,
                        bool frozen, struct engine_queue **ret_queues, size_t *ret_count,
                        struct rpc_error *error);

/* Cancel the jobs of a queue that wait, in one of these states (bit 1u << state), newest first;
 * those that are submitted or start meanwhile stay.  *ret_count of them, committed, some hundred at
 * a time: after an error some may be gone all the same.  Errors: -EINVAL no_such_queue. */
int engine_queue_purge(struct engine *engine, const struct peer *peer, const char *name,
                       uint32_t states, uint64_t *ret_count, struct rpc_error *error);

/* ---- the store -------------------------------------------------------------------------------- */

/* Copy the store to STATE/backup/NAME while it is used; the jobs as they are at the end of it.  The
 * path is the caller's.  Errors: -EINVAL name has other letters than A-Z a-z 0-9 . _ - or begins
 * with '.'; -EEXIST, -EBUSY (conflict, busy), -ENOSPC, the system's. */
int engine_backup(struct engine *engine, const char *name, char **ret_path, uint64_t *ret_bytes,
                  struct rpc_error *error);
#define ENGINE_BACKUP_NAME_MAX 64

/* Which piece of a job's output. */
struct engine_piece {
    uint64_t id;
    enum output_stream stream;
    uint64_t offset;
    size_t limit;
};

/* A piece of the last attempt's output.  *ret_eof: no more will come (the job has ended and the
 * chunk reaches the end of the file). */
int engine_logs(struct engine *engine, const struct peer *peer, const struct engine_piece *piece,
                struct output_chunk *ret_chunk, bool *ret_eof, struct rpc_error *error);

/* A file of it, for the peer to read without us. */
struct engine_shared {
    uint32_t attempt; /* whose output it is; 0: none has begun */
    bool eof;         /* the job has ended, and the file, if there is one, holds the rest */
    struct output_share share; /* of the piece's offset; its fd is the caller's */
};
int engine_share_output(struct engine *engine, const struct peer *peer,
                        const struct engine_piece *piece, struct engine_shared *ret_shared,
                        struct rpc_error *error);

/**
 * Listen: read events with numbers above `since` (events_open()), leave with events_leave().  Every
 * user's jobs are in them: whom the peer may not see is for the caller to pass over.  queue: NULL or
 * a queue that there is.  *ret_last: the newest number by now, also when since is beyond it.
 * Errors: -EINVAL (no_such_queue, with the nearest; invalid_params: since is beyond the newest).
 */
int engine_subscribe(struct engine *engine, const char *queue, uint64_t since,
                     struct events_reader *ret_reader, uint64_t *ret_last, struct rpc_error *error);

struct engine_stats {
    uint64_t live[JOB_STATE_COUNT];  /* jobs in memory that have not ended, by state */
    uint64_t memory_only;            /* of them, those that are not durable */
    uint64_t ended[JOB_STATE_COUNT]; /* ends reached since this start, by state */
    uint64_t submitted, started, retried, interrupted; /* since this start */
    uint64_t revived;                                  /* by job.retry, since this start */
    uint64_t recent;                                   /* ended jobs kept in memory */
    uint64_t kept;                                     /* ended jobs kept in the store */
    uint64_t forgotten;                                /* no longer, since this start */
    struct events_stats events;
    bool drained; /* an admin has */
};
void engine_stats(struct engine *engine, struct engine_stats *ret_stats);
