/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/un.h>

#include "support/io.h"

enum { MIB = 1024 * 1024 };

/* A fiber that makes one call on a stream. */
struct call {
    struct weft_stream *stream;
    char *data;
    size_t size;
    atomic_int arrivals;
    size_t written;
    long result;
};

static int read_once(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    call->result = weft_read(call->stream, call->data, call->size);
    return 0;
}

static int write_once(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    call->result = weft_write(call->stream, call->data, call->size, &call->written);
    return 0;
}

static void start(struct weft_group *group, int (*fn)(void *), struct call *call)
{
    EXPECT_EQ(weft_group_spawn(group, "call", fn, call), 0);
    await_arrivals(&call->arrivals, 1);
}

/* ---- reading and writing ------------------------------------------------------------------- */

static int exchange(void *arg)
{
    struct weft_stream *streams[2];
    char buffer[16];
    size_t written = 99;
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(weft_write(streams[0], "hello", 5, &written), 0);
    EXPECT_EQ(written, 5);
    EXPECT_EQ(weft_read(streams[1], buffer, sizeof(buffer)), 5);
    EXPECT_EQ(memcmp(buffer, "hello", 5), 0);
    EXPECT_EQ(weft_write(streams[1], "", 0, &written), 0);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(weft_write(streams[1], "back", 4, NULL), 0);
    EXPECT_EQ(weft_read(streams[0], buffer, 2), 2);
    EXPECT_EQ(weft_read(streams[0], buffer, 16), 2);
    weft_stream_free(streams[1]);
    EXPECT_EQ(weft_read(streams[0], buffer, 16), 0);
    EXPECT_EQ(weft_read(streams[0], buffer, 16), 0);
    weft_stream_free(streams[0]);
    weft_stream_free(NULL);
    return 0;
}

Test(stream, bytes_go_both_ways_and_end)
{
    on_fibers_counting_fds(1, exchange, NULL);
}

static int half_close(void *arg)
{
    struct weft_stream *streams[2];
    char buffer[8];
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(weft_write(streams[0], "ask", 3, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(streams[0]), 0);
    EXPECT_EQ(weft_read(streams[1], buffer, 8), 3);
    EXPECT_EQ(weft_read(streams[1], buffer, 8), 0);
    EXPECT_EQ(weft_write(streams[1], "answer", 6, NULL), 0);
    EXPECT_EQ(weft_read(streams[0], buffer, 8), 6);
    EXPECT_EQ(weft_write(streams[0], "x", 1, NULL), -EPIPE);
    free_pair(streams);
    return 0;
}

Test(stream, after_a_half_close_the_other_half_goes_on)
{
    on_fibers_counting_fds(1, half_close, NULL);
}

/* One byte at a time, each after the reader has taken the one before. */
static int drip(void *arg)
{
    struct weft_stream *stream = arg;
    for (int i = 0; i < 1000; i++) {
        char byte = (char)i;
        EXPECT_EQ(weft_write(stream, &byte, 1, NULL), 0);
        EXPECT_EQ(weft_yield(), 0);
    }
    EXPECT_EQ(weft_stream_shutdown_write(stream), 0);
    return 0;
}

static int read_drops(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_group group;
    char buffer[64];
    ssize_t n;
    int total = 0;
    (void)arg;
    stream_pair(streams);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "drip", drip, streams[1]), 0);
    while ((n = weft_read(streams[0], buffer, sizeof(buffer))) > 0)
        for (ssize_t i = 0; i < n; i++)
            EXPECT_EQ(buffer[i], (char)total++);
    EXPECT_EQ(n, 0);
    EXPECT_EQ(total, 1000);
    EXPECT_EQ(weft_group_join(&group), 0);
    free_pair(streams);
    return 0;
}

Test(stream, a_peer_that_sends_single_bytes)
{
    on_fibers_counting_fds(1, read_drops, NULL);
    on_fibers_counting_fds(2, read_drops, NULL);
}

static char *pattern(size_t size)
{
    char *data = malloc(size);
    EXPECT(data != NULL);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 + (i >> 12));
    return data;
}

/* 1 MiB through `streams` against a reader that takes little at a time. */
static void pass_a_mebibyte(struct weft_stream *streams[2])
{
    struct weft_group group;
    char *got = malloc(MIB);
    struct call call = {.stream = streams[1], .data = pattern(MIB), .size = MIB};
    size_t total = 0;
    weft_group_init(&group);
    start(&group, write_once, &call);
    while (total < MIB) {
        ssize_t n = weft_read(streams[0], got + total, MIB - total < 4000 ? MIB - total : 4000);
        EXPECT(n > 0);
        total += (size_t)n;
        EXPECT_EQ(weft_yield(), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, 0);
    EXPECT_EQ(call.written, MIB);
    EXPECT_EQ(memcmp(got, call.data, MIB), 0);
    free(call.data);
    free(got);
    free_pair(streams);
}

static int big_write(void *arg)
{
    struct weft_stream *streams[2];
    (void)arg;
    stream_pair(streams);
    pass_a_mebibyte(streams);
    stream_pipe(streams);
    pass_a_mebibyte(streams);
    return 0;
}

Test(stream, a_large_write_waits_for_a_slow_reader)
{
    on_fibers_counting_fds(1, big_write, NULL);
    on_fibers_counting_fds(2, big_write, NULL);
}

/* ---- a peer that is gone ------------------------------------------------------------------- */

static void write_to_closed(struct weft_stream *streams[2])
{
    size_t written = 99;
    sigset_t pending;
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_write(streams[1], "x", 1, &written), -EPIPE);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(sigpending(&pending), 0);
    EXPECT(!sigismember(&pending, SIGPIPE));
    weft_stream_free(streams[1]);
}

static int write_to_nobody(void *arg)
{
    struct weft_stream *streams[2];
    (void)arg;
    stream_pair(streams);
    write_to_closed(streams);
    stream_pipe(streams);
    write_to_closed(streams);
    return 0;
}

Test(stream, writing_to_a_closed_peer_is_an_error_and_no_signal)
{
    signal(SIGPIPE, SIG_DFL);
    on_fibers_counting_fds(1, write_to_nobody, NULL);
}

static int reader_goes_away(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_group group;
    struct call call = {.data = pattern(MIB), .size = MIB};
    (void)arg;
    stream_pipe(streams);
    call.stream = streams[1];
    weft_group_init(&group);
    start(&group, write_once, &call);
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, -EPIPE);
    EXPECT(call.written > 0 && call.written < MIB);
    weft_stream_free(streams[1]);
    free(call.data);
    return 0;
}

Test(stream, a_writer_that_waits_learns_that_the_reader_left)
{
    signal(SIGPIPE, SIG_DFL);
    on_fibers_counting_fds(1, reader_goes_away, NULL);
}

static int notice_hang_up(void *arg)
{
    struct weft_stream *streams[2];
    char byte;
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(weft_stream_wait_readable(streams[0], weft_now_ns() + WEFT_MILLISECOND), -ETIMEDOUT);
    EXPECT_EQ(weft_write(streams[1], "x", 1, NULL), 0);
    for (int i = 0; i < 3; i++) /* it takes nothing, so it says so each time */
        EXPECT_EQ(weft_stream_wait_readable(streams[0], soon()), 0);
    EXPECT_EQ(weft_read(streams[0], &byte, 1), 1);
    EXPECT_EQ(weft_stream_wait_readable(streams[0], weft_now_ns() + WEFT_MILLISECOND), -ETIMEDOUT);
    weft_stream_free(streams[1]);
    EXPECT_EQ(weft_stream_wait_readable(streams[0], soon()), 0);
    EXPECT_EQ(weft_read(streams[0], &byte, 1), 0);
    weft_stream_free(streams[0]);
    return 0;
}

Test(stream, wait_readable_tells_of_data_and_of_the_end_and_takes_nothing)
{
    on_fibers_counting_fds(1, notice_hang_up, NULL);
}

/* ---- cancellation, several users, closing --------------------------------------------------- */

static int cancel_a_read(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_group group;
    char buffer[8];
    struct call call = {.data = buffer, .size = sizeof(buffer)};
    (void)arg;
    stream_pair(streams);
    call.stream = streams[0];
    weft_group_init(&group);
    start(&group, read_once, &call);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_write(streams[1], "kept", 4, NULL), -ECANCELED); /* its owner is inside too */
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(call.result, -ECANCELED);
    EXPECT_EQ(weft_write(streams[1], "kept", 4, NULL), 0);
    EXPECT_EQ(weft_read(streams[0], buffer, 8), 4);
    free_pair(streams);
    return 0;
}

Test(stream, a_cancelled_read_takes_nothing)
{
    on_fibers_counting_fds(1, cancel_a_read, NULL);
    on_fibers_counting_fds(2, cancel_a_read, NULL);
}

static int read_in_cancelled_scope(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_scope scope;
    char buffer[8];
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(weft_write(streams[1], "kept", 4, NULL), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_read(streams[0], buffer, 8), -ECANCELED);
    EXPECT_EQ(weft_stream_wait_readable(streams[0], soon()), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_read(streams[0], buffer, 8), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(weft_read(streams[0], buffer, 8), 4);
    free_pair(streams);
    return 0;
}

Test(stream, a_read_in_a_cancelled_scope_leaves_the_data)
{
    on_fibers_counting_fds(1, read_in_cancelled_scope, NULL);
}

static int cancel_a_write(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_group group;
    struct call call = {.data = pattern(4 * MIB), .size = 4 * MIB};
    char *got = malloc(4 * MIB);
    ssize_t n;
    size_t total = 0;
    (void)arg;
    stream_pair(streams);
    call.stream = streams[1];
    weft_group_init(&group);
    start(&group, write_once, &call);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(call.result, -ECANCELED);
    weft_stream_free(streams[1]);
    while ((n = weft_read(streams[0], got + total, 4 * MIB - total)) > 0)
        total += (size_t)n;
    EXPECT_EQ(n, 0);
    EXPECT(total > 0 && total == call.written);
    EXPECT_EQ(memcmp(got, call.data, total), 0);
    weft_stream_free(streams[0]);
    free(call.data);
    free(got);
    return 0;
}

Test(stream, a_cancelled_write_tells_what_went_out)
{
    on_fibers_counting_fds(1, cancel_a_write, NULL);
}

static int second_user(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_group group;
    char buffer[8];
    struct call reader = {.data = buffer, .size = sizeof(buffer)};
    struct call writer = {.data = pattern(4 * MIB), .size = 4 * MIB};
    size_t written = 99;
    (void)arg;
    stream_pair(streams);
    reader.stream = writer.stream = streams[0];
    weft_group_init(&group);
    start(&group, read_once, &reader);
    start(&group, write_once, &writer);
    EXPECT_EQ(weft_read(streams[0], buffer, 1), -EBUSY);
    EXPECT_EQ(weft_write(streams[0], "x", 1, &written), -EBUSY);
    EXPECT_EQ(written, 0);
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(reader.result, -EBADF);
    EXPECT_EQ(writer.result, -EBADF);
    EXPECT(writer.written > 0);
    weft_stream_free(streams[1]);
    free(writer.data);
    return 0;
}

Test(stream, one_reader_and_one_writer_and_a_free_ends_both)
{
    on_fibers_counting_fds(1, second_user, NULL);
    on_fibers_counting_fds(2, second_user, NULL);
}

/* ---- peers ---------------------------------------------------------------------------------- */

static int ask_peer(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_peer peer = {.pid = -7};
    struct weft_stream *tcp;
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(weft_stream_peer(streams[0], &peer), 0);
    EXPECT_EQ(peer.pid, getpid());
    EXPECT_EQ(peer.uid, getuid());
    EXPECT_EQ(peer.gid, getgid());
    free_pair(streams);
    stream_pipe(streams);
    peer.pid = -7;
    EXPECT_EQ(weft_stream_peer(streams[0], &peer), -ENOTSOCK);
    EXPECT_EQ(weft_stream_shutdown_write(streams[1]), -ENOTSOCK);
    free_pair(streams);
    EXPECT_EQ(weft_stream_new(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &tcp), 0);
    EXPECT_EQ(weft_stream_peer(tcp, &peer), -EOPNOTSUPP);
    EXPECT_EQ(peer.pid, -7);
    weft_stream_free(tcp);
    EXPECT_EQ(weft_stream_new(-1, &tcp), -EBADF);
    return 0;
}

Test(stream, peer_is_known_on_unix_sockets_alone)
{
    on_fibers_counting_fds(1, ask_peer, NULL);
}

/* ---- connecting ------------------------------------------------------------------------------ */

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

Test(stream, connect_refuses_what_is_not_an_address)
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

Test(stream, connect_tcp_is_refused)
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
    do {
        EXPECT(count < ENOUGH);
        r = weft_stream_connect_tcp("127.0.0.1", port, weft_now_ns() + 20 * WEFT_MILLISECOND,
                                    &streams[count]);
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

Test(stream, connect_tcp_ends_at_the_deadline)
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

Test(stream, connect_unix_waits_for_room_in_the_queue)
{
    on_fibers_counting_fds(1, connect_when_there_is_room, NULL);
}
