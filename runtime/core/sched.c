/* SPDX-License-Identifier: MIT */
/*
 * The scheduler's switches and its local queues.
 *
 *   Q1  A fiber is in at most one queue, and only while nobody runs it.
 *   Q2  The order of sched_next: the slot (at most SLOT_STREAK times in a row while others wait),
 *       the newest continuation, the oldest woken fiber.  After `period` turns the scheduler's own
 *       stack gets its turn (worker_tick): the inject queue, the loop, and the woken fibers first.
 *   Q3  Filling the empty slot wakes nobody: the worker itself will come to it soon, and waking a
 *       thief for it costs both of them the locality.  What is displaced from it does.
 */
#include "core/sched.h"

#include <errno.h>

#include "core/group.h"
#include "core/hooks.h"
#include "core/local.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "weft/fiber.h"

enum { SLOT_STREAK = 3 };

/* Append to a full ring: its older half makes room, in the inject queue.  Not the fiber, too: it
 * may come from there, and would never arrive. */
static void append_full(struct worker *worker, struct fiber *fiber)
{
    struct fiber *half[RUNQ_SLOTS / 2];
    unsigned count_taken;

    while (!runq_push(&worker->runq, fiber)) {
        count_taken = runq_take_half(&worker->runq, half);
        if (count_taken == 0)
            continue; /* thieves made room */
        for (unsigned i = 0; i + 1 < count_taken; i++)
            half[i]->next = half[i + 1];
        inject_push(&worker->runtime->inject, half[0], half[count_taken - 1], count_taken);
    }
}

void sched_append(struct worker *worker, struct fiber *fiber)
{
    if (unlikely(!runq_push(&worker->runq, fiber)))
        append_full(worker, fiber);
}

/* Append to the ring of woken fibers, where thieves may find it. */
static void ready_append(struct worker *worker, struct fiber *fiber)
{
    if (unlikely(!runq_push(&worker->runq, fiber)))
        append_full(worker, fiber);
    worker_notify(worker);
}

/* Make a fiber runnable from outside its runtime.  It may be the runtime's last, and may have ended
 * before this returns: being a visitor holds the runtime until then. */
static void sched_inject(struct weft_runtime *runtime, struct fiber *fiber)
{
    struct worker *sleeper;

    atomic_fetch_add_explicit(&runtime->visitors, 1, memory_order_relaxed);
    inject_push(&runtime->inject, fiber, fiber, 1);
    sleeper = idle_notify(&runtime->idle, WORK_SURPLUS);
    if (sleeper)
        worker_wake(sleeper, NULL);
    atomic_fetch_sub_explicit(&runtime->visitors, 1, memory_order_release);
}

void sched_ready(struct worker *worker, struct fiber *fiber)
{
    struct weft_runtime *runtime = fiber->worker->runtime;
    struct fiber *displaced;

    if (hooked())
        hook_ready(worker, fiber);
    if (unlikely(!worker || worker->runtime != runtime)) {
        sched_inject(runtime, fiber);
        return;
    }
    if (!atomic_load_explicit(&worker->slot, memory_order_relaxed)) {
        atomic_store_explicit(&worker->slot, fiber, memory_order_release); /* K2, Q3 */
        return;
    }
    shake();
    displaced = atomic_exchange_explicit(&worker->slot, fiber, memory_order_acq_rel);
    if (displaced)
        ready_append(worker, displaced);
}

void sched_ready_list(struct worker *worker, struct fiber *first)
{
    struct fiber *next;

    for (struct fiber *fiber = first; fiber; fiber = next) {
        next = fiber->next;
        if (!worker || worker->runtime != fiber->worker->runtime) {
            sched_ready(NULL, fiber);
            continue;
        }
        if (hooked())
            hook_ready(worker, fiber);
        ready_append(worker, fiber);
    }
}

static ALWAYS_INLINE struct fiber *take_slot(struct worker *worker)
{
    struct fiber *fiber = atomic_load_explicit(&worker->slot, memory_order_relaxed);

    if (!fiber)
        return NULL;
    if (!worker->alone)
        return atomic_exchange_explicit(&worker->slot, NULL, memory_order_acq_rel);
    atomic_store_explicit(&worker->slot, NULL, memory_order_relaxed);
    return fiber;
}

struct fiber *sched_take_slot(struct worker *worker)
{
    return take_slot(worker);
}

/* The inlined sched_next. */
static ALWAYS_INLINE struct fiber *next_fiber(struct worker *worker)
{
    struct fiber *fiber;

    if (unlikely(--worker->budget < 0))
        return NULL;
    if (worker->slot_streak < SLOT_STREAK && (fiber = take_slot(worker))) {
        worker->slot_streak++;
        return fiber;
    }
    worker->slot_streak = 0;
    if ((fiber = deque_pop(&worker->deque)))
        return fiber;
    if ((fiber = runq_pop(&worker->runq)))
        return fiber;
    return take_slot(worker);
}

struct fiber *sched_next(struct worker *worker)
{
    return next_fiber(worker);
}

/* What arrives with control: the worker, and what the stack that was left wants done here (P1). */
static ALWAYS_INLINE struct worker *arrive(struct carried carried)
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

/* Before the fiber that runs is left.  Returns what goes along with control. */
static ALWAYS_INLINE struct carried announce(struct worker *worker, sched_after *after, void *arg)
{
    atomic_store_explicit(&worker->after, after, memory_order_relaxed); /* for observers */
    return (struct carried){worker, (void *)after, arg};
}

static inline void enter(struct worker *worker, struct fiber *fiber)
{
    __atomic_store_n(&fiber->worker, worker, __ATOMIC_RELAXED); /* F2; atomic for observers */
    /* Release: whoever sees that another is current sees that one is being left. */
    atomic_store_explicit(&worker->current, fiber, memory_order_release);
    count(&worker->counters.turns, 1);
}

static void after_yield(struct worker *worker, void *arg)
{
    ready_append(worker, arg);
}

static void after_spawn(struct worker *worker, void *arg)
{
    if (unlikely(deque_push(&worker->deque, arg) < 0)) {
        ready_append(worker, arg);
        return;
    }
    worker_notify(worker);
}

static enum leave_reason reason_of(sched_after *after)
{
    if (after == after_yield)
        return LEAVE_YIELD;
    return after == after_spawn ? LEAVE_SPAWN : LEAVE_WAIT;
}

/* Leave `self` for `to`; returns when self is resumed. */
static ALWAYS_INLINE void leave(struct worker *worker, struct fiber *self, struct context *to,
                                struct carried carried)
{
    self->saved_errno = *worker->errno_location;
    carried = context_jump(&self->context, to, false, carried);
    worker = carried.a; /* self->worker, renewed */
    *worker->errno_location = self->saved_errno;
    arrive(carried);
}

/* Leave `self` for the next fiber, or for the scheduler if there is none. */
static ALWAYS_INLINE void leave_for(struct worker *worker, struct fiber *self, struct fiber *next,
                                    sched_after *after, void *arg)
{
    struct carried carried = announce(worker, after, arg);

    if (next)
        enter(worker, next);
    if (hooked())
        hook_switch(worker, self, next, reason_of(after));
    leave(worker, self, next ? &next->context : &worker->thread->context, carried);
}

void sched_suspend(struct fiber *self, sched_after *after, void *arg)
{
    struct worker *worker = self->worker;

    leave_for(worker, self, next_fiber(worker), after, arg);
}

void sched_hand_over(struct fiber *self, struct fiber *next, sched_after *after, void *arg)
{
    struct worker *worker = self->worker;

    if (unlikely(next->worker->runtime != worker->runtime || worker->budget <= 0)) {
        sched_ready(worker, next);
        next = sched_next(worker);
    } else {
        worker->budget--;
    }
    leave_for(worker, self, next, after, arg);
}

void sched_run(struct worker *worker, struct fiber *fiber)
{
    struct carried carried;

    enter(worker, fiber);
    if (hooked())
        hook_switch(worker, NULL, fiber, LEAVE_WAIT);
    carried = context_jump(&worker->thread->context, &fiber->context, false,
                           (struct carried){.a = worker});
    atomic_store_explicit(&worker->current, NULL, memory_order_release); /* as in enter() */
    arrive(carried);
}

int weft_yield(void)
{
    struct fiber *self = fiber_running();
    struct worker *worker;
    struct fiber *next;
    int r = scope_check(self);

    if (unlikely(r < 0))
        return r;
    worker = self->worker;
    next = next_fiber(worker);
    if (!next && worker->budget >= 0) {
        count(&worker->counters.lone_yields, 1);
        return 0; /* nobody else is ready */
    }
    leave_for(worker, self, next, after_yield, self);
    return scope_check(self);
}

/* Where the option sets a limit, fibers are counted.  False: it is reached. */
static bool admit(struct weft_runtime *runtime)
{
    if (likely(runtime->max_fibers == 0))
        return true;
    if (atomic_fetch_add_explicit(&runtime->alive, 1, memory_order_relaxed) < runtime->max_fibers)
        return true;
    atomic_fetch_sub_explicit(&runtime->alive, 1, memory_order_relaxed);
    return false;
}

static void dismiss(struct weft_runtime *runtime)
{
    if (unlikely(runtime->max_fibers != 0))
        atomic_fetch_sub_explicit(&runtime->alive, 1, memory_order_relaxed);
}

static void after_end(struct worker *worker, void *arg)
{
    struct fiber *ended = arg;

    context_discard(&ended->context);
    stack_free(&worker->stacks, ended);
    dismiss(worker->runtime);
}

/* Uncount the ended fiber in its group.  Returns the fiber to run next if it got hold of one. */
static struct fiber *uncount(struct worker *worker, struct fiber *self)
{
    struct fiber *next = NULL;

    if (self->counted_by_owner && worker->budget > 0) {
        next = deque_pop(&worker->deque);
        if (next && next == self->spawner) {
            self->group->local--; /* G2 */
            worker->budget--;
            return next;
        }
    }
    group_child_ended(self->group);
    return next;
}

void sched_resign(struct fiber *self)
{
    uint64_t id = atomic_load_explicit(&self->id, memory_order_relaxed);

    atomic_store_explicit(&self->id, 0, memory_order_relaxed);
    if (hooked())
        hook_end(self->worker, self, id);
}

_Noreturn static void fiber_end(struct fiber *self, int result)
{
    struct carried carried;
    struct worker *worker;
    struct fiber *next;

    /* Scopes and groups live on this stack: one that was not left would be linked for ever. */
    CHECK(atomic_load_explicit(&self->scope, memory_order_relaxed) == &self->base);
    group_note_result(self->group, result);
    scope_unlink(&self->base);
    worker = self->worker;
    sched_resign(self);
    count(&worker->counters.finished, 1);
    next = uncount(worker, self);
    if (!next)
        next = sched_next(worker);
    carried = announce(worker, after_end, self);
    if (next)
        enter(worker, next);
    if (hooked())
        hook_switch(worker, self, next, LEAVE_END);
    context_jump(&self->context, next ? &next->context : &worker->thread->context, true, carried);
    __builtin_unreachable();
}

/* A switch_entry. */
static void fiber_main(void *unused, void *unused_too, void *worker, void *after, void *arg)
{
    struct fiber *self = fiber_self();
    int result;

    (void)unused, (void)unused_too;
    context_arrived(&self->context);
    *((struct worker *)worker)->errno_location = 0;
    arrive((struct carried){worker, after, arg});
    result = self->fn(self->arg);
    locals_drop(&self->locals);
    fiber_end(self, result);
}

/* Count a child that is about to start, on `self` (NULL: a plain thread). */
static inline void count_child(struct group *group, struct fiber *self, struct fiber *child)
{
    child->group = group;
    child->counted_by_owner = self && self == group->scope.owner;
    if (likely(child->counted_by_owner)) {
        group->local++; /* G2 */
        return;
    }
    child->spawner_id = self ? atomic_load_explicit(&self->id, memory_order_relaxed) : 0;
    atomic_fetch_add_explicit(&group->balance, 1, memory_order_relaxed);
}

/* All but its id, which makes it visible. */
static void fiber_prepare(struct fiber *fiber, struct group *group, struct fiber *spawner,
                          struct locals *locals)
{
    /* fiber->park keeps its sequence from the stack's last fiber: stale claims must fail. */
    scope_init(&fiber->base, &group->scope, fiber, UINT64_MAX, false);
    atomic_store_explicit(&fiber->scope, &fiber->base, memory_order_relaxed);
    fiber->spawner = spawner;
    fiber->locals = locals_ref(locals);
    context_make(&fiber->context, fiber_main);
}

static inline void fiber_appear(struct fiber *fiber, uint64_t number, unsigned spawner)
{
    atomic_store_explicit(&fiber->id, fiber_id_make(number, spawner), memory_order_release);
}

static void sched_start_outside(struct weft_runtime *runtime, struct fiber *fiber)
{
    uint64_t number =
        atomic_fetch_add_explicit(&runtime->spawned_outside, 1, memory_order_relaxed) + 1;

    fiber->worker = &runtime->worker[0];
    fiber_appear(fiber, number, FIBER_ID_OUTSIDE);
    if (hooked())
        hook_spawned_outside(fiber);
    sched_inject(runtime, fiber);
}

int sched_spawn(struct group *group, const char *name, int (*fn)(void *), void *arg)
{
    struct weft_runtime *runtime = group->runtime;
    struct fiber *self = fiber_self();
    struct worker *worker = self ? self->worker : NULL;
    struct locals *locals = self ? self->locals : NULL;
    struct fiber *child;
    uint64_t number;
    int r;

    if (unlikely(worker && worker->runtime != runtime))
        self = NULL, worker = NULL;
    if (unlikely(atomic_load_explicit(&runtime->stopping, memory_order_relaxed)))
        return -ESHUTDOWN;
    if (unlikely(!admit(runtime)))
        return -EAGAIN;
    r = stack_alloc(worker ? &worker->stacks : NULL, runtime->stack_class, &child);
    if (unlikely(r < 0)) {
        dismiss(runtime);
        return r;
    }
    child->fn = fn;
    child->arg = arg;
    child->name = name;
    fiber_prepare(child, group, self, locals);
    count_child(group, self, child);
    if (likely(worker)) {
        number = atomic_load_explicit(&worker->counters.spawned, memory_order_relaxed) + 1;
        atomic_store_explicit(&worker->counters.spawned, number, memory_order_relaxed);
        fiber_appear(child, number, worker->index);
        leave_for(worker, self, child, after_spawn, self);
        return 0;
    }
    sched_start_outside(runtime, child);
    return 0;
}

bool weft_on_fiber(void)
{
    return fiber_self() != NULL;
}

const char *weft_fiber_name(void)
{
    struct fiber *self = fiber_self();

    return self ? self->name : NULL;
}

unsigned weft_worker_index(void)
{
    struct fiber *self = fiber_self();

    CHECK(self);
    return self->worker->index;
}
