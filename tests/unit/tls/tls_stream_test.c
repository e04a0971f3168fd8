/* SPDX-License-Identifier: MIT */
/* What works on a stream works on an upgraded one. */
#include "support/test.h"

#include "io/tls/context.h"
#include "io/tls/session.h"
#include "tls_support.h"
#include "weft/reader.h"

enum { MIB = 1024 * 1024 };

/* Sanitizers are slow. */
#ifdef WITH_SHAKER
enum { FLOOD = MIB / 2 };
#else
enum { FLOOD = 4 * MIB };
#endif

/* Run body(ends) on a connection of each version. */
static void with_both_versions(void (*body)(struct ends *))
{
    static const enum weft_tls_version versions[] = {WEFT_TLS_1_2, WEFT_TLS_1_3};
    for (int i = 0; i < 2; i++) {
        struct world world;
        struct ends ends;
        world_init(&world);
        world.server_options.max_version = versions[i];
        world_open(&world);
        ends_open_well(&ends, &world);
        body(&ends);
        ends_close(&ends);
        world_destroy(&world);
    }
}

static void exchange_on(struct ends *ends)
{
    char buffer[16];
    size_t written = 99;
    EXPECT_EQ(weft_write(ends->client, "hello", 5, &written), 0);
    EXPECT_EQ(written, 5);
    EXPECT_EQ(weft_stream_wait_readable(ends->server, soon()), 0);
    EXPECT_EQ(weft_read(ends->server, buffer, 0), 0);
    EXPECT_EQ(weft_read(ends->server, buffer, 2), 2);
    EXPECT_EQ(weft_stream_wait_readable(ends->server, soon()), 0);
    EXPECT_EQ(weft_read(ends->server, buffer + 2, 14), 3);
    EXPECT_EQ(memcmp(buffer, "hello", 5), 0);
    EXPECT_EQ(weft_write(ends->server, "", 0, &written), 0);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(weft_write(ends->server, "back", 4, NULL), 0);
    EXPECT_EQ(weft_read(ends->client, buffer, sizeof(buffer)), 4);
    weft_stream_free(ends->server);
    ends->server = NULL;
    EXPECT_EQ(weft_stream_wait_readable(ends->client, soon()), 0);
    EXPECT_EQ(weft_read(ends->client, buffer, sizeof(buffer)), 0);
    EXPECT_EQ(weft_read(ends->client, buffer, sizeof(buffer)), 0);
    EXPECT_EQ(weft_tls_error(ends->client)[0], '\0');
}

static int exchange(void *arg)
{
    (void)arg;
    with_both_versions(exchange_on);
    return 0;
}

Test(tls_stream, bytes_go_both_ways_and_end)
{
    on_fibers_counting_fds(1, exchange, NULL);
}

static void half_close_on(struct ends *ends)
{
    char buffer[8];
    EXPECT_EQ(weft_write(ends->client, "ask", 3, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(ends->client), 0);
    EXPECT_EQ(weft_stream_shutdown_write(ends->client), 0);
    EXPECT_EQ(weft_read(ends->server, buffer, 8), 3);
    EXPECT_EQ(weft_read(ends->server, buffer, 8), 0);
    EXPECT_EQ(weft_write(ends->server, "answer", 6, NULL), 0);
    EXPECT_EQ(weft_read(ends->client, buffer, 8), 6);
    EXPECT_EQ(weft_write(ends->client, "x", 1, NULL), -EPIPE);
    EXPECT_EQ(weft_write(ends->server, "more", 4, NULL), 0);
    EXPECT_EQ(weft_read(ends->client, buffer, 8), 4);
    EXPECT_EQ(weft_stream_shutdown_write(ends->server), 0);
    EXPECT_EQ(weft_read(ends->client, buffer, 8), 0);
}

static int half_close(void *arg)
{
    (void)arg;
    with_both_versions(half_close_on);
    return 0;
}

Test(tls_stream, after_a_half_close_the_other_half_goes_on)
{
    on_fibers_counting_fds(1, half_close, NULL);
}

/* ---- much data ------------------------------------------------------------------------------ */

static char pattern_at(size_t i)
{
    return (char)(i * 31 + (i >> 12));
}

struct flow {
    struct weft_stream *stream;
    size_t size, piece;
    int update_every; /* change the keys after so many pieces; 0: never */
};

static int flow_out(void *arg)
{
    const struct flow *flow = arg;
    char *data = malloc(flow->piece);
    EXPECT(data != NULL);
    int pieces = 0;
    for (size_t at = 0; at < flow->size; at += flow->piece) {
        for (size_t i = 0; i < flow->piece; i++)
            data[i] = pattern_at(at + i);
        EXPECT_EQ(weft_write(flow->stream, data, flow->piece, NULL), 0);
        if (flow->update_every && ++pieces % flow->update_every == 0)
            EXPECT_EQ(weft_tls_update_keys(flow->stream), 0);
    }
    free(data);
    return 0;
}

static int flow_in(void *arg)
{
    const struct flow *flow = arg;
    char *data = malloc(flow->piece);
    EXPECT(data != NULL);
    size_t at = 0;
    while (at < flow->size) {
        ssize_t n = weft_read(flow->stream, data, flow->piece);
        EXPECT(n > 0);
        for (ssize_t i = 0; i < n; i++)
            EXPECT(data[i] == pattern_at(at + (size_t)i));
        at += (size_t)n;
    }
    EXPECT_EQ(at, flow->size);
    free(data);
    return 0;
}

/* A reader and a writer at both ends at once. */
static void flow_both_ways(struct ends *ends, size_t size, int update_every)
{
    struct weft_group group;
    struct flow flows[] = {{ends->client, size, 100000, update_every},
                           {ends->server, size, 7000, 0},
                           {ends->server, size, 100000, update_every},
                           {ends->client, size, 30000, 0}};
    weft_group_init(&group);
    for (int i = 0; i < 4; i++) {
        flows[i].size -= size % 100000;
        EXPECT_EQ(weft_group_spawn(&group, "flow", i % 2 ? flow_in : flow_out, &flows[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void flood(struct ends *ends)
{
    flow_both_ways(ends, FLOOD, 0);
}

static int flood_both_ways(void *arg)
{
    (void)arg;
    with_both_versions(flood);
    return 0;
}

Test(tls_stream, much_data_both_ways_at_once)
{
    on_fibers_counting_fds(1, flood_both_ways, NULL);
    on_fibers_counting_fds(2, flood_both_ways, NULL);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static int keys_in_a_flood(void *arg)
{
    struct world world;
    struct ends ends;
    (void)arg;
    world_init(&world);
    world_open(&world);
    ends_open_well(&ends, &world);
    flow_both_ways(&ends, FLOOD, 3);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, keys_change_while_data_flows)
{
    on_fibers_counting_fds(1, keys_in_a_flood, NULL);
    on_fibers_counting_fds(2, keys_in_a_flood, NULL);
}

static int keys(void *arg)
{
    struct world world;
    struct ends ends;
    struct weft_stream *plain[2];
    struct weft_scope scope;
    char byte;
    (void)arg;
    world_init(&world);
    world_open(&world);
    ends_open_well(&ends, &world);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(weft_tls_update_keys(ends.client), 0);
        EXPECT_EQ(weft_tls_update_keys(ends.server), 0);
        EXPECT_EQ(weft_write(ends.client, "x", 1, NULL), 0);
        EXPECT_EQ(weft_read(ends.server, &byte, 1), 1);
        EXPECT_EQ(weft_write(ends.server, "y", 1, NULL), 0);
        EXPECT_EQ(weft_read(ends.client, &byte, 1), 1);
    }
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_tls_update_keys(ends.client), -ECANCELED);
    weft_scope_leave(&scope);
    ends_close(&ends);
    world_close(&world);
    world.client_options.max_version = WEFT_TLS_1_2;
    world_open(&world);
    ends_open_well(&ends, &world);
    EXPECT_EQ(weft_tls_update_keys(ends.client), -EOPNOTSUPP);
    EXPECT_EQ(weft_write(ends.client, "x", 1, NULL), 0);
    EXPECT_EQ(weft_read(ends.server, &byte, 1), 1);
    ends_close(&ends);
    stream_pair(plain);
    EXPECT_EQ(weft_tls_update_keys(plain[0]), -ENOTCONN);
    free_pair(plain);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, keys_can_be_changed_by_either_end)
{
    on_fibers_counting_fds(1, keys, NULL);
}

/* A peer that asks for keys on and on and never reads what we answer: our memory has an end. */
static int keys_without_end(void *arg)
{
    struct world world;
    struct ends ends;
    struct call call = {0};
    struct weft_group group;
    char byte;
    long asked = 0;
    int r;
    (void)arg;
    world_init(&world);
    world_open(&world);
    ends_open_well(&ends, &world);
    weft_group_init(&group);
    call = (struct call){.stream = ends.server, .data = &byte, .size = 1};
    call_start(&group, call_read, &call);
    while ((r = weft_tls_update_keys(ends.client)) == 0 && !atomic_load(&call.over) &&
           asked < 100000)
        if (++asked % 16 == 0)
            EXPECT_EQ(weft_yield(), 0);
    EXPECT(asked < 100000);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, -EPROTO);
    EXPECT(strstr(weft_tls_error(ends.server), "without end") != NULL);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, a_peer_cannot_make_us_hold_back_answers_without_end)
{
    on_fibers_counting_fds(1, keys_without_end, NULL);
}

/* TLS 1.2's renegotiation is refused, and nothing else happens. */
static int renegotiation(void *arg)
{
    struct world world;
    struct ends ends;
    struct call call;
    struct weft_group group;
    char byte;
    (void)arg;
    world_init(&world);
    world.client_options.max_version = WEFT_TLS_1_2;
    world_open(&world);
    ends_open_well(&ends, &world);
    SSL *ssl = tls_of_stream(ends.client)->ssl;
    SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
    EXPECT_EQ(SSL_renegotiate(ssl), 1);
    weft_group_init(&group);
    call = (struct call){.stream = ends.server, .data = &byte, .size = 1};
    call_start(&group, call_read, &call);
    EXPECT_EQ(weft_write(ends.client, "x", 1, NULL), -EPROTO);
    EXPECT(strstr(weft_tls_error(ends.client), "renegotiation") != NULL);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, -ECONNABORTED); /* OpenSSL's client gives up then */
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, renegotiation_is_refused)
{
    on_fibers_counting_fds(1, renegotiation, NULL);
}

/* ---- slow and cut --------------------------------------------------------------------------- */

/* Passes bytes on, one at a time. */
struct drip {
    struct weft_stream *from, *to;
};

static int drip(void *arg)
{
    const struct drip *drip = arg;
    char byte;
    ssize_t n;
    while ((n = weft_read(drip->from, &byte, 1)) == 1) {
        if (weft_write(drip->to, &byte, 1, NULL) < 0)
            return 0;
        EXPECT_EQ(weft_yield(), 0);
    }
    weft_stream_shutdown_write(drip->to);
    return 0;
}

static void drip_handshake(const struct world *world)
{
    struct weft_stream *left[2], *right[2];
    struct weft_group group;
    struct ends ends;
    char buffer[100];
    stream_pair(left);
    stream_pair(right);
    struct drip drips[] = {{left[1], right[1]}, {right[1], left[1]}};
    weft_group_init(&group);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_group_spawn(&group, "drip", drip, &drips[i]), 0);
    ends = (struct ends){.client = left[0], .server = right[0]};
    ends_shake(&ends, world, "good.test");
    EXPECT_EQ(ends.client_result, 0);
    EXPECT_EQ(ends.server_result, 0);
    EXPECT_EQ(weft_write(ends.client, "one byte at a time", 18, NULL), 0);
    read_exactly(ends.server, buffer, 18);
    EXPECT_EQ(memcmp(buffer, "one byte at a time", 18), 0);
    EXPECT_EQ(weft_write(ends.server, "and back", 8, NULL), 0);
    read_exactly(ends.client, buffer, 8);
    weft_stream_free(ends.client);
    EXPECT_EQ(weft_read(ends.server, buffer, 1), 0);
    weft_stream_free(ends.server);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_stream_free(left[1]);
    weft_stream_free(right[1]);
}

static int drip_both(void *arg)
{
    struct world world;
    (void)arg;
    world_init(&world);
    world_open(&world);
    drip_handshake(&world);
    world_close(&world);
    world.server_options.max_version = WEFT_TLS_1_2;
    world_open(&world);
    drip_handshake(&world);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, records_may_come_one_byte_at_a_time)
{
    on_fibers_counting_fds(1, drip_both, NULL);
}

/* Pass one byte to the client and let it take it. */
static void feed(struct weft_stream *from, struct weft_stream *to)
{
    char byte;
    EXPECT_EQ(weft_read(from, &byte, 1), 1);
    EXPECT_EQ(weft_write(to, &byte, 1, NULL), 0);
    let_others_run();
}

/* The server's session ticket holds the client's certificate and is cut into two records; the
 * client reads half of it.  A write must wait for the other half. */
static int half_a_message(void *arg)
{
    struct world world;
    struct weft_stream *left[2], *right[2];
    struct weft_group group, upward;
    struct call server, client, reader, writer;
    char byte, got[8];
    (void)arg;
    world_init(&world);
    struct weft_tls_certificate certificate = world.certificate; /* will do for a client */
    world.client_options.certificates = &certificate;
    world.client_options.certificate_count = 1;
    world.server_options.ca_pem = world.authority.chain_pem;
    world.server_options.client_auth = WEFT_TLS_AUTH_REQUIRED;
    world_open(&world);
    SSL_CTX_set_max_send_fragment(world.server_context->bundle->contexts[0], 512);
    stream_pair(left);
    stream_pair(right);
    struct drip up = {left[1], right[1]};
    weft_group_init(&upward);
    EXPECT_EQ(weft_group_spawn(&upward, "drip", drip, &up), 0);
    weft_group_init(&group);
    client = (struct call){.stream = left[0], .context = world.client_context};
    server = (struct call){.stream = right[0], .context = world.server_context};
    call_start(&group, call_server, &server);
    call_start(&group, call_client, &client);
    while (!atomic_load(&client.over))
        feed(right[1], left[1]);
    EXPECT_EQ(client.result, 0);
    reader = (struct call){.stream = left[0], .data = &byte, .size = 1};
    call_start(&group, call_read, &reader);
    while (!SSL_in_init(tls_of_stream(left[0])->ssl))
        feed(right[1], left[1]);
    writer = (struct call){.stream = left[0], .data = (char[]){"wait"}, .size = 4};
    call_start(&group, call_write, &writer);
    let_others_run();
    EXPECT(!atomic_load(&writer.over));
    while (!atomic_load(&writer.over))
        feed(right[1], left[1]);
    EXPECT_EQ(writer.result, 0);
    while (!atomic_load(&server.over))
        let_others_run();
    EXPECT_EQ(server.result, 0);
    read_exactly(right[0], got, 4);
    EXPECT_EQ(memcmp(got, "wait", 4), 0);
    EXPECT_EQ(reader.over, 0);
    weft_stream_free(left[0]);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(reader.result, -EBADF);
    weft_stream_free(right[0]);
    EXPECT_EQ(weft_group_join(&upward), 0);
    weft_stream_free(left[1]);
    weft_stream_free(right[1]);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, a_writer_waits_while_the_peer_is_in_the_middle_of_a_message)
{
    on_fibers_counting_fds(1, half_a_message, NULL);
}

/* What TLS itself sends after the handshake is nothing to read. */
static int quiet(void *arg)
{
    struct world world;
    struct ends ends;
    struct weft_group group;
    char byte;
    (void)arg;
    world_init(&world);
    world_open(&world);
    ends_open_well(&ends, &world);
    struct call call = {.stream = ends.client};
    weft_group_init(&group);
    call_start(&group, call_wait, &call);
    let_others_run();
    EXPECT(!atomic_load(&call.over));
    EXPECT_EQ(weft_stream_wait_readable(ends.server, weft_now_ns()), -ETIMEDOUT);
    EXPECT_EQ(weft_write(ends.server, "x", 1, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, 0);
    EXPECT_EQ(weft_read(ends.client, &byte, 1), 1);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, session_tickets_do_not_make_it_readable)
{
    on_fibers_counting_fds(1, quiet, NULL);
}

/* ---- what stands above ---------------------------------------------------------------------- */

static void lines_on(struct ends *ends)
{
    struct weft_reader reader;
    const char *line;
    EXPECT_EQ(weft_write(ends->client, "first\nsecond\nth", 15, NULL), 0);
    EXPECT_EQ(weft_write(ends->client, "ird\n", 4, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(ends->client), 0);
    weft_reader_init(&reader, ends->server);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), 1);
    EXPECT_EQ(strcmp(line, "first"), 0);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), 1);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), 1);
    EXPECT_EQ(strcmp(line, "third"), 0);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), 0);
    weft_reader_destroy(&reader);
}

static int lines(void *arg)
{
    (void)arg;
    with_both_versions(lines_on);
    return 0;
}

Test(tls_stream, a_buffered_reader_reads_lines)
{
    on_fibers_counting_fds(1, lines, NULL);
}

/* A plain dialogue first, then TLS on the same stream: as STARTTLS has it. */
static int upgrade_later(void *arg)
{
    struct world world;
    struct weft_stream *streams[2];
    struct ends ends;
    struct weft_tls_info info;
    char buffer[16];
    (void)arg;
    world_init(&world);
    world_open(&world);
    stream_pair(streams);
    EXPECT_EQ(weft_write(streams[0], "STARTTLS\n", 9, NULL), 0);
    EXPECT_EQ(weft_read(streams[1], buffer, sizeof(buffer)), 9);
    EXPECT_EQ(weft_write(streams[1], "OK\n", 3, NULL), 0);
    EXPECT_EQ(weft_read(streams[0], buffer, sizeof(buffer)), 3);
    EXPECT_EQ(weft_tls_info(streams[0], &info), -ENOTCONN);
    EXPECT_EQ(strcmp(weft_tls_error(streams[0]), ""), 0);
    ends = (struct ends){.client = streams[0], .server = streams[1]};
    ends_shake(&ends, &world, "good.test");
    EXPECT_EQ(ends.client_result, 0);
    exchange_on(&ends);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_stream, a_plain_stream_is_upgraded_in_place)
{
    on_fibers_counting_fds(1, upgrade_later, NULL);
}
