/* SPDX-License-Identifier: MIT */
/* A wait group: a count of things that are under way, in fibers, threads or elsewhere, and fibers
 * that wait until it is 0.  To run fibers and wait for them, a group (weft/group.h) is the better
 * tool: it also brings their errors and cancels them.  Defaults of weft/weft.h apply. */
#ifndef WEFT_WAITGROUP_H
#define WEFT_WAITGROUP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; all zeroes is a count of 0.  Its content is private. */
struct weft_waitgroup {
    uint64_t opaque[4];
};

/** Context: any thread.  Never suspends. */
void weft_waitgroup_init(struct weft_waitgroup *waitgroup);

/** `count` more are under way.  Add before they start, so that no wait finds 0 too early.
 * Context: any thread.  Never suspends.  Errors: -EOVERFLOW beyond UINT32_MAX, nothing is added. */
int weft_waitgroup_add(struct weft_waitgroup *waitgroup, uint32_t count);

/** One has ended; the last one wakes who waits.  A fiber whose wait returned 0 may free the wait
 * group at once.  Context: any thread.  Never suspends.  Errors: -EINVAL the count is 0. */
int weft_waitgroup_done(struct weft_waitgroup *waitgroup);

/** Wait until the count is 0, `deadline_ns` at most; also if it grows again before the caller
 * runs.  Errors: -ETIMEDOUT, -ECANCELED. */
int weft_waitgroup_wait(struct weft_waitgroup *waitgroup, uint64_t deadline_ns);

/** The count now.  Context: any thread.  Never suspends. */
uint32_t weft_waitgroup_count(struct weft_waitgroup *waitgroup);

#ifdef __cplusplus
}
#endif
#endif
