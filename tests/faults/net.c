/* SPDX-License-Identifier: MIT */
/* Scenarios of connections, names, TLS and HTTP. */
#include <string.h>

#include "scenario.h"
#include "unit/dns/fake_dns.h"
#include "unit/tls/tls_support.h"
#include "weft/dns.h"
#include "weft/http.h"
#include "weft/protocol.h"
#include "weft/tls.h"
#include "weft/weft.h"

/* ---- connections ----------------------------------------------------------------------------- */

static int echo(struct weft_stream *stream, void *unused)
{
    char text[64];
    ssize_t n;
    (void)unused;
    while ((n = weft_read(stream, text, sizeof(text))) > 0)
        TRY(weft_write(stream, text, (size_t)n, NULL));
    return (int)n;
}

static int serve(void *arg)
{
    return weft_serve(arg, echo, NULL, NULL);
}

/* A connection that was closed for want of something ends early: that is no data, then. */
static int talk(struct weft_stream *stream)
{
    char text[8] = "";
    TRY(weft_write(stream, "hello", 5, NULL));
    ssize_t n = weft_read(stream, text, sizeof(text));
    TRY(n);
    EXPECT(n == 0 || (n == 5 && strcmp(text, "hello") == 0));
    return 0;
}

/* What a server that lacks something may do to its clients. */
static int forgive(int r)
{
    return r == -ECONNRESET || r == -EPIPE ? 0 : r;
}

static int servers(void *unused)
{
    WEFT_CLEANUP(listener) struct weft_listener *listener = NULL;
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    int r = 0;
    (void)unused;
    TRY(weft_listen_tcp("127.0.0.1", 0, &listener));
    TRY(weft_task_new("server", serve, listener, &task));
    for (int i = 0; r == 0 && i < 3; i++) {
        WEFT_CLEANUP(stream) struct weft_stream *stream = NULL;
        r = weft_stream_connect_tcp("127.0.0.1", weft_listener_port(listener), in_time(), &stream);
        if (r == 0)
            r = forgive(talk(stream));
    }
    weft_task_cancel(task);
    int joined = weft_task_join(task, in_time(), NULL);
    return r < 0 ? r : joined;
}

static int datagrams(void *unused)
{
    WEFT_CLEANUP(datagram) struct weft_datagram *near = NULL, *far = NULL;
    struct weft_address address;
    char text[8];
    (void)unused;
    TRY(weft_address_inet("127.0.0.1", 0, &address));
    TRY(weft_datagram_bind(&address, NULL, &near));
    TRY(weft_datagram_local_address(near, &address));
    TRY(weft_datagram_connect(&address, NULL, NULL, &far));
    TRY(weft_datagram_send(far, NULL, "abc", 3));
    ssize_t n = weft_datagram_recv(near, text, sizeof(text), NULL, NULL);
    TRY(n);
    EXPECT_EQ(n, 3);
    return 0;
}

/* ---- protocols ------------------------------------------------------------------------------- */

static int send_back(void *self, const void *data, size_t size)
{
    return weft_transport_write(*(struct weft_transport **)self, data, size);
}

static int made(void *self, struct weft_transport *transport)
{
    *(struct weft_transport **)self = transport;
    return 0;
}

static void lost(void *self, int error)
{
    (void)self, (void)error;
}

static int run_protocol(void *arg)
{
    static const struct weft_protocol echoing = {
        .connection_made = made, .data_received = send_back, .connection_lost = lost};
    struct weft_transport *transport = NULL;
    int r = weft_protocol_run(arg, &echoing, &transport);
    weft_stream_shutdown_write(arg);
    return r;
}

static int protocols(void *unused)
{
    struct weft_stream *pair[2] = {NULL, NULL};
    (void)unused;
    TRY(weft_stream_pair(pair));
    WEFT_CLEANUP(stream) struct weft_stream *near = pair[0], *far = pair[1];
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    int result = 0;
    TRY(weft_task_new("protocol", run_protocol, far, &task));
    int r = forgive(talk(near));
    weft_stream_free(near);
    near = NULL;
    int joined = weft_task_join(task, in_time(), &result);
    TRY(r);
    TRY(joined);
    return result;
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct fake_dns dns;

static int start_dns(void)
{
    fake_dns_start(&dns);
    return 0;
}

static int names(void *unused)
{
    struct weft_resolver_options options = {.servers = dns.servers,
                                            .search = "",
                                            .no_hosts_file = true,
                                            .timeout_ns = 200 * WEFT_MILLISECOND,
                                            .tries = 1};
    struct weft_resolver *resolver;
    struct weft_address *addresses = NULL;
    (void)unused;
    TRY(weft_resolver_new(&options, &resolver));
    int r = weft_resolver_resolve(resolver, "good.test", NULL, AF_INET, in_time(), &addresses);
    weft_addresses_free(addresses);
    weft_resolver_free(resolver);
    EXPECT(r != 0);
    return r < 0 ? r : 0;
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static struct world tls_world;

static int make_certificates(void)
{
    world_init(&tls_world);
    return 0;
}

static int greet(void *arg)
{
    struct ends *ends = arg;
    int r = weft_tls_server(ends->server, ends->server_context, in_time());
    if (r == 0)
        r = weft_write(ends->server, "hello", 5, NULL);
    ends->server_result = r;
    weft_stream_free(ends->server); /* the client is to see the end */
    return 0;
}

/* What one side lacks the other sees as an end, and that is no error of it. */
static int first_of(int own, int others)
{
    return own == -ENOMEM || others >= 0 ? own : others;
}

static int shake_hands(struct weft_tls_context *client, struct weft_tls_context *server)
{
    struct weft_stream *pair[2] = {NULL, NULL};
    char text[8];
    TRY(weft_stream_pair(pair));
    WEFT_CLEANUP(stream) struct weft_stream *near = pair[0];
    struct ends ends = {.server = pair[1], .server_context = server};
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    int r = weft_task_new("server", greet, &ends, &task);
    if (r < 0) {
        weft_stream_free(pair[1]);
        return r;
    }
    r = weft_tls_client(near, client, "good.test", in_time());
    ssize_t n = r < 0 ? r : weft_read(near, text, sizeof(text));
    EXPECT(n <= 0 || (n == 5 && memcmp(text, "hello", 5) == 0));
    weft_stream_free(near);
    near = NULL;
    TRY(weft_task_join(task, in_time(), NULL));
    return first_of(n < 0 ? (int)n : 0, ends.server_result);
}

static int tls(void *unused)
{
    struct weft_tls_context *client = NULL, *server = NULL;
    (void)unused;
    int r = weft_tls_context_new(WEFT_TLS_CLIENT, &tls_world.client_options, NULL, &client);
    if (r == 0)
        r = weft_tls_context_new(WEFT_TLS_SERVER, &tls_world.server_options, NULL, &server);
    if (r == 0)
        r = shake_hands(client, server);
    weft_tls_context_unref(client);
    weft_tls_context_unref(server);
    return r;
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static int answer_hello(struct weft_stream *stream, void *unused)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kind: plain\r\n"
                               "Set-Cookie: a=b\r\nConnection: close\r\n\r\nhello";
    char request[4096];
    ssize_t n = weft_read(stream, request, sizeof(request));
    (void)unused;
    TRY(n);
    return weft_write(stream, text, sizeof(text) - 1, NULL);
}

static int serve_http(void *arg)
{
    return weft_serve(arg, answer_hello, NULL, NULL);
}

static int fetch(struct weft_http_session *session, const char *url)
{
    struct weft_http_response *response = NULL;
    struct weft_http_part part = {.name = "field", .data = "value", .size = 5};
    struct weft_http_request request = {.url = url, .body = weft_http_multipart(&part, 1)};
    void *data = NULL;
    size_t size = 0;
    TRY(weft_http_send(session, &request, &response));
    int r = weft_http_response_body(response, 100, &data, &size);
    EXPECT(r < 0 || (size == 5 && memcmp(data, "hello", 5) == 0));
    free(data);
    weft_http_response_free(response);
    return r;
}

static int web(void *unused)
{
    WEFT_CLEANUP(listener) struct weft_listener *listener = NULL;
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    struct weft_http_session *session;
    char url[64];
    (void)unused;
    TRY(weft_listen_tcp("127.0.0.1", 0, &listener));
    TRY(weft_task_new("server", serve_http, listener, &task));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", weft_listener_port(listener));
    int r = weft_http_session_new(NULL, &session);
    if (r == 0) {
        r = fetch(session, url);
        weft_http_session_free(session);
    }
    weft_task_cancel(task);
    int joined = weft_task_join(task, in_time(), NULL);
    return r < 0 ? r : joined;
}

const struct scenario net_scenarios[] = {
    {"servers", servers},
    {"datagrams", datagrams},
    {"protocols", protocols},
    {"names", names, start_dns, .vague = true},
    {"tls", tls, make_certificates, .vague = true},
    {"web", web, .vague = true},
    {NULL},
};
