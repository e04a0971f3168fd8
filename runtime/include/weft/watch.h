/* SPDX-License-Identifier: MIT */
/*
 * A watched value: some set it, others see its latest state and wait for it to change.  Who comes
 * late or is slow sees the latest value only.  Defaults of weft/weft.h apply.
 */
#ifndef WEFT_WATCH_H
#define WEFT_WATCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_watch;

/** A value of `item_size` bytes, *initial to begin with.  Context: any thread.
 * Errors: -EINVAL item_size is 0, -ENOMEM. */
int weft_watch_new(size_t item_size, const void *initial, struct weft_watch **ret_watch);

/** Nobody may use it any more.  NULL does nothing.  Context: any thread. */
void weft_watch_free(struct weft_watch *watch);

/** Set the value to *item and wake who waits for a change; it is one even if the bytes are the
 * same.  Context: any thread.  Never suspends.  Errors: -EPIPE closed. */
int weft_watch_set(struct weft_watch *watch, const void *item);

/** Copy the value out.  Context: any thread.  Never suspends.
 * Returns: its version, 1 or more, greater with each set. */
uint64_t weft_watch_get(struct weft_watch *watch, void *ret_item);

/**
 * Wait until the value has another version than *version, `deadline_ns` at most; then copy the
 * latest value out, and its version to *version.  Version 0 is older than all: begin with it.
 * Errors: -EPIPE closed, and *version is the last; -ETIMEDOUT, -ECANCELED; on an error neither was
 *         written.
 */
int weft_watch_changed(struct weft_watch *watch, uint64_t *version, void *ret_item,
                       uint64_t deadline_ns);

/** As weft_watch_changed without waiting.  Context: any thread.  Never suspends.
 * Errors: -EAGAIN no other version, -EPIPE. */
int weft_watch_try_changed(struct weft_watch *watch, uint64_t *version, void *ret_item);

/** Refuse further sets; those who wait get -EPIPE, the last value stays.
 * Context: any thread.  Never suspends.  A second close does nothing. */
void weft_watch_close(struct weft_watch *watch);

#ifdef __cplusplus
}
#endif
#endif
