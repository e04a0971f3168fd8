/* SPDX-License-Identifier: MIT */
/* A server: a fiber per connection, over a listener.  Defaults of weft/weft.h apply. */
#ifndef WEFT_SERVER_H
#define WEFT_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "weft/listener.h"
#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Serves one connection.  The server frees the stream when the handler has returned.  A negative
 * result is counted (`failed`) and concerns nobody else.  Cancelled when the server must end.
 */

struct weft_server_options {
    size_t max_connections; /* served at once; more wait in the listener's queue; 0: no limit */
    uint64_t grace_ns;      /* how long handlers may go on after weft_server_stop; then they are
                             * cancelled; UINT64_MAX: as long as they like */
    const char *name;       /* of the handlers' fibers; NULL: "connection" */
};

struct weft_server_stats {
    uint64_t accepted; /* connections */
    uint64_t failed;   /* handlers that returned a negative result */
    uint64_t refused;  /* connections that were closed because no fiber could be had for them */
    uint64_t shortage; /* accepts that failed for want of descriptors or memory, and were repeated
                        * after a pause */
    size_t active;     /* handlers running now */
};

/* Caller-owned.  Its content is private. */
struct weft_server {
    uint64_t opaque[32];
};

/** Prepare to serve `listener`, which is borrowed until weft_server_run has returned.  `options`
 * may be NULL: no limit, no grace.  Never suspends. */
void weft_server_init(struct weft_server *server, struct weft_listener *listener,
                      int (*handler)(struct weft_stream *stream, void *arg), void *arg,
                      const struct weft_server_options *options);

/**
 * Accept connections and run the handler on a fiber for each, until weft_server_stop, or until the
 * scope is cancelled.  Want of descriptors, memory or fibers does not end it: it pauses, goes on,
 * and counts it.  When it returns no handler runs any more.  Once per weft_server_init.
 * Returns: 0 after weft_server_stop.
 * Errors:  -ECANCELED, -ETIMEDOUT from the scope (handlers were cancelled too), -EBADF the listener
 *          was freed, -EBUSY another fiber accepts from it, and weft_accept's.
 */
int weft_server_run(struct weft_server *server);

/** Accept no more (what comes at this very moment may still be served), and end when the handlers
 * have, or the grace is over.  Once or more, before or while weft_server_run runs.
 * Context: any thread.  Never suspends. */
void weft_server_stop(struct weft_server *server);

/** Context: any thread.  Never suspends. */
void weft_server_stats(struct weft_server *server, struct weft_server_stats *ret_stats);

/** weft_server_init and weft_server_run in one, for a server that only its scope ends. */
int weft_serve(struct weft_listener *listener,
               int (*handler)(struct weft_stream *stream, void *arg), void *arg,
               const struct weft_server_options *options);

#ifdef __cplusplus
}
#endif
#endif
