/* SPDX-License-Identifier: MIT */
/*
 * A spin lock for sections of a few instructions that never suspend, block or call out.  All
 * zeroes is unlocked.  Unlock is a plain release store, which is why it is not a futex: two locked
 * instructions per section would cost more than the sections.  A holder that the kernel preempted
 * is waited for by sleeping, not by burning its time slice.
 */
#ifndef RUNTIME_CORE_SPIN_H
#define RUNTIME_CORE_SPIN_H

#include <stdatomic.h>

#include "core/base.h"
#include "core/shake.h"

struct spin {
    atomic_uint locked; /* atomic: 0 or 1; acquire in spin_lock pairs with release in spin_unlock */
};

/** Tell the processor that the thread waits for another one. */
static inline void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void spin_lock_slow(struct spin *spin);

static inline bool spin_trylock(struct spin *spin)
{
    return atomic_exchange_explicit(&spin->locked, 1, memory_order_acquire) == 0;
}

static inline void spin_lock(struct spin *spin)
{
    shake();
    if (unlikely(!spin_trylock(spin)))
        spin_lock_slow(spin);
}

static inline void spin_unlock(struct spin *spin)
{
    atomic_store_explicit(&spin->locked, 0, memory_order_release);
    shake();
}

#endif
