/* SPDX-License-Identifier: MIT */
/* A bounded channel of fixed-size items between fibers (and threads, by the try_ calls).
 * Capacity 0 hands over directly.  Defaults of weft/weft.h apply. */
#ifndef WEFT_CHANNEL_H
#define WEFT_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_channel;

/** Context: any thread.  Errors: -EINVAL item_size is 0, -ENOMEM. */
int weft_channel_new(size_t item_size, size_t capacity, struct weft_channel **ret_channel);

/** Nobody may use it any more.  NULL does nothing.  Context: any thread. */
void weft_channel_free(struct weft_channel *channel);

/** Copy *item in, waiting for room until `deadline_ns` at most.
 * Errors: -EPIPE closed, -ETIMEDOUT, -ECANCELED; on an error the item was not sent. */
int weft_channel_send(struct weft_channel *channel, const void *item, uint64_t deadline_ns);

/** Copy the oldest item out, waiting for one until `deadline_ns` at most.
 * Errors: -EPIPE closed and empty, -ETIMEDOUT, -ECANCELED; on an error no item was taken. */
int weft_channel_recv(struct weft_channel *channel, void *ret_item, uint64_t deadline_ns);

/** Context: any thread.  Never suspends.  Errors: -EAGAIN no room, -EPIPE closed. */
int weft_channel_try_send(struct weft_channel *channel, const void *item);

/** Context: any thread.  Never suspends.  Errors: -EAGAIN empty, -EPIPE closed and empty. */
int weft_channel_try_recv(struct weft_channel *channel, void *ret_item);

/** Refuse further sends; waiting senders get -EPIPE, receivers what is left, then -EPIPE.
 * Context: any thread.  Never suspends.  A second close does nothing. */
void weft_channel_close(struct weft_channel *channel);

/** Items waiting now.  Context: any thread. */
size_t weft_channel_length(struct weft_channel *channel);

#ifdef __cplusplus
}
#endif
#endif
