/* SPDX-License-Identifier: MIT */
/* Backtraces of fibers that run: their thread is asked by a signal to walk its own stack. */
#ifndef RUNTIME_OBSERVE_INTERRUPT_H
#define RUNTIME_OBSERVE_INTERRUPT_H

#include <stdint.h>

struct fiber;
struct frames;
struct worker;

/**
 * Where the fiber is, if it still runs on that worker's thread; frames->map is set.  Waits for the
 * answer, a quarter of a second at most.  Any thread; a system call in which the fiber blocks may
 * return EINTR.  No frames if it could not be had.
 */
void interrupt_frames(struct worker *worker, const struct fiber *fiber, uint64_t id,
                      struct frames *frames);

#endif
