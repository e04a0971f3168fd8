/* SPDX-License-Identifier: MIT */
/*
 * A client that sends bytes to a server on the other end of a socket, in pieces, and takes all that
 * comes back.  For targets that run on fibers; header only.
 *
 * T1  The client reads all the time, so that nobody waits for room; when it has sent everything it
 *     closes its direction, and calls `ended`, where what would go on without end is to be ended.
 * T2  The conversation is over when the server says so: one that never does is a hang, which the
 *     fuzzer's -timeout, or that of the test, finds.
 */
#pragma once

#include "fuzz.h"
#include "weft/weft.h"

#include <linux/sockios.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#define MOMENT_NS (500 * WEFT_MICROSECOND)

struct talk {
    const uint8_t *data; /* to be sent */
    size_t size;
    uint32_t seed; /* of the cuts; 0: all at once */
    int (*serve)(struct weft_stream *stream, void *arg);
    void *arg;
    void (*ended)(void);
    struct weft_stream *client, *server;
    int served;  /* serve()'s */
    char *reply; /* the caller's to free, and a NUL behind it */
    size_t reply_size;
};

static int talk_serve(void *arg)
{
    struct talk *talk = arg;
    talk->served = talk->serve(talk->server, talk->arg);
    weft_stream_free(talk->server);
    return 0;
}

/* 1 to 64 bytes, mostly; now and then much more. */
static size_t talk_piece(struct talk *talk, size_t left)
{
    if (talk->seed == 0)
        return left;
    talk->seed = talk->seed * 1664525 + 1013904223;
    size_t size = 1 + (talk->seed >> 20) % ((talk->seed >> 12) % 8 ? 64 : 2048);
    return size < left ? size : left;
}

/* Bytes that the server has not read. */
static int talk_untaken(const struct talk *talk)
{
    int left = 0;
    HOLDS(ioctl(weft_stream_fd(talk->client), SIOCOUTQ, &left) == 0);
    return left;
}

/* Until the server has read what was sent, or does not for a moment: it may have hung up, or be busy
 * with what it has.  Yielding rather than sleeping, because a thread that sleeps on a busy machine
 * comes back late. */
static void talk_await_taken(const struct talk *talk)
{
    uint64_t end = weft_now_ns() + MOMENT_NS;
    while (talk_untaken(talk) > 0 && weft_now_ns() < end)
        HOLDS(weft_yield() == 0);
}

static int talk_send(void *arg)
{
    struct talk *talk = arg;
    for (size_t at = 0; at < talk->size;) {
        size_t size = talk_piece(talk, talk->size - at);
        bool reads = talk_untaken(talk) == 0;
        if (weft_write(talk->client, talk->data + at, size, NULL))
            break; /* it hung up: an error of the client's, say */
        at += size;
        if (reads)
            talk_await_taken(talk);
    }
    (void)weft_stream_shutdown_write(talk->client);
    talk->ended();
    return 0;
}

static void talk_take(struct talk *talk)
{
    size_t room = 0;
    for (;;) {
        if (room - talk->reply_size < 2) {
            room = 2 * room + 65536;
            HOLDS((talk->reply = realloc(talk->reply, room)) != NULL);
        }
        ssize_t got =
            weft_read(talk->client, talk->reply + talk->reply_size, room - talk->reply_size - 1);
        if (got <= 0)
            break;
        talk->reply_size += (size_t)got;
    }
    talk->reply[talk->reply_size] = '\0';
}

/* On a fiber. */
static void talk_run(struct talk *talk)
{
    struct weft_stream *pair[2];
    struct weft_group group;
    HOLDS(weft_stream_pair(pair) == 0);
    talk->client = pair[0];
    talk->server = pair[1];
    weft_group_init(&group);
    HOLDS(weft_group_spawn(&group, "server", talk_serve, talk) == 0);
    HOLDS(weft_group_spawn(&group, "client", talk_send, talk) == 0);
    talk_take(talk);
    HOLDS(weft_group_join(&group) == 0);
    weft_stream_free(talk->client);
}
