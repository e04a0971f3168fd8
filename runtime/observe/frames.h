/* SPDX-License-Identifier: MIT */
/*
 * Backtraces by frame pointers.  A walk reads only within the bounds of one fiber's stack and ends
 * where a frame is not above the one before it, so whatever it finds there, it ends and does not
 * fault.  Code without frame pointers ends it early.
 */
#ifndef RUNTIME_OBSERVE_FRAMES_H
#define RUNTIME_OBSERVE_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/dump.h"

struct fiber;

/* Where a computation stands. */
struct frames_start {
    uintptr_t pc; /* the next instruction, or a return address */
    uintptr_t fp;
    uintptr_t sp;
    bool exact; /* pc is not behind a call: it is counted as one byte later, as if it were */
};

/** Walk the fiber's stack from there.  Any thread, async-signal-safe.
 * Returns: how many return addresses there are in ret_frames, innermost first. */
unsigned frames_walk(const struct fiber *fiber, const struct frames_start *start,
                     const void *ret_frames[WEFT_FRAMES_MAX]);

/** Of a fiber whose registers are saved, and that is kept from going on.  Returns: as above. */
unsigned frames_suspended(const struct fiber *fiber, const void *ret_frames[WEFT_FRAMES_MAX]);

/** Of the caller, if it runs on that fiber.  Returns: as above, 0 if it does not. */
unsigned frames_own(const struct fiber *fiber, const void *ret_frames[WEFT_FRAMES_MAX]);

/** Whether the fiber, whose registers are saved, has not run yet. */
bool frames_none_yet(const struct fiber *fiber);

#endif
