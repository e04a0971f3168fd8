/* SPDX-License-Identifier: MIT */
/*
 * A suspended computation: a stack and a stack pointer.  context_jump saves the caller's
 * callee-saved registers on its own stack and continues another context where it was saved.
 *
 *   C1  A context is continued by one thread at a time, and only after it was saved.
 *   C2  The floating-point control words (mxcsr, x87, fpcr) are the thread's, not the context's.
 */
#ifndef RUNTIME_CORE_CONTEXT_H
#define RUNTIME_CORE_CONTEXT_H

#include <stddef.h>

#include "core/base.h"
#include "core/switch.h"

struct context {
    void *sp;           /* valid while suspended; top of the saved frame */
    void *stack_bottom; /* lowest usable address; constant once set */
    size_t stack_size;  /* bytes from stack_bottom up */
#ifdef WITH_ASAN
    void *asan_fake_stack; /* ASan's, while suspended */
#endif
#ifdef WITH_TSAN
    void *tsan_fiber;   /* TSan's identity of this stack */
    unsigned tsan_uses; /* contexts that have had it */
#endif
};

/* Where the stack of `context` is: [bottom, top), top 16-byte aligned. */
static inline void context_place(struct context *context, void *bottom, void *top)
{
    context->stack_bottom = bottom;
    context->stack_size = (size_t)((char *)top - (char *)bottom);
}

/* What the sanitizers must be told of a context that is made, and of one that will not run again:
 * it may be the one that has just been left, never the running one.
 * context_forget: give up what is kept for the next context of the same stack. */
#if defined(WITH_ASAN) || defined(WITH_TSAN)
void context_announce(struct context *context);
void context_discard(struct context *context);
void context_forget(struct context *context);
#else
static inline void context_announce(struct context *context)
{
    (void)context;
}
static inline void context_discard(struct context *context)
{
    (void)context;
}
static inline void context_forget(struct context *context)
{
    (void)context;
}
#endif

/* Prepare a placed context to run entry() on an empty stack.  entry must not return. */
static inline void context_make(struct context *context, switch_entry *entry)
{
    context_announce(context);
    context->sp = switch_prepare((char *)context->stack_bottom + context->stack_size, entry);
}

/* Describe the calling thread's own stack, so that it can be left and continued. */
void context_adopt_thread(struct context *context);

/*
 * context_jump: save the caller in `from` and continue `to`, which gets `carried`; returns when
 * somebody continues `from`, maybe on another thread, what that one carries.  `from_ends`: `from`
 * will never be continued.
 * context_arrived: the first call of an entry function, which completes the jump that led there.
 */
#ifdef WITH_ASAN
struct carried context_jump(struct context *from, struct context *to, bool from_ends,
                            struct carried carried);
void context_arrived(struct context *self);
#else
#ifdef WITH_TSAN
struct carried context_jump(struct context *from, struct context *to, bool from_ends,
                            struct carried carried);
#else
static ALWAYS_INLINE struct carried context_jump(struct context *from, struct context *to,
                                                 bool from_ends, struct carried carried)
{
    (void)from_ends;
    return switch_stacks(&from->sp, to->sp, carried);
}
#endif
static inline void context_arrived(struct context *self)
{
    (void)self;
}
#endif

#endif
