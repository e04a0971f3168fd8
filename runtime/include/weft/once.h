/* SPDX-License-Identifier: MIT */
/* Something that is done once, by whoever comes first, while the others wait for it.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_ONCE_H
#define WEFT_ONCE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; all zeroes is one that is not done.  Its content is private. */
struct weft_once {
    uint64_t opaque[6];
};

/** Context: any thread.  Never suspends. */
void weft_once_init(struct weft_once *once);

/**
 * Have fn(arg) done.  The first caller runs it, on its own fiber and in its own scopes; those who
 * come meanwhile wait, until `deadline_ns` at most; those who come later return at once.
 *
 * Done means that fn returned 0 or more.  If it fails (also because its caller was cancelled, which
 * its suspending calls then tell it), only that caller gets the error, and the first of those who
 * wait, or the next to come, runs its own fn.
 *
 * Returns: what the fn that succeeded returned.
 * Errors:  what fn returned, to the caller that ran it; -EDEADLK called by fn itself; -ETIMEDOUT,
 *          -ECANCELED while waiting for another's fn.
 */
int weft_once_run(struct weft_once *once, int (*fn)(void *), void *arg, uint64_t deadline_ns);

/** Whether it is done.  Context: any thread.  Never suspends. */
bool weft_once_done(struct weft_once *once);

#ifdef __cplusplus
}
#endif
#endif
