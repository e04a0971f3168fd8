/* SPDX-License-Identifier: MIT */
/*
 * A turn: the steps by which control goes from one fiber to the next, inlined where a switch is
 * made (sched.c, wait.c), so that one place saves registers and the whole costs no call.
 *
 * What holds stands in sched.h (P1, P2) and sched.c (Q1 to Q3).
 */
#ifndef RUNTIME_CORE_TURN_H
#define RUNTIME_CORE_TURN_H

#include "core/handoff.h"
#include "core/hooks.h"
#include "core/worker.h"

enum { SLOT_STREAK = 3 };

/* Make a fiber runnable from outside its runtime. */
void sched_inject(struct weft_runtime *runtime, struct fiber *fiber);

/* Put a fiber into the slot, which is not empty: what was there goes to the ring. */
void sched_displace(struct worker *worker, struct fiber *fiber);

/** The inlined sched_ready. */
static ALWAYS_INLINE void turn_ready(struct worker *worker, struct fiber *fiber)
{
    struct weft_runtime *runtime = fiber_worker(fiber)->runtime;

    if (hooked())
        hook_ready(worker, fiber);
    if (unlikely(fiber->home != NULL))
        worker_queue_pinned(fiber, worker);
    else if (unlikely(!worker || worker->runtime != runtime))
        sched_inject(runtime, fiber);
    else if (unlikely(atomic_load_explicit(&worker->slot, memory_order_relaxed) != NULL))
        sched_displace(worker, fiber);
    else
        atomic_store_explicit(&worker->slot, fiber, memory_order_release); /* K2, Q3 */
}

static ALWAYS_INLINE struct fiber *turn_take_slot(struct worker *worker)
{
    struct fiber *fiber = atomic_load_explicit(&worker->slot, memory_order_relaxed);

    if (!fiber)
        return NULL;
    if (!worker->alone)
        return atomic_exchange_explicit(&worker->slot, NULL, memory_order_acq_rel);
    atomic_store_explicit(&worker->slot, NULL, memory_order_relaxed);
    return fiber;
}

/** The next fiber of the worker's own queues, in the order of Q2; NULL: none, or the budget is used
 * up. */
static ALWAYS_INLINE struct fiber *turn_next(struct worker *worker)
{
    struct fiber *fiber;

    if (unlikely(--worker->budget < 0))
        return NULL;
    if (worker->slot_streak < SLOT_STREAK && (fiber = turn_take_slot(worker))) {
        worker->slot_streak++;
        return fiber;
    }
    worker->slot_streak = 0;
    if ((fiber = deque_pop(&worker->deque)))
        return fiber;
    if ((fiber = runq_pop(&worker->runq)))
        return fiber;
    return turn_take_slot(worker);
}

/* What arrives with control: the worker, and what the stack that was left wants done here (P1). */
static ALWAYS_INLINE struct worker *turn_arrive(struct carried carried)
{
    struct worker *worker = carried.a;
    sched_after *after = (sched_after *)carried.b;

    if (after) {
        /* Release: whoever sees the NULL sees the registers of the fiber that was left. */
        atomic_store_explicit(&worker->after, NULL, memory_order_release);
        after(worker, carried.c);
    }
    return worker;
}

/* As turn_arrive, where control mostly comes from one that wants `likely_after`, which is
 * inlined. */
static ALWAYS_INLINE void turn_arrive_from(struct carried carried, sched_after *likely_after)
{
    struct worker *worker = carried.a;

    if (unlikely((sched_after *)carried.b != likely_after)) {
        turn_arrive(carried);
        return;
    }
    atomic_store_explicit(&worker->after, NULL, memory_order_release); /* as in turn_arrive */
    likely_after(worker, carried.c);
}

/* Before the fiber that runs is left.  Returns what goes along with control. */
static ALWAYS_INLINE struct carried turn_announce(struct worker *worker, sched_after *after,
                                                  void *arg)
{
    atomic_store_explicit(&worker->after, after, memory_order_relaxed); /* for observers */
    return (struct carried){worker, (void *)after, arg};
}

static ALWAYS_INLINE void turn_enter(struct worker *worker, struct fiber *fiber)
{
    atomic_store_explicit(&fiber->worker, worker, memory_order_relaxed); /* F2 */
    /* Release: whoever sees that another is current sees that one is being left. */
    atomic_store_explicit(&worker->current, fiber, memory_order_release);
    count(&worker->counters.turns, 1);
}

/* The fiber that the caller runs on, after a switch.  Asked for again rather than kept over it:
 * what is kept lies on the stack, and the compiler would then also fetch it from there before. */
static ALWAYS_INLINE struct fiber *turn_current(struct worker *worker)
{
    return atomic_load_explicit(&worker->current, memory_order_relaxed);
}

/* Leave `self` for `to`; returns when self is resumed, with what it has to do first. */
static ALWAYS_INLINE struct carried turn_leave(struct worker *worker, struct fiber *self,
                                               struct context *to, struct carried carried)
{
    self->saved_errno = *worker->errno_location;
    carried = context_jump(&self->context, to, false, carried);
    worker = carried.a; /* who resumed it */
    self = turn_current(worker);
    *worker->errno_location = self->saved_errno;
    return carried;
}

/* Leave `self` for the next fiber, or for the scheduler if there is none.  Returns, when self is
 * resumed, what turn_arrive must do. */
static ALWAYS_INLINE struct carried turn_leave_for(struct worker *worker, struct fiber *self,
                                                   struct fiber *next, sched_after *after,
                                                   void *arg, enum leave_reason reason)
{
    struct carried carried = turn_announce(worker, after, arg);

    if (likely(next != NULL))
        turn_enter(worker, next);
    if (hooked())
        hook_switch(worker, self, next, reason);
    return turn_leave(worker, self,
                      likely(next != NULL) ? &next->context : &worker->thread->context, carried);
}

#endif
