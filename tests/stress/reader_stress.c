/* SPDX-License-Identifier: MIT */
/* Bytes cross socket pairs from a writer to a reader, by every call that these have, in fibers that
 * are cancelled and timed out: each arrives once and in its place, and records end where they
 * should. */
#include "support/io.h"
#include "support/stress.h"

enum { PAIRS = 8, TOTAL = 200000 / STRESS_SLOW, MOST = 3000 };

struct world {
    struct chaos chaos;
    struct weft_stream *streams[PAIRS][2];
};

struct actor {
    struct world *world;
    unsigned pair, slot;
    struct dice dice;
};

/* What stands at a place: letters, and here and there a newline. */
static char byte_at(unsigned pair, size_t place)
{
    uint32_t hash = (uint32_t)(place + pair * 7919) * UINT32_C(2654435761);
    hash ^= hash >> 15;
    return hash % 61 == 0 ? '\n' : (char)('a' + hash % 5);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int write_some(struct actor *actor, struct weft_writer *writer, const char *data,
                      size_t size)
{
    struct iovec pieces[2] = {{(char *)data, size / 3}, {(char *)data + size / 3, size - size / 3}};
    switch (dice_roll(&actor->dice, 5)) {
    case 0:
        return weft_writer_put(writer, data, size);
    case 1:
        return weft_writer_writev(writer, pieces, 2);
    case 2:
        return weft_writer_printf(writer, "%.*s", (int)size, data);
    default:
        return weft_writer_write(writer, data, size);
    }
}

/* Data that a call has seen is taken, whatever it returned. */
static size_t write_piece(struct actor *actor, struct weft_writer *writer, size_t place)
{
    char data[MOST];
    size_t size = 1 + dice_roll(&actor->dice, MOST);
    size = size < TOTAL - place ? size : TOTAL - place;
    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(actor->pair, place + i);
    int r = write_some(actor, writer, data, size);
    EXPECT(r == 0 || stress_ended(r));
    if (dice_roll(&actor->dice, 3) == 0)
        r = dice_roll(&actor->dice, 2) ? weft_writer_drain(writer) : weft_writer_flush(writer);
    EXPECT(r == 0 || stress_ended(r));
    return size;
}

static int send_all(void *arg)
{
    struct actor *actor = arg;
    struct weft_stream *stream = actor->world->streams[actor->pair][0];
    struct weft_writer writer;
    struct weft_scope scope;
    size_t high = dice_roll(&actor->dice, 2) ? WEFT_WRITER_HIGH : dice_roll(&actor->dice, 2000);
    weft_writer_init(&writer, stream);
    weft_writer_set_marks(&writer, high / 3, high);
    for (size_t place = 0; place < TOTAL;) {
        chaos_enter(&actor->world->chaos, actor->slot, &actor->dice, &scope);
        place += write_piece(actor, &writer, place);
        chaos_leave(&actor->world->chaos, actor->slot, &scope);
    }
    EXPECT_EQ(weft_writer_close(&writer), 0);
    EXPECT_EQ(weft_stream_shutdown_write(stream), 0);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void check(const struct actor *actor, size_t place, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        EXPECT_EQ(data[i], byte_at(actor->pair, place + i));
}

/* A record, which ends with the separator, and has none before. */
static ssize_t read_record(struct actor *actor, struct weft_reader *reader, size_t place,
                           const char *separator)
{
    size_t length = strlen(separator);
    const char *data;
    ssize_t n = weft_reader_readuntil(reader, separator, length, &data);
    if (n <= 0)
        return n;
    size_t size = (size_t)n;
    check(actor, place, data, size);
    EXPECT_EQ(data[size], '\0');
    EXPECT(memmem(data, size, separator, length) == data + size - length);
    return n;
}

static ssize_t read_exactly_some(struct actor *actor, struct weft_reader *reader, size_t place)
{
    char data[MOST];
    size_t size = 1 + dice_roll(&actor->dice, MOST);
    int r = weft_reader_readexactly(reader, data, size);
    if (r < 0)
        return r;
    check(actor, place, data, size);
    return (ssize_t)size;
}

static ssize_t peek_some(struct actor *actor, struct weft_reader *reader, size_t place)
{
    const char *data;
    ssize_t n = weft_reader_peek(reader, 1 + dice_roll(&actor->dice, 100), &data);
    if (n <= 0)
        return n;
    check(actor, place, data, (size_t)n);
    size_t size = 1 + dice_roll(&actor->dice, (unsigned)n);
    weft_reader_consume(reader, size);
    return (ssize_t)size;
}

static ssize_t read_any(struct actor *actor, struct weft_reader *reader, size_t place)
{
    char data[2 * MOST];
    ssize_t n = weft_reader_read(reader, data, 1 + dice_roll(&actor->dice, 2 * MOST));
    if (n > 0)
        check(actor, place, data, (size_t)n);
    return n;
}

/* Returns: bytes that were taken, 0 at the end, or an error, when none was. */
static ssize_t read_some(struct actor *actor, struct weft_reader *reader, size_t place)
{
    weft_reader_set_limit(reader, 2 + dice_roll(&actor->dice, 400));
    switch (dice_roll(&actor->dice, 5)) {
    case 0:
        return read_record(actor, reader, place, "\n");
    case 1:
        return read_record(actor, reader, place, "abc");
    case 2:
        return read_exactly_some(actor, reader, place);
    case 3:
        return peek_some(actor, reader, place);
    default:
        return read_any(actor, reader, place);
    }
}

static int receive_all(void *arg)
{
    struct actor *actor = arg;
    struct weft_reader reader;
    struct weft_scope scope;
    size_t place = 0;
    ssize_t n;
    weft_reader_init(&reader, actor->world->streams[actor->pair][1]);
    do {
        chaos_enter(&actor->world->chaos, actor->slot, &actor->dice, &scope);
        n = read_some(actor, &reader, place);
        chaos_leave(&actor->world->chaos, actor->slot, &scope);
        EXPECT(n >= 0 || stress_ended((int)n) || n == -ENODATA || n == -EMSGSIZE);
        place += n > 0 ? (size_t)n : 0;
    } while (n != 0);
    EXPECT_EQ(place, TOTAL);
    EXPECT(weft_reader_at_end(&reader));
    weft_reader_destroy(&reader);
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[2 * PAIRS];
    struct weft_group trouble, group;
    for (int i = 0; i < PAIRS; i++)
        EXPECT_EQ(weft_stream_pair(world.streams[i]), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        actors[i] = (struct actor){&world, i / 2, i, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", i % 2 ? receive_all : send_all, &actors[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    for (int i = 0; i < PAIRS; i++)
        free_pair(world.streams[i]);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
