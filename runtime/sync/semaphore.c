/* SPDX-License-Identifier: MIT */
/*
 * The counting semaphore: free permits, or a queue of fibers that want one.
 *
 *   I1  While a waiter can be claimed there are no free permits: release gives its permit to the
 *       first such waiter and counts it only if there is none.  So nobody overtakes.
 *   I2  A claimed waiter holds its permit from that moment; a wait that ends in an error was not
 *       claimed, so permits are neither lost nor doubled.
 *   I3  free <= limit, always.
 *   I4  A fiber whose acquire returned 0 may free the semaphore if nobody else uses it (Q1, Q2).
 *
 * Acquiring with a wait is for fibers; try_acquire and release for any thread.  It does not know
 * who holds a permit.
 */
#include "weft/semaphore.h"

#include <errno.h>

#include "sync/waitq.h"

struct semaphore {
    struct spin lock;
    uint32_t free;        /* guarded by lock */
    uint32_t limit;       /* constant */
    struct waitq waiters; /* guarded by lock */
};

_Static_assert(sizeof(struct semaphore) <= sizeof(struct weft_semaphore), "too small in public");
_Static_assert(_Alignof(struct semaphore) <= _Alignof(struct weft_semaphore), "or less aligned");

static struct semaphore *semaphore_of(struct weft_semaphore *semaphore)
{
    return (struct semaphore *)(void *)semaphore;
}

void weft_semaphore_init(struct weft_semaphore *public, uint32_t permits, uint32_t limit)
{
    struct semaphore *semaphore = semaphore_of(public);

    *public = (struct weft_semaphore){0};
    semaphore->limit = limit ? limit : UINT32_MAX;
    semaphore->free = permits < semaphore->limit ? permits : semaphore->limit;
}

/* Under the lock.  Errors: -EAGAIN. */
static int semaphore_take(struct semaphore *semaphore)
{
    if (semaphore->free == 0)
        return -EAGAIN;
    semaphore->free--;
    return 0;
}

int weft_semaphore_acquire(struct weft_semaphore *public, uint64_t deadline_ns)
{
    struct semaphore *semaphore = semaphore_of(public);
    struct waiter waiter;
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&semaphore->lock);
    if (semaphore_take(semaphore) == 0) {
        spin_unlock(&semaphore->lock);
        return 0;
    }
    r = waitq_join(&semaphore->waiters, &waiter, NULL, WAITQ_CANCELLABLE);
    spin_unlock(&semaphore->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "semaphore", public);
    return waitq_suspend(&waiter, &semaphore->lock, deadline_ns);
}

int weft_semaphore_try_acquire(struct weft_semaphore *public)
{
    struct semaphore *semaphore = semaphore_of(public);

    spin_lock(&semaphore->lock);
    int r = semaphore_take(semaphore);
    spin_unlock(&semaphore->lock);
    return r;
}

/* Under the lock.  Errors: -EOVERFLOW. */
static int semaphore_give(struct semaphore *semaphore, struct wait_batch *batch)
{
    struct waiter first;

    if (waitq_claim_first(&semaphore->waiters, &first, batch))
        return 0;
    if (semaphore->free == semaphore->limit)
        return -EOVERFLOW;
    semaphore->free++;
    return 0;
}

int weft_semaphore_release(struct weft_semaphore *public)
{
    struct semaphore *semaphore = semaphore_of(public);
    struct wait_batch batch = {0};

    spin_lock(&semaphore->lock);
    int r = semaphore_give(semaphore, &batch);
    spin_unlock(&semaphore->lock);
    waitq_wake(&batch);
    return r;
}
