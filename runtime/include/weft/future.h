/* SPDX-License-Identifier: MIT */
/*
 * A future: a result that somebody will set, once, and that any number of fibers wait for.  It is
 * not tied to a runtime, and whoever has a reference may use it, on any thread.
 *
 * Cancelling a fiber that waits does not cancel the future.  Defaults of weft/weft.h apply.
 */
#ifndef WEFT_FUTURE_H
#define WEFT_FUTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_future;

/** A future that is not done, with one reference, the caller's.  Context: any thread.
 * Errors: -ENOMEM. */
int weft_future_new(struct weft_future **ret_future);

/** Take one more reference.  Returns: future.  Context: any thread.  Never suspends. */
struct weft_future *weft_future_ref(struct weft_future *future);

/** Give a reference back; the last one frees the future.  What was set as its result is not the
 * future's: who set it and who takes it agree on that.  NULL does nothing.
 * Context: any thread.  Never suspends. */
void weft_future_unref(struct weft_future *future);

/** Done, with this result (which may be NULL).  Wakes who waits, then runs the callbacks.
 * Context: any thread.  Suspends only if a callback does.
 * Errors: -EALREADY it is done; the result stays the caller's. */
int weft_future_set_result(struct weft_future *future, void *result);

/** Done, with this error, a negative number, instead of a result.  Otherwise as
 * weft_future_set_result.  Errors: -EALREADY, -EINVAL error is not negative. */
int weft_future_set_error(struct weft_future *future, int error);

/** Done, with the error -ECANCELED; weft_future_cancelled tells it from others.  Whoever works on
 * the result finds out when it sets it, or by a callback.  Otherwise as weft_future_set_result.
 * Errors: -EALREADY. */
int weft_future_cancel(struct weft_future *future);

/**
 * Wait until it is done, `deadline_ns` at most; *ret_result (may be NULL) gets the result.
 * Errors: the error that was set; -ETIMEDOUT, -ECANCELED from the wait.  weft_future_done tells
 *         them apart.
 */
int weft_future_wait(struct weft_future *future, uint64_t deadline_ns, void **ret_result);

/** As weft_future_wait without waiting.  Context: any thread.  Never suspends.
 * Errors: -EAGAIN it is not done; or the error that was set. */
int weft_future_result(struct weft_future *future, void **ret_result);

/** Whether it has a result or an error, or was cancelled.  Context: any thread.  Never suspends. */
bool weft_future_done(struct weft_future *future);

/** Whether weft_future_cancel made it done.  Context: any thread.  Never suspends. */
bool weft_future_cancelled(struct weft_future *future);

/**
 * Have callback(future, arg) called once, when the future is done; at once, before this returns, if
 * it is.  Callbacks run in the order in which they were added, on the fiber or thread that makes
 * the future done, before its call returns: they should be short, and must neither suspend nor
 * block if that may be a plain thread.  They hold a reference for as long as they run.
 * Context: any thread.  Errors: -ENOMEM.
 */
int weft_future_add_done_callback(struct weft_future *future,
                                  void (*callback)(struct weft_future *future, void *arg),
                                  void *arg);

/** Take back what was added with this callback and arg, if it has not begun to run.
 * Returns: how many were taken back.  Context: any thread.  Never suspends. */
size_t weft_future_remove_done_callback(struct weft_future *future,
                                        void (*callback)(struct weft_future *future, void *arg),
                                        void *arg);

#ifdef __cplusplus
}
#endif
#endif
