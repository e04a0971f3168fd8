/* SPDX-License-Identifier: MIT */
/* Scopes: linking, cancelling, and the public calls.  The invariants stand in scope.h. */
#include "core/scope.h"

#include <errno.h>
#include <string.h>

#include "core/fiber.h"
#include "core/handoff.h"
#include "core/park.h"
#include "core/stack.h"
#include "core/worker.h"
#include "weft/fiber.h"
#include "weft/scope.h"
#include "weft/time.h"

_Static_assert(sizeof(struct scope) <= sizeof(struct weft_scope), "weft_scope is too small");
_Static_assert(_Alignof(struct scope) <= _Alignof(struct weft_scope), "weft_scope alignment");

void scope_init_root(struct scope *scope)
{
    scope_init(scope, NULL, NULL, WEFT_NO_DEADLINE, false);
    list_init(&scope->children);
    atomic_store_explicit(&scope->linked, true, memory_order_release);
}

/* What a scope takes over from its parent, under the parent's lock. */
static void scope_inherit(struct scope *scope)
{
    struct scope *parent = scope->parent;
    int cause = atomic_load_explicit(&parent->cancelled, memory_order_relaxed);
    bool broken = atomic_load_explicit(&parent->broken, memory_order_relaxed);
    int none = 0;

    if (broken)
        atomic_store_explicit(&scope->broken, true, memory_order_relaxed);
    if (cause && (!scope->shield || broken)) /* unless somebody cancelled it before */
        atomic_compare_exchange_strong_explicit(&scope->cancelled, &none, cause,
                                                memory_order_seq_cst, memory_order_relaxed);
}

static bool scope_linked(struct scope *scope)
{
    return atomic_load_explicit(&scope->linked, memory_order_acquire);
}

/* Put the deadline into the timers of the worker that links the scope.  Outside all scope locks
 * (S2); the scope cannot be left meanwhile, because the linking fiber is inside it. */
static void scope_arm(struct scope *scope)
{
    struct fiber *self = fiber_self();
    struct wait_batch batch = {0};
    struct worker *worker;

    scope->timer = (struct timer){.index = TIMER_IDLE, .scope = scope};
    scope->timer_armed = scope->deadline_ns > weft_now_ns();
    if (scope->timer_armed) {
        worker = worker_enter(self);
        worker_add_timer(worker, fiber_worker(self)->runtime, &scope->timer, scope->deadline_ns);
        worker_exit(self);
        return;
    }
    scope_expire(scope, &batch); /* passed already */
    wait_batch_wake(&batch);
}

/* Link one scope whose parent is linked.  Fibers of one group may race to link its scope. */
static void scope_link_one(struct scope *scope)
{
    struct scope *parent = scope->parent;
    bool linked_now = false;

    spin_lock(&parent->lock);
    if (!atomic_load_explicit(&scope->linked, memory_order_relaxed)) {
        list_init(&scope->children);
        list_append(&parent->children, &scope->sibling);
        scope_inherit(scope);
        atomic_store_explicit(&scope->linked, true, memory_order_release);
        linked_now = true;
    }
    spin_unlock(&parent->lock);
    if (linked_now && scope->deadline_ns != WEFT_NO_DEADLINE)
        scope_arm(scope);
}

void scope_link(struct scope *scope)
{
    while (!scope_linked(scope)) {
        struct scope *highest = scope;

        while (!scope_linked(highest->parent))
            highest = highest->parent;
        scope_link_one(highest);
    }
}

void scope_unlink_slow(struct scope *scope)
{
    if (scope->timer_armed)
        timer_remove(&scope->timer);
    spin_lock(&scope->parent->lock);
    list_remove(&scope->sibling);
    spin_unlock(&scope->parent->lock);
}

/* Set the flags of one scope and wake its owner.  scope->lock is held; a link may set the flag at
 * the same time.  Returns: whether it was this call that cancelled it. */
static bool scope_mark(struct scope *scope, int cause, bool breaking, struct wait_batch *batch)
{
    int none = 0;
    bool first;

    if (breaking)
        atomic_store_explicit(&scope->broken, true, memory_order_relaxed);
    first = atomic_compare_exchange_strong_explicit(
        &scope->cancelled, &none, cause, memory_order_seq_cst, memory_order_seq_cst); /* W4 */
    if (scope->owner)
        park_cancel(scope->owner, scope, batch);
    return first;
}

static bool scope_skips(struct scope *scope, bool breaking)
{
    if (breaking)
        return false;
    return scope->shield || atomic_load_explicit(&scope->cancelled, memory_order_relaxed);
}

/* Depth first over the linked descendants, without recursion: the path is the parent pointers, and
 * every scope on it is locked, so no scope that is visited can be left (S4). */
static void scope_cancel_children(struct scope *root, int cause, bool breaking,
                                  struct wait_batch *batch)
{
    struct scope *scope = root;
    struct list *node = scope->children.next;

    for (;;) {
        if (node == &scope->children) {
            struct scope *done = scope;

            if (scope == root)
                return;
            node = done->sibling.next;
            scope = done->parent;
            spin_unlock(&done->lock);
            continue;
        }
        struct scope *child = container_of(node, struct scope, sibling);
        if (scope_skips(child, breaking)) {
            node = node->next;
            continue;
        }
        spin_lock(&child->lock);
        scope_mark(child, cause, breaking, batch);
        scope = child;
        node = child->children.next;
    }
}

void scope_cancel(struct scope *scope, int cause, bool breaking, struct wait_batch *batch)
{
    spin_lock(&scope->lock);
    if (breaking || !atomic_load_explicit(&scope->cancelled, memory_order_relaxed)) {
        if (scope_mark(scope, cause, breaking, batch))
            atomic_store_explicit(&scope->own, true, memory_order_relaxed);
        if (scope_linked(scope))
            scope_cancel_children(scope, cause, breaking, batch);
    }
    spin_unlock(&scope->lock);
}

void scope_expire(struct scope *scope, struct wait_batch *batch)
{
    scope_cancel(scope, -ETIMEDOUT, false, batch);
}

static void scope_enter(struct weft_scope *public, uint64_t deadline_ns, bool shield)
{
    struct scope *scope = (struct scope *)public;
    struct fiber *self = fiber_self();

    CHECK(self);
    scope_init(scope, atomic_load_explicit(&self->scope, memory_order_relaxed), self, deadline_ns,
               shield);
    atomic_store_explicit(&self->scope, scope, memory_order_release); /* S3 */
}

void weft_scope_enter(struct weft_scope *scope, uint64_t deadline_ns)
{
    scope_enter(scope, deadline_ns, false);
}

void weft_shield_enter(struct weft_scope *scope)
{
    scope_enter(scope, WEFT_NO_DEADLINE, true);
}

int weft_scope_leave(struct weft_scope *public)
{
    struct scope *scope = (struct scope *)public;
    struct fiber *self = fiber_self();

    CHECK(self && atomic_load_explicit(&self->scope, memory_order_relaxed) == scope);
    scope_unlink(scope);
    atomic_store_explicit(&self->scope, scope->parent, memory_order_release);
    if (!atomic_load_explicit(&scope->own, memory_order_relaxed))
        return 0;
    return atomic_load_explicit(&scope->cancelled, memory_order_relaxed);
}

void weft_scope_cancel(struct weft_scope *scope)
{
    struct wait_batch batch = {0};

    scope_cancel((struct scope *)scope, -ECANCELED, false, &batch);
    wait_batch_wake(&batch);
}

int weft_check_cancel(void)
{
    struct fiber *self = fiber_self();

    CHECK(self);
    return scope_check(self);
}
