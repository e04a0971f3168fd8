/* SPDX-License-Identifier: MIT */
/*
 * Backtraces.  A walk follows frame pointers; it reads only within the bounds of one fiber's stack
 * and ends where a frame is not above the one before it, so whatever it finds there, it ends and
 * does not fault.  Where code without frame pointers breaks the chain, or stands at its beginning,
 * the words that look like return addresses are taken, and marked as guesses.
 */
#ifndef RUNTIME_OBSERVE_FRAMES_H
#define RUNTIME_OBSERVE_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/dump.h"

struct code_map;
struct fiber;

struct frames {
    const struct code_map *map; /* read lately; for guesses */
    unsigned count;
    uint64_t guesses; /* bit i: at[i] is one */
    const void *at[WEFT_FRAMES_MAX];
};

/* Where a computation stands. */
struct frames_start {
    uintptr_t pc; /* the next instruction, or a return address */
    uintptr_t fp;
    uintptr_t sp;
    uintptr_t link; /* where a function that calls nothing keeps its return address, else 0 */
    bool exact;     /* pc is not behind a call: it is counted as one byte later, as if it were */
};

/** Walk the fiber's stack from there.  Any thread, async-signal-safe. */
void frames_walk(const struct fiber *fiber, const struct frames_start *start,
                 struct frames *frames);

/** Of a fiber whose registers are saved, and that is kept from going on. */
void frames_suspended(const struct fiber *fiber, struct frames *frames);

/** Of the caller, if it runs on that fiber; else none. */
void frames_own(const struct fiber *fiber, struct frames *frames);

#endif
