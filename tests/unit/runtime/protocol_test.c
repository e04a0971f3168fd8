/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>

#include "support/io.h"

/* A connection whose callbacks write down what happens to it, one letter each: m(ade), d(ata),
 * e(of), l(ost), p(ause), r(esume). */
struct peer {
    struct weft_transport *transport;
    struct weft_stream *streams[2]; /* [0] is served, [1] the test's */
    struct weft_group group;
    atomic_int inside, made, lost, resumed;
    char story[64], data[256];
    size_t length, size;
    int made_result, data_result, eof_result, error, result;
    void (*on_made)(struct peer *), (*on_data)(struct peer *), (*on_eof)(struct peer *);
};

static void tell(struct peer *peer, char letter)
{
    EXPECT(peer->length < sizeof(peer->story) - 1);
    peer->story[peer->length++] = letter;
}

/* One at a time; yields, so that another one that ran at the same time would be seen. */
static void enter(struct peer *peer, char letter)
{
    EXPECT_EQ(atomic_fetch_add(&peer->inside, 1), 0);
    tell(peer, letter);
    weft_yield();
}

static void leave(struct peer *peer)
{
    EXPECT_EQ(atomic_fetch_sub(&peer->inside, 1), 1);
}

static int on_made(void *self, struct weft_transport *transport)
{
    struct peer *peer = self;
    enter(peer, 'm');
    peer->transport = weft_transport_ref(transport); /* tests use it from other fibers */
    if (peer->on_made)
        peer->on_made(peer);
    leave(peer);
    atomic_store(&peer->made, 1);
    return peer->made_result;
}

static int on_data(void *self, const void *data, size_t size)
{
    struct peer *peer = self;
    enter(peer, 'd');
    if (peer->size + size <= sizeof(peer->data))
        memcpy(peer->data + peer->size, data, size);
    peer->size += size;
    if (peer->on_data)
        peer->on_data(peer);
    leave(peer);
    return peer->data_result;
}

static int on_eof(void *self)
{
    struct peer *peer = self;
    enter(peer, 'e');
    if (peer->on_eof)
        peer->on_eof(peer);
    leave(peer);
    return peer->eof_result;
}

static void on_lost(void *self, int error)
{
    struct peer *peer = self;
    enter(peer, 'l');
    peer->error = error;
    EXPECT_EQ(weft_transport_write(peer->transport, "x", 1), -EPIPE);
    EXPECT(weft_transport_is_closing(peer->transport));
    leave(peer);
    atomic_store(&peer->lost, 1);
}

/* Pauses may be told inside of another callback, by its own writes: they are nested then. */
static void on_pause(void *self)
{
    tell(self, 'p');
}

static void on_resume(void *self)
{
    struct peer *peer = self;
    tell(peer, 'r');
    atomic_fetch_add(&peer->resumed, 1);
}

static const struct weft_protocol protocol = {
    .connection_made = on_made,
    .data_received = on_data,
    .eof_received = on_eof,
    .connection_lost = on_lost,
    .pause_writing = on_pause,
    .resume_writing = on_resume,
};

static int serve(void *arg)
{
    struct peer *peer = arg;
    peer->result = weft_protocol_run(peer->streams[0], &protocol, peer);
    return 0;
}

static void peer_start(struct peer *peer)
{
    stream_pair(peer->streams);
    weft_group_init(&peer->group);
    EXPECT_EQ(weft_group_spawn(&peer->group, "peer", serve, peer), 0);
    await_arrivals(&peer->made, 1);
}

static void peer_free(struct peer *peer)
{
    weft_transport_unref(peer->transport);
    free_pair(peer->streams);
}

static void peer_end(struct peer *peer, const char *story, int error)
{
    EXPECT_EQ(weft_group_join(&peer->group), 0);
    if (strcmp(peer->story, story) != 0)
        fprintf(stderr, "the story is %s\n", peer->story);
    EXPECT(strcmp(peer->story, story) == 0);
    EXPECT_EQ(peer->error, error);
    EXPECT_EQ(peer->result, error);
    peer_free(peer);
}

static void expect_read(struct peer *peer, const char *text)
{
    char buffer[256];
    read_exactly(peer->streams[1], buffer, strlen(text));
    EXPECT(memcmp(buffer, text, strlen(text)) == 0);
}

static void expect_end(struct peer *peer)
{
    char byte;
    EXPECT_EQ(weft_read(peer->streams[1], &byte, 1), 0);
}

/* ---- the story of a connection --------------------------------------------------------------- */

static void answer(struct peer *peer)
{
    EXPECT_EQ(weft_transport_write(peer->transport, "", 0), 0);
    EXPECT_EQ(weft_transport_write(peer->transport, "got ", 4), 0);
    EXPECT_EQ(weft_transport_write(peer->transport, peer->data, peer->size), 0);
}

static void greet(struct peer *peer)
{
    EXPECT_EQ(weft_transport_write(peer->transport, "hello ", 6), 0);
}

static int talk(void *arg)
{
    struct peer peer = {.on_made = greet, .on_data = answer};
    (void)arg;
    peer_start(&peer);
    EXPECT(weft_transport_stream(peer.transport) == peer.streams[0]);
    EXPECT_EQ(weft_write(peer.streams[1], "it", 2, NULL), 0);
    expect_read(&peer, "hello got it");
    EXPECT_EQ(weft_stream_shutdown_write(peer.streams[1]), 0);
    peer_end(&peer, "mdel", 0);
    return 0;
}

Test(protocol, made_data_eof_lost)
{
    on_fibers_counting_fds(1, talk, NULL);
    on_fibers_counting_fds(2, talk, NULL);
}

static int no_callbacks(void *arg)
{
    static const struct weft_protocol silent = {0};
    struct weft_stream *streams[2];
    (void)arg;
    stream_pair(streams);
    EXPECT_EQ(weft_write(streams[1], "x", 1, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(streams[1]), 0);
    EXPECT_EQ(weft_protocol_run(streams[0], &silent, NULL), 0);
    free_pair(streams);
    return 0;
}

Test(protocol, every_callback_may_be_missing)
{
    on_fibers_counting_fds(1, no_callbacks, NULL);
}

static int go_on_writing(void *arg)
{
    struct peer peer = {.eof_result = 1};
    (void)arg;
    peer_start(&peer);
    EXPECT_EQ(weft_stream_shutdown_write(peer.streams[1]), 0);
    while (peer.length < 2)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(weft_transport_write(peer.transport, "late", 4), 0);
    expect_read(&peer, "late");
    EXPECT(!weft_transport_is_closing(peer.transport));
    EXPECT_EQ(weft_transport_write(peer.transport, "last", 4), 0);
    weft_transport_close(peer.transport);
    weft_transport_close(peer.transport);
    peer_end(&peer, "mel", 0);
    return 0;
}

Test(protocol, after_the_peers_eof_it_may_go_on_writing)
{
    on_fibers_counting_fds(1, go_on_writing, NULL);
}

static int half_close(void *arg)
{
    struct peer peer = {0};
    (void)arg;
    peer_start(&peer);
    EXPECT_EQ(weft_transport_write(peer.transport, "all", 3), 0);
    EXPECT_EQ(weft_transport_write_eof(peer.transport), 0);
    EXPECT_EQ(weft_transport_write_eof(peer.transport), 0);
    EXPECT_EQ(weft_transport_write(peer.transport, "x", 1), -EPIPE);
    expect_read(&peer, "all");
    expect_end(&peer);
    EXPECT_EQ(weft_write(peer.streams[1], "and you", 7, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(peer.streams[1]), 0);
    peer_end(&peer, "mdel", 0);
    EXPECT(memcmp(peer.data, "and you", 7) == 0);
    return 0;
}

Test(protocol, it_may_half_close_and_still_receives)
{
    on_fibers_counting_fds(1, half_close, NULL);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void say_goodbye(struct peer *peer)
{
    EXPECT_EQ(weft_transport_write(peer->transport, "goodbye", 7), 0);
    weft_transport_close(peer->transport);
    EXPECT_EQ(weft_transport_write(peer->transport, "x", 1), -EPIPE);
    EXPECT_EQ(weft_transport_write_eof(peer->transport), -EPIPE);
    EXPECT(weft_transport_is_closing(peer->transport));
}

static int close_inside_and_outside(void *arg)
{
    struct peer inside = {.on_data = say_goodbye}, outside = {0};
    (void)arg;
    peer_start(&inside);
    EXPECT_EQ(weft_write(inside.streams[1], "x", 1, NULL), 0);
    expect_read(&inside, "goodbye");
    peer_end(&inside, "mdl", 0);
    peer_start(&outside);
    weft_transport_pause_reading(outside.transport); /* which does not hold the end up */
    say_goodbye(&outside);
    expect_read(&outside, "goodbye");
    peer_end(&outside, "ml", 0);
    return 0;
}

Test(protocol, close_sends_what_was_written_first)
{
    on_fibers_counting_fds(1, close_inside_and_outside, NULL);
    on_fibers_counting_fds(2, close_inside_and_outside, NULL);
}

enum { LARGE = 4 << 20 };

static void write_much(struct peer *peer)
{
    char *data = calloc(1, LARGE);
    EXPECT_EQ(weft_transport_write(peer->transport, data, LARGE), 0);
    /* another worker may be writing already: more than the socket takes is left in any case */
    EXPECT(weft_transport_buffered(peer->transport) <= LARGE);
    EXPECT(weft_transport_buffered(peer->transport) > LARGE / 2);
    free(data);
}

static void write_much_and_abort(struct peer *peer)
{
    write_much(peer);
    weft_transport_abort(peer->transport);
}

static int abort_it(void *arg)
{
    struct peer inside = {.on_made = write_much_and_abort}, outside = {.on_made = write_much};
    (void)arg;
    peer_start(&inside);
    peer_end(&inside, "mpl", -ECONNABORTED);
    peer_start(&outside);
    while (weft_transport_buffered(outside.transport) == LARGE) /* the writer is at it */
        EXPECT_EQ(weft_yield(), 0);
    weft_transport_close(outside.transport); /* nobody reads: this alone would last */
    weft_transport_abort(outside.transport);
    weft_transport_abort(outside.transport);
    peer_end(&outside, "mpl", -ECONNABORTED);
    return 0;
}

Test(protocol, abort_drops_what_was_written)
{
    on_fibers_counting_fds(1, abort_it, NULL);
    on_fibers_counting_fds(2, abort_it, NULL);
}

static int callbacks_fail(void *arg)
{
    struct peer made = {.made_result = -EPROTO}, data = {.data_result = -EBADMSG},
                eof = {.eof_result = -ENODATA};
    (void)arg;
    peer_start(&made);
    peer_end(&made, "ml", -EPROTO);
    peer_start(&data);
    EXPECT_EQ(weft_write(data.streams[1], "x", 1, NULL), 0);
    peer_end(&data, "mdl", -EBADMSG);
    peer_start(&eof);
    EXPECT_EQ(weft_stream_shutdown_write(eof.streams[1]), 0);
    peer_end(&eof, "mel", -ENODATA);
    return 0;
}

Test(protocol, a_callback_that_fails_ends_it)
{
    on_fibers_counting_fds(1, callbacks_fail, NULL);
}

static int peer_goes_away(void *arg)
{
    struct peer reading = {0}, writing = {.on_made = write_much, .eof_result = 1};
    (void)arg;
    peer_start(&reading);
    /* Unread data makes a Unix socket's close a reset. */
    EXPECT_EQ(weft_transport_write(reading.transport, "unread", 6), 0);
    while (weft_transport_buffered(reading.transport) > 0)
        EXPECT_EQ(weft_yield(), 0);
    weft_stream_free(reading.streams[1]);
    reading.streams[1] = NULL;
    peer_end(&reading, "ml", -ECONNRESET);
    peer_start(&writing);
    weft_stream_free(writing.streams[1]);
    writing.streams[1] = NULL;
    EXPECT_EQ(weft_group_join(&writing.group), 0);
    EXPECT(writing.error == -EPIPE || writing.error == -ECONNRESET);
    EXPECT_EQ(writing.result, writing.error);
    peer_free(&writing);
    return 0;
}

Test(protocol, a_peer_that_resets_is_its_error)
{
    on_fibers_counting_fds(1, peer_goes_away, NULL);
    on_fibers_counting_fds(2, peer_goes_away, NULL);
}

static int cancel_it(void *arg)
{
    struct peer peer = {.on_made = write_much};
    struct weft_scope scope;
    struct peer late = {.made = 0};
    (void)arg;
    peer_start(&peer);
    weft_group_cancel(&peer.group);
    EXPECT_EQ(weft_group_join(&peer.group), -ECANCELED);
    EXPECT_EQ(peer.error, -ECANCELED);
    EXPECT_EQ(peer.result, -ECANCELED);
    EXPECT(strcmp(peer.story, "mpl") == 0);
    peer_free(&peer);
    stream_pair(late.streams);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(weft_protocol_run(late.streams[0], &protocol, &late), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT(strcmp(late.story, "ml") == 0);
    EXPECT_EQ(late.error, -ETIMEDOUT);
    peer_free(&late);
    return 0;
}

Test(protocol, its_scope_ends_it)
{
    on_fibers_counting_fds(1, cancel_it, NULL);
    on_fibers_counting_fds(2, cancel_it, NULL);
}

/* ---- flow ------------------------------------------------------------------------------------ */

static int pause_and_resume_writing(void *arg)
{
    struct peer peer = {0};
    char *data = calloc(1, LARGE), *got = malloc(LARGE);
    (void)arg;
    peer_start(&peer);
    weft_transport_set_write_limits(peer.transport, 1000, 5000);
    for (int round = 1; round <= 3; round++) {
        EXPECT_EQ(weft_transport_write(peer.transport, data, LARGE), 0);
        while (peer.length < (size_t)round * 2) /* "m", then "pr" each round */
            EXPECT_EQ(weft_yield(), 0);
        EXPECT_EQ(peer.story[peer.length - 1], 'p');
        EXPECT_EQ(atomic_load(&peer.resumed), round - 1);
        read_exactly(peer.streams[1], got, LARGE);
        await_arrivals(&peer.resumed, round);
        EXPECT(weft_transport_buffered(peer.transport) <= 1000);
    }
    weft_transport_close(peer.transport);
    peer_end(&peer, "mprprprl", 0);
    free(data);
    free(got);
    return 0;
}

Test(protocol, marks_pause_and_resume_the_writing)
{
    on_fibers_counting_fds(1, pause_and_resume_writing, NULL);
}

static void pause_reading(struct peer *peer)
{
    weft_transport_pause_reading(peer->transport);
}

static int pause_and_resume_reading(void *arg)
{
    struct peer peer = {.on_data = pause_reading};
    (void)arg;
    peer_start(&peer);
    EXPECT_EQ(weft_write(peer.streams[1], "one", 3, NULL), 0);
    while (peer.length < 2)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(weft_write(peer.streams[1], "two", 3, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(peer.streams[1]), 0);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(peer.length, 2);
    weft_transport_resume_reading(peer.transport);
    while (peer.length < 3)
        EXPECT_EQ(weft_yield(), 0);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(peer.length, 3);
    weft_transport_resume_reading(peer.transport);
    peer_end(&peer, "mddel", 0);
    EXPECT(memcmp(peer.data, "onetwo", 6) == 0);
    return 0;
}

Test(protocol, paused_reading_holds_data_and_eof_back)
{
    on_fibers_counting_fds(1, pause_and_resume_reading, NULL);
}

static void *write_as_thread(void *arg)
{
    struct peer *peer = arg;
    for (int i = 0; i < 1000; i++)
        EXPECT_EQ(weft_transport_write(peer->transport, "0123456789", 10), 0);
    weft_transport_close(peer->transport);
    weft_transport_unref(peer->transport);
    return NULL;
}

static int write_from_outside(void *arg)
{
    struct peer peer = {0};
    pthread_t thread;
    char buffer[10];
    (void)arg;
    peer_start(&peer);
    struct weft_transport *kept = peer.transport;
    weft_transport_ref(peer.transport); /* the thread's */
    EXPECT_EQ(pthread_create(&thread, NULL, write_as_thread, &peer), 0);
    for (int i = 0; i < 1000; i++) {
        read_exactly(peer.streams[1], buffer, 10);
        EXPECT(memcmp(buffer, "0123456789", 10) == 0);
    }
    EXPECT_EQ(weft_group_join(&peer.group), 0);
    EXPECT_EQ(peer.error, 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(weft_transport_write(kept, "x", 1), -EPIPE);
    EXPECT_EQ(weft_transport_write_eof(kept), -EPIPE);
    weft_transport_close(kept);
    weft_transport_abort(kept);
    weft_transport_pause_reading(kept);
    weft_transport_resume_reading(kept);
    EXPECT(weft_transport_is_closing(kept));
    EXPECT_EQ(weft_transport_buffered(kept), 0);
    EXPECT(weft_transport_stream(kept) == NULL);
    peer_free(&peer);
    return 0;
}

Test(protocol, a_plain_thread_may_write_and_a_reference_outlives_the_connection)
{
    on_fibers_counting_fds(1, write_from_outside, NULL);
    on_fibers_counting_fds(2, write_from_outside, NULL);
}

static int without_fibers(void *arg)
{
    struct peer peer = {0};
    (void)arg;
    stream_pair(peer.streams);
    EXPECT_EQ(weft_protocol_run(peer.streams[0], &protocol, &peer), -EAGAIN);
    EXPECT_EQ(peer.length, 0);
    free_pair(peer.streams);
    return 0;
}

Test(protocol, without_a_fiber_no_callback_is_called)
{
    struct weft_options options;
    weft_options_init(&options);
    one_at_a_time(&options);
    options.handle_signals = false;
    options.max_fibers = 1;
    EXPECT_EQ(weft_run(&options, without_fibers, NULL), 0);
}
