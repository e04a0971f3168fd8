/* SPDX-License-Identifier: MIT */
/*
 * Handing a worker over to another thread, when its own is stuck in a fiber: in a blocking call, or
 * in a long computation.  The fiber goes on as a "stray": on its thread, without a worker.
 *
 *   S1  A fiber is inside from worker_enter to worker_exit, and from when it is left until it is
 *       back in its own code; so a fiber that is suspended, new or ended is inside.  Only inside
 *       does it use what is its worker's driving thread's (K1 of worker.h); else it may read its
 *       worker's constants.
 *   S2  Whoever takes a worker away (1) changes fiber->worker from the worker to the runtime's
 *       stray worker, (2) executes a barrier on all threads, (3) reads `inside`, and then whether
 *       fiber->worker is still what it wrote.  The fiber stores `inside`, and then reads
 *       fiber->worker.  So if the fiber was seen outside, it is in its own code, on the thread of
 *       that worker, and when it enters next it finds the stray worker.  Else the worker is put
 *       back, unless the fiber's resumer has written another one meanwhile.
 *   S3  A fiber that finds the stray worker takes the lock, under which all of S2 happens, and
 *       looks again: then it is so for good, or was a try that failed.
 *   S4  That the fiber is outside was stored with release and is read with acquire: what it did
 *       inside before is seen by the next driver.
 *   S5  A stray that is about to suspend, or to end, goes home first: it leaves to the scheduler's
 *       stack of its own thread, which puts it on the inject queue and becomes a spare thread. What
 *       does not suspend it does as a plain thread would, without a worker.
 *   S6  A worker with pinned fibers is not taken (weft/blocking.h).
 *
 * The fast path pays two stores per section; the compare that finds the stray worker is that of the
 * guess (worker_enter).  Who resumes a fiber hands its worker over with control, and does not ask.
 * The model is tests/model/handoff.pml.
 */
#ifndef RUNTIME_CORE_HANDOFF_H
#define RUNTIME_CORE_HANDOFF_H

#include <stdatomic.h>

#include "core/stack.h"
#include "core/thread.h"
#include "core/worker.h"

/** The slow half of worker_enter: the guess was wrong.  Returns: the worker, or NULL: the fiber is
 * a stray (S3). */
struct worker *handoff_look_again(struct fiber *self);

/** The calling fiber, a stray, gets a worker again.  Returns: it; the fiber is inside. 
 * Suspends. */
struct worker *handoff_go_home(struct fiber *self);

/** On the scheduler's stack of a thread without a worker: the stray came home, its registers are
 * saved. */
void handoff_arrived(struct thread *thread);

/** The index of the worker that the calling fiber, a stray, had before. */
unsigned handoff_lost_index(struct fiber *self);

/** What the calling fiber still holds when it ends: a pin, a blocking region.  They end, too. */
void handoff_forgive(struct fiber *self);

/**
 * Enter a section (S1) that does not suspend.  Sections do not nest.
 * Returns: the worker that runs the calling fiber, or NULL: it is a stray.
 *
 * From the stack pointer over the fiber to its worker, and on to its queues, is a chain of loads
 * that each switch has to wait for.  The thread's own worker is at hand without it; that it is the
 * fiber's is left to the branch predictor to know and to the branch to check.
 *
 * Only where a thread-local is addressed by a segment, which follows the thread.  Elsewhere the
 * compiler may keep the thread's pointer across a switch, and that thread may have ended since.
 */
static ALWAYS_INLINE struct worker *worker_enter(struct fiber *self)
{
#ifdef __x86_64__
    struct worker *guess = worker_guess;
#else
    struct worker *guess = NULL;
#endif
    struct worker *worker = guess;

    ASSERT(!atomic_load_explicit(&self->inside, memory_order_relaxed));
    atomic_store_explicit(&self->inside, true, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the compiler's part of S2 */
    shake();
    __asm__("" : "+r"(worker)); /* else the compiler would take the one that it is equal to */
    if (unlikely(fiber_worker(self) != guess)) /* a branch: a conditional move would wait */
        worker = handoff_look_again(self);
    return worker;
}

/** As worker_enter, for a section that may suspend: a stray goes home (S5).  Never NULL. */
static ALWAYS_INLINE struct worker *worker_enter_home(struct fiber *self)
{
    struct worker *worker = worker_enter(self);

    return likely(worker != NULL) ? worker : handoff_go_home(self);
}

/** Leave the section. */
static ALWAYS_INLINE void worker_exit(struct fiber *self)
{
    atomic_store_explicit(&self->inside, false, memory_order_release); /* S4 */
}

/* --- for the monitor */

/**
 * Take the worker from its thread if its fiber is outside, and give it to a spare thread.
 * `since_ns`: since when its turn has been seen to last; `told`: it was reported as slow already.
 * Any thread but the runtime's own.
 * Returns: whether it was done.  Errors: -ENOTSUP the kernel has no membarrier(2).
 */
int handoff_take(struct worker *worker, uint64_t since_ns, bool told);

/** Whether there is something that the worker's loop would do now, if only it had a thread. */
bool handoff_is_due(struct worker *worker, uint64_t now_ns);

/* A stray that was not announced and not yet reported. */
struct stray {
    struct fiber *fiber;
    uint64_t id;
    uint64_t since_ns;
    unsigned worker; /* the index of what it lost */
};

/** The first stray that has run for `slow_ns` at `now_ns`; it counts as told from now on.  False:
 * there is none; *ret_more: but there may be one later. */
bool handoff_next_slow(struct threads *threads, uint64_t slow_ns, uint64_t now_ns,
                       struct stray *ret_stray, bool *ret_more);

/** Whether the fiber runs without a worker since `since_ns`.  Any thread. */
bool handoff_is_stray(struct threads *threads, const struct fiber *fiber, uint64_t since_ns);

/** The thread that runs the fiber: its own if it is a stray, else the worker's.  Under the lock. */
struct thread *handoff_thread_of(struct worker *worker, const struct fiber *fiber);

#endif
