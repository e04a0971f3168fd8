/* SPDX-License-Identifier: MIT */
/*
 * server: the Unix socket, HTTP over TCP where it is configured, and a fiber per connection.
 *
 * I1  A stale socket file (nobody listens) is replaced; one on which a weftd answers never is.
 * I2  A connection over a limit gets one error line (busy, id null), or 503 if it speaks HTTP as far
 *     as can be seen in a moment, and is closed: no silent drop.
 * I3  A connection fiber returns 0 always (a broken client must not cancel its siblings).
 * I4  The socket file is removed at the end only if this server made it, and it is still there.
 */
#pragma once

#include <stdint.h>

struct config;
struct daemon_context; /* methods.h */
struct problem;
struct server;
struct session_limits;

/**
 * Bind and listen (or take over inherited_fd; -1: none).  context is borrowed and outlives it.
 * Context: main fiber.
 * Errors:  -EADDRINUSE a live weftd answers there, -ENAMETOOLONG, -EACCES, -ENOENT parent folder
 *          cannot be made, …, with problem naming the path.
 */
int server_new(const struct config *config, int inherited_fd, struct daemon_context *context,
               struct problem *problem, struct server **ret_server);

/* Accept until server_close_listener(); a fiber of its own.  Descriptor or memory shortage
 * (EMFILE) pauses accepting for a moment and is logged once.  Returns 0 after the close, when
 * every session has ended; or an error at once: not all that listens could be served, so nothing is. */
int server_run(struct server *server);

/* Stop accepting; connections go on.  Any fiber. */
void server_close_listener(struct server *server);

/* Close the connections: requests in flight may still reply until deadline_ns, then they are
 * cancelled.  Idle ones are closed at once.  Any fiber; implies server_close_listener(). */
void server_stop(struct server *server, uint64_t deadline_ns);

void server_free(struct server *server); /* after server_run() returned; NULL is fine */

/* Limits for connections and lines from now on.  Any fiber. */
void server_apply_config(struct server *server, const struct config *config);

/* What new connections are bound by.  Any fiber. */
void server_limits(struct server *server, struct session_limits *ret_limits);

struct server_stats {
    uint64_t accepted, refused, requests, errors; /* in total */
    uint32_t connections, in_flight;              /* now */
};
void server_stats(struct server *server, struct server_stats *ret_stats);
