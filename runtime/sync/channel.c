/* SPDX-License-Identifier: MIT */
/*
 * The channel: a ring of items, a queue of fibers that wait for an item, and one of fibers that
 * wait to be rid of theirs.  I1 to I4 stand in sync/channel.h.
 *
 *   I5  An operation that did not have to wait has let go of the channel when its effect can be
 *       seen (Q1, Q2); one that waited has when it returns.  So the receiver of the last item may
 *       free a channel that has room for all that is ever sent, without knowing whether the sender
 *       has returned.
 *
 * One locked section per operation, two for a wait that fails; no allocation after _new.
 * The try_ calls, close and length are for any thread; the waiting ones for fibers.
 */
#include "weft/channel.h"

#include <stdlib.h>

#include "sync/channel.h"

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

/* Wait in `queue` to be claimed.  Entered with the lock, which it drops. */
static inline int channel_wait(struct weft_channel *channel, struct fiber *self,
                               struct waitq *queue, void *slot, uint64_t deadline_ns)
{
    const char *kind = queue == &channel->senders ? "channel send" : "channel recv";
    struct waiter waiter;

    int r = waitq_join_as(self, queue, &waiter, slot, WAITQ_CANCELLABLE);
    spin_unlock(&channel->lock);
    if (r < 0)
        return r;
    park_describe(&waiter, kind, channel);
    return waitq_suspend(&waiter, &channel->lock, deadline_ns);
}

int weft_channel_send(struct weft_channel *channel, const void *item, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    struct fiber *self = fiber_running();
    int r = fiber_peek_cancel(self);
    if (unlikely(r < 0))
        return r;

    spin_lock(&channel->lock);
    r = channel_put(channel, item, &batch);
    if (r == -EAGAIN) /* the slot is only read from: the cast drops a const that nobody misses */
        return channel_wait(channel, self, &channel->senders, (void *)item, deadline_ns);
    spin_unlock(&channel->lock);
    waitq_wake_as(self, &batch);
    return r;
}

int weft_channel_recv(struct weft_channel *channel, void *ret_item, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    struct fiber *self = fiber_running();
    int r = fiber_peek_cancel(self);
    if (unlikely(r < 0))
        return r;

    spin_lock(&channel->lock);
    r = channel_take(channel, ret_item, &batch);
    if (r == -EAGAIN)
        return channel_wait(channel, self, &channel->receivers, ret_item, deadline_ns);
    spin_unlock(&channel->lock);
    waitq_wake_as(self, &batch);
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
