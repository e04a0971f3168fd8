/* SPDX-License-Identifier: MIT */
/* A queue's items and their order; see store.h. */
#include "sync/store.h"

#include <errno.h>
#include <stdlib.h>

#include "sync/item.h"

/* A slot; the item follows. */
struct slot {
    uint64_t link; /* FIFO: the next slot; PRIORITY: the number of the push */
    unsigned char item[];
};

int store_init(struct store *store, size_t item_size, enum weft_queue_order order)
{
    size_t size;

    if (__builtin_add_overflow(item_size, sizeof(struct slot) + _Alignof(struct slot) - 1, &size))
        return -ENOMEM;
    *store = (struct store){.order = order,
                            .item_size = item_size,
                            .slot_size = size & ~(_Alignof(struct slot) - 1),
                            .free = STORE_NONE};
    return 0;
}

void store_destroy(struct store *store)
{
    for (unsigned i = 0; i < store->segment_count; i++)
        free(store->segments[i]);
}

void *store_segment(const struct store *store, unsigned number)
{
    size_t size;

    if (number >= STORE_SEGMENTS ||
        __builtin_mul_overflow((size_t)STORE_FIRST << number, store->slot_size, &size))
        return NULL;
    return malloc(size);
}

void store_grow(struct store *store, void *segment)
{
    store->room += (size_t)STORE_FIRST << store->segment_count;
    store->segments[store->segment_count++] = segment;
}

/* Segment k begins with slot STORE_FIRST * (2^k - 1). */
static struct slot *store_slot(const struct store *store, size_t number)
{
    size_t shifted = number + STORE_FIRST;
    unsigned segment = 63U - (unsigned)__builtin_clzll(shifted / STORE_FIRST);
    size_t place = shifted - ((size_t)STORE_FIRST << segment);
    char *slots = store->segments[segment];

    return (struct slot *)(void *)(slots + place * store->slot_size);
}

/* --- first in, first out: a list */

static size_t fifo_slot(struct store *store)
{
    size_t number = store->free;

    if (number == STORE_NONE)
        return store->fresh++;
    store->free = store_slot(store, number)->link;
    return number;
}

static void fifo_push(struct store *store, const void *item)
{
    size_t number = fifo_slot(store);

    item_copy(store_slot(store, number)->item, item, store->item_size);
    if (store->length == 0)
        store->first = number;
    else
        store_slot(store, store->last)->link = number;
    store->last = number;
}

static void fifo_pop(struct store *store, void *ret_item)
{
    size_t number = store->first;
    struct slot *slot = store_slot(store, number);

    item_copy(ret_item, slot->item, store->item_size);
    store->first = slot->link; /* of no meaning if it was the last */
    slot->link = store->free;
    store->free = number;
}

/* --- by priority: a heap whose root is slot 0 */

static int64_t slot_priority(const struct slot *slot)
{
    int64_t priority;

    memcpy(&priority, slot->item, sizeof(priority));
    return priority;
}

static bool slot_before(const struct slot *a, const struct slot *b)
{
    int64_t left = slot_priority(a), right = slot_priority(b);

    return left != right ? left < right : a->link < b->link;
}

/* Move what stands above a hole at the end down, until the new one fits there. */
static void heap_push(struct store *store, const void *item)
{
    size_t hole = store->length;
    int64_t priority;

    memcpy(&priority, item, sizeof(priority));
    while (hole > 0) {
        struct slot *parent = store_slot(store, (hole - 1) / 2);

        if (slot_priority(parent) <= priority) /* among equals, it was there first */
            break;
        memcpy(store_slot(store, hole), parent, store->slot_size);
        hole = (hole - 1) / 2;
    }
    struct slot *slot = store_slot(store, hole);
    slot->link = store->pushes++;
    item_copy(slot->item, item, store->item_size);
}

/* The smaller child of a slot in a heap of so many, or NULL. */
static struct slot *heap_child(struct store *store, size_t length, size_t parent, size_t *ret_child)
{
    size_t left = 2 * parent + 1;
    struct slot *child, *other;

    if (left >= length)
        return NULL;
    child = store_slot(store, left);
    *ret_child = left;
    if (left + 1 == length)
        return child;
    other = store_slot(store, left + 1);
    if (slot_before(child, other))
        return child;
    *ret_child = left + 1;
    return other;
}

/* Take the root out, and let the last one sink from there. */
static void heap_pop(struct store *store, void *ret_item)
{
    size_t length = store->length - 1, hole = 0, child_number;
    struct slot *last = store_slot(store, length), *child;

    item_copy(ret_item, store_slot(store, 0)->item, store->item_size);
    while ((child = heap_child(store, length, hole, &child_number)) && slot_before(child, last)) {
        memcpy(store_slot(store, hole), child, store->slot_size);
        hole = child_number;
    }
    if (hole != length)
        memcpy(store_slot(store, hole), last, store->slot_size);
}

/* --- */

void store_add(struct store *store, const void *item)
{
    ASSERT(store_has_room(store));
    switch (store->order) {
    case WEFT_QUEUE_FIFO:
        fifo_push(store, item);
        break;
    case WEFT_QUEUE_LIFO:
        item_copy(store_slot(store, store->length)->item, item, store->item_size);
        break;
    case WEFT_QUEUE_PRIORITY:
        heap_push(store, item);
        break;
    }
    store->length++;
}

void store_pop(struct store *store, void *ret_item)
{
    ASSERT(store->length > 0);
    switch (store->order) {
    case WEFT_QUEUE_FIFO:
        fifo_pop(store, ret_item);
        break;
    case WEFT_QUEUE_LIFO:
        item_copy(ret_item, store_slot(store, store->length - 1)->item, store->item_size);
        break;
    case WEFT_QUEUE_PRIORITY:
        heap_pop(store, ret_item);
        break;
    }
    store->length--;
}

void store_clear(struct store *store)
{
    store->length = 0;
    store->free = STORE_NONE;
    store->fresh = 0;
}
