/* SPDX-License-Identifier: MIT */
/* Blocking calls on a bounded, elastic pool of threads.  Defaults of weft/weft.h apply. */
#ifndef WEFT_OFFLOAD_H
#define WEFT_OFFLOAD_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Run fn(arg) on a thread of the pool while the fiber waits.  While it is queued a cancel takes it
 * back (fn did not run); once it runs, the fiber waits for its end whatever happens, because arg
 * is the fiber's.  fn must not call the library.
 * `ret_result` (may be NULL) gets fn's result.
 * Errors: -ECANCELED or -ETIMEDOUT: fn did not run; -EAGAIN no thread could be started.
 */
int weft_offload(int (*fn)(void *), void *arg, int *ret_result);

#ifdef __cplusplus
}
#endif
#endif
