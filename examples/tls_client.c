/* SPDX-License-Identifier: MIT */
/* Fetches a page over TLS, by name, and says whom it talked to.
 * Try: build/release/examples/tls_client example.org 443 */
#include <stdio.h>
#include <stdlib.h>
#include <weft/tls_connect.h>
#include <weft/weft.h>

static int talk(struct weft_stream *stream, const char *host)
{
    struct weft_tls_info info;
    struct weft_tls_peer peer;
    char buffer[4096];
    ssize_t n;
    int size = snprintf(buffer, sizeof(buffer),
                        "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    int r = weft_write(stream, buffer, (size_t)size, NULL);

    if (r < 0)
        return r;
    weft_tls_info(stream, &info);
    weft_tls_peer(stream, &peer);
    fprintf(stderr, "%s, %s, %s for %s\n", info.version, info.cipher, peer.subject, peer.names);
    while ((n = weft_read(stream, buffer, sizeof(buffer))) > 0)
        fwrite(buffer, 1, (size_t)n, stdout);
    return (int)n;
}

static int fetch(void *arg)
{
    char **argv = arg;
    struct weft_tls_options options = {.ca_file = argv[3]}; /* NULL: the system's */
    struct weft_tls_context *context;
    struct weft_tls_why why = {""};
    struct weft_stream *stream;
    uint16_t port = (uint16_t)strtoul(argv[2], NULL, 10);
    int r = weft_tls_context_new(WEFT_TLS_CLIENT, &options, &why, &context);

    if (r == 0) {
        uint64_t deadline = weft_deadline_after(30 * WEFT_SECOND);
        r = weft_tls_connect(argv[1], port, context, deadline, &why, &stream);
        weft_tls_context_unref(context);
    }
    if (r == 0) {
        r = talk(stream, argv[1]);
        weft_tls_why(stream, &why);
        weft_stream_free(stream);
    }
    if (r < 0)
        fprintf(stderr, "tls_client: %s\n", why.text);
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: tls_client HOST PORT [CA.pem]\n");
        return 2;
    }
    return weft_run(NULL, fetch, argv) < 0;
}
