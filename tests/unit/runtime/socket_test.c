/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "support/io.h"

static int option_of(const struct weft_stream *stream, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(weft_stream_fd(stream), level, name, &value, &size), 0);
    return value;
}

static int close_on_exec(const struct weft_stream *stream)
{
    return fcntl(weft_stream_fd(stream), F_GETFD) & FD_CLOEXEC;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static int make_pairs(void *arg)
{
    struct weft_stream *streams[2];
    char byte = 0;
    (void)arg;
    EXPECT_EQ(weft_stream_pair(streams), 0);
    EXPECT(close_on_exec(streams[0]) && close_on_exec(streams[1]));
    EXPECT_EQ(weft_write(streams[0], "a", 1, NULL), 0);
    EXPECT_EQ(weft_write(streams[1], "b", 1, NULL), 0);
    EXPECT_EQ(weft_read(streams[1], &byte, 1), 1);
    EXPECT_EQ(byte, 'a');
    EXPECT_EQ(weft_read(streams[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'b');
    free_pair(streams);
    EXPECT_EQ(weft_stream_pipe(streams), 0);
    EXPECT(close_on_exec(streams[0]) && close_on_exec(streams[1]));
    EXPECT_EQ(weft_write(streams[1], "c", 1, NULL), 0);
    EXPECT_EQ(weft_read(streams[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'c');
    EXPECT_EQ(weft_write(streams[0], "c", 1, NULL), -EBADF); /* not open for that */
    free_pair(streams);
    return 0;
}

Test(socket, pairs_go_both_ways_and_pipes_one)
{
    on_fibers_counting_fds(1, make_pairs, NULL);
}

static int make_pairs_without_fds(void *arg)
{
    struct weft_stream *streams[2] = {NULL, NULL};
    struct rlimit before, none;
    (void)arg;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(weft_stream_pair(streams), -EMFILE);
    EXPECT_EQ(weft_stream_pipe(streams), -EMFILE);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT(!streams[0] && !streams[1]);
    return 0;
}

Test(socket, pairs_need_descriptors)
{
    on_fibers_counting_fds(1, make_pairs_without_fds, NULL);
}

/* ---- addresses and options ------------------------------------------------------------------- */

static void tcp_pair(struct weft_stream *streams[2])
{
    struct weft_listener *listener;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &streams[0]), 0);
    EXPECT_EQ(weft_accept(listener, &streams[1]), 0);
    weft_listener_free(listener);
}

static int ask_addresses(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_address one, other;
    (void)arg;
    tcp_pair(streams);
    EXPECT_EQ(weft_stream_local_address(streams[0], &one), 0);
    EXPECT_EQ(weft_stream_remote_address(streams[1], &other), 0);
    EXPECT(weft_address_equal(&one, &other));
    EXPECT_EQ(weft_stream_remote_address(streams[0], &one), 0);
    EXPECT_EQ(weft_stream_local_address(streams[1], &other), 0);
    EXPECT(weft_address_equal(&one, &other));
    free_pair(streams);
    EXPECT_EQ(weft_stream_pair(streams), 0);
    EXPECT_EQ(weft_stream_local_address(streams[0], &one), 0);
    EXPECT_EQ(weft_address_family(&one), AF_UNIX);
    free_pair(streams);
    EXPECT_EQ(weft_stream_pipe(streams), 0);
    EXPECT_EQ(weft_stream_local_address(streams[0], &one), -ENOTSOCK);
    EXPECT_EQ(weft_stream_remote_address(streams[0], &one), -ENOTSOCK);
    EXPECT_EQ(weft_address_family(&one), AF_UNIX); /* untouched */
    free_pair(streams);
    return 0;
}

Test(socket, addresses_of_both_ends)
{
    on_fibers_counting_fds(1, ask_addresses, NULL);
}

static int set_tcp_options(void *arg)
{
    struct weft_stream *streams[2], *stream;
    (void)arg;
    tcp_pair(streams);
    stream = streams[0];
    EXPECT_EQ(weft_stream_set_nodelay(stream, false), 0);
    EXPECT_EQ(option_of(stream, IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_EQ(weft_stream_set_nodelay(stream, true), 0);
    EXPECT(option_of(stream, IPPROTO_TCP, TCP_NODELAY) != 0);
    EXPECT_EQ(weft_stream_set_keepalive(stream, 30 * WEFT_SECOND, WEFT_MILLISECOND, 4), 0);
    EXPECT(option_of(stream, SOL_SOCKET, SO_KEEPALIVE) != 0);
    EXPECT_EQ(option_of(stream, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    EXPECT_EQ(option_of(stream, IPPROTO_TCP, TCP_KEEPINTVL), 1);
    EXPECT_EQ(option_of(stream, IPPROTO_TCP, TCP_KEEPCNT), 4);
    EXPECT_EQ(weft_stream_set_keepalive(stream, UINT64_MAX, 0, 0), -EINVAL);
    EXPECT_EQ(weft_stream_set_keepalive(stream, WEFT_SECOND, 0, 128), -EINVAL);
    EXPECT_EQ(weft_stream_set_keepalive(stream, 0, 0, 0), 0);
    EXPECT_EQ(option_of(stream, SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT_EQ(option_of(stream, IPPROTO_TCP, TCP_KEEPCNT), 4);
    EXPECT_EQ(weft_stream_set_buffers(stream, 40000, 0), 0);
    EXPECT_EQ(option_of(stream, SOL_SOCKET, SO_RCVBUF), 80000);
    EXPECT_EQ(weft_stream_set_buffers(stream, 0, 50000), 0);
    EXPECT_EQ(option_of(stream, SOL_SOCKET, SO_RCVBUF), 80000);
    EXPECT_EQ(option_of(stream, SOL_SOCKET, SO_SNDBUF), 100000);
    free_pair(streams);
    return 0;
}

Test(socket, options_reach_the_socket)
{
    on_fibers_counting_fds(1, set_tcp_options, NULL);
}

static int set_options_elsewhere(void *arg)
{
    struct weft_stream *streams[2];
    (void)arg;
    EXPECT_EQ(weft_stream_pair(streams), 0);
    EXPECT_EQ(weft_stream_set_nodelay(streams[0], true), -EOPNOTSUPP);
    EXPECT_EQ(weft_stream_set_keepalive(streams[0], WEFT_SECOND, 0, 0), -EOPNOTSUPP);
    EXPECT_EQ(weft_stream_set_buffers(streams[0], 40000, 40000), 0);
    free_pair(streams);
    EXPECT_EQ(weft_stream_pipe(streams), 0);
    EXPECT_EQ(weft_stream_set_nodelay(streams[0], true), -ENOTSOCK);
    EXPECT_EQ(weft_stream_set_keepalive(streams[0], WEFT_SECOND, 0, 0), -ENOTSOCK);
    EXPECT_EQ(weft_stream_set_buffers(streams[0], 40000, 40000), -ENOTSOCK);
    free_pair(streams);
    return 0;
}

Test(socket, options_are_refused_where_they_mean_nothing)
{
    on_fibers_counting_fds(1, set_options_elsewhere, NULL);
}
