/* SPDX-License-Identifier: MIT */
/*
 * A work-stealing deque of fibers: the owner pushes and pops at the bottom, any worker steals from
 * the top.  The dynamic circular deque of Chase and Lev (SPAA 2005) with the memory orders of Lê,
 * Pop, Cohen and Zappa Nardelli (PPoPP 2013).
 */
#ifndef RUNTIME_CORE_DEQUE_H
#define RUNTIME_CORE_DEQUE_H

#include <stdatomic.h>

#include "core/base.h"

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
};

/** Errors: -ENOMEM. */
int deque_init(struct deque *deque);
void deque_destroy(struct deque *deque);

/** Owner only.  Errors: -ENOMEM when full and it cannot grow; nothing was pushed. */
int deque_push(struct deque *deque, struct fiber *fiber);

/** The fiber pushed last, or NULL.  Owner only. */
struct fiber *deque_pop(struct deque *deque);

/** The fiber pushed first, or NULL when empty or another thief (or the owner) was faster. */
struct fiber *deque_steal(struct deque *deque);

/** Any thread; a hint, exact after a full barrier on both sides (see idle.h). */
bool deque_empty(const struct deque *deque);

/** Fibers in it.  Any thread; a hint. */
size_t deque_length(const struct deque *deque);

#endif
