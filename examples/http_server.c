/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 server: a fiber per connection, keep-alive, pipelining; http-parser does the parsing.
 * GET / says hello, GET /count how often that happened, POST /echo gives the body back; GET /page
 * gives a browser a page whose script asks for the other two.
 * Ctrl-C stops it: open connections are closed, then it ends.
 *
 * Try: build/release/examples/http_server 8080 & curl -d weft http://127.0.0.1:8080/echo
 *      wrk -c 64 -d 5 http://127.0.0.1:8080/
 */
#include <errno.h>
#include <http_parser.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum { MAX_PATH = 256, MAX_BODY = 64 * 1024, IDLE_SECONDS = 30 };

struct connection {
    struct weft_stream *stream;
    struct weft_writer out;
    http_parser parser;
    char path[MAX_PATH];
    size_t path_size;
    char body[MAX_BODY];
    size_t body_size;
    const char *refusal; /* a status line, or NULL */
    int error;           /* of the writer */
};

static atomic_ulong hellos;

/* ---- answers ------------------------------------------------------------------------------- */

static int answer_as(struct connection *connection, const char *status, const char *type,
                     const char *data, size_t size)
{
    bool keep = http_should_keep_alive(&connection->parser) && !connection->refusal;
    int r = weft_writer_printf(&connection->out,
                               "HTTP/1.1 %s\r\nContent-Type: %s\r\n"
                               "Content-Length: %zu\r\n%s\r\n",
                               status, type, size, keep ? "" : "Connection: close\r\n");
    if (r < 0 || connection->parser.method == HTTP_HEAD)
        return r;
    return weft_writer_write(&connection->out, data, size);
}

static int answer(struct connection *connection, const char *status, const char *data, size_t size)
{
    return answer_as(connection, status, "text/plain", data, size);
}

static int answer_count(struct connection *connection)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%lu\n", atomic_load(&hellos));
    return answer(connection, "200 OK", text, (size_t)size);
}

static int answer_hello(struct connection *connection)
{
    static const char hello[] = "Hello, world!\n";
    atomic_fetch_add_explicit(&hellos, 1, memory_order_relaxed);
    return answer(connection, "200 OK", hello, sizeof hello - 1);
}

static int answer_echo(struct connection *connection)
{
    return answer(connection, "200 OK", connection->body, connection->body_size);
}

static int answer_page(struct connection *connection)
{
    static const char page[] =
        "<!DOCTYPE html>\n"
        "<title>Weft</title>\n"
        "<p id=\"echo\"></p>\n"
        "<p id=\"count\"></p>\n"
        "<script>\n"
        "async function show(id, request) {\n"
        "    const response = await request;\n"
        "    document.getElementById(id).textContent = await response.text();\n"
        "}\n"
        "show('echo', fetch('/echo', {method: 'POST', body: 'sent by ' + document.title}));\n"
        "show('count', fetch('/count'));\n"
        "</script>\n";
    return answer_as(connection, "200 OK", "text/html", page, sizeof page - 1);
}

static const struct route {
    enum http_method method;
    const char *path;
    int (*answer)(struct connection *connection);
} routes[] = {
    {HTTP_GET, "/", answer_hello},      {HTTP_HEAD, "/", answer_hello},
    {HTTP_GET, "/count", answer_count}, {HTTP_GET, "/page", answer_page},
    {HTTP_POST, "/echo", answer_echo},
};

static int answer_request(struct connection *connection)
{
    static const char nowhere[] = "there is nothing here: try /\n";
    static const char refused[] = "this server does not do that\n";
    bool known = false;

    if (connection->refusal)
        return answer(connection, connection->refusal, refused, sizeof refused - 1);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(connection->path, routes[i].path) != 0)
            continue;
        known = true;
        if (connection->parser.method == routes[i].method)
            return routes[i].answer(connection);
    }
    if (known)
        return answer(connection, "405 Method Not Allowed", refused, sizeof refused - 1);
    return answer(connection, "404 Not Found", nowhere, sizeof nowhere - 1);
}

/* ---- what the parser tells ----------------------------------------------------------------- */

static int on_begin(http_parser *parser)
{
    struct connection *connection = parser->data;
    connection->path_size = connection->body_size = 0;
    connection->path[0] = '\0';
    return 0;
}

static int on_url(http_parser *parser, const char *data, size_t size)
{
    struct connection *connection = parser->data;
    if (connection->path_size + size >= MAX_PATH) {
        connection->refusal = "414 URI Too Long";
        return 0;
    }
    memcpy(connection->path + connection->path_size, data, size);
    connection->path_size += size;
    connection->path[connection->path_size] = '\0';
    return 0;
}

static int on_body(http_parser *parser, const char *data, size_t size)
{
    struct connection *connection = parser->data;
    if (connection->body_size + size > MAX_BODY) {
        connection->refusal = "413 Payload Too Large";
        return 0;
    }
    memcpy(connection->body + connection->body_size, data, size);
    connection->body_size += size;
    return 0;
}

/* The writer may suspend here: the parser keeps nothing on a thread. */
static int on_complete(http_parser *parser)
{
    struct connection *connection = parser->data;
    connection->path[strcspn(connection->path, "?")] = '\0';
    connection->error = answer_request(connection);
    return connection->error < 0 || connection->refusal || !http_should_keep_alive(parser);
}

static const http_parser_settings settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* ---- connections --------------------------------------------------------------------------- */

/* Up to size bytes, or the end after IDLE_SECONDS without any. */
static ssize_t read_some(struct weft_stream *stream, char *buffer, size_t size)
{
    struct weft_scope idle;

    weft_scope_enter(&idle, weft_deadline_after(IDLE_SECONDS * WEFT_SECOND));
    ssize_t n = weft_read(stream, buffer, size);
    int r = weft_scope_leave(&idle);
    return n < 0 && r == -ETIMEDOUT ? 0 : n;
}

static void serve_requests(struct connection *connection)
{
    char buffer[8192];
    ssize_t n;

    while ((n = read_some(connection->stream, buffer, sizeof buffer)) > 0) {
        size_t parsed = http_parser_execute(&connection->parser, &settings, buffer, (size_t)n);
        if (connection->error < 0)
            return;
        if (HTTP_PARSER_ERRNO(&connection->parser) != HPE_OK &&
            HTTP_PARSER_ERRNO(&connection->parser) != HPE_CB_message_complete) {
            connection->refusal = "400 Bad Request";
            answer_request(connection);
        }
        if (weft_writer_flush(&connection->out) < 0 || parsed < (size_t)n)
            return;
        if (HTTP_PARSER_ERRNO(&connection->parser) != HPE_OK)
            return;
    }
}

static int on_connection(void *arg)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection) {
        connection->stream = arg;
        weft_writer_init(&connection->out, connection->stream);
        http_parser_init(&connection->parser, HTTP_REQUEST);
        connection->parser.data = connection;
        serve_requests(connection);
        weft_writer_close(&connection->out);
    }
    weft_stream_free(arg);
    free(connection);
    return 0; /* one connection's trouble is not the server's */
}

static int serve(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct weft_group connections;
    int r = weft_listen_tcp("127.0.0.1", *(uint16_t *)arg, &listener);

    if (r < 0)
        return r;
    printf("http://127.0.0.1:%u/\n", weft_listener_port(listener));
    fflush(stdout);
    weft_group_init(&connections);
    while ((r = weft_accept(listener, &stream)) == 0)
        if (weft_group_spawn(&connections, "connection", on_connection, stream) < 0)
            weft_stream_free(stream);
    weft_group_cancel(&connections);
    weft_group_join(&connections);
    weft_listener_free(listener);
    return r == -ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
    uint16_t port = argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 8080;
    int r = weft_run(NULL, serve, &port);

    if (r < 0)
        fprintf(stderr, "http_server: %s\n", strerror(-r));
    return r < 0;
}
