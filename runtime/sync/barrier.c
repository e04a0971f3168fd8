/* SPDX-License-Identifier: MIT */
/*
 * The barrier: a count of those who are here, and the queue in which they stand.
 *
 *   I1  `waiting` is the length of the queue, and less than `parties`: the one who would make it
 *       that many lets all pass instead, and the barrier is empty again.
 *   I2  Who stands in the queue when that happens passes, even if its wait was ended by a deadline
 *       or a cancel in the same moment: all `parties` are needed, so it cannot be taken back.  Such
 *       a fiber finds itself off the queue, with its result, and returns that.  (The cancel is not
 *       lost: the scope says so at the next call.)
 *   I3  Who leaves before (deadline, cancel) is not counted any more.
 *   I4  While it is broken nobody waits.
 *
 * Waiting is for fibers; the rest for any thread.
 */
#include "weft/barrier.h"

#include <errno.h>
#include <limits.h>

#include "sync/waitq.h"

struct barrier {
    struct spin lock;
    bool broken;          /* guarded by lock */
    unsigned parties;     /* constant */
    unsigned waiting;     /* guarded by lock */
    struct waitq waiters; /* guarded by lock */
};

_Static_assert(sizeof(struct barrier) <= sizeof(struct weft_barrier), "too small in public");
_Static_assert(_Alignof(struct barrier) <= _Alignof(struct weft_barrier), "or less aligned");

static struct barrier *barrier_of(struct weft_barrier *barrier)
{
    return (struct barrier *)(void *)barrier;
}

int weft_barrier_init(struct weft_barrier *public, unsigned parties)
{
    if (parties == 0 || parties > INT_MAX)
        return -EINVAL;
    *public = (struct weft_barrier){0};
    barrier_of(public)->parties = parties;
    return 0;
}

/* Let all who stand in the queue go: with their numbers, or each with `error`.  Under the lock.
 * Whether the claim succeeds is all the same (I2). */
static void barrier_release(struct barrier *barrier, int error, struct wait_batch *batch)
{
    struct list *node;
    int number = 0;

    while ((node = waitq_first(&barrier->waiters))) {
        struct waiter *waiter = container_of(node, struct waiter, link);

        list_remove(node);
        waiter->result = error ? error : number++;
        wait_claim(waiter, batch);
    }
    barrier->waiting = 0;
}

/* Suspend until released. */
static int barrier_suspend(struct barrier *barrier, struct waiter *waiter, uint64_t deadline_ns)
{
    int r = wait_suspend(waiter, deadline_ns);
    if (r == 0) {
        spin_settle(&barrier->lock);
        return waiter->result;
    }

    spin_lock(&barrier->lock);
    if (list_linked(&waiter->link)) {
        list_remove(&waiter->link);
        barrier->waiting--;
    } else {
        r = waiter->result; /* I2 */
    }
    spin_unlock(&barrier->lock);
    return r;
}

int weft_barrier_wait(struct weft_barrier *public, uint64_t deadline_ns)
{
    struct barrier *barrier = barrier_of(public);
    struct wait_batch batch = {0};
    struct waiter waiter;
    bool suspend = false;
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&barrier->lock);
    if (barrier->broken) {
        r = -EPIPE;
    } else if (barrier->waiting == barrier->parties - 1) {
        r = (int)barrier->waiting;
        barrier_release(barrier, 0, &batch);
    } else {
        r = waitq_join(&barrier->waiters, &waiter, NULL, WAITQ_CANCELLABLE);
        suspend = r == 0;
        barrier->waiting += suspend;
    }
    spin_unlock(&barrier->lock);
    waitq_wake(&batch);
    if (!suspend)
        return r;
    wait_describe(&waiter, "barrier", public);
    return barrier_suspend(barrier, &waiter, deadline_ns);
}

static void barrier_set(struct barrier *barrier, bool broken)
{
    struct wait_batch batch = {0};

    spin_lock(&barrier->lock);
    barrier->broken = broken;
    barrier_release(barrier, -EPIPE, &batch);
    spin_unlock(&barrier->lock);
    waitq_wake(&batch);
}

void weft_barrier_abort(struct weft_barrier *barrier)
{
    barrier_set(barrier_of(barrier), true);
}

void weft_barrier_reset(struct weft_barrier *barrier)
{
    barrier_set(barrier_of(barrier), false);
}

unsigned weft_barrier_waiting(struct weft_barrier *public)
{
    struct barrier *barrier = barrier_of(public);

    spin_lock(&barrier->lock);
    unsigned waiting = barrier->waiting;
    spin_unlock(&barrier->lock);
    return waiting;
}

bool weft_barrier_broken(struct weft_barrier *public)
{
    struct barrier *barrier = barrier_of(public);

    spin_lock(&barrier->lock);
    bool broken = barrier->broken;
    spin_unlock(&barrier->lock);
    return broken;
}
