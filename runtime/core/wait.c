/* SPDX-License-Identifier: MIT */
/* Waiting: the park word's transitions.  The protocol and its invariants stand in wait.h. */
#include "core/wait.h"

#include <errno.h>

#include "core/fiber.h"
#include "core/park.h"
#include "core/sched.h"
#include "core/stack.h"
#include "core/worker.h"
#include "weft/time.h"

static enum park_state park_state(uint_fast64_t word)
{
    return (enum park_state)(word & PARK_STATE_MASK);
}

/* The word of the fiber's next wait. */
static uint_fast64_t park_begin(const struct fiber *self, enum park_state state)
{
    uint_fast64_t word = atomic_load_explicit(&self->park, memory_order_relaxed);

    return ((word >> PARK_STATE_BITS) + 1) << PARK_STATE_BITS | state;
}

static void park_end(struct fiber *self)
{
    uint_fast64_t word = atomic_load_explicit(&self->park, memory_order_relaxed);

    atomic_store_explicit(&self->park, (word & ~(uint_fast64_t)PARK_STATE_MASK) | PARK_RUNNING,
                          memory_order_relaxed);
}

static void batch_append(struct wait_batch *batch, struct fiber *fiber)
{
    fiber->next = NULL;
    if (batch->tail)
        batch->tail->next = fiber;
    else
        batch->head = fiber;
    batch->tail = fiber;
}

/* One step of a claim: from `word` to `outcome`.  False: `*word` was refreshed, look again. */
static bool park_take(struct fiber *fiber, uint_fast64_t *word, enum park_state outcome,
                      struct wait_batch *batch)
{
    uint_fast64_t claimed = (*word & ~(uint_fast64_t)PARK_STATE_MASK) | outcome;
    enum park_state before = park_state(*word);

    shake();
    /* Release: what the claimer wrote for the waiter.  Acquire: the fiber's saved registers. */
    if (!atomic_compare_exchange_weak_explicit(&fiber->park, word, claimed, memory_order_seq_cst,
                                               memory_order_seq_cst))
        return false;
    if (before == PARK_WAITING || before == PARK_WAITING_SHIELDED)
        batch_append(batch, fiber);
    return true;
}

bool park_claim(struct fiber *fiber, enum park_state outcome, struct wait_batch *batch)
{
    uint_fast64_t word = atomic_load_explicit(&fiber->park, memory_order_acquire);

    for (;;) {
        enum park_state state = park_state(word);

        if (state == PARK_RUNNING || state >= PARK_EVENT)
            return false;
        if (park_take(fiber, &word, outcome, batch))
            return true;
    }
}

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

static void waiter_init(struct waiter *waiter, struct fiber *self)
{
    list_init(&waiter->link);
    waiter->fiber = self;
    waiter->slot = NULL;
    waiter->result = 0;
    /* Nobody looks for the owner of what an earlier wait was for. */
    atomic_store_explicit(&self->wait_kind, NULL, memory_order_relaxed);
}

int wait_prepare(struct waiter *waiter)
{
    struct fiber *self = fiber_self();
    int r;

    CHECK(self);
    waiter_init(waiter, self);
    r = scope_check(self);
    if (unlikely(r < 0))
        return r;
    atomic_store_explicit(&self->park, park_begin(self, PARK_ARMING), memory_order_seq_cst);
    r = scope_check(self); /* W4: after the store, in the order of all sequentially consistent */
    if (unlikely(r < 0))
        park_end(self);
    return r;
}

void wait_prepare_shielded(struct waiter *waiter)
{
    struct fiber *self = fiber_self();

    CHECK(self);
    waiter_init(waiter, self);
    atomic_store_explicit(&self->park, park_begin(self, PARK_ARMING_SHIELDED),
                          memory_order_release);
}

void wait_describe(const struct waiter *waiter, const char *kind, const void *object)
{
    atomic_store_explicit(&waiter->fiber->wait_kind, kind, memory_order_relaxed);
    atomic_store_explicit(&waiter->fiber->wait_object, object, memory_order_relaxed);
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
    sched_ready(worker, fiber);
}

static int wait_outcome(struct fiber *self)
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

/* Leave for `next`, or if that is NULL for whoever is next. */
static inline int suspend_for(struct waiter *waiter, uint64_t deadline_ns, struct fiber *next)
{
    struct fiber *self = waiter->fiber;
    struct timer timer;
    bool timed = deadline_ns != WEFT_NO_DEADLINE;
    struct wait_batch none = {0};

    if (timed) {
        timer = (struct timer){.index = TIMER_IDLE, .fiber = self};
        if (timer_add(&self->worker->timers, &timer, deadline_ns) < 0) {
            timed = false;
            park_claim(self, PARK_TIMEOUT, &none); /* no memory for it: now rather than never */
        }
    }
    if (next && !wait_claimed(self))
        sched_hand_over(self, next, wait_publish, self);
    else if (next)
        sched_ready(self->worker, next);
    else if (!wait_claimed(self))
        sched_suspend(self, wait_publish, self);
    if (timed)
        timer_remove(&timer);
    return wait_outcome(self);
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
    if (!fiber->next)
        sched_ready(worker, fiber);
    else
        sched_ready_list(worker, fiber);
}

void wait_batch_wake(struct wait_batch *batch)
{
    if (batch->head)
        wait_batch_wake_on(worker_self(), batch);
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
