/* SPDX-License-Identifier: MIT */
/*
 * The Chase-Lev deque.
 *
 *   D1  Elements live in [top, bottom).  Only the owner writes bottom and slots; top only grows.
 *   D2  push: the slot is written before bottom is released; a thief acquires bottom.
 *   D3  pop and steal race for the last element by CAS on top.  The owner's store of bottom and its
 *       load of top, and a thief's load of top and its load of bottom, are each separated by a full
 *       barrier: otherwise both could take the same element.
 *   D4  A thief may still read an outgrown ring, whose slots in [top, bottom) stay valid; so rings
 *       are freed only with the deque.  Their sum is less than the largest.
 *
 * ThreadSanitizer ignores fences; under it the operations around them are sequentially consistent.
 */
#include "core/deque.h"

#include <errno.h>
#include <stdlib.h>

#include "core/shake.h"

enum { INITIAL_SLOTS = 256 };

#ifdef WITH_TSAN
#define FENCED memory_order_seq_cst
static inline void full_fence(void) {}
#else
#define FENCED memory_order_relaxed
static inline void full_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}
#endif

static struct deque_ring *ring_new(int64_t slots, struct deque_ring *outgrown)
{
    struct deque_ring *ring = malloc(sizeof(*ring) + (size_t)slots * sizeof(ring->slots[0]));

    if (!ring)
        return NULL;
    ring->outgrown = outgrown;
    ring->mask = slots - 1;
    return ring;
}

static inline struct fiber *ring_get(struct deque_ring *ring, int64_t index)
{
    return atomic_load_explicit(&ring->slots[index & ring->mask], memory_order_relaxed);
}

static inline void ring_set(struct deque_ring *ring, int64_t index, struct fiber *fiber)
{
    atomic_store_explicit(&ring->slots[index & ring->mask], fiber, memory_order_relaxed);
}

int deque_init(struct deque *deque)
{
    struct deque_ring *ring = ring_new(INITIAL_SLOTS, NULL);

    if (!ring)
        return -ENOMEM;
    atomic_init(&deque->top, 0);
    atomic_init(&deque->bottom, 0);
    atomic_init(&deque->ring, ring);
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

static struct deque_ring *deque_grow(struct deque *deque, int64_t top, int64_t bottom)
{
    struct deque_ring *old = atomic_load_explicit(&deque->ring, memory_order_relaxed);
    struct deque_ring *ring = ring_new((old->mask + 1) * 2, old);

    if (!ring)
        return NULL;
    for (int64_t i = top; i < bottom; i++)
        ring_set(ring, i, ring_get(old, i));
    atomic_store_explicit(&deque->ring, ring, memory_order_release); /* pairs with deque_steal */
    return ring;
}

int deque_push(struct deque *deque, struct fiber *fiber)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    int64_t top = atomic_load_explicit(&deque->top, memory_order_acquire); /* pairs with steal */
    struct deque_ring *ring = atomic_load_explicit(&deque->ring, memory_order_relaxed);

    if (unlikely(bottom - top > ring->mask)) {
        ring = deque_grow(deque, top, bottom);
        if (!ring)
            return -ENOMEM;
    }
    ring_set(ring, bottom, fiber);
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_release); /* D2 */
    return 0;
}

struct fiber *deque_pop(struct deque *deque)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed) - 1;
    struct deque_ring *ring = atomic_load_explicit(&deque->ring, memory_order_relaxed);
    struct fiber *fiber;
    int64_t top;

    /* top only grows: what looks empty now is empty, and needs no barrier. */
    if (atomic_load_explicit(&deque->top, memory_order_relaxed) > bottom)
        return NULL;
    atomic_store_explicit(&deque->bottom, bottom, FENCED);
    full_fence(); /* D3 */
    top = atomic_load_explicit(&deque->top, FENCED);
    if (top > bottom) {
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
        return NULL;
    }
    shake();
    fiber = ring_get(ring, bottom);
    if (likely(top < bottom))
        return fiber;
    if (!atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                 memory_order_relaxed))
        fiber = NULL;
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
    return fiber;
}

struct fiber *deque_steal(struct deque *deque)
{
    int64_t top = atomic_load_explicit(&deque->top, memory_order_acquire);
    struct deque_ring *ring;
    struct fiber *fiber;
    int64_t bottom;

    full_fence(); /* D3 */
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
    fiber = ring_get(ring, top);
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
