/* SPDX-License-Identifier: MIT */
/*
 * The slow side of waitq.h: joining, suspending, and waking all.
 *
 * A wait is prepared under the owner's lock.  That is within what core/wait.h allows, as preparing
 * only writes the fiber's own park word and reads its scope, and it makes a wait one locked section
 * instead of two.
 *
 * It does not know what is waited for; each primitive does.
 */
#include "sync/waitq.h"

void waitq_claim_all(struct waitq *queue, int result, struct wait_batch *batch)
{
    struct list *node;

    while ((node = waitq_first(queue))) {
        struct waiter *waiter = container_of(node, struct waiter, link);

        list_remove(node);
        waiter->result = result;
        if (!wait_claim(waiter, batch))
            waiter->result = WAITQ_LOST; /* Q3 */
    }
}

int waitq_join(struct waitq *queue, struct waiter *waiter, void *slot, enum waitq_mode mode)
{
    int r = 0;

    if (mode == WAITQ_SHIELDED)
        wait_prepare_shielded(waiter);
    else
        r = wait_prepare(waiter);
    if (r < 0)
        return r;

    waiter->slot = slot;
    waiter->result = 0;
    waitq_append(queue, waiter);
    return 0;
}

/* The wait has ended with r.  Returns: what to tell the caller. */
static inline int waitq_finish(struct waiter *waiter, struct spin *lock, int r)
{
    if (r == 0) {
        spin_settle(lock);
        return waiter->result;
    }

    spin_lock(lock);
    if (list_linked(&waiter->link)) /* else a claimer found it, and found that it had lost */
        list_remove(&waiter->link);
    spin_unlock(lock);
    return r;
}

int waitq_suspend(struct waiter *waiter, struct spin *lock, uint64_t deadline_ns)
{
    return waitq_finish(waiter, lock, wait_suspend(waiter, deadline_ns));
}

int waitq_hand_over(struct waiter *waiter, struct spin *lock, uint64_t deadline_ns,
                    struct wait_batch *batch)
{
    return waitq_finish(waiter, lock, wait_hand_over(waiter, deadline_ns, batch));
}
