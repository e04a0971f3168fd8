/* SPDX-License-Identifier: MIT */
/* The park word of a fiber: the states of wait.h and the two ways to claim it. */
#ifndef RUNTIME_CORE_PARK_H
#define RUNTIME_CORE_PARK_H

#include "core/wait.h"

struct scope;

enum park_state {
    PARK_RUNNING,
    PARK_ARMING,
    PARK_ARMING_SHIELDED, /* cancellation does not claim it */
    PARK_WAITING,
    PARK_WAITING_SHIELDED,
    PARK_EVENT, /* the three outcomes: claimed by ... */
    PARK_TIMEOUT,
    PARK_CANCEL
};

enum { PARK_STATE_BITS = 3, PARK_STATE_MASK = 7 };

/**
 * Claim the fiber's wait with `outcome` (PARK_EVENT, PARK_TIMEOUT), whatever wait it is: the caller
 * holds the lock that the fiber takes before it ends that wait (W3).
 * Returns: false when it was claimed before.  On true the fiber is in `batch`, unless it has not
 * switched away yet: then the publisher makes it ready.
 */
bool park_claim(struct fiber *fiber, enum park_state outcome, struct wait_batch *batch);

/** Claim the fiber's wait for cancellation if it is parked, unshielded, with `scope` innermost. */
void park_cancel(struct fiber *fiber, struct scope *scope, struct wait_batch *batch);

#endif
