/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <limits.h>
#include <signal.h>

#include "support/io.h"

enum { SIZE = 3 * 1024 * 1024 + 17 };

static char byte_at(size_t place)
{
    return (char)(place * 31 + (place >> 11));
}

/* A file of SIZE bytes that has no name. */
static int make_file(void)
{
    char name[] = "/tmp/weft-send-XXXXXX", *data = malloc(SIZE);
    int fd = mkostemp(name, O_CLOEXEC);
    EXPECT(fd >= 0);
    unlink(name);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = byte_at(i);
    EXPECT_EQ(write(fd, data, SIZE), SIZE);
    free(data);
    return fd;
}

struct transfer {
    struct weft_stream *stream;
    int fd;
    off_t offset;
    size_t size, sent;
    int result;
    atomic_int arrivals;
};

static int send_once(void *arg)
{
    struct transfer *transfer = arg;
    arrive(&transfer->arrivals);
    transfer->result = weft_stream_send_file(transfer->stream, transfer->fd, transfer->offset,
                                             transfer->size, &transfer->sent);
    return 0;
}

static void expect_bytes(struct weft_stream *stream, size_t from, size_t size)
{
    char buffer[10000];
    for (size_t total = 0; total < size;) {
        size_t n = size - total < sizeof(buffer) ? size - total : sizeof(buffer);
        read_exactly(stream, buffer, n);
        for (size_t i = 0; i < n; i++)
            EXPECT_EQ(buffer[i], byte_at(from + total + i));
        total += n;
    }
}

static void send_part(struct weft_stream *streams[2], int fd, off_t offset, size_t size,
                      size_t expected)
{
    struct transfer transfer = {.stream = streams[1], .fd = fd, .offset = offset, .size = size};
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_once, &transfer), 0);
    expect_bytes(streams[0], (size_t)offset, expected);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(transfer.result, size == WEFT_TO_END || size == expected ? 0 : -ENODATA);
    EXPECT_EQ(transfer.sent, expected);
}

static void send_parts(struct weft_stream *streams[2], int fd)
{
    send_part(streams, fd, 0, WEFT_TO_END, SIZE);
    send_part(streams, fd, 0, SIZE, SIZE);
    send_part(streams, fd, 5000, 300000, 300000);
    send_part(streams, fd, SIZE - 9, WEFT_TO_END, 9);
    send_part(streams, fd, SIZE - 9, 10, 9);
    send_part(streams, fd, SIZE, WEFT_TO_END, 0);
    send_part(streams, fd, SIZE + 5, 1, 0);
    send_part(streams, fd, 7, 0, 0);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), SIZE); /* where make_file left it */
}

static void tcp_pair(struct weft_stream *streams[2])
{
    struct weft_listener *listener;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &streams[0]), 0);
    EXPECT_EQ(weft_accept(listener, &streams[1]), 0);
    weft_listener_free(listener);
}

static int send_everywhere(void *arg)
{
    struct weft_stream *streams[2];
    int fd = make_file();
    (void)arg;
    tcp_pair(streams);
    send_parts(streams, fd);
    free_pair(streams);
    stream_pair(streams);
    send_parts(streams, fd);
    free_pair(streams);
    stream_pipe(streams);
    send_parts(streams, fd);
    free_pair(streams);
    close(fd);
    return 0;
}

Test(send_file, any_part_over_tcp_unix_and_pipes)
{
    on_fibers_counting_fds(1, send_everywhere, NULL);
    on_fibers_counting_fds(2, send_everywhere, NULL);
}

/* Not in the page cache: the offload pool reads it. */
static int send_from_disk(void *arg)
{
    struct weft_stream *streams[2];
    int fd = make_file();
    (void)arg;
    EXPECT_EQ(fdatasync(fd), 0);
    EXPECT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    stream_pair(streams);
    send_part(streams, fd, 0, WEFT_TO_END, SIZE);
    free_pair(streams);
    close(fd);
    return 0;
}

Test(send_file, what_is_not_in_memory_comes_too)
{
    on_fibers_counting_fds(1, send_from_disk, NULL);
}

/* Somebody else took O_NONBLOCK away: the kernel would wait in sendfile(2). */
static int send_without_the_kernel(void *arg)
{
    struct weft_stream *streams[2];
    int fd = make_file();
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(fcntl(weft_stream_fd(streams[1]), F_SETFL, O_RDWR), 0);
    send_parts(streams, fd);
    free_pair(streams);
    close(fd);
    return 0;
}

Test(send_file, through_memory_where_the_kernel_would_wait)
{
    on_fibers_counting_fds(1, send_without_the_kernel, NULL);
}

/* A file whose size is a lie, and which sendfile(2) may refuse. */
static int send_a_strange_file(void *arg)
{
    struct weft_stream *streams[2];
    char text[64];
    size_t sent = 0;
    int fd = open("/proc/sys/kernel/ostype", O_RDONLY | O_CLOEXEC);
    (void)arg;
    EXPECT(fd >= 0);
    stream_pair(streams);
    EXPECT_EQ(weft_stream_send_file(streams[1], fd, 0, WEFT_TO_END, &sent), 0);
    EXPECT_EQ(sent, 6);
    EXPECT_EQ(weft_read(streams[0], text, sizeof(text)), 6);
    EXPECT(memcmp(text, "Linux\n", 6) == 0);
    free_pair(streams);
    close(fd);
    return 0;
}

Test(send_file, files_of_the_kernel)
{
    on_fibers_counting_fds(1, send_a_strange_file, NULL);
}

static int send_wrongly(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_scope scope;
    size_t sent = 99;
    int fd = make_file(), pipe_fds[2];
    (void)arg;
    stream_pair(streams);
    raw_pipe(pipe_fds);
    EXPECT_EQ(weft_stream_send_file(streams[1], fd, -1, 5, &sent), -EINVAL);
    EXPECT_EQ(sent, 0);
    EXPECT_EQ(weft_stream_send_file(streams[1], fd, LLONG_MAX, WEFT_TO_END, &sent), -EINVAL);
    EXPECT_EQ(weft_stream_send_file(streams[1], -1, 0, 5, &sent), -EBADF);
    EXPECT_EQ(weft_stream_send_file(streams[1], pipe_fds[0], 0, 5, &sent), -EINVAL);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_stream_send_file(streams[1], fd, 0, 5, &sent), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(sent, 0);
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_stream_send_file(streams[1], fd, 0, 5, NULL), -EPIPE);
    weft_stream_free(streams[1]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(fd);
    return 0;
}

Test(send_file, tells_why_not_and_raises_no_signal)
{
    signal(SIGPIPE, SIG_DFL);
    on_fibers_counting_fds(1, send_wrongly, NULL);
}

static void cancel_one(struct weft_stream *streams[2], int fd, bool by_the_kernel)
{
    struct transfer transfer = {.stream = streams[1], .fd = fd, .size = SIZE};
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_once, &transfer), 0);
    await_arrivals(&transfer.arrivals, 1);
    if (by_the_kernel)
        EXPECT_EQ(weft_write(streams[1], "x", 1, NULL), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(transfer.result, -ECANCELED);
    EXPECT(transfer.sent < SIZE);
    expect_bytes(streams[0], 0, transfer.sent);
    EXPECT_EQ(weft_stream_wait_readable(streams[0], 0), -ETIMEDOUT); /* no more than was told */
}

static int cancel_transfers(void *arg)
{
    struct weft_stream *streams[2];
    int fd = make_file();
    (void)arg;
    stream_pair(streams);
    cancel_one(streams, fd, true);
    free_pair(streams);
    stream_pair(streams);
    EXPECT_EQ(fcntl(weft_stream_fd(streams[1]), F_SETFL, O_RDWR), 0);
    cancel_one(streams, fd, false);
    free_pair(streams);
    close(fd);
    return 0;
}

Test(send_file, a_cancelled_transfer_tells_what_went_out)
{
    on_fibers_counting_fds(1, cancel_transfers, NULL);
}
