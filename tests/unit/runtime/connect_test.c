/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "support/io.h"

/* ---- what cannot be connected to ------------------------------------------------------------- */

static int connect_to_nothing(void *arg)
{
    struct weft_stream *stream = NULL;
    char path[108], endless[200];
    (void)arg;
    memset(endless, 'x', sizeof(endless));
    endless[0] = '/';
    endless[sizeof(endless) - 1] = '\0';
    EXPECT_EQ(weft_stream_connect_unix(endless, soon(), &stream), -ENAMETOOLONG);
    endless[0] = '@';
    EXPECT_EQ(weft_stream_connect_unix(endless, soon(), &stream), -ENAMETOOLONG);
    EXPECT_EQ(weft_stream_connect_unix("", soon(), &stream), -EINVAL);
    EXPECT_EQ(weft_stream_connect_unix("@", soon(), &stream), -EINVAL);
    EXPECT_EQ(weft_stream_connect_unix(socket_path(path, "none"), soon(), &stream), -ENOENT);
    EXPECT_EQ(weft_stream_connect_unix("@weft-test-nobody", soon(), &stream), -ECONNREFUSED);
    EXPECT_EQ(weft_stream_connect_tcp("localhost", 1, soon(), &stream), -EINVAL);
    EXPECT_EQ(weft_stream_connect_tcp("1.2.3", 1, soon(), &stream), -EINVAL);
    EXPECT(stream == NULL);
    return 0;
}

Test(connect, connect_refuses_what_is_not_an_address)
{
    on_fibers_counting_fds(1, connect_to_nothing, NULL);
}

/* A TCP port on which nobody listens: bound, so that nobody else takes it. */
static int bound_port(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd, (struct sockaddr *)&address, size), 0);
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static int connect_refused(void *arg)
{
    struct weft_stream *stream = NULL;
    uint16_t port;
    (void)arg;
    int fd = bound_port(&port);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &stream), -ECONNREFUSED);
    EXPECT(stream == NULL);
    close(fd);
    return 0;
}

Test(connect, connect_tcp_is_refused)
{
    on_fibers_counting_fds(1, connect_refused, NULL);
}

/* A listener whose queue is full leaves a TCP connect without an answer. */
static int connect_unanswered(void *arg)
{
    enum { ENOUGH = 64 };
    struct weft_stream *streams[ENOUGH];
    struct weft_scope scope;
    uint16_t port;
    int count = 0, r;
    (void)arg;
    int fd = bound_port(&port);
    EXPECT_EQ(listen(fd, 0), 0);
    do { /* there is room for the first in any case, however late its answer comes */
        EXPECT(count < ENOUGH);
        uint64_t end_ns = count == 0 ? soon() : weft_now_ns() + 20 * WEFT_MILLISECOND;
        r = weft_stream_connect_tcp("127.0.0.1", port, end_ns, &streams[count]);
    } while (r == 0 && ++count);
    EXPECT_EQ(r, -ETIMEDOUT);
    weft_scope_enter(&scope, weft_now_ns() + WEFT_MILLISECOND);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, WEFT_NO_DEADLINE, &streams[count]),
              -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    while (count > 0)
        weft_stream_free(streams[--count]);
    close(fd);
    return 0;
}

Test(connect, connect_tcp_ends_at_the_deadline)
{
    on_fibers_counting_fds(1, connect_unanswered, NULL);
}

struct dial {
    const char *path;
    struct weft_stream *stream;
    uint64_t deadline_ns;
    atomic_int arrivals;
    int result;
};

static int dial_once(void *arg)
{
    struct dial *dial = arg;
    arrive(&dial->arrivals);
    dial->result = weft_stream_connect_unix(dial->path, dial->deadline_ns, &dial->stream);
    return 0;
}

/* A Unix listener with a full queue; returns the connections that fill it in `ret_fds`. */
static int full_listener(const char *path, int ret_fds[], int *ret_count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int count = 0;
    strcpy(address.sun_path, path);
    EXPECT_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    EXPECT_EQ(listen(fd, 0), 0);
    for (;;) {
        ret_fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(ret_fds[count], (struct sockaddr *)&address, sizeof(address)) < 0)
            break;
        count++;
    }
    close(ret_fds[count]);
    *ret_count = count;
    return fd;
}

static int connect_when_there_is_room(void *arg)
{
    struct weft_group group;
    char path[108];
    int fillers[16], count;
    struct dial dial = {.path = socket_path(path, "full"),
                        .deadline_ns = weft_now_ns() + WEFT_MILLISECOND};
    (void)arg;
    int fd = full_listener(path, fillers, &count);
    dial_once(&dial);
    EXPECT_EQ(dial.result, -ETIMEDOUT);
    dial.deadline_ns = soon();
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "dial", dial_once, &dial), 0);
    close(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(dial.result, 0);
    weft_stream_free(dial.stream);
    while (count > 0)
        close(fillers[--count]);
    close(fd);
    unlink(path);
    return 0;
}

Test(connect, connect_unix_waits_for_room_in_the_queue)
{
    on_fibers_counting_fds(1, connect_when_there_is_room, NULL);
}

/* ---- addresses and options ------------------------------------------------------------------- */

static int option_of(const struct weft_stream *stream, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(weft_stream_fd(stream), level, name, &value, &size), 0);
    return value;
}

static int connect_with_options(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *streams[2];
    struct weft_address there, local, seen;
    struct weft_connect_options options = {
        .local = &local, .receive_buffer = 40000, .send_buffer = 50000, .delay = true};
    (void)arg;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    EXPECT_EQ(weft_listener_address(listener, &there), 0);
    EXPECT_EQ(weft_address_inet("127.0.0.5", 0, &local), 0);
    EXPECT_EQ(weft_stream_connect(&there, &options, soon(), &streams[0]), 0);
    EXPECT_EQ(weft_accept(listener, &streams[1]), 0);
    EXPECT_EQ(option_of(streams[0], IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_EQ(option_of(streams[0], SOL_SOCKET, SO_RCVBUF), 80000);
    EXPECT_EQ(option_of(streams[0], SOL_SOCKET, SO_SNDBUF), 100000);
    EXPECT_EQ(weft_stream_remote_address(streams[0], &seen), 0);
    EXPECT(weft_address_equal(&seen, &there));
    EXPECT_EQ(weft_stream_remote_address(streams[1], &seen), 0);
    weft_address_set_port(&seen, 0);
    EXPECT(weft_address_equal(&seen, &local));
    free_pair(streams);
    EXPECT_EQ(weft_stream_connect(&there, NULL, soon(), &streams[0]), 0);
    EXPECT(option_of(streams[0], IPPROTO_TCP, TCP_NODELAY) != 0);
    weft_stream_free(streams[0]);
    weft_listener_free(listener);
    return 0;
}

Test(connect, an_address_and_options)
{
    on_fibers_counting_fds(1, connect_with_options, NULL);
}

static int connect_from_the_wrong_place(void *arg)
{
    struct weft_stream *stream = NULL;
    struct weft_address there, local, none = {0};
    struct weft_connect_options options = {.local = &local};
    struct weft_scope scope;
    (void)arg;
    EXPECT_EQ(weft_address_inet("127.0.0.1", 9, &there), 0);
    EXPECT_EQ(weft_address_inet("192.0.2.1", 0, &local), 0);
    EXPECT_EQ(weft_stream_connect(&none, NULL, soon(), &stream), -EAFNOSUPPORT);
    EXPECT_EQ(weft_stream_connect(&there, &options, soon(), &stream), -EADDRNOTAVAIL);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_stream_connect(&there, NULL, soon(), &stream), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(stream == NULL);
    return 0;
}

Test(connect, tells_why_not)
{
    on_fibers_counting_fds(1, connect_from_the_wrong_place, NULL);
}
