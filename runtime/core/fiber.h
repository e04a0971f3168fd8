/* SPDX-License-Identifier: MIT */
/*
 * The control block of a fiber.  It stands at the top of the fiber's own stack, in memory that is
 * never unmapped and never becomes anything else (see stack.h), so that a stale pointer to it may
 * be read.
 *
 *   F1  Whoever runs, claims or dequeued a fiber owns it: all plain fields are the owner's.  The
 *       hand-over is the ready queue's (release/acquire), or the park word's.
 *   F2  fiber->worker is written by the resumer before the switch, and may be changed by who takes
 *       the worker away (handoff.h, S2).  The fiber uses the worker between worker_enter and
 *       worker_exit only; but that of a fiber's runtime is always right, whoever asks.
 *   F3  Observers (observe/look.h) read the fields of a fiber they do not own.  While `id` is not 0
 *       and they have pinned it (hooks.h, H2), what was written before the id was set stays as it
 *       is; what changes later they read only where that is atomic, or the fiber is known to wait.
 */
#ifndef RUNTIME_CORE_FIBER_H
#define RUNTIME_CORE_FIBER_H

#include <stdatomic.h>

#include "core/context.h"
#include "core/scope.h"
#include "weft/time.h"

struct group;
struct locals;
struct thread;
struct worker;

struct fiber {
    struct context context;
    _Atomic(struct worker *) worker; /* who runs it, or ran it last (F2, F3); relaxed but for
                                        handoff.h, S2 */
    atomic_uint_fast64_t park;     /* wait.h: sequence << 3 | state; atomic: pairs among claimers */
    struct fiber *next;            /* link in an inject queue or a batch; the owner's */
    _Atomic(struct scope *) scope; /* innermost; written by the fiber, read by cancellers (S3) */
    atomic_uint_fast64_t id;       /* 0: a free stack.  Its release pairs with the observers'
                                      acquire: what a spawn writes is there (F3) */
    uint64_t since_ns; /* when it was published as waiting, by its worker's clock; wait_publish */
    int (*fn)(void *);
    void *arg;
    const char *name;      /* borrowed */
    struct group *group;   /* that joins it */
    struct fiber *spawner; /* whose continuation was queued when it started; compared only */
    struct locals *locals; /* its values (local.h), NULL: none; the fiber's own */
    uint64_t spawner_id;   /* who spawned it; only if counted_by_owner is false */
    bool counted_by_owner; /* its group counted it without an atomic (group.h, G2) */
    atomic_bool inside;    /* release in worker_exit, acquire by who takes its worker (S1, S4) */
    bool guarded;          /* its stack's end is a guard, else a canary (stack.c, T2); constant */
    uint8_t stack_class;   /* enum stack_class; constant */
    int saved_errno;       /* while suspended */
    uint16_t blocking;     /* depth of its blocking regions; its own */
    uint16_t pins;         /* depth of its pins; its own */
    struct worker *home;   /* the only worker that may run it; NULL: any */
    _Atomic(struct thread *) stray_on; /* which thread runs it without a worker; NULL: it has one.
                                          Guarded by the lock of threads; atomic for observers */
    _Atomic(const char *) wait_kind;   /* what it waits for, static text; relaxed: for observers */
    _Atomic(const void *) wait_object; /* which one; compared and printed only, relaxed */
    struct scope base;                 /* the scope it starts in, child of its group's */
} __attribute__((aligned(CACHE_LINE)));

enum {
    FIBER_ID_SHIFT = 11,                         /* below it: the worker that spawned the fiber */
    FIBER_ID_OUTSIDE = (1 << FIBER_ID_SHIFT) - 1 /* or this: a plain thread did */
};

/** The id of the `number`th fiber that `spawner` started. */
static inline uint64_t fiber_id_make(uint64_t number, unsigned spawner)
{
    return number << FIBER_ID_SHIFT | spawner;
}

/** The worker that runs the fiber, or ran it last: see F2. */
static inline struct worker *fiber_worker(const struct fiber *fiber)
{
    return atomic_load_explicit(&fiber->worker, memory_order_relaxed);
}

/** Whether a fiber that does not run has never run: its stack pointer is where switch_prepare left
 * it. */
static inline bool fiber_is_new(const struct fiber *fiber)
{
    return fiber->context.sp == (const char *)fiber - 2 * sizeof(void *);
}

/** 0 or why the innermost scope of the fiber, which the caller runs on, is cancelled.  Links it. */
static inline int scope_check(struct fiber *self)
{
    struct scope *scope = atomic_load_explicit(&self->scope, memory_order_relaxed);

    if (unlikely(!atomic_load_explicit(&scope->linked, memory_order_acquire)))
        scope_link(scope);
    return atomic_load_explicit(&scope->cancelled, memory_order_seq_cst);
}

/**
 * As scope_check, but does not link a scope in which nothing has parked yet (S1), so that a fiber
 * which only ever finds what it wants at once does not pay for it.  Its ancestors tell instead.
 */
static inline int fiber_peek_cancel(struct fiber *self)
{
    struct scope *scope = atomic_load_explicit(&self->scope, memory_order_relaxed);

    for (;;) {
        /* In this order: a child may link it meanwhile, and what is inherited comes first. */
        bool linked = atomic_load_explicit(&scope->linked, memory_order_acquire);
        int cause = atomic_load_explicit(&scope->cancelled, memory_order_acquire);

        if (likely(linked) || cause)
            return cause;
        if (scope->shield || scope->deadline_ns != WEFT_NO_DEADLINE)
            return scope_check(self);
        scope = scope->parent;
    }
}

#endif
