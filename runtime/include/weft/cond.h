/* SPDX-License-Identifier: MIT */
/* A condition, used with a weft_mutex.  Defaults of weft/weft.h apply. */
#ifndef WEFT_COND_H
#define WEFT_COND_H

#include "weft/mutex.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; all zeroes is ready for use.  Its content is private. */
struct weft_cond {
    uint64_t opaque[4];
};

/** Context: any thread.  Never suspends. */
void weft_cond_init(struct weft_cond *cond);

/**
 * Unlock `mutex`, wait for a signal, lock `mutex` again (without regard to cancellation).
 * `deadline_ns` may be WEFT_NO_DEADLINE.  The mutex is held again whatever is returned.
 * Errors: -ETIMEDOUT, -ECANCELED.  A signal that was received is never reported as an error.
 */
int weft_cond_wait(struct weft_cond *cond, struct weft_mutex *mutex, uint64_t deadline_ns);

/** Wake the first waiter.  Context: any thread.  Never suspends. */
void weft_cond_signal(struct weft_cond *cond);

/** Wake all waiters.  Context: any thread.  Never suspends.  They use the condition until their
 * calls have returned: it must not be freed before. */
void weft_cond_broadcast(struct weft_cond *cond);

#ifdef __cplusplus
}
#endif
#endif
