/* SPDX-License-Identifier: MIT */
/* The calling fiber.  Defaults of weft/weft.h apply. */
#ifndef WEFT_FIBER_H
#define WEFT_FIBER_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Let other ready fibers run first.  Errors: -ECANCELED, -ETIMEDOUT from the scope. */
int weft_yield(void);

/** 0, or -ECANCELED / -ETIMEDOUT when the current scope is cancelled.  Never suspends. */
int weft_check_cancel(void);

/** Whether the caller runs on a fiber.  Context: any thread. */
bool weft_on_fiber(void);

/** The calling fiber's name, as given at spawn.  Borrowed.  NULL on a plain thread. */
const char *weft_fiber_name(void);

/** The index of the worker that runs the fiber now, stale after the next suspending call. */
unsigned weft_worker_index(void);

#ifdef __cplusplus
}
#endif
#endif
