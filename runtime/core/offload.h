/* SPDX-License-Identifier: MIT */
/*
 * The thread pool behind weft/offload.h: bounded, grown on demand, shrunk when idle.  Each runtime
 * has one, freed after its last fiber has ended, but before its workers are: a thread may be on its
 * way out of waking one.
 */
#ifndef RUNTIME_CORE_OFFLOAD_H
#define RUNTIME_CORE_OFFLOAD_H

#include <pthread.h>
#include <stdint.h>

#include "core/list.h"
#include "core/wait.h"
#include "weft/offload.h"

struct offload_pool;

enum { OFFLOAD_DEFAULT_THREADS = 64 };

enum job_state {
    JOB_QUEUED,   /* -> JOB_RUNNING, JOB_CANCELLED */
    JOB_RUNNING,  /* a thread has it -> JOB_DONE */
    JOB_DONE,     /* it has run */
    JOB_CANCELLED /* it has not, and will not */
};

/* All but fn, arg and posted is the pool's. */
struct job {
    struct list link; /* on the pool's queue, or on no list; guarded by the pool's lock */
    int (*fn)(void *);
    void *arg;
    struct offload_pool *pool;
    struct waiter *waiter; /* the fiber that waits; guarded by the pool's lock */
    pthread_cond_t *wake;  /* of the plain thread that waits; guarded by the pool's lock */
    int result;            /* written by the thread, read once it is done */
    uint8_t state;         /* enum job_state; guarded by the pool's lock */
    bool posted;           /* nobody waits for it, and it is freed when it has run; constant */
};

/** A pool with no thread yet.  Any thread.  Errors: -ENOMEM. */
int offload_pool_new(const struct weft_executor_options *options, struct offload_pool **ret_pool);

/** Close it, let what was accepted run, end and join its threads, free it.  A fiber suspends, a
 * plain thread blocks.  NULL does nothing. */
void offload_pool_free(struct offload_pool *pool);

/** Accept no more.  Any thread. */
void offload_pool_close(struct offload_pool *pool);

/** Any thread. */
void offload_pool_stats(struct offload_pool *pool, struct weft_executor_stats *ret_stats);

/** How long a thread without work stays, for those that begin to idle after the call.  Any
 * thread. */
void offload_pool_set_idle(struct offload_pool *pool, uint64_t idle_ns);

/** As weft_offload, in this pool. */
int offload_run(struct offload_pool *pool, int (*fn)(void *), void *arg, int *ret_result);

/** The lock that guards the jobs, for whoever waits for one. */
void offload_pool_lock(struct offload_pool *pool);
void offload_pool_unlock(struct offload_pool *pool);

/** Bring a job into the pool.  Any thread.  Errors: -EAGAIN the queue is full, or there is no
 * thread and none can be started; -ESHUTDOWN. */
int offload_submit(struct offload_pool *pool, struct job *job);

/** Take a job back that is queued still.  Under the pool's lock.  Errors: -EALREADY. */
int offload_take_back(struct job *job);

/** A condition for offload_cond_wait. */
void offload_cond_init(pthread_cond_t *cond);

/** Wait under the pool's lock.  Errors: -ETIMEDOUT. */
int offload_cond_wait(pthread_cond_t *cond, struct offload_pool *pool, uint64_t deadline_ns);

#endif
