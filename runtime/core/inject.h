/* SPDX-License-Identifier: MIT */
/* The queue of fibers that no worker holds: woken or spawned by plain threads, and what overflows a
 * worker's ring.  One per runtime, FIFO, a spin lock and a list. */
#ifndef RUNTIME_CORE_INJECT_H
#define RUNTIME_CORE_INJECT_H

#include <stdatomic.h>

#include "core/spin.h"

struct fiber;

struct inject {
    _Alignas(CACHE_LINE) struct spin lock;
    struct fiber *head, *tail; /* linked by fiber->next; guarded by lock */
    atomic_size_t length;      /* written under lock; read without it as a hint (seq_cst: idle.h) */
};

/** Append a list of `count` fibers linked by next.  Any thread. */
void inject_push(struct inject *inject, struct fiber *first, struct fiber *last, size_t count);

/** Take up to `most` from the front, linked by next.  Any thread.
 * Returns: the first or NULL; `ret_count` gets how many. */
struct fiber *inject_take(struct inject *inject, size_t most, size_t *ret_count);

static inline size_t inject_length(struct inject *inject)
{
    return atomic_load_explicit(&inject->length, memory_order_seq_cst);
}

#endif
