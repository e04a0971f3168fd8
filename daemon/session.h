/* SPDX-License-Identifier: MIT */
/*
 * session: one connection that speaks lines.  Reads them, starts a fiber per request, writes replies
 * as they come.
 *
 * I1  One fiber reads; requests run on fibers of the session's group, at most max_in_flight: when
 *     that many run, reading stops (back-pressure), nothing is refused.  A batch counts as its
 *     requests.
 * I2  A reply is one whole line; replies come in any order.  A batch is answered by one line, when
 *     all of it is done.
 * I3  A bad line (not JSON, over line_max, too deep) gets its error reply and the connection stays
 *     good.  A partial line older than partial_line_timeout gets an error reply and a close.
 * I4  End of input half-closes: a last line without its newline counts, requests under way still
 *     reply, then the session ends.  What a client sent before it hung up is carried out, though
 *     nobody takes the replies; only what is still under way SESSION_GONE_NS later is cancelled.
 *     Any other write error cancels at once.
 * I5  A client that does not read its replies stops its own reading, by I1 (a request is in flight
 *     until its reply is written), and nobody else; after write_timeout without a byte taken it is
 *     cut off.
 * I6  What a request leaves to be done (methods.h, request_follow_up: a subscription) goes on after
 *     its reply, which is written before anything of it, until it ends by itself or the client is
 *     gone.  A client that has half-closed still gets it.
 */
#pragma once

#include "daemon/job.h"

#include <stdatomic.h>
#include <stdint.h>

struct daemon_context;
struct weft_stream;

/* How long the requests of a client that hung up may go on, so that one who sends and leaves is
 * served all the same. */
#define SESSION_GONE_NS UINT64_C(5000000000)

struct session_limits {
    uint32_t max_in_flight;
    uint64_t line_max;
    uint64_t partial_line_timeout; /* ns, 0: none */
    uint64_t idle_timeout;         /* ns, 0: none */
    uint64_t write_timeout;        /* ns, 0: none */
    uint64_t keep_alive;           /* ns: a comment in a stream of events that is silent */
};

/* What all sessions of a server have done; atomic, relaxed. */
struct session_totals {
    atomic_uint_fast64_t requests;
    atomic_uint_fast64_t errors; /* error replies */
    atomic_uint in_flight;       /* now */
};

/* Serve until the end of the connection.  The caller owns stream and closes it afterwards; peer and
 * limits are copied, totals and context borrowed.  Fiber; ends early when its scope is cancelled.
 * Returns 0, the -errno that ended it, or SESSION_IS_HTTP: the first byte says that this is HTTP;
 * nothing was read or written, http_serve() takes over.
 */
#define SESSION_IS_HTTP 1
int session_serve(struct weft_stream *stream, const struct peer *peer,
                  const struct session_limits *limits, struct session_totals *totals,
                  struct daemon_context *context);

/* Who is at the other end of fd.  Blocks shortly (the group database).  Errors: getsockopt's; or the
 * database cannot be asked now: an admin must not be taken for somebody else. */
int session_peer(int fd, const char *admin_group, struct peer *ret_peer);

/* The peer that a user is who did not connect himself.  The same. */
int session_peer_of(uid_t uid, gid_t gid, const char *admin_group, struct peer *ret_peer);
