/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: which fiber runs next, and the switches between fibers.
 *
 * Spawning is work-first: the child runs at once and the spawner's continuation goes on the
 * worker's deque, from which it is popped when the child ends, or stolen.  So a spawn tree holds
 * (depth x workers) stacks, and children start in the order of their spawning.  Fibers that were
 * woken go into a slot (the last one woken) and a FIFO ring; both kinds of queue get their turns.
 *
 *   P1  A switch names a callback that runs on the next stack ("after").  It is the only place that
 *       makes the fiber that was left reachable for others, because only there its registers are
 *       saved.
 *   P2  Within one thread, fibers switch straight to each other; the scheduler's own stack is used
 *       only when the local queues are empty or the budget of turns is used up.
 */
#ifndef RUNTIME_CORE_SCHED_H
#define RUNTIME_CORE_SCHED_H

#include "core/fiber.h"

struct group;
struct thread;
struct worker;

/* Runs on the next stack, see P1. */
typedef void sched_after(struct worker *worker, void *arg);

/** Make a claimed (or new) fiber runnable.  `worker`: the caller's own, or NULL on a plain thread.
 * The fiber must not be touched afterwards. */
void sched_ready(struct worker *worker, struct fiber *fiber);

/** Make several runnable, linked by next, to run in that order: all go to the ring, none to the
 * slot.  They may belong to different runtimes. */
void sched_ready_list(struct worker *worker, struct fiber *first);

/** Put a ready fiber behind the woken ones of the worker, telling nobody.  Owner only.  Where the
 * ring is full, its older half makes room: it goes to the inject queue. */
void sched_append(struct worker *worker, struct fiber *fiber);

/** Leave the calling fiber for `next`, which the caller has claimed, if it belongs here and the
 * budget of turns allows; else it is made ready, and the next one's turn it is.  after(worker, arg)
 * publishes the calling fiber (P1).  Returns when it is resumed.
 * After worker_enter_home, which gave `worker`; ends the section (handoff.h). */
void sched_hand_over(struct worker *worker, struct fiber *self, struct fiber *next,
                     sched_after *after, void *arg);

/** Leave the calling fiber for its thread's scheduler, which has no worker (handoff_arrived).
 * Returns: the worker that resumed it; the section goes on. */
struct worker *sched_leave_thread(struct fiber *self, struct thread *thread);

/** Start fn(arg) in the group.  Any thread.  Errors: -EAGAIN, -ENOMEM, -ESHUTDOWN. */
int sched_spawn(struct group *group, const char *name, int (*fn)(void *), void *arg);

/** The calling fiber is nobody any more to those who look at fibers: from here on its name may be
 * freed.  Its end does it, but before others are told of that end in some other way, it must have
 * been done.  Again does nothing. */
void sched_resign(struct fiber *self);

/** The next fiber of the worker's own queues, or NULL: none, or the budget is used up. */
struct fiber *sched_next(struct worker *worker);

/** Empty the worker's slot: by its owner, or by a late thief (K2 of worker.h).  NULL: it was. */
struct fiber *sched_take_slot(struct worker *worker);

/** From the scheduler's stack: run the fiber until control comes back here. */
void sched_run(struct worker *worker, struct fiber *fiber);

#endif
