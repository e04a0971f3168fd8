/* SPDX-License-Identifier: MIT */
/*
 * The FIFO of woken fibers of one worker: a fixed ring that the owner fills and empties, and from
 * which a thief takes half at once.  After the local run queue of Go's scheduler.
 */
#ifndef RUNTIME_CORE_RUNQ_H
#define RUNTIME_CORE_RUNQ_H

#include <stdatomic.h>

#include "core/base.h"

struct fiber;

enum { RUNQ_SLOTS = 256 };

struct runq {
    _Alignas(CACHE_LINE) atomic_uint head; /* next to be taken; CASed by owner and thieves */
    _Alignas(CACHE_LINE) atomic_uint tail; /* next free; written by the owner only */
    bool alone;                            /* nobody steals; constant */
    _Atomic(struct fiber *) slots[RUNQ_SLOTS];
};

/** Append.  Owner only.  Returns: false when full. */
static inline bool runq_push(struct runq *runq, struct fiber *fiber)
{
    unsigned head = atomic_load_explicit(&runq->head, memory_order_acquire); /* R3 */
    unsigned tail = atomic_load_explicit(&runq->tail, memory_order_relaxed);

    if (unlikely(tail - head >= RUNQ_SLOTS))
        return false;
    atomic_store_explicit(&runq->slots[tail % RUNQ_SLOTS], fiber, memory_order_relaxed);
    atomic_store_explicit(&runq->tail, tail + 1, memory_order_release); /* R2 */
    return true;
}

/** The oldest fiber, or NULL.  Owner only. */
static inline struct fiber *runq_pop(struct runq *runq)
{
    unsigned head = atomic_load_explicit(&runq->head, memory_order_acquire);
    unsigned tail = atomic_load_explicit(&runq->tail, memory_order_relaxed);
    struct fiber *fiber;

    do {
        if (head == tail)
            return NULL;
        fiber = atomic_load_explicit(&runq->slots[head % RUNQ_SLOTS], memory_order_relaxed);
        if (runq->alone) {
            atomic_store_explicit(&runq->head, head + 1, memory_order_relaxed);
            return fiber;
        }
    } while (!atomic_compare_exchange_weak_explicit(&runq->head, &head, head + 1,
                                                    memory_order_acq_rel, memory_order_acquire));
    return fiber;
}

/**
 * Move the older half (rounded up) of `victim` to the thief's own ring `mine`, except one fiber,
 * which is returned.  Owner of `mine` only; `mine` must have room for half a ring.
 * `ret_count` gets how many were taken.  NULL when there was nothing.
 */
struct fiber *runq_steal(struct runq *victim, struct runq *mine, unsigned *ret_count);

/** Take the older half out of a full ring, to hand it elsewhere.  Owner only.
 * Returns: how many (0 when a thief made room meanwhile). */
unsigned runq_take_half(struct runq *runq, struct fiber *ret_fibers[RUNQ_SLOTS / 2]);

/** Fibers in it; a hint for all but the owner.  Any thread. */
unsigned runq_length(const struct runq *runq);

#endif
