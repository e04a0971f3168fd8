/* SPDX-License-Identifier: MIT */
/*
 * The condition: a queue of fibers that each gave up a mutex to wait in it.
 *
 *   I1  A waiter is in the queue before it unlocks the mutex, so a signal sent by whoever locks the
 *       mutex next finds it: no wake-up is lost.
 *   I2  A signal claims one waiter, whose wait then returns 0 whatever else befalls it.  A waiter
 *       that was cancelled first is passed over, so the signal reaches one that is not.
 *   I3  The mutex is locked again under a shield, so it is held whatever wait returns.
 *   I4  A fiber whose wait returned 0 may free the condition if nobody else uses it (Q1, Q2).
 *
 * Waiting is for fibers; signalling for any thread, with the mutex or without.  It keeps no count:
 * a signal that finds nobody is forgotten.
 */
#include "weft/cond.h"

#include "sync/waitq.h"

struct cond {
    struct spin lock;
    struct waitq waiters; /* guarded by lock */
};

_Static_assert(sizeof(struct cond) <= sizeof(struct weft_cond),
               "the public condition is too small");
_Static_assert(_Alignof(struct cond) <= _Alignof(struct weft_cond), "and must be as aligned");

static struct cond *cond_of(struct weft_cond *cond)
{
    return (struct cond *)(void *)cond;
}

void weft_cond_init(struct weft_cond *cond)
{
    *cond = (struct weft_cond){0};
}

int weft_cond_wait(struct weft_cond *public, struct weft_mutex *mutex, uint64_t deadline_ns)
{
    struct cond *cond = cond_of(public);
    struct waiter waiter;
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&cond->lock);
    r = waitq_join(&cond->waiters, &waiter, NULL, WAITQ_CANCELLABLE);
    spin_unlock(&cond->lock);
    if (r < 0)
        return r;

    weft_mutex_unlock(mutex);
    wait_describe(&waiter, "condition", public);
    r = waitq_suspend(&waiter, &cond->lock, deadline_ns);
    CHECK(weft_mutex_lock_shielded(mutex) == 0);
    return r;
}

void weft_cond_signal(struct weft_cond *public)
{
    struct cond *cond = cond_of(public);
    struct wait_batch batch = {0};
    struct waiter first;

    spin_lock(&cond->lock);
    waitq_claim_first(&cond->waiters, &first, &batch);
    spin_unlock(&cond->lock);
    waitq_wake(&batch);
}

void weft_cond_broadcast(struct weft_cond *public)
{
    struct cond *cond = cond_of(public);
    struct wait_batch batch = {0};

    spin_lock(&cond->lock);
    waitq_claim_all(&cond->waiters, 0, &batch);
    spin_unlock(&cond->lock);
    waitq_wake(&batch);
}
