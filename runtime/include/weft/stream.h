/* SPDX-License-Identifier: MIT */
/* Byte streams over sockets and pipes.  One fiber may read while another writes.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_STREAM_H
#define WEFT_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_stream;

/** Who is at the other end of a Unix socket, as of connect (SO_PEERCRED). */
struct weft_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/** Make a stream of `fd` (socket, pipe, terminal).  Never suspends.
 * Ownership: the stream owns fd; on failure the caller keeps it.  Errors: weft_descriptor_new's. */
int weft_stream_new(int fd, struct weft_stream **ret_stream);

/** Close.  Fibers that wait on it get -EBADF.  Never suspends.  NULL does nothing. */
void weft_stream_free(struct weft_stream *stream);

/** Connect to the Unix socket at `path`; a path that starts with '@' is abstract.
 * Errors: -ENAMETOOLONG, -ETIMEDOUT, -ECANCELED, and connect(2)'s. */
int weft_stream_connect_unix(const char *path, uint64_t deadline_ns,
                             struct weft_stream **ret_stream);

/** Connect to a numeric IPv4 or IPv6 `address`, with TCP_NODELAY.  (Names: weft-dns.)
 * Errors: -EINVAL not numeric, -ETIMEDOUT, -ECANCELED, and connect(2)'s. */
int weft_stream_connect_tcp(const char *address, uint16_t port, uint64_t deadline_ns,
                            struct weft_stream **ret_stream);

/**
 * Read up to size bytes, suspending until some are there.
 * Returns: bytes read, 0 at end of file.
 * Errors:  -ECANCELED or -ETIMEDOUT from the scope, -EBUSY another fiber reads, and read(2)'s.
 */
ssize_t weft_read(struct weft_stream *stream, void *buffer, size_t size);

/** Write all of it, suspending while the kernel's buffer is full.  A peer that is gone is -EPIPE,
 * never SIGPIPE.  Returns: 0.  Errors: -ECANCELED, -ETIMEDOUT, -EBUSY, -EPIPE, and write(2)'s;
 * `ret_written` (may be NULL), which is set in any case, tells how much went out. */
int weft_write(struct weft_stream *stream, const void *data, size_t size, size_t *ret_written);

/** Send end of file, keep reading.  Never suspends, except over TLS, where it sends close_notify as
 * weft_write would.  Errors: shutdown(2)'s, or weft_write's. */
int weft_stream_shutdown_write(struct weft_stream *stream);

/** Wait until there is something to read or the peer is gone, taking nothing.  For noticing that
 * a peer hung up.  Errors: as weft_read, with its own deadline. */
int weft_stream_wait_readable(struct weft_stream *stream, uint64_t deadline_ns);

/** Never suspends.  Errors: -ENOTSOCK, -EOPNOTSUPP not a Unix socket, and getsockopt(2)'s. */
int weft_stream_peer(struct weft_stream *stream, struct weft_peer *ret_peer);

/** The descriptor's number, borrowed. */
int weft_stream_fd(const struct weft_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
