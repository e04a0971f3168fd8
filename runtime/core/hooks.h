/* SPDX-License-Identifier: MIT */
/*
 * Where the scheduler lets itself be watched.  Each place is a plain load of one word of the
 * process and a branch that is not taken; what is behind it lives in observe/.
 *
 *   H1  A switch first announces itself (worker->after for whom it leaves, then worker->current for
 *       whom it enters), then reads the word; the end of a fiber first takes its id away.  Whoever
 *       sets HOOK_PIN executes membarrier(2) afterwards: then each switch and each end has either
 *       been announced where the observer sees it, or reads the bit.
 *   H2  While HOOK_PIN is set, entering or ending the fiber that is pinned waits.  So its control
 *       block, its name and its group stay, and if it does not run, its stack does too.  Its wait
 *       may still be claimed and the fiber be queued: no wake-up is lost or late by more than the
 *       pin.
 *   H3  hooks_reached never suspends, and is called where no lock is held.
 */
#ifndef RUNTIME_CORE_HOOKS_H
#define RUNTIME_CORE_HOOKS_H

#include <stdatomic.h>

#include "core/base.h"

struct fiber;
struct worker;
struct weft_runtime;

enum {
    HOOK_PIN = 1,       /* an observer looks at fibers */
    HOOK_TRACE_ONE = 2, /* added once per runtime that traces */
    HOOK_TRACE_MASK = ~1
};

/* Why control left a fiber. */
enum leave_reason {
    LEAVE_WAIT,
    LEAVE_YIELD,
    LEAVE_SPAWN,
    LEAVE_END,
    LEAVE_HANDOFF, /* it goes on without the worker (handoff.h) */
    LEAVE_REASONS
};

/* Atomic: the acquire pairs with the release of an observer that is done, so that what it read is
 * not written too early. */
extern atomic_uint observe_hooks __attribute__((visibility("hidden")));

/** A full barrier, for those who are being watched and who watch.  (ThreadSanitizer knows no
 * fences.) */
static inline void hook_barrier(void)
{
#ifdef WITH_TSAN
    atomic_fetch_or_explicit(&observe_hooks, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/** Whether anybody watches.  After the announcement (H1). */
static inline bool hooked(void)
{
    atomic_signal_fence(memory_order_seq_cst); /* the compiler's part of H1 */
    return unlikely(atomic_load_explicit(&observe_hooks, memory_order_acquire) != 0);
}

/** The signal that asks a worker's thread where it is; their threads do not block it. */
int hook_signal(void);

/** From a switch: `from` is about to be left (NULL: the scheduler) and `to` to be entered (NULL:
 * the scheduler). */
void hook_switch(struct worker *worker, struct fiber *from, struct fiber *to,
                 enum leave_reason reason);

/** From the end of a fiber, which has taken its id away: `id`.  `worker`: NULL, it has none. */
void hook_end(struct worker *worker, struct fiber *fiber, uint64_t id);

/** `fiber` is about to be queued.  `worker`: the caller's own, NULL on a plain thread. */
void hook_ready(struct worker *worker, struct fiber *fiber);

/** `fiber` was started by a plain thread, and is about to be queued. */
void hook_spawned_outside(struct fiber *fiber);

/** The worker took `taken` fibers from `victim`; the first one is `fiber`. */
void hook_stolen(struct worker *worker, struct worker *victim, struct fiber *fiber, unsigned taken);

/** The worker's loop was polled, or it slept in it (`parked`), since `start_ns`. */
void hook_polled(struct worker *worker, uint64_t start_ns, bool parked);

#endif
