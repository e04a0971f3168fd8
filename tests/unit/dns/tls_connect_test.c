/* SPDX-License-Identifier: MIT */
/* tls_connect_test: weft/tls_connect.h, which is made of both libraries */
#include "support/test.h"

#include "../tls/tls_support.h"
#include "weft/tls_connect.h"

struct host {
    struct world world;
    struct weft_listener *listener;
    struct weft_group group;
    uint16_t port;
};

/* Shake hands with whoever comes, and say one word to those who like us. */
static int serve(void *arg)
{
    struct host *host = arg;
    struct weft_stream *stream;
    int r;

    while ((r = weft_accept(host->listener, &stream)) == 0) {
        if (weft_tls_server(stream, host->world.server_context, soon()) == 0)
            weft_write(stream, "hello", 5, NULL);
        weft_stream_free(stream);
    }
    return r == -ECANCELED ? 0 : r;
}

static void host_open(struct host *host)
{
    world_init(&host->world);
    world_open(&host->world);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &host->listener), 0);
    host->port = weft_listener_port(host->listener);
    weft_group_init(&host->group);
    EXPECT_EQ(weft_group_spawn(&host->group, "server", serve, host), 0);
}

static void host_close(struct host *host)
{
    weft_group_cancel(&host->group);
    weft_group_join(&host->group);
    weft_listener_free(host->listener);
    world_destroy(&host->world);
}

static int connects(void *unused)
{
    struct host host;
    struct weft_stream *stream = NULL;
    struct weft_tls_info info;
    char word[8];

    (void)unused;
    host_open(&host);
    EXPECT_EQ(
        weft_tls_connect("127.0.0.1", host.port, host.world.client_context, soon(), NULL, &stream),
        0);
    EXPECT_EQ(weft_tls_info(stream, &info), 0);
    EXPECT(info.peer_verified);
    EXPECT_EQ(weft_read(stream, word, sizeof(word)), 5);
    weft_stream_free(stream);
    host_close(&host);
    return 0;
}

Test(tls_connect, a_verified_stream_to_a_host)
{
    on_fibers(2, connects, NULL);
}

static int refuses(void *unused)
{
    struct host host;
    struct weft_stream *stream = NULL;
    struct weft_tls_why why = {""};

    (void)unused;
    host_open(&host);
    /* the certificate is for good.test and 127.0.0.1 */
    EXPECT_EQ(
        weft_tls_connect("127.0.0.2", host.port, host.world.client_context, soon(), &why, &stream),
        -ECONNREFUSED);
    EXPECT(strstr(why.text, "127.0.0.2") != NULL);
    EXPECT_EQ(weft_tls_connect("127.0.0.1", 1, host.world.client_context, soon(), &why, &stream),
              -ECONNREFUSED);
    EXPECT(stream == NULL);
    host_close(&host);
    return 0;
}

Test(tls_connect, a_host_that_is_not_there_is_named)
{
    on_fibers(1, refuses, NULL);
}

static int disbelieves(void *unused)
{
    struct host host;
    struct weft_stream *stream = NULL;
    struct weft_tls_context *stranger;
    struct weft_tls_why why = {""};

    (void)unused;
    host_open(&host);
    stranger = tls_context_make(WEFT_TLS_CLIENT, NULL); /* trusts the system's store alone */
    EXPECT_EQ(weft_tls_connect("127.0.0.1", host.port, stranger, soon(), &why, &stream),
              -EKEYREJECTED);
    EXPECT(why.text[0] != '\0');
    EXPECT(stream == NULL);
    weft_tls_context_unref(stranger);
    host_close(&host);
    return 0;
}

Test(tls_connect, a_server_that_nobody_vouches_for_is_refused)
{
    on_fibers(1, disbelieves, NULL);
}

static int gives_up(void *unused)
{
    struct host host;
    struct weft_stream *stream = NULL;
    struct weft_scope scope;

    (void)unused;
    host_open(&host);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(
        weft_tls_connect("127.0.0.1", host.port, host.world.client_context, soon(), NULL, &stream),
        -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_tls_connect("127.0.0.1", host.port, host.world.client_context, weft_now_ns(),
                               NULL, &stream),
              -ETIMEDOUT);
    EXPECT(stream == NULL);
    host_close(&host);
    return 0;
}

Test(tls_connect, a_cancel_or_a_deadline_ends_it)
{
    on_fibers(1, gives_up, NULL);
}
