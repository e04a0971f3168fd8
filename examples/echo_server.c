/* SPDX-License-Identifier: MIT */
/* A TCP echo server: a fiber per connection.  Ctrl-C stops it.
 * Try: build/release/examples/echo_server 7007 & printf hello | socat - TCP:127.0.0.1:7007 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

static int echo(void *arg)
{
    struct weft_stream *stream = arg;
    char buffer[4096];
    ssize_t n;

    while ((n = weft_read(stream, buffer, sizeof(buffer))) > 0)
        if (weft_write(stream, buffer, (size_t)n, NULL) < 0)
            break;
    weft_stream_free(stream);
    return 0; /* one connection's trouble is not the group's */
}

static int serve(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct weft_group connections;
    int r = weft_listen_tcp("127.0.0.1", *(uint16_t *)arg, &listener);

    if (r < 0)
        return r;
    printf("echo on 127.0.0.1:%u\n", weft_listener_port(listener));
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
    uint16_t port = argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 7007;
    int r = weft_run(NULL, serve, &port);

    if (r < 0)
        fprintf(stderr, "echo_server: %s\n", strerror(-r));
    return r < 0;
}
