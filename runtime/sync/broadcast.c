/* SPDX-License-Identifier: MIT */
/*
 * The broadcast: a ring of the last items, numbered from 0 as they are sent; receivers that each
 * know the number of their next one; and a queue of fibers that wait for one to be sent.
 *
 *   I1  Item n is in the ring while sent - n is 1 to capacity.  A receiver whose next is older has
 *       lost those in between; it is told once, and goes on with the oldest there is.
 *   I2  A receiver waits only when it has seen all: its next is `sent`.  A send claims all who
 *       wait, and puts the item into their buffers after the claim and before the unlock; so those
 *       never lag, and one that is not claimed has not moved on.
 *   I3  `next` and `lost` belong to the fiber or thread that uses the receiver; senders know only
 *       the waiters.
 *   I4  Once closed, nobody waits.
 *
 * Sending, subscribing, closing and try_recv are for any thread; waiting for fibers.  Senders never
 * wait, and no receiver holds another or a sender back.
 */
#include "weft/broadcast.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "sync/item.h"
#include "sync/waitq.h"

struct weft_broadcast {
    struct spin lock;
    bool closed;          /* guarded by lock */
    unsigned subscribed;  /* guarded by lock: receivers */
    size_t item_size;     /* constant */
    size_t capacity;      /* constant */
    uint64_t sent;        /* guarded by lock: items, ever */
    struct waitq waiters; /* guarded by lock; their slots: where to put the item */
    _Alignas(CACHE_LINE) unsigned char ring[]; /* guarded by lock */
};

struct receiver {
    struct weft_broadcast *broadcast; /* constant */
    uint64_t next;                    /* I3 */
    uint64_t lost;                    /* I3: when it was told last */
};

_Static_assert(sizeof(struct receiver) <= sizeof(struct weft_broadcast_receiver), "too small");
_Static_assert(_Alignof(struct receiver) <= _Alignof(struct weft_broadcast_receiver), "unaligned");

static struct receiver *receiver_of(struct weft_broadcast_receiver *receiver)
{
    return (struct receiver *)(void *)receiver;
}

int weft_broadcast_new(size_t item_size, size_t capacity, struct weft_broadcast **ret_broadcast)
{
    struct weft_broadcast *broadcast;
    void *memory;
    size_t size;

    if (item_size == 0 || capacity == 0)
        return -EINVAL;
    if (__builtin_mul_overflow(item_size, capacity, &size) ||
        __builtin_add_overflow(size, sizeof(*broadcast), &size))
        return -ENOMEM;
    if (posix_memalign(&memory, CACHE_LINE, size) != 0)
        return -ENOMEM;

    broadcast = memory;
    memset(broadcast, 0, sizeof(*broadcast));
    broadcast->item_size = item_size;
    broadcast->capacity = capacity;
    *ret_broadcast = broadcast;
    return 0;
}

void weft_broadcast_free(struct weft_broadcast *broadcast)
{
    if (!broadcast)
        return;
    CHECK(waitq_empty(&broadcast->waiters));
    free(broadcast);
}

static void *broadcast_place(struct weft_broadcast *broadcast, uint64_t number)
{
    return broadcast->ring + number % broadcast->capacity * broadcast->item_size;
}

/* Under the lock.  Returns: receivers.  Errors: -EPIPE. */
static int broadcast_put(struct weft_broadcast *broadcast, const void *item,
                         struct wait_batch *batch)
{
    struct waiter waiter;

    if (broadcast->closed)
        return -EPIPE;
    item_copy(broadcast_place(broadcast, broadcast->sent), item, broadcast->item_size);
    broadcast->sent++;
    while (waitq_claim_first(&broadcast->waiters, &waiter, batch)) /* I2 */
        item_copy(waiter.slot, item, broadcast->item_size);
    return broadcast->subscribed < INT_MAX ? (int)broadcast->subscribed : INT_MAX;
}

int weft_broadcast_send(struct weft_broadcast *broadcast, const void *item)
{
    struct wait_batch batch = {0};

    spin_lock(&broadcast->lock);
    int r = broadcast_put(broadcast, item, &batch);
    spin_unlock(&broadcast->lock);
    waitq_wake(&batch);
    return r;
}

void weft_broadcast_close(struct weft_broadcast *broadcast)
{
    struct wait_batch batch = {0};

    spin_lock(&broadcast->lock);
    broadcast->closed = true;
    waitq_claim_all(&broadcast->waiters, -EPIPE, &batch);
    spin_unlock(&broadcast->lock);
    waitq_wake(&batch);
}

void weft_broadcast_subscribe(struct weft_broadcast *broadcast,
                              struct weft_broadcast_receiver *ret_receiver)
{
    struct receiver *receiver = receiver_of(ret_receiver);

    *ret_receiver = (struct weft_broadcast_receiver){0};
    receiver->broadcast = broadcast;
    spin_lock(&broadcast->lock);
    receiver->next = broadcast->sent;
    broadcast->subscribed++;
    spin_unlock(&broadcast->lock);
}

void weft_broadcast_unsubscribe(struct weft_broadcast_receiver *public)
{
    struct weft_broadcast *broadcast = receiver_of(public)->broadcast;

    spin_lock(&broadcast->lock);
    CHECK(broadcast->subscribed > 0);
    broadcast->subscribed--;
    spin_unlock(&broadcast->lock);
}

/* Under the lock.  Errors: -EAGAIN, -EOVERFLOW, -EPIPE. */
static int broadcast_take(struct weft_broadcast *broadcast, struct receiver *receiver,
                          void *ret_item)
{
    uint64_t behind = broadcast->sent - receiver->next;

    if (behind == 0)
        return broadcast->closed ? -EPIPE : -EAGAIN;
    if (behind > broadcast->capacity) {
        receiver->lost = behind - broadcast->capacity; /* I1 */
        receiver->next += receiver->lost;
        return -EOVERFLOW;
    }
    item_copy(ret_item, broadcast_place(broadcast, receiver->next), broadcast->item_size);
    receiver->next++;
    return 0;
}

/* Wait for the next send.  Entered with the lock, which it drops. */
static int broadcast_wait(struct weft_broadcast *broadcast, struct receiver *receiver,
                          void *ret_item, uint64_t deadline_ns)
{
    struct waiter waiter;

    int r = waitq_join(&broadcast->waiters, &waiter, ret_item, WAITQ_CANCELLABLE);
    spin_unlock(&broadcast->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "broadcast", broadcast);
    r = waitq_suspend(&waiter, &broadcast->lock, deadline_ns);
    if (r == 0)
        receiver->next++; /* the item came with the claim */
    return r;
}

int weft_broadcast_recv(struct weft_broadcast_receiver *public, void *ret_item,
                        uint64_t deadline_ns)
{
    struct receiver *receiver = receiver_of(public);
    struct weft_broadcast *broadcast = receiver->broadcast;
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&broadcast->lock);
    r = broadcast_take(broadcast, receiver, ret_item);
    if (r == -EAGAIN)
        return broadcast_wait(broadcast, receiver, ret_item, deadline_ns);
    spin_unlock(&broadcast->lock);
    return r;
}

int weft_broadcast_try_recv(struct weft_broadcast_receiver *public, void *ret_item)
{
    struct receiver *receiver = receiver_of(public);
    struct weft_broadcast *broadcast = receiver->broadcast;

    spin_lock(&broadcast->lock);
    int r = broadcast_take(broadcast, receiver, ret_item);
    spin_unlock(&broadcast->lock);
    return r;
}

uint64_t weft_broadcast_lost(const struct weft_broadcast_receiver *public)
{
    return ((const struct receiver *)(const void *)public)->lost;
}
