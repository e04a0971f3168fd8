/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/ioctl.h>

#include "support/io.h"

/* A target that keeps what it gets; `room` bytes fit, then it fails with `error`. */
struct sink {
    char data[400000];
    size_t size, room;
    int error, calls;
};

static int take(void *arg, const void *data, size_t size, size_t *ret_written)
{
    struct sink *sink = arg;
    size_t n = size < sink->room ? size : sink->room;
    EXPECT_EQ(*ret_written, 0);
    EXPECT(sink->size + n <= sizeof(sink->data));
    memcpy(sink->data + sink->size, data, n);
    sink->calls++;
    sink->size += n;
    sink->room -= n;
    if (n == size)
        return 0;
    *ret_written = n;
    return sink->error;
}

static struct sink *sink_new(struct weft_writer *writer)
{
    struct sink *sink = calloc(1, sizeof(*sink));
    EXPECT(sink != NULL);
    sink->room = SIZE_MAX;
    weft_writer_init_function(writer, take, sink);
    return sink;
}

static void expect_sent(const struct sink *sink, const char *text)
{
    EXPECT_EQ(sink->size, strlen(text));
    EXPECT(memcmp(sink->data, text, sink->size) == 0);
}

/* What stands at a place of a long text. */
static char *pattern(size_t size)
{
    char *data = malloc(size);
    EXPECT(data != NULL);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 + (i >> 10));
    return data;
}

/* ---- gathering ------------------------------------------------------------------------------- */

Test(writer, little_is_gathered_and_goes_out_at_the_flush)
{
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    EXPECT_EQ(weft_writer_write(&writer, "one ", 4), 0);
    EXPECT_EQ(weft_writer_write(&writer, "", 0), 0);
    EXPECT_EQ(weft_writer_printf(&writer, "%d %s ", 2, "three"), 0);
    EXPECT_EQ(weft_writer_put(&writer, "four", 4), 0);
    EXPECT_EQ(weft_writer_drain(&writer), 0);
    EXPECT_EQ(sink->calls, 0);
    EXPECT_EQ(weft_writer_buffered(&writer), 16);
    EXPECT_EQ(weft_writer_flush(&writer), 0);
    EXPECT_EQ(weft_writer_flush(&writer), 0);
    EXPECT_EQ(sink->calls, 1);
    EXPECT_EQ(weft_writer_buffered(&writer), 0);
    expect_sent(sink, "one 2 three four");
    EXPECT_EQ(weft_writer_write(&writer, "!", 1), 0);
    EXPECT_EQ(weft_writer_close(&writer), 0);
    expect_sent(sink, "one 2 three four!");
    free(sink);
}

Test(writer, more_than_the_high_mark_goes_out_by_itself)
{
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    weft_writer_set_marks(&writer, 3, 8);
    EXPECT_EQ(weft_writer_write(&writer, "12345678", 8), 0);
    EXPECT_EQ(sink->calls, 0);
    EXPECT_EQ(weft_writer_write(&writer, "9", 1), 0);
    expect_sent(sink, "123456");
    EXPECT_EQ(weft_writer_buffered(&writer), 3);
    EXPECT_EQ(weft_writer_printf(&writer, "%s", "abcdef"), 0);
    expect_sent(sink, "123456789abc");
    EXPECT_EQ(weft_writer_close(&writer), 0);
    expect_sent(sink, "123456789abcdef");
    free(sink);
}

Test(writer, put_never_sends_and_drain_does)
{
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    weft_writer_set_marks(&writer, 2, 4);
    EXPECT_EQ(weft_writer_put(&writer, "123456789", 9), 0);
    EXPECT_EQ(sink->calls, 0);
    EXPECT_EQ(weft_writer_drain(&writer), 0);
    expect_sent(sink, "1234567");
    EXPECT_EQ(weft_writer_drain(&writer), 0);
    EXPECT_EQ(weft_writer_buffered(&writer), 2);
    weft_writer_destroy(&writer);
    free(sink);
}

Test(writer, without_marks_each_write_goes_out_at_once)
{
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    weft_writer_set_marks(&writer, 99, 0);
    EXPECT_EQ(weft_writer_write(&writer, "one", 3), 0);
    expect_sent(sink, "one");
    EXPECT_EQ(weft_writer_printf(&writer, "%c", '!'), 0);
    expect_sent(sink, "one!");
    weft_writer_destroy(&writer);
    free(sink);
}

Test(writer, large_data_goes_past_the_buffer_in_order)
{
    enum { SIZE = 300000 };
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    char *data = pattern(SIZE);
    EXPECT_EQ(weft_writer_write(&writer, data, 10), 0);
    EXPECT_EQ(weft_writer_write(&writer, data + 10, 200000), 0);
    EXPECT_EQ(sink->calls, 2); /* what was there, then the rest as it is */
    EXPECT_EQ(weft_writer_buffered(&writer), 0);
    struct iovec pieces[] = {
        {data + 200010, 5}, {data + 200015, 0}, {data + 200015, SIZE - 200015}};
    EXPECT_EQ(weft_writer_writev(&writer, pieces, 3), 0);
    EXPECT_EQ(weft_writer_close(&writer), 0);
    EXPECT_EQ(sink->size, SIZE);
    EXPECT(memcmp(sink->data, data, SIZE) == 0);
    free(data);
    free(sink);
}

Test(writer, pieces_are_gathered_in_order)
{
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    struct iovec pieces[] = {{"one", 3}, {"", 0}, {" two", 4}};
    struct iovec absurd[] = {{"x", SIZE_MAX}, {"x", 1}};
    EXPECT_EQ(weft_writer_writev(&writer, pieces, 3), 0);
    EXPECT_EQ(weft_writer_writev(&writer, pieces, 0), 0);
    EXPECT_EQ(weft_writer_writev(&writer, pieces, -1), -EINVAL);
    EXPECT_EQ(weft_writer_writev(&writer, absurd, 2), -ENOMEM);
    EXPECT_EQ(weft_writer_put(&writer, "x", SIZE_MAX), -ENOMEM);
    EXPECT_EQ(weft_writer_close(&writer), 0);
    expect_sent(sink, "one two");
    free(sink);
}

Test(writer, formatted_text_of_any_length)
{
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    EXPECT_EQ(weft_writer_printf(&writer, "%05000d|", 7), 0);
    EXPECT_EQ(weft_writer_printf(&writer, "%0100000d", 8), 0);
    EXPECT_EQ(weft_writer_close(&writer), 0);
    EXPECT_EQ(sink->size, 105001);
    EXPECT_EQ(sink->data[4999], '7');
    EXPECT_EQ(sink->data[5000], '|');
    EXPECT_EQ(sink->data[105000], '8');
    free(sink);
}

/* ---- errors ---------------------------------------------------------------------------------- */

Test(writer, a_cancelled_call_has_taken_its_data_and_each_byte_goes_out_once)
{
    enum { SIZE = 200000 };
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    char *data = pattern(SIZE);
    sink->error = -ECANCELED;
    sink->room = 5;
    EXPECT_EQ(weft_writer_write(&writer, data, 10), 0);
    EXPECT_EQ(weft_writer_flush(&writer), -ECANCELED);
    EXPECT_EQ(weft_writer_buffered(&writer), 5);
    EXPECT_EQ(weft_writer_write(&writer, data + 10, 100000), -ECANCELED);
    EXPECT_EQ(weft_writer_buffered(&writer), 100005);
    sink->room = 70000;
    sink->error = -ETIMEDOUT;
    EXPECT_EQ(weft_writer_drain(&writer), -ETIMEDOUT);
    sink->room = 30005 + 20000; /* what is there, and some of what follows */
    EXPECT_EQ(weft_writer_write(&writer, data + 100010, SIZE - 100010), -ETIMEDOUT);
    sink->room = 0;
    struct iovec pieces[] = {{"one", 3}, {" two", 4}};
    EXPECT_EQ(weft_writer_writev(&writer, pieces, 2), -ETIMEDOUT);
    EXPECT_EQ(weft_writer_error(&writer), 0);
    sink->room = SIZE_MAX;
    EXPECT_EQ(weft_writer_flush(&writer), 0);
    EXPECT_EQ(sink->size, SIZE + 7);
    EXPECT(memcmp(sink->data, data, SIZE) == 0);
    EXPECT(memcmp(sink->data + SIZE, "one two", 7) == 0);
    weft_writer_destroy(&writer);
    free(data);
    free(sink);
}

Test(writer, an_error_sticks_until_it_is_cleared)
{
    struct weft_writer writer;
    struct sink *sink = sink_new(&writer);
    sink->error = -ENOSPC;
    sink->room = 2;
    EXPECT_EQ(weft_writer_write(&writer, "data", 4), 0);
    EXPECT_EQ(weft_writer_flush(&writer), -ENOSPC);
    EXPECT_EQ(weft_writer_error(&writer), -ENOSPC);
    sink->room = SIZE_MAX;
    struct iovec piece = {"x", 1};
    EXPECT_EQ(weft_writer_write(&writer, "x", 1), -ENOSPC);
    EXPECT_EQ(weft_writer_put(&writer, "x", 1), -ENOSPC);
    EXPECT_EQ(weft_writer_printf(&writer, "x"), -ENOSPC);
    EXPECT_EQ(weft_writer_writev(&writer, &piece, 1), -ENOSPC);
    EXPECT_EQ(weft_writer_drain(&writer), -ENOSPC);
    EXPECT_EQ(weft_writer_flush(&writer), -ENOSPC);
    EXPECT_EQ(sink->calls, 1);
    EXPECT_EQ(weft_writer_buffered(&writer), 2);
    weft_writer_clear_error(&writer);
    EXPECT_EQ(weft_writer_flush(&writer), 0);
    expect_sent(sink, "data");
    sink->room = 0;
    EXPECT_EQ(weft_writer_write(&writer, "x", 1), 0);
    EXPECT_EQ(weft_writer_close(&writer), -ENOSPC);
    free(sink);
}

/* ---- over a stream --------------------------------------------------------------------------- */

enum { TOTAL = 1 << 20 };

static int read_slowly(void *arg)
{
    struct weft_stream *stream = arg;
    char *data = malloc(TOTAL);
    size_t total = 0;
    ssize_t n;
    while ((n = weft_read(stream, data + total, 5000)) > 0) {
        total += (size_t)n;
        EXPECT(total <= TOTAL - 5000);
        EXPECT_EQ(weft_yield(), 0);
    }
    EXPECT_EQ(n, 0);
    for (size_t i = 0; i < total; i++)
        EXPECT_EQ(data[i], (char)('a' + i % 26));
    free(data);
    return 0;
}

static int write_stream(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_writer writer;
    struct weft_group group;
    (void)arg;
    stream_pair(streams);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_slowly, streams[0]), 0);
    weft_writer_init(&writer, streams[1]);
    for (int i = 0; i < 30000; i++)
        EXPECT_EQ(weft_writer_write(&writer, "abcdefghijklmnopqrstuvwxyz", 26), 0);
    EXPECT_EQ(weft_writer_close(&writer), 0);
    EXPECT_EQ(weft_stream_shutdown_write(streams[1]), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    free_pair(streams);
    return 0;
}

Test(writer, a_stream_with_a_slow_reader)
{
    on_fibers_counting_fds(1, write_stream, NULL);
    on_fibers_counting_fds(2, write_stream, NULL);
}

struct stuck_writer {
    struct weft_stream *peer;
    struct weft_scope scope;
};

/* On the only worker: it runs when the writer waits, which has filled the socket by then. */
static int cancel_stuck_writer(void *arg)
{
    struct stuck_writer *stuck = arg;
    int there = 0;

    while (there == 0) {
        EXPECT_EQ(weft_yield(), 0);
        EXPECT_EQ(ioctl(weft_stream_fd(stuck->peer), FIONREAD, &there), 0);
    }
    weft_scope_cancel(&stuck->scope);
    return 0;
}

static int write_nobody_reads(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_writer writer;
    struct weft_group group;
    struct stuck_writer stuck;
    char *data = pattern(TOTAL), *got = malloc(TOTAL);
    (void)arg;
    stream_pair(streams);
    weft_writer_init(&writer, streams[1]);
    weft_group_init(&group);
    stuck.peer = streams[0];
    weft_scope_enter(&stuck.scope, WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_group_spawn(&group, "canceller", cancel_stuck_writer, &stuck), 0);
    EXPECT_EQ(weft_writer_write(&writer, data, TOTAL), -ECANCELED);
    EXPECT_EQ(weft_writer_flush(&writer), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&stuck.scope), -ECANCELED);
    EXPECT_EQ(weft_group_join(&group), 0);
    size_t left = weft_writer_buffered(&writer);
    EXPECT(left > 0 && left < TOTAL);
    read_exactly(streams[0], got, TOTAL - left);
    EXPECT(memcmp(got, data, TOTAL - left) == 0);
    weft_stream_free(streams[0]);
    EXPECT_EQ(weft_writer_flush(&writer), -EPIPE);
    EXPECT_EQ(weft_writer_write(&writer, "x", 1), -EPIPE);
    EXPECT_EQ(weft_writer_close(&writer), -EPIPE);
    weft_stream_free(streams[1]);
    free(data);
    free(got);
    return 0;
}

Test(writer, a_peer_that_does_not_read_and_then_hangs_up)
{
    on_fibers_counting_fds(1, write_nobody_reads, NULL);
}

/* ---- to a file ------------------------------------------------------------------------------- */

static int write_file(void *arg)
{
    char name[] = "/tmp/weft-writer-XXXXXX", expected[64];
    struct weft_writer writer;
    struct weft_file *file, *full;
    void *data;
    size_t size, place = 0;
    (void)arg;
    close(mkostemp(name, O_CLOEXEC));
    EXPECT_EQ(weft_file_open(name, O_WRONLY, 0, &file), 0);
    weft_writer_init_file(&writer, file);
    for (int i = 0; i < 10000; i++)
        EXPECT_EQ(weft_writer_printf(&writer, "line %d\n", i), 0);
    EXPECT_EQ(weft_writer_close(&writer), 0);
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT_EQ(weft_file_read_all(name, 1 << 20, &data, &size), 0);
    for (int i = 0; i < 10000; i++) {
        int length = snprintf(expected, sizeof(expected), "line %d\n", i);
        EXPECT(memcmp((char *)data + place, expected, (size_t)length) == 0);
        place += (size_t)length;
    }
    EXPECT_EQ(place, size);
    free(data);
    unlink(name);
    EXPECT_EQ(weft_file_open("/dev/full", O_WRONLY, 0, &full), 0);
    weft_writer_init_file(&writer, full);
    EXPECT_EQ(weft_writer_write(&writer, "x", 1), 0);
    EXPECT_EQ(weft_writer_flush(&writer), -ENOSPC);
    EXPECT_EQ(weft_writer_error(&writer), -ENOSPC);
    EXPECT_EQ(weft_writer_close(&writer), -ENOSPC);
    weft_file_free(full);
    return 0;
}

Test(writer, lines_to_a_file_and_a_full_disk)
{
    on_fibers_counting_fds(1, write_file, NULL);
}
