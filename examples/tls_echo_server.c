/* SPDX-License-Identifier: MIT */
/* An echo server over TLS: the plain one and a few lines.  Ctrl-C stops it; SIGHUP makes it read
 * the certificate and the key again: for connections to come; those that live go on.
 * Try, in a folder with cert.pem and key.pem (docs/guide/tls.md makes them):
 * build/release/examples/tls_echo_server 7443 cert.pem key.pem &
 * openssl s_client -connect 127.0.0.1:7443 -CAfile cert.pem -quiet */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/tls.h>
#include <weft/weft.h>

static struct weft_tls_context *context;

static int echo(void *arg)
{
    struct weft_stream *stream = arg;
    char buffer[4096];
    ssize_t n = weft_tls_server(stream, context, weft_deadline_after(10 * WEFT_SECOND));

    if (n == 0)
        while ((n = weft_read(stream, buffer, sizeof(buffer))) > 0)
            if (weft_write(stream, buffer, (size_t)n, NULL) < 0)
                break;
    if (n < 0)
        fprintf(stderr, "a connection: %s: %s\n", strerror((int)-n), weft_tls_error(stream));
    weft_stream_free(stream);
    return 0; /* one connection's trouble is not the group's */
}

/* If a file is bad, nothing has changed. */
static int reload(void *unused)
{
    struct weft_tls_why why = {""};
    int r = weft_tls_context_reload(context, &why);

    (void)unused;
    if (r < 0)
        printf("not reloaded: %s\n", why.text);
    else
        puts("reloaded");
    fflush(stdout);
    return r;
}

static int serve(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct weft_group connections;
    int r = weft_signal_handle(SIGHUP, reload, NULL);

    if (r == 0)
        r = weft_listen_tcp("127.0.0.1", *(uint16_t *)arg, &listener);
    if (r < 0)
        return r;
    printf("echo over TLS on 127.0.0.1:%u\n", weft_listener_port(listener));
    fflush(stdout);
    weft_group_init(&connections);
    while ((r = weft_accept(listener, &stream)) == 0)
        if (weft_group_spawn(&connections, "connection", echo, stream) < 0)
            weft_stream_free(stream);
    weft_group_cancel(&connections);
    weft_group_join(&connections);
    weft_listener_free(listener);
    return r == -ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: tls_echo_server PORT CHAIN.pem KEY.pem\n");
        return 2;
    }
    uint16_t port = (uint16_t)strtoul(argv[1], NULL, 10);
    struct weft_tls_certificate certificate = {.chain_file = argv[2], .key_file = argv[3]};
    struct weft_tls_options options = {.certificates = &certificate, .certificate_count = 1};
    struct weft_tls_why why = {""};
    int r = weft_tls_context_new(WEFT_TLS_SERVER, &options, &why, &context);

    if (r == 0) {
        r = weft_run(NULL, serve, &port);
        weft_tls_context_unref(context);
    }
    if (r < 0)
        fprintf(stderr, "tls_echo_server: %s %s\n", strerror(-r), why.text);
    return r < 0;
}
