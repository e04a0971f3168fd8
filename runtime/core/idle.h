/* SPDX-License-Identifier: MIT */
/*
 * Who searches, who sleeps, and whom to wake.  One per runtime.  After the idle protocol of Go's
 * and Tokio's schedulers.
 *
 *   I1  At most half of the workers search.  A wake is sent only if nobody searches; whoever is
 *       woken counts as searching from that moment, so one need sends one wake.
 *   I2  A searcher that finds work and was the last one wakes another: there may be more.
 *   I3  No lost wake-up.  A submitter makes work visible, then (full barrier) reads `state`.  A
 *       parker announces itself in `state`, then (full barrier) looks at every queue once more.
 *       One of them sees the other.
 *   I4  The list of sleepers is guarded by lock; a worker is on it from its announcement until
 *       somebody takes it off: a waker, or itself.
 */
#ifndef RUNTIME_CORE_IDLE_H
#define RUNTIME_CORE_IDLE_H

#include <stdatomic.h>

#include "core/spin.h"

struct worker;

struct idle {
    _Alignas(CACHE_LINE)
        atomic_uint state; /* searching | awake << 16; seq_cst; who sleeps changes it under lock */
    struct spin lock;
    unsigned workers;
    unsigned sleepers;       /* guarded by lock */
    struct worker **sleeper; /* stack of them; guarded by lock */
};

/** Errors: -ENOMEM. */
int idle_init(struct idle *idle, unsigned workers);
void idle_destroy(struct idle *idle);

/* The parts of state. */
#define IDLE_SEARCHING      1u
#define IDLE_AWAKE          (1u << 16)
#define IDLE_SEARCHING_MASK (IDLE_AWAKE - 1)

static inline bool idle_needs_wake(const struct idle *idle, unsigned state)
{
    return (state & IDLE_SEARCHING_MASK) == 0 && state / IDLE_AWAKE < idle->workers;
}

/** Take a worker off the list to wake it, if one is still needed; it counts as searching. */
struct worker *idle_take_sleeper(struct idle *idle);

/** After work was made visible: the worker to wake (its loop, by the caller), or NULL. */
static inline struct worker *idle_notify(struct idle *idle)
{
    unsigned state;

#ifdef WITH_TSAN
    state = atomic_fetch_add_explicit(&idle->state, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst); /* I3 */
    state = atomic_load_explicit(&idle->state, memory_order_relaxed);
#endif
    return unlikely(idle_needs_wake(idle, state)) ? idle_take_sleeper(idle) : NULL;
}

/** Ask to search.  False: enough others do. */
bool idle_start_search(struct idle *idle);

/** Stop searching.  True: it was the last searcher. */
bool idle_stop_search(struct idle *idle);

/** Announce that the worker is going to sleep; `searching`: it was. */
void idle_announce(struct idle *idle, struct worker *worker, bool searching);

/** Back from sleep, or from an announcement that found work.  True: a waker took it off the list,
 * and it counts as searching. */
bool idle_return(struct idle *idle, struct worker *worker);

#endif
