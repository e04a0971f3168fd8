/* SPDX-License-Identifier: MIT */
/* Passing descriptors over Unix sockets.  Defaults of weft/weft.h apply. */
#ifndef WEFT_PASS_H
#define WEFT_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The most descriptors that one message can carry: the kernel's limit. */
#define WEFT_PASS_MAX 253

/* Descriptors that came with a message; they are the receiver's to close. */
struct weft_passed {
    size_t count;
    bool truncated; /* there were more, which are lost: the process has no numbers left */
    int fds[WEFT_PASS_MAX];
};

/**
 * Send data, and `count` descriptors with its first byte.  They stay the caller's, who may close
 * them when the call has returned.  As weft_write: `ret_written` (may be NULL), which is set in any
 * case, tells how much data went out, and if any did, so did all descriptors.
 * Returns: 0.
 * Errors:  -EINVAL size is 0 or count beyond WEFT_PASS_MAX, -EBADF one of them is not open,
 *          -ENOTSOCK, -EOPNOTSUPP not a Unix socket, or the stream is encrypted, -ETOOMANYREFS too
 *          many on their way, and weft_write's.
 */
int weft_stream_send_fds(struct weft_stream *stream, const void *data, size_t size, const int *fds,
                         size_t count, size_t *ret_written);

/**
 * As weft_read, and take the descriptors that came with what was read, close-on-exec.  (weft_read
 * closes such unseen.)  Data that carries descriptors is not read together with what follows it.
 * Returns: bytes read, 0 at end of file; *ret_passed is set also when none came.
 * Errors:  -ENOTSOCK, -EOPNOTSUPP the stream is encrypted, and weft_read's.
 */
ssize_t weft_stream_recv_fds(struct weft_stream *stream, void *buffer, size_t size,
                             struct weft_passed *ret_passed);

/** Close all that are left in it (-1: taken out), and empty it.  Any thread.  Never suspends. */
void weft_passed_close(struct weft_passed *passed);

#ifdef __cplusplus
}
#endif
#endif
