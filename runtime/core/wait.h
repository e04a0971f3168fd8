/* SPDX-License-Identifier: MIT */
/*
 * The one way to wait.  A fiber that waits has exactly one winner among the event it waits for, a
 * deadline, and cancellation, and what the event carries is never lost to the others.
 *
 * The park word of a fiber (fiber->park) holds a sequence number and one of these states:
 *
 *   RUNNING  --wait_prepare-->  ARMING  --wait_publish, on the next stack-->  WAITING
 *   ARMING or WAITING  --wait_claim by one winner-->  CLAIMED (with the winner's result)
 *   CLAIMED  --the fiber resumes-->  RUNNING
 *
 *   W1  A fiber is made ready only after its registers are saved: a claim of a WAITING fiber makes
 *       it ready; a claim of an ARMING one leaves that to the publisher, which fails its own step.
 *   W2  A source (mutex, channel, descriptor...) claims under its lock, with the waiter unlinked
 *       and filled *before* the claim; after a successful claim it does not touch the waiter.
 *   W3  A fiber whose wait ended otherwise takes the source's lock and unlinks its waiter before
 *       the waiter's memory goes away.  So a source that finds a waiter may touch it.
 *   W4  Between wait_prepare and reading the scope's flag stands a full barrier, and another
 *       between setting that flag and reading the park word in scope_cancel: one sees the other.
 *
 * How a source uses it, on the waiting side:
 *
 *     struct waiter waiter;
 *     int r = wait_prepare(&waiter);            // cancelled already: nothing was linked
 *     if (r < 0)
 *         return r;
 *     spin_lock(&source->lock);
 *     if (event is there) {
 *         take it;
 *         spin_unlock(&source->lock);
 *         wait_abandon(&waiter);                // a cancel that came meanwhile is not lost:
 *         return 0;                             // the scope says so at the next call
 *     }
 *     list_append(&source->waiters, &waiter.link);
 *     spin_unlock(&source->lock);
 *     r = wait_suspend(&waiter, deadline_ns);   // 0, -ETIMEDOUT, -ECANCELED
 *     if (r < 0) {
 *         spin_lock(&source->lock);
 *         if (list_linked(&waiter.link))        // W3
 *             list_remove(&waiter.link);
 *         spin_unlock(&source->lock);
 *     }
 *     return r;
 *
 * and on the waking side, under source->lock:
 *
 *     while ((node = list_first(&source->waiters))) {
 *         struct waiter *waiter = container_of(node, struct waiter, link);
 *         list_remove(node);
 *         fill *waiter;                         // before the claim
 *         if (wait_claim(waiter, &batch))       // true: it is this waiter's; do not touch it now
 *             break;                            // false: it lost interest, try the next one
 *     }
 *     spin_unlock(&source->lock);
 *     wait_batch_wake(&batch);                  // outside the lock
 */
#ifndef RUNTIME_CORE_WAIT_H
#define RUNTIME_CORE_WAIT_H

#include "core/list.h"
#include "core/spin.h"

struct fiber;
struct worker;

/* A wait in progress; lives on the stack of the fiber that waits. */
struct waiter {
    struct list link;    /* guarded by the source's lock */
    struct fiber *fiber; /* constant */
    void *slot;          /* the source's own: where an item goes, or comes from */
    int result;          /* the source's own: set before the claim, read after wait_suspend */
};

/* Fibers that were claimed and must be made ready once the source's lock is dropped, in order. */
struct wait_batch {
    struct fiber *head, *tail;
};

/**
 * Get the calling fiber ready to wait: fills `waiter`, and makes the fiber claimable.
 * Must be followed by wait_suspend or wait_abandon.
 * Errors: -ECANCELED, -ETIMEDOUT when the scope is cancelled already; then nothing follows.
 */
int wait_prepare(struct waiter *waiter);

/** As wait_prepare, but cancellation cannot end the wait.  Cannot fail. */
void wait_prepare_shielded(struct waiter *waiter);

/**
 * Say what the wait is for, to those who look (observe/): `kind` is static text ("mutex"), `object`
 * which one, never dereferenced.  Each source says it once per wait, before wait_suspend.
 */
void wait_describe(const struct waiter *waiter, const char *kind, const void *object);

/** Give a prepared wait up, when the waiter is linked nowhere. */
void wait_abandon(struct waiter *waiter);

/**
 * Suspend until somebody claims the wait, `deadline_ns` at most (WEFT_NO_DEADLINE: for ever).
 * Returns: 0 a source claimed it; -ETIMEDOUT; -ECANCELED or -ETIMEDOUT from the scope.
 */
int wait_suspend(struct waiter *waiter, uint64_t deadline_ns);

/**
 * As wait_suspend, and let the fiber that was claimed into `batch` (one, or none: it had not
 * switched away yet) run here and now, without a way through the queues.  For two fibers that hand
 * something to each other.  Not under any lock.
 */
int wait_hand_over(struct waiter *waiter, uint64_t deadline_ns, struct wait_batch *batch);

/**
 * Claim the wait for an event.  Under the source's lock (W2).  Any thread.
 * Returns: false when another winner was first.  On true, the fiber is in `batch` if it is for the
 * caller to make it ready.
 */
bool wait_claim(struct waiter *waiter, struct wait_batch *batch);

/**
 * Make the batch's fibers ready, first one first.  Any thread; from a fiber or a plain thread.
 * The batch must have been zeroed before its first claim.
 */
void wait_batch_wake(struct wait_batch *batch);

/** As wait_batch_wake, on `worker`'s thread: from the scheduler's own stack, or between
 * worker_enter and worker_exit (handoff.h).  `worker`: NULL on a plain thread, or for a stray. */
void wait_batch_wake_on(struct worker *worker, struct wait_batch *batch);

#endif
