/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include "support/io.h"

static ino_t inode_of(int fd)
{
    struct stat status;
    EXPECT_EQ(fstat(fd, &status), 0);
    return status.st_ino;
}

/* ---- passing --------------------------------------------------------------------------------- */

static int pass_two(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_passed passed;
    size_t written = 99;
    char buffer[64];
    int fds[2];
    (void)arg;
    stream_pair(streams);
    raw_pipe(fds);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "two", 3, fds, 2, &written), 0);
    EXPECT_EQ(written, 3);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "none", 4, NULL, 0, NULL), 0);
    EXPECT_EQ(weft_stream_recv_fds(streams[1], buffer, sizeof(buffer), &passed), 3);
    EXPECT_EQ(passed.count, 2);
    EXPECT(!passed.truncated);
    for (int i = 0; i < 2; i++) {
        EXPECT(passed.fds[i] != fds[i]);
        EXPECT_EQ(inode_of(passed.fds[i]), inode_of(fds[i]));
        EXPECT_EQ(fcntl(passed.fds[i], F_GETFD), FD_CLOEXEC);
        close(fds[i]);
    }
    EXPECT_EQ(write(passed.fds[1], "x", 1), 1);
    EXPECT_EQ(read(passed.fds[0], buffer, 1), 1);
    close(passed.fds[0]);
    passed.fds[0] = -1;
    weft_passed_close(&passed);
    weft_passed_close(&passed); /* it is empty now */
    EXPECT_EQ(weft_stream_recv_fds(streams[1], buffer, sizeof(buffer), &passed), 4);
    EXPECT_EQ(passed.count, 0);
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_stream_recv_fds(streams[1], buffer, sizeof(buffer), &passed), 0);
    weft_stream_free(streams[1]);
    return 0;
}

Test(pass, descriptors_arrive_with_their_data_and_close_on_exec)
{
    on_fibers_counting_fds(1, pass_two, NULL);
}

static int pass_the_most(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_passed passed;
    int fds[WEFT_PASS_MAX + 1];
    char byte;
    (void)arg;
    stream_pair(streams);
    for (int i = 0; i <= WEFT_PASS_MAX; i++)
        fds[i] = weft_stream_fd(streams[0]);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, fds, WEFT_PASS_MAX + 1, NULL), -EINVAL);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, fds, WEFT_PASS_MAX, NULL), 0);
    EXPECT_EQ(weft_stream_recv_fds(streams[1], &byte, 1, &passed), 1);
    EXPECT_EQ(passed.count, WEFT_PASS_MAX);
    EXPECT(!passed.truncated);
    weft_passed_close(&passed);
    free_pair(streams);
    return 0;
}

Test(pass, as_many_as_the_kernel_allows)
{
    on_fibers_counting_fds(1, pass_the_most, NULL);
}

static int pass_credentials_too(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_passed passed;
    int fds[WEFT_PASS_MAX], on = 1;
    char byte;
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(setsockopt(weft_stream_fd(streams[1]), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
    for (int i = 0; i < WEFT_PASS_MAX; i++)
        fds[i] = weft_stream_fd(streams[0]);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, fds, WEFT_PASS_MAX, NULL), 0);
    EXPECT_EQ(weft_stream_recv_fds(streams[1], &byte, 1, &passed), 1);
    EXPECT_EQ(passed.count, WEFT_PASS_MAX);
    EXPECT(!passed.truncated);
    weft_passed_close(&passed);
    free_pair(streams);
    return 0;
}

Test(pass, other_control_data_takes_no_room_from_them)
{
    on_fibers_counting_fds(1, pass_credentials_too, NULL);
}

static void limit_fds(rlim_t limit, struct rlimit *ret_before)
{
    struct rlimit limited;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, ret_before), 0);
    limited = *ret_before;
    limited.rlim_cur = limit;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limited), 0);
}

static int pass_without_room(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_passed passed;
    struct rlimit before;
    int fds[20];
    char byte;
    (void)arg;
    stream_pair(streams);
    for (int i = 0; i < 20; i++)
        fds[i] = weft_stream_fd(streams[0]);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, fds, 20, NULL), 0);
    int lowest = dup(0);
    close(lowest);
    limit_fds((rlim_t)lowest + 5, &before);
    EXPECT_EQ(weft_stream_recv_fds(streams[1], &byte, 1, &passed), 1); /* the data is not lost */
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT(passed.truncated);
    EXPECT(passed.count > 0 && passed.count <= 5);
    weft_passed_close(&passed);
    free_pair(streams);
    return 0;
}

Test(pass, when_the_table_is_full_the_rest_is_lost_and_told_and_does_not_leak)
{
    on_fibers_counting_fds(1, pass_without_room, NULL);
}

static int read_past_them(void *arg)
{
    struct weft_stream *streams[2];
    char buffer[8];
    int fds[2];
    (void)arg;
    stream_pair(streams);
    raw_pipe(fds);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, fds, 2, NULL), 0);
    close(fds[0]);
    close(fds[1]);
    EXPECT_EQ(weft_read(streams[1], buffer, sizeof(buffer)), 1); /* and counting_fds counts */
    free_pair(streams);
    return 0;
}

Test(pass, a_plain_read_closes_them_unseen)
{
    on_fibers_counting_fds(1, read_past_them, NULL);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int pass_wrongly(void *arg)
{
    struct weft_stream *streams[2], *tcp;
    struct weft_listener *listener;
    struct weft_passed passed = {.count = 77};
    size_t written = 99;
    char byte;
    int bad = -1, good = 0;
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "", 0, &good, 1, &written), -EINVAL);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, &bad, 1, &written), -EBADF);
    EXPECT_EQ(weft_stream_wait_readable(streams[1], 0), -ETIMEDOUT); /* nothing was sent */
    weft_stream_free(streams[1]);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, &good, 1, &written), -EPIPE);
    weft_stream_free(streams[0]);
    stream_pipe(streams);
    EXPECT_EQ(weft_stream_send_fds(streams[1], "x", 1, &good, 1, &written), -ENOTSOCK);
    EXPECT_EQ(weft_stream_recv_fds(streams[0], &byte, 1, &passed), -ENOTSOCK);
    free_pair(streams);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &tcp), 0);
    EXPECT_EQ(weft_stream_send_fds(tcp, "x", 1, &good, 1, &written), -EOPNOTSUPP);
    EXPECT_EQ(weft_stream_recv_fds(tcp, &byte, 1, &passed), -EOPNOTSUPP);
    EXPECT_EQ(passed.count, 77);
    weft_stream_free(tcp);
    weft_listener_free(listener);
    return 0;
}

Test(pass, tells_why_not)
{
    on_fibers_counting_fds(1, pass_wrongly, NULL);
}

enum { LARGE = 4 << 20 };

struct call {
    struct weft_stream *stream;
    struct weft_passed passed;
    atomic_int arrivals;
    size_t written;
    ssize_t result;
};

static int receive_once(void *arg)
{
    struct call *call = arg;
    char byte;
    arrive(&call->arrivals);
    call->result = weft_stream_recv_fds(call->stream, &byte, 1, &call->passed);
    return 0;
}

static int send_much(void *arg)
{
    struct call *call = arg;
    char *data = calloc(1, LARGE);
    int fd = 0;
    arrive(&call->arrivals);
    call->result = weft_stream_send_fds(call->stream, data, LARGE, &fd, 1, &call->written);
    free(data);
    return 0;
}

static int cancel_both(void *arg)
{
    struct weft_stream *streams[2];
    struct call receiver = {0}, sender = {0};
    struct weft_group group;
    char byte;
    int fd = 0;
    (void)arg;
    stream_pair(streams);
    receiver.stream = sender.stream = streams[0];
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "receiver", receive_once, &receiver), 0);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_much, &sender), 0);
    await_arrivals(&receiver.arrivals, 1);
    await_arrivals(&sender.arrivals, 1);
    EXPECT_EQ(weft_stream_recv_fds(streams[0], &byte, 1, &receiver.passed), -EBUSY);
    EXPECT_EQ(weft_stream_send_fds(streams[0], "x", 1, &fd, 1, NULL), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(receiver.result, -ECANCELED);
    EXPECT_EQ(sender.result, -ECANCELED);
    EXPECT(sender.written > 0 && sender.written < LARGE);
    EXPECT_EQ(weft_stream_recv_fds(streams[1], &byte, 1, &receiver.passed), 1);
    EXPECT_EQ(receiver.passed.count, 1); /* with the first byte */
    weft_passed_close(&receiver.passed);
    free_pair(streams);
    return 0;
}

Test(pass, a_cancel_ends_both_directions_and_the_descriptors_went_with_the_first_byte)
{
    on_fibers_counting_fds(1, cancel_both, NULL);
}
