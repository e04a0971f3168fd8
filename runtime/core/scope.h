/* SPDX-License-Identifier: MIT */
/*
 * Scopes: the tree along which cancellation travels.  Every fiber has a base scope whose parent is
 * its group's scope; entering a scope, a shield or a group makes it the fiber's innermost.
 *
 *   S1  A scope is linked into its parent's list the first time a fiber parks inside it, ancestors
 *       first; fork-join code that never parks never pays.  Once linked, cancellation of an
 *       ancestor reaches it: its own `cancelled` tells all, no ancestor need be asked.
 *   S2  A scope's list is guarded by its lock, the membership of a scope by its parent's.  Locks
 *       are taken parent before child, and a worker's timer lock before any of them.
 *   S3  Cancelling a scope sets its flag, then claims its owner's wait if the owner is parked with
 *       this scope innermost.  A parked fiber's `scope` does not change; that it was parked all the
 *       while is what the sequence number of its park word proves.
 *   S4  Whoever cancels a scope directly keeps it from being left meanwhile; or its memory from
 *       going away, if it is one that outlives its fiber (sync/task.c): a scope that was left has
 *       no children any more, and its owner is never again parked in it.  Propagation holds the
 *       lock of every scope on its path, and leaving takes the parent's, so propagation is safe.
 */
#ifndef RUNTIME_CORE_SCOPE_H
#define RUNTIME_CORE_SCOPE_H

#include "core/timer.h"

struct fiber;

struct scope {
    struct scope *parent;
    struct fiber *owner;    /* the fiber inside it; NULL for a runtime's root */
    _Atomic(int) cancelled; /* 0, -ECANCELED or -ETIMEDOUT; atomic: seq_cst, W4 of wait.h */
    atomic_bool linked;     /* release in scope_link, acquire by whoever asks */
    bool shield;            /* constant while entered */
    atomic_bool broken;     /* shields inside do not hold any more */
    atomic_bool own;        /* cancelled itself, not through an ancestor */
    uint64_t deadline_ns;   /* constant while entered */
    struct spin lock;
    bool timer_armed;     /* written once, by the fiber that links it */
    struct list children; /* linked scopes; guarded by lock; valid once linked */
    struct list sibling;  /* guarded by parent->lock */
    struct timer timer;   /* expires the scope */
};

/** Make a scope; it is not yet anybody's innermost. */
static inline void scope_init(struct scope *scope, struct scope *parent, struct fiber *owner,
                              uint64_t deadline_ns, bool shield)
{
    scope->parent = parent;
    scope->owner = owner;
    atomic_init(&scope->cancelled, 0);
    atomic_init(&scope->linked, false);
    scope->shield = shield;
    atomic_init(&scope->broken, false);
    atomic_init(&scope->own, false);
    scope->deadline_ns = deadline_ns;
    atomic_init(&scope->lock.locked, 0);
    scope->timer_armed = false;
}

/** Make a scope without a parent, ready to have children. */
void scope_init_root(struct scope *scope);

/** Link it and its ancestors (S1).  On a fiber inside it. */
void scope_link(struct scope *scope);

void scope_unlink_slow(struct scope *scope);

/** Unlink it from its parent and stop its timer: nobody refers to it afterwards.  Its timer is only
 * armed once it is linked. */
static inline void scope_unlink(struct scope *scope)
{
    if (unlikely(atomic_load_explicit(&scope->linked, memory_order_acquire)))
        scope_unlink_slow(scope);
}

/**
 * Cancel it and all linked descendants but those behind shields.  `breaking`: behind shields too,
 * now and later.  Claimed fibers are in `batch`.  Any thread (S4).
 */
void scope_cancel(struct scope *scope, int cause, bool breaking, struct wait_batch *batch);

/** Its deadline has passed.  Called by the timers, under their lock. */
void scope_expire(struct scope *scope, struct wait_batch *batch);

#endif
