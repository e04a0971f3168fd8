/* SPDX-License-Identifier: MIT */
/*
 * The Chase-Lev deque.
 *
 *   D1  Elements live in [top, bottom).  Only the owner writes bottom and slots; top only grows.
 *   D2  push: the slot is written before bottom is released; a thief acquires bottom.
 *   D3  pop and steal race for the last element by CAS on top.  The owner's store of bottom and its
 *       load of top, and a thief's load of top and its load of bottom, are each separated by a full
 *       barrier: otherwise both could take the same element.
 *       Where nobody steals (`alone`), the owner needs neither barrier nor CAS.
 *   D4  A thief may still read an outgrown ring, whose slots in [top, bottom) stay valid; so rings
 *       are freed only with the deque.  Their sum is less than the largest.
 *
 * ThreadSanitizer ignores fences; under it the operations around them are sequentially consistent.
 */
#include "core/deque.h"

#include <errno.h>
#include <stdlib.h>

enum { INITIAL_SLOTS = 256 };

static struct deque_ring *ring_new(int64_t slots, struct deque_ring *outgrown)
{
    struct deque_ring *ring = malloc(sizeof(*ring) + (size_t)slots * sizeof(ring->slots[0]));

    if (!ring)
        return NULL;
    ring->outgrown = outgrown;
    ring->mask = slots - 1;
    return ring;
}

int deque_init(struct deque *deque, bool alone)
{
    struct deque_ring *ring = ring_new(INITIAL_SLOTS, NULL);

    if (!ring)
        return -ENOMEM;
    atomic_init(&deque->top, 0);
    atomic_init(&deque->bottom, 0);
    atomic_init(&deque->ring, ring);
    deque->alone = alone;
    return 0;
}

void deque_destroy(struct deque *deque)
{
    struct deque_ring *ring = atomic_load_explicit(&deque->ring, memory_order_relaxed);

    while (ring) {
        struct deque_ring *outgrown = ring->outgrown;

        free(ring);
        ring = outgrown;
    }
}

struct deque_ring *deque_grow(struct deque *deque, int64_t top, int64_t bottom)
{
    struct deque_ring *old = atomic_load_explicit(&deque->ring, memory_order_relaxed);
    struct deque_ring *ring = ring_new((old->mask + 1) * 2, old);

    if (!ring)
        return NULL;
    for (int64_t i = top; i < bottom; i++)
        deque_set(ring, i, deque_get(old, i));
    atomic_store_explicit(&deque->ring, ring, memory_order_release); /* pairs with deque_steal */
    return ring;
}

struct fiber *deque_steal(struct deque *deque)
{
    int64_t top = atomic_load_explicit(&deque->top, memory_order_acquire);
    struct deque_ring *ring;
    struct fiber *fiber;
    int64_t bottom;

    deque_fence(); /* D3 */
#ifdef WITH_TSAN
    top = atomic_load_explicit(&deque->top, memory_order_seq_cst);
    bottom = atomic_load_explicit(&deque->bottom, memory_order_seq_cst);
#else
    bottom = atomic_load_explicit(&deque->bottom, memory_order_acquire); /* D2 */
#endif
    if (top >= bottom)
        return NULL;
    shake();
    ring = atomic_load_explicit(&deque->ring, memory_order_acquire); /* pairs with deque_grow */
    fiber = deque_get(ring, top);
    if (!atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                 memory_order_relaxed))
        return NULL;
    return fiber;
}

bool deque_empty(const struct deque *deque)
{
    struct deque *d = (struct deque *)deque;
    int64_t top = atomic_load_explicit(&d->top, memory_order_acquire);

    return top >= atomic_load_explicit(&d->bottom, memory_order_acquire);
}

size_t deque_length(const struct deque *deque)
{
    int64_t top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);

    return bottom > top ? (size_t)(bottom - top) : 0;
}
