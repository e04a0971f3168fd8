/* SPDX-License-Identifier: MIT */
/*
 * The park word of a fiber: the states of wait.h, the two ways to claim it, and the steps of a wait
 * that are worth inlining where waits are short (sync/waitq.h).  What holds stands in wait.h.
 */
#ifndef RUNTIME_CORE_PARK_H
#define RUNTIME_CORE_PARK_H

#include "core/fiber.h"
#include "core/wait.h"

struct scope;

enum park_state {
    PARK_RUNNING,
    PARK_ARMING,
    PARK_ARMING_SHIELDED, /* cancellation does not claim it */
    PARK_WAITING,
    PARK_WAITING_SHIELDED,
    PARK_EVENT, /* the three outcomes: claimed by ... */
    PARK_TIMEOUT,
    PARK_CANCEL
};

enum { PARK_STATE_BITS = 3, PARK_STATE_MASK = 7 };

/* --- the word, for whoever waits */

static inline enum park_state park_state(uint_fast64_t word)
{
    return (enum park_state)(word & PARK_STATE_MASK);
}

/* The word of the fiber's next wait. */
static inline uint_fast64_t park_begin(const struct fiber *self, enum park_state state)
{
    uint_fast64_t word = atomic_load_explicit(&self->park, memory_order_relaxed);

    return ((word >> PARK_STATE_BITS) + 1) << PARK_STATE_BITS | state;
}

static inline void park_end(struct fiber *self)
{
    uint_fast64_t word = atomic_load_explicit(&self->park, memory_order_relaxed);

    atomic_store_explicit(&self->park, (word & ~(uint_fast64_t)PARK_STATE_MASK) | PARK_RUNNING,
                          memory_order_relaxed);
}

static inline void waiter_init(struct waiter *waiter, struct fiber *self)
{
    list_init(&waiter->link);
    waiter->fiber = self;
    waiter->slot = NULL;
    waiter->result = 0;
    /* Nobody looks for the owner of what an earlier wait was for. */
    atomic_store_explicit(&self->wait_kind, NULL, memory_order_relaxed);
}

/** wait_prepare, for a caller that knows the fiber it runs on. */
static inline int park_prepare(struct fiber *self, struct waiter *waiter)
{
    struct scope *scope = atomic_load_explicit(&self->scope, memory_order_relaxed);
    int r;

    waiter_init(waiter, self);
    if (unlikely(!atomic_load_explicit(&scope->linked, memory_order_acquire)))
        scope_link(scope);
    atomic_store_explicit(&self->park, park_begin(self, PARK_ARMING), memory_order_seq_cst);
    /* W4: after the store, in the order of all sequentially consistent ones. */
    r = atomic_load_explicit(&scope->cancelled, memory_order_seq_cst);
    if (unlikely(r < 0))
        park_end(self);
    return r;
}

static inline void park_prepare_shielded(struct fiber *self, struct waiter *waiter)
{
    waiter_init(waiter, self);
    atomic_store_explicit(&self->park, park_begin(self, PARK_ARMING_SHIELDED),
                          memory_order_release);
}

static inline void park_describe(const struct waiter *waiter, const char *kind, const void *object)
{
    atomic_store_explicit(&waiter->fiber->wait_kind, kind, memory_order_relaxed);
    atomic_store_explicit(&waiter->fiber->wait_object, object, memory_order_relaxed);
}

/* --- the word, for whoever claims */

static inline void batch_append(struct wait_batch *batch, struct fiber *fiber)
{
    fiber->next = NULL;
    if (batch->tail)
        batch->tail->next = fiber;
    else
        batch->head = fiber;
    batch->tail = fiber;
}

/* One step of a claim: from `word` to `outcome`.  False: `*word` was refreshed, look again. */
static inline bool park_take(struct fiber *fiber, uint_fast64_t *word, enum park_state outcome,
                             struct wait_batch *batch)
{
    uint_fast64_t claimed = (*word & ~(uint_fast64_t)PARK_STATE_MASK) | outcome;
    enum park_state before = park_state(*word);

    shake();
    /* Release: what the claimer wrote for the waiter.  Acquire: the fiber's saved registers. */
    if (!atomic_compare_exchange_weak_explicit(&fiber->park, word, claimed, memory_order_seq_cst,
                                               memory_order_seq_cst))
        return false;
    if (before == PARK_WAITING || before == PARK_WAITING_SHIELDED)
        batch_append(batch, fiber);
    return true;
}

/**
 * Claim the fiber's wait with `outcome` (PARK_EVENT, PARK_TIMEOUT), whatever wait it is: the caller
 * holds the lock that the fiber takes before it ends that wait (W3).
 * Returns: false when it was claimed before.  On true the fiber is in `batch`, unless it has not
 * switched away yet: then the publisher makes it ready.
 */
static inline bool park_claim(struct fiber *fiber, enum park_state outcome,
                              struct wait_batch *batch)
{
    uint_fast64_t word = atomic_load_explicit(&fiber->park, memory_order_acquire);

    for (;;) {
        enum park_state state = park_state(word);

        if (state == PARK_RUNNING || state >= PARK_EVENT)
            return false;
        if (park_take(fiber, &word, outcome, batch))
            return true;
    }
}

/** Claim the fiber's wait for cancellation if it is parked, unshielded, with `scope` innermost. */
void park_cancel(struct fiber *fiber, struct scope *scope, struct wait_batch *batch);

#endif
