/* SPDX-License-Identifier: MIT */
/* One exchange on the test server's side: reading the request's body, and answering.  Goes with
 * support/http_server.h. */
#pragma once
#include <netinet/in.h>
#include <stdarg.h>
#include <strings.h>

#include "support/io.h"
#include "weft/reader.h"

enum { SERVER_BLOCK = 16 * 1024 };

struct http_server {
    struct weft_listener *listener;
    struct weft_group group;
    uint16_t port;
    int (*secure)(struct weft_stream *stream, void *arg); /* done first on each; NULL: nothing */
    void *secure_arg;
    atomic_int connections; /* accepted so far */
    atomic_int open, most;  /* now, and most at once */
    atomic_int requests;    /* whose head was read */
    atomic_int gone;        /* clients that hung up while they were to be answered */
    atomic_int go;          /* set by the test: /reset-when may reset */
    atomic_int stalled;     /* exchanges that wait for the client to hang up */
    char url[256];          /* what http_url returned last; for one fiber at a time */
};

/* One request, while it is answered. */
struct exchange {
    struct http_server *server;
    struct weft_stream *stream;
    struct weft_reader *reader;
    char method[32], target[2048];
    char *head; /* the header lines, for free */
    size_t head_size;
    int64_t length; /* of the body; -1: none said */
    bool chunked;
    bool close; /* the connection ends with this exchange */
};

/* Byte `i` of the pattern that bodies are made of. */
static inline char pattern(uint64_t i)
{
    return (char)('a' + (i + i / 251) % 26);
}

/* ---- answering -------------------------------------------------------------------------- */

/* The client may be gone at any time: then the exchange is over. */
static inline int say(struct exchange *x, const void *data, size_t size)
{
    int r = weft_write(x->stream, data, size, NULL);
    if (r < 0)
        x->close = true;
    return r;
}

__attribute__((format(printf, 2, 3))) static inline int sayf(struct exchange *x, const char *format,
                                                             ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    EXPECT(size >= 0 && size < (int)sizeof(text));
    return say(x, text, (size_t)size);
}

static inline void answer(struct exchange *x, int status, const char *body)
{
    sayf(x, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\nContent-Type: text/plain\r\n\r\n%s",
         status, strlen(body), strcmp(x->method, "HEAD") == 0 ? "" : body);
}

/* `size` bytes of the pattern from `offset` on, in pieces; `chunked` frames each of them. */
static inline int say_pattern(struct exchange *x, uint64_t size, size_t piece, bool chunked)
{
    char block[SERVER_BLOCK];
    for (uint64_t at = 0; at < size;) {
        size_t n = size - at < piece ? (size_t)(size - at) : piece;
        for (size_t i = 0; i < n; i++)
            block[i] = pattern(at + i);
        int r = chunked ? sayf(x, "%zx\r\n", n) : 0;
        if (r == 0)
            r = say(x, block, n);
        if (r == 0 && chunked)
            r = say(x, "\r\n", 2);
        if (r == 0)
            r = weft_yield(); /* a client that takes all at once must not starve the others */
        if (r < 0)
            return r;
        at += n;
    }
    return 0;
}

/* Wait until the client hangs up. */
static inline void await_hang_up(struct exchange *x)
{
    char byte;
    atomic_fetch_add(&x->server->stalled, 1);
    while (weft_reader_read(x->reader, &byte, 1) > 0)
        continue;
    atomic_fetch_add(&x->server->gone, 1);
    x->close = true;
}

static inline void reset_connection(struct exchange *x)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(weft_stream_fd(x->stream), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    x->close = true;
}

/* ---- the request's body ----------------------------------------------------------------- */

/* The size of the next chunk, 0: the last one, whose trailer is read too; negative: gone. */
static inline int64_t next_chunk(struct exchange *x)
{
    const char *line;
    size_t size;
    if (weft_reader_next_line(x->reader, &line, &size) != 1)
        return -EPIPE;
    int64_t chunk = strtoll(line, NULL, 16);
    while (chunk == 0 && weft_reader_next_line(x->reader, &line, &size) == 1 && size > 0)
        continue;
    return chunk;
}

/* Give each piece of the body to `take`. */
static inline int
each_piece(struct exchange *x,
           int (*take)(struct exchange *x, const char *data, size_t size, void *arg), void *arg)
{
    char block[SERVER_BLOCK];
    int64_t left = x->chunked ? next_chunk(x) : x->length;
    while (left > 0) {
        ssize_t n = weft_reader_read(x->reader, block,
                                     (uint64_t)left < sizeof(block) ? (size_t)left : sizeof(block));
        if (n <= 0)
            return -EPIPE;
        int r = take(x, block, (size_t)n, arg);
        if (r < 0)
            return r;
        left -= n;
        if (left == 0 && x->chunked) {
            const char *line;
            if (weft_reader_next_line(x->reader, &line, NULL) != 1)
                return -EPIPE;
            left = next_chunk(x);
        }
    }
    return left < 0 && x->chunked ? -EPIPE : 0;
}

struct gathered {
    char *data;
    size_t size;
};

static inline int gather_piece(struct exchange *x, const char *data, size_t size, void *arg)
{
    struct gathered *gathered = arg;
    (void)x;
    gathered->data = realloc(gathered->data, gathered->size + size + 1);
    EXPECT(gathered->data != NULL);
    memcpy(gathered->data + gathered->size, data, size);
    gathered->size += size;
    return 0;
}

static inline int drop_piece(struct exchange *x, const char *data, size_t size, void *arg)
{
    (void)x, (void)data, (void)size, (void)arg;
    return 0;
}
