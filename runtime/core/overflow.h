/* SPDX-License-Identifier: MIT */
/* The report of a fiber that ran over the end of its stack. */
#ifndef RUNTIME_CORE_OVERFLOW_H
#define RUNTIME_CORE_OVERFLOW_H

/** Install the handler for SIGSEGV and SIGBUS, once for the process.  Faults that are not an
 * overflow go to the handler that was there before. */
void overflow_install(void);

/** Give the calling thread a stack for its signal handlers.  Returns it, or NULL: no memory. */
void *overflow_stack_new(void);
void overflow_stack_free(void *stack);

#endif
