/* SPDX-License-Identifier: MIT */
/* What is behind the hooks of core/hooks.h: waiting for an observer, and the trace. */
#include "core/hooks.h"

#include <sched.h>

#include "core/fiber.h"
#include "observe/look.h"

enum { SPINS_BEFORE_YIELD = 1000 };

atomic_uint observe_hooks;

/* Until nobody looks at the fiber (H2).  The observer holds it for some microseconds, unless the
 * kernel takes its processor away. */
static void wait_while_pinned(const struct fiber *fiber)
{
    unsigned spins = 0;

    atomic_thread_fence(memory_order_seq_cst); /* O2 of look.h: after the announcement */
    while (atomic_load_explicit(&observe_pinned, memory_order_seq_cst) == fiber)
        if (++spins > SPINS_BEFORE_YIELD)
            sched_yield();
}

static unsigned hooks_now(void)
{
    return atomic_load_explicit(&observe_hooks, memory_order_relaxed);
}

void hook_switch(struct worker *worker, struct fiber *from, struct fiber *to,
                 enum leave_reason reason)
{
    (void)worker, (void)from, (void)reason;
    if (to && hooks_now() & HOOK_PIN)
        wait_while_pinned(to);
}

void hook_end(struct worker *worker, struct fiber *fiber, uint64_t id)
{
    (void)worker, (void)id;
    if (hooks_now() & HOOK_PIN)
        wait_while_pinned(fiber);
}

void hook_ready(struct worker *worker, struct fiber *fiber)
{
    (void)worker, (void)fiber;
}

void hook_spawned_outside(struct fiber *fiber)
{
    (void)fiber;
}

void hook_stolen(struct worker *worker, struct worker *victim, struct fiber *fiber, unsigned taken)
{
    (void)worker, (void)fiber, (void)victim, (void)taken;
}

void hook_polled(struct worker *worker, uint64_t start_ns, uint64_t end_ns, bool parked)
{
    (void)worker, (void)start_ns, (void)end_ns, (void)parked;
}
