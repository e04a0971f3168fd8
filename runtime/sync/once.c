/* SPDX-License-Identifier: MIT */
/*
 * Once: whether it is done, who is doing it, and a queue of those who wait for that.
 *
 *   I1  At most one fiber is the runner, from once_begin to once_end, which it always reaches: fn
 *       runs on its stack.
 *   I2  Others wait only while there is a runner.  A runner that fails hands its part to the first
 *       of them that can be claimed, which is the runner from that moment.
 *   I3  `done` is set once, under the lock and after `result`, and never taken back.
 *   I4  Who sees `done` has seen its setter leave (it settles), so the last user may free the once.
 *
 * Running is for fibers, as fn may suspend.
 */
#include "weft/once.h"

#include <errno.h>

#include "sync/owners.h"
#include "sync/waitq.h"

struct once {
    struct spin lock;
    atomic_bool done;           /* atomic: stored under lock with release, pairs with once_seen */
    int result;                 /* guarded by lock until done, then constant */
    const struct fiber *runner; /* guarded by lock */
    struct waitq waiters;       /* guarded by lock; claimed with one of the two results below */
};

/* What a caller that has waited has to do. */
enum once_part {
    ONCE_RUN, /* as waitq_claim_first has it */
    ONCE_RETURN
};

_Static_assert(sizeof(struct once) <= sizeof(struct weft_once), "the public once is too small");
_Static_assert(_Alignof(struct once) <= _Alignof(struct weft_once), "and must be as aligned");

static struct once *once_of(struct weft_once *once)
{
    return (struct once *)(void *)once;
}

void weft_once_init(struct weft_once *once)
{
    *once = (struct weft_once){0};
}

/* Whether it is done; if so, its setter has left (I4). */
static bool once_seen(struct once *once)
{
    if (!atomic_load_explicit(&once->done, memory_order_acquire))
        return false;
    spin_settle(&once->lock);
    return true;
}

bool weft_once_done(struct weft_once *once)
{
    return once_seen(once_of(once));
}

/* Become the runner, or stand in the queue (-EINPROGRESS).  Under the lock. */
static int once_take(struct once *once, struct waiter *waiter)
{
    const struct fiber *self = fiber_self();

    if (atomic_load_explicit(&once->done, memory_order_relaxed))
        return ONCE_RETURN;
    if (once->runner == self)
        return -EDEADLK;
    if (once->runner) {
        int r = waitq_join(&once->waiters, waiter, NULL, WAITQ_CANCELLABLE);
        return r < 0 ? r : -EINPROGRESS;
    }
    once->runner = self;
    return ONCE_RUN;
}

/* Returns: the caller's part.  Errors: -EDEADLK, -ETIMEDOUT, -ECANCELED. */
static int once_begin(struct once *once, uint64_t deadline_ns)
{
    struct waiter waiter;

    spin_lock(&once->lock);
    int r = once_take(once, &waiter);
    spin_unlock(&once->lock);
    if (r != -EINPROGRESS)
        return r;
    wait_describe(&waiter, "once", once);
    return waitq_suspend(&waiter, &once->lock, deadline_ns);
}

/* The runner's fn returned `result`. */
static void once_end(struct once *once, int result)
{
    struct wait_batch batch = {0};
    struct waiter next = {0};

    spin_lock(&once->lock);
    if (result < 0) {
        waitq_claim_first(&once->waiters, &next, &batch); /* I2 */
    } else {
        once->result = result;
        atomic_store_explicit(&once->done, true, memory_order_release);
        waitq_claim_all(&once->waiters, ONCE_RETURN, &batch);
    }
    once->runner = next.fiber;
    spin_unlock(&once->lock);
    waitq_wake(&batch);
}

int weft_once_run(struct weft_once *public, int (*fn)(void *), void *arg, uint64_t deadline_ns)
{
    struct once *once = once_of(public);
    int r = waitq_check();
    if (r < 0)
        return r;
    if (once_seen(once))
        return once->result;

    r = once_begin(once, deadline_ns);
    if (r < 0)
        return r;
    if (r == ONCE_RETURN)
        return once->result;
    r = fn(arg);
    once_end(once, r);
    return r;
}

const struct fiber *once_runner(const void *public)
{
    struct once *once = (struct once *)public;
    const struct fiber *runner;

    spin_lock(&once->lock);
    runner = once->runner;
    spin_unlock(&once->lock);
    return runner;
}
