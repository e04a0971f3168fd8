/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <limits.h>
#include <signal.h>

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

/* ---- gathered writing ------------------------------------------------------------------------ */

enum { PIECES = 500 };

struct gathered {
    struct weft_stream *stream;
    struct iovec *pieces;
    int count;
    size_t written;
    int result;
    atomic_int arrivals;
};

static int writev_once(void *arg)
{
    struct gathered *call = arg;
    arrive(&call->arrivals);
    call->result = weft_writev(call->stream, call->pieces, call->count, &call->written);
    return 0;
}

/* 1 MiB in pieces of many sizes, some of them empty. */
static void cut(char *data, struct iovec pieces[PIECES])
{
    size_t place = 0;
    for (int i = 0; i < PIECES; i++) {
        size_t size = i % 5 == 0 ? 0 : (size_t)i * 8;
        if (i == PIECES - 1)
            size = MIB - place;
        pieces[i] = (struct iovec){.iov_base = data + place, .iov_len = size};
        place += size;
    }
}

static void pass_pieces(struct weft_stream *streams[2])
{
    struct iovec pieces[PIECES];
    struct gathered call = {.stream = streams[1], .pieces = pieces, .count = PIECES};
    char *data = pattern(MIB), *got = malloc(MIB);
    struct weft_group group;
    cut(data, pieces);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "writer", writev_once, &call), 0);
    for (size_t total = 0; total < MIB; total += 4096)
        read_exactly(streams[0], got + total, 4096);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, 0);
    EXPECT_EQ(call.written, MIB);
    EXPECT_EQ(memcmp(got, data, MIB), 0);
    free(data);
    free(got);
    free_pair(streams);
}

static int gather_pieces(void *arg)
{
    struct weft_stream *streams[2];
    (void)arg;
    EXPECT_EQ(weft_stream_pair(streams), 0);
    pass_pieces(streams);
    EXPECT_EQ(weft_stream_pipe(streams), 0);
    pass_pieces(streams);
    return 0;
}

Test(stream, pieces_arrive_in_order_through_sockets_and_pipes)
{
    on_fibers_counting_fds(1, gather_pieces, NULL);
    on_fibers_counting_fds(2, gather_pieces, NULL);
}

static int gather_badly(void *arg)
{
    struct weft_stream *streams[2];
    struct iovec pieces[] = {{"", 0}, {"abc", 3}, {"", 0}};
    struct iovec absurd[] = {{"x", SSIZE_MAX}, {"y", 1}};
    struct weft_scope scope;
    size_t written = 99;
    char buffer[8];
    (void)arg;
    EXPECT_EQ(weft_stream_pipe(streams), 0);
    EXPECT_EQ(weft_writev(streams[1], pieces, -1, &written), -EINVAL);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(weft_writev(streams[1], absurd, 2, &written), -EINVAL);
    EXPECT_EQ(weft_writev(streams[1], NULL, 0, &written), 0);
    EXPECT_EQ(weft_writev(streams[1], pieces, 1, NULL), 0);
    EXPECT_EQ(weft_writev(streams[1], pieces, 3, &written), 0);
    EXPECT_EQ(written, 3);
    EXPECT_EQ(weft_read(streams[0], buffer, 8), 3);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_writev(streams[1], pieces, 3, &written), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(written, 0);
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_writev(streams[1], pieces, 3, &written), -EPIPE);
    weft_stream_free(streams[1]);
    return 0;
}

Test(stream, gathered_writing_tells_its_errors_and_raises_no_signal)
{
    signal(SIGPIPE, SIG_DFL);
    on_fibers_counting_fds(1, gather_badly, NULL);
}

static int cancel_gathering(void *arg)
{
    struct weft_stream *streams[2];
    struct iovec pieces[PIECES];
    struct gathered call = {.pieces = pieces, .count = PIECES};
    char *data = pattern(MIB), *got = malloc(MIB);
    struct weft_group group;
    (void)arg;
    EXPECT_EQ(weft_stream_pair(streams), 0);
    cut(data, pieces);
    call.stream = streams[1];
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "writer", writev_once, &call), 0);
    await_arrivals(&call.arrivals, 1);
    EXPECT_EQ(weft_writev(streams[1], pieces, 2, NULL), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(call.result, -ECANCELED);
    EXPECT(call.written > 0 && call.written < MIB);
    read_exactly(streams[0], got, call.written);
    EXPECT_EQ(memcmp(got, data, call.written), 0);
    EXPECT_EQ(weft_stream_wait_readable(streams[0], 0), -ETIMEDOUT); /* and no more */
    free(data);
    free(got);
    free_pair(streams);
    return 0;
}

Test(stream, a_cancelled_gathered_write_tells_what_went_out)
{
    on_fibers_counting_fds(1, cancel_gathering, NULL);
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
    await_waits("readable", 1);
    await_waits("writable", 1);
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
