/* SPDX-License-Identifier: MIT */
/*
 * A small HTTP/1.1 server on fibers, for tests of the client: it answers as a path says, well or
 * badly.  Goes with support/fibers.h and support/io.h.
 *
 *   /echo                what was asked: "METHOD TARGET\n", the headers, an empty line, the body
 *   /status/N            status N, with a short body (204 and 304: none)
 *   /bytes/N             N bytes of a pattern, Content-Length
 *   /chunked/N           the same in chunks, with the trailer "X-Sum: N"
 *   /to-end/N            the same without a length: the end of the connection is its end
 *   /drip/N              the same, a byte at a time
 *   /trickle/N           the same, a byte each 5 ms
 *   /mirror              sends the body back while it comes, in chunks
 *   /redirect/S?URL      status S, to URL
 *   /loop                redirects to itself
 *   /hop/N               redirects to /hop/N-1, /hop/0 is /echo
 *   /gzip                "hello hello hello", compressed; /gzip-broken: not quite
 *   /set-cookies         three cookies; /headers: several of a name, odd ones
 *   /never               answers nothing; /stall/N: N bytes of 2 N, and no more
 *   /half                promises 100 bytes, sends 50, and closes; /half-chunk: the same in chunks
 *   /close               closes at once; /reset: resets; /reset-half: after some of the body
 *   /reset-when          resets when the test says so (server->go)
 *   /garbage             no HTTP; /bad-status; /many-headers: too many
 *   /close-after         "Connection: close"; /hang-up: answers, and closes without saying so
 *   /once                answers; the next request on that connection is cut off unread
 *   /early               answers before the body is read, and does not read it
 *   /continue            100 Continue and 103 before the answer
 */
#pragma once
#include "support/http_exchange.h"

/* ---- routes ----------------------------------------------------------------------------- */

static inline void serve_echo(struct exchange *x, const char *rest)
{
    struct gathered body = {0};
    char first[2100];
    (void)rest;
    if (each_piece(x, gather_piece, &body) < 0) {
        x->close = true;
    } else {
        int n = snprintf(first, sizeof(first), "%s %s\n", x->method, x->target);
        sayf(x, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
             (size_t)n + x->head_size + 1 + body.size);
        if (strcmp(x->method, "HEAD") != 0) {
            say(x, first, (size_t)n);
            say(x, x->head, x->head_size);
            say(x, "\n", 1);
            say(x, body.data, body.size);
        }
    }
    free(body.data);
}

static inline void serve_status(struct exchange *x, const char *rest)
{
    int status = atoi(rest);
    if (each_piece(x, drop_piece, NULL) < 0)
        x->close = true;
    else if (status == 204 || status == 304)
        sayf(x, "HTTP/1.1 %d Status\r\n\r\n", status);
    else
        answer(x, status, "a body");
}

static inline void serve_bytes(struct exchange *x, const char *rest)
{
    sayf(x, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", rest);
    if (strcmp(x->method, "HEAD") != 0)
        say_pattern(x, strtoull(rest, NULL, 10), SERVER_BLOCK, false);
}

static inline void serve_chunked(struct exchange *x, const char *rest)
{
    sayf(x, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
    if (say_pattern(x, strtoull(rest, NULL, 10), 1000, true) == 0)
        sayf(x, "0\r\nX-Sum: %s\r\nX-Last: yes\r\n\r\n", rest);
}

static inline void serve_to_end(struct exchange *x, const char *rest)
{
    sayf(x, "HTTP/1.1 200 OK\r\n\r\n");
    say_pattern(x, strtoull(rest, NULL, 10), SERVER_BLOCK, false);
    x->close = true;
}

static inline void serve_drip(struct exchange *x, const char *rest)
{
    char text[4200];
    int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", rest);
    for (int i = 0; i < n && say(x, &text[i], 1) == 0; i++)
        weft_yield();
    say_pattern(x, strtoull(rest, NULL, 10), 1, false);
}

static inline void serve_trickle(struct exchange *x, const char *rest)
{
    int size = atoi(rest);
    sayf(x, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size);
    for (int i = 0; i < size && say(x, "t", 1) == 0; i++) {
        if (weft_sleep(5 * WEFT_MILLISECOND) < 0)
            break;
    }
}

static inline int mirror_piece(struct exchange *x, const char *data, size_t size, void *arg)
{
    (void)arg;
    int r = sayf(x, "%zx\r\n", size);
    if (r == 0)
        r = say(x, data, size);
    return r < 0 ? r : say(x, "\r\n", 2);
}

static inline void serve_mirror(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (each_piece(x, mirror_piece, NULL) == 0)
        sayf(x, "0\r\n\r\n");
    else
        x->close = true;
}

static inline void redirect(struct exchange *x, int status, const char *to)
{
    if (each_piece(x, drop_piece, NULL) < 0)
        x->close = true;
    sayf(x, "HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 5\r\n\r\nmoved", status, to);
}

static inline void serve_redirect(struct exchange *x, const char *rest)
{
    const char *to = strchr(rest, '?');
    redirect(x, atoi(rest), to ? to + 1 : "/echo");
}

static inline void serve_loop(struct exchange *x, const char *rest)
{
    (void)rest;
    redirect(x, 302, "/loop");
}

static inline void serve_hop(struct exchange *x, const char *rest)
{
    char to[32];
    int left = atoi(rest);
    if (left == 0) {
        serve_echo(x, rest);
        return;
    }
    snprintf(to, sizeof(to), "/hop/%d", left - 1);
    redirect(x, 307, to);
}

/* printf 'hello hello hello' | gzip -n */
static const unsigned char gzipped[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03,
                                        0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x90, 0x00,
                                        0x80, 0x88, 0xf9, 0xe5, 0x11, 0x00, 0x00, 0x00};

static inline void serve_gzip(struct exchange *x, const char *rest)
{
    unsigned char data[sizeof(gzipped)];
    memcpy(data, gzipped, sizeof(data));
    if (strcmp(rest, "-broken") == 0)
        data[10] ^= 0xff;
    sayf(x, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
         sizeof(data));
    say(x, data, sizeof(data));
}

static inline void serve_set_cookies(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "HTTP/1.1 200 OK\r\nSet-Cookie: one=1; Path=/\r\nSet-Cookie: two=2; Path=/; HttpOnly"
            "\r\nSet-Cookie: old=3; Path=/; Max-Age=100000\r\nContent-Length: 0\r\n\r\n");
}

static inline void serve_headers(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "HTTP/1.1 200 Quite OK\r\nX-Several: one\r\nx-several: two\r\nX-Empty:\r\n"
            "X-Blanks:  \t in the middle \t\r\nX-Folded: a\r\n  b\r\nContent-Length: 0\r\n\r\n");
}

static inline void serve_never(struct exchange *x, const char *rest)
{
    (void)rest;
    await_hang_up(x);
}

static inline void serve_stall(struct exchange *x, const char *rest)
{
    uint64_t size = strtoull(rest, NULL, 10);
    sayf(x, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)size * 2);
    say_pattern(x, size, SERVER_BLOCK, false);
    await_hang_up(x);
}

static inline void serve_half(struct exchange *x, const char *rest)
{
    if (strcmp(rest, "-chunk") == 0)
        sayf(x, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n");
    else
        sayf(x, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    say_pattern(x, 50, 50, false);
    x->close = true;
}

static inline void serve_close(struct exchange *x, const char *rest)
{
    (void)rest;
    x->close = true;
}

static inline void serve_reset(struct exchange *x, const char *rest)
{
    while (strcmp(rest, "-when") == 0 && !atomic_load(&x->server->go)) {
        if (weft_sleep(WEFT_MILLISECOND) < 0)
            break;
    }
    if (strcmp(rest, "-half") == 0) {
        sayf(x, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        say_pattern(x, 50, 50, false);
    }
    reset_connection(x);
}

static inline void serve_garbage(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "this is not HTTP at all\r\n\r\n");
    x->close = true;
}

static inline void serve_bad_status(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "HTTP/1.1 abc What\r\nContent-Length: 0\r\n\r\n");
    x->close = true;
}

static inline void serve_many_headers(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 400 && !x->close; i++)
        sayf(x, "X-Filler-%d: %01000d\r\n", i, 0);
    sayf(x, "Content-Length: 0\r\n\r\n");
}

static inline void serve_close_after(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast");
    x->close = true;
}

static inline void serve_hang_up(struct exchange *x, const char *rest)
{
    (void)rest;
    answer(x, 200, "bye");
    x->close = true;
}

static inline void serve_once(struct exchange *x, const char *rest)
{
    (void)rest;
    if (each_piece(x, drop_piece, NULL) == 0)
        answer(x, 200, "once");
    weft_stream_wait_readable(x->stream, WEFT_NO_DEADLINE);
    reset_connection(x); /* unread data: a reset */
}

static inline void serve_early(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!");
    weft_stream_shutdown_write(x->stream);
    await_hang_up(x);
}

static inline void serve_continue(struct exchange *x, const char *rest)
{
    (void)rest;
    sayf(x,
         "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    if (each_piece(x, drop_piece, NULL) == 0)
        answer(x, 200, "went on");
}

static const struct route {
    const char *path;
    void (*serve)(struct exchange *x, const char *rest);
} routes[] = {
    {"/echo", serve_echo},
    {"/status/", serve_status},
    {"/bytes/", serve_bytes},
    {"/chunked/", serve_chunked},
    {"/to-end/", serve_to_end},
    {"/drip/", serve_drip},
    {"/trickle/", serve_trickle},
    {"/mirror", serve_mirror},
    {"/redirect/", serve_redirect},
    {"/loop", serve_loop},
    {"/hop/", serve_hop},
    {"/gzip", serve_gzip},
    {"/set-cookies", serve_set_cookies},
    {"/headers", serve_headers},
    {"/never", serve_never},
    {"/stall/", serve_stall},
    {"/half", serve_half},
    {"/close-after", serve_close_after},
    {"/close", serve_close},
    {"/reset", serve_reset},
    {"/garbage", serve_garbage},
    {"/bad-status", serve_bad_status},
    {"/many-headers", serve_many_headers},
    {"/hang-up", serve_hang_up},
    {"/once", serve_once},
    {"/early", serve_early},
    {"/continue", serve_continue},
};

static inline void serve(struct exchange *x)
{
    const char *path = x->target;
    if (strncmp(path, "http://", 7) == 0 && strchr(path + 7, '/'))
        path = strchr(path + 7, '/'); /* as a proxy is asked */
    for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
        size_t size = strlen(routes[i].path);
        if (strncmp(path, routes[i].path, size) == 0) {
            routes[i].serve(x, path + size);
            return;
        }
    }
    answer(x, 404, "nothing there");
}

/* ---- connections ------------------------------------------------------------------------ */

static inline void note_header(struct exchange *x, const char *line)
{
    if (strncasecmp(line, "Content-Length:", 15) == 0)
        x->length = strtoll(line + 15, NULL, 10);
    if (strncasecmp(line, "Transfer-Encoding: chunked", 26) == 0)
        x->chunked = true;
}

/* Returns: whether there is a request. */
static inline bool read_request(struct exchange *x)
{
    const char *line;
    size_t size;
    FILE *head;
    if (weft_reader_next_line(x->reader, &line, &size) != 1 ||
        sscanf(line, "%31s %2047s", x->method, x->target) != 2)
        return false;
    head = open_memstream(&x->head, &x->head_size);
    int r;
    while ((r = weft_reader_next_line(x->reader, &line, &size)) == 1 && size > 0) {
        fprintf(head, "%s\n", line);
        note_header(x, line);
    }
    fclose(head);
    return r == 1;
}

struct connection {
    struct http_server *server;
    struct weft_stream *stream;
};

static inline void note_open(struct http_server *server)
{
    int open = atomic_fetch_add(&server->open, 1) + 1, most = atomic_load(&server->most);
    while (open > most && !atomic_compare_exchange_weak(&server->most, &most, open))
        continue;
}

static inline int serve_connection(void *arg)
{
    struct connection connection = *(struct connection *)arg;
    struct weft_reader reader;
    bool close = false;
    free(arg);
    note_open(connection.server);
    if (connection.server->secure)
        close = connection.server->secure(connection.stream, connection.server->secure_arg) < 0;
    weft_reader_init(&reader, connection.stream);
    while (!close) {
        struct exchange x = {.server = connection.server,
                             .stream = connection.stream,
                             .reader = &reader,
                             .length = -1};
        close = !read_request(&x);
        if (!close) {
            atomic_fetch_add(&connection.server->requests, 1);
            serve(&x);
            close = x.close;
        }
        free(x.head);
    }
    weft_reader_destroy(&reader);
    weft_stream_free(connection.stream);
    atomic_fetch_sub(&connection.server->open, 1);
    return 0;
}

static inline int serve_all(void *arg)
{
    struct http_server *server = arg;
    struct weft_stream *stream;
    int r;
    while ((r = weft_accept(server->listener, &stream)) == 0) {
        struct connection *connection = malloc(sizeof(*connection));
        EXPECT(connection != NULL);
        *connection = (struct connection){server, stream};
        atomic_fetch_add(&server->connections, 1);
        if (weft_group_spawn(&server->group, "connection", serve_connection, connection) < 0) {
            free(connection);
            weft_stream_free(stream);
        }
    }
    return r == -ECANCELED ? 0 : r;
}

/** Start a server; it is inside a group of the calling fiber's until http_server_stop. */
static inline void http_server_start(struct http_server *server)
{
    memset(server, 0, sizeof(*server));
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &server->listener), 0);
    server->port = weft_listener_port(server->listener);
    weft_group_init(&server->group);
    EXPECT_EQ(weft_group_spawn(&server->group, "server", serve_all, server), 0);
}

static inline void http_server_stop(struct http_server *server)
{
    weft_group_cancel(&server->group);
    EXPECT_EQ(weft_group_join(&server->group), -ECANCELED);
    weft_listener_free(server->listener);
}

/** The URL of a path there. */
static inline const char *http_url(struct http_server *server, const char *path)
{
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u%s", server->port, path);
    return server->url;
}
