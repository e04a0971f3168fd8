/* SPDX-License-Identifier: MIT */
/* Blocking calls on bounded, elastic pools of threads.  Every runtime has one (weft_offload); a
 * program may have others.  Defaults of weft/weft.h apply.
 *
 * fn may call what the library marks "any thread", and nothing else of it.  Fiber-local values and
 * scopes are not handed on: a job that runs cannot be cancelled. */
#ifndef WEFT_OFFLOAD_H
#define WEFT_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Run fn(arg) on a thread of the runtime's pool while the fiber waits.  While it is queued a cancel
 * takes it back (fn did not run); once it runs, the fiber waits for its end whatever happens,
 * because arg is the fiber's.
 * `ret_result` (may be NULL) gets fn's result.
 * Errors: -ECANCELED or -ETIMEDOUT: fn did not run; -EAGAIN no thread could be started.
 */
int weft_offload(int (*fn)(void *), void *arg, int *ret_result);

struct weft_executor;

struct weft_executor_options {
    unsigned threads;   /* most at once; 0: 64 */
    size_t queue_limit; /* jobs that may wait for a thread; 0: any number */
    uint64_t idle_ns;   /* how long a thread without work stays; WEFT_NO_DEADLINE: for ever */
    const char *name;   /* of its threads, 15 bytes at most count; NULL: "weft-offload" */
};

struct weft_executor_stats {
    unsigned threads;   /* alive */
    unsigned idle;      /* of them: waiting for work */
    size_t queued;      /* jobs that wait for a thread */
    uint64_t completed; /* jobs that ran to their end */
    uint64_t cancelled; /* jobs that were taken back from the queue */
    uint64_t refused;   /* jobs that were not accepted */
};

/** Fill `options` with the defaults: 64 threads that stay 5 s, no queue limit.  Any thread. */
void weft_executor_options_init(struct weft_executor_options *options);

/** A pool of at most `threads` threads (0: 64), none of which is started yet.  `name` may be NULL.
 * Any thread.  Errors: -ENOMEM. */
int weft_executor_new(unsigned threads, const char *name, struct weft_executor **ret_executor);

/** The same with all options, which may be NULL.  Any thread.  Errors: -ENOMEM. */
int weft_executor_new_with(const struct weft_executor_options *options,
                           struct weft_executor **ret_executor);

/** The pool that weft_offload uses, borrowed; it ends with the runtime and must not be freed. */
struct weft_executor *weft_executor_default(void);

/** As weft_offload, in this pool.  On a plain thread: blocks it.
 * Errors: weft_offload's; -EAGAIN also when the queue is full; -ESHUTDOWN the pool is closed. */
int weft_executor_run(struct weft_executor *executor, int (*fn)(void *), void *arg,
                      int *ret_result);

/* A job that was submitted.  Caller-owned, until it is done; its content is private. */
struct weft_job {
    uint64_t opaque[16];
};

/**
 * Have fn(arg) run by a thread of the pool, and go on.  `job` must stay where it is until
 * weft_job_wait returned 0 or weft_job_cancel did.
 * Context: any thread.  Never suspends.
 * Errors:  -EAGAIN the queue is full or no thread could be started, -ESHUTDOWN the pool is closed.
 */
int weft_executor_submit(struct weft_executor *executor, struct weft_job *job, int (*fn)(void *),
                         void *arg);

/** Wait until the job is done.  `ret_result` (may be NULL) gets fn's result.  One waiter at a time.
 * On a plain thread: blocks it.  Errors: -ETIMEDOUT, -ECANCELED: it is not done yet, wait again;
 * -EBUSY another waits. */
int weft_job_wait(struct weft_job *job, uint64_t deadline_ns, int *ret_result);

/** Whether the job is done: weft_job_wait returns at once.  Any thread.  Never suspends. */
bool weft_job_done(struct weft_job *job);

/** Take it back.  Any thread.  Never suspends.
 * Returns: 0 fn has not run and will not; there is nothing to wait for.
 * Errors:  -EALREADY it runs, or has: wait for it; -EBUSY somebody waits for it. */
int weft_job_cancel(struct weft_job *job);

/** Have fn(arg) run by a thread of the pool, with nobody to wait for it; its result is dropped.
 * Context: any thread.  Never suspends.  Errors: weft_executor_submit's, -ENOMEM. */
int weft_executor_post(struct weft_executor *executor, int (*fn)(void *), void *arg);

/** Any thread.  Never suspends. */
void weft_executor_stats(struct weft_executor *executor, struct weft_executor_stats *ret_stats);

/** Accept no more jobs: -ESHUTDOWN.  Those that were accepted still run.  Any thread.  Never
 * suspends. */
void weft_executor_close(struct weft_executor *executor);

/** Close it, wait without regard to cancellation until every job has run, end its threads.
 * On a plain thread: blocks it.  Not on one of its own threads.  NULL does nothing. */
void weft_executor_free(struct weft_executor *executor);

#ifdef __cplusplus
}
#endif
#endif
