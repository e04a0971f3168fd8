/* SPDX-License-Identifier: MIT */
/* server_refuse: telling somebody that there is no room.  Private to server.c. */
#pragma once

#include <stdbool.h>

struct weft_stream;

/**
 * Say why, in the language that the client speaks: 503 for HTTP, else a line.  Which one is told by
 * its first byte.  That may not have come yet when a connection is accepted: with `patience` it is
 * waited for, 100 ms at most, and a client of HTTP gets the time to read the reply; without, what has
 * not come counts as no HTTP.
 * Suspends, a few seconds at most.  The caller closes the stream.
 */
void server_refuse(struct weft_stream *stream, bool is_tcp, bool patience, const char *why);
