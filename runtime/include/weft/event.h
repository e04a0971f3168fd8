/* SPDX-License-Identifier: MIT */
/* An event: a flag that fibers wait for.  Defaults of weft/weft.h apply. */
#ifndef WEFT_EVENT_H
#define WEFT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; all zeroes is an event that is not set.  Its content is private. */
struct weft_event {
    uint64_t opaque[4];
};

/** Context: any thread.  Never suspends. */
void weft_event_init(struct weft_event *event);

/**
 * Set the flag and wake all waiters.  Context: any thread.  Never suspends.  A fiber whose wait
 * returned 0 may free the event at once: set does not touch it after waking.
 */
void weft_event_set(struct weft_event *event);

/** Clear the flag.  Context: any thread.  Never suspends. */
void weft_event_clear(struct weft_event *event);

/** Whether the flag is set.  Context: any thread.  Never suspends. */
bool weft_event_is_set(struct weft_event *event);

/** Wait until the flag is set, `deadline_ns` at most.  Errors: -ETIMEDOUT, -ECANCELED. */
int weft_event_wait(struct weft_event *event, uint64_t deadline_ns);

/** As weft_event_wait without a deadline and without regard to cancellation: for waits whose
 * event is sure to come and refers to the caller's memory. */
void weft_event_wait_shielded(struct weft_event *event);

#ifdef __cplusplus
}
#endif
#endif
