/* SPDX-License-Identifier: MIT */
/*
 * Stacks: carving, guarding, caching.
 *
 *   T1  The region is mapped PROT_NONE and NORESERVE; slots become readable in steps of
 *       COMMIT_STEP, so an arena is two mappings however many stacks it has.
 *   T2  The lowest STACK_GUARD_SIZE bytes of a slot are its guard: MADV_GUARD_INSTALL (Linux 6.13),
 *       which makes no mapping; else mprotect, which makes two per stack and is used for the first
 *       MPROTECT_GUARDS only, well under vm.max_map_count.  A later stack has a canary instead,
 *       looked at when its fiber ends: late, but with its name.  A spawn never fails for the guard.
 *       Where the kernel takes many ranges at once (process_madvise on ourselves, Linux 6.15), those
 *       of the next GUARDS_AHEAD slots are made in one call, which costs a third, and touches none.
 *   T3  Tops are coloured: equal page offsets put all control blocks and hot frames into the same
 *       few cache sets (47 ns against 12 ns a switch over 10,000 fibers).
 *   T4  Free stacks beyond WARM_STACKS in a depot give their pages back, but for the top one,
 *       which holds the control block.
 *   T5  A core file has the readable part of the arenas and not the reserved rest: gdb would write
 *       its 1.5 TiB of nothing.
 *
 * Not here: what the control block means.
 */
#include "core/stack.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/overflow.h"
#include "core/spin.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) ((void)(start), (void)(end))
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#define OURSELVES (-10001) /* PIDFD_SELF_THREAD_GROUP: no descriptor, which a fork would inherit */

enum {
    ARENA_SHIFT_MAX = 39, /* 512 GiB: 2 M stacks of 256 KiB */
    ARENA_SHIFT_MIN = 28,
    COMMIT_STEP_SHIFT = 24,
    PAGE_SIZE_MIN = 4096,
    MPROTECT_GUARDS = 16384,
    GUARDS_AHEAD = 16,
    WARM_STACKS = 16384
};

static const uint64_t CANARY = UINT64_C(0x57454654a5a5c33c);

struct stack_region stack_region = {.base = UINTPTR_MAX, .arena_shift = ARENA_SHIFT_MIN};

/* Free stacks of one class that no worker holds. */
struct depot {
    struct spin lock;
    struct fiber *free; /* linked by next, most recently used first; guarded by lock */
    size_t free_count;  /* guarded by lock */
    size_t carved;      /* slots cut so far; guarded by lock */
    size_t committed;   /* bytes readable and writable; guarded by lock */
    size_t ahead; /* slots below this one have a guard, if it is above carved; guarded by lock */
    bool looks_ahead; /* somebody makes the next ones; guarded by lock */
} __attribute__((aligned(CACHE_LINE)));

static struct depot depots[STACK_CLASSES];
static atomic_bool guard_by_madvise = true; /* atomic: a hint, cleared at the first refusal */
static atomic_bool guard_by_many = true;    /* the same */
static atomic_uint mprotect_guards;         /* atomic: a counter */

static pthread_once_t region_once = PTHREAD_ONCE_INIT;
static int region_error;

static void region_map(void)
{
    for (unsigned shift = ARENA_SHIFT_MAX; shift >= ARENA_SHIFT_MIN; shift--) {
        size_t arena = (size_t)1 << shift;
        size_t alignment = (size_t)1 << stack_shift(STACK_1M);
        char *base = mmap(NULL, STACK_CLASSES * arena + alignment, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (base == MAP_FAILED)
            continue;
        madvise(base, STACK_CLASSES * arena + alignment, MADV_NOHUGEPAGE);
        madvise(base, STACK_CLASSES * arena + alignment, MADV_DONTDUMP); /* T5 */
        atomic_store_explicit(&stack_region.arena_shift, shift, memory_order_relaxed);
        atomic_store_explicit(&stack_region.base,
                              ((uintptr_t)base + alignment - 1) & ~(alignment - 1),
                              memory_order_relaxed);
        return;
    }
    region_error = -ENOMEM;
}

struct fiber *fiber_self_elsewhere(uintptr_t address)
{
    return stack_fiber_at(address);
}

int stack_region_init(void)
{
    pthread_once(&region_once, region_map);
    return region_error;
}

void *stack_bottom(const struct fiber *fiber)
{
    uintptr_t mask = ((uintptr_t)1 << stack_shift(fiber->stack_class)) - 1;

    return (void *)((uintptr_t)fiber & ~mask);
}

size_t stack_left(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return here - (uintptr_t)stack_bottom(fiber_running()) - STACK_GUARD_SIZE;
}

/* False: the stack stays without a guard. */
static bool guard_install(char *bottom)
{
    if (atomic_load_explicit(&guard_by_madvise, memory_order_relaxed)) {
        if (madvise(bottom, STACK_GUARD_SIZE, MADV_GUARD_INSTALL) == 0)
            return true;
        atomic_store_explicit(&guard_by_madvise, false, memory_order_relaxed);
    }
    return atomic_fetch_add_explicit(&mprotect_guards, 1, memory_order_relaxed) < MPROTECT_GUARDS &&
           mprotect(bottom, STACK_GUARD_SIZE, PROT_NONE) == 0;
}

static uint64_t *canary_of(const struct fiber *fiber)
{
    return (uint64_t *)((char *)stack_bottom(fiber) + STACK_GUARD_SIZE) - 1;
}

static void canary_check(const struct fiber *fiber)
{
    if (*canary_of(fiber) != CANARY)
        overflow_report(fiber);
}

/* Returns how many of `count` slots in a row, from the first on, have a guard now. */
static size_t guard_install_many(char *bottom, size_t size, size_t count)
{
    struct iovec guards[GUARDS_AHEAD];
    long done;

    for (size_t i = 0; i < count; i++)
        guards[i] = (struct iovec){bottom + i * size, STACK_GUARD_SIZE};
    done = syscall(SYS_process_madvise, OURSELVES, guards, count, MADV_GUARD_INSTALL, 0);
    if (done < (long)count * STACK_GUARD_SIZE)
        atomic_store_explicit(&guard_by_many, false, memory_order_relaxed);
    return done < 0 ? 0 : (size_t)done / STACK_GUARD_SIZE;
}

/* One more slot of the class. */
struct carving {
    char *bottom;
    size_t index;
    size_t ahead; /* so many from it on are to get their guards; 0: it has one, or only it */
    bool guarded;
};

/* Under depot->lock.  False: there is no room. */
static bool depot_carve_locked(struct depot *depot, enum stack_class class,
                               struct carving *ret_carving)
{
    size_t arena = (size_t)1 << stack_region.arena_shift;
    size_t step = (size_t)1 << COMMIT_STEP_SHIFT;
    char *base = (char *)stack_region.base + class * arena;
    size_t offset = depot->carved << stack_shift(class), left;

    if (offset == arena)
        return false;
    if (offset == depot->committed) {
        if (mprotect(base + offset, step, PROT_READ | PROT_WRITE) < 0)
            return false;
        madvise(base + offset, step, MADV_DODUMP); /* T5 */
        depot->committed += step;
    }
    *ret_carving = (struct carving){.bottom = base + offset, .index = depot->carved};
    ret_carving->guarded = depot->carved < depot->ahead;
    if (!ret_carving->guarded && !depot->looks_ahead &&
        atomic_load_explicit(&guard_by_many, memory_order_relaxed)) {
        left = (depot->committed - offset) >> stack_shift(class);
        ret_carving->ahead = left < GUARDS_AHEAD ? left : GUARDS_AHEAD;
        depot->looks_ahead = true;
    }
    depot->carved++;
    return true;
}

/* Others may carve the next ones meanwhile, and make their guards themselves: twice is as once. */
static void guard_ahead(struct depot *depot, enum stack_class class, struct carving *carving)
{
    size_t size = (size_t)1 << stack_shift(class);
    size_t done = guard_install_many(carving->bottom, size, carving->ahead);

    spin_lock(&depot->lock);
    depot->looks_ahead = false;
    if (carving->index + done > depot->ahead)
        depot->ahead = carving->index + done;
    spin_unlock(&depot->lock);
    carving->guarded = done > 0;
}

/* Tell Valgrind where the stack is, once and for good (a few instructions that do nothing when it
 * is not there).  The control block is not part of it: others write to it. */
static void stack_register(struct fiber *fiber)
{
    char *bottom = stack_bottom(fiber);

    VALGRIND_STACK_REGISTER(bottom + STACK_GUARD_SIZE, (char *)fiber - 1);
}

static int depot_carve(struct depot *depot, enum stack_class class, struct fiber **ret_fiber)
{
    struct carving carving;
    struct fiber *fiber;
    bool carved;

    spin_lock(&depot->lock);
    carved = depot_carve_locked(depot, class, &carving);
    spin_unlock(&depot->lock);
    if (!carved)
        return -ENOMEM;
    if (carving.ahead > 0)
        guard_ahead(depot, class, &carving);
    fiber = stack_fiber_at((uintptr_t)carving.bottom);
    fiber->stack_class = (uint8_t) class;
    atomic_init(&fiber->inside, true); /* S1 of handoff.h */
    fiber->guarded = carving.guarded || guard_install(carving.bottom);
    if (!fiber->guarded)
        *canary_of(fiber) = CANARY;
    context_place(&fiber->context, carving.bottom, fiber);
    stack_register(fiber);
    *ret_fiber = fiber;
    return 0;
}

static struct fiber *depot_take(struct depot *depot)
{
    struct fiber *fiber;

    spin_lock(&depot->lock);
    fiber = depot->free;
    if (fiber) {
        depot->free = fiber->next;
        depot->free_count--;
    }
    spin_unlock(&depot->lock);
    return fiber;
}

/* Pages of a free stack below its top one go back to the kernel (T4). */
static void stack_cool(struct fiber *fiber)
{
    uintptr_t bottom = (uintptr_t)stack_bottom(fiber) + STACK_GUARD_SIZE;
    uintptr_t top = (uintptr_t)fiber & ~(uintptr_t)(PAGE_SIZE_MIN - 1);

    if (top > bottom)
        madvise((void *)bottom, top - bottom, MADV_DONTNEED);
}

static void depot_put(struct depot *depot, struct fiber *fiber)
{
    bool cold;

    spin_lock(&depot->lock);
    cold = depot->free_count >= WARM_STACKS;
    spin_unlock(&depot->lock);
    if (cold)
        stack_cool(fiber);
    spin_lock(&depot->lock);
    fiber->next = depot->free;
    depot->free = fiber;
    depot->free_count++;
    spin_unlock(&depot->lock);
}

/* Move up to half a magazine from the depot to an empty one, in one section. */
static void magazine_refill(struct magazine *magazine, struct depot *depot)
{
    spin_lock(&depot->lock);
    while (depot->free && magazine->count < MAGAZINE_SIZE / 2) {
        magazine->free[magazine->count++] = depot->free;
        depot->free = depot->free->next;
        depot->free_count--;
    }
    spin_unlock(&depot->lock);
}

int stack_alloc_slow(struct magazine *magazine, enum stack_class class, struct fiber **ret_fiber)
{
    struct fiber *fiber = NULL;

    if (!magazine) {
        fiber = depot_take(&depots[class]);
    } else {
        magazine_refill(magazine, &depots[class]);
        if (magazine->count > 0)
            fiber = magazine->free[--magazine->count];
    }
    if (!fiber)
        return depot_carve(&depots[class], class, ret_fiber);
    *ret_fiber = fiber;
    return 0;
}

void stack_free_slow(struct magazine *magazine, struct fiber *fiber)
{
    struct depot *depot = &depots[fiber->stack_class];

    if (!fiber->guarded)
        canary_check(fiber);
    if (!magazine) {
        depot_put(depot, fiber);
        return;
    }
    if (magazine->count == MAGAZINE_SIZE) {
        while (magazine->count > MAGAZINE_SIZE / 2)
            depot_put(depot, magazine->free[--magazine->count]);
    }
    magazine->free[magazine->count++] = fiber;
}

static void depot_forget(struct depot *depot)
{
#ifdef WITH_TSAN /* which waits a second at the exit of a program that has fibers of its */
    spin_lock(&depot->lock);
    for (struct fiber *fiber = depot->free; fiber; fiber = fiber->next)
        context_forget(&fiber->context);
    spin_unlock(&depot->lock);
#else
    (void)depot;
#endif
}

void stack_cache_flush(struct stack_cache *cache)
{
    for (unsigned class = 0; class < STACK_CLASSES; class ++) {
        struct magazine *magazine = &cache->magazine[class];
        while (magazine->count > 0)
            depot_put(&depots[class], magazine->free[--magazine->count]);
        depot_forget(&depots[class]);
    }
}

size_t stack_carved(enum stack_class class)
{
    size_t carved;

    spin_lock(&depots[class].lock);
    carved = depots[class].carved;
    spin_unlock(&depots[class].lock);
    return carved;
}

struct fiber *stack_slot(enum stack_class class, size_t index)
{
    uintptr_t arena = stack_region.base + ((uintptr_t) class << stack_region.arena_shift);

    return stack_fiber_at(arena + (index << stack_shift(class)));
}

void stack_usage(size_t *ret_stacks, size_t *ret_bytes)
{
    size_t stacks = 0, bytes = 0;

    for (unsigned class = 0; class < STACK_CLASSES; class ++) {
        spin_lock(&depots[class].lock);
        stacks += depots[class].carved;
        bytes += depots[class].carved << stack_shift(class);
        spin_unlock(&depots[class].lock);
    }
    *ret_stacks = stacks;
    *ret_bytes = bytes;
}
