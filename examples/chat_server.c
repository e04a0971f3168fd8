/* SPDX-License-Identifier: MIT */
/*
 * A chat over TCP: the first line is a name, and every further line goes to all others.  Each
 * guest has a fiber that reads and one that writes from a bounded channel, so that a guest who does
 * not read holds nobody up: what does not fit is dropped for that guest alone.  Ctrl-C ends it.
 *
 * Try, in two terminals: build/release/examples/chat_server 7008 &  socat - TCP:127.0.0.1:7008
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum { MAX_LINE = 512, WAITING_LINES = 64 };

struct line {
    char text[MAX_LINE];
};

struct guest {
    struct guest *next;
    struct weft_stream *stream;
    struct weft_channel *lines; /* to the guest */
    char name[32];
};

static struct weft_mutex lock; /* all zeroes: unlocked */
static struct guest *guests;   /* under the lock */

/* ---- the room ------------------------------------------------------------------------------ */

/* To all but `from`; under the lock, so that all read the lines in the same order. */
__attribute__((format(printf, 2, 3))) static void say_locked(const struct guest *from,
                                                             const char *format, ...)
{
    struct line line;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line.text, sizeof line.text, format, arguments);
    va_end(arguments);
    for (struct guest *guest = guests; guest; guest = guest->next)
        if (guest != from)
            weft_channel_try_send(guest->lines, &line);
}

static void say(const struct guest *from, const char *text)
{
    weft_mutex_lock_shielded(&lock);
    say_locked(from, "%s: %s\n", from->name, text);
    weft_mutex_unlock(&lock);
}

/* Under one hold of the lock: who has read the welcome is in, and has been announced. */
static void enter_room(struct guest *guest)
{
    struct line welcome;

    snprintf(welcome.text, sizeof welcome.text, "* welcome, %s\n", guest->name);
    weft_mutex_lock_shielded(&lock);
    say_locked(guest, "* %s has come\n", guest->name);
    guest->next = guests;
    guests = guest;
    weft_channel_try_send(guest->lines, &welcome);
    weft_mutex_unlock(&lock);
}

static void leave_room(struct guest *guest)
{
    weft_mutex_lock_shielded(&lock);
    struct guest **place = &guests;
    while (*place != guest)
        place = &(*place)->next;
    *place = guest->next;
    say_locked(guest, "* %s has left\n", guest->name);
    weft_mutex_unlock(&lock);
}

/* ---- a guest ------------------------------------------------------------------------------- */

static int write_lines(void *arg)
{
    struct guest *guest = arg;
    struct line line;
    int r;

    while ((r = weft_channel_recv(guest->lines, &line, WEFT_NO_DEADLINE)) == 0) {
        r = weft_write(guest->stream, line.text, strlen(line.text), NULL);
        if (r < 0)
            return r; /* cancels the reader too */
    }
    return r == -EPIPE ? 0 : r;
}

static int read_lines(struct guest *guest, struct weft_reader *reader)
{
    const char *line;
    int r = weft_reader_next_line(reader, &line, NULL);

    if (r <= 0)
        return r;
    snprintf(guest->name, sizeof guest->name, "%s", *line ? line : "somebody");
    enter_room(guest);
    while ((r = weft_reader_next_line(reader, &line, NULL)) > 0)
        say(guest, line);
    leave_room(guest);
    return r;
}

static void chat(struct guest *guest)
{
    struct weft_group writer;
    struct weft_reader reader;

    weft_reader_init(&reader, guest->stream);
    weft_group_init(&writer);
    if (weft_group_spawn(&writer, "writer", write_lines, guest) == 0)
        read_lines(guest, &reader);
    weft_channel_close(guest->lines);
    weft_group_cancel(&writer);
    weft_group_join(&writer);
    weft_reader_destroy(&reader);
}

static int on_connection(void *arg)
{
    struct guest guest = {.stream = arg};

    if (weft_channel_new(sizeof(struct line), WAITING_LINES, &guest.lines) == 0)
        chat(&guest);
    weft_channel_free(guest.lines);
    weft_stream_free(guest.stream);
    return 0; /* one guest's trouble is not the room's */
}

static int serve(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct weft_group connections;
    int r = weft_listen_tcp("127.0.0.1", *(uint16_t *)arg, &listener);

    if (r < 0)
        return r;
    printf("chat on 127.0.0.1:%u\n", weft_listener_port(listener));
    fflush(stdout);
    weft_group_init(&connections);
    while ((r = weft_accept(listener, &stream)) == 0)
        if (weft_group_spawn(&connections, "guest", on_connection, stream) < 0)
            weft_stream_free(stream);
    weft_group_cancel(&connections);
    weft_group_join(&connections);
    weft_listener_free(listener);
    return r == -ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
    uint16_t port = argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 7008;
    int r = weft_run(NULL, serve, &port);

    if (r < 0)
        fprintf(stderr, "chat_server: %s\n", strerror(-r));
    return r < 0;
}
