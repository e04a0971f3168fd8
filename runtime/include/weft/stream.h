/* SPDX-License-Identifier: MIT */
/* Byte streams over sockets and pipes.  One fiber may read while another writes.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_STREAM_H
#define WEFT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "weft/address.h"

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

/* How weft_stream_connect makes its socket; all zeroes are the defaults. */
struct weft_connect_options {
    const struct weft_address *local; /* connect from there; NULL: the kernel picks */
    size_t receive_buffer;            /* bytes; 0: the kernel's choice, which grows as needed */
    size_t send_buffer;               /* as receive_buffer */
    bool delay;                       /* TCP: gather small writes (no TCP_NODELAY) */
};

/** Connect to any address.  `options` may be NULL.
 * Errors: -EAFNOSUPPORT no address, -ETIMEDOUT, -ECANCELED, socket(2)'s, bind(2)'s, connect(2)'s:
 * -ECONNREFUSED nobody listens, -ENETUNREACH, -EHOSTUNREACH. */
int weft_stream_connect(const struct weft_address *address,
                        const struct weft_connect_options *options, uint64_t deadline_ns,
                        struct weft_stream **ret_stream);

/** Two streams that are connected to each other (a pair of Unix sockets).  Never suspends.
 * Errors: socketpair(2)'s, weft_descriptor_new's. */
int weft_stream_pair(struct weft_stream *ret_streams[2]);

/** A pipe: what is written to ret_streams[1] is read from ret_streams[0].  Never suspends.
 * Errors: pipe2(2)'s, weft_descriptor_new's. */
int weft_stream_pipe(struct weft_stream *ret_streams[2]);

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

/** As weft_write for `count` pieces, in order, in as few system calls as it takes.
 * Errors: also -EINVAL count < 0, or the sizes add up to more than SSIZE_MAX. */
int weft_writev(struct weft_stream *stream, const struct iovec *pieces, int count,
                size_t *ret_written);

/** To its end: a size for weft_stream_send_file. */
#define WEFT_TO_END SIZE_MAX

/**
 * Send `size` bytes of the file `fd`, from `offset` on, or all to its end (WEFT_TO_END); where the
 * kernel can, without copying them into the program.  The file's position is neither used nor
 * moved, and what is not in the page cache is read off the worker.
 * `ret_sent` (may be NULL), which is set in any case, tells how much went out.
 * Returns: 0.
 * Errors:  -ENODATA the file ended before `size`, -EINVAL offset < 0 or not a regular file, as
 *          weft_write, and pread(2)'s.
 */
int weft_stream_send_file(struct weft_stream *stream, int fd, off_t offset, size_t size,
                          size_t *ret_sent);

/** Send end of file, keep reading.  Never suspends, except over TLS, where it sends close_notify as
 * weft_write would.  Errors: shutdown(2)'s, or weft_write's. */
int weft_stream_shutdown_write(struct weft_stream *stream);

/** Wait until there is something to read or the peer is gone, taking nothing.  For noticing that
 * a peer hung up.  Errors: as weft_read, with its own deadline. */
int weft_stream_wait_readable(struct weft_stream *stream, uint64_t deadline_ns);

/** Never suspends.  Errors: -ENOTSOCK, -EOPNOTSUPP not a Unix socket, and getsockopt(2)'s. */
int weft_stream_peer(struct weft_stream *stream, struct weft_peer *ret_peer);

/** Where the socket is bound, and to whom it is connected.  Never suspends.
 * Errors: -ENOTSOCK, -ENOTCONN, -EAFNOSUPPORT a family of its own. */
int weft_stream_local_address(struct weft_stream *stream, struct weft_address *ret_address);
int weft_stream_remote_address(struct weft_stream *stream, struct weft_address *ret_address);

/** Send small writes at once (TCP_NODELAY), as connected and accepted streams do, or gather them.
 * Never suspends.  Errors: -ENOTSOCK, -EOPNOTSUPP not TCP. */
int weft_stream_set_nodelay(struct weft_stream *stream, bool on);

/**
 * Notice a silent peer's death: after `idle_ns` of silence ask it each `interval_ns`, and after
 * `probes` questions without an answer calls fail with -ETIMEDOUT.  In whole seconds, rounded up;
 * 0 leaves a figure as it is, idle_ns 0 turns it off.  Never suspends.
 * Errors: -ENOTSOCK, -EOPNOTSUPP not TCP, -EINVAL more than 32767 s, or 127 probes.
 */
int weft_stream_set_keepalive(struct weft_stream *stream, uint64_t idle_ns, uint64_t interval_ns,
                              unsigned probes);

/** The kernel's buffers in bytes; 0 leaves one as it is.  The kernel doubles it and bounds it.
 * Never suspends.  Errors: -ENOTSOCK. */
int weft_stream_set_buffers(struct weft_stream *stream, size_t receive, size_t send);

/** The descriptor's number, borrowed. */
int weft_stream_fd(const struct weft_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
