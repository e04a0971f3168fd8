/* SPDX-License-Identifier: MIT */
/*
 * A key-value server that speaks the Redis protocol (RESP 2): a fiber per connection.  Replies to
 * pipelined commands go out together.  Ctrl-C stops it.
 *
 * Try: build/release/examples/kv_server 7379 & redis-cli -p 7379 set greeting hello
 *      redis-benchmark -p 7379 -t ping,set,get,incr,mset -P 16
 */
#include "table.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <weft/weft.h>

enum { MAX_ARGUMENTS = 64 * 1024, MAX_ARGUMENT = 64 << 20 };

struct client {
    struct weft_reader in;
    struct weft_writer out;
    struct text *words; /* the command under way */
    size_t count;
    bool quit;
};

/* ---- replies ------------------------------------------------------------------------------- */

static int reply_text(struct client *client, const struct text *text)
{
    int r = weft_writer_printf(&client->out, "$%zu\r\n", text->size);
    if (r == 0)
        r = weft_writer_write(&client->out, text->data, text->size);
    return r < 0 ? r : weft_writer_write(&client->out, "\r\n", 2);
}

static int reply_line(struct client *client, const char *line)
{
    return weft_writer_printf(&client->out, "%s\r\n", line);
}

static int reply_integer(struct client *client, long long number)
{
    return weft_writer_printf(&client->out, ":%lld\r\n", number);
}

static int reply_error(struct client *client, int error)
{
    switch (error) {
    case -EINVAL:
        return reply_line(client, "-ERR value is not an integer or out of range");
    case -ERANGE:
        return reply_line(client, "-ERR increment or decrement would overflow");
    default:
        return reply_line(client, "-OOM out of memory");
    }
}

/* ---- commands ------------------------------------------------------------------------------ */

static int on_ping(struct client *client)
{
    return client->count > 1 ? reply_text(client, &client->words[1]) : reply_line(client, "+PONG");
}

static int on_echo(struct client *client)
{
    return reply_text(client, &client->words[1]);
}

static int on_set(struct client *client)
{
    int r = table_set(&client->words[1], &client->words[2]);
    return r < 0 ? reply_error(client, r) : reply_line(client, "+OK");
}

static int reply_value(struct client *client, const struct text *key)
{
    struct text value;
    int r = table_get(key, &value);
    if (r == -ENOENT)
        return reply_line(client, "$-1");
    if (r < 0)
        return reply_error(client, r);
    r = reply_text(client, &value);
    free(value.data);
    return r;
}

static int on_get(struct client *client)
{
    return reply_value(client, &client->words[1]);
}

static int on_mset(struct client *client)
{
    int r = 0;

    if (client->count % 2 == 0)
        return reply_line(client, "-ERR wrong number of arguments for 'mset' command");
    for (size_t i = 1; i < client->count && r == 0; i += 2)
        r = table_set(&client->words[i], &client->words[i + 1]);
    return r < 0 ? reply_error(client, r) : reply_line(client, "+OK");
}

static int on_mget(struct client *client)
{
    int r = weft_writer_printf(&client->out, "*%zu\r\n", client->count - 1);
    for (size_t i = 1; i < client->count && r == 0; i++)
        r = reply_value(client, &client->words[i]);
    return r;
}

static int on_del(struct client *client)
{
    long long count = 0;

    for (size_t i = 1; i < client->count; i++)
        count += table_delete(&client->words[i]);
    return reply_integer(client, count);
}

static int on_exists(struct client *client)
{
    struct text value;
    long long count = 0;

    for (size_t i = 1; i < client->count; i++) {
        if (table_get(&client->words[i], &value) < 0)
            continue;
        free(value.data);
        count++;
    }
    return reply_integer(client, count);
}

static int add(struct client *client, long long step)
{
    long long sum;
    int r = table_add(&client->words[1], step, &sum);
    return r < 0 ? reply_error(client, r) : reply_integer(client, sum);
}

static int on_incr(struct client *client)
{
    return add(client, 1);
}

static int on_decr(struct client *client)
{
    return add(client, -1);
}

static int on_incrby(struct client *client)
{
    long long step;
    int r = parse_integer(&client->words[2], &step);
    return r < 0 ? reply_error(client, r) : add(client, step);
}

static int on_dbsize(struct client *client)
{
    return reply_integer(client, table_count());
}

static int on_flushall(struct client *client)
{
    table_clear();
    return reply_line(client, "+OK");
}

/* redis-cli and redis-benchmark ask for both, and go on when there is nothing to tell. */
static int on_nothing(struct client *client)
{
    return reply_line(client, "*0");
}

static int on_quit(struct client *client)
{
    client->quit = true;
    return reply_line(client, "+OK");
}

static const struct command {
    const char *name;
    size_t least, most; /* words, the command's name included; most 0: any number */
    int (*run)(struct client *client);
} commands[] = {
    {"ping", 1, 2, on_ping},         {"echo", 2, 2, on_echo},       {"set", 3, 3, on_set},
    {"get", 2, 2, on_get},           {"mset", 3, 0, on_mset},       {"mget", 2, 0, on_mget},
    {"del", 2, 0, on_del},           {"exists", 2, 0, on_exists},   {"incr", 2, 2, on_incr},
    {"decr", 2, 2, on_decr},         {"incrby", 3, 3, on_incrby},   {"dbsize", 1, 1, on_dbsize},
    {"flushall", 1, 2, on_flushall}, {"command", 1, 0, on_nothing}, {"config", 1, 0, on_nothing},
    {"quit", 1, 1, on_quit},
};

static int execute(struct client *client)
{
    const char *name = client->words[0].data;

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct command *command = &commands[i];
        if (strcasecmp(name, command->name) != 0)
            continue;
        if (client->count < command->least || (command->most && client->count > command->most))
            return weft_writer_printf(
                &client->out, "-ERR wrong number of arguments for '%s' command\r\n", command->name);
        return command->run(client);
    }
    return weft_writer_printf(&client->out, "-ERR unknown command '%.64s'\r\n", name);
}

/* ---- the wire ------------------------------------------------------------------------------ */

static int add_word(struct client *client, const char *data, size_t size)
{
    struct text *words = realloc(client->words, (client->count + 1) * sizeof *words);
    if (!words)
        return -ENOMEM;
    client->words = words;
    char *copy = malloc(size + 1);
    if (!copy)
        return -ENOMEM;
    if (data)
        memcpy(copy, data, size);
    copy[size] = '\0';
    words[client->count++] = (struct text){copy, size};
    return 0;
}

static void forget_words(struct client *client)
{
    while (client->count > 0)
        free(client->words[--client->count].data);
}

/* A line "TYPE NUMBER".  Errors: -EPROTO it is not that, or beyond `most`. */
static int read_count(struct client *client, char type, long long most, long long *ret_count)
{
    const char *line;
    size_t size;
    long long count;
    int r = weft_reader_next_line(&client->in, &line, &size);
    if (r <= 0)
        return r < 0 ? r : -EPROTO;
    const struct text number = {(char *)line + 1, size ? size - 1 : 0};
    if (size < 2 || line[0] != type || parse_integer(&number, &count) < 0 || count > most)
        return -EPROTO;
    *ret_count = count;
    return 0;
}

static int read_word(struct client *client)
{
    char end[2];
    long long size;
    int r = read_count(client, '$', MAX_ARGUMENT, &size);
    if (r == 0 && size < 0)
        r = -EPROTO;
    if (r == 0)
        r = add_word(client, NULL, (size_t)size);
    if (r == 0)
        r = weft_reader_readexactly(&client->in, client->words[client->count - 1].data,
                                    (size_t)size);
    if (r == 0)
        r = weft_reader_readexactly(&client->in, end, sizeof end);
    return r < 0 ? r : memcmp(end, "\r\n", 2) == 0 ? 0 : -EPROTO;
}

/* What somebody types by telnet: words with spaces between. */
static int read_inline(struct client *client)
{
    const char *line;
    int r = weft_reader_next_line(&client->in, &line, NULL);
    if (r <= 0)
        return r;
    for (const char *word = line; r >= 0 && *(word += strspn(word, " \t"));) {
        size_t size = strcspn(word, " \t");
        r = add_word(client, word, size);
        word += size;
    }
    return r < 0 ? r : 1;
}

/* Returns: 1 a command (of no words: nothing to do), 0 the end. */
static int read_command(struct client *client)
{
    const char *first;
    long long count;
    ssize_t n = weft_reader_peek(&client->in, 1, &first);
    if (n <= 0)
        return (int)n;
    if (*first != '*')
        return read_inline(client);
    int r = read_count(client, '*', MAX_ARGUMENTS, &count);
    while (r == 0 && count-- > 0)
        r = read_word(client);
    return r < 0 ? r : 1;
}

static int serve_client(struct client *client)
{
    int r = 0;

    while (!client->quit && (r = read_command(client)) > 0) {
        r = client->count > 0 ? execute(client) : 0;
        forget_words(client);
        if (r == 0 && weft_reader_buffered(&client->in) == 0)
            r = weft_writer_flush(&client->out);
        if (r < 0)
            return r;
    }
    if (r == -EPROTO || r == -EMSGSIZE)
        reply_line(client, "-ERR Protocol error");
    return r;
}

static int on_connection(void *arg)
{
    struct weft_stream *stream = arg;
    struct client client = {.words = NULL};

    weft_reader_init(&client.in, stream);
    weft_writer_init(&client.out, stream);
    serve_client(&client);
    forget_words(&client);
    free(client.words);
    weft_writer_close(&client.out);
    weft_reader_destroy(&client.in);
    weft_stream_free(stream);
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
    printf("key-value server on 127.0.0.1:%u\n", weft_listener_port(listener));
    fflush(stdout);
    weft_group_init(&connections);
    while ((r = weft_accept(listener, &stream)) == 0)
        if (weft_group_spawn(&connections, "connection", on_connection, stream) < 0)
            weft_stream_free(stream);
    weft_group_cancel(&connections);
    weft_group_join(&connections);
    weft_listener_free(listener);
    table_clear();
    return r == -ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
    uint16_t port = argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 7379;
    int r = weft_run(NULL, serve, &port);

    if (r < 0)
        fprintf(stderr, "kv_server: %s\n", strerror(-r));
    return r < 0;
}
