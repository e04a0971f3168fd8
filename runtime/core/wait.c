/* SPDX-License-Identifier: MIT */
/* Waiting: the park word's transitions.  The protocol and its invariants stand in wait.h. */
#include "core/wait.h"

#include <errno.h>

#include "core/fiber.h"
#include "core/park.h"
#include "core/stack.h"
#include "core/turn.h"
#include "weft/fiber.h"
#include "weft/time.h"

void park_cancel(struct fiber *fiber, struct scope *scope, struct wait_batch *batch)
{
    uint_fast64_t word = atomic_load_explicit(&fiber->park, memory_order_seq_cst); /* W4 */

    for (;;) {
        enum park_state state = park_state(word);

        if (state != PARK_ARMING && state != PARK_WAITING)
            return;
        if (atomic_load_explicit(&fiber->scope, memory_order_acquire) != scope)
            return; /* S3: read between two looks at the same word */
        if (park_take(fiber, &word, PARK_CANCEL, batch))
            return;
    }
}

int wait_prepare(struct waiter *waiter)
{
    return park_prepare(fiber_running(), waiter);
}

void wait_prepare_shielded(struct waiter *waiter)
{
    park_prepare_shielded(fiber_running(), waiter);
}

void wait_describe(const struct waiter *waiter, const char *kind, const void *object)
{
    park_describe(waiter, kind, object);
}

void wait_abandon(struct waiter *waiter)
{
    park_end(waiter->fiber);
}

/* On the next stack: the registers are saved, so the fiber may be made ready now.  Or it was
 * claimed while it was arming; then it is for us to do so (W1). */
static void wait_publish(struct worker *worker, void *arg)
{
    struct fiber *fiber = arg;
    uint_fast64_t word = atomic_load_explicit(&fiber->park, memory_order_relaxed);

    fiber->since_ns = worker->tick_ns;
    shake();
    while (park_state(word) == PARK_ARMING || park_state(word) == PARK_ARMING_SHIELDED) {
        /* PARK_WAITING is PARK_ARMING + 2, shielded or not. */
        if (atomic_compare_exchange_weak_explicit(&fiber->park, &word, word + 2,
                                                  memory_order_seq_cst, memory_order_relaxed))
            return;
    }
    turn_ready(worker, fiber);
}

static inline int wait_outcome(struct fiber *self)
{
    uint_fast64_t word = atomic_load_explicit(&self->park, memory_order_acquire);
    struct scope *scope = atomic_load_explicit(&self->scope, memory_order_relaxed);

    park_end(self);
    switch (park_state(word)) {
    case PARK_EVENT:
        return 0;
    case PARK_TIMEOUT:
        return -ETIMEDOUT;
    default:
        CHECK(park_state(word) == PARK_CANCEL);
        return atomic_load_explicit(&scope->cancelled, memory_order_relaxed);
    }
}

static bool wait_claimed(struct fiber *self)
{
    return park_state(atomic_load_explicit(&self->park, memory_order_acquire)) >= PARK_EVENT;
}

/* Leave for `next`, or if that is NULL for whoever is next; not without need.  Ends the section. */
static ALWAYS_INLINE void leave_claimable(struct worker *worker, struct fiber *self,
                                          struct fiber *next)
{
    if (unlikely(wait_claimed(self))) {
        if (next)
            sched_ready(worker, next);
        worker_exit(self);
    } else if (next) {
        sched_hand_over(worker, self, next, wait_publish, self);
    } else {
        worker = turn_arrive(
            turn_leave_for(worker, self, turn_next(worker), wait_publish, self, LEAVE_WAIT));
        worker_exit(turn_current(worker));
    }
}

/* A fiber that is resumed late is no other than one that yields when it is. */
static ALWAYS_INLINE void shake_turn(void)
{
    if (shake_due())
        (void)weft_yield();
}

static NOINLINE int suspend_until(struct waiter *waiter, uint64_t deadline_ns, struct fiber *next)
{
    struct fiber *self = waiter->fiber;
    struct worker *worker = worker_enter_home(self);
    struct timer timer = {.index = TIMER_IDLE, .fiber = self};

    timer_add(&worker->timers, &timer, deadline_ns);
    leave_claimable(worker, self, next);
    shake_turn();
    timer_remove(&timer);
    return wait_outcome(self);
}

static ALWAYS_INLINE int suspend_for(struct waiter *waiter, uint64_t deadline_ns,
                                     struct fiber *next)
{
    if (deadline_ns != WEFT_NO_DEADLINE)
        return suspend_until(waiter, deadline_ns, next);
    leave_claimable(worker_enter_home(waiter->fiber), waiter->fiber, next);
    shake_turn();
    return wait_outcome(waiter->fiber);
}

int wait_suspend(struct waiter *waiter, uint64_t deadline_ns)
{
    return suspend_for(waiter, deadline_ns, NULL);
}

int wait_hand_over(struct waiter *waiter, uint64_t deadline_ns, struct wait_batch *batch)
{
    ASSERT(!batch->head || !batch->head->next);
    return suspend_for(waiter, deadline_ns, batch->head);
}

bool wait_claim(struct waiter *waiter, struct wait_batch *batch)
{
    return park_claim(waiter->fiber, PARK_EVENT, batch);
}

void wait_batch_wake_on(struct worker *worker, struct wait_batch *batch)
{
    struct fiber *fiber = batch->head;

    if (!fiber)
        return;
    if (likely(!fiber->next))
        turn_ready(worker, fiber);
    else
        sched_ready_list(worker, fiber);
}

void wait_batch_wake(struct wait_batch *batch)
{
    struct fiber *self;

    if (!batch->head)
        return;
    self = fiber_self();
    wait_batch_wake_on(self ? worker_enter(self) : NULL, batch);
    if (self)
        worker_exit(self);
}

int weft_sleep_until(uint64_t deadline_ns)
{
    struct waiter waiter;
    int r = wait_prepare(&waiter);

    if (r < 0)
        return r;
    wait_describe(&waiter, "sleep", NULL);
    /* Nobody but the timer and cancellation can claim it. */
    r = wait_suspend(&waiter, deadline_ns);
    if (r != -ETIMEDOUT)
        return r;
    return scope_check(waiter.fiber);
}

int weft_sleep(uint64_t duration_ns)
{
    return weft_sleep_until(weft_deadline_after(duration_ns));
}
