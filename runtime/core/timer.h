/* SPDX-License-Identifier: MIT */
/*
 * The timers of one worker: a 4-ary heap under a spin lock, emptied by the worker and reachable by
 * any thread for removal.  A timer is caller-owned memory, often on the stack of the fiber that
 * waits.
 *
 *   M1  A timer is in the heap or not, as timer->index says; both change under the lock.
 *   M2  What expires is claimed under the lock, so that once timer_remove has returned nobody
 *       touches the timer any more.
 *   M3  Arming a timer cannot fail, so that a wait with a deadline cannot either: what the heap has no
 *       memory for is in a list, and looked for there.
 */
#ifndef RUNTIME_CORE_TIMER_H
#define RUNTIME_CORE_TIMER_H

#include <stdatomic.h>

#include "core/spin.h"
#include "core/wait.h"

struct scope;

struct timer {
    struct timers *home; /* whose heap; written by timer_add */
    size_t index; /* place in the heap, TIMER_IDLE, or TIMER_SPILLED; guarded by home->lock */
    struct fiber *fiber;  /* whose wait it ends, or NULL */
    struct scope *scope;  /* or which scope it expires */
    struct timer *next;   /* spilled (M3): the next one; guarded by home->lock */
    uint64_t deadline_ns; /* likewise: its deadline */
};

#define TIMER_IDLE    SIZE_MAX
#define TIMER_SPILLED (SIZE_MAX - 1)

struct timer_entry {
    uint64_t deadline_ns;
    struct timer *timer;
};

struct timers {
    struct spin lock;
    struct timer_entry *heap;     /* guarded by lock */
    size_t count, capacity;       /* guarded by lock */
    struct timer *spilled;        /* guarded by lock; M3 */
    atomic_uint_fast64_t next_ns; /* the earliest deadline, UINT64_MAX: none; written under lock,
                                     read by the owner as a hint */
};

void timers_init(struct timers *timers);
void timers_destroy(struct timers *timers);

/** The worker must look at next_ns again before it blocks: only its own fibers add to its heap. */
void timer_add(struct timers *timers, struct timer *timer, uint64_t deadline_ns);

/** Take it out if it is still there.  Any thread. */
void timer_remove(struct timer *timer);

/** Claim all that has expired by `now_ns`, at most a bounded number at once.  The claimed fibers
 * are in `batch`.  Returns: how many timers expired. */
unsigned timers_expire(struct timers *timers, uint64_t now_ns, struct wait_batch *batch);

/** How many are armed.  Any thread. */
size_t timers_armed(struct timers *timers);

static inline uint64_t timers_next(struct timers *timers)
{
    return atomic_load_explicit(&timers->next_ns, memory_order_relaxed);
}

#endif
