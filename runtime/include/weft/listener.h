/* SPDX-License-Identifier: MIT */
/* Listening sockets.  Defaults of weft/weft.h apply. */
#ifndef WEFT_LISTENER_H
#define WEFT_LISTENER_H

#include <stdint.h>
#include <sys/types.h>

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

/** The descriptor's number, borrowed. */
int weft_listener_fd(const struct weft_listener *listener);

#ifdef __cplusplus
}
#endif
#endif
