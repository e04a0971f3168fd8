/* SPDX-License-Identifier: MIT */
/* Calls that run at the same time, and how their results are collected: all in order, or one by one
 * as they end; and a call that may take only so long.  None of them returns before every fiber that
 * it started has ended.  Defaults of weft/weft.h apply. */
#ifndef WEFT_GATHER_H
#define WEFT_GATHER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One call, fn(arg).  Use designated initializers. */
struct weft_call {
    const char *name; /* of its fiber; borrowed while it runs */
    int (*fn)(void *);
    void *arg;
    int result; /* what fn returned; valid when the call has been collected */
    uint64_t opaque[2];
};

/**
 * Run all calls, each on a fiber of its own, and wait for their end; calls[i].result is what each
 * returned.  The first that fails cancels the rest.  One that was never started has the result
 * -ECANCELED.
 * Errors: the first failure; why one could not be started (weft_group_spawn's); -ECANCELED,
 *         -ETIMEDOUT from the scope.
 */
int weft_gather(struct weft_call *calls, size_t count);

/**
 * As weft_gather, but failures are results like others: nothing is cancelled, and a call that could
 * not be started has as result why.
 * Errors: -ECANCELED, -ETIMEDOUT from the scope: then that is what the calls saw, too, and their
 *         results are there nevertheless.
 */
int weft_gather_all(struct weft_call *calls, size_t count);

/**
 * Run fn(arg), on the calling fiber, in a scope that expires at `deadline_ns`.
 * Returns: 0 when fn has returned what it was to; *ret_result (may be NULL) is what.
 * Errors:  -ETIMEDOUT the deadline struck, and fn gave up for it; -ECANCELED, -ETIMEDOUT from the
 *          scope outside (fn may not have run).
 */
int weft_timeout(uint64_t deadline_ns, int (*fn)(void *), void *arg, int *ret_result);

/* Calls under way, whose results come as they end.  Caller-owned; its content is private. */
struct weft_completions {
    uint64_t opaque[40];
};

/**
 * Start all calls.  They form a group of the calling fiber, which is inside its scope until
 * weft_completions_destroy; a failure cancels nothing.  `calls` is borrowed until then.
 * Errors: weft_group_spawn's; then the calls that were started have been cancelled and have ended,
 *         and there is nothing to destroy.
 */
int weft_completions_init(struct weft_completions *completions, struct weft_call *calls,
                          size_t count);

/**
 * Wait for the next call to end, `deadline_ns` at most.  They come in the order in which they end,
 * each once.
 * Returns: 1, and *ret_call is the call; 0 all of them have come.
 * Errors:  -ETIMEDOUT, -ECANCELED: the calls go on, and none was taken.
 */
int weft_completions_next(struct weft_completions *completions, uint64_t deadline_ns,
                          struct weft_call **ret_call);

/** Cancel what still runs, wait for its end without regard to cancellation, and leave the scope.
 * Only the fiber that called weft_completions_init. */
void weft_completions_destroy(struct weft_completions *completions);

#ifdef __cplusplus
}
#endif
#endif
