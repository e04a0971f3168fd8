/* SPDX-License-Identifier: MIT */
/*
 * A broadcast: each receiver gets every item that was sent after it subscribed, in order.  Sending
 * never waits: the last `capacity` items are kept, and a receiver that falls further behind is told
 * how many it has lost.  Defaults of weft/weft.h apply.
 */
#ifndef WEFT_BROADCAST_H
#define WEFT_BROADCAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_broadcast;

/* A receiver's place in the stream of items; for one fiber (or thread) at a time.  Caller-owned;
 * its content is private. */
struct weft_broadcast_receiver {
    uint64_t opaque[4];
};

/** Context: any thread.  Errors: -EINVAL item_size or capacity is 0, -ENOMEM. */
int weft_broadcast_new(size_t item_size, size_t capacity, struct weft_broadcast **ret_broadcast);

/** Nobody may use it any more, subscribed or not.  NULL does nothing.  Context: any thread. */
void weft_broadcast_free(struct weft_broadcast *broadcast);

/** Send *item to all receivers.  Context: any thread.  Never suspends.
 * Returns: how many are subscribed; 0: nobody, and the item is gone.  Errors: -EPIPE closed. */
int weft_broadcast_send(struct weft_broadcast *broadcast, const void *item);

/** Refuse further sends; receivers get what is left for them, then -EPIPE.
 * Context: any thread.  Never suspends.  A second close does nothing. */
void weft_broadcast_close(struct weft_broadcast *broadcast);

/** Fill `ret_receiver`, which gets what is sent from now on.  Context: any thread.  Never
 * suspends. */
void weft_broadcast_subscribe(struct weft_broadcast *broadcast,
                              struct weft_broadcast_receiver *ret_receiver);

/** The receiver wants no more items and may go away.  Context: any thread.  Never suspends. */
void weft_broadcast_unsubscribe(struct weft_broadcast_receiver *receiver);

/**
 * Copy the receiver's next item out, waiting for one until `deadline_ns` at most.
 * Errors: -EOVERFLOW items were lost: weft_broadcast_lost says how many, and the next call gives
 *         the oldest that is still there; -EPIPE closed, and all has been received; -ETIMEDOUT,
 *         -ECANCELED: no item was taken.
 */
int weft_broadcast_recv(struct weft_broadcast_receiver *receiver, void *ret_item,
                        uint64_t deadline_ns);

/** As weft_broadcast_recv without waiting.  Context: any thread.  Never suspends.
 * Errors: -EAGAIN nothing new, -EOVERFLOW, -EPIPE. */
int weft_broadcast_try_recv(struct weft_broadcast_receiver *receiver, void *ret_item);

/** How many items were lost when the receiver last got -EOVERFLOW.  Never suspends. */
uint64_t weft_broadcast_lost(const struct weft_broadcast_receiver *receiver);

#ifdef __cplusplus
}
#endif
#endif
