/* SPDX-License-Identifier: MIT */
/* Readiness of a file descriptor that epoll accepts (socket, pipe, pidfd, eventfd, terminal).
 * Regular files are refused: use weft_offload.  Defaults of weft/weft.h apply. */
#ifndef WEFT_DESCRIPTOR_H
#define WEFT_DESCRIPTOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_descriptor;

/**
 * Watch `fd`, whose home becomes the calling fiber's worker.  Sets O_NONBLOCK; the fd must be
 * close-on-exec.  Never suspends.
 * Ownership: the descriptor owns fd from now on; on failure the caller keeps it.
 * Errors:  -EPERM a regular file or directory, -EBADF, -ENOMEM, -ENOSPC the user's epoll watches.
 */
int weft_descriptor_new(int fd, struct weft_descriptor **ret_descriptor);

/** Close the fd; fibers that wait on it get -EBADF.  Where another fiber is inside a call on it at
 * this moment, the fd is closed when that call ends.  Any thread.  Never suspends.  NULL does
 * nothing. */
void weft_descriptor_free(struct weft_descriptor *descriptor);

/** The number, borrowed.  Any thread. */
int weft_descriptor_fd(const struct weft_descriptor *descriptor);

/** Give the fd back, no longer watched, still O_NONBLOCK; nobody may wait on it.  Any thread.
 * Never suspends. */
int weft_descriptor_release(struct weft_descriptor *descriptor);

/**
 * Wait until the fd may be readable (data, end of file or error).  Edge-triggered: first try the
 * system call, and wait only after EAGAIN.  May return early.
 * Errors: -EBUSY another fiber waits for this direction, -EBADF closed meanwhile, -ETIMEDOUT,
 *         -ECANCELED.
 */
int weft_descriptor_wait_readable(struct weft_descriptor *descriptor, uint64_t deadline_ns);

/** As weft_descriptor_wait_readable, for writing. */
int weft_descriptor_wait_writable(struct weft_descriptor *descriptor, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif
#endif
