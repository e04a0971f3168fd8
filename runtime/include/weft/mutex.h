/* SPDX-License-Identifier: MIT */
/* A mutex that suspends the fiber, not the thread.  Not recursive; first come, first served.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_MUTEX_H
#define WEFT_MUTEX_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; all zeroes is an unlocked mutex.  Its content is private. */
struct weft_mutex {
    uint64_t opaque[4];
};

/** Context: any thread.  Never suspends. */
void weft_mutex_init(struct weft_mutex *mutex);

/** Lock.  Errors: -ECANCELED, -ETIMEDOUT from the scope (then it is not locked),
 * -EDEADLK the caller holds it already. */
int weft_mutex_lock(struct weft_mutex *mutex);

/** As weft_mutex_lock, waiting until `deadline_ns` at most.  Errors: -ETIMEDOUT, -ECANCELED,
 * -EDEADLK. */
int weft_mutex_lock_until(struct weft_mutex *mutex, uint64_t deadline_ns);

/** Lock without regard to cancellation: for clean-up paths.  Errors: -EDEADLK. */
int weft_mutex_lock_shielded(struct weft_mutex *mutex);

/** Lock if free.  Never suspends.  Errors: -EBUSY. */
int weft_mutex_trylock(struct weft_mutex *mutex);

/** Unlock; the first waiter becomes the owner.  Only the owner.  Never suspends.  The last user may
 * free the mutex once it has unlocked it. */
void weft_mutex_unlock(struct weft_mutex *mutex);

#ifdef __cplusplus
}
#endif
#endif
