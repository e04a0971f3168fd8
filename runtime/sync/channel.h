/* SPDX-License-Identifier: MIT */
/*
 * The inside of a channel, for those who operate on it under its lock: channel.c, one at a time,
 * and select.c, several at once.
 *
 *   I1  While a receiver can be claimed, the ring is empty and no sender can be: an item goes
 *       straight from its sender into the first receiver's buffer.  (But for the two sides of one
 *       select, which never meet: one wait cannot be claimed twice.)
 *   I2  While a sender can be claimed, the ring is full; whoever makes room moves the first
 *       sender's item into it.  So items leave in the order in which their senders came.
 *       Capacity 0 is a ring that is always full and always empty.
 *   I3  The claim is the commit: a waiter that is claimed has sent or received, one that is not has
 *       done neither.  The item moves after the claim and before the unlock, so an operation that
 *       fails has neither lost an item nor written to its caller's buffer; the claimed fiber
 *       settles before it looks (Q2).
 *   I4  Once closed, nobody waits: close claims all waiters, and no operation joins a queue after.
 */
#ifndef RUNTIME_SYNC_CHANNEL_H
#define RUNTIME_SYNC_CHANNEL_H

#include <errno.h>

#include "sync/item.h"
#include "sync/waitq.h"

struct weft_channel {
    struct spin lock;
    bool closed;            /* guarded by lock */
    size_t item_size;       /* constant */
    size_t capacity;        /* constant */
    size_t head;            /* guarded by lock: where the oldest item is */
    size_t length;          /* guarded by lock: items in the ring */
    struct waitq receivers; /* guarded by lock; their slots: where to put the item */
    struct waitq senders;   /* guarded by lock; their slots: the item */
    _Alignas(CACHE_LINE) unsigned char ring[]; /* guarded by lock */
};

static inline void channel_push(struct weft_channel *channel, const void *item)
{
    size_t tail = channel->head + channel->length;

    ASSERT(channel->length < channel->capacity);
    if (tail >= channel->capacity)
        tail -= channel->capacity;
    item_copy(channel->ring + tail * channel->item_size, item, channel->item_size);
    channel->length++;
}

static inline void channel_pop(struct weft_channel *channel, void *ret_item)
{
    ASSERT(channel->length > 0);
    item_copy(ret_item, channel->ring + channel->head * channel->item_size, channel->item_size);
    channel->length--;
    if (++channel->head == channel->capacity)
        channel->head = 0;
}

/* Send without waiting, under the lock.  Errors: -EAGAIN no room, -EPIPE closed. */
static inline int channel_put(struct weft_channel *channel, const void *item,
                              struct wait_batch *batch)
{
    struct waiter receiver;

    if (channel->closed)
        return -EPIPE;
    if (waitq_claim_first(&channel->receivers, &receiver, batch)) {
        item_copy(receiver.slot, item, channel->item_size);
        return 0;
    }
    if (channel->length == channel->capacity)
        return -EAGAIN;
    channel_push(channel, item);
    return 0;
}

/* Receive without waiting, under the lock.  Errors: -EAGAIN empty, -EPIPE closed and empty. */
static inline int channel_take(struct weft_channel *channel, void *ret_item,
                               struct wait_batch *batch)
{
    struct waiter sender;

    if (channel->length > 0) {
        channel_pop(channel, ret_item);
        if (waitq_claim_first(&channel->senders, &sender, batch))
            channel_push(channel, sender.slot);
        return 0;
    }
    if (waitq_claim_first(&channel->senders, &sender, batch)) {
        item_copy(ret_item, sender.slot, channel->item_size);
        return 0;
    }
    return channel->closed ? -EPIPE : -EAGAIN;
}

#endif
