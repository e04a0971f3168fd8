/* SPDX-License-Identifier: MIT */
/*
 * The thread pool behind weft_offload: bounded, grown on demand, shrunk when idle.  One per
 * runtime; freed after the runtime's last fiber has ended, but before its workers are: a thread may
 * be on its way out of waking one.
 */
#ifndef RUNTIME_CORE_OFFLOAD_H
#define RUNTIME_CORE_OFFLOAD_H

#include <stdint.h>

struct offload_pool;

enum { OFFLOAD_DEFAULT_THREADS = 64 };

/** A pool of at most `max_threads` threads (0: OFFLOAD_DEFAULT_THREADS), none yet.
 * Any thread.  Errors: -ENOMEM. */
int offload_pool_new(unsigned max_threads, struct offload_pool **ret_pool);

/** End and join its threads, and free it.  No job may be in it, and no fiber may use it any more.
 * A plain thread; blocks it.  NULL does nothing. */
void offload_pool_free(struct offload_pool *pool);

/** Threads alive now, and jobs that wait for one.  Any thread. */
void offload_pool_stats(struct offload_pool *pool, unsigned *ret_threads, unsigned *ret_queued);

/** How long a thread without work stays (default: 5 s); for those that begin to idle after the
 * call.  Any thread. */
void offload_pool_set_idle(struct offload_pool *pool, uint64_t idle_ns);

#endif
