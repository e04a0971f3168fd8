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
 *   I5  A single fiber that is ready behind one that runs is *lone*; two are a surplus.  Where the
 *       owner switches every few hundred nanoseconds, it comes to a lone one sooner than a thief
 *       would, and gets it back with cold caches.  So a lone one is stolen only once its owner has
 *       not switched for a while; until then one worker *dozes*: it sleeps with a short timer, and
 *       looks again.  While there is a dozer, nobody is woken for a lone fiber; for a surplus the
 *       dozer is a sleeper like any other.  I3 holds for lone fibers with "dozing" for "searching":
 *       the dozer's look comes after every announcement that kept a submitter from waking somebody.
 *   I6  Whoever kept a submitter from waking somebody, by searching or dozing, and then found other
 *       work, still counts as searching when it starts that; so it wakes another for the rest (I2).
 */
#ifndef RUNTIME_CORE_IDLE_H
#define RUNTIME_CORE_IDLE_H

#include <stdatomic.h>

#include "core/spin.h"

struct worker;

struct idle {
    _Alignas(CACHE_LINE)
        atomic_uint state; /* searching, dozing, awake; seq_cst; who sleeps changes it under lock */
    struct spin lock;
    unsigned workers;
    unsigned sleepers;       /* guarded by lock */
    struct worker *dozer;    /* or NULL; guarded by lock; also IDLE_DOZING of state */
    struct worker **sleeper; /* stack of them; guarded by lock */
};

/** Errors: -ENOMEM. */
int idle_init(struct idle *idle, unsigned workers);
void idle_destroy(struct idle *idle);

/* The parts of state. */
#define IDLE_SEARCHING      1u
#define IDLE_SEARCHING_MASK (IDLE_DOZING - 1)
#define IDLE_DOZING         (1u << 15)
#define IDLE_AWAKE          (1u << 16)

/* What became visible, or is (I5). */
enum idle_work { WORK_NONE, WORK_LONE, WORK_SURPLUS };

static inline bool idle_needs_wake(const struct idle *idle, unsigned state, enum idle_work work)
{
    unsigned enough = work == WORK_LONE ? IDLE_SEARCHING_MASK | IDLE_DOZING : IDLE_SEARCHING_MASK;

    return (state & enough) == 0 && state / IDLE_AWAKE < idle->workers;
}

/** Take a worker off the list to wake it, if one is still needed; it counts as searching. */
struct worker *idle_take_sleeper(struct idle *idle, enum idle_work work);

/** After work was made visible: the state to ask idle_needs_wake about. */
static inline unsigned idle_state(struct idle *idle)
{
#ifdef WITH_TSAN
    return atomic_fetch_add_explicit(&idle->state, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst); /* I3 */
    return atomic_load_explicit(&idle->state, memory_order_relaxed);
#endif
}

/** After work was made visible: the worker to wake (its loop, by the caller), or NULL. */
static inline struct worker *idle_notify(struct idle *idle, enum idle_work work)
{
    return idle_needs_wake(idle, idle_state(idle), work) ? idle_take_sleeper(idle, work) : NULL;
}

/** Ask to search.  False: enough others do. */
bool idle_start_search(struct idle *idle);

/** Stop searching.  True: it was the last searcher. */
bool idle_stop_search(struct idle *idle);

enum dozer { DOZER_NONE, DOZER_OTHER, DOZER_SELF };

/** Announce that the worker is going to sleep; `searching`: it was.  `doze`: with a short timer, if
 * nobody else does.  Returns: who dozes now. */
enum dozer idle_announce(struct idle *idle, struct worker *worker, bool searching, bool doze);

/**
 * Back from sleep, or from an announcement that found work; dozes no more.  `owes_look`: others may
 * have relied on the worker to look for work (I6); so does a dozer.
 * True: it counts as searching, for that reason or because a waker took it off the list.
 */
bool idle_return(struct idle *idle, struct worker *worker, bool owes_look);

#endif
