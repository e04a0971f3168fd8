/* SPDX-License-Identifier: MIT */
/*
 * Stacks of fibers.  One reserved address range holds an arena per size class; each arena is cut
 * into stacks aligned to their size.  So "am I on a fiber, and which" is a range check and a mask,
 * and needs no thread-local.
 *
 * Process-wide, shared by all runtimes.  Slots are carved in order, never unmapped, and keep their
 * class: a control block is type-stable.  A stack goes from its worker's magazine to the shared
 * depot and back; the kernel gets pages back only from the depot's cold end, above a watermark.
 */
#ifndef RUNTIME_CORE_STACK_H
#define RUNTIME_CORE_STACK_H

#include "core/fiber.h"

enum stack_class { STACK_64K, STACK_256K, STACK_1M, STACK_CLASSES };

enum {
    STACK_SHIFT_MIN = 16, /* log2 of the smallest class */
    STACK_COLOURS = 16,
    STACK_COLOUR_STEP = 128,
    MAGAZINE_SIZE = 64,
    STACK_GUARD_SIZE = 16384 /* a frame up to this size cannot jump over the guard */
};

/* A worker's own free stacks of each class.  Owner worker only. */
struct stack_cache {
    struct {
        unsigned count;
        struct fiber *free[MAGAZINE_SIZE];
    } magazine[STACK_CLASSES];
};

/*
 * Where the range is.  Written once, before the first fiber exists; plain threads may ask at any
 * time.  Atomic, relaxed: with either value of either field, no address of theirs is in the range.
 */
struct stack_region {
    atomic_uintptr_t base;
    atomic_uint arena_shift; /* log2 of an arena's bytes */
};
extern struct stack_region stack_region;

/** Reserve the range, once for the process.  Any thread.  Errors: -ENOMEM. */
int stack_region_init(void);

/**
 * A stack whose control block holds garbage except stack_class, guarded and the sequence of park.
 * `cache` may be NULL (plain thread).  Errors: -ENOMEM.
 */
int stack_alloc(struct stack_cache *cache, enum stack_class class, struct fiber **ret_fiber);

/** Give a stack back that nobody runs on.  `cache` may be NULL.  Aborts with the fiber's name if it
 * had no guard and was overrun. */
void stack_free(struct stack_cache *cache, struct fiber *fiber);

/** Give a worker's free stacks to the depot. */
void stack_cache_flush(struct stack_cache *cache);

/** Stacks carved so far and their address space.  Any thread. */
void stack_usage(size_t *ret_stacks, size_t *ret_bytes);

/** How many stacks of the class were carved.  Any thread. */
size_t stack_carved(enum stack_class class);

/** The control block of the `index`th stack of the class; index < stack_carved.  Any thread. */
struct fiber *stack_slot(enum stack_class class, size_t index);

/** The lowest address of the fiber's stack; the guard page is there. */
void *stack_bottom(const struct fiber *fiber);

/** log2 of the bytes of a stack of this class. */
static inline unsigned stack_shift(unsigned class)
{
    return STACK_SHIFT_MIN + 2 * class;
}

/** The fiber whose stack holds `address`, or NULL.  Any thread, async-signal-safe. */
static inline struct fiber *stack_fiber_at(uintptr_t address)
{
    uintptr_t offset = address - atomic_load_explicit(&stack_region.base, memory_order_relaxed);
    uintptr_t class =
        offset >> atomic_load_explicit(&stack_region.arena_shift, memory_order_relaxed);
    unsigned shift = STACK_SHIFT_MIN + 2 * (unsigned)class;
    uintptr_t colour, top;

    if (unlikely(class >= STACK_CLASSES))
        return NULL;
    colour = (address >> shift) % STACK_COLOURS * STACK_COLOUR_STEP;
    top = (address | (((uintptr_t)1 << shift) - 1)) + 1 - colour;
    return (struct fiber *)top - 1;
}

/** The fiber that the caller runs on, or NULL on a plain thread or the scheduler's stack. */
static inline struct fiber *fiber_self(void)
{
    return stack_fiber_at((uintptr_t)__builtin_frame_address(0));
}

#endif
