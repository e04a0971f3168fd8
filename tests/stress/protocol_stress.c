/* SPDX-License-Identifier: MIT */
/* Echoing protocols serve socket pairs while meddlers pause and resume them, move their marks, and
 * close or abort some, from other fibers and a plain thread.  Callbacks of a connection never
 * overlap, the last is connection_lost, once; what comes back is what was sent, up to where the
 * connection ended, and all of it where nobody ended it. */
#include <pthread.h>

#include "support/io.h"
#include "support/stress.h"

enum { PAIRS = 10, TOTAL = 60000 / STRESS_SLOW, CHUNK = 4000 };

struct world;

struct connection {
    struct world *world;
    struct weft_stream *streams[2];
    struct weft_transport *transport; /* a reference; once `made` */
    atomic_int inside, made, lost;
    atomic_bool victim; /* somebody may end it */
    bool paused;        /* told so; under the rule of one callback at a time */
    int error;
    unsigned number, slot;
    struct dice dice;
};

struct world {
    struct chaos chaos;
    struct connection connections[PAIRS];
    atomic_bool stop;
    uint64_t seed;
};

static char byte_at(unsigned number, size_t place)
{
    return (char)(place * 7 + (place >> 8) * 13 + number * 101);
}

/* ---- the protocol ---------------------------------------------------------------------------- */

static void enter(struct connection *connection)
{
    EXPECT_EQ(atomic_fetch_add(&connection->inside, 1), 0);
    EXPECT_EQ(atomic_load(&connection->lost), 0);
}

static void leave(struct connection *connection)
{
    EXPECT_EQ(atomic_fetch_sub(&connection->inside, 1), 1);
}

static int on_made(void *self, struct weft_transport *transport)
{
    struct connection *connection = self;
    enter(connection);
    connection->transport = weft_transport_ref(transport);
    weft_transport_set_write_limits(transport, 500, 3000);
    leave(connection);
    atomic_store(&connection->made, 1);
    return 0;
}

static int on_data(void *self, const void *data, size_t size)
{
    struct connection *connection = self;
    enter(connection);
    if (size % 3 == 0)
        weft_yield();  /* others may run, but no other callback */
    leave(connection); /* a write may tell of the marks, inside of this */
    int r = weft_transport_write(connection->transport, data, size);
    EXPECT(r == 0 || (r == -EPIPE && atomic_load(&connection->victim)));
    return 0;
}

static void on_pause(void *self)
{
    struct connection *connection = self;
    enter(connection);
    EXPECT(!connection->paused);
    connection->paused = true;
    leave(connection);
}

static void on_resume(void *self)
{
    struct connection *connection = self;
    enter(connection);
    EXPECT(connection->paused);
    connection->paused = false;
    leave(connection);
}

static void on_lost(void *self, int error)
{
    struct connection *connection = self;
    enter(connection);
    connection->error = error;
    leave(connection);
    EXPECT_EQ(atomic_fetch_add(&connection->lost, 1), 0);
}

static const struct weft_protocol protocol = {.connection_made = on_made,
                                              .data_received = on_data,
                                              .connection_lost = on_lost,
                                              .pause_writing = on_pause,
                                              .resume_writing = on_resume};

static int serve(void *arg)
{
    struct connection *connection = arg;
    int r = weft_protocol_run(connection->streams[0], &protocol, connection);
    EXPECT_EQ(atomic_load(&connection->lost), 1);
    EXPECT_EQ(connection->error, r);
    EXPECT(r == 0 || atomic_load(&connection->victim));
    weft_stream_free(connection->streams[0]);
    return 0;
}

/* ---- its client ------------------------------------------------------------------------------ */

static int send_all(void *arg)
{
    struct connection *connection = arg;
    struct dice dice = dice_of(connection->world->seed, 500 + connection->number);
    char data[CHUNK];
    size_t place = 0, written;
    int r = 0;
    while (place < TOTAL && r == 0) {
        struct weft_scope scope;
        size_t size = 1 + dice_roll(&dice, CHUNK);
        size = size < TOTAL - place ? size : TOTAL - place;
        for (size_t i = 0; i < size; i++)
            data[i] = byte_at(connection->number, place + i);
        chaos_enter(&connection->world->chaos, connection->slot, &dice, &scope);
        r = weft_write(connection->streams[1], data, size, &written);
        chaos_leave(&connection->world->chaos, connection->slot, &scope);
        place += written;
        r = stress_ended(r) ? 0 : r;
    }
    EXPECT(r == 0 || atomic_load(&connection->victim));
    if (r == 0)
        weft_stream_shutdown_write(connection->streams[1]);
    return 0;
}

static int receive_all(void *arg)
{
    struct connection *connection = arg;
    char data[CHUNK];
    size_t place = 0;
    ssize_t n;
    do {
        struct weft_scope scope;
        chaos_enter(&connection->world->chaos, connection->slot + 1, &connection->dice, &scope);
        n = weft_read(connection->streams[1], data, 1 + dice_roll(&connection->dice, CHUNK));
        chaos_leave(&connection->world->chaos, connection->slot + 1, &scope);
        for (ssize_t i = 0; i < n; i++)
            EXPECT_EQ(data[i], byte_at(connection->number, place + (size_t)i));
        place += n > 0 ? (size_t)n : 0;
    } while (n > 0 || stress_ended((int)n));
    EXPECT((n == 0 && place == TOTAL) || atomic_load(&connection->victim));
    return 0;
}

/* ---- meddlers -------------------------------------------------------------------------------- */

static void meddle(struct connection *connection, struct dice *dice)
{
    struct weft_transport *transport = connection->transport;
    unsigned way = dice_roll(dice, 40);
    if (way < 8)
        weft_transport_pause_reading(transport);
    if (way < 16)
        weft_transport_resume_reading(transport);
    else if (way < 20)
        weft_transport_set_write_limits(transport, dice_roll(dice, 500), dice_roll(dice, 5000));
    else if (way < 24)
        (void)weft_transport_buffered(transport);
    else if (way == 24 && connection->number % 3 == 0) {
        atomic_store(&connection->victim, true);
        weft_transport_close(transport);
    } else if (way == 25 && connection->number % 3 == 0) {
        atomic_store(&connection->victim, true);
        weft_transport_abort(transport);
    }
}

static void meddle_with_any(struct world *world, struct dice *dice)
{
    struct connection *connection = &world->connections[dice_roll(dice, PAIRS)];
    if (atomic_load(&connection->made))
        meddle(connection, dice);
}

static int meddle_as_fiber(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->seed, 900);
    while (!atomic_load(&world->stop)) {
        meddle_with_any(world, &dice);
        EXPECT_EQ(dice_roll(&dice, 8) ? weft_yield() : weft_sleep(20 * WEFT_MICROSECOND), 0);
    }
    return 0;
}

static void *meddle_as_thread(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->seed, 901);
    while (!atomic_load(&world->stop)) {
        meddle_with_any(world, &dice);
        usleep(dice_roll(&dice, 100));
    }
    return NULL;
}

/* ---- the rounds ------------------------------------------------------------------------------ */

static void start(struct world *world, struct weft_group *group, unsigned number)
{
    struct connection *connection = &world->connections[number];
    connection->world = world;
    connection->number = number;
    connection->slot = 2 * number;
    connection->dice = dice_of(world->seed, number);
    EXPECT_EQ(weft_stream_pair(connection->streams), 0);
    EXPECT_EQ(weft_group_spawn(group, "serve", serve, connection), 0);
    EXPECT_EQ(weft_group_spawn(group, "send", send_all, connection), 0);
    EXPECT_EQ(weft_group_spawn(group, "receive", receive_all, connection), 0);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct weft_group trouble, group;
    pthread_t thread;
    int before = open_fds();
    world->seed = world->chaos.seed = round->seed;
    EXPECT_EQ(pthread_create(&thread, NULL, meddle_as_thread, world), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    EXPECT_EQ(weft_group_spawn(&trouble, "meddler", meddle_as_fiber, world), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < PAIRS; i++)
        start(world, &group, i);
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world->stop, true);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    for (unsigned i = 0; i < PAIRS; i++) {
        weft_transport_unref(world->connections[i].transport);
        weft_stream_free(world->connections[i].streams[1]);
    }
    free(world);
    EXPECT_EQ(open_fds(), before);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
