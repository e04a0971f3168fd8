/* SPDX-License-Identifier: MIT */
/*
 * A fiber per connection.
 *
 *   I1  weft_server_run opens two groups on its fiber: the outer one owns the handlers, the inner
 *       one the fiber that accepts.  A stop cancels the inner group alone; a cancel from outside
 *       reaches both.
 *   I2  A connection holds one of max_connections' permits from before it is accepted until its
 *       stream is freed.  So beyond the limit connections wait in the kernel's queue, and hold no
 *       descriptor.
 *   I3  Want of descriptors, memory or fibers passes: it is answered by a pause, longer each time,
 *       never by an end of the server, nor by trying again at once.
 *   I4  `active` counts the handlers that run; the one that makes it 0 after `stopping` was set, or
 *       the stop that finds it 0, sets `idle`.  Under the lock, so that one of the two does.
 *
 * Running is for fibers; stopping and asking for any thread.  It does not free the listener.
 */
#include "weft/server.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base.h"
#include "core/spin.h"
#include "weft/event.h"
#include "weft/group.h"
#include "weft/semaphore.h"
#include "weft/time.h"

#define PAUSE_MIN_NS (2 * WEFT_MILLISECOND)
#define PAUSE_MAX_NS (200 * WEFT_MILLISECOND)

struct server {
    struct weft_listener *listener;
    int (*handler)(struct weft_stream *stream, void *arg);
    void *arg;
    const char *name;
    uint64_t grace_ns;
    struct weft_event stop; /* asked for, or accepting has failed */
    struct weft_event idle; /* stopping, and no handler runs */
    struct weft_semaphore permits;
    struct weft_group *handlers; /* while it runs */
    int failure;                 /* why accepting ended, or 0; written before the acceptor ends */
    struct spin lock;
    struct weft_server_stats stats; /* guarded by lock */
    bool stopping;                  /* nothing is accepted any more; guarded by lock */
};

_Static_assert(sizeof(struct server) <= sizeof(struct weft_server), "too small in public");
_Static_assert(_Alignof(struct server) <= _Alignof(struct weft_server), "or less aligned");

/* What a handler's fiber needs to know. */
struct connection {
    struct server *server;
    struct weft_stream *stream;
};

static struct server *server_of(struct weft_server *server)
{
    return (struct server *)(void *)server;
}

void weft_server_init(struct weft_server *public, struct weft_listener *listener,
                      int (*handler)(struct weft_stream *stream, void *arg), void *arg,
                      const struct weft_server_options *options)
{
    static const struct weft_server_options defaults = {0};
    struct server *server = server_of(public);
    *public = (struct weft_server){0};
    options = options ? options : &defaults;
    server->listener = listener;
    server->handler = handler;
    server->arg = arg;
    server->name = options->name ? options->name : "connection";
    server->grace_ns = options->grace_ns;
    size_t most = options->max_connections;
    uint32_t permits = most && most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
    weft_semaphore_init(&server->permits, permits, permits);
}

/* ---- a connection --------------------------------------------------------------------------- */

static void connection_began(struct server *server)
{
    spin_lock(&server->lock);
    server->stats.accepted++;
    server->stats.active++;
    spin_unlock(&server->lock);
}

static void connection_ended(struct server *server, int result)
{
    spin_lock(&server->lock);
    server->stats.failed += result < 0;
    server->stats.active--;
    bool idle = server->stopping && server->stats.active == 0;
    spin_unlock(&server->lock);
    CHECK(weft_semaphore_release(&server->permits) == 0);
    if (idle)
        weft_event_set(&server->idle);
}

static int connection_run(void *arg)
{
    struct connection connection = *(struct connection *)arg;
    free(arg);
    int r = connection.server->handler(connection.stream, connection.server->arg);
    weft_stream_free(connection.stream);
    connection_ended(connection.server, r);
    return 0; /* it concerns nobody else: the group goes on */
}

/* ---- accepting ------------------------------------------------------------------------------ */

static bool is_shortage(int error)
{
    switch (error) {
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:
    case -ENOSPC: /* epoll watches */
    case -EAGAIN: /* fibers */
    case -EPERM:  /* a firewall's rule, by accept(2) */
        return true;
    default:
        return false;
    }
}

/* Start the handler; on failure the stream is still there. */
static int connection_start(struct server *server, struct weft_stream *stream)
{
    struct connection *connection = malloc(sizeof(*connection));
    if (!connection)
        return -ENOMEM;
    *connection = (struct connection){.server = server, .stream = stream};
    connection_began(server);
    int r = weft_group_spawn(server->handlers, server->name, connection_run, connection);
    if (r < 0) {
        spin_lock(&server->lock);
        server->stats.active--;
        server->stats.refused++;
        spin_unlock(&server->lock);
        free(connection);
    }
    return r;
}

/* Accept one connection, and start its handler; a permit is held.  On failure it is given back. */
static int accept_one(struct server *server)
{
    struct weft_stream *stream;
    int r = weft_accept(server->listener, &stream);
    if (r == 0) {
        r = connection_start(server, stream);
        if (r < 0)
            weft_stream_free(stream);
    }
    if (r < 0)
        CHECK(weft_semaphore_release(&server->permits) == 0);
    return r;
}

/* I3.  Errors: -ECANCELED, -ETIMEDOUT. */
static int pause_for(struct server *server, uint64_t *pause_ns)
{
    spin_lock(&server->lock);
    server->stats.shortage++;
    spin_unlock(&server->lock);
    int r = weft_sleep(*pause_ns);
    *pause_ns = *pause_ns < PAUSE_MAX_NS / 2 ? 2 * *pause_ns : PAUSE_MAX_NS;
    return r;
}

static int accept_all(struct server *server)
{
    uint64_t pause_ns = PAUSE_MIN_NS;
    for (;;) {
        int r = weft_semaphore_acquire(&server->permits, WEFT_NO_DEADLINE);
        if (r == 0)
            r = accept_one(server);
        if (r == 0)
            pause_ns = PAUSE_MIN_NS;
        else if (is_shortage(r))
            r = pause_for(server, &pause_ns);
        if (r < 0)
            return r;
    }
}

/* The group must not be cancelled by a failure, which is the server's result and no more. */
static int acceptor_run(void *arg)
{
    struct server *server = arg;
    int r = accept_all(server);
    if (r != -ECANCELED && r != -ETIMEDOUT)
        server->failure = r;
    weft_event_set(&server->stop);
    return 0;
}

/* Accept until told to stop.  Returns: 0, or why accepting failed, or the scope's error. */
static int run_acceptor(struct server *server)
{
    struct weft_group acceptor;
    weft_group_init(&acceptor);
    int r = weft_group_spawn(&acceptor, "acceptor", acceptor_run, server);
    if (r == 0)
        r = weft_event_wait(&server->stop, WEFT_NO_DEADLINE);
    weft_group_cancel(&acceptor);
    weft_group_join(&acceptor);
    return server->failure < 0 ? server->failure : r;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Give the handlers their grace. */
static void await_handlers(struct server *server)
{
    spin_lock(&server->lock);
    server->stopping = true;
    bool idle = server->stats.active == 0;
    spin_unlock(&server->lock);
    if (!idle)
        weft_event_wait(&server->idle, weft_deadline_after(server->grace_ns));
}

int weft_server_run(struct weft_server *public)
{
    struct server *server = server_of(public);
    struct weft_group handlers;
    weft_group_init(&handlers);
    server->handlers = &handlers;
    int r = run_acceptor(server);
    await_handlers(server);
    weft_group_cancel(&handlers);
    weft_group_join(&handlers);
    return r;
}

void weft_server_stop(struct weft_server *server)
{
    weft_event_set(&server_of(server)->stop);
}

void weft_server_stats(struct weft_server *public, struct weft_server_stats *ret_stats)
{
    struct server *server = server_of(public);
    spin_lock(&server->lock);
    *ret_stats = server->stats;
    spin_unlock(&server->lock);
}

int weft_serve(struct weft_listener *listener,
               int (*handler)(struct weft_stream *stream, void *arg), void *arg,
               const struct weft_server_options *options)
{
    struct weft_server server;
    weft_server_init(&server, listener, handler, arg, options);
    return weft_server_run(&server);
}
