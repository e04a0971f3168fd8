/* SPDX-License-Identifier: MIT */
/* Listening sockets.  Defaults of weft/weft.h apply. */
#ifndef WEFT_LISTENER_H
#define WEFT_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "weft/address.h"
#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weft_listener;

/** Listen on the Unix socket `path`, created with `mode` whatever the umask.  A path that starts
 * with '@' is abstract.  An existing file is not removed: -EADDRINUSE.  Never suspends. Errors:
 * -EINVAL empty, -ENAMETOOLONG, and socket(2)'s, bind(2)'s. */
int weft_listen_unix(const char *path, mode_t mode, struct weft_listener **ret_listener);

/** Listen on a numeric address; port 0 picks one (weft_listener_port).  What it accepts has
 * TCP_NODELAY.  Never suspends.
 * Errors: -EINVAL not numeric, and socket(2)'s, bind(2)'s. */
int weft_listen_tcp(const char *address, uint16_t port, struct weft_listener **ret_listener);

/* How weft_listen makes its socket; all zeroes are the defaults. */
struct weft_listen_options {
    int backlog;            /* connections that may wait; 0: as many as the kernel allows */
    mode_t mode;            /* of a Unix socket's file, whatever the umask; 0: 0600 */
    bool reuse_port;        /* TCP: several listeners share the port; the kernel spreads (and a
                             * process of the same user can take part) */
    bool exclusive_address; /* TCP: not while old connections linger (no SO_REUSEADDR) */
    bool v6_only;           /* "::" does not take IPv4 connections */
    bool replace_stale;     /* Unix: remove a socket file that nobody listens on any more */
    bool delay;             /* TCP: what is accepted gathers small writes (no TCP_NODELAY) */
    size_t receive_buffer;  /* of what is accepted, in bytes; 0: the kernel's choice */
    size_t send_buffer;     /* as receive_buffer */
};

/** Listen on any address.  `options` may be NULL.  Port 0 picks one.  Never suspends.
 * Errors: -EAFNOSUPPORT no address, -EINVAL backlog < 0, and socket(2)'s, bind(2)'s: -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES. */
int weft_listen(const struct weft_address *address, const struct weft_listen_options *options,
                struct weft_listener **ret_listener);

/** Take over a listening socket, as passed by socket activation.  Never suspends.
 * Ownership: the listener owns fd; on failure the caller keeps it.
 * Errors: -ENOTSOCK, -EINVAL it does not listen, and weft_descriptor_new's. */
int weft_listener_new(int fd, struct weft_listener **ret_listener);

/** Close.  A fiber that waits in accept gets -EBADF.  The socket file stays.  Never suspends. */
void weft_listener_free(struct weft_listener *listener);

/** Wait for a connection.  Errors: -ECANCELED, -ETIMEDOUT, -EBADF closed meanwhile, -EBUSY another
 * fiber accepts, -EMFILE and the like from accept4(2), which leave the connection queued;
 * connections that died in the queue are skipped. */
int weft_accept(struct weft_listener *listener, struct weft_stream **ret_stream);

/** The port of a TCP listener, host byte order; of any other, 0. */
uint16_t weft_listener_port(const struct weft_listener *listener);

/** Where it listens.  Never suspends.  Errors: getsockname(2)'s. */
int weft_listener_address(const struct weft_listener *listener, struct weft_address *ret_address);

/** The descriptor's number, borrowed. */
int weft_listener_fd(const struct weft_listener *listener);

#ifdef __cplusplus
}
#endif
#endif
