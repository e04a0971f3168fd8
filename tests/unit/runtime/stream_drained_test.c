/* SPDX-License-Identifier: MIT */
/* stream_drained_test: io/stream/stream.c, I4: what a read that was not full leads to.  Each read
 * has a deadline, so that a lost edge is a failure and not a test that hangs. */
#include "support/test.h"

#include <sys/socket.h>
#include <weft/address.h>
#include <weft/group.h>
#include <weft/listener.h>

#include "support/io.h"

/* Two ends of a TCP connection: [0] was accepted. */
static void tcp_pair(struct weft_stream *ends[2])
{
    struct weft_listener *listener;
    struct weft_address address;

    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    EXPECT_EQ(weft_listener_address(listener, &address), 0);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", weft_address_port(&address), soon(), &ends[1]),
              0);
    EXPECT_EQ(weft_accept(listener, &ends[0]), 0);
    weft_listener_free(listener);
}

static void send_text(struct weft_stream *stream, const char *text)
{
    EXPECT_EQ(weft_write(stream, text, strlen(text), NULL), 0);
}

/* The next read that has room for more gives exactly this. */
static void expect_read(struct weft_stream *stream, const char *text)
{
    struct weft_scope scope;
    char buffer[64] = {0};

    weft_scope_enter(&scope, soon());
    EXPECT_EQ(weft_read(stream, buffer, sizeof(buffer)), (long)strlen(text));
    EXPECT_EQ(weft_scope_leave(&scope), 0);
    EXPECT_EQ(strcmp(buffer, text), 0);
}

static int read_on(struct weft_stream *ends[2])
{
    for (int from = 0; from < 2; from++) {
        for (int i = 0; i < 100; i++) {
            send_text(ends[from], "one");
            expect_read(ends[!from], "one"); /* not full: the next one waits at once */
        }
        send_text(ends[from], "two");
    }
    expect_read(ends[0], "two");
    expect_read(ends[1], "two");
    return 0;
}

/* A fiber that expects one text after the other, up to NULL. */
struct reader {
    struct weft_stream *stream;
    const char *const *texts;
};

static int read_texts(void *arg)
{
    struct reader *reader = arg;

    for (const char *const *text = reader->texts; *text; text++)
        expect_read(reader->stream, *text);
    return 0;
}

/* With the reader waiting, send all of it before the event is fetched: it tells of all at once. */
static void while_it_waits(struct weft_stream *ends[2], const char *const *texts,
                           void (*send_all)(struct weft_stream *))
{
    struct reader reader = {ends[1], texts};
    struct weft_group group;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_texts, &reader), 0);
    send_all(ends[0]);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void send_and_end(struct weft_stream *stream)
{
    send_text(stream, "last");
    EXPECT_EQ(weft_stream_shutdown_write(stream), 0);
}

static int end_behind_data(struct weft_stream *ends[2])
{
    static const char *const texts[] = {"last", "", "", NULL};

    while_it_waits(ends, texts, send_and_end);
    return 0;
}

static int end_after_a_wait(struct weft_stream *ends[2])
{
    send_text(ends[0], "last");
    expect_read(ends[1], "last");
    EXPECT_EQ(weft_stream_shutdown_write(ends[0]), 0);
    expect_read(ends[1], "");
    return 0;
}

/* A read stops at urgent data, though there is more behind it. */
static void send_with_urgent(struct weft_stream *stream)
{
    send_text(stream, "before");
    EXPECT_EQ(send(weft_stream_fd(stream), "!", 1, MSG_OOB), 1);
    send_text(stream, "behind");
}

static int urgent_data(struct weft_stream *ends[2])
{
    static const char *const texts[] = {"before", "behind", NULL};

    while_it_waits(ends, texts, send_with_urgent);
    return 0;
}

struct play {
    int (*scene)(struct weft_stream *ends[2]);
};

static int play(void *arg)
{
    struct weft_stream *ends[2];

    tcp_pair(ends);
    ((struct play *)arg)->scene(ends);
    weft_stream_free(ends[0]);
    weft_stream_free(ends[1]);
    return 0;
}

static void play_scene(int (*scene)(struct weft_stream *ends[2]))
{
    struct play of = {scene};

    on_fibers_counting_fds(1, play, &of);
    on_fibers_counting_fds(2, play, &of);
}

Test(stream_drained, what_comes_after_a_read_that_was_not_full_is_read)
{
    play_scene(read_on);
}

Test(stream_drained, an_end_behind_data_is_seen)
{
    play_scene(end_behind_data);
}

Test(stream_drained, an_end_that_comes_later_is_seen)
{
    play_scene(end_after_a_wait);
}

Test(stream_drained, what_is_behind_urgent_data_is_read)
{
    play_scene(urgent_data);
}

/* Whoever waits without reading takes the event, and the read must not wait for another. */
static int wait_before_reading(struct weft_stream *ends[2])
{
    for (int i = 0; i < 100; i++) {
        send_text(ends[0], "one");
        EXPECT_EQ(weft_stream_wait_readable(ends[1], soon()), 0);
        expect_read(ends[1], "one");
    }
    return 0;
}

Test(stream_drained, a_wait_between_two_reads_does_not_take_the_edge)
{
    play_scene(wait_before_reading);
}
