/* SPDX-License-Identifier: MIT */
/* A counting semaphore; first come, first served.  Defaults of weft/weft.h apply. */
#ifndef WEFT_SEMAPHORE_H
#define WEFT_SEMAPHORE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned.  Its content is private. */
struct weft_semaphore {
    uint64_t opaque[4];
};

/** `permits` to begin with; at most `limit` ever (0: no limit).  Context: any thread. */
void weft_semaphore_init(struct weft_semaphore *semaphore, uint32_t permits, uint32_t limit);

/** Take one permit, waiting until `deadline_ns` at most.  Errors: -ETIMEDOUT, -ECANCELED; a
 * permit that was granted is never lost to an error. */
int weft_semaphore_acquire(struct weft_semaphore *semaphore, uint64_t deadline_ns);

/** Take one permit if there is one.  Context: any thread.  Never suspends.  Errors: -EAGAIN. */
int weft_semaphore_try_acquire(struct weft_semaphore *semaphore);

/** Give one permit.  Context: any thread.  Never suspends.  Errors: -EOVERFLOW beyond the limit. */
int weft_semaphore_release(struct weft_semaphore *semaphore);

#ifdef __cplusplus
}
#endif
#endif
