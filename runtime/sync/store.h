/* SPDX-License-Identifier: MIT */
/*
 * Where a queue keeps its items, and which of them is next: first in first out, last in first out,
 * or the least priority (a binary heap, stable by a number that grows with each push).
 *
 *   T1  Slots are numbered, and lie in segments of which each is twice as large as the one before.
 *       A segment never moves, so growing copies nothing; it is allocated outside the queue's lock
 *       and added under it.  Segments go with the store.
 *   T2  Slots in use: by LIFO and PRIORITY 0 to length - 1; by FIFO those on the list from `first`.
 *       FIFO's other slots are on the list of free ones, or were never used: `fresh` and beyond.
 *
 * No locking of its own, and no errors: who pushes has made sure that there is room, who pops that
 * there is an item.
 */
#ifndef RUNTIME_SYNC_STORE_H
#define RUNTIME_SYNC_STORE_H

#include "core/base.h"
#include "weft/queue.h"

enum {
    STORE_FIRST = 32,   /* slots of the first segment */
    STORE_SEGMENTS = 40 /* more than memory can hold */
};

struct store {
    enum weft_queue_order order; /* constant */
    size_t item_size;            /* constant */
    size_t slot_size;            /* constant */
    size_t length;               /* items */
    size_t room;                 /* slots in all segments */
    unsigned segment_count;
    uint64_t pushes;    /* PRIORITY: ever */
    size_t first, last; /* FIFO: slots, if length > 0 */
    size_t free, fresh; /* FIFO: see T2; `free` is STORE_NONE or a slot */
    void *segments[STORE_SEGMENTS];
};

#define STORE_NONE SIZE_MAX

/** Errors: -ENOMEM the items are too large. */
int store_init(struct store *store, size_t item_size, enum weft_queue_order order);
void store_destroy(struct store *store);

/** Memory for the segment of that number; the caller frees it if it does not add it.  NULL: there
 * is none. */
void *store_segment(const struct store *store, unsigned number);

/** Add the next segment. */
void store_grow(struct store *store, void *segment);

static inline bool store_has_room(const struct store *store)
{
    return store->length < store->room;
}

void store_add(struct store *store, const void *item);
void store_pop(struct store *store, void *ret_item);

/** Forget all items. */
void store_clear(struct store *store);

#endif
