/* SPDX-License-Identifier: MIT */
/* Backtraces of fibers that run: their thread is asked by a signal to walk its own stack. */
#ifndef RUNTIME_OBSERVE_INTERRUPT_H
#define RUNTIME_OBSERVE_INTERRUPT_H

#include <stdint.h>

#include "weft/dump.h"

struct fiber;
struct worker;

/**
 * Where the fiber is, if it still runs on that worker's thread.  Waits for the answer, a quarter of
 * a second at most.  Any thread, one at a time; a system call in which the fiber blocks may return
 * EINTR.  Returns: how many frames there are, 0 if it could not be had.
 */
unsigned interrupt_frames(struct worker *worker, const struct fiber *fiber, uint64_t id,
                          const void *ret_frames[WEFT_FRAMES_MAX]);

#endif
