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
#include "core/handoff.h"
#include "core/hooks.h"
#include "core/local.h"
#include "core/runtime.h"
#include "core/turn.h"
#include "weft/fiber.h"

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
static inline void ready_append(struct worker *worker, struct fiber *fiber)
{
    if (unlikely(!runq_push(&worker->runq, fiber)))
        append_full(worker, fiber);
    worker_notify(worker);
}

/* The fiber may be the runtime's last, and may have ended before this returns: being a visitor
 * holds the runtime until then. */
void sched_inject(struct weft_runtime *runtime, struct fiber *fiber)
{
    struct worker *sleeper;

    atomic_fetch_add_explicit(&runtime->visitors, 1, memory_order_relaxed);
    inject_push(&runtime->inject, fiber, fiber, 1);
    sleeper = idle_notify(&runtime->idle, WORK_SURPLUS);
    if (sleeper)
        worker_wake(sleeper, NULL);
    atomic_fetch_sub_explicit(&runtime->visitors, 1, memory_order_release);
}

void sched_displace(struct worker *worker, struct fiber *fiber)
{
    struct fiber *displaced;

    shake();
    displaced = atomic_exchange_explicit(&worker->slot, fiber, memory_order_acq_rel);
    if (displaced)
        ready_append(worker, displaced);
}

void sched_ready(struct worker *worker, struct fiber *fiber)
{
    turn_ready(worker, fiber);
}

void sched_ready_list(struct worker *worker, struct fiber *first)
{
    struct fiber *next;

    for (struct fiber *fiber = first; fiber; fiber = next) {
        next = fiber->next;
        if (!worker || worker->runtime != fiber_worker(fiber)->runtime || fiber->home) {
            sched_ready(fiber->home ? worker : NULL, fiber);
            continue;
        }
        if (hooked())
            hook_ready(worker, fiber);
        ready_append(worker, fiber);
    }
}

struct fiber *sched_take_slot(struct worker *worker)
{
    return turn_take_slot(worker);
}

struct fiber *sched_next(struct worker *worker)
{
    return turn_next(worker);
}

static inline void after_yield(struct worker *worker, void *arg)
{
    struct fiber *fiber = arg;

    if (unlikely(fiber->home != NULL))
        worker_queue_pinned(fiber, worker);
    else
        ready_append(worker, fiber);
}

static inline void after_spawn(struct worker *worker, void *arg)
{
    struct fiber *spawner = arg;

    if (unlikely(spawner->home != NULL)) {
        worker_queue_pinned(spawner, worker);
        return;
    }
    if (unlikely(deque_push(&worker->deque, spawner) < 0)) {
        ready_append(worker, spawner);
        return;
    }
    worker_notify(worker);
}

struct worker *sched_leave_thread(struct fiber *self, struct thread *thread)
{
    struct carried carried = {0};
    struct worker *worker;

    self->saved_errno = *thread->errno_location;
    carried = context_jump(&self->context, &thread->context, false, carried);
    worker = carried.a;
    *worker->errno_location = self->saved_errno;
    return turn_arrive(carried);
}

/* Whether the worker may run the claimed fiber at once. */
static bool belongs_here(const struct worker *worker, const struct fiber *fiber)
{
    return fiber_worker(fiber)->runtime == worker->runtime &&
           (likely(!fiber->home) || fiber->home == worker);
}

void sched_hand_over(struct worker *worker, struct fiber *self, struct fiber *next,
                     sched_after *after, void *arg)
{
    if (unlikely(!belongs_here(worker, next) || worker->budget <= 0)) {
        sched_ready(worker, next);
        next = sched_next(worker);
    } else {
        worker->budget--;
    }
    worker = turn_arrive(turn_leave_for(worker, self, next, after, arg, LEAVE_WAIT));
    worker_exit(turn_current(worker));
}

void sched_run(struct worker *worker, struct fiber *fiber)
{
    struct thread *thread = worker->thread;
    struct carried carried;

    turn_enter(worker, fiber);
    if (hooked())
        hook_switch(worker, NULL, fiber, LEAVE_WAIT);
    carried = context_jump(&thread->context, &fiber->context, false, (struct carried){.a = worker});
    if (unlikely(thread->worker != worker)) {
        handoff_arrived(thread); /* the worker is another thread's now */
        return;
    }
    atomic_store_explicit(&worker->current, NULL, memory_order_release); /* as in turn_enter */
    turn_arrive(carried);
}

int weft_yield(void)
{
    struct fiber *self = fiber_running();
    struct worker *worker = worker_enter_home(self);
    struct fiber *next = turn_next(worker);
    struct carried carried;

    if (unlikely(!next && worker->budget >= 0)) {
        count(&worker->counters.lone_yields, 1);
        worker_exit(self);
        return scope_check(self); /* nobody else is ready */
    }
    carried = turn_leave_for(worker, self, next, after_yield, self, LEAVE_YIELD);
    self = turn_current(carried.a);
    turn_arrive_from(carried, after_yield);
    worker_exit(self);
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

static inline void after_end(struct worker *worker, void *arg)
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
    group_child_ended(self->group, worker);
    return next;
}

static ALWAYS_INLINE void resign(struct worker *worker, struct fiber *self)
{
    uint64_t id = atomic_load_explicit(&self->id, memory_order_relaxed);

    atomic_store_explicit(&self->id, 0, memory_order_relaxed);
    if (hooked())
        hook_end(worker, self, id);
}

void sched_resign(struct fiber *self)
{
    resign(worker_enter(self), self);
    worker_exit(self);
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
    if (unlikely(self->blocking | self->pins))
        handoff_forgive(self);
    worker = worker_enter_home(self); /* for ever: whoever has this stack next starts inside (S1) */
    resign(worker, self);
    count(&worker->counters.finished, 1);
    next = uncount(worker, self);
    if (!next)
        next = sched_next(worker);
    carried = turn_announce(worker, after_end, self);
    if (next)
        turn_enter(worker, next);
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
    turn_arrive_from((struct carried){worker, after, arg}, after_spawn);
    worker_exit(self);
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

    atomic_store_explicit(&fiber->worker, &runtime->worker[0], memory_order_relaxed);
    fiber_appear(fiber, number, FIBER_ID_OUTSIDE);
    if (hooked())
        hook_spawned_outside(fiber);
    sched_inject(runtime, fiber);
}

int sched_spawn(struct group *group, const char *name, int (*fn)(void *), void *arg)
{
    struct weft_runtime *runtime = group->runtime;
    struct fiber *self = fiber_self();
    struct worker *worker = NULL;
    struct locals *locals = self ? self->locals : NULL;
    struct carried carried;
    struct fiber *child;
    uint64_t number;
    int r;

    if (unlikely(self && fiber_worker(self)->runtime != runtime))
        self = NULL;
    if (unlikely(atomic_load_explicit(&runtime->stopping, memory_order_relaxed)))
        return -ESHUTDOWN;
    if (unlikely(!admit(runtime)))
        return -EAGAIN;
    if (likely(self != NULL))
        worker = worker_enter_home(self);
    r = stack_alloc(worker ? &worker->stacks : NULL, runtime->stack_class, &child);
    if (unlikely(r < 0)) {
        if (self)
            worker_exit(self);
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
        carried = turn_leave_for(worker, self, child, after_spawn, self, LEAVE_SPAWN);
        self = turn_current(carried.a);
        turn_arrive_from(carried, after_end);
        worker_exit(self);
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
    struct worker *worker;
    unsigned index;

    CHECK(self);
    worker = worker_enter(self);
    index = worker ? worker->index : handoff_lost_index(self);
    worker_exit(self);
    return index;
}
