/* SPDX-License-Identifier: MIT */
/*
 * What goes wrong on a network, on purpose: peers that reset, half-close, never answer or send a
 * byte at a time, and no descriptors left.  Each is a documented -errno; after each the server
 * serves on; and however often it happens, nothing is left of it: descriptors, fibers, stacks and
 * memory are counted before and after.
 */
#include "support/test.h"

#include <sys/resource.h>

#include "support/census.h"

/* ---- a server that answers lines ------------------------------------------------------------- */

struct service {
    struct weft_server server;
    struct weft_listener *listener;
    struct weft_group group;
    uint16_t port;
    uint64_t patience_ns; /* how long a client may take for a line; 0: as long as it likes */
    atomic_int answered, ended;
    atomic_int last_error; /* of the handler that ended last */
};

static int answer_lines(struct weft_reader *reader, struct weft_writer *writer,
                        struct service *service)
{
    const char *line;
    size_t size;
    int r;
    while ((r = weft_reader_next_line(reader, &line, &size)) > 0) {
        weft_writer_printf(writer, "<%s>\n", line);
        r = weft_writer_flush(writer);
        if (r < 0)
            return r;
        atomic_fetch_add(&service->answered, 1);
    }
    return r;
}

static int handle(struct weft_stream *stream, void *arg)
{
    struct service *service = arg;
    struct weft_reader reader;
    struct weft_writer writer;
    struct weft_scope scope;
    weft_reader_init(&reader, stream);
    weft_reader_set_limit(&reader, 100);
    weft_writer_init(&writer, stream);
    weft_scope_enter(&scope, service->patience_ns ? weft_deadline_after(service->patience_ns)
                                                  : WEFT_NO_DEADLINE);
    int r = answer_lines(&reader, &writer, service);
    weft_scope_leave(&scope);
    weft_reader_destroy(&reader);
    weft_writer_destroy(&writer);
    atomic_store(&service->last_error, r);
    atomic_fetch_add(&service->ended, 1);
    return r;
}

static int run_service(void *arg)
{
    struct service *service = arg;
    EXPECT_EQ(weft_server_run(&service->server), 0);
    return 0;
}

static void service_start(struct service *service, uint64_t patience_ns)
{
    *service = (struct service){.patience_ns = patience_ns};
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &service->listener), 0);
    service->port = weft_listener_port(service->listener);
    weft_server_init(&service->server, service->listener, handle, service, NULL);
    weft_group_init(&service->group);
    EXPECT_EQ(weft_group_spawn(&service->group, "service", run_service, service), 0);
}

static struct weft_stream *dial(const struct service *service)
{
    struct weft_stream *stream;
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", service->port, soon(), &stream), 0);
    return stream;
}

static void expect_text(struct weft_stream *stream, const char *text)
{
    char buffer[256];
    read_exactly(stream, buffer, strlen(text));
    EXPECT(memcmp(buffer, text, strlen(text)) == 0);
}

/* A good client is served, whatever happened before. */
static void service_end(struct service *service)
{
    struct weft_stream *stream = dial(service);
    EXPECT_EQ(weft_write(stream, "still there?\n", 13, NULL), 0);
    expect_text(stream, "<still there?>\n");
    weft_stream_free(stream);
    weft_server_stop(&service->server);
    EXPECT_EQ(weft_group_join(&service->group), 0);
    weft_listener_free(service->listener);
}

/* ---- peers that reset ------------------------------------------------------------------------ */

/* Close with a reset instead of an end. */
static void reset(struct weft_stream *stream)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    EXPECT_EQ(setsockopt(weft_stream_fd(stream), SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
    weft_stream_free(stream);
}

static void clients_reset(void)
{
    struct service service;
    service_start(&service, 0);
    struct weft_stream *stream = dial(&service);
    EXPECT_EQ(weft_write(stream, "half a li", 9, NULL), 0);
    reset(stream);
    await_arrivals(&service.ended, 1);
    EXPECT_EQ(atomic_load(&service.last_error), -ECONNRESET);
    reset(dial(&service)); /* maybe before it was accepted */
    await_arrivals(&service.ended, 1);
    service_end(&service);
}

Test(net_errors, a_client_that_resets)
{
    repeatedly(clients_reset);
}

static void server_resets(void)
{
    struct weft_listener *listener;
    struct weft_stream *streams[2];
    struct weft_reader reader;
    struct weft_writer writer;
    const char *line;
    char buffer[8];
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &streams[0]), 0);
    EXPECT_EQ(weft_accept(listener, &streams[1]), 0);
    weft_reader_init(&reader, streams[0]);
    weft_writer_init(&writer, streams[0]);
    EXPECT_EQ(weft_write(streams[1], "part", 4, NULL), 0);
    EXPECT_EQ(weft_reader_peek(&reader, 4, &line), 4);
    reset(streams[1]);
    EXPECT_EQ(weft_reader_readline(&reader, &line), -ECONNRESET);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 4), 0); /* what came before is there */
    EXPECT_EQ(weft_writer_write(&writer, "x", 1), 0);
    EXPECT_EQ(weft_writer_flush(&writer), -EPIPE);
    EXPECT_EQ(weft_writer_write(&writer, "x", 1), -EPIPE);
    EXPECT_EQ(weft_stream_send_file(streams[0], 0, 0, 1, NULL) < 0, 1);
    weft_reader_destroy(&reader);
    weft_writer_destroy(&writer);
    weft_stream_free(streams[0]);
    weft_listener_free(listener);
}

Test(net_errors, a_server_that_resets)
{
    repeatedly(server_resets);
}

/* ---- half-closes ----------------------------------------------------------------------------- */

static void client_half_closes(void)
{
    struct service service;
    char byte;
    service_start(&service, 0);
    struct weft_stream *stream = dial(&service);
    EXPECT_EQ(weft_write(stream, "one\ntwo\nlast", 12, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(stream), 0);
    expect_text(stream, "<one>\n<two>\n<last>\n");
    EXPECT_EQ(weft_read(stream, &byte, 1), 0);
    EXPECT_EQ(weft_write(stream, "x", 1, NULL), -EPIPE);
    weft_stream_free(stream);
    await_arrivals(&service.ended, 1);
    EXPECT_EQ(atomic_load(&service.last_error), 0);
    service_end(&service);
}

Test(net_errors, a_client_that_half_closes_gets_all_its_answers)
{
    repeatedly(client_half_closes);
}

/* ---- no answer ------------------------------------------------------------------------------- */

static void nobody_answers(void)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct weft_reader reader;
    struct weft_scope scope;
    const char *line;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    /* The kernel accepts into the queue, and there it stays. */
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &stream), 0);
    weft_reader_init(&reader, stream);
    EXPECT_EQ(weft_write(stream, "hello?\n", 7, NULL), 0);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(weft_reader_readline(&reader, &line), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_reader_destroy(&reader);
    weft_stream_free(stream);
    weft_listener_free(listener);
}

Test(net_errors, a_server_that_never_answers_is_left_at_the_deadline)
{
    repeatedly(nobody_answers);
}

/* A client that asks and asks, and takes no answer, until it is left too.  Where its own deadline
 * cuts a line it goes on with the rest, or the server would be right to call a line too long. */
static void client_never_reads(void)
{
    struct service service;
    struct weft_scope scope;
    char line[101];
    size_t at = 0, written;
    service_start(&service, 5 * WEFT_MILLISECOND);
    memset(line, 'x', sizeof(line));
    line[99] = '\n';
    struct weft_stream *stream = dial(&service);
    EXPECT_EQ(weft_stream_set_buffers(stream, 4096, 4096), 0);
    while (atomic_load(&service.ended) == 0) {
        weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
        int r = weft_write(stream, line + at, 100 - at, &written);
        weft_scope_leave(&scope);
        EXPECT(r == 0 || r == -ETIMEDOUT || r == -EPIPE || r == -ECONNRESET);
        at = (at + written) % 100;
    }
    EXPECT_EQ(atomic_load(&service.last_error), -ETIMEDOUT);
    weft_stream_free(stream);
    service.patience_ns = 0;
    service_end(&service);
}

Test(net_errors, a_client_that_never_reads_is_left_at_the_deadline)
{
    repeatedly(client_never_reads);
}

/* ---- a byte at a time ------------------------------------------------------------------------ */

static void bytes_trickle(void)
{
    static const char text[] = "a line that takes its time\nand another\n";
    struct service service;
    service_start(&service, 0);
    struct weft_stream *stream = dial(&service);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        EXPECT_EQ(weft_write(stream, &text[i], 1, NULL), 0);
        for (int turn = 0; turn < 3; turn++)
            EXPECT_EQ(weft_yield(), 0);
        if (i == 10) { /* meanwhile others are served */
            struct weft_stream *other = dial(&service);
            EXPECT_EQ(weft_write(other, "quick\n", 6, NULL), 0);
            expect_text(other, "<quick>\n");
            weft_stream_free(other);
        }
    }
    expect_text(stream, "<a line that takes its time>\n<and another>\n");
    weft_stream_free(stream);
    service_end(&service);
}

Test(net_errors, a_client_that_sends_a_byte_at_a_time_is_served_and_holds_nobody_up)
{
    repeatedly(bytes_trickle);
}

static void trickle_forever(void)
{
    struct service service;
    service_start(&service, 2 * WEFT_MILLISECOND);
    struct weft_stream *stream = dial(&service);
    while (atomic_load(&service.ended) == 0) {
        int r = weft_write(stream, "x", 1, NULL);
        EXPECT(r == 0 || r == -EPIPE || r == -ECONNRESET);
        EXPECT_EQ(weft_yield(), 0);
    }
    int error = atomic_load(&service.last_error); /* its time is over, or its line too long */
    EXPECT(error == -ETIMEDOUT || error == -EMSGSIZE);
    weft_stream_free(stream);
    service.patience_ns = 0;
    service_end(&service);
}

Test(net_errors, a_client_that_never_ends_its_line_is_left)
{
    repeatedly(trickle_forever);
}

/* A peer that thinks before each byte, and before the MIDDLE-th until its reader has given up. */
static const char slow_text[] = "slowly\n";
enum { SLOW_SIZE = sizeof(slow_text) - 1, MIDDLE = 3 };

struct slow_peer {
    struct weft_stream *stream;
    struct weft_event go_on;
};

static int send_slowly(void *arg)
{
    struct slow_peer *peer = arg;
    for (size_t i = 0; i < SLOW_SIZE; i++) {
        if (i == MIDDLE)
            EXPECT_EQ(weft_event_wait(&peer->go_on, soon()), 0);
        EXPECT_EQ(weft_sleep(5 * WEFT_MILLISECOND), 0);
        EXPECT_EQ(weft_write(peer->stream, &slow_text[i], 1, NULL), 0);
    }
    return 0;
}

static ssize_t take_line(struct weft_reader *reader, char *buffer)
{
    const char *line;
    ssize_t r = weft_reader_readline(reader, &line);
    if (r > 0)
        memcpy(buffer, line, (size_t)r);
    return r;
}

static ssize_t take_exactly(struct weft_reader *reader, char *buffer)
{
    int r = weft_reader_readexactly(reader, buffer, SLOW_SIZE);
    return r < 0 ? r : SLOW_SIZE;
}

/* Each try may last for two or three bytes, which is less than the whole takes. */
static ssize_t try_to_take(ssize_t (*take)(struct weft_reader *, char *),
                           struct weft_reader *reader, char *buffer)
{
    struct weft_scope scope;
    weft_scope_enter(&scope, weft_deadline_after(12 * WEFT_MILLISECOND));
    ssize_t r = take(reader, buffer);
    weft_scope_leave(&scope);
    return r;
}

/* However often it times out with a part in hand, the part is still there. */
static void take_in_pieces(struct weft_reader *reader, struct slow_peer *peer,
                           ssize_t (*take)(struct weft_reader *, char *))
{
    char buffer[SLOW_SIZE + 1] = "";
    size_t had = 0;
    ssize_t r;
    while ((r = try_to_take(take, reader, buffer)) < 0) {
        EXPECT_EQ(r, -ETIMEDOUT);
        EXPECT(weft_reader_buffered(reader) >= had);
        had = weft_reader_buffered(reader);
        if (had == MIDDLE)
            weft_event_set(&peer->go_on);
    }
    EXPECT(had >= MIDDLE);
    EXPECT_EQ(r, SLOW_SIZE);
    EXPECT(strcmp(buffer, slow_text) == 0);
    EXPECT_EQ(weft_reader_buffered(reader), 0);
}

static void deadlines_amid_slow_bytes(void)
{
    struct weft_listener *listener;
    struct weft_stream *ours;
    struct weft_reader reader;
    struct weft_group group;
    struct slow_peer peer;
    ssize_t (*takes[])(struct weft_reader *, char *) = {take_line, take_exactly};
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    uint16_t port = weft_listener_port(listener);
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &peer.stream), 0);
    EXPECT_EQ(weft_accept(listener, &ours), 0);
    weft_reader_init(&reader, ours);
    for (int i = 0; i < 2; i++) {
        weft_event_init(&peer.go_on);
        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "slow peer", send_slowly, &peer), 0);
        take_in_pieces(&reader, &peer, takes[i]);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    weft_reader_destroy(&reader);
    weft_stream_free(ours);
    weft_stream_free(peer.stream);
    weft_listener_free(listener);
}

Test(net_errors, bytes_with_long_pauses_outlive_the_deadlines_of_their_reader)
{
    repeatedly(deadlines_amid_slow_bytes);
}

/* ---- no descriptors -------------------------------------------------------------------------- */

enum { MOST_FDS = 20000 };

/* Take every descriptor that the process may have, 20,000 or so. */
static int exhaust(int *fds)
{
    int count = 0;
    while (count < MOST_FDS && (fds[count] = dup(0)) >= 0)
        count++;
    EXPECT(count > 0 && count < MOST_FDS);
    return count;
}

static void expect_no_descriptors(const struct weft_address *address)
{
    struct weft_stream *streams[2] = {NULL, NULL};
    struct weft_listener *listener = NULL;
    struct weft_datagram *datagram = NULL;
    EXPECT_EQ(weft_stream_connect(address, NULL, soon(), &streams[0]), -EMFILE);
    EXPECT_EQ(weft_stream_pair(streams), -EMFILE);
    EXPECT_EQ(weft_stream_pipe(streams), -EMFILE);
    EXPECT_EQ(weft_listen(address, NULL, &listener), -EMFILE);
    EXPECT_EQ(weft_datagram_bind(address, NULL, &datagram), -EMFILE);
    EXPECT_EQ(weft_datagram_connect(address, NULL, NULL, &datagram), -EMFILE);
    EXPECT_EQ(weft_terminal_stream(0, &streams[0]), -EMFILE);
    EXPECT(!streams[0] && !streams[1] && !listener && !datagram);
}

static uint64_t shortage_of(struct service *service)
{
    struct weft_server_stats stats;
    weft_server_stats(&service->server, &stats);
    return stats.shortage;
}

/* A client's socket, to be connected when no number is left.  (Were one freed for it then, the
 * server might take that for an earlier client.) */
static int socket_in_advance(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(fd >= 0);
    return fd;
}

/* The server's backlog has room, so this does not block. */
static struct weft_stream *dial_with(int fd, const struct weft_address *address)
{
    struct weft_stream *stream;
    socklen_t size;
    const struct sockaddr *raw = weft_address_raw(address, &size);
    EXPECT_EQ(connect(fd, raw, size), 0);
    EXPECT_EQ(weft_stream_new(fd, &stream), 0);
    return stream;
}

/* Of these clients all connect, the server accepts none, and all are served in the end. */
enum { WAITING = 5 };

static void descriptors_run_out(void)
{
    struct weft_stream *streams[WAITING], *early;
    struct weft_address address;
    struct service service;
    int *fds = malloc(MOST_FDS * sizeof(*fds)), reserved[WAITING];
    service_start(&service, 0);
    EXPECT_EQ(weft_listener_address(service.listener, &address), 0);
    early = dial(&service);
    EXPECT_EQ(weft_write(early, "early\n", 6, NULL), 0);
    expect_text(early, "<early>\n");
    for (int i = 0; i < WAITING; i++)
        reserved[i] = socket_in_advance();
    int count = exhaust(fds);
    expect_no_descriptors(&address);
    for (int i = 0; i < WAITING; i++)
        streams[i] = dial_with(reserved[i], &address);
    uint64_t shortage = shortage_of(&service);
    while (shortage_of(&service) < shortage + 2)
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    EXPECT(shortage_of(&service) < shortage + 200);   /* it pauses between its attempts */
    EXPECT_EQ(weft_write(early, "on\n", 3, NULL), 0); /* who is there is served */
    expect_text(early, "<on>\n");
    while (count > 0)
        close(fds[--count]);
    for (int i = 0; i < WAITING; i++) {
        EXPECT_EQ(weft_write(streams[i], "late\n", 5, NULL), 0);
        expect_text(streams[i], "<late>\n");
        weft_stream_free(streams[i]);
    }
    weft_stream_free(early);
    free(fds);
    service_end(&service);
}

static void limit_descriptors(void)
{
    struct rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < MOST_FDS ? limit.rlim_max : MOST_FDS;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int run_out_twice(void *arg)
{
    int before = open_fds();
    (void)arg;
    for (int i = 0; i < 2; i++) {
        descriptors_run_out();
        EXPECT_EQ(open_fds(), before);
    }
    return 0;
}

Test(net_errors, without_descriptors_everything_says_so_and_goes_on_afterwards)
{
    limit_descriptors();
    on_fibers_counting_fds(1, run_out_twice, NULL);
    on_fibers_counting_fds(2, run_out_twice, NULL);
}
