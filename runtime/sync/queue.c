/* SPDX-License-Identifier: MIT */
/*
 * The queue: a store of items (store.h has their order), a queue of fibers that want an item, one
 * of fibers that wait to be rid of theirs, one of fibers that wait for all work to be done, and the
 * count of that work.
 *
 *   I1  While a getter can be claimed the store is empty, and an item goes straight from its putter
 *       into the first getter's buffer.  While a putter can be claimed the store is full; whoever
 *       makes room moves the first putter's item into it.
 *   I2  The claim is the commit: a waiter that is claimed has put or got, one that is not has done
 *       neither.  The item moves after the claim and before the unlock.
 *   I3  `unfinished` counts an item from the moment it is put until task_done, or until it is
 *       thrown away by an immediate shutdown.  While it is 0 nobody waits in join.
 *   I4  Once shut down, nobody waits to put or get.
 *   I5  A store without a bound grows between two tries of a put, outside the lock.  A bounded one
 *       has all its memory from the beginning, so putting into it cannot fail for want of memory.
 *
 * The waiting calls are for fibers; the rest for any thread.
 */
#include "weft/queue.h"

#include <errno.h>
#include <stdlib.h>

#include "sync/item.h"
#include "sync/store.h"
#include "sync/waitq.h"

struct weft_queue {
    struct spin lock;
    bool shut;            /* guarded by lock */
    size_t item_size;     /* constant */
    size_t limit;         /* constant: SIZE_MAX if there is none */
    size_t unfinished;    /* guarded by lock */
    struct waitq getters; /* guarded by lock; their slots: where to put the item */
    struct waitq putters; /* guarded by lock; their slots: the item */
    struct waitq joiners; /* guarded by lock */
    struct store store;   /* guarded by lock */
};

/* The store is full of items that it has memory for: it must grow. */
enum { QUEUE_GROW = 1 };

/* Errors: -ENOMEM. */
static int queue_reserve(struct store *store, size_t slots)
{
    size_t size;

    if (__builtin_mul_overflow(slots, store->slot_size, &size)) /* not even by parts */
        return -ENOMEM;
    while (store->room < slots) {
        void *segment = store_segment(store, store->segment_count);

        if (!segment)
            return -ENOMEM;
        store_grow(store, segment);
    }
    return 0;
}

int weft_queue_new(size_t item_size, size_t maxsize, enum weft_queue_order order,
                   struct weft_queue **ret_queue)
{
    struct weft_queue *queue;
    int r;

    if (item_size == 0 || (unsigned)order > WEFT_QUEUE_PRIORITY)
        return -EINVAL;
    if (order == WEFT_QUEUE_PRIORITY && item_size < sizeof(int64_t))
        return -EINVAL;
    queue = calloc(1, sizeof(*queue));
    if (!queue)
        return -ENOMEM;

    queue->item_size = item_size;
    queue->limit = maxsize ? maxsize : SIZE_MAX;
    r = store_init(&queue->store, item_size, order);
    if (r == 0)
        r = queue_reserve(&queue->store, maxsize); /* I5 */
    if (r < 0) {
        weft_queue_free(queue);
        return r;
    }
    *ret_queue = queue;
    return 0;
}

void weft_queue_free(struct weft_queue *queue)
{
    if (!queue)
        return;
    CHECK(waitq_empty(&queue->getters) && waitq_empty(&queue->putters) &&
          waitq_empty(&queue->joiners));
    store_destroy(&queue->store);
    free(queue);
}

/* Put without waiting, under the lock.  Returns: 0 or QUEUE_GROW.  Errors: -EAGAIN, -EPIPE. */
static int queue_put(struct weft_queue *queue, const void *item, struct wait_batch *batch)
{
    struct waiter getter;

    if (queue->shut)
        return -EPIPE;
    if (waitq_claim_first(&queue->getters, &getter, batch)) {
        item_copy(getter.slot, item, queue->item_size);
        queue->unfinished++;
        return 0;
    }
    if (queue->store.length == queue->limit)
        return -EAGAIN;
    if (!store_has_room(&queue->store))
        return QUEUE_GROW;
    store_add(&queue->store, item);
    queue->unfinished++;
    return 0;
}

/* Get without waiting, under the lock.  Errors: -EAGAIN, -EPIPE. */
static int queue_get(struct weft_queue *queue, void *ret_item, struct wait_batch *batch)
{
    struct waiter putter;

    if (queue->store.length == 0)
        return queue->shut ? -EPIPE : -EAGAIN;
    store_pop(&queue->store, ret_item);
    if (waitq_claim_first(&queue->putters, &putter, batch)) {
        store_add(&queue->store, putter.slot);
        queue->unfinished++;
    }
    return 0;
}

/* Give the store its next segment, if no other thread does so first.  Errors: -ENOMEM. */
static int queue_grow(struct weft_queue *queue)
{
    spin_lock(&queue->lock);
    unsigned number = queue->store.segment_count;
    spin_unlock(&queue->lock);
    void *segment = store_segment(&queue->store, number);
    if (!segment)
        return -ENOMEM;

    spin_lock(&queue->lock);
    if (number == queue->store.segment_count) {
        store_grow(&queue->store, segment);
        segment = NULL;
    }
    spin_unlock(&queue->lock);
    free(segment);
    return 0;
}

/* Wait in `waiters` to be claimed.  Entered with the lock, which it drops. */
static int queue_wait(struct weft_queue *queue, struct waitq *waiters, void *slot, const char *kind,
                      uint64_t deadline_ns)
{
    struct waiter waiter;

    int r = waitq_join(waiters, &waiter, slot, WAITQ_CANCELLABLE);
    spin_unlock(&queue->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, kind, queue);
    return waitq_suspend(&waiter, &queue->lock, deadline_ns);
}

int weft_queue_try_put(struct weft_queue *queue, const void *item)
{
    for (;;) {
        struct wait_batch batch = {0};

        spin_lock(&queue->lock);
        int r = queue_put(queue, item, &batch);
        spin_unlock(&queue->lock);
        waitq_wake(&batch);
        if (r != QUEUE_GROW)
            return r;
        r = queue_grow(queue);
        if (r < 0)
            return r;
    }
}

int weft_queue_put(struct weft_queue *queue, const void *item, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&queue->lock);
    r = queue_put(queue, item, &batch);
    if (r == -EAGAIN) /* the slot is only read from */
        return queue_wait(queue, &queue->putters, (void *)item, "queue put", deadline_ns);
    spin_unlock(&queue->lock);
    waitq_wake(&batch);
    return r == QUEUE_GROW ? weft_queue_try_put(queue, item) : r; /* has no bound: never full */
}

int weft_queue_get(struct weft_queue *queue, void *ret_item, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&queue->lock);
    r = queue_get(queue, ret_item, &batch);
    if (r == -EAGAIN)
        return queue_wait(queue, &queue->getters, ret_item, "queue get", deadline_ns);
    spin_unlock(&queue->lock);
    waitq_wake(&batch);
    return r;
}

int weft_queue_try_get(struct weft_queue *queue, void *ret_item)
{
    struct wait_batch batch = {0};

    spin_lock(&queue->lock);
    int r = queue_get(queue, ret_item, &batch);
    spin_unlock(&queue->lock);
    waitq_wake(&batch);
    return r;
}

/* So many items need no more work.  Under the lock.  Errors: -EINVAL there are not so many. */
static int queue_finish(struct weft_queue *queue, size_t count, struct wait_batch *batch)
{
    if (queue->unfinished < count)
        return -EINVAL;
    queue->unfinished -= count;
    if (queue->unfinished == 0)
        waitq_claim_all(&queue->joiners, 0, batch);
    return 0;
}

int weft_queue_task_done(struct weft_queue *queue)
{
    struct wait_batch batch = {0};

    spin_lock(&queue->lock);
    int r = queue_finish(queue, 1, &batch);
    spin_unlock(&queue->lock);
    waitq_wake(&batch);
    return r;
}

int weft_queue_join(struct weft_queue *queue, uint64_t deadline_ns)
{
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&queue->lock);
    if (queue->unfinished > 0)
        return queue_wait(queue, &queue->joiners, NULL, "queue join", deadline_ns);
    spin_unlock(&queue->lock);
    return 0;
}

void weft_queue_shutdown(struct weft_queue *queue, bool immediate)
{
    struct wait_batch batch = {0};

    spin_lock(&queue->lock);
    queue->shut = true;
    waitq_claim_all(&queue->putters, -EPIPE, &batch);
    waitq_claim_all(&queue->getters, -EPIPE, &batch);
    if (immediate) {
        /* Fails if task_done was called for items that nobody has got yet: then nothing is left. */
        if (queue_finish(queue, queue->store.length, &batch) < 0)
            queue_finish(queue, queue->unfinished, &batch);
        store_clear(&queue->store);
    }
    spin_unlock(&queue->lock);
    waitq_wake(&batch);
}

size_t weft_queue_length(struct weft_queue *queue)
{
    spin_lock(&queue->lock);
    size_t length = queue->store.length;
    spin_unlock(&queue->lock);
    return length;
}

bool weft_queue_empty(struct weft_queue *queue)
{
    return weft_queue_length(queue) == 0;
}

bool weft_queue_full(struct weft_queue *queue)
{
    return weft_queue_length(queue) == queue->limit;
}
