/* SPDX-License-Identifier: MIT */
/* How it ends when it does not end well: cut, garbled, cancelled, late, closed under somebody. */
#include "support/test.h"

#include <netinet/in.h>

#include "tls_support.h"

/* Run body(world) with contexts that are open, of each version. */
static void with_world(void (*body)(struct world *))
{
    static const enum weft_tls_version versions[] = {WEFT_TLS_1_2, WEFT_TLS_1_3};
    for (int i = 0; i < 2; i++) {
        struct world world;
        world_init(&world);
        world.server_options.max_version = versions[i];
        world_open(&world);
        body(&world);
        world_destroy(&world);
    }
}

/* ---- cut ------------------------------------------------------------------------------------ */

static void truncation_in(struct world *world)
{
    struct ends ends;
    char buffer[8];
    ends_open_well(&ends, world);
    EXPECT_EQ(weft_write(ends.server, "par", 3, NULL), 0);
    shutdown(weft_stream_fd(ends.server), SHUT_WR); /* as somebody in between would */
    EXPECT_EQ(weft_read(ends.client, buffer, sizeof(buffer)), 3);
    EXPECT_EQ(weft_read(ends.client, buffer, sizeof(buffer)), -ECONNRESET);
    EXPECT(strstr(weft_tls_error(ends.client), "without close_notify") != NULL);
    EXPECT_EQ(weft_read(ends.client, buffer, sizeof(buffer)), -ECONNRESET);
    EXPECT_EQ(weft_stream_wait_readable(ends.client, soon()), 0);
    EXPECT_EQ(weft_write(ends.client, "x", 1, NULL), -ECONNRESET);
    EXPECT_EQ(weft_stream_shutdown_write(ends.client), -ECONNRESET);
    ends_close(&ends);
}

static int truncation(void *arg)
{
    (void)arg;
    with_world(truncation_in);
    return 0;
}

Test(tls_end, an_end_without_close_notify_is_an_error)
{
    on_fibers_counting_fds(1, truncation, NULL);
}

/* The peer is gone: what it had sent can be read, and writes say so. */
static void gone_in(struct world *world)
{
    struct ends ends;
    char buffer[8];
    size_t written = 9;
    int r;
    ends_open_well(&ends, world);
    EXPECT_EQ(weft_write(ends.server, "last", 4, NULL), 0);
    weft_stream_free(ends.server);
    do
        r = weft_write(ends.client, "x", 1, &written);
    while (r == 0);
    EXPECT_EQ(r, -EPIPE);
    EXPECT_EQ(written, 0);
    EXPECT(strstr(weft_tls_error(ends.client), "Broken pipe") != NULL);
    EXPECT_EQ(weft_write(ends.client, "x", 1, NULL), -EPIPE);
    EXPECT_EQ(weft_stream_shutdown_write(ends.client), -EPIPE);
    EXPECT_EQ(weft_read(ends.client, buffer, sizeof(buffer)), 4);
    EXPECT_EQ(weft_read(ends.client, buffer, sizeof(buffer)), 0);
    weft_stream_free(ends.client);
}

static int gone(void *arg)
{
    (void)arg;
    with_world(gone_in);
    return 0;
}

Test(tls_end, what_a_peer_sent_before_it_left_can_be_read)
{
    on_fibers_counting_fds(1, gone, NULL);
}

static void tcp_pair(struct weft_stream *streams[2])
{
    struct weft_listener *listener;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    EXPECT_EQ(
        weft_stream_connect_tcp("127.0.0.1", weft_listener_port(listener), soon(), &streams[0]), 0);
    EXPECT_EQ(weft_accept(listener, &streams[1]), 0);
    weft_listener_free(listener);
}

static void reset_in(struct world *world)
{
    struct weft_stream *streams[2];
    struct linger now = {.l_onoff = 1};
    struct ends ends;
    char byte;
    tcp_pair(streams);
    ends = (struct ends){.client = streams[0], .server = streams[1]};
    ends_shake(&ends, world, "good.test");
    EXPECT_EQ(ends.client_result, 0);
    setsockopt(weft_stream_fd(ends.server), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    shutdown(weft_stream_fd(ends.server), SHUT_RD);
    int fd = dup(weft_stream_fd(ends.server)); /* no close_notify gets out: see below */
    EXPECT(fd >= 0);
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    EXPECT_EQ(connect(fd, &nobody, sizeof(nobody)), 0); /* disconnects: a reset */
    close(fd);
    EXPECT_EQ(weft_read(ends.client, &byte, 1), -ECONNRESET);
    EXPECT(strstr(weft_tls_error(ends.client), "reset") != NULL);
    ends_close(&ends);
}

static int reset(void *arg)
{
    (void)arg;
    with_world(reset_in);
    return 0;
}

Test(tls_end, a_reset_is_told)
{
    on_fibers_counting_fds(1, reset, NULL);
}

/* A client that sends and leaves at once, with the server's tickets unread, loses nothing. */
static void leave_at_once_in(struct world *world)
{
    struct weft_stream *streams[2];
    struct ends ends;
    char buffer[8];
    tcp_pair(streams);
    ends = (struct ends){.client = streams[0], .server = streams[1]};
    ends_shake(&ends, world, "good.test");
    EXPECT_EQ(ends.client_result, 0);
    EXPECT_EQ(weft_write(ends.client, "done", 4, NULL), 0);
    weft_stream_free(ends.client);
    EXPECT_EQ(weft_read(ends.server, buffer, sizeof(buffer)), 4);
    EXPECT_EQ(weft_read(ends.server, buffer, sizeof(buffer)), 0);
    weft_stream_free(ends.server);
}

static int leave_at_once(void *arg)
{
    (void)arg;
    with_world(leave_at_once_in);
    return 0;
}

Test(tls_end, a_client_may_send_and_leave)
{
    on_fibers_counting_fds(1, leave_at_once, NULL);
}

/* ---- garbled -------------------------------------------------------------------------------- */

static int plain_client(void *arg)
{
    struct world world;
    struct weft_stream *streams[2];
    char buffer[64];
    (void)arg;
    world_init(&world);
    world_open(&world);
    stream_pair(streams);
    EXPECT_EQ(weft_write(streams[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, NULL), 0);
    EXPECT_EQ(weft_tls_server(streams[1], world.server_context, soon()), -EPROTO);
    EXPECT(strstr(weft_tls_error(streams[1]), "http request") != NULL);
    EXPECT_EQ(weft_write(streams[1], "plain text", 10, NULL), -EPROTO); /* never in the clear */
    EXPECT_EQ(weft_read(streams[1], buffer, 10), -EPROTO);
    EXPECT_EQ(weft_tls_server(streams[1], world.server_context, soon()), -EISCONN);
    free_pair(streams);

    stream_pair(streams);
    EXPECT_EQ(weft_write(streams[0], "220 mail.test ESMTP ready to talk\r\n", 35, NULL), 0);
    EXPECT_EQ(weft_tls_client(streams[1], world.client_context, "good.test", soon()), -EPROTO);
    EXPECT(strstr(weft_tls_error(streams[1]), "wrong version number") != NULL);
    free_pair(streams);

    stream_pair(streams);
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_tls_server(streams[1], world.server_context, soon()), -ECONNRESET);
    EXPECT(strstr(weft_tls_error(streams[1]), "during the handshake") != NULL);
    weft_stream_free(streams[1]);
    world_destroy(&world);
    return 0;
}

Test(tls_end, a_peer_that_does_not_speak_tls)
{
    on_fibers_counting_fds(1, plain_client, NULL);
}

static void garbage_in(struct world *world)
{
    static const char garbage[40] = "\x17\x03\x03\x00\x20 this was not encrypted by anybody";
    struct ends ends;
    char byte;
    ends_open_well(&ends, world);
    EXPECT_EQ(send(weft_stream_fd(ends.server), garbage, 37, 0), 37);
    EXPECT_EQ(weft_read(ends.client, &byte, 1), -EPROTO);
    if (!strstr(weft_tls_error(ends.client), "bad record mac"))
        fprintf(stderr, "it says: %s\n", weft_tls_error(ends.client));
    EXPECT(strstr(weft_tls_error(ends.client), "bad record mac") != NULL);
    EXPECT_EQ(weft_read(ends.server, &byte, 1), -ECONNABORTED); /* the alert got through */
    ends_close(&ends);
}

static int garbage(void *arg)
{
    (void)arg;
    with_world(garbage_in);
    return 0;
}

Test(tls_end, a_record_that_was_changed_on_its_way_is_refused)
{
    on_fibers_counting_fds(1, garbage, NULL);
}

/* Whatever comes instead of a handshake: an error, no crash, nothing leaked. */
static int noise(void *arg)
{
    struct world world;
    struct weft_stream *streams[2];
    unsigned char bytes[300];
    unsigned seed = 12345;
    (void)arg;
    world_init(&world);
    world_open(&world);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
        if (round % 2) /* a good beginning */
            memcpy(bytes, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", 11);
        stream_pair(streams);
        EXPECT_EQ(weft_write(streams[0], bytes, sizeof(bytes), NULL), 0);
        EXPECT_EQ(weft_stream_shutdown_write(streams[0]), 0);
        int r = round % 4 < 2
                    ? weft_tls_server(streams[1], world.server_context, soon())
                    : weft_tls_client(streams[1], world.client_context, "good.test", soon());
        EXPECT(r == -EPROTO || r == -ECONNRESET || r == -ECONNABORTED);
        EXPECT(weft_tls_error(streams[1])[0] != '\0');
        free_pair(streams);
    }
    world_destroy(&world);
    return 0;
}

Test(tls_end, noise_instead_of_a_handshake)
{
    on_fibers_counting_fds(1, noise, NULL);
}

/* ---- cancelled and late --------------------------------------------------------------------- */

static int silent_peer(void *arg)
{
    struct world world;
    struct weft_stream *streams[2];
    struct weft_scope scope;
    struct weft_tls_info info;
    char byte;
    (void)arg;
    world_init(&world);
    world_open(&world);
    stream_pair(streams);
    uint64_t deadline = weft_deadline_after(20 * WEFT_MILLISECOND);
    EXPECT_EQ(weft_tls_client(streams[0], world.client_context, "good.test", deadline), -ETIMEDOUT);
    EXPECT(weft_now_ns() >= deadline);
    EXPECT(strstr(weft_tls_error(streams[0]), "given up") != NULL);
    EXPECT_EQ(weft_read(streams[0], &byte, 1), -EPROTO);
    EXPECT_EQ(weft_tls_info(streams[0], &info), -ENOTCONN);
    free_pair(streams);

    stream_pair(streams);
    weft_scope_enter(&scope, weft_deadline_after(20 * WEFT_MILLISECOND));
    EXPECT_EQ(weft_tls_server(streams[0], world.server_context, soon()), -ETIMEDOUT);
    EXPECT_EQ(weft_tls_server(streams[1], world.server_context, soon()), -ETIMEDOUT);
    weft_scope_leave(&scope);
    EXPECT_EQ(weft_tls_error(streams[1])[0], '\0'); /* it had not begun */
    free_pair(streams);
    world_destroy(&world);
    return 0;
}

Test(tls_end, a_peer_that_never_answers)
{
    on_fibers_counting_fds(1, silent_peer, NULL);
}

/* Cancel a call that waits; it must say so. */
static void expect_cancelled(int (*fn)(void *), struct call *call)
{
    struct weft_group group;
    weft_group_init(&group);
    call_start(&group, fn, call);
    let_others_run();
    EXPECT(!atomic_load(&call->over));
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(call->result, -ECANCELED);
}

static void cancelled_in(struct world *world)
{
    enum { SIZE = 4 * 1024 * 1024 };
    struct weft_stream *streams[2];
    struct ends ends;
    char byte = 'x';
    stream_pair(streams);
    expect_cancelled(call_client,
                     &(struct call){.stream = streams[0], .context = world->client_context});
    expect_cancelled(call_server,
                     &(struct call){.stream = streams[1], .context = world->server_context});
    free_pair(streams);

    ends_open_well(&ends, world);
    expect_cancelled(call_read, &(struct call){.stream = ends.client, .data = &byte, .size = 1});
    expect_cancelled(call_wait, &(struct call){.stream = ends.client});
    char *data = malloc(SIZE), *got = malloc(SIZE);
    EXPECT(data && got);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 31 + (i >> 12));
    struct call call = {.stream = ends.client, .data = data, .size = SIZE};
    expect_cancelled(call_write, &call);
    EXPECT(call.written > 0 && call.written < SIZE);
    /* What counts as written arrives, and what is written later comes after it. */
    struct weft_group group;
    struct call rest = {
        .stream = ends.client, .data = data + call.written, .size = SIZE - call.written};
    weft_group_init(&group);
    call_start(&group, call_write, &rest);
    read_exactly(ends.server, got, SIZE);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(rest.result, 0);
    EXPECT_EQ(memcmp(data, got, SIZE), 0);
    free(data);
    free(got);
    ends_close(&ends);
}

static int cancelled(void *arg)
{
    (void)arg;
    with_world(cancelled_in);
    return 0;
}

Test(tls_end, a_cancel_ends_handshake_read_and_write_and_loses_nothing)
{
    on_fibers_counting_fds(1, cancelled, NULL);
}

/* A full connection is closed in order once the other end reads, not before. */
static void slow_close_in(struct world *world)
{
    enum { SIZE = 4 * 1024 * 1024 };
    struct ends ends;
    struct weft_group group;
    char *data = calloc(1, SIZE), byte;
    EXPECT(data != NULL);
    ends_open_well(&ends, world);
    struct call call = {.stream = ends.client, .data = data, .size = SIZE};
    expect_cancelled(call_write, &call); /* some of a record is left with us */
    weft_group_init(&group);
    struct call read = {.stream = ends.server, .data = data, .size = SIZE};
    for (size_t got = 0; got < call.written - 100000; got += (size_t)read.result) {
        call_read(&read);
        EXPECT(read.result > 0);
    }
    EXPECT_EQ(weft_stream_shutdown_write(ends.client), 0);
    ssize_t n;
    while ((n = weft_read(ends.server, &byte, 1)) > 0)
        ;
    EXPECT_EQ(n, 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    free(data);
    ends_close(&ends);
}

static int slow_close(void *arg)
{
    (void)arg;
    with_world(slow_close_in);
    return 0;
}

Test(tls_end, shutdown_sends_what_a_cancelled_write_left)
{
    on_fibers_counting_fds(1, slow_close, NULL);
}

/* ---- closed under somebody ------------------------------------------------------------------ */

static void closed_under_in(struct world *world)
{
    enum { SIZE = 4 * 1024 * 1024 };
    struct weft_stream *streams[2];
    struct weft_group group;
    struct ends ends;
    char byte, *data = calloc(1, SIZE);
    EXPECT(data != NULL);
    weft_group_init(&group);
    stream_pair(streams);
    struct call client = {.stream = streams[0], .context = world->client_context};
    call_start(&group, call_client, &client);
    let_others_run();
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(client.result, -EBADF);
    weft_stream_free(streams[1]);

    ends_open_well(&ends, world);
    weft_group_init(&group);
    struct call read = {.stream = ends.client, .data = &byte, .size = 1};
    struct call write = {.stream = ends.client, .data = data, .size = SIZE};
    call_start(&group, call_read, &read);
    call_start(&group, call_write, &write);
    let_others_run();
    EXPECT(!atomic_load(&read.over) && !atomic_load(&write.over));
    weft_stream_free(ends.client);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(read.result, -EBADF);
    EXPECT_EQ(write.result, -EBADF);
    weft_stream_free(ends.server);
    free(data);
}

static int closed_under(void *arg)
{
    (void)arg;
    with_world(closed_under_in);
    return 0;
}

Test(tls_end, a_stream_that_is_freed_ends_the_calls_on_it)
{
    on_fibers_counting_fds(1, closed_under, NULL);
}

static int busy(void *arg)
{
    struct world world;
    struct weft_stream *streams[2];
    struct weft_group group;
    struct ends ends;
    char byte, other;
    (void)arg;
    world_init(&world);
    world_open(&world);
    stream_pair(streams);
    struct call plain = {.stream = streams[0], .data = &byte, .size = 1};
    weft_group_init(&group);
    call_start(&group, call_read, &plain);
    EXPECT_EQ(weft_tls_client(streams[0], world.client_context, "good.test", soon()), -EBUSY);
    EXPECT_EQ(weft_write(streams[0], "x", 1, NULL), 0); /* it is as it was */
    EXPECT_EQ(weft_read(streams[1], &other, 1), 1);
    EXPECT_EQ(weft_write(streams[1], "y", 1, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    free_pair(streams);

    ends_open_well(&ends, &world);
    struct call read = {.stream = ends.client, .data = &byte, .size = 1};
    weft_group_init(&group);
    call_start(&group, call_read, &read);
    EXPECT_EQ(weft_read(ends.client, &other, 1), -EBUSY);
    EXPECT_EQ(weft_stream_wait_readable(ends.client, soon()), -EBUSY);
    EXPECT_EQ(weft_tls_client(ends.client, world.client_context, "good.test", soon()), -EBUSY);
    EXPECT_EQ(weft_write(ends.server, "z", 1, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(weft_tls_client(ends.client, world.client_context, "good.test", soon()), -EISCONN);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_end, a_second_call_on_a_side_is_refused)
{
    on_fibers_counting_fds(1, busy, NULL);
}

static int wrong_use(void *arg)
{
    struct world world;
    struct weft_stream *streams[2];
    char long_name[400];
    (void)arg;
    world_init(&world);
    world_open(&world);
    stream_pair(streams);
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    EXPECT_EQ(weft_tls_client(streams[0], world.server_context, "good.test", soon()), -EINVAL);
    EXPECT_EQ(weft_tls_server(streams[0], world.client_context, soon()), -EINVAL);
    EXPECT_EQ(weft_tls_client(streams[0], world.client_context, NULL, soon()), -EINVAL);
    EXPECT_EQ(weft_tls_client(streams[0], world.client_context, "", soon()), -EINVAL);
    EXPECT_EQ(weft_tls_client(streams[0], world.client_context, long_name, soon()), -EINVAL);
    EXPECT_EQ(weft_write(streams[0], "x", 1, NULL), 0); /* still a plain stream */
    free_pair(streams);
    world_destroy(&world);
    return 0;
}

Test(tls_end, wrong_use_is_refused_and_leaves_the_stream_alone)
{
    on_fibers_counting_fds(1, wrong_use, NULL);
}

/* ---- stacks --------------------------------------------------------------------------------- */

/* Sanitizers make frames of another size. */
#ifndef WITH_SHAKER
static int small_stack(void *arg)
{
    struct world *world = arg;
    struct ends ends;
    world_open(world);
    ends_open_well(&ends, world);
    ends_close(&ends);
    world_close(world);
    return 0;
}

/* Leave about 40 KiB of 64, then about 8. */
static __attribute__((noinline)) int deep_handshake(size_t depth, struct weft_stream *stream,
                                                    struct weft_tls_context *context)
{
    volatile char space[1024];
    space[0] = (char)depth;
    int r = depth ? deep_handshake(depth - 1, stream, context)
                  : weft_tls_client(stream, context, "good.test", weft_now_ns());
    __asm__ volatile("" ::"r"(space) : "memory"); /* no loop: each call keeps its own */
    return r + (space[0] - (char)depth);
}

static int deep_stack(void *arg)
{
    struct world *world = arg;
    struct weft_stream *streams[2];
    world_open(world);
    stream_pair(streams);
    EXPECT_EQ(deep_handshake(28, streams[0], world->client_context), -ENOMEM);
    EXPECT_EQ(deep_handshake(0, streams[0], world->client_context), -ETIMEDOUT);
    free_pair(streams);
    world_close(world);
    return 0;
}

static void on_small_stacks(int (*fn)(void *))
{
    struct weft_options options;
    struct world world;
    weft_options_init(&options);
    one_at_a_time(&options);
    options.stack_size = 65536;
    options.handle_signals = false;
    world_init(&world);
    EXPECT_EQ(weft_run(&options, fn, &world), 0);
    world_destroy(&world);
}

Test(tls_end, small_stacks_suffice_or_it_says_that_they_do_not)
{
    on_small_stacks(small_stack);
    on_small_stacks(deep_stack);
}
#endif
