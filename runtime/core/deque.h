/* SPDX-License-Identifier: MIT */
/*
 * A work-stealing deque of fibers: the owner pushes and pops at the bottom, any worker steals from
 * the top.  The dynamic circular deque of Chase and Lev (SPAA 2005) with the memory orders of Lê,
 * Pop, Cohen and Zappa Nardelli (PPoPP 2013).
 */
#ifndef RUNTIME_CORE_DEQUE_H
#define RUNTIME_CORE_DEQUE_H

#include <errno.h>
#include <stdatomic.h>

#include "core/base.h"
#include "core/shake.h"

struct fiber;

/* A power-of-two ring of slots; outgrown ones are kept until the deque is destroyed (D4). */
struct deque_ring {
    struct deque_ring *outgrown;
    int64_t mask;
    _Atomic(struct fiber *) slots[];
};

struct deque {
    _Alignas(CACHE_LINE)
        atomic_int_fast64_t top; /* next to be stolen; CASed by thieves and owner */
    _Alignas(CACHE_LINE) atomic_int_fast64_t bottom; /* next free; written by the owner only */
    _Atomic(struct deque_ring *) ring;               /* written by the owner only */
    bool alone;                                      /* nobody steals; constant */
};

/** `alone`: there will be no thieves.  Errors: -ENOMEM. */
int deque_init(struct deque *deque, bool alone);
void deque_destroy(struct deque *deque);

/** A larger ring with the same elements, or NULL: no memory.  Owner only; for deque_push. */
struct deque_ring *deque_grow(struct deque *deque, int64_t top, int64_t bottom);

/** The fiber pushed first, or NULL when empty or another thief (or the owner) was faster. */
struct fiber *deque_steal(struct deque *deque);

/** Any thread; a hint, exact after a full barrier on both sides (see idle.h). */
bool deque_empty(const struct deque *deque);

/** Fibers in it.  Any thread; a hint. */
size_t deque_length(const struct deque *deque);

#ifdef WITH_TSAN
#define DEQUE_FENCED memory_order_seq_cst
static inline void deque_fence(void) {}
#else
#define DEQUE_FENCED memory_order_relaxed
static inline void deque_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}
#endif

static inline struct fiber *deque_get(struct deque_ring *ring, int64_t index)
{
    return atomic_load_explicit(&ring->slots[index & ring->mask], memory_order_relaxed);
}

static inline void deque_set(struct deque_ring *ring, int64_t index, struct fiber *fiber)
{
    atomic_store_explicit(&ring->slots[index & ring->mask], fiber, memory_order_relaxed);
}

/** Owner only.  Errors: -ENOMEM when full and it cannot grow; nothing was pushed. */
static inline int deque_push(struct deque *deque, struct fiber *fiber)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    int64_t top = atomic_load_explicit(&deque->top, memory_order_acquire); /* pairs with steal */
    struct deque_ring *ring = atomic_load_explicit(&deque->ring, memory_order_relaxed);

    if (unlikely(bottom - top > ring->mask)) {
        ring = deque_grow(deque, top, bottom);
        if (!ring)
            return -ENOMEM;
    }
    deque_set(ring, bottom, fiber);
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_release); /* D2 */
    return 0;
}

/* The rest of deque_pop where there are thieves; `bottom` is where the newest element is. */
static inline struct fiber *deque_pop_shared(struct deque *deque, int64_t bottom)
{
    struct fiber *fiber;
    int64_t top;

    atomic_store_explicit(&deque->bottom, bottom, DEQUE_FENCED);
    deque_fence(); /* D3 */
    top = atomic_load_explicit(&deque->top, DEQUE_FENCED);
    if (top > bottom) {
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
        return NULL;
    }
    shake();
    fiber = deque_get(atomic_load_explicit(&deque->ring, memory_order_relaxed), bottom);
    if (likely(top < bottom))
        return fiber;
    if (!atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                 memory_order_relaxed))
        fiber = NULL;
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
    return fiber;
}

/** The fiber pushed last, or NULL.  Owner only. */
static inline struct fiber *deque_pop(struct deque *deque)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed) - 1;

    /* top only grows: what looks empty now is empty, and needs no barrier. */
    if (atomic_load_explicit(&deque->top, memory_order_relaxed) > bottom)
        return NULL;
    if (!deque->alone)
        return deque_pop_shared(deque, bottom);
    atomic_store_explicit(&deque->bottom, bottom, memory_order_relaxed);
    return deque_get(atomic_load_explicit(&deque->ring, memory_order_relaxed), bottom);
}

#endif
