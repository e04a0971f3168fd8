/* SPDX-License-Identifier: MIT */
/* A client and a server of ours over a socket pair. */
#pragma once
#include "certificates.h"
#include "support/io.h"
#include "weft/tls.h"

/* What most tests need: an authority, and a server that it vouches for. */
struct world {
    struct identity authority, server;
    struct weft_tls_certificate certificate;
    struct weft_tls_options client_options, server_options;
    struct weft_tls_context *client_context, *server_context; /* once world_open */
};

static inline void world_init(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->authority =
        identity_make(&(struct identity_options){.name = "Test CA", .authority = true}, NULL);
    world->server = identity_make(
        &(struct identity_options){.name = "server", .names = "DNS:good.test, IP:127.0.0.1"},
        &world->authority);
    world->certificate = (struct weft_tls_certificate){.chain_pem = world->server.chain_pem,
                                                       .key_pem = world->server.key_pem};
    world->server_options.certificates = &world->certificate;
    world->server_options.certificate_count = 1;
    world->client_options.ca_pem = world->authority.chain_pem;
}

/** Another server certificate than the good one. */
static inline void world_serve(struct world *world, const struct identity *identity)
{
    world->certificate.chain_pem = identity->chain_pem;
    world->certificate.key_pem = identity->key_pem;
}

static inline struct weft_tls_context *tls_context_make(enum weft_tls_role role,
                                                        const struct weft_tls_options *options)
{
    struct weft_tls_context *context;
    struct weft_tls_why why = {0};
    int r = weft_tls_context_new(role, options, &why, &context);
    if (r < 0)
        fprintf(stderr, "no context: %s\n", why.text);
    EXPECT_EQ(r, 0);
    return context;
}

static inline void world_open(struct world *world)
{
    world->client_context = tls_context_make(WEFT_TLS_CLIENT, &world->client_options);
    world->server_context = tls_context_make(WEFT_TLS_SERVER, &world->server_options);
}

static inline void world_close(struct world *world)
{
    weft_tls_context_unref(world->client_context);
    weft_tls_context_unref(world->server_context);
    world->client_context = world->server_context = NULL;
}

static inline void world_destroy(struct world *world)
{
    world_close(world);
    identity_destroy(&world->authority);
    identity_destroy(&world->server);
}

/* Both ends of one connection. */
struct ends {
    struct weft_stream *client, *server;
    struct weft_tls_context *server_context;
    int client_result, server_result;
};

static inline int serve_handshake(void *arg)
{
    struct ends *ends = arg;
    ends->server_result = weft_tls_server(ends->server, ends->server_context, soon());
    if (ends->server_result < 0) /* the peer is to see the end */
        shutdown(weft_stream_fd(ends->server), SHUT_WR);
    return 0;
}

/** Handshake over the two plain streams of `ends`; the results are in there. */
static inline void ends_shake(struct ends *ends, const struct world *world, const char *hostname)
{
    struct weft_group group;
    ends->server_context = world->server_context;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "server", serve_handshake, ends), 0);
    ends->client_result = weft_tls_client(ends->client, world->client_context, hostname, soon());
    if (ends->client_result < 0)
        shutdown(weft_stream_fd(ends->client), SHUT_WR);
    EXPECT_EQ(weft_group_join(&group), 0);
}

/** A socket pair, and the handshake over it. */
static inline void ends_open(struct ends *ends, const struct world *world, const char *hostname)
{
    struct weft_stream *streams[2];
    stream_pair(streams);
    *ends = (struct ends){.client = streams[0], .server = streams[1]};
    ends_shake(ends, world, hostname);
}

static inline void ends_open_well(struct ends *ends, const struct world *world)
{
    ends_open(ends, world, "good.test");
    if (ends->client_result < 0)
        fprintf(stderr, "client: %s\n", weft_tls_error(ends->client));
    EXPECT_EQ(ends->client_result, 0);
    EXPECT_EQ(ends->server_result, 0);
}

static inline void ends_close(struct ends *ends)
{
    weft_stream_free(ends->client);
    weft_stream_free(ends->server);
}

/* ---- one call on a fiber of its own --------------------------------------------------------- */

struct call {
    struct weft_stream *stream;
    char *data;
    size_t size, written;
    struct weft_tls_context *context;
    uint64_t deadline_ns;
    atomic_int arrivals;
    long result;
    atomic_bool over;
};

static inline int call_end(struct call *call, long result)
{
    call->result = result;
    atomic_store(&call->over, true);
    return 0;
}

static inline int call_read(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    return call_end(call, weft_read(call->stream, call->data, call->size));
}

static inline int call_write(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    return call_end(call, weft_write(call->stream, call->data, call->size, &call->written));
}

static inline int call_wait(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    return call_end(call, weft_stream_wait_readable(call->stream, soon()));
}

static inline int call_client(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    return call_end(call, weft_tls_client(call->stream, call->context, "good.test", soon()));
}

static inline int call_server(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    return call_end(call, weft_tls_server(call->stream, call->context, soon()));
}

static inline void call_start(struct weft_group *group, int (*fn)(void *), struct call *call)
{
    EXPECT_EQ(weft_group_spawn(group, "call", fn, call), 0);
    await_arrivals(&call->arrivals, 1);
}

/** Let the others run for a while: with one worker, each as far as it can come. */
static inline void let_others_run(void)
{
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(weft_yield(), 0);
}
