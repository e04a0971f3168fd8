/* SPDX-License-Identifier: MIT */
/*
 * http: one connection that speaks HTTP/1.1, by libmicrohttpd.
 *
 * I1  A connection has a struct MHD_Daemon of its own, and only the connection's fiber calls into
 *     it: nothing of libmicrohttpd is shared between fibers, so it needs no lock and no pinning.
 * I2  Nothing suspends while a frame of libmicrohttpd is on the stack: its callbacks note what is
 *     to be done and suspend the MHD connection; the fiber does it after MHD_run() has returned, and
 *     resumes the connection.  So errno, and whatever else of a thread libmicrohttpd may use, is
 *     never used across a move to another thread.
 * I3  One request of a connection is under way at a time; what is pipelined waits in the socket.
 * I4  A request must be complete within partial_line_timeout of its first byte, or it is answered
 *     with 408; a body is at most line_max bytes, or it is answered with 413.
 * I5  Whoever hangs up has not taken back what was sent: it is carried out, and only what is still
 *     under way SESSION_GONE_NS later is cancelled.  A client that takes nothing of a reply for
 *     write_timeout is cut off.
 */
#pragma once

#include <stdbool.h>

struct daemon_context;
struct http_access;
struct peer;
struct rpc_error;
struct session_limits;
struct session_totals;
struct weft_stream;

/* A connection, and what serving it takes.  All of it is borrowed. */
struct http_client {
    struct weft_stream *stream;
    const struct peer *peer;
    const struct http_access *access; /* over TCP; NULL: the Unix socket */
    const struct session_limits *limits;
    struct session_totals *totals;
    struct daemon_context *context;
};

/* Serve until the end of the connection, of which nothing was read yet.  As session_serve(): the
 * caller closes the stream afterwards.  Fiber; ends early when its scope is cancelled.  Returns 0 or
 * the -errno that ended it. */
int http_serve(const struct http_client *client);

/* Say why there is no room for this connection (503), and with patience see to it that the client
 * can read that.  A second or two at most. */
void http_refuse(struct weft_stream *stream, const struct rpc_error *error, bool patient);
