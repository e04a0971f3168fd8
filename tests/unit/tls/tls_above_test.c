/* SPDX-License-Identifier: MIT */
/* What is built on streams works on an encrypted one: gathered writes, files, readers and writers,
 * protocols; and descriptors cannot be passed over it. */
#include "support/test.h"

#include "tls_support.h"
#include "weft/weft.h"

enum { SIZE = 300000 };

static char byte_at(size_t place)
{
    return (char)(place * 31 + (place >> 9));
}

static void expect_bytes(struct weft_stream *stream)
{
    char *got = malloc(SIZE);
    read_exactly(stream, got, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        EXPECT_EQ(got[i], byte_at(i));
    free(got);
}

struct sender {
    struct weft_stream *stream;
    int (*send)(struct sender *);
    char *data;
    int fd, result;
    size_t sent;
};

static int send_gathered(struct sender *sender)
{
    struct iovec pieces[3] = {{sender->data, 10}, {NULL, 0}, {sender->data + 10, SIZE - 10}};
    return weft_writev(sender->stream, pieces, 3, &sender->sent);
}

static int send_file(struct sender *sender)
{
    return weft_stream_send_file(sender->stream, sender->fd, 0, WEFT_TO_END, &sender->sent);
}

static int send_buffered(struct sender *sender)
{
    struct weft_writer writer;
    weft_writer_init(&writer, sender->stream);
    for (; sender->sent < SIZE; sender->sent += 1000)
        EXPECT_EQ(weft_writer_write(&writer, sender->data + sender->sent, 1000), 0);
    return weft_writer_close(&writer);
}

static int run_sender(void *arg)
{
    struct sender *sender = arg;
    sender->result = sender->send(sender);
    return 0;
}

static void send_and_expect(const struct ends *ends, struct sender *sender,
                            int (*send)(struct sender *))
{
    struct weft_group group;
    sender->stream = ends->client;
    sender->send = send;
    sender->sent = 0;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", run_sender, sender), 0);
    expect_bytes(ends->server);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(sender->result, 0);
    EXPECT_EQ(sender->sent, SIZE);
}

static void send_everything(const struct ends *ends)
{
    char name[] = "/tmp/weft-tls-XXXXXX";
    struct sender sender = {.data = malloc(SIZE), .fd = mkostemp(name, O_CLOEXEC)};
    unlink(name);
    for (size_t i = 0; i < SIZE; i++)
        sender.data[i] = byte_at(i);
    EXPECT_EQ(write(sender.fd, sender.data, SIZE), SIZE);
    send_and_expect(ends, &sender, send_gathered);
    send_and_expect(ends, &sender, send_file);
    send_and_expect(ends, &sender, send_buffered);
    close(sender.fd);
    free(sender.data);
}

static void pass_nothing(const struct ends *ends)
{
    struct weft_passed passed;
    char byte;
    int fd = 0;
    EXPECT_EQ(weft_stream_send_fds(ends->client, "x", 1, &fd, 1, NULL), -EOPNOTSUPP);
    EXPECT_EQ(weft_stream_recv_fds(ends->server, &byte, 1, &passed), -EOPNOTSUPP);
}

/* ---- a protocol ------------------------------------------------------------------------------ */

struct echo {
    struct weft_stream *stream;
    struct weft_transport *transport;
    int result;
};

static int echo_made(void *self, struct weft_transport *transport)
{
    ((struct echo *)self)->transport = transport;
    return 0;
}

static int echo_data(void *self, const void *data, size_t size)
{
    return weft_transport_write(((struct echo *)self)->transport, data, size);
}

static int run_echo(void *arg)
{
    static const struct weft_protocol protocol = {.connection_made = echo_made,
                                                  .data_received = echo_data};
    struct echo *echo = arg;
    echo->result = weft_protocol_run(echo->stream, &protocol, echo);
    return 0;
}

static void echo_lines(const struct ends *ends)
{
    struct echo echo = {.stream = ends->server};
    struct weft_reader reader;
    struct weft_group group;
    const char *line;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "echo", run_echo, &echo), 0);
    weft_reader_init(&reader, ends->client);
    EXPECT_EQ(weft_write(ends->client, "one\ntwo\n", 8, NULL), 0);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), 1);
    EXPECT(strcmp(line, "one") == 0);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), 1);
    EXPECT(strcmp(line, "two") == 0);
    EXPECT_EQ(weft_stream_shutdown_write(ends->client), 0);
    weft_reader_destroy(&reader);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(echo.result, 0);
}

static int use_everything(void *arg)
{
    struct world world;
    struct ends ends;
    (void)arg;
    world_init(&world);
    world_open(&world);
    ends_open_well(&ends, &world);
    send_everything(&ends);
    pass_nothing(&ends);
    echo_lines(&ends);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_above, what_is_built_on_streams_works_encrypted)
{
    on_fibers_counting_fds(1, use_everything, NULL);
    on_fibers_counting_fds(2, use_everything, NULL);
}

static int confuse_layers(void *arg)
{
    struct world world;
    struct weft_stream *stream;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)arg;
    world_init(&world);
    world_open(&world);
    EXPECT_EQ(weft_terminal_stream(fd, &stream), 0);
    EXPECT_EQ(weft_tls_client(stream, world.client_context, "good.test", soon()), -EISCONN);
    EXPECT_EQ(weft_tls_error(stream)[0], '\0');
    weft_stream_free(stream);
    close(fd);
    world_destroy(&world);
    return 0;
}

Test(tls_above, a_stream_that_is_wrapped_otherwise_is_not_taken_for_an_encrypted_one)
{
    on_fibers_counting_fds(1, confuse_layers, NULL);
}
