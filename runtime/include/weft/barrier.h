/* SPDX-License-Identifier: MIT */
/* A barrier: so many fibers wait until all of them are there, and then go on together; and again,
 * as often as they like.  Defaults of weft/weft.h apply. */
#ifndef WEFT_BARRIER_H
#define WEFT_BARRIER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned.  Its content is private. */
struct weft_barrier {
    uint64_t opaque[6];
};

/** For `parties` fibers, 1 to INT_MAX.  Context: any thread.  Never suspends.
 * Errors: -EINVAL. */
int weft_barrier_init(struct weft_barrier *barrier, unsigned parties);

/**
 * Wait until `parties` fibers are here, the caller among them, until `deadline_ns` at most.
 * Returns: 0 to parties - 1, another number for each of those that pass together, in the order in
 *          which they came: so one can be told from the others.
 * Errors:  -EPIPE the barrier is broken, or was broken or reset while the caller waited;
 *          -ETIMEDOUT, -ECANCELED: then the caller is not here any more, and the others wait on for
 *          one who comes in its place.
 */
int weft_barrier_wait(struct weft_barrier *barrier, uint64_t deadline_ns);

/** Break it: those who wait, and all who come until it is reset, get -EPIPE.
 * Context: any thread.  Never suspends. */
void weft_barrier_abort(struct weft_barrier *barrier);

/** Make it whole and empty; those who wait get -EPIPE.  Context: any thread.  Never suspends. */
void weft_barrier_reset(struct weft_barrier *barrier);

/** How many wait now.  Context: any thread.  Never suspends. */
unsigned weft_barrier_waiting(struct weft_barrier *barrier);

/** Whether it is broken.  Context: any thread.  Never suspends. */
bool weft_barrier_broken(struct weft_barrier *barrier);

#ifdef __cplusplus
}
#endif
#endif
