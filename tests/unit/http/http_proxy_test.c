/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <arpa/inet.h>

#include "support/web.h"

/* ---- a proxy ---------------------------------------------------------------------------- */

struct proxy {
    struct weft_listener *listener;
    struct weft_group group;
    uint16_t port;
    int refuse;       /* an HTTP status, or a SOCKS reply, instead of a tunnel */
    atomic_int asked; /* for a tunnel */
    char head[1024];  /* what came with the last question */
};

struct flow {
    struct weft_stream *from, *to;
};

/* Passes bytes on in one direction, to the end of file and then that too. */
static int pass(void *arg)
{
    struct flow *flow = arg;
    char block[4096];
    ssize_t n;
    while ((n = weft_read(flow->from, block, sizeof(block))) > 0) {
        if (weft_write(flow->to, block, (size_t)n, NULL) < 0)
            return 0;
    }
    weft_stream_shutdown_write(flow->to);
    return 0;
}

static void tunnel(struct weft_stream *client, struct weft_stream *server)
{
    struct flow up = {client, server}, down = {server, client};
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "up", pass, &up), 0);
    EXPECT_EQ(weft_group_spawn(&group, "down", pass, &down), 0);
    weft_group_join(&group);
}

/* The head of an HTTP request, to its empty line. */
static bool read_head(struct weft_stream *client, char *head, size_t size)
{
    size_t used = 0;
    while (used + 1 < size && weft_read(client, head + used, 1) == 1) {
        head[++used] = '\0';
        if (used >= 4 && memcmp(head + used - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static void say_to(struct weft_stream *client, const char *text)
{
    weft_write(client, text, strlen(text), NULL);
}

/* CONNECT host:port; the host is always us. */
static bool open_http(struct proxy *proxy, struct weft_stream *client, unsigned *ret_port)
{
    char text[64];
    if (!read_head(client, proxy->head, sizeof(proxy->head)))
        return false;
    atomic_fetch_add(&proxy->asked, 1);
    if (proxy->refuse) {
        snprintf(text, sizeof(text), "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n", proxy->refuse);
        say_to(client, text);
        return false;
    }
    const char *colon = strchr(proxy->head, ':');
    if (strncmp(proxy->head, "CONNECT ", 8) != 0 || !colon)
        return false;
    *ret_port = (unsigned)strtoul(colon + 1, NULL, 10);
    say_to(client, "HTTP/1.1 200 Fine\r\nX-Proxy: yes\r\n\r\n");
    return true;
}

/* SOCKS 5, RFC 1928, without authentication; the first byte was looked at only. */
static bool open_socks(struct proxy *proxy, struct weft_stream *client, unsigned *ret_port)
{
    unsigned char greeting[2], methods[255], ask[4], address[256], port[2];
    unsigned char answer[10] = {5, (unsigned char)proxy->refuse, 0, 1};
    read_exactly(client, greeting, 2);
    read_exactly(client, methods, greeting[1]);
    weft_write(client, "\5\0", 2, NULL);
    read_exactly(client, ask, 4);
    if (ask[3] == 3) {
        read_exactly(client, address, 1);
        snprintf(proxy->head, sizeof(proxy->head), "name of %u bytes", address[0]);
        read_exactly(client, address + 1, address[0]);
    } else {
        snprintf(proxy->head, sizeof(proxy->head), "address");
        read_exactly(client, address, ask[3] == 1 ? 4 : 16);
    }
    read_exactly(client, port, 2);
    atomic_fetch_add(&proxy->asked, 1);
    weft_write(client, answer, sizeof(answer), NULL);
    *ret_port = port[0] * 256u + port[1];
    return proxy->refuse == 0;
}

struct proxied {
    struct proxy *proxy;
    struct weft_stream *client;
};

static int serve_proxied(void *arg)
{
    struct proxied proxied = *(struct proxied *)arg;
    struct weft_stream *server;
    unsigned char first;
    unsigned port = 0;
    free(arg);
    if (weft_stream_wait_readable(proxied.client, soon()) == 0 &&
        recv(weft_stream_fd(proxied.client), &first, 1, MSG_PEEK) == 1) {
        bool open = first == 5 ? open_socks(proxied.proxy, proxied.client, &port)
                               : open_http(proxied.proxy, proxied.client, &port);
        if (open && weft_stream_connect_tcp("127.0.0.1", (uint16_t)port, soon(), &server) == 0) {
            tunnel(proxied.client, server);
            weft_stream_free(server);
        }
    }
    weft_stream_free(proxied.client);
    return 0;
}

static int serve_proxy(void *arg)
{
    struct proxy *proxy = arg;
    struct weft_stream *client;
    while (weft_accept(proxy->listener, &client) == 0) {
        struct proxied *proxied = malloc(sizeof(*proxied));
        *proxied = (struct proxied){proxy, client};
        EXPECT_EQ(weft_group_spawn(&proxy->group, "proxied", serve_proxied, proxied), 0);
    }
    return 0;
}

static void proxy_start(struct proxy *proxy)
{
    memset(proxy, 0, sizeof(*proxy));
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &proxy->listener), 0);
    proxy->port = weft_listener_port(proxy->listener);
    weft_group_init(&proxy->group);
    EXPECT_EQ(weft_group_spawn(&proxy->group, "proxy", serve_proxy, proxy), 0);
}

static void proxy_stop(struct proxy *proxy)
{
    weft_group_cancel(&proxy->group);
    EXPECT_EQ(weft_group_join(&proxy->group), -ECANCELED);
    weft_listener_free(proxy->listener);
}

/* ---- through the server itself, which answers to whole URLs too ------------------------- */

static struct weft_http_session *session_with(struct weft_http_session_options options,
                                              const char *scheme, const char *user, uint16_t port)
{
    char proxy[128];
    struct weft_http_session *session;
    snprintf(proxy, sizeof(proxy), "%s://%s127.0.0.1:%u", scheme, user, port);
    options.proxy = proxy;
    EXPECT_EQ(weft_http_session_new(&options, &session), 0);
    return session;
}

static int forward_body(void *arg)
{
    struct web web;
    (void)arg;
    http_server_start(&web.server);
    web.session =
        session_with((struct weft_http_session_options){0}, "http", "me:pass@", web.server.port);
    char *text = web_fetch(&web, &(struct weft_http_request){.url = "http://far.example/echo?x"});
    EXPECT(strncmp(text, "GET http://far.example/echo?x\n", 30) == 0);
    EXPECT(strstr(text, "\nHost: far.example\n"));
    EXPECT(strstr(text, "\nProxy-Authorization: Basic bWU6cGFzcw==\n")); /* me:pass */
    free(text);
    EXPECT_EQ(atomic_load(&web.server.connections), 1);
    weft_http_session_free(web.session);
    http_server_stop(&web.server);
    return 0;
}

Test(http_proxy, plain_requests_are_forwarded_by_the_proxy)
{
    on_fibers_counting_fds(2, forward_body, NULL);
}

static int around_body(void *arg)
{
    struct web web;
    struct weft_http_session_options options = {.no_proxy = "other.example,127.0.0.1"};
    (void)arg;
    http_server_start(&web.server);
    web.session = session_with(options, "http", "", 1); /* where nobody listens */
    web_works(&web);
    web_fails(&web, &(struct weft_http_request){.url = "http://far.example/"}, -ECONNREFUSED,
              "127.0.0.1 port 1");
    weft_http_session_free(web.session);
    options.no_proxy = NULL;
    options.proxy = "http://nosuch.invalid:80";
    EXPECT_EQ(weft_http_session_new(&options, &web.session), 0);
    web_get_fails(&web, "/echo", -ENOENT, "nosuch.invalid");
    weft_http_session_free(web.session);
    http_server_stop(&web.server);
    return 0;
}

Test(http_proxy, some_hosts_go_around_it_and_a_missing_proxy_is_an_error)
{
    on_fibers_counting_fds(2, around_body, NULL);
}

static int environment_body(void *arg)
{
    struct web web;
    char proxy[64];
    struct weft_http_session_options options = {0};
    (void)arg;
    http_server_start(&web.server);
    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", web.server.port);
    EXPECT_EQ(setenv("http_proxy", proxy, 1), 0);
    unsetenv("no_proxy");
    EXPECT_EQ(weft_http_session_new(&options, &web.session), 0);
    web_fails(&web, &(struct weft_http_request){.url = "http://nosuch.invalid/echo"}, -ENOENT, "");
    weft_http_session_free(web.session);
    options.proxy_from_environment = true;
    EXPECT_EQ(weft_http_session_new(&options, &web.session), 0);
    free(web_fetch(&web, &(struct weft_http_request){.url = "http://nosuch.invalid/echo"}));
    weft_http_session_free(web.session);
    http_server_stop(&web.server);
    return 0;
}

Test(http_proxy, the_environment_counts_only_when_asked_for)
{
    on_fibers_counting_fds(1, environment_body, NULL);
}

/* ---- tunnels ---------------------------------------------------------------------------- */

static int connect_body(void *arg)
{
    struct web web;
    struct proxy proxy;
    char url[64];
    (void)arg;
    http_server_start(&web.server);
    proxy_start(&proxy);
    web.session = session_with((struct weft_http_session_options){0}, "http", "u:p@", proxy.port);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", web.server.port);
    /* The tunnel is made; behind it there is no TLS. */
    web_fails(&web, &(struct weft_http_request){.url = url, .bearer = "secret"}, -EPROTO, NULL);
    EXPECT_EQ(atomic_load(&proxy.asked), 1);
    EXPECT(strstr(proxy.head, "CONNECT 127.0.0.1:") == proxy.head);
    EXPECT(strstr(proxy.head, "Proxy-Authorization: Basic dTpw") && !strstr(proxy.head, "secret"));
    proxy.refuse = 403;
    web_fails(&web, &(struct weft_http_request){.url = url}, -EACCES, "403");
    proxy.refuse = 407;
    web_fails(&web, &(struct weft_http_request){.url = url}, -EACCES, "407");
    weft_http_session_free(web.session);
    proxy_stop(&proxy);
    http_server_stop(&web.server);
    return 0;
}

Test(http_proxy, tls_goes_through_a_tunnel_which_may_be_refused)
{
    on_fibers_counting_fds(2, connect_body, NULL);
}

static int socks_body(void *arg)
{
    struct web web;
    struct proxy proxy;
    char url[64];
    (void)arg;
    http_server_start(&web.server);
    proxy_start(&proxy);
    snprintf(url, sizeof(url), "http://localhost:%u/echo", web.server.port);
    web.session = session_with((struct weft_http_session_options){0}, "socks5h", "", proxy.port);
    for (int i = 0; i < 2; i++) {
        char *text = web_fetch(&web, &(struct weft_http_request){.url = url});
        EXPECT(strncmp(text, "GET /echo\n", 10) == 0);
        free(text);
    }
    EXPECT_EQ(atomic_load(&proxy.asked), 1); /* the tunnel is kept */
    EXPECT(strcmp(proxy.head, "name of 9 bytes") == 0);
    weft_http_session_free(web.session);
    web.session = session_with((struct weft_http_session_options){0}, "socks5", "", proxy.port);
    web_works(&web);
    EXPECT(strcmp(proxy.head, "address") == 0);
    proxy.refuse = 2;
    web_fails(&web, &(struct weft_http_request){.url = url}, -EACCES, "");
    weft_http_session_free(web.session);
    proxy_stop(&proxy);
    http_server_stop(&web.server);
    return 0;
}

Test(http_proxy, socks_5_with_the_name_resolved_here_or_there)
{
    on_fibers_counting_fds(2, socks_body, NULL);
}

/* It takes the question for a tunnel, and never answers. */
static int silent_body(void *arg)
{
    struct web web;
    struct weft_listener *listener;
    struct weft_scope scope;
    (void)arg;
    http_server_start(&web.server);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    web.session = session_with((struct weft_http_session_options){0}, "http", "",
                               weft_listener_port(listener));
    weft_scope_enter(&scope, weft_deadline_after(30 * WEFT_MILLISECOND));
    web_fails(&web, &(struct weft_http_request){.url = "https://far.example/"}, -ETIMEDOUT, "");
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_http_session_free(web.session);
    weft_listener_free(listener);
    http_server_stop(&web.server);
    return 0;
}

Test(http_proxy, a_proxy_that_never_answers_does_not_hold_a_cancel_up)
{
    on_fibers_counting_fds(2, silent_body, NULL);
}
