/* SPDX-License-Identifier: MIT */
/*
 * The watched value: its bytes, their version, and a queue of fibers that wait for another one.
 *
 *   I1  The version counts sets, from 1.  Who waits has seen the present one, so every set claims
 *       all waiters.
 *   I2  A claimed fiber comes back for the value, and so gets the latest, which may be newer than
 *       the one that woke it.  It never finds nothing new: versions only grow.
 *   I3  Once closed, nobody waits, and the value does not change.
 *
 * Waiting is for fibers; the rest for any thread.  As a woken fiber comes back, nobody may free it
 * before all waits have returned.
 */
#include "weft/watch.h"

#include <errno.h>
#include <stdlib.h>

#include "sync/item.h"
#include "sync/waitq.h"

struct weft_watch {
    struct spin lock;
    bool closed;           /* guarded by lock */
    size_t item_size;      /* constant */
    uint64_t version;      /* guarded by lock */
    struct waitq waiters;  /* guarded by lock */
    unsigned char value[]; /* guarded by lock */
};

int weft_watch_new(size_t item_size, const void *initial, struct weft_watch **ret_watch)
{
    struct weft_watch *watch;
    size_t size;

    if (item_size == 0)
        return -EINVAL;
    if (__builtin_add_overflow(item_size, sizeof(*watch), &size))
        return -ENOMEM;
    watch = calloc(1, size);
    if (!watch)
        return -ENOMEM;

    watch->item_size = item_size;
    watch->version = 1;
    item_copy(watch->value, initial, item_size);
    *ret_watch = watch;
    return 0;
}

void weft_watch_free(struct weft_watch *watch)
{
    if (!watch)
        return;
    CHECK(waitq_empty(&watch->waiters));
    free(watch);
}

/* Under the lock.  Errors: -EPIPE. */
static int watch_put(struct weft_watch *watch, const void *item, struct wait_batch *batch)
{
    if (watch->closed)
        return -EPIPE;
    item_copy(watch->value, item, watch->item_size);
    watch->version++;
    waitq_claim_all(&watch->waiters, 0, batch);
    return 0;
}

int weft_watch_set(struct weft_watch *watch, const void *item)
{
    struct wait_batch batch = {0};

    spin_lock(&watch->lock);
    int r = watch_put(watch, item, &batch);
    spin_unlock(&watch->lock);
    waitq_wake(&batch);
    return r;
}

uint64_t weft_watch_get(struct weft_watch *watch, void *ret_item)
{
    spin_lock(&watch->lock);
    uint64_t version = watch->version;
    item_copy(ret_item, watch->value, watch->item_size);
    spin_unlock(&watch->lock);
    return version;
}

/* Under the lock.  Errors: -EAGAIN, -EPIPE. */
static int watch_take(struct weft_watch *watch, uint64_t *version, void *ret_item)
{
    if (*version == watch->version)
        return watch->closed ? -EPIPE : -EAGAIN;
    *version = watch->version;
    item_copy(ret_item, watch->value, watch->item_size);
    return 0;
}

int weft_watch_try_changed(struct weft_watch *watch, uint64_t *version, void *ret_item)
{
    spin_lock(&watch->lock);
    int r = watch_take(watch, version, ret_item);
    spin_unlock(&watch->lock);
    return r;
}

int weft_watch_changed(struct weft_watch *watch, uint64_t *version, void *ret_item,
                       uint64_t deadline_ns)
{
    struct waiter waiter;
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&watch->lock);
    r = watch_take(watch, version, ret_item);
    if (r != -EAGAIN) {
        spin_unlock(&watch->lock);
        return r;
    }
    r = waitq_join(&watch->waiters, &waiter, NULL, WAITQ_CANCELLABLE);
    spin_unlock(&watch->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "watch", watch);
    r = waitq_suspend(&waiter, &watch->lock, deadline_ns);
    if (r < 0)
        return r;
    return weft_watch_try_changed(watch, version, ret_item); /* I2 */
}

void weft_watch_close(struct weft_watch *watch)
{
    struct wait_batch batch = {0};

    spin_lock(&watch->lock);
    watch->closed = true;
    waitq_claim_all(&watch->waiters, -EPIPE, &batch);
    spin_unlock(&watch->lock);
    waitq_wake(&batch);
}
