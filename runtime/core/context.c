/* SPDX-License-Identifier: MIT */
/*
 * Contexts, and what the sanitizers must be told when one is left and another continued.
 *
 * context_jump is not instrumented for TSan: __tsan_switch_to_fiber called from an instrumented
 * frame leaves that frame's entry on one shadow stack and pops it from another.
 *
 * TSan's fiber stays with the stack for the stack's next context, because making one clears and maps
 * a quarter of a megabyte (half of the time of a test under TSan).  That hides no race: whoever gets
 * the stack has synchronised with its last user already, through a worker's turns or a depot's lock.
 * It costs the words "created by" in a report, which name the spawn of the first of them.
 */
#include "core/context.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_func_exit(void *unused); /* as gcc declares it itself */
#endif

#if defined(WITH_ASAN) || defined(WITH_TSAN)
#ifdef WITH_TSAN
enum {
    TSAN_KEPT_MAX = 1024, /* by free stacks: TSan has room for 8,128 in all */
    TSAN_USES_MAX = 1024  /* each may leave an entry on its shadow stack, of 65,536 */
};

static atomic_uint tsan_kept; /* about so many; relaxed: a counter */

/* Of a free stack. */
static void tsan_forget(struct context *context)
{
    if (!context->tsan_fiber)
        return;
    __tsan_destroy_fiber(context->tsan_fiber);
    context->tsan_fiber = NULL;
    atomic_fetch_sub_explicit(&tsan_kept, 1, memory_order_relaxed);
}

static void tsan_announce(struct context *context)
{
    if (context->tsan_uses >= TSAN_USES_MAX)
        tsan_forget(context);
    if (context->tsan_fiber) {
        atomic_fetch_sub_explicit(&tsan_kept, 1, memory_order_relaxed);
        context->tsan_uses++;
    } else {
        context->tsan_fiber = __tsan_create_fiber(0);
        context->tsan_uses = 1;
    }
}

static void tsan_discard(struct context *context)
{
    if (atomic_fetch_add_explicit(&tsan_kept, 1, memory_order_relaxed) >= TSAN_KEPT_MAX)
        tsan_forget(context);
}
#endif

void context_announce(struct context *context)
{
#ifdef WITH_ASAN
    /* The last fiber of this stack ended without returning from its outermost frame. */
    ASAN_UNPOISON_MEMORY_REGION(context->stack_bottom, context->stack_size);
    context->asan_fake_stack = NULL;
#endif
#ifdef WITH_TSAN
    tsan_announce(context);
#endif
}

void context_discard(struct context *context)
{
#ifdef WITH_TSAN
    tsan_discard(context);
#else
    (void)context;
#endif
}

void context_forget(struct context *context)
{
#ifdef WITH_TSAN
    tsan_forget(context);
#else
    (void)context;
#endif
}
#endif

void context_adopt_thread(struct context *context)
{
    pthread_attr_t attributes;

    memset(context, 0, sizeof(*context));
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &context->stack_bottom, &context->stack_size);
        pthread_attr_destroy(&attributes);
    }
#ifdef WITH_TSAN
    context->tsan_fiber = __tsan_get_current_fiber();
#endif
}

#ifdef WITH_ASAN
void context_arrived(struct context *self)
{
    __sanitizer_finish_switch_fiber(self->asan_fake_stack, NULL, NULL);
}

struct carried context_jump(struct context *from, struct context *to, bool from_ends,
                            struct carried carried)
{
    __sanitizer_start_switch_fiber(from_ends ? NULL : &from->asan_fake_stack, to->stack_bottom,
                                   to->stack_size);
    carried = switch_stacks(&from->sp, to->sp, carried);
    context_arrived(from);
    return carried;
}
#endif

#ifdef WITH_TSAN
__attribute__((no_sanitize("thread"))) struct carried
context_jump(struct context *from, struct context *to, bool from_ends, struct carried carried)
{
    if (from_ends)
        __tsan_func_exit(NULL); /* its outermost function, which does not return */
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
    return switch_stacks(&from->sp, to->sp, carried);
}
#endif
