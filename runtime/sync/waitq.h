/* SPDX-License-Identifier: MIT */
/*
 * What every primitive of this folder is made of: a first-in, first-out queue of waiters under the
 * spin lock of its owner.  It follows core/wait.h, and adds two rules of its own.
 *
 *   Q1  A source's last touch of its own memory is the unlock of the section in which it claimed;
 *       the claimed fibers are woken after that, from the batch alone.
 *   Q2  A fiber whose wait was claimed settles (spin_settle) before it looks at what it was given
 *       or returns: it goes on only when the claimer has left its section.  It must, because a
 *       fiber that is claimed while it still arms is made ready by its own publisher, and may run
 *       before the claimer has unlocked.
 *
 * From Q1 and Q2 follow the two promises that the primitives make:
 *   - a fiber whose wait succeeded may free the primitive if nobody else uses it any more; the
 *     claimer does not, even if it has not returned.  (Other waiters do until they return, also
 *     those that were claimed: they settle.  So the *claimer* must not free it after waking.)
 *   - a claimer may still fill the *buffer* that a claimed waiter pointed to, up to its unlock, so
 *     that only the winner of a wait ever sees its out-parameter written.  (The waiter itself is
 *     not touched after the claim: W2.)
 *
 *   Q3  A claimer that takes a waiter off its queue and finds that it has lost interest leaves
 *       WAITQ_LOST in it.  It still may touch it: whoever waits takes the lock of each queue on
 *       which it was not claimed, before it goes on (W3).  This is how a fiber that stands in
 *       several queues (select) tells the claim that it went by.
 *
 * All functions are for the holder of the owner's lock, but for waitq_suspend, waitq_hand_over and
 * waitq_wake, which are for those who do not hold it.
 */
#ifndef RUNTIME_SYNC_WAITQ_H
#define RUNTIME_SYNC_WAITQ_H

#include <limits.h>

#include "core/handoff.h"
#include "core/park.h"
#include "core/stack.h"

/* All zeroes is empty.  Guarded by the owner's lock. */
struct waitq {
    struct list waiters;
};

/* A waiter's result when nobody has claimed it (Q3); no source's own. */
enum { WAITQ_LOST = INT_MIN };

/* How a wait that is about to begin treats cancellation. */
enum waitq_mode {
    WAITQ_CANCELLABLE,
    WAITQ_SHIELDED,
};

/**
 * Return once the section that held the lock when the caller was claimed has been left.
 *
 * A plain load suffices: the claimer's lock happens before its claim, which happens before this
 * load; so the load sees that lock or something later, and a 0 can only come from that section's
 * unlock or a later one (acquire: pairs with the release in spin_unlock).
 */
static inline void spin_settle(struct spin *spin)
{
    if (likely(atomic_load_explicit(&spin->locked, memory_order_acquire) == 0))
        return;
    spin_lock(spin);
    spin_unlock(spin);
}

/** 0, or why the caller's scope is cancelled: each waiting call begins with it.  On a fiber. */
static inline int waitq_check(void)
{
    struct fiber *self = fiber_self();

    CHECK(self);
    return fiber_peek_cancel(self);
}

static inline struct list *waitq_first(const struct waitq *queue)
{
    return queue->waiters.next ? list_first(&queue->waiters) : NULL;
}

static inline bool waitq_empty(const struct waitq *queue)
{
    return !waitq_first(queue);
}

/* Put a waiter, whose fiber has prepared its wait, at the queue's end. */
static inline void waitq_append(struct waitq *queue, struct waiter *waiter)
{
    if (!queue->waiters.next)
        list_init(&queue->waiters);
    list_append(&queue->waiters, &waiter->link);
}

/**
 * Claim the first waiter that can still be claimed; those that cannot are dropped, as they have
 * lost interest.  *ret_claimed is a copy, made before the claim, and tells whose wait it was.
 */
static inline bool waitq_claim_first(struct waitq *queue, struct waiter *ret_claimed,
                                     struct wait_batch *batch)
{
    struct list *node;

    while ((node = waitq_first(queue))) {
        struct waiter *waiter = container_of(node, struct waiter, link);
        struct waiter copy;

        copy.fiber = waiter->fiber; /* the rest is not for the claimer */
        copy.slot = waiter->slot;

        list_remove(node);
        waiter->result = 0;
        if (wait_claim(waiter, batch)) {
            *ret_claimed = copy;
            return true;
        }
        waiter->result = WAITQ_LOST; /* Q3 */
    }
    return false;
}

/** Claim every waiter, and let its wait return `result`. */
void waitq_claim_all(struct waitq *queue, int result, struct wait_batch *batch);

/** As waitq_join, for a caller that knows the fiber it runs on. */
static inline int waitq_join_as(struct fiber *self, struct waitq *queue, struct waiter *waiter,
                                void *slot, enum waitq_mode mode)
{
    int r = 0;

    if (mode == WAITQ_SHIELDED)
        park_prepare_shielded(self, waiter);
    else
        r = park_prepare(self, waiter);
    if (unlikely(r < 0))
        return r;
    waiter->slot = slot;
    waitq_append(queue, waiter);
    return 0;
}

/**
 * Begin a wait at the queue's end.  On success the caller drops the lock and calls waitq_suspend.
 * (It is prepared under the owner's lock: core/wait.h allows that, as preparing only writes the
 * fiber's own park word and reads its scope, and it makes a wait one locked section, not two.)
 * Errors: -ECANCELED, -ETIMEDOUT when the scope is cancelled already, never in WAITQ_SHIELDED.
 */
static inline int waitq_join(struct waitq *queue, struct waiter *waiter, void *slot,
                             enum waitq_mode mode)
{
    return waitq_join_as(fiber_running(), queue, waiter, slot, mode);
}

/* The wait has ended with the error r, which is returned. */
int waitq_give_up(struct waiter *waiter, struct spin *lock, int r);

/* The wait has ended with r.  Returns: what to tell the caller. */
static inline int waitq_finish(struct waiter *waiter, struct spin *lock, int r)
{
    if (unlikely(r != 0))
        return waitq_give_up(waiter, lock, r);
    spin_settle(lock);
    return waiter->result;
}

/**
 * Suspend until the wait is over, `deadline_ns` at most; `lock` guards the queue that was joined.
 * Returns: the result that the claimer set.
 * Errors:  -ETIMEDOUT, -ECANCELED; then nobody claimed it, and the waiter is on no queue.
 */
static inline int waitq_suspend(struct waiter *waiter, struct spin *lock, uint64_t deadline_ns)
{
    return waitq_finish(waiter, lock, wait_suspend(waiter, deadline_ns));
}

/** As waitq_suspend, and switches to the fiber in `batch` if there is one (wait_hand_over). */
int waitq_hand_over(struct waiter *waiter, struct spin *lock, uint64_t deadline_ns,
                    struct wait_batch *batch);

static inline void waitq_wake(struct wait_batch *batch)
{
    if (batch->head)
        wait_batch_wake(batch);
}

/** As waitq_wake, for a caller that knows the fiber it runs on. */
static inline void waitq_wake_as(struct fiber *self, struct wait_batch *batch)
{
    if (!batch->head)
        return;
    wait_batch_wake_on(worker_enter(self), batch);
    worker_exit(self);
}

#endif
