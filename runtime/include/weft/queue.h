/* SPDX-License-Identifier: MIT */
/*
 * A queue of fixed-size items between fibers (and threads, by the try_ calls): first in first out,
 * last in first out, or by priority; bounded or not; with a count of what is still being worked on.
 * For mere passing-on a channel (weft/channel.h) is quicker, and can be selected on.
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_queue;

enum weft_queue_order {
    WEFT_QUEUE_FIFO,
    WEFT_QUEUE_LIFO,
    WEFT_QUEUE_PRIORITY /* each item begins with an int64_t, its priority: the least comes first,
                           and among equals the one that was put first */
};

/** A queue of at most `maxsize` items; 0: as many as there is memory for.  Context: any thread.
 * Errors: -EINVAL item_size is 0, or too small for a priority, or the order unknown; -ENOMEM. */
int weft_queue_new(size_t item_size, size_t maxsize, enum weft_queue_order order,
                   struct weft_queue **ret_queue);

/** Nobody may use it any more; what is still in it is forgotten.  NULL does nothing.
 * Context: any thread. */
void weft_queue_free(struct weft_queue *queue);

/** Copy *item in, waiting for room until `deadline_ns` at most.
 * Errors: -EPIPE shut down, -ETIMEDOUT, -ECANCELED, -ENOMEM (only without a maxsize); on an error
 * the item was not put. */
int weft_queue_put(struct weft_queue *queue, const void *item, uint64_t deadline_ns);

/** Copy the next item out, waiting for one until `deadline_ns` at most.
 * Errors: -EPIPE shut down and empty, -ETIMEDOUT, -ECANCELED; on an error no item was taken. */
int weft_queue_get(struct weft_queue *queue, void *ret_item, uint64_t deadline_ns);

/** Context: any thread.  Never suspends.  Errors: -EAGAIN full, -EPIPE shut down, -ENOMEM. */
int weft_queue_try_put(struct weft_queue *queue, const void *item);

/** Context: any thread.  Never suspends.  Errors: -EAGAIN empty, -EPIPE shut down and empty. */
int weft_queue_try_get(struct weft_queue *queue, void *ret_item);

/** The work on an item that was got is done; once for each item.  Context: any thread.  Never
 * suspends.  Errors: -EINVAL called more often than items were put. */
int weft_queue_task_done(struct weft_queue *queue);

/** Wait until all that was put is done, `deadline_ns` at most; at once if nothing ever was.
 * Errors: -ETIMEDOUT, -ECANCELED. */
int weft_queue_join(struct weft_queue *queue, uint64_t deadline_ns);

/**
 * Refuse further puts; who waits to put gets -EPIPE.  Who gets, gets what is left, then -EPIPE; or,
 * if `immediate`, at once: what is left is thrown away, and counts as done.
 * Context: any thread.  Never suspends.  May be called again, to make it immediate.
 */
void weft_queue_shutdown(struct weft_queue *queue, bool immediate);

/** Items in it now.  Context: any thread.  Never suspends. */
size_t weft_queue_length(struct weft_queue *queue);

/** Whether it holds nothing now.  Context: any thread.  Never suspends. */
bool weft_queue_empty(struct weft_queue *queue);

/** Whether it holds `maxsize` items now; never without a maxsize.  Context: any thread.  Never
 * suspends. */
bool weft_queue_full(struct weft_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
