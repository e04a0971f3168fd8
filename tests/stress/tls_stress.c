/* SPDX-License-Identifier: MIT */
/* TLS connections over short sockets: both ends read and write at once, change keys, are cancelled
 * and timed out in the middle of anything, some are cut off, and the certificates are read again
 * meanwhile.  Every byte that counts as written arrives, once and in order, or the connection says
 * that it was cut; and nothing is left over. */
#include "core/watch.h"
#include "support/stress.h"
#include "unit/tls/tls_support.h"

enum { CONNECTIONS = 6, TOTAL = 160 * 1024 / STRESS_SLOW };

struct play {
    struct world *world;
    struct chaos chaos;
};

/* One end of a connection, with a fiber that reads and one that writes. */
struct end {
    struct play *play;
    struct weft_stream *stream;
    struct weft_tls_context *context;
    bool client;
    unsigned number; /* of the end; its two fibers have chaos slots of their own */
    bool cut;        /* somebody cuts this connection */
    int shaken;      /* what the handshake came to */
};

static char byte_at(size_t i)
{
    return (char)(i * 31 + (i >> 9));
}

/* What a connection that was cut may come to. */
static bool cut_off(int r)
{
    return r == -ECONNRESET || r == -EPIPE || r == -EPROTO || r == -ECONNABORTED;
}

/* ---- one end ------------------------------------------------------------------------------ */

static int shake_hands(void *arg)
{
    struct end *end = arg;
    struct play *play = end->play;
    struct dice dice = dice_of(play->chaos.seed, end->number);
    struct weft_scope scope;

    chaos_enter(&play->chaos, end->number, &dice, &scope);
    end->shaken = end->client ? weft_tls_client(end->stream, end->context, "good.test", soon())
                              : weft_tls_server(end->stream, end->context, soon());
    chaos_leave(&play->chaos, end->number, &scope);
    if (end->shaken < 0) {
        EXPECT(stress_ended(end->shaken) || cut_off(end->shaken));
        shutdown(weft_stream_fd(end->stream), SHUT_RDWR); /* the other end need not wait */
    }
    return 0;
}

static int write_some(struct end *end, struct dice *dice, size_t *at)
{
    char data[20000];
    size_t size = 1 + dice_roll(dice, sizeof(data)), written = 0;

    if (size > TOTAL - *at)
        size = TOTAL - *at;
    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(*at + i);
    int r = dice_roll(dice, 6) ? weft_write(end->stream, data, size, &written)
                               : weft_tls_update_keys(end->stream);
    EXPECT(written <= size && (r < 0 || written == size || written == 0));
    *at += written;
    return r;
}

static int write_all(void *arg)
{
    struct end *end = arg;
    struct play *play = end->play;
    struct dice dice = dice_of(play->chaos.seed, 100 + end->number);
    struct weft_scope scope;
    size_t at = 0;
    int r = 0;

    while (at < TOTAL || r != 0) { /* at the end: until close_notify is out */
        chaos_enter(&play->chaos, 16 + end->number, &dice, &scope);
        r = at < TOTAL ? write_some(end, &dice, &at) : weft_stream_shutdown_write(end->stream);
        chaos_leave(&play->chaos, 16 + end->number, &scope);
        if (r == 0 && at == TOTAL)
            r = weft_stream_shutdown_write(end->stream);
        if (r == 0 || stress_ended(r) || r == -EOPNOTSUPP)
            continue;
        EXPECT(end->cut && cut_off(r));
        return 0;
    }
    return 0;
}

static int read_all(void *arg)
{
    struct end *end = arg;
    struct play *play = end->play;
    struct dice dice = dice_of(play->chaos.seed, 200 + end->number);
    struct weft_scope scope;
    char data[9000];
    size_t at = 0;
    ssize_t n;

    for (;;) {
        chaos_enter(&play->chaos, 32 + end->number, &dice, &scope);
        n = dice_roll(&dice, 8) == 0 ? weft_stream_wait_readable(end->stream, soon()) : 1;
        if (n >= 0)
            n = weft_read(end->stream, data, 1 + dice_roll(&dice, sizeof(data)));
        chaos_leave(&play->chaos, 32 + end->number, &scope);
        if (n < 0 && stress_ended((int)n))
            continue;
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            EXPECT(data[i] == byte_at(at + (size_t)i));
        at += (size_t)n;
    }
    EXPECT(n == 0 ? at == TOTAL : end->cut && cut_off((int)n));
    return 0;
}

/* ---- a connection --------------------------------------------------------------------------- */

static void cut_later(struct end *end, struct dice *dice)
{
    for (unsigned i = dice_roll(dice, 200); i > 0; i--)
        EXPECT_EQ(weft_yield(), 0);
    shutdown(weft_stream_fd(end->stream), SHUT_RDWR);
}

static void talk(struct end ends[2], struct dice *dice)
{
    struct weft_group group;

    weft_group_init(&group);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(weft_group_spawn(&group, "write", write_all, &ends[i]), 0);
        EXPECT_EQ(weft_group_spawn(&group, "read", read_all, &ends[i]), 0);
    }
    if (ends[0].cut)
        cut_later(&ends[dice_roll(dice, 2)], dice);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void make_short_pair(struct end ends[2])
{
    int fds[2], size = 4096;

    raw_pair(fds);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        EXPECT_EQ(weft_stream_new(fds[i], &ends[i].stream), 0);
    }
}

struct line {
    struct play *play;
    unsigned number;
};

static int connection(void *arg)
{
    const struct line *line = arg;
    struct play *play = line->play;
    struct dice dice = dice_of(play->chaos.seed, 300 + line->number);
    bool cut = dice_roll(&dice, 3) == 0;
    struct weft_group group;
    struct end ends[2];

    for (unsigned i = 0; i < 2; i++)
        ends[i] =
            (struct end){.play = play,
                         .context = i ? play->world->server_context : play->world->client_context,
                         .client = i == 0,
                         .number = 2 * line->number + i,
                         .cut = cut};
    make_short_pair(ends);
    weft_group_init(&group);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_group_spawn(&group, "handshake", shake_hands, &ends[i]), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    if (ends[0].shaken == 0 && ends[1].shaken == 0)
        talk(ends, &dice);
    weft_stream_free(ends[0].stream);
    weft_stream_free(ends[1].stream);
    return 0;
}

static int reload(void *arg)
{
    struct play *play = arg;

    while (!atomic_load(&play->chaos.stop)) {
        EXPECT_EQ(weft_tls_context_reload(play->world->server_context, NULL), 0);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    }
    return 0;
}

/* ---- a round -------------------------------------------------------------------------------- */

static struct world world; /* of all rounds: keys and certificates take a while to make */

static void hold_connections(struct play *play)
{
    struct line lines[CONNECTIONS];
    struct weft_group group;

    weft_group_init(&group);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        lines[i] = (struct line){play, i};
        EXPECT_EQ(weft_group_spawn(&group, "connection", connection, &lines[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
}

static int play(void *arg)
{
    const struct stress_round *round = arg;
    struct play game = {.world = &world, .chaos.seed = round->seed};
    struct weft_group group;
    unsigned watches = watch_count();

    world.server_options.max_version = round->seed % 4 ? WEFT_TLS_1_3 : WEFT_TLS_1_2;
    world_open(&world);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "chaos", chaos_run, &game.chaos), 0);
    EXPECT_EQ(weft_group_spawn(&group, "reload", reload, &game), 0);
    hold_connections(&game);
    atomic_store(&game.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&group), 0);
    world_close(&world);
    EXPECT_EQ(watch_count(), watches);
    return 0;
}

int main(int argc, char **argv)
{
    int fds = open_fds();

    world_init(&world);
    int r = stress_main(argc, argv, play);
    world_destroy(&world);
    EXPECT_EQ(open_fds(), fds);
    return r;
}
