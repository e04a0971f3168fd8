/* SPDX-License-Identifier: MIT */
/*
 * The wait group: a count, and a queue of fibers that wait for it to be 0.
 *
 *   I1  While the count is 0 nobody waits: the done that brings it there claims all, in the same
 *       section; so a wait that began before ends, even if the count grows again at once.
 *   I2  A fiber whose wait returned 0 may free the wait group: done's last touch is its unlock
 *       (Q1), and the waiter returns only after that, also if it merely saw the 0 (Q2, or the
 *       lock).
 *
 * Waiting is for fibers; the rest for any thread.
 */
#include "weft/waitgroup.h"

#include <errno.h>

#include "sync/waitq.h"

struct waitgroup {
    struct spin lock;
    uint32_t count;       /* guarded by lock */
    struct waitq waiters; /* guarded by lock */
};

_Static_assert(sizeof(struct waitgroup) <= sizeof(struct weft_waitgroup), "too small in public");
_Static_assert(_Alignof(struct waitgroup) <= _Alignof(struct weft_waitgroup), "or less aligned");

static struct waitgroup *waitgroup_of(struct weft_waitgroup *waitgroup)
{
    return (struct waitgroup *)(void *)waitgroup;
}

void weft_waitgroup_init(struct weft_waitgroup *waitgroup)
{
    *waitgroup = (struct weft_waitgroup){0};
}

int weft_waitgroup_add(struct weft_waitgroup *public, uint32_t count)
{
    struct waitgroup *waitgroup = waitgroup_of(public);
    uint32_t sum;
    int r = -EOVERFLOW;

    spin_lock(&waitgroup->lock);
    if (!__builtin_add_overflow(waitgroup->count, count, &sum)) {
        waitgroup->count = sum;
        r = 0;
    }
    spin_unlock(&waitgroup->lock);
    return r;
}

/* Under the lock.  Errors: -EINVAL. */
static int waitgroup_subtract(struct waitgroup *waitgroup, struct wait_batch *batch)
{
    if (waitgroup->count == 0)
        return -EINVAL;
    if (--waitgroup->count == 0)
        waitq_claim_all(&waitgroup->waiters, 0, batch);
    return 0;
}

int weft_waitgroup_done(struct weft_waitgroup *public)
{
    struct waitgroup *waitgroup = waitgroup_of(public);
    struct wait_batch batch = {0};

    spin_lock(&waitgroup->lock);
    int r = waitgroup_subtract(waitgroup, &batch);
    spin_unlock(&waitgroup->lock);
    waitq_wake(&batch);
    return r;
}

int weft_waitgroup_wait(struct weft_waitgroup *public, uint64_t deadline_ns)
{
    struct waitgroup *waitgroup = waitgroup_of(public);
    struct waiter waiter;
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&waitgroup->lock);
    if (waitgroup->count == 0) {
        spin_unlock(&waitgroup->lock);
        return 0;
    }
    r = waitq_join(&waitgroup->waiters, &waiter, NULL, WAITQ_CANCELLABLE);
    spin_unlock(&waitgroup->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "wait group", public);
    return waitq_suspend(&waiter, &waitgroup->lock, deadline_ns);
}

uint32_t weft_waitgroup_count(struct weft_waitgroup *public)
{
    struct waitgroup *waitgroup = waitgroup_of(public);

    spin_lock(&waitgroup->lock);
    uint32_t count = waitgroup->count;
    spin_unlock(&waitgroup->lock);
    return count;
}
