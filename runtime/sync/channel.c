/* SPDX-License-Identifier: MIT */
/*
 * The channel: a ring of items, a queue of fibers that wait for an item, and one of fibers that
 * wait to be rid of theirs.
 *
 *   I1  While a receiver can be claimed, the ring is empty and no sender can be: an item goes
 *       straight from its sender into the first receiver's buffer.
 *   I2  While a sender can be claimed, the ring is full; whoever makes room moves the first
 *       sender's item into it.  So items leave in the order in which their senders came.
 *       Capacity 0 is a ring that is always full and always empty.
 *   I3  The claim is the commit: a waiter that is claimed has sent or received, one that is not has
 *       done neither.  The item moves after the claim and before the unlock, so an operation that
 *       fails has neither lost an item nor written to its caller's buffer; the claimed fiber
 *       settles before it looks (Q2).
 *   I4  Once closed, nobody waits: close claims all waiters, and no operation joins a queue after.
 *   I5  An operation that did not have to wait has let go of the channel when its effect can be
 *       seen (Q1, Q2); one that waited has when it returns.  So the receiver of the last item may
 *       free a channel that has room for all that is ever sent, without knowing whether the sender
 *       has returned.
 *
 * One locked section per operation, two for a wait that fails; no allocation after _new.
 * The try_ calls, close and length are for any thread; the waiting ones for fibers.
 */
#include "weft/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int weft_channel_new(size_t item_size, size_t capacity, struct weft_channel **ret_channel)
{
    struct weft_channel *channel;
    void *memory;
    size_t size;

    if (item_size == 0)
        return -EINVAL;
    if (__builtin_mul_overflow(item_size, capacity, &size) ||
        __builtin_add_overflow(size, sizeof(*channel), &size))
        return -ENOMEM;
    if (posix_memalign(&memory, CACHE_LINE, size) != 0)
        return -ENOMEM;

    channel = memory;
    memset(channel, 0, sizeof(*channel));
    channel->item_size = item_size;
    channel->capacity = capacity;
    *ret_channel = channel;
    return 0;
}

void weft_channel_free(struct weft_channel *channel)
{
    if (!channel)
        return;
    CHECK(waitq_empty(&channel->receivers) && waitq_empty(&channel->senders));
    free(channel);
}

/* Most items are a pointer or a number: let the compiler make that one move. */
static inline void item_copy(void *to, const void *from, size_t size)
{
    if (likely(size == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, size);
}

static void ring_push(struct weft_channel *channel, const void *item)
{
    size_t tail = channel->head + channel->length;

    ASSERT(channel->length < channel->capacity);
    if (tail >= channel->capacity)
        tail -= channel->capacity;
    item_copy(channel->ring + tail * channel->item_size, item, channel->item_size);
    channel->length++;
}

static void ring_pop(struct weft_channel *channel, void *ret_item)
{
    ASSERT(channel->length > 0);
    item_copy(ret_item, channel->ring + channel->head * channel->item_size, channel->item_size);
    channel->length--;
    if (++channel->head == channel->capacity)
        channel->head = 0;
}

/* Send without waiting, under the lock.  Errors: -EAGAIN no room, -EPIPE closed. */
static int channel_put(struct weft_channel *channel, const void *item, struct wait_batch *batch)
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
    ring_push(channel, item);
    return 0;
}

/* Receive without waiting, under the lock.  Errors: -EAGAIN empty, -EPIPE closed and empty. */
static int channel_take(struct weft_channel *channel, void *ret_item, struct wait_batch *batch)
{
    struct waiter sender;

    if (channel->length > 0) {
        ring_pop(channel, ret_item);
        if (waitq_claim_first(&channel->senders, &sender, batch))
            ring_push(channel, sender.slot);
        return 0;
    }
    if (waitq_claim_first(&channel->senders, &sender, batch)) {
        item_copy(ret_item, sender.slot, channel->item_size);
        return 0;
    }
    return channel->closed ? -EPIPE : -EAGAIN;
}

/* Wait in `queue` to be claimed.  Entered with the lock, which it drops. */
static int channel_wait(struct weft_channel *channel, struct waitq *queue, void *slot,
                        uint64_t deadline_ns)
{
    struct waiter waiter;

    int r = waitq_join(queue, &waiter, slot, WAITQ_CANCELLABLE);
    spin_unlock(&channel->lock);
    if (r < 0)
        return r;
    return waitq_suspend(&waiter, &channel->lock, deadline_ns);
}

int weft_channel_send(struct weft_channel *channel, const void *item, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&channel->lock);
    r = channel_put(channel, item, &batch);
    if (r == -EAGAIN) /* the slot is only read from: the cast drops a const that nobody misses */
        return channel_wait(channel, &channel->senders, (void *)item, deadline_ns);
    spin_unlock(&channel->lock);
    waitq_wake(&batch);
    return r;
}

int weft_channel_recv(struct weft_channel *channel, void *ret_item, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&channel->lock);
    r = channel_take(channel, ret_item, &batch);
    if (r == -EAGAIN)
        return channel_wait(channel, &channel->receivers, ret_item, deadline_ns);
    spin_unlock(&channel->lock);
    waitq_wake(&batch);
    return r;
}

int weft_channel_try_send(struct weft_channel *channel, const void *item)
{
    struct wait_batch batch = {0};

    spin_lock(&channel->lock);
    int r = channel_put(channel, item, &batch);
    spin_unlock(&channel->lock);
    waitq_wake(&batch);
    return r;
}

int weft_channel_try_recv(struct weft_channel *channel, void *ret_item)
{
    struct wait_batch batch = {0};

    spin_lock(&channel->lock);
    int r = channel_take(channel, ret_item, &batch);
    spin_unlock(&channel->lock);
    waitq_wake(&batch);
    return r;
}

void weft_channel_close(struct weft_channel *channel)
{
    struct wait_batch batch = {0};

    spin_lock(&channel->lock);
    channel->closed = true;
    waitq_claim_all(&channel->receivers, -EPIPE, &batch);
    waitq_claim_all(&channel->senders, -EPIPE, &batch);
    spin_unlock(&channel->lock);
    waitq_wake(&batch);
}

size_t weft_channel_length(struct weft_channel *channel)
{
    spin_lock(&channel->lock);
    size_t length = channel->length;
    spin_unlock(&channel->lock);
    return length;
}
