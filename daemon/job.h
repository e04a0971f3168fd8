/* SPDX-License-Identifier: MIT */
/*
 * job: what a job is.  Three structs, one per question:
 *   job_spec    what the client asked for, parsed; lives from the request to its text form, and
 *               again for the length of one run.
 *   job_record  what the store keeps and what clients are shown; plain data, one heap block.
 *   job         a job in the engine's memory: its record and its place among the others.
 * And the state machine: one table of edges, and job_move(), the only writer of a state.
 *
 * I1  Only job_move() and job_record_move() assign a state; a move that is no edge is refused.
 * I2  A state that a client was shown is in the store: a move to an end, the moves back from
 *     running, and a retry are made only after the commit that records them.
 * I3  attempt only grows, with one exception: an orderly stop gives the number back, after every
 *     process of that attempt is gone.
 * Does no I/O, takes no lock, never suspends: pure functions on the caller's data.
 */
#pragma once

#include "protocol/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct config;          /* config.h */
struct queue;           /* queue.h */
struct job_run;         /* engine_run.c: the run under way */
struct job_waiters;     /* engine_wait.c: who waits for the end */
struct job_key;         /* engine_key.c: its key, and its place among them */
struct program_options; /* program.h */
struct job_need;        /* engine_after.c: one dependency of a job that waits … */
struct job_needs;       /* … and all of them */

/* ---- who asks ------------------------------------------------------------------------------ */

/* The other end of a connection, from SO_PEERCRED at accept; fixed for the connection's life. */
struct peer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    bool admin; /* root, weftd's own user, or a member of access.admin_group: sees every job */
};

/* ---- states -------------------------------------------------------------------------------- */

/* The numbers are on disk: never renumber, only append. */
enum job_state {
    JOB_NONE = 0,      /* not accepted yet; source of the submit edges, never stored */
    JOB_WAITING = 1,   /* for the ends of the jobs in its `after` */
    JOB_DELAYED = 2,   /* until record.due_at: the client's delay, or a retry's backoff */
    JOB_QUEUED = 3,    /* in its queue's heap */
    JOB_RUNNING = 4,   /* a fiber of the engine holds it */
    JOB_SUCCEEDED = 5, /* end: exit status 0, or the handler returned a result */
    JOB_FAILED = 6,    /* end: failed with no retries asked for, or crashed with on_crash=fail */
    JOB_CANCELLED = 7, /* end: by a client, or because a job that it waited for did not succeed */
    JOB_TIMED_OUT = 8, /* end: ran longer than its timeout, no retries asked for; or not done
                        * within its timeout_total */
    JOB_DEAD = 9,      /* end: retries were asked for and are spent, or crash_limit reached */
    JOB_STATE_COUNT
};

/* Why a job moves.  An edge is (from, to, cause). */
enum job_cause {
    JOB_BY_SUBMIT,       /* none -> queued | delayed | waiting */
    JOB_BY_DEPENDENCIES, /* waiting -> queued | delayed (all are met) | cancelled (one cannot be) */
    JOB_BY_DUE,          /* delayed -> queued */
    JOB_BY_DISPATCH,     /* queued -> running */
    JOB_BY_SUCCESS,      /* running -> succeeded */
    JOB_BY_FAILURE,      /* running -> failed | delayed (retry) | dead (retries spent) */
    JOB_BY_TIMEOUT,      /* running -> timed_out | delayed (retry) | dead (retries spent) */
    JOB_BY_CANCEL,       /* waiting | queued | delayed | running -> cancelled */
    JOB_BY_INTERRUPT,    /* running -> queued: orderly stop, attempt given back */
    JOB_BY_CRASH,  /* running -> queued | failed (on_crash) | dead (crash_limit): weftd died, as
                   * recovery finds, or the process of a call did */
    JOB_BY_EXPIRY, /* waiting | queued | delayed | running -> timed_out: timeout_total is over */
    JOB_BY_RETRY,  /* failed | cancelled | timed_out | dead -> queued: by a client, a new start */
    JOB_CAUSE_COUNT
};

struct job_edge {
    enum job_state from;
    enum job_state to;
    enum job_cause cause;
};

/* Every allowed move and no other (job.c).  The diagram in the docs is generated from it. */
extern const struct job_edge job_edges[];
extern const size_t job_edge_count;

/* How often each edge was taken in this process (index as in job_edges).  Atomic, relaxed; a test
 * fails on an edge that no test took. */
uint64_t job_edge_taken(size_t edge);

/* The wire's names: "queued", "timed_out", …  Static; NULL for a number that is no state. */
const char *job_state_name(enum job_state state);
const char *job_cause_name(enum job_cause cause);

/* Errors: -EINVAL no such state (JOB_NONE is none for a client). */
int job_state_from_name(const char *name, enum job_state *ret_state);

/* True for succeeded, failed, cancelled, timed_out and dead: only job.retry leaves these. */
bool job_state_is_end(enum job_state state);

/* Whether job.retry may bring a job back from this state: every end but succeeded. */
bool job_state_may_retry(enum job_state state);

/* ---- what the client asked ------------------------------------------------------------------ */

enum job_on_crash { JOB_CRASH_REQUEUE = 0, JOB_CRASH_FAIL = 1 };
extern const char *const job_on_crash_names[]; /* by it, NULL-terminated */

/* Which end of a long output is kept. */
enum job_keep { JOB_KEEP_DEFAULT = 0, JOB_KEEP_HEAD = 1, JOB_KEEP_TAIL = 2 };
extern const char *const job_keep_names[]; /* of HEAD and TAIL, NULL-terminated */

#define JOB_NAME_MAX     255
#define JOB_TAGS_MAX     32
#define JOB_RETRIES_MAX  1000
#define JOB_AFTER_MAX    1000
#define JOB_ID_MAX       ((INT64_C(1) << 53) - 1)
#define JOB_PRIORITY_MAX 1000000 /* and -JOB_PRIORITY_MAX; higher runs first */

/* What a queue gives to jobs that do not name it; as bits, what a client has named. */
enum job_named {
    JOB_NAMED_PRIORITY = 1,
    JOB_NAMED_RETRIES = 2,
    JOB_NAMED_ON_CRASH = 4,
    JOB_NAMED_TIMEOUT = 8,
    JOB_NAMED_TIMEOUT_TOTAL = 16,
};

/* Owned by whoever called job_spec_from_…; immutable afterwards.  Exactly one of argv and call. */
struct job_spec {
    char **argv;       /* NULL-terminated, at least one, argv[0] not empty; NULL for a call */
    char *call;        /* handler's name; NULL for a program */
    json_t *args;      /* object, for a call; an empty object if none was given */
    char **env;        /* "NAME=value", NULL-terminated, over the allow-list; NULL: none */
    char *cwd;         /* absolute; NULL: exec.cwd of the configuration */
    char *stdin_data;  /* what the program reads; NULL: /dev/null */
    size_t stdin_size; /* may hold NUL bytes */
    char *stdin_file;  /* or the file that it reads, absolute; of both one is NULL */
    struct program_options *program; /* umask, priorities, limits; NULL: none is given */
    enum job_keep output_keep;       /* default: exec.output_keep of the configuration */
    char *queue;     /* never NULL: "default" if none was named; existence is the engine's check */
    char *name;      /* the client's label, or NULL */
    char *key;       /* its user has one live job of that key, or NULL */
    char **tags;     /* NULL-terminated, or NULL */
    uint64_t *after; /* ids of the jobs that it waits for, or NULL */
    size_t after_count;
    bool after_any_end; /* however they end; else all must succeed */
    int32_t priority;
    uint32_t retries;           /* further attempts after the first failure */
    uint64_t delay_ns;          /* before the first attempt may start … */
    int64_t start_at;           /* … or when it may, ns since 1970; of both one is 0 */
    uint64_t timeout_ns;        /* of one attempt; 0: the queue's, or none */
    uint64_t timeout_total_ns;  /* of all attempts and waits, from when it is due; 0: none */
    uint64_t keep_ns;           /* after its end; only with `keeps` */
    bool keeps;                 /* else as [jobs] retain says */
    enum job_on_crash on_crash; /* default requeue */
    unsigned named;             /* enum job_named; not stored: what is stored holds */
    bool memory_only;           /* durable: false */
};

/**
 * Check and parse the params of job.submit.  Everything that is wrong without looking at the
 * engine is found here, with params_check() of protocol/params.h and a table: unknown or misspelt
 * member (the nearest one is named), wrong type, both or neither of argv and call, empty argv, NUL
 * inside a string, relative cwd, bad env name, duration, priority or retries out of range, handler
 * that is not in native_find().
 * Context:   any thread. Ownership: the caller frees *ret_spec with
 * job_spec_free(); params is borrowed. Errors:    -EINVAL, -ENOMEM, with *error (invalid_params,
 * no_such_handler, not_supported).
 */
int job_spec_from_json(const json_t *params, struct job_spec **ret_spec, struct rpc_error *error);

/* The stored form: compact JSON with the wire's member names, defaults left out, durations as
 * text.  job_spec_from_text() of it gives an equal spec.  The caller frees *ret_text. */
int job_spec_to_text(const struct job_spec *spec, char **ret_text);
int job_spec_from_text(const char *text, struct job_spec **ret_spec, struct rpc_error *error);

/* The name in a stored form, as JSON with its quotes, inside text; NULL with size 0: it has none.
 * Cheap, however long the text is: the name comes first in it. */
const char *job_spec_text_name(const char *text, size_t *ret_size);

/* The key in a stored form, the caller's to free; NULL: it has none.  Parses it.  Errors: -ENOMEM. */
int job_spec_text_key(const char *text, char **ret_key);

/* Whether two stored forms have the same key: 1, or 0, as where one has none.  Errors: -ENOMEM. */
int job_spec_text_same_key(const char *a, const char *b);

void job_spec_free(struct job_spec *spec); /* NULL is fine */

/* ---- what is kept and shown ------------------------------------------------------------------ */

#define JOB_NO_EXIT (-1) /* record.exit_code and .term_signal while there is none */

/* One heap block: the strings lie behind the struct, free with job_record_free().  In struct job
 * only the spec does (job_new); result and error are heap strings that the job owns.  Wall times
 * are nanoseconds since 1970, 0: has not happened. */
struct job_record {
    uint64_t id; /* 1 and up, below 2^53, never given twice */
    uid_t uid;   /* the submitter */
    gid_t gid;
    enum job_state state;
    uint32_t attempt;    /* number of the current or last attempt, 0 before the first: the
                          * fencing token, exported as WEFT_ATTEMPT */
    uint32_t failures;   /* attempts that failed or timed out; counts against retries */
    uint32_t crashes;    /* attempts during which weftd or the process of a call died; counts
                          * against crash_limit */
    int32_t exit_code;   /* of the last program attempt, or JOB_NO_EXIT */
    int32_t term_signal; /* that killed it, or JOB_NO_EXIT */
    int32_t priority;    /* copied from the spec, for dispatch without parsing … */
    bool memory_only;    /* … likewise: the store knows nothing of it */
    int64_t submitted_at;
    int64_t due_at;      /* delayed: not before this; queued: when job.retry put it there, or 0 */
    int64_t started_at;  /* of the last attempt */
    int64_t finished_at; /* of the end */
    int64_t expires_at;  /* when its timeout_total is over, by a retry's start or else the submit's;
                          * 0: it has none */
    int64_t keep;        /* ns that it is kept after its end; 0: as the configuration says.  Never
                          * changes */
    uint64_t key_hash;   /* of uid and the spec's key, for the store to find both by; 0: it has no
                          * key.  Never changes */
    const char *queue;   /* in struct job: borrowed from the queue, which is never freed */
    const char *spec;    /* job_spec_to_text() */
    union {
        const char *result;   /* ended: JSON text of a call's result, or NULL */
        const char *progress; /* running: how far it is, as JSON, or NULL; not stored */
    };
    const char *error; /* why the last attempt did not succeed, one sentence, or NULL */
};

/* A copy in one block.  Errors: -ENOMEM. */
int job_record_copy(const struct job_record *record, struct job_record **ret_copy);
void job_record_free(struct job_record *record); /* NULL is fine */

/* The job object of the wire (job.get, job.list, job.wait): id name queue state attempt
 * submitted_at started_at finished_at (seconds, as a number) exit_code signal result error, and of
 * the spec argv or call and args, cwd, stdin_file, tags, priority, retries, timeout, and how it is
 * run.  env and stdin are not
 * shown.  Members without a value are left out.  The caller owns the reference. */
int job_record_to_json(const struct job_record *record, json_t **ret_json);

/* Text that a program or a file's name may have put in is perhaps no UTF-8; then every odd byte is
 * shown as '?'.  NULL: out of memory. */
json_t *job_text_to_json(const char *text);

/* Bytes in base64.  NULL: out of memory. */
json_t *job_base64_to_json(const void *data, size_t size);

/* ---- a job in memory ------------------------------------------------------------------------- */

/* Every field is guarded by the engine's lock, except where said.  Sizes matter: a million queued
 * jobs must stay under 500 bytes each, spec text included. */
struct job {
    struct job_record record;    /* first: job_new() and job_free() */
    struct queue *queue;         /* never NULL; queues outlive jobs */
    struct share *share;         /* its user's in that queue; NULL once it has ended */
    struct job_run *run;         /* only while running: its scope, and why it is being stopped */
    struct job_waiters *waiters; /* NULL while nobody waits */
    struct job_needs *needs;     /* NULL but while it waits for dependencies; the job's */
    struct job_key *key;         /* NULL: it has none, or has ended; the job's */
    struct job_need *dependents; /* what waits for this job's end: in the needs of others */
    struct job *recent_next;     /* in the engine's list of recently ended jobs … */
    struct job *recent_before;   /* … which a retry may leave from its middle */
    int64_t rank;                /* place in its share's heap, see queue_rank(); lower runs first */
    uint32_t heap_index;         /* in its share's heap or in the delayed heap (never in both);
                                  * JOB_NOT_IN_HEAP otherwise */
    uint32_t expiry_index;       /* in the engine's heap of those that expire (engine_expire.c) */
    bool committing;             /* a commit that will move this job is under way: cancel and
                                  * dispatch leave it alone, and look again afterwards */
};

#define JOB_NOT_IN_HEAP UINT32_MAX

/* A job with a copy of record, spec text in the same block, result and error copied to the heap.
 * record.queue stays borrowed from queue.  Errors: -ENOMEM. */
int job_new(const struct job_record *record, struct queue *queue, struct job **ret_job);
void job_free(struct job *job); /* in no heap, not running; NULL is fine */

/* Hand over result and error (heap strings or NULL); the ones before are freed. */
void job_set_texts(struct job *job, char *result, char *error);

/**
 * Move a job along an edge: sets state, started_at/finished_at/attempt/failures/crashes as the
 * cause demands, and counts the edge.  `now` is the wall clock; if that was set back, the job's own
 * times stay in order.  Takes the job out of no heap and
 * wakes nobody: that is the engine's.
 * Context: under the engine's lock (or before the engine knows the job).
 * Errors:  -EPROTO no such edge; the job is unchanged.
 */
int job_move(struct job *job, enum job_state to, enum job_cause cause, int64_t now);

/* The same on a bare record: what the store will be told, before the move itself is made. */
int job_record_move(struct job_record *record, enum job_state to, enum job_cause cause,
                    int64_t now);

/* Wait before the next attempt: base * 2^(failures-1), at most cap, times a random factor in
 * [0.5, 1.5) made from `random` (any 64 bits), so that a burst of failures spreads. */
uint64_t job_backoff_ns(uint32_t failures, uint64_t base_ns, uint64_t cap_ns, uint64_t random);

/* Since when a queued job waits, for its place among the others: since its submit, or since it was
 * brought back, lest an old job that is retried go before all that came meanwhile. */
int64_t job_waits_since(const struct job_record *record);

/* ns after a point of wall time, at most the end of time. */
int64_t job_wall_after(int64_t at, uint64_t ns);

/* Wall clock, nanoseconds since 1970: what records and the wire carry.  Waits never use it. */
int64_t job_wall_now(void);
