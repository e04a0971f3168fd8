/* SPDX-License-Identifier: MIT */
/* What is behind the hooks of core/hooks.h: waiting for an observer, and the trace. */
#include "core/hooks.h"

#include <sched.h>

#include "core/fiber.h"
#include "observe/look.h"
#include "observe/trace.h"

enum { SPINS_BEFORE_YIELD = 1000 };

atomic_uint observe_hooks;

/* Until nobody looks at the fiber (H2).  The observer holds it for some microseconds, unless the
 * kernel takes its processor away. */
static void wait_while_pinned(const struct fiber *fiber)
{
    unsigned spins = 0;

    hook_barrier(); /* O2 of look.h: after the announcement */
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
    unsigned hooks = hooks_now();

    if (hooks & HOOK_TRACE_MASK)
        trace_switch(worker, from, to, reason);
    if (to && hooks & HOOK_PIN)
        wait_while_pinned(to);
}

void hook_end(struct worker *worker, struct fiber *fiber, uint64_t id)
{
    unsigned hooks = hooks_now();

    if (worker && hooks & HOOK_TRACE_MASK)
        trace_end(worker, id);
    if (hooks & HOOK_PIN)
        wait_while_pinned(fiber);
}

void hook_ready(struct worker *worker, struct fiber *fiber)
{
    if (hooks_now() & HOOK_TRACE_MASK)
        trace_ready(worker, fiber);
}

void hook_spawned_outside(struct fiber *fiber)
{
    if (hooks_now() & HOOK_TRACE_MASK)
        trace_spawned_outside(fiber);
}

void hook_stolen(struct worker *worker, struct worker *victim, struct fiber *fiber, unsigned taken)
{
    if (hooks_now() & HOOK_TRACE_MASK)
        trace_stolen(worker, victim, fiber, taken);
}

void hook_polled(struct worker *worker, uint64_t start_ns, bool parked)
{
    if (hooks_now() & HOOK_TRACE_MASK)
        trace_polled(worker, start_ns, parked);
}
