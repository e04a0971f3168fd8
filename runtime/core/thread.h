/* SPDX-License-Identifier: MIT */
/*
 * The OS threads of a runtime.  A thread drives a worker, or runs one fiber without a worker (a
 * stray, see handoff.h), or is a spare one that waits for a worker.
 *
 *   D1  A worker is driven by one thread at a time.  `thread->worker` and `worker->thread` change
 *       together, under the lock, while the thread that loses the worker runs its fiber's own code.
 *       So whoever drives a worker may read both without the lock.
 *   D2  There is one thread per worker from the start, and these stay to the end; further ones are
 *       started when there is no spare one, up to a limit, and leave after some idle time.
 *   D3  A thread that leaves joins the one that left before it; the runtime joins the last one.
 */
#ifndef RUNTIME_CORE_THREAD_H
#define RUNTIME_CORE_THREAD_H

#include <pthread.h>
#include <signal.h>

#include "core/context.h"
#include "core/list.h"

struct fiber;
struct weft_runtime;
struct worker;

struct thread {
    struct weft_runtime *runtime; /* constant */
    struct worker *worker;        /* that it drives, or NULL; D1 */
    struct context context;       /* the scheduler's stack, while a fiber runs */
    int *errno_location; /* this thread's errno; a fiber must not ask for its address itself */
    pthread_t id;
    void *signal_stack; /* for the report of a stack overflow */
    bool extra;         /* constant: more than one per worker (D2) */

    pthread_cond_t wake; /* it got a worker, or the runtime ends */
    struct list link;    /* on `spares` or `strays`, or on none; guarded by the lock */
    bool reserved;       /* it is about to get a worker: it must not leave; guarded by the lock */

    /* Of the stray that it runs; guarded by the lock. */
    struct fiber *stray; /* NULL: none */
    struct worker *lost; /* which worker it drove before */
    uint64_t since_ns;   /* when the fiber's turn began, or was first seen */
    bool announced;      /* by weft_blocking_begin: the fiber meant to block */
    bool told;           /* it was reported as slow; means nothing if announced */
};

/* All of a runtime's. */
struct threads {
    struct thread *first; /* one per worker; constant */
    unsigned started;     /* of these; constant once the runtime has started */
    pthread_mutex_t lock; /* guards what follows, and what it says in struct thread */
    struct list spares;   /* threads without work; the latest first, so that the surplus leaves */
    struct list strays;   /* threads that run a fiber without a worker */
    pthread_cond_t fewer; /* `extra` became 0 */
    sigset_t blocked;     /* constant: what threads block, from their first instruction on */
    unsigned extra;       /* alive, or about to be */
    unsigned extra_max;   /* constant */
    unsigned unannounced; /* of the strays */
    unsigned unannounced_max; /* constant */
    bool closed;              /* no more threads; spares leave */
    bool has_leaver;          /* `leaver` is to be joined (D3) */
    pthread_t leaver;
};

/** Make room for one thread per worker; none is started.  `extra_max`: how many more there may be.
 * Errors: -ENOMEM. */
int threads_init(struct threads *threads, struct weft_runtime *runtime, unsigned extra_max);

/** Start a thread for each worker.  Errors: -EAGAIN. */
int threads_start(struct threads *threads);

/** The runtime has ended, and its loops were woken: wait until all threads are gone. */
void threads_stop(struct threads *threads);
void threads_destroy(struct threads *threads);

/** A spare thread, started if need be, that waits for a worker and does not leave; or NULL.  Any
 * thread, without the lock. */
struct thread *threads_reserve(struct threads *threads);

/** Give a reserved thread back, unused.  Under the lock. */
void threads_release(struct threads *threads, struct thread *thread);

/** How many there are beyond one per worker, and fibers that run without a worker.  Any thread. */
void threads_usage(struct threads *threads, unsigned *ret_extra, unsigned *ret_strays);

#endif
