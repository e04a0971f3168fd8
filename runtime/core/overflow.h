/* SPDX-License-Identifier: MIT */
/* The report of a fiber that ran over the end of its stack. */
#ifndef RUNTIME_CORE_OVERFLOW_H
#define RUNTIME_CORE_OVERFLOW_H

struct fiber;

/** Install the handler for SIGSEGV and SIGBUS, once for the process.  Faults that are not an
 * overflow go to the handler that was there before. */
void overflow_install(void);

/** Say that the fiber overflowed its stack, and abort.  Any thread, async-signal-safe. */
_Noreturn void overflow_report(const struct fiber *fiber);

/** Give the calling thread a stack for its signal handlers.  Returns it, or NULL: no memory. */
void *overflow_stack_new(void);
void overflow_stack_free(void *stack);

#endif
