/* SPDX-License-Identifier: MIT */
/* Connecting by name, and to the first of several addresses that answers. */
#include "support/test.h"

#include "fake_dns.h"
#include "support/io.h"
#include "weft/dns.h"

/* ---- places to connect to ------------------------------------------------------------------- */

static struct weft_address place(const char *text, uint16_t port)
{
    struct weft_address address;
    EXPECT_EQ(weft_address_inet(text, port, &address), 0);
    return address;
}

/* A port of loopback on which nobody listens. */
static uint16_t closed_port(void)
{
    struct weft_listener *listener;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    weft_listener_free(listener);
    return port;
}

/* A place where connections neither succeed nor fail: its queue is full. */
struct hole {
    int listener, fill[8];
    uint16_t port;
};

static bool connects_at_once(int fd, const struct sockaddr_in *address)
{
    struct pollfd wait_for = {fd, POLLOUT, 0};
    return connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
           poll(&wait_for, 1, 200) == 1;
}

static void hole_open(struct hole *hole)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    hole->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(hole->listener, (struct sockaddr *)&address, size), 0);
    EXPECT_EQ(listen(hole->listener, 0), 0);
    EXPECT_EQ(getsockname(hole->listener, (struct sockaddr *)&address, &size), 0);
    hole->port = ntohs(address.sin_port);
    memset(hole->fill, -1, sizeof(hole->fill));
    for (int i = 0; i < 8; i++) {
        hole->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (!connects_at_once(hole->fill[i], &address))
            return;
    }
    EXPECT(!"a queue that fills up");
}

static void hole_close(const struct hole *hole)
{
    for (int i = 0; i < 8; i++)
        if (hole->fill[i] >= 0)
            close(hole->fill[i]);
    close(hole->listener);
}

static void expect_peer(struct weft_stream *stream, const char *text, uint16_t port)
{
    struct weft_address expected = place(text, port), peer;
    EXPECT_EQ(weft_stream_remote_address(stream, &peer), 0);
    EXPECT(weft_address_equal(&peer, &expected));
}

/* The stream is connected to whom the listener accepts. */
static void expect_alive(struct weft_stream *stream, struct weft_listener *listener)
{
    struct weft_stream *accepted;
    char byte;
    EXPECT_EQ(weft_accept(listener, &accepted), 0);
    EXPECT_EQ(weft_write(stream, "x", 1, NULL), 0);
    EXPECT_EQ(weft_read(accepted, &byte, 1), 1);
    weft_stream_free(accepted);
    weft_stream_free(stream);
}

/* ---- several addresses ---------------------------------------------------------------------- */

static int one_of_several(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    (void)arg;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener), closed = closed_port();
    struct weft_address good = place("127.0.0.1", port);
    EXPECT_EQ(weft_connect_any(&good, 1, 0, soon(), &stream), 0);
    expect_peer(stream, "127.0.0.1", port);
    expect_alive(stream, listener);

    /* Refused, unreachable, then good: each failure makes way at once, however long the stagger. */
    struct weft_address list[] = {place("127.0.0.1", closed), place("::1", closed),
                                  place("127.0.0.2", closed), good};
    EXPECT_EQ(weft_connect_any(list, 4, 3600 * WEFT_SECOND, soon(), &stream), 0);
    expect_peer(stream, "127.0.0.1", port);
    expect_alive(stream, listener);

    stream = NULL;
    EXPECT_EQ(weft_connect_any(list, 3, 0, soon(), &stream), -ECONNREFUSED);
    EXPECT_EQ(weft_connect_any(list, 0, 0, soon(), &stream), -EINVAL);
    struct weft_address nowhere = {0};
    EXPECT(weft_connect_any(&nowhere, 1, 0, soon(), &stream) < 0);
    EXPECT(stream == NULL);
    weft_listener_free(listener);
    return 0;
}

Test(dns_connect, an_address_that_fails_makes_way_for_the_next)
{
    on_fibers_counting_fds(1, one_of_several, NULL);
    on_fibers_counting_fds(2, one_of_several, NULL);
}

static int silent_first(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct hole hole;
    (void)arg;
    hole_open(&hole);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    struct weft_address list[] = {place("127.0.0.1", hole.port), place("127.0.0.1", port)};
    EXPECT_EQ(weft_connect_any(list, 2, 5 * WEFT_MILLISECOND, soon(), &stream), 0);
    expect_peer(stream, "127.0.0.1", port);
    expect_alive(stream, listener);
    weft_listener_free(listener);
    hole_close(&hole);
    return 0;
}

Test(dns_connect, an_address_that_is_silent_is_overtaken)
{
    on_fibers_counting_fds(1, silent_first, NULL);
}

static int take_turns(void *arg)
{
    struct weft_listener *four, *six;
    struct weft_stream *stream;
    struct hole hole;
    (void)arg;
    if (weft_listen_tcp("::1", 0, &six) < 0)
        return 0; /* no IPv6 here */
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &four), 0);
    hole_open(&hole);
    struct weft_address list[] = {place("127.0.0.1", hole.port),
                                  place("127.0.0.1", weft_listener_port(four)),
                                  place("::1", weft_listener_port(six))};
    EXPECT_EQ(weft_connect_any(list, 3, 5 * WEFT_MILLISECOND, soon(), &stream), 0);
    expect_peer(stream, "::1", weft_listener_port(six));
    expect_alive(stream, six);
    weft_listener_free(four);
    weft_listener_free(six);
    hole_close(&hole);
    return 0;
}

Test(dns_connect, the_families_take_turns)
{
    on_fibers_counting_fds(1, take_turns, NULL);
}

/* Which comes first of a list with so many of each family, the first one's first. */
static int many_turns(void *arg)
{
    struct weft_address list[7];
    struct weft_stream *stream = NULL;
    uint16_t closed = closed_port();
    (void)arg;
    for (int four = 0; four < 8; four++) { /* all failing: every list is gone through to its end */
        for (int i = 0; i < 7; i++)
            list[i] = place(i < four ? "127.0.0.1" : "::1", closed);
        EXPECT(weft_connect_any(list, 7, 0, soon(), &stream) < 0);
    }
    EXPECT(stream == NULL);
    return 0;
}

Test(dns_connect, lists_of_any_mix_come_to_their_end)
{
    on_fibers_counting_fds(1, many_turns, NULL);
}

/* ---- giving up ------------------------------------------------------------------------------ */

static int late(void *arg)
{
    struct weft_stream *stream = NULL;
    struct weft_scope scope;
    struct hole hole;
    (void)arg;
    hole_open(&hole);
    struct weft_address list[] = {place("127.0.0.1", hole.port), place("127.0.0.1", hole.port)};
    uint64_t end = weft_deadline_after(20 * WEFT_MILLISECOND);
    EXPECT_EQ(weft_connect_any(list, 2, 5 * WEFT_MILLISECOND, end, &stream), -ETIMEDOUT);
    EXPECT(weft_now_ns() >= end);
    EXPECT_EQ(weft_connect("127.0.0.1", hole.port, weft_deadline_after(WEFT_MILLISECOND), &stream),
              -ETIMEDOUT);
    weft_scope_enter(&scope, weft_deadline_after(10 * WEFT_MILLISECOND));
    EXPECT_EQ(weft_connect_any(list, 2, 0, soon(), &stream), -ETIMEDOUT);
    EXPECT_EQ(weft_connect_any(list, 2, 0, soon(), &stream), -ETIMEDOUT);
    weft_scope_leave(&scope);
    EXPECT(stream == NULL);
    hole_close(&hole);
    return 0;
}

Test(dns_connect, a_deadline_ends_it)
{
    on_fibers_counting_fds(1, late, NULL);
}

struct
try {
    uint16_t port;
    atomic_int arrivals;
    int result;
};

static int try_main(void *arg)
{
    struct try *try = arg;
    struct weft_address list[] = {place("127.0.0.1", try->port), place("127.0.0.1", try->port)};
    struct weft_stream *stream;
    arrive(&try->arrivals);
    try->result = weft_connect_any(list, 2, WEFT_MILLISECOND, soon(), &stream);
    return 0;
}

static int cancelled(void *arg)
{
    struct weft_group group;
    struct hole hole;
    (void)arg;
    hole_open(&hole);
    struct try try = {.port = hole.port};
    int before = open_fds();
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "try", try_main, &try), 0);
    await_arrivals(&try.arrivals, 1);
    while (open_fds() < before + 3) /* the private epoll set and two sockets */
        EXPECT_EQ(weft_yield(), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(try.result, -ECANCELED);
    hole_close(&hole);
    return 0;
}

Test(dns_connect, a_cancel_closes_all_that_was_begun)
{
    on_fibers_counting_fds(1, cancelled, NULL);
}

/* ---- by name -------------------------------------------------------------------------------- */

static int by_name(void *arg)
{
    struct weft_resolver_options options = {.search = "", .no_hosts_file = true};
    struct weft_resolver *resolver;
    struct weft_listener *listener;
    struct weft_stream *stream = NULL;
    struct fake_dns dns;
    (void)arg;
    fake_dns_start(&dns);
    options.servers = dns.servers;
    options.timeout_ns = 20 * WEFT_SECOND;
    EXPECT_EQ(weft_resolver_new(&options, &resolver), 0);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    /* Its IPv6 address is loopback, where nobody listens; or one that leads nowhere. */
    EXPECT_EQ(weft_resolver_connect(resolver, "good.test", port, soon(), &stream), 0);
    expect_peer(stream, "127.0.0.1", port);
    expect_alive(stream, listener);
    EXPECT_EQ(weft_resolver_connect(resolver, "dead6.test", port, soon(), &stream), 0);
    expect_peer(stream, "127.0.0.1", port);
    expect_alive(stream, listener);
    EXPECT_EQ(weft_connect("127.0.0.1", port, soon(), &stream), 0);
    expect_alive(stream, listener);
    EXPECT_EQ(weft_connect("localhost", port, soon(), &stream), 0);
    expect_alive(stream, listener);
    stream = NULL;
    EXPECT_EQ(weft_resolver_connect(resolver, "missing.test", port, soon(), &stream), -ENOENT);
    weft_listener_free(listener);
    EXPECT_EQ(weft_connect("127.0.0.1", port, soon(), &stream), -ECONNREFUSED);
    EXPECT(stream == NULL);
    weft_resolver_free(resolver);
    fake_dns_stop(&dns);
    return 0;
}

Test(dns_connect, a_name_is_connected_to)
{
    on_fibers_counting_fds(1, by_name, NULL);
}

/* ---- one family answers ---------------------------------------------------------------------- */

struct half {
    struct fake_dns dns;
    struct weft_resolver *resolver;
};

/* Whom it asks waits for an answer for so long. */
static void half_start(struct half *half, uint64_t timeout_ns)
{
    struct weft_resolver_options options = {
        .search = "", .no_hosts_file = true, .timeout_ns = timeout_ns, .tries = 10};
    fake_dns_start(&half->dns);
    options.servers = half->dns.servers;
    EXPECT_EQ(weft_resolver_new(&options, &half->resolver), 0);
}

static void half_stop(struct half *half)
{
    weft_resolver_free(half->resolver);
    fake_dns_stop(&half->dns);
}

static int only_four(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct half half;
    (void)arg;
    half_start(&half, 3600 * WEFT_SECOND);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    EXPECT_EQ(weft_resolver_connect(half.resolver, "only4.test", port, soon(), &stream), 0);
    expect_peer(stream, "127.0.0.1", port);
    expect_alive(stream, listener);
    weft_listener_free(listener);
    half_stop(&half);
    return 0;
}

Test(dns_connect, ipv6_that_is_never_answered_is_not_waited_for)
{
    on_fibers_counting_fds(1, only_four, NULL);
    on_fibers_counting_fds(2, only_four, NULL);
}

static int only_six(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream = NULL;
    struct half half;
    (void)arg;
    if (weft_listen_tcp("::1", 0, &listener) < 0)
        return 0; /* no IPv6 here */
    half_start(&half, 3600 * WEFT_SECOND);
    uint16_t port = weft_listener_port(listener);
    EXPECT_EQ(weft_resolver_connect(half.resolver, "only6.test", port, soon(), &stream), 0);
    expect_peer(stream, "::1", port);
    expect_alive(stream, listener);
    weft_listener_free(listener);
    /* It may still be answered, and with a place that works. */
    stream = NULL;
    uint64_t end = weft_deadline_after(20 * WEFT_MILLISECOND);
    EXPECT_EQ(weft_resolver_connect(half.resolver, "only6.test", port, end, &stream), -ETIMEDOUT);
    EXPECT(stream == NULL && weft_now_ns() >= end);
    half_stop(&half);
    return 0;
}

Test(dns_connect, ipv4_that_is_never_answered_is_only_waited_for_when_ipv6_fails)
{
    on_fibers_counting_fds(1, only_six, NULL);
}

static int late_four(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct half half;
    (void)arg;
    half_start(&half, 20 * WEFT_MILLISECOND);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    /* IPv6 fails at once: refused, or not there. */
    EXPECT_EQ(weft_resolver_connect(half.resolver, "late4.test", port, soon(), &stream), 0);
    expect_peer(stream, "127.0.0.1", port);
    expect_alive(stream, listener);
    EXPECT(atomic_load(&half.dns.dropped) >= 2);
    weft_listener_free(listener);
    half_stop(&half);
    return 0;
}

Test(dns_connect, a_family_that_is_answered_late_joins_in)
{
    on_fibers_counting_fds(1, late_four, NULL);
}

struct asker {
    struct half half;
    int result;
};

static int ask_silence(void *arg)
{
    struct asker *asker = arg;
    struct weft_stream *stream;
    asker->result = weft_resolver_connect(asker->half.resolver, "silent.test", 9, soon(), &stream);
    return 0;
}

static int cancelled_asking(void *arg)
{
    struct weft_group group;
    struct asker asker;
    (void)arg;
    half_start(&asker.half, 3600 * WEFT_SECOND);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "ask", ask_silence, &asker), 0);
    await_arrivals(&asker.half.dns.queries, 2);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(asker.result, -ECANCELED);
    half_stop(&asker.half);
    return 0;
}

Test(dns_connect, a_cancel_ends_its_questions)
{
    on_fibers_counting_fds(1, cancelled_asking, NULL);
}
