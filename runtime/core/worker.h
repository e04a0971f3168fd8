/* SPDX-License-Identifier: MIT */
/*
 * A worker: a libev loop, ready queues, timers, a poller, counters.  The OS thread that drives it
 * is a struct of its own (thread.h): another thread takes the worker over when that one is stuck.
 *
 *   K1  Plain fields are the driving thread's: fibers that it runs and its scheduler's stack.
 *   K2  The slot holds at most one woken fiber.  The owner fills it by a store; it is emptied by
 *       exchange, by the owner or by a late thief, or by a store where there are no thieves.
 *   K3  A pinned fiber is queued on its home's `pinned_ready` only, where no thief looks.
 */
#ifndef RUNTIME_CORE_WORKER_H
#define RUNTIME_CORE_WORKER_H

#include <ev.h>

#include "core/deque.h"
#include "core/fiber.h"
#include "core/idle.h"
#include "core/inject.h"
#include "core/poller.h"
#include "core/runq.h"
#include "core/sched.h"
#include "core/stack.h"
#include "core/timer.h"

struct offload_pool;
struct trace_ring;
struct ring;
struct thread;
struct weft_runtime;

/* Counters: written by the driving thread only, with relaxed stores; read by any. */
struct worker_counters {
    atomic_uint_fast64_t turns, spawned, finished, steals, stolen, searches, parks, wakes, polls,
        events, timers, injected, lone_yields, longest_turn_ns, last_poll_ns, parked, handoffs;
};

struct worker {
    struct weft_runtime *runtime; /* constant */
    struct idle *idle;            /* the runtime's; constant */
    struct thread *thread;        /* that drives it; thread.h, D1 */
    int *errno_location; /* that thread's errno; a fiber must not ask for its address itself */
    unsigned index;      /* constant */
    bool is_stray;       /* it is the runtime's stray worker (handoff.h, S2), of which only what is
                            constant counts; constant */
    bool alone;          /* the runtime's only worker: there are no thieves; constant */

    /* Turns: see sched_next and worker_tick. */
    int budget;          /* turns until the next tick */
    int period;          /* turns between ticks */
    bool pinned_first;   /* whose turn the next tick is */
    bool searching;      /* counted as such in runtime->idle */
    unsigned dozes_left; /* times to doze on although nothing is seen (worker_park) */
    /* What a look found: a slot is stolen if the next look finds the same (worker_watch). */
    struct worker *watched;
    uint64_t watched_turns, watched_ns;
    unsigned slot_streak; /* turns in a row that came from the slot */
    uint64_t tick_ns;     /* when the last tick was */
    uint64_t poll_ns;     /* when the loop was last polled */
    int64_t oldest;       /* the deque's top at the tick at oldest_ns, and at each since */
    uint64_t oldest_ns;   /* worker_age_oldest */
    /* What the next stack has to do first (P1), for observers: not NULL from before a fiber is left
     * until its registers are saved. */
    _Atomic(sched_after *) after;
    _Atomic(struct fiber *) current; /* who runs; atomic for observers (hooks.h, H1); a fiber that
                                        was resumed finds itself in it */
    uint64_t random;                 /* xorshift state, for victims and the like */
    struct stack_cache stacks;
    atomic_uint pinned; /* fibers that are pinned here; handoff.h, S6.  Relaxed: written by the
                           driving thread, read by who tries to take the worker */
    _Atomic(struct ring *) ring; /* NULL until a file is first read or written; atomic: release in
                                    ring_of, acquire in ring_is_busy */
    unsigned ring_retry;         /* operations to do without, before a ring is asked for again */
    unsigned instant;            /* operations on files that were done at once (file.c) */

    _Alignas(CACHE_LINE) _Atomic(struct fiber *) slot; /* K2 */
    struct deque deque;                                /* continuations of spawners */
    struct runq runq;                                  /* woken fibers */
    struct inject pinned_ready;                        /* woken fibers that are pinned here (K3) */
    struct timers timers;

    struct ev_loop *loop;
    struct ev_async wake; /* the only watcher that other threads touch */
    struct ev_io poll;    /* the poller's epoll */
    struct ev_io alarm;   /* timer_fd */
    int timer_fd;
    uint64_t alarm_ns; /* what timer_fd is set to; UINT64_MAX: nothing */
    struct poller poller;
    _Atomic(struct trace_ring *) trace_ring; /* NULL: nothing is recorded; trace.h, R3 */
    atomic_bool trace_busy;                  /* written by the driving thread; trace.h, R3 */
    bool listed;                             /* on the list of sleepers; guarded by idle->lock */

    _Alignas(CACHE_LINE) struct worker_counters counters;
};

/* The worker that the thread drives, or drove last.  Only ever a guess (worker_enter): a fiber that
 * was stolen may read another thread's. */
extern __thread struct worker *worker_guess __attribute__((tls_model("initial-exec")));

static inline void count(atomic_uint_fast64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

/** A random number, from the driving thread. */
static inline uint64_t worker_random(struct worker *worker)
{
    uint64_t x = worker->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return worker->random = x;
}

/** The worker that runs the calling fiber, to read what is constant in it (F2); NULL on a plain
 * thread.  What is more is between worker_enter and worker_exit (handoff.h). */
static inline struct worker *worker_self(void)
{
    struct fiber *self = fiber_self();

    return self ? fiber_worker(self) : NULL;
}

/** The poller for what the calling fiber opens.  Any thread may add to it. */
struct poller *worker_poller(struct worker *worker);

struct offload_pool *worker_offload(struct worker *worker);

/** The pool for calls that may block on a disk. */
struct offload_pool *worker_files(struct worker *worker);

/** Fibers in the worker's own queues, where thieves may find them.  Any thread; a hint. */
size_t worker_ready(struct worker *worker);

/** And those that are pinned here. */
static inline size_t worker_queued(struct worker *worker)
{
    return worker_ready(worker) + inject_length(&worker->pinned_ready);
}

/** Errors: -ENOMEM, -EMFILE. */
int worker_init(struct worker *worker, struct weft_runtime *runtime, unsigned index);
void worker_destroy(struct worker *worker);

/** Drive the thread's worker: returns when the runtime has ended, or when the thread has lost the
 * worker. */
void worker_loop(struct thread *thread);

/** Arm a timer, from a fiber that runs on `worker` or (NULL) on none. */
void worker_add_timer(struct worker *worker, struct weft_runtime *runtime, struct timer *timer,
                      uint64_t deadline_ns);

/** Queue a pinned fiber where it belongs (K3).  `from`: the caller's own worker, or NULL. */
void worker_queue_pinned(struct fiber *fiber, struct worker *from);

/** Wake a worker that idle_notify named.  Any thread.  `from`: whose counter, or NULL. */
void worker_wake(struct worker *worker, struct worker *from);

void worker_notify_slow(struct worker *worker, unsigned idle_state);

/** Work was made visible to all, by the worker: wake somebody for it if need be. */
static inline void worker_notify(struct worker *worker)
{
    unsigned state;

    if (worker->alone)
        return;
    state = idle_state(worker->idle);
    if (unlikely(idle_needs_wake(worker->idle, state, WORK_SURPLUS)))
        worker_notify_slow(worker, state);
}

#endif
