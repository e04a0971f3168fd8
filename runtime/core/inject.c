/* SPDX-License-Identifier: MIT */
/* The inject queue.  The length is written inside the lock and read outside, so an empty queue
 * costs its readers no lock. */
#include "core/inject.h"

#include "core/fiber.h"

void inject_push(struct inject *inject, struct fiber *first, struct fiber *last, size_t count)
{
    last->next = NULL;
    spin_lock(&inject->lock);
    if (inject->tail)
        inject->tail->next = first;
    else
        inject->head = first;
    inject->tail = last;
    atomic_store_explicit(&inject->length,
                          atomic_load_explicit(&inject->length, memory_order_relaxed) + count,
                          memory_order_seq_cst); /* pairs with the rescan in worker_park */
    spin_unlock(&inject->lock);
}

struct fiber *inject_take(struct inject *inject, size_t most, size_t *ret_count)
{
    struct fiber *first, *last = NULL;
    size_t count = 0;

    if (inject_length(inject) == 0 || most == 0)
        return NULL;
    spin_lock(&inject->lock);
    first = inject->head;
    for (struct fiber *fiber = first; fiber && count < most; fiber = fiber->next) {
        last = fiber;
        count++;
    }
    if (last) {
        inject->head = last->next;
        if (!inject->head)
            inject->tail = NULL;
        last->next = NULL;
    }
    atomic_store_explicit(&inject->length,
                          atomic_load_explicit(&inject->length, memory_order_relaxed) - count,
                          memory_order_relaxed);
    spin_unlock(&inject->lock);
    if (!first)
        return NULL;
    *ret_count = count;
    return first;
}
