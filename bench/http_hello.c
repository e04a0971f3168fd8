/* SPDX-License-Identifier: MIT */
/*
 * The server of the row http_hello: on a keep-alive connection, whatever ends in an empty line gets
 * the same answer.  It parses nothing, and neither do the servers it is compared with: what is
 * measured is the way from the socket to a fiber and back.
 *
 * It listens on a port of loopback that the kernel picks, prints `port<TAB>N<TAB>http_hello`, and
 * ends on SIGTERM.  bench/harness/http.py drives it with wrk and takes the figures.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/listener.h>
#include <weft/server.h>
#include <weft/stream.h>

static const char end[] = "\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 14\r\n\r\nHello, world!\n";

static int hello(struct weft_stream *stream, void *unused)
{
    char request[4096];
    size_t have = 0;
    ssize_t n;

    (void)unused;
    while ((n = weft_read(stream, request + have, sizeof(request) - have)) > 0) {
        have += (size_t)n;
        if (have < 4 || memcmp(request + have - 4, end, 4) != 0)
            continue; /* a full buffer without an end reads 0 bytes next, and ends it */
        have = 0;
        n = weft_write(stream, answer, sizeof(answer) - 1, NULL);
        if (n < 0)
            break;
    }
    return (int)n;
}

static double serve(void)
{
    struct weft_listener *listener;
    int r;

    bench_check(weft_listen_tcp("127.0.0.1", 0, &listener) == 0, "listen");
    printf("port\t%u\thttp_hello\n", weft_listener_port(listener));
    fflush(stdout);
    r = weft_serve(listener, hello, NULL, NULL);
    bench_check(r == -ECANCELED, "the server ends by a signal");
    weft_listener_free(listener);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {{"http_hello", serve, NULL, 1}};

    return bench_main(argc, argv, rows, 1);
}
