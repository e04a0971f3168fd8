/* SPDX-License-Identifier: MIT */
/*
 * The slow side of waitq.h: waking all, waits that fail, and handing over.
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

int waitq_give_up(struct waiter *waiter, struct spin *lock, int r)
{
    spin_lock(lock);
    if (list_linked(&waiter->link)) /* else a claimer found it, and found that it had lost */
        list_remove(&waiter->link);
    spin_unlock(lock);
    return r;
}

int waitq_hand_over(struct waiter *waiter, struct spin *lock, uint64_t deadline_ns,
                    struct wait_batch *batch)
{
    return waitq_finish(waiter, lock, wait_hand_over(waiter, deadline_ns, batch));
}
