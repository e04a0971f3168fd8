/* SPDX-License-Identifier: MIT */
/*
 * The io_uring of one worker: made when its first operation comes, freed with the worker.  A fiber
 * hands a request over and is resumed with its result; where the kernel refuses rings, does not
 * know the operation, or the ring is full, the caller is told so and does without.
 */
#ifndef RUNTIME_CORE_RING_H
#define RUNTIME_CORE_RING_H

#include "core/base.h"

struct io_uring_sqe;
struct ring;
struct worker;

enum {
    RING_REFUSED = 1 /* not by this ring, not now: do it in another way */
};

/**
 * Run the operation that `request` describes, on a fiber.  What it points to is in the kernel's
 * hands until this returns, and no longer.  Once the kernel has begun an operation its result is
 * returned, also when the scope was cancelled meanwhile.
 * Returns: 0 with *ret_result what the kernel says, -errno too; RING_REFUSED.
 * Errors:  -ECANCELED, -ETIMEDOUT from the scope: it was not done.
 */
int ring_run(const struct io_uring_sqe *request, int32_t *ret_result);

/** Whether the kernel lets this process have a ring.  Any thread.  Errors: io_uring_setup(2)'s. */
int ring_probe(void);

/** Whether the worker's ring has operations in flight.  Any thread, while the worker is there; a
 * hint. */
bool ring_is_busy(struct worker *worker);

/** Free the worker's ring, if there is one.  No fiber uses it, no thread drives the worker. */
void ring_free(struct worker *worker);

/** Make as if the kernel did not know `opcode`, for tests.  On a fiber. */
void ring_forget_opcode(unsigned opcode);

/** Operations that the calling fiber's worker has given to the kernel so far, for tests. */
uint64_t ring_submitted(void);

#endif
