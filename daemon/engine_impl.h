/* SPDX-License-Identifier: MIT */
/*
 * engine_impl: what the engine's own files share.  Nobody else includes it, but its tests.
 *
 *   engine.c          life: make, reload, free; failures; counters
 *   engine_recover.c  jobs from the store
 *   engine_table.c    jobs by id
 *   engine_submit.c   new jobs
 *   engine_after.c    jobs that wait for others
 *   engine_ids.c      ids of jobs that are in memory only
 *   engine_key.c      live jobs by their keys
 *   engine_dispatch.c who runs next, and when
 *   engine_run.c      the life of one run
 *   engine_progress.c how far calls are
 *   engine_stop.c    stop and drain
 *   engine_wait.c     who waits for an end; wait
 *   engine_cancel.c   cancel
 *   engine_retry.c    retry: ended jobs live again
 *   engine_expire.c   jobs whose timeout_total is over
 *   engine_clock.c    a wall clock that is set
 *   engine_explain.c  explain
 *   engine_queue.c    what is set of queues; purge
 *   engine_backup.c   a copy of the store
 *   engine_read.c     get, list, logs, subscribe
 *   engine_retain.c   ended jobs that are kept no longer
 *
 * Every function that takes a locked engine says so in its name: …_locked.
 */
#pragma once

#include "daemon/engine.h"
#include "daemon/events.h"
#include "daemon/failpoint.h"
#include "daemon/problem.h"
#include "daemon/queue.h"
#include "daemon/run.h"
#include "daemon/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <weft/weft.h>

/* ---- jobs by id --------------------------------------------------------------------------------
 * A sorted array: new ids only ascend, so adding is appending, finding is a binary search, and the
 * newest are at the end.  A removed job leaves a hole; holes are squeezed out when they are half.
 * Old ids come back only by job.retry, many at once: they are merged in by one pass.
 */

struct job_slot {
    uint64_t id;
    struct job *job; /* NULL: a hole */
};

struct job_table {
    struct job_slot *slots;
    size_t count; /* holes included */
    size_t holes;
    size_t capacity;
};

int job_table_reserve(struct job_table *table, size_t more); /* -ENOMEM */
void job_table_append(struct job_table *table, struct job *job);
/* Put in jobs that are not there, in ascending order of id, which may lie anywhere; room for them
 * was reserved.  Cost: a binary search for each, and one move of all slots above the lowest id that
 * has left no hole (16 bytes each: about 10 ms for 2,000,000), however many jobs are put in. */
void job_table_insert(struct job_table *table, struct job *const *jobs, size_t count);
struct job *job_table_find(const struct job_table *table, uint64_t id);
void job_table_remove(struct job_table *table, uint64_t id);
/* Index of the first slot whose id is not below `id`: the walk down from there sees those below. */
size_t job_table_index(const struct job_table *table, uint64_t id);
void job_table_destroy(struct job_table *table); /* the jobs too */

/* ---- a store op and who awaits it ------------------------------------------------------------ */

struct engine_op {
    struct store_op op;
    bool nothing; /* there was nothing to be stored: it is not with the store */
    struct weft_event done;
};

/* ---- who waits for ends ---------------------------------------------------------------------- */

/* One fiber that waits for the end of several jobs; on its stack.  Guarded by the engine's lock. */
struct engine_waiter {
    struct engine_waiter *next, **link; /* in engine.waiters; link NULL: not in it */
    struct job_waiters *nodes;          /* one per id asked for */
    size_t count;
    size_t remaining; /* nodes still on a job */
    int err;          /* the engine ended first */
    int keep_err;     /* a copy of a record could not be made, and the record may be gone */
    struct weft_event woken;
};

/* One place in a job's list of waiters.  Guarded by the engine's lock. */
struct job_waiters {
    struct job_waiters *next, **link; /* in job.waiters; link NULL: not in it */
    struct engine_waiter *waiter;
    enum job_state ended; /* JOB_NONE: not yet */
    struct job_record *
        *keep; /* where a copy goes of one that the store does not have; NULL: nowhere */
};

/* ---- who waits for other jobs: engine_after.c -------------------------------------------------- */

/* One dependency.  Guarded by the engine's lock. */
struct job_need {
    struct job_need *next, **link; /* in the dependency's dependents; link NULL: not in them */
    struct job_needs *of;
    uint64_t id;
};

/* All of a job's.  Guarded by the engine's lock, but before the job is in the table. */
struct job_needs {
    struct job_needs *next; /* of those that are looked at together */
    struct job *job;
    uint64_t blamed; /* the dependency that has not succeeded, though it had to; 0: none */
    enum job_state blamed_end;
    bool any_end;
    size_t open; /* needs that are in a list (I29) */
    size_t count;
    struct job_need all[];
};

/* What the store said of dependencies that are not in memory, by id.  The caller's. */
struct engine_known {
    uint64_t *ids; /* in order */
    struct job_record **records;
    size_t count;
};

/* ---- keys: engine_key.c ------------------------------------------------------------------------ */

/* The live jobs that have one.  Guarded by the engine's lock. */
struct job_keys {
    struct job_key **buckets;
    size_t size; /* a power of two, or 0 */
    size_t count;
};

/* ---- a run under way ------------------------------------------------------------------------- */

enum run_stop { RUN_GOES_ON, RUN_INTERRUPTED, RUN_CANCELLED }; /* why; the higher wins */

struct job_run {
    struct engine *engine;
    struct job *job;              /* lives as long as the run */
    struct job_run *next, **link; /* in engine.runs; guarded by the lock */
    enum run_stop stop;           /* guarded by the lock */
    bool scope_open;              /* guarded by the lock: scope may be cancelled */
    bool expires, late;           /* the run's own: its deadline is the timeout_total's; that was
                                   * over before it began */
    struct weft_scope scope;      /* around the attempt, with its timeout */
    uint64_t queue_timeout_ns;    /* of the queue at dispatch */
    struct job_spec *spec;        /* parsed; NULL if that failed */
    struct run_outcome outcome;
    struct run_freeze freeze;      /* wanted: changes under the lock */
    struct job_record row;         /* what the store is told at the end … */
    struct job_record started_row; /* … and was told at the start, maybe still unread by then */
    const struct job_record *started_rows, *rows; /* arrays of one, for the ops */
    struct engine_op started, ended;
    bool started_pushed;

    struct run_progress said;   /* guarded by progress.lock: the handler's last word */
    bool is_fresh;              /* guarded by progress.lock: that was not told yet */
    struct job_run *fresh_next; /* guarded by progress.lock: in progress.fresh (I39) */
    uint64_t told_ns;           /* guarded by the lock: when it was told last, or 0 */
};

/* ---- how far calls are: engine_progress.c ------------------------------------------------------ */

struct engine_progress {
    pthread_mutex_t lock;    /* of threads, because handlers may say it from any; a leaf, never held
                            * over a suspension; guards what follows, and what runs say */
    struct job_run *fresh;   /* I39 */
    struct weft_event said;  /* `fresh` has one more */
    struct weft_group group; /* engine_run()'s: of the teller */
};

/* How attempts are run; tests put their own in. */
struct engine_runners {
    int (*exec)(struct runner *runner, const struct run_request *request,
                struct run_outcome *ret_outcome);
    int (*native)(struct runner *runner, const struct run_request *request,
                  struct run_outcome *ret_outcome);
    int (*kill_leftovers)(struct runner *runner);
    void (*hurry)(struct runner *runner);
    void (*freeze)(struct runner *runner); /* the runner's lock is right of the engine's */
};

/* ---- the engine ------------------------------------------------------------------------------ */

struct engine_limits { /* from the configuration, replaced by a reload */
    uint64_t max_jobs;
    uint64_t max_jobs_user; /* 0: no limit */
    uint32_t recent_max;
    uint32_t events;
    uint32_t crash_limit;
    uint64_t retry_base;
    uint64_t retry_cap;
    uint64_t key_keep;   /* 0: a key is free when its job has ended */
    uint64_t retain;     /* 0: for ever */
    uint64_t retain_max; /* 0: no limit */
};

struct engine {
    struct store *store;
    struct runner *runner;
    struct output_store *outputs;
    const char *state_dir;
    struct engine_runners runners; /* set before engine_run() */

    /* Alone: job.retry, from its look at the jobs until they are live.  Shared: who looks at memory,
     * then at the store, and must not miss what goes from there to here in between (I22).  Held over
     * store waits; taken before `lock`. */
    struct weft_rwlock retrying;
    /* Shared: a submit that looks how jobs have ended, until what it concludes is with the store.
     * Alone: who forgets ended jobs, while it hands that over (I47).  Taken after `retrying`, before
     * `lock`. */
    struct weft_rwlock forgetting;
    /* From a look at what is set of queues until the change of it is committed and holds.  Held over
     * store waits; taken before `lock`. */
    struct weft_mutex setting;
    struct weft_mutex marking; /* from a look at id_mark until it is another; likewise */
    struct weft_mutex lock;    /* guards all that follows but what says otherwise */
    struct engine_limits limits;
    struct job_table table;
    struct queue_set *queues;
    struct job_keys keys;
    struct weft_cond idle;    /* a run is over, or the drain is: engine_wait_drained() looks */
    struct weft_cond keyed;   /* a submit has settled: its keys can be answered with */
    struct job_heap delayed;  /* has room for every live job */
    struct job_heap expiring; /* I44, I45 of engine_expire.c */
    size_t mortal;            /* live jobs with a timeout_total */
    size_t passing;           /* live jobs that are in memory only … */
    size_t passed;            /* … and ended ones, among the recent; */
    struct job *left;         /* … those that left them, whose output is to be removed */
    int64_t keep_looked;      /* engine_retain() finds itself whose keep is over by then, and is to
                               * be told of who ends and is kept less; INT64_MAX: of each */
    uint64_t id_mark;         /* ids below it are not given again after a crash (I41) */
    uint64_t next_id;
    uint64_t first_id; /* none below it is given in this life; constant once it is served */
    uint64_t random;
    size_t live; /* jobs that have not ended, the ones being submitted or retried included */
    struct engine_stats stats;
    struct job *recent_first, *recent_last; /* ended ones, the oldest first */
    struct job *crashed;                    /* adopted as running; until engine_recover() */
    struct job *adopted;                    /* adopted as waiting; until engine_recover() */
    struct job *doomed_first, *doomed_last; /* waiting ones, to be cancelled (I32) */
    struct job_run *runs;
    size_t active; /* runs, and changes that clients asked for and that are being stored */
    struct engine_waiter *waiters;
    struct events *events; /* has a lock of its own; constant */
    bool heard;            /* an event was published that somebody waits for; until the unlock */

    bool draining;       /* no submits, no dispatch */
    bool drained;        /* no dispatch: by an admin */
    bool stopped;        /* active is 0 and stays so: engine_run() may return */
    atomic_bool failed;  /* I6; set by any thread, never cleared */
    atomic_bool hurried; /* engine_hurry() */
    atomic_bool
        defaults; /* some queue has any: relaxed, a submit beside a reload comes before it */

    struct engine_progress progress; /* has a lock of its own */
    struct weft_event kick;          /* the dispatcher has something to look at */
    struct weft_event quiet;         /* engine_stop() has */
    struct weft_event full;   /* engine_retain() has: too many are kept, or the limits are others */
    struct weft_event expiry; /* engine_expire() has */
    struct weft_group group;  /* engine_run()'s: the run fibers */
};

/* Monotonic, of a point of wall time as things are now. */
static inline uint64_t engine_deadline_at(int64_t at, int64_t now)
{
    return weft_deadline_after(at > now ? (uint64_t)(at - now) : 0);
}

static inline bool engine_failed(struct engine *engine)
{
    return atomic_load_explicit(&engine->failed, memory_order_acquire); /* with engine_fail */
}

/* From a client's call: may be cancelled.  From a run or clean-up: may not. */
static inline int engine_lock(struct engine *engine)
{
    return weft_mutex_lock(&engine->lock);
}

static inline void engine_lock_shielded(struct engine *engine)
{
    (void)weft_mutex_lock_shielded(&engine->lock); /* no path takes it twice */
}

/* Whoever listens is woken outside the lock, once for all that happened under it. */
static inline void engine_unlock(struct engine *engine)
{
    bool heard = engine->heard;
    engine->heard = false;
    weft_mutex_unlock(&engine->lock);
    if (heard)
        events_announce(engine->events);
}

/* ---- engine_queue.c ---- */

/* Thaw what is not paused any more. */
void engine_thaw_open_locked(struct engine *engine);

/* ---- engine.c ---- */

/* Nothing is acknowledged from here on; wakes the dispatcher, which stops everything.  Any
 * thread, the store's too. */
void engine_fail(struct engine *engine);

/* Fill error for err and return it: the one place where the engine's -errno become sentences. */
int engine_refuse(struct engine *engine, struct rpc_error *error, int err);
int engine_refuse_id(struct rpc_error *error, uint64_t id); /* -ENOENT */
int engine_refuse_queue_locked(struct engine *engine, const char *name, struct rpc_error *error);

/* Hand op over / wait until it is done, whatever the caller's scope says.  Returns 0 or -EIO once
 * the store has failed (and then so has the engine), or the op's own -ENOSPC or -ENOMEM. */
void engine_push(struct engine *engine, struct engine_op *op, enum store_kind kind);
int engine_await(struct engine *engine, struct engine_op *op);

/* One of engine->active: engine_stop() waits for its release. */
void engine_hold_locked(struct engine *engine);
void engine_release_locked(struct engine *engine);

/* Push rows of jobs; of those in memory only nothing is stored, and they go out of the array. */
void engine_push_rows(struct engine *engine, struct engine_op *op, enum store_kind kind,
                      const struct job_record **rows, size_t count);

/* Push a change that a client asked for, and hold: until the caller has awaited it, made the moves
 * and released.  No rows: nothing to be stored, nothing held. */
void engine_push_change_locked(struct engine *engine, struct engine_op *op, enum store_kind kind,
                               const struct job_record **rows, size_t count);

bool engine_may_see(const struct peer *peer, const struct job_record *record);
/* The job if it is in memory, accepted, and peer may see it. */
struct job *engine_find_locked(struct engine *engine, const struct peer *peer, uint64_t id);

/* Make room in every container for `more` further jobs of uid, `queue` getting them.  -ENOMEM. */
int engine_reserve_locked(struct engine *engine, struct queue *queue, uid_t uid, size_t more);
/* Whether the limits leave room for one more job of uid in `queue`, and then the same for one.
 * Errors: -EAGAIN, -ENOMEM, with error. */
int engine_room_locked(struct engine *engine, struct queue *queue, uid_t uid,
                       struct rpc_error *error);
void engine_add_live_locked(struct engine *engine, struct job *job);
void engine_count_live_locked(struct engine *engine, struct job *job); /* it is in the table */
void engine_drop_locked(struct engine *engine, struct job *job); /* a submit that failed; frees */

/* Where one more crash sends a running job, which wishes so. */
enum job_state engine_after_crash(const struct engine *engine, const struct job_record *record,
                                  enum job_on_crash wish);

/* When a job that has failed so often is tried again. */
int64_t engine_retry_at_locked(struct engine *engine, uint32_t failures, int64_t now);

/* Move job, count it and tell the event: whatever else the move changes in the record is changed
 * before (what job_move() sets apart).  Room was reserved.  _place puts it where its new state
 * belongs: into a heap, or among the recent ones after its waiters were woken.  It may be freed then. */
void engine_move_locked(struct engine *engine, struct job *job, enum job_state to,
                        enum job_cause cause, int64_t now);
void engine_place_locked(struct engine *engine, struct job *job);
void engine_trim_recent_locked(struct engine *engine);
void engine_leave_recent_locked(struct engine *engine, struct job *job); /* it is one of them */
uint64_t engine_random_locked(struct engine *engine);

/* ---- engine_cancel.c ---- */

/* Take a job that waits out of its heaps, to end at `now`; row is what the store is to be told.
 * After that commit, _end_taken. */
void engine_take_waiting_locked(struct engine *engine, struct job *job, enum job_state to,
                                enum job_cause cause, struct job_record *row, int64_t now);
void engine_end_taken_locked(struct engine *engine, struct job *job, enum job_state to,
                             enum job_cause cause, int64_t now);

/* ---- engine_clock.c ---- */

/* Who waits for a point of wall time looks at the clock again. */
void engine_clock_set(struct engine *engine);
/* What can be read when the clock is set, a descriptor, or -errno; and the fiber that reads it until
 * it is cancelled (-ECANCELED) or that fails. */
int engine_clock_open(void);
int engine_clock_follow(struct engine *engine, struct weft_descriptor *clock);

/* ---- engine_expire.c ---- */

#define ENGINE_EXPIRED "its timeout_total is over" /* the error of who ends so */

/* When a job that is due at that time expires; 0: never.  _again: one that is retried now.
 * Errors: -ENOMEM. */
int64_t engine_expiry_of(const struct job_spec *spec, int64_t due_at);
int engine_expiry_again(const struct job_record *record, int64_t now, int64_t *ret_expires_at);
/* Room for one more that expires then (0: does not).  Errors: -ENOMEM. */
int engine_expiry_reserve_locked(struct engine *engine, int64_t expires_at);
/* It waits now / it starts or ends; nothing, if it does not expire. */
void engine_expiry_join_locked(struct engine *engine, struct job *job);
void engine_expiry_leave_locked(struct engine *engine, struct job *job);
int engine_expire(void *engine); /* the fiber, a member of engine_run()'s group */

/* ---- engine_queue.c ---- */

/* Wall time of the queue's next token, 0 if there is one now. */
int64_t engine_next_start_locked(const struct queue *queue);

/* ---- engine_wait.c ---- */

/* nodes: one per id, zeroed, the caller's. */
void engine_waiter_add_locked(struct engine *engine, struct engine_waiter *waiter,
                              struct job_waiters *nodes, size_t count);
void engine_waiter_watch_locked(struct engine_waiter *waiter, struct job_waiters *node,
                                struct job *job);
/* Until every watched job has ended.  0, waiter.err, -ETIMEDOUT, -ECANCELED; removes waiter. */
int engine_waiter_wait(struct engine *engine, struct engine_waiter *waiter, uint64_t deadline_ns);
/* Leave every list; the fiber may then free it. */
void engine_waiter_remove_locked(struct engine_waiter *waiter);
void engine_wake_locked(struct job *job);                    /* it has ended */
void engine_wake_all_locked(struct engine *engine, int err); /* the engine has */

/* ---- engine_after.c ---- */

/* Give job the needs of its spec, if it has any; they go with it.  Errors: -ENOMEM. */
int engine_needs_new(const struct job_spec *spec, struct job *job);
/* Take the lock at a moment when each dependency of the list is in memory or known to have ended (or
 * not to exist).  known: zeroed at first, the caller's to destroy.  On failure the lock is free. */
int engine_lock_knowing(struct engine *engine, const struct job_needs *list,
                        struct engine_known *known);
void engine_known_destroy(struct engine_known *known);
/* Whether one that is stored is to wait for one that is not.  Errors: -EINVAL it is *ret_id. */
int engine_needs_check_locked(struct engine *engine, const struct peer *peer, const struct job *job,
                              uint64_t *ret_id);
/* Put each need where it belongs (I29); needs that are all met are dropped.
 * Errors: -ENOENT *ret_missing is no job that peer may see; the others are linked all the same. */
int engine_needs_link_locked(struct engine *engine, const struct peer *peer, struct job *job,
                             const struct engine_known *known, uint64_t *ret_missing);
void engine_needs_drop_locked(struct job *job); /* it waits no longer */
/* A waiting job may have nothing left to wait for: release it, or doom it. */
void engine_needs_settle_locked(struct engine *engine, struct job *job);
void engine_tell_dependents_locked(struct engine *engine, struct job *job); /* it has ended */
/* engine_unlock(), and cancel what was doomed (I32).  Waits for the store, shielded. */
void engine_unlock_settling(struct engine *engine);

/* ---- engine_ids.c ---- */

/* The setting that keeps id_mark: true if it is this one, and then it is taken over. */
bool engine_ids_adopt(struct engine *engine, const char *name, const char *value);
bool engine_ids_suffice_locked(const struct engine *engine, size_t count);
/* Make `count` ids sure (others may take them meanwhile).  Errors: the store's, -ECANCELED. */
int engine_ids_mark(struct engine *engine, size_t count);
void engine_ids_stop(struct engine *engine); /* no more are given: the mark is the next id */

/* ---- engine_key.c ---- */

int job_keys_reserve(struct job_keys *keys); /* room for one more; -ENOMEM */
void job_keys_destroy(struct job_keys *keys);
/* Give job, whose uid is set, a key of its own that is in no table yet; text may be NULL.
 * _from_record: the one of its spec.  Errors: -ENOMEM. */
int engine_key_new(const char *text, struct job *job);
uint64_t engine_key_hash(uid_t uid, const char *text); /* for a record; 0: text is NULL */
int engine_key_from_record(struct job *job);
/* The job that has the same key of the same user; NULL: none, or job has no key. */
struct job *engine_key_holder_locked(struct engine *engine, const struct job *job);
/* Whether that job (job may be NULL) is one that is being submitted, and may yet turn out never to
 * have been (I51): engine.keyed tells when that is settled. */
bool engine_key_pending_locked(struct engine *engine, const struct job *job);
void engine_key_join_locked(struct engine *engine, struct job *job); /* I35; nobody holds it */
void engine_key_leave_locked(struct engine *engine, struct job *job);
void engine_key_pass(struct job *from, struct job *to); /* two of one job; it is in no table */

/* ---- engine_read.c ---- */

/* Fill the gaps in records (NULL), from memory / from the store, by the ids in the same places.
 * skip (may be NULL): places to leave alone.  What peer may not see, or is not there, stays NULL.
 * Errors: -ENOMEM and the store's. */
int engine_fill_locked(struct engine *engine, const struct peer *peer, const uint64_t *ids,
                       size_t count, struct job_record **records);
int engine_fill_stored(struct engine *engine, const struct peer *peer, const uint64_t *ids,
                       size_t count, const struct job_waiters *skip, struct job_record **records);
void engine_records_free(struct job_record **records, size_t count); /* NULL is fine */

/* ---- engine_retain.c ---- */

/* How long the record of such a job says that it is kept; 0: as the configuration does. */
int64_t engine_keep_of(const struct job_spec *spec);
/* A job has ended: there may be too many now, or it may be forgotten soon. */
void engine_retain_kick_locked(struct engine *engine, const struct job_record *record);

/* ---- engine_progress.c ---- */

void engine_progress_init(struct engine_progress *progress);
void engine_progress_destroy(struct engine_progress *progress);
/* run_request's report; arg is the run. */
void engine_progress_say(void *arg, const struct run_progress *said);
/* The fiber that tells it; around the group of the runs, on one fiber. */
void engine_progress_start(struct engine *engine);
void engine_progress_stop(struct engine *engine);
/* The attempt is over, and says nothing more: tell what is left. */
void engine_progress_end_locked(struct job_run *run);

/* ---- engine_run.c ---- */

int job_run_new(struct job_run **ret_run);
/* One that was never linked. */
void job_run_free(struct job_run *run);
/* From here on the job belongs to its run (I11).  The job has been moved to running. */
void job_run_link_locked(struct engine *engine, struct job_run *run, struct job *job);
/* The fiber; arg is the run, which it frees. */
int job_run_main(void *arg);
/* What the fiber would have done at its end, for a run that got none.  rc: what its attempt returned.
 * Frees run. */
void job_run_end(struct job_run *run, int rc);
/* Tell a run to end for this reason; a lower one than it has is ignored. */
void job_run_stop_locked(struct job_run *run, enum run_stop why);
