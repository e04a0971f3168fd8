/* SPDX-License-Identifier: MIT */
/*
 * The ring of woken fibers.
 *
 *   R1  Fibers are in [head, tail), indices modulo 2^32, at most RUNQ_SLOTS of them.
 *   R2  The owner writes a slot, then releases tail; a thief acquires tail before it reads slots.
 *   R3  Whoever takes fibers reads the slots first and then advances head by CAS (release): a slot
 *       is overwritten only after the owner has acquired a head beyond it.  A failed CAS discards
 *       what was read.  Where nobody steals (`alone`), the owner just advances it.
 */
#include "core/runq.h"

#include "core/shake.h"

struct fiber *runq_steal(struct runq *victim, struct runq *mine, unsigned *ret_count)
{
    unsigned my_tail = atomic_load_explicit(&mine->tail, memory_order_relaxed);
    unsigned head = atomic_load_explicit(&victim->head, memory_order_acquire);
    struct fiber *first, *fiber;
    unsigned count;

    do {
        unsigned tail = atomic_load_explicit(&victim->tail, memory_order_acquire); /* R2 */

        count = tail - head;
        count -= count / 2;
        if (count == 0)
            return NULL;
        if (count > RUNQ_SLOTS / 2) { /* head and tail were not of one moment: look again */
            head = atomic_load_explicit(&victim->head, memory_order_acquire);
            count = 0;
            continue;
        }
        shake();
        first = atomic_load_explicit(&victim->slots[head % RUNQ_SLOTS], memory_order_relaxed);
        for (unsigned i = 1; i < count; i++) {
            fiber =
                atomic_load_explicit(&victim->slots[(head + i) % RUNQ_SLOTS], memory_order_relaxed);
            atomic_store_explicit(&mine->slots[(my_tail + i - 1) % RUNQ_SLOTS], fiber,
                                  memory_order_relaxed);
        }
    } while (count == 0 ||
             !atomic_compare_exchange_weak_explicit(&victim->head, &head, head + count,
                                                    memory_order_acq_rel, memory_order_acquire));
    atomic_store_explicit(&mine->tail, my_tail + count - 1, memory_order_release); /* R2 */
    *ret_count = count;
    return first;
}

unsigned runq_take_half(struct runq *runq, struct fiber *ret_fibers[RUNQ_SLOTS / 2])
{
    unsigned head = atomic_load_explicit(&runq->head, memory_order_acquire);
    unsigned tail = atomic_load_explicit(&runq->tail, memory_order_relaxed);

    if (tail - head < RUNQ_SLOTS)
        return 0;
    for (unsigned i = 0; i < RUNQ_SLOTS / 2; i++)
        ret_fibers[i] =
            atomic_load_explicit(&runq->slots[(head + i) % RUNQ_SLOTS], memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&runq->head, &head, head + RUNQ_SLOTS / 2,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return 0;
    return RUNQ_SLOTS / 2;
}

unsigned runq_length(const struct runq *runq)
{
    struct runq *q = (struct runq *)runq;
    unsigned head = atomic_load_explicit(&q->head, memory_order_acquire);
    unsigned tail = atomic_load_explicit(&q->tail, memory_order_acquire);

    /* Read at two moments, head may have passed the tail that was read. */
    return tail - head > RUNQ_SLOTS ? 0 : tail - head;
}
