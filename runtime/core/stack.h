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
    STACK_COLOUR_SHIFT = 7,
    STACK_COLOUR_STEP = 1 << STACK_COLOUR_SHIFT,
    MAGAZINE_SIZE = 64,
    STACK_GUARD_SIZE = 16384 /* a frame up to this size cannot jump over the guard */
};

/* Free stacks of one class, the one used last on top. */
struct magazine {
    unsigned count;
    struct fiber *free[MAGAZINE_SIZE];
};

/* A worker's own free stacks of each class.  Owner worker only. */
struct stack_cache {
    struct magazine magazine[STACK_CLASSES];
};

/*
 * Where the range is.  Written once, before the first fiber exists; plain threads may ask at any
 * time.  Atomic, relaxed: with either value of either field, no address of theirs is in the range.
 */
struct stack_region {
    atomic_uintptr_t base;
    atomic_uint arena_shift; /* log2 of an arena's bytes */
};
extern struct stack_region stack_region __attribute__((visibility("hidden")));

/** Reserve the range, once for the process.  Any thread.  Errors: -ENOMEM. */
int stack_region_init(void);

/* stack_alloc and stack_free, where the magazine does not do: none, empty or full, or no guard. */
int stack_alloc_slow(struct magazine *magazine, enum stack_class class, struct fiber **ret_fiber);
void stack_free_slow(struct magazine *magazine, struct fiber *fiber);

/**
 * A stack whose control block holds garbage except stack_class, guarded, the place of its context,
 * the sequence of park, and what a fiber leaves as it found it: inside, blocking, pins, home,
 * stray_on.  `cache` may be NULL (plain thread).  Errors: -ENOMEM.
 */
static inline int stack_alloc(struct stack_cache *cache, enum stack_class class,
                              struct fiber **ret_fiber)
{
    struct magazine *magazine = cache ? &cache->magazine[class] : NULL;

    if (unlikely(!magazine || magazine->count == 0))
        return stack_alloc_slow(magazine, class, ret_fiber);
    *ret_fiber = magazine->free[--magazine->count];
    return 0;
}

/** Give a stack back that nobody runs on.  `cache` may be NULL.  Aborts with the fiber's name if it
 * had no guard and was overrun. */
static inline void stack_free(struct stack_cache *cache, struct fiber *fiber)
{
    struct magazine *magazine = cache ? &cache->magazine[fiber->stack_class] : NULL;

    if (unlikely(!magazine || !fiber->guarded || magazine->count == MAGAZINE_SIZE))
        stack_free_slow(magazine, fiber);
    else
        magazine->free[magazine->count++] = fiber;
}

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

/* The bytes of a stack of each class, less one. */
static const uintptr_t stack_mask[STACK_CLASSES] = {
    ((uintptr_t)1 << STACK_SHIFT_MIN) - 1,
    ((uintptr_t)1 << (STACK_SHIFT_MIN + 2)) - 1,
    ((uintptr_t)1 << (STACK_SHIFT_MIN + 4)) - 1,
};

/** log2 of the bytes of a stack of this class. */
static inline unsigned stack_shift(unsigned class)
{
    return STACK_SHIFT_MIN + 2 * class;
}

/** The class of stacks in whose arena `address` is; STACK_CLASSES or more: in none. */
static inline uintptr_t stack_class_at(uintptr_t address)
{
    uintptr_t offset = address - atomic_load_explicit(&stack_region.base, memory_order_relaxed);

    return offset >> atomic_load_explicit(&stack_region.arena_shift, memory_order_relaxed);
}

/** The control block of the stack that holds `address`, which is in the arena of `class`. */
static inline struct fiber *stack_fiber_in(uintptr_t class, uintptr_t address)
{
    /* The stack's number modulo STACK_COLOURS, times STACK_COLOUR_STEP. */
    uintptr_t colour = address >> (STACK_SHIFT_MIN + 2 * class - STACK_COLOUR_SHIFT) &
                       (STACK_COLOURS - 1) << STACK_COLOUR_SHIFT;

    return (struct fiber *)((address | stack_mask[class]) + 1 - colour - sizeof(struct fiber));
}

/** The fiber whose stack holds `address`, or NULL.  Any thread, async-signal-safe. */
static inline struct fiber *stack_fiber_at(uintptr_t address)
{
    uintptr_t class = stack_class_at(address);

    return likely(class < STACK_CLASSES) ? stack_fiber_in(class, address) : NULL;
}

/** Bytes from here down to the guard of the running fiber's stack.  Fibers only. */
size_t stack_left(void);

/* Of fiber_self, for who does not run on a stack of the default class. */
struct fiber *fiber_self_elsewhere(uintptr_t address);

/**
 * The fiber that the caller runs on, or NULL on a plain thread or the scheduler's stack.
 *
 * Nearly every call begins with it, and what follows depends on it; so the default class, whose
 * shifts and masks are constants, is told apart by a branch instead of being looked up.
 */
static inline struct fiber *fiber_self(void)
{
    uintptr_t address = (uintptr_t)__builtin_frame_address(0);

    if (likely(stack_class_at(address) == STACK_256K))
        return stack_fiber_in(STACK_256K, address);
    return fiber_self_elsewhere(address);
}

/** The fiber that the caller runs on, where there must be one. */
static inline struct fiber *fiber_running(void)
{
    uintptr_t address = (uintptr_t)__builtin_frame_address(0);
    struct fiber *self;

    if (likely(stack_class_at(address) == STACK_256K))
        return stack_fiber_in(STACK_256K, address);
    self = fiber_self_elsewhere(address);
    CHECK(self); /* else the call was made from a plain thread */
    return self;
}

#endif
