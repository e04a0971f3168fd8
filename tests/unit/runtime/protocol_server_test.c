/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/io.h"

struct echo {
    struct weft_transport *transport;
};

static atomic_int echoes;

static int echo_create(void *arg, void **ret_self)
{
    int *refuse = arg;
    if (*refuse)
        return -EACCES;
    struct echo *echo = calloc(1, sizeof(*echo));
    if (!echo)
        return -ENOMEM;
    atomic_fetch_add(&echoes, 1);
    *ret_self = echo;
    return 0;
}

static int echo_made(void *self, struct weft_transport *transport)
{
    struct echo *echo = self;
    echo->transport = transport;
    return 0;
}

static int echo_data(void *self, const void *data, size_t size)
{
    struct echo *echo = self;
    return weft_transport_write(echo->transport, data, size);
}

static void echo_lost(void *self, int error)
{
    EXPECT(error == 0 || error == -ECANCELED);
    atomic_fetch_sub(&echoes, 1);
    free(self);
}

static const struct weft_protocol echo_protocol = {
    .connection_made = echo_made, .data_received = echo_data, .connection_lost = echo_lost};

struct service {
    struct weft_server server;
    struct weft_listener *listener;
    int refuse;
    struct weft_protocol_factory factory;
};

static int run_service(void *arg)
{
    struct service *service = arg;
    return weft_server_run(&service->server);
}

static int serve_echo(void *arg)
{
    struct service service = {.factory = {&echo_protocol, echo_create, &service.refuse}};
    struct weft_stream *streams[20];
    struct weft_group group;
    char name[108], buffer[5];
    (void)arg;
    EXPECT_EQ(weft_listen_unix(abstract_name(name, "echo"), 0600, &service.listener), 0);
    weft_server_init(&service.server, service.listener, weft_protocol_handler, &service.factory,
                     NULL);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "server", run_service, &service), 0);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(weft_stream_connect_unix(name, soon(), &streams[i]), 0);
        EXPECT_EQ(weft_write(streams[i], "hello", 5, NULL), 0);
    }
    for (int i = 0; i < 20; i++) {
        read_exactly(streams[i], buffer, 5);
        EXPECT(memcmp(buffer, "hello", 5) == 0);
    }
    EXPECT_EQ(atomic_load(&echoes), 20);
    for (int i = 1; i < 20; i++)
        weft_stream_free(streams[i]);
    service.refuse = 1;
    EXPECT_EQ(weft_stream_connect_unix(name, soon(), &streams[1]), 0);
    EXPECT_EQ(weft_read(streams[1], buffer, 1), 0);
    weft_stream_free(streams[1]);
    weft_server_stop(&service.server); /* one is still there, and is cancelled */
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_stream_free(streams[0]);
    EXPECT_EQ(atomic_load(&echoes), 0);
    weft_listener_free(service.listener);
    return 0;
}

Test(protocol_server, a_factory_serves_the_connections_of_a_server)
{
    on_fibers_counting_fds(1, serve_echo, NULL);
    on_fibers_counting_fds(2, serve_echo, NULL);
}
