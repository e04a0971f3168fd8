/* SPDX-License-Identifier: MIT */
/*
 * session: one connection.  Reads lines, starts a fiber per message, writes replies as they come.
 *
 * I1  One fiber reads; requests run on fibers of the session's group, at most max_in_flight: when
 *     that many run, reading stops (back-pressure), nothing is refused.
 * I2  A reply is one whole line under the session's write lock; replies come in any order.  A
 *     batch is answered by one line, when all of it is done.
 * I3  A bad line (not JSON, over line_max, too deep) gets its error reply and the connection stays
 *     good.  A partial line older than partial_line_timeout gets an error reply and a close.
 * I4  End of input half-closes: requests under way still reply, then the session ends.  A write
 *     error cancels them (a submit that is already being committed stays committed).
 * I5  A client that does not read its replies stops its own reading, by I1, and nobody else.
 */
#pragma once

#include "daemon/job.h"

#include <stdint.h>

struct config_daemon;
struct daemon_context;
struct weft_stream;

struct session_limits {
    uint32_t max_in_flight;
    uint64_t line_max;
    uint64_t partial_line_timeout; /* ns, 0: none */
    uint64_t idle_timeout;         /* ns, 0: none */
};

/* Serve until the end of the connection.  The caller owns stream and closes it afterwards; peer is
 * copied.  Fiber; ends early when its scope is cancelled.  Returns 0 or the -errno that ended it.
 */
int session_serve(struct weft_stream *stream, const struct peer *peer,
                  const struct session_limits *limits, struct daemon_context *context);

/* Who is at the other end of fd.  Errors: getsockopt's. */
int session_peer(int fd, const char *admin_group, struct peer *ret_peer);
