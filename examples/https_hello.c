/* SPDX-License-Identifier: MIT */
/* The smallest HTTPS server: a fiber per connection.  Ctrl-C stops it.
 * Try, in a folder with cert.pem and key.pem for localhost (docs/guide/tls.md makes them):
 * build/release/examples/https_hello 8443 cert.pem key.pem &
 * curl --cacert cert.pem https://localhost:8443/ */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/tls.h>
#include <weft/weft.h>

static struct weft_tls_context *context;

/* Read the request's head, answer, and say goodbye. */
static void answer(struct weft_stream *stream)
{
    struct weft_tls_info info;
    struct weft_reader reader;
    const char *line;
    char body[128], head[256];
    size_t size;

    weft_reader_init(&reader, stream);
    while (weft_reader_next_line(&reader, &line, &size) > 0 && size > 0)
        ;
    weft_tls_info(stream, &info);
    snprintf(body, sizeof(body), "hello over %s, %s\n", info.version, info.cipher);
    snprintf(head, sizeof(head),
             "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", strlen(body));
    if (weft_write(stream, head, strlen(head), NULL) == 0)
        weft_write(stream, body, strlen(body), NULL);
    weft_stream_shutdown_write(stream);
    weft_reader_destroy(&reader);
}

static int connection(void *arg)
{
    struct weft_stream *stream = arg;
    int r = weft_tls_server(stream, context, weft_deadline_after(10 * WEFT_SECOND));

    if (r == 0)
        answer(stream);
    else
        fprintf(stderr, "handshake: %s: %s\n", strerror(-r), weft_tls_error(stream));
    weft_stream_free(stream);
    return 0; /* one connection's trouble is not the group's */
}

static int serve(void *arg)
{
    char **argv = arg;
    struct weft_tls_certificate certificate = {.chain_file = argv[2], .key_file = argv[3]};
    struct weft_tls_options options = {.certificates = &certificate, .certificate_count = 1};
    struct weft_tls_why why = {""};
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct weft_group connections;
    int r = weft_tls_context_new(WEFT_TLS_SERVER, &options, &why, &context);

    if (r < 0) {
        fprintf(stderr, "https_hello: %s\n", why.text);
        return r;
    }
    r = weft_listen_tcp("127.0.0.1", (uint16_t)strtoul(argv[1], NULL, 10), &listener);
    if (r == 0) {
        printf("https://localhost:%u/\n", weft_listener_port(listener));
        fflush(stdout);
        weft_group_init(&connections);
        while ((r = weft_accept(listener, &stream)) == 0)
            if (weft_group_spawn(&connections, "connection", connection, stream) < 0)
                weft_stream_free(stream);
        weft_group_cancel(&connections);
        weft_group_join(&connections);
        weft_listener_free(listener);
    }
    weft_tls_context_unref(context);
    return r == -ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: https_hello PORT CHAIN.pem KEY.pem\n");
        return 2;
    }
    int r = weft_run(NULL, serve, argv);
    if (r < 0)
        fprintf(stderr, "https_hello: %s\n", strerror(-r));
    return r < 0;
}
