/* SPDX-License-Identifier: MIT */
/*
 * Bytes cross socket pairs in both directions while the fibers that move them are cancelled and
 * timed out: none is lost, doubled or out of place.  Beside them, streams are freed under a fiber
 * that reads, while its peer sends, hangs up or does nothing: the reader comes back, and no
 * descriptor is left.
 */
#include "support/io.h"
#include "support/stress.h"

enum { PAIRS = 6, TOTAL = 300000 / STRESS_SLOW, CHUNK = 20000, CLOSERS = 6, CLOSINGS = 40 };

struct world {
    struct chaos chaos;
    struct weft_stream *streams[PAIRS][2];
};

struct actor {
    struct world *world;
    unsigned number; /* of the direction: pair * 2 + side that sends */
    unsigned slot;   /* in chaos */
    struct dice dice;
};

/* What stands at a place of a direction. */
static char byte_at(unsigned direction, size_t place)
{
    return (char)(place * 7 + (place >> 8) * 13 + direction * 101);
}

static int send_all(void *arg)
{
    struct actor *actor = arg;
    struct weft_stream *stream = actor->world->streams[actor->number / 2][actor->number % 2];
    char *data = malloc(TOTAL);
    size_t total = 0;
    for (size_t i = 0; i < TOTAL; i++)
        data[i] = byte_at(actor->number, i);
    while (total < TOTAL) {
        size_t size = 1 + dice_roll(&actor->dice, CHUNK), written = SIZE_MAX;
        struct weft_scope scope;
        size = size < TOTAL - total ? size : TOTAL - total;
        chaos_enter(&actor->world->chaos, actor->slot, &actor->dice, &scope);
        int r = weft_write(stream, data + total, size, &written);
        chaos_leave(&actor->world->chaos, actor->slot, &scope);
        EXPECT(r == 0 ? written == size : stress_ended(r) && written <= size);
        total += written;
    }
    free(data);
    return 0;
}

static int receive_all(void *arg)
{
    struct actor *actor = arg;
    struct weft_stream *stream = actor->world->streams[actor->number / 2][1 - actor->number % 2];
    char *data = malloc(CHUNK);
    size_t total = 0;
    while (total < TOTAL) {
        struct weft_scope scope;
        chaos_enter(&actor->world->chaos, actor->slot, &actor->dice, &scope);
        ssize_t n = weft_read(stream, data, 1 + dice_roll(&actor->dice, CHUNK));
        chaos_leave(&actor->world->chaos, actor->slot, &scope);
        EXPECT(n > 0 || stress_ended((int)n));
        for (ssize_t i = 0; i < n; i++)
            EXPECT_EQ(data[i], byte_at(actor->number, total + (size_t)i));
        total += n > 0 ? (size_t)n : 0;
    }
    free(data);
    return 0;
}

/* ---- free under a reader -------------------------------------------------------------------- */

struct closing {
    struct actor *actor;
    struct weft_stream *stream;
    atomic_bool done;
};

static int read_once(void *arg)
{
    struct closing *closing = arg;
    struct actor *actor = closing->actor;
    struct weft_scope scope;
    char byte;
    chaos_enter(&actor->world->chaos, actor->slot, &actor->dice, &scope);
    ssize_t n = weft_read(closing->stream, &byte, 1);
    chaos_leave(&actor->world->chaos, actor->slot, &scope);
    /* -EBUSY: the closer was having a look. */
    EXPECT(n == 1 || n == 0 || n == -EBADF || n == -EBUSY || stress_ended((int)n));
    atomic_store(&closing->done, true);
    return 0;
}

/* Until the reader is inside its call, or past it: only then may its stream be freed. */
static void await_reader(struct closing *closing)
{
    while (weft_stream_wait_readable(closing->stream, 0) != -EBUSY && !atomic_load(&closing->done))
        EXPECT_EQ(weft_yield(), 0);
}

static void close_one(struct actor *actor, unsigned way)
{
    struct closing closing = {.actor = actor};
    struct weft_stream *streams[2];
    struct weft_group group;
    stream_pair(streams);
    closing.stream = streams[0];
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_once, &closing), 0);
    await_reader(&closing);
    if (way == 0)
        weft_stream_free(streams[1]);
    else if (way == 1)
        weft_write(streams[1], "x", 1, NULL);
    else if (way == 2)
        weft_group_cancel(&group);
    weft_stream_free(streams[0]);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || (way == 2 && r == -ECANCELED));
    if (way != 0)
        weft_stream_free(streams[1]);
}

static int close_many(void *arg)
{
    struct actor *actor = arg;
    for (int i = 0; i < CLOSINGS; i++)
        close_one(actor, (actor->number + (unsigned)i) % 4);
    return 0;
}

/* ---- the rounds ------------------------------------------------------------------------------ */

static void start(struct weft_group *group, struct actor *actor, struct actor values,
                  int (*fn)(void *))
{
    *actor = values;
    EXPECT_EQ(weft_group_spawn(group, "actor", fn, actor), 0);
}

static void start_all(struct weft_group *group, struct world *world, struct actor *actors,
                      uint64_t seed)
{
    unsigned slot = 0;
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        struct actor sender = {world, i, slot, dice_of(seed, slot)};
        start(group, &actors[slot++], sender, send_all);
        struct actor receiver = {world, i, slot, dice_of(seed, slot)};
        start(group, &actors[slot++], receiver, receive_all);
    }
    for (unsigned i = 0; i < CLOSERS; i++) {
        struct actor closer = {world, i, slot, dice_of(seed, slot)};
        start(group, &actors[slot++], closer, close_many);
    }
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[4 * PAIRS + CLOSERS];
    struct weft_group trouble, group;
    int before = open_fds();
    for (int i = 0; i < PAIRS; i++)
        stream_pair(world.streams[i]);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    start_all(&group, &world, actors, round->seed);
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    for (int i = 0; i < PAIRS; i++)
        free_pair(world.streams[i]);
    EXPECT_EQ(open_fds(), before);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
