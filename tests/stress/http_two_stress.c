/* SPDX-License-Identifier: MIT */
/* Many streams of HTTP/2 over one connection (and, without TLS, over one each), to nghttpd: bodies
 * that are read at once, slowly, in the end, by halves and not at all, bodies that are sent, and
 * requests that are cancelled.  libcurl has no timer of its own meanwhile, so a byte that it keeps
 * to itself is waited for until PATIENCE_NS is over, and that is an error.  Whatever is read is the
 * pattern, and all of it. */
#include "support/nghttpd.h"
#include "support/stress.h"

enum { STREAMS = 20, OPERATIONS = 6, SENT = 200000, DIVISOR = STRESS_SLOW > 1 ? 4 : 1 };

#define PATIENCE_NS (60 * WEFT_SECOND)

static struct nghttpd servers[2]; /* without TLS, and with it */

struct world {
    const struct nghttpd *server;
    struct weft_http_session *session;
    struct chaos chaos;
    bool tls;
    atomic_int busy;   /* actors that are not waiting for the others */
    atomic_uint alone; /* requests that may cost a connection: chunked, or cancelled */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    size_t produced;
};

enum manner { AT_ONCE, SLOWLY, LATE, BY_HALVES, CANCELLED, SMALL_ONE, SENDING, MANNERS };

/* ---- reading ------------------------------------------------------------------------------ */

static void expect_pattern(const char *block, size_t size, size_t at)
{
    for (size_t i = 0; i < size; i++)
        EXPECT_EQ(block[i], pattern(at + i));
}

static void dawdle(struct actor *actor)
{
    unsigned turns = dice_roll(&actor->dice, 30);
    for (unsigned i = 0; i < turns; i++)
        EXPECT_EQ(weft_yield(), 0);
    if (dice_roll(&actor->dice, 20) == 0)
        EXPECT_EQ(weft_sleep(dice_roll(&actor->dice, 500) * WEFT_MICROSECOND), 0);
}

/* Up to `limit` bytes of it.  Returns: what there was, or the error. */
static ssize_t read_some(struct actor *actor, struct weft_http_response *response, size_t limit,
                         bool slowly)
{
    char block[20000];
    size_t at = 0;
    ssize_t n = 1;
    while (at < limit && n > 0) {
        n = weft_http_response_read(response, block, 1 + dice_roll(&actor->dice, sizeof(block)));
        if (n < 0)
            return n;
        expect_pattern(block, (size_t)n, at);
        at += (size_t)n;
        if (slowly)
            dawdle(actor);
    }
    return (ssize_t)at;
}

/* Wait until the others are done, or wait like this one: then nothing else moves. */
static void let_others_finish(struct world *world)
{
    uint64_t end_ns = weft_deadline_after(PATIENCE_NS);
    atomic_fetch_sub(&world->busy, 1);
    while (atomic_load(&world->busy) > 0) {
        EXPECT(weft_now_ns() < end_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static ssize_t produce(void *arg, void *buffer, size_t size)
{
    struct actor *actor = arg;
    size_t left = SENT - actor->produced, n = left < size ? left : size;
    if (dice_roll(&actor->dice, 3) == 0) {
        int r = weft_yield();
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < n; i++)
        ((char *)buffer)[i] = pattern(actor->produced + i);
    actor->produced += n;
    return (ssize_t)n;
}

static int ask(struct actor *actor, enum manner manner, struct weft_http_response **ret_response)
{
    struct world *world = actor->world;
    char url[128];
    struct weft_http_request request = {.url = url};
    snprintf(url, sizeof(url), "%s://127.0.0.1:%u/%s", world->tls ? "https" : "http",
             world->server->port, manner == SMALL_ONE ? "small" : "medium");
    actor->produced = 0;
    if (manner == SENDING) {
        bool chunked = dice_roll(&actor->dice, 2);
        atomic_fetch_add(&world->alone, chunked);
        request.body = weft_http_stream(produce, NULL, actor, chunked ? -1 : SENT, NULL);
    }
    return weft_http_send(world->session, &request, ret_response);
}

/* The size of what comes, and whether it is to be read to its end. */
static size_t size_for(enum manner manner)
{
    return manner == SMALL_ONE ? SMALL : manner == SENDING ? SENT : MEDIUM;
}

/* Within the scope of CANCELLED or PATIENCE_NS.  Returns: 0, or what ended it. */
static int act_within(struct actor *actor, enum manner manner)
{
    struct weft_http_response *response;
    size_t size = size_for(manner), limit = size + 1;
    int r = ask(actor, manner, &response);
    if (r < 0)
        return r;
    EXPECT_EQ(weft_http_response_status(response), 200);
    EXPECT_EQ(weft_http_response_version(response), 20);
    if (manner == BY_HALVES)
        limit = dice_roll(&actor->dice, MEDIUM);

    if (manner == LATE)
        let_others_finish(actor->world);
    ssize_t n = read_some(actor, response, limit, manner == SLOWLY);
    if (n >= 0 && manner != BY_HALVES)
        EXPECT_EQ((size_t)n, size);
    weft_http_response_free(response);
    return n < 0 ? (int)n : 0;
}

static void act_patiently(struct actor *actor, enum manner manner)
{
    struct weft_scope scope;
    weft_scope_enter(&scope, weft_deadline_after(PATIENCE_NS));
    int r = act_within(actor, manner);
    weft_scope_leave(&scope);
    EXPECT_EQ(r, 0);
}

static void act_and_be_cancelled(struct actor *actor)
{
    struct world *world = actor->world;
    struct weft_scope scope;
    chaos_enter(&world->chaos, actor->number, &actor->dice, &scope);
    int r = act_within(actor, SMALL_ONE + (int)dice_roll(&actor->dice, 2));
    chaos_leave(&world->chaos, actor->number, &scope);
    EXPECT(r == 0 || stress_ended(r));
    atomic_fetch_add(&actor->world->alone, r != 0);
}

static int act(void *arg)
{
    struct actor *actor = arg;
    bool late = false;
    for (int i = 0; i < OPERATIONS / DIVISOR + 1; i++) {
        enum manner manner = dice_roll(&actor->dice, MANNERS);
        if (manner == LATE) {
            late = true; /* as the last thing it does */
        } else if (manner == CANCELLED) {
            act_and_be_cancelled(actor);
        } else {
            act_patiently(actor, manner);
        }
    }
    if (late)
        act_patiently(actor, LATE);
    else
        atomic_fetch_sub(&actor->world->busy, 1);
    return 0;
}

/* ---- a round ------------------------------------------------------------------------------- */

static void play_all(struct world *world)
{
    struct actor actors[STREAMS];
    struct weft_group trouble, group;
    weft_group_init(&trouble);
    weft_group_init(&group);
    atomic_init(&world->busy, STREAMS);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    for (unsigned i = 0; i < STREAMS; i++) {
        actors[i] =
            (struct actor){.world = world, .number = i, .dice = dice_of(world->chaos.seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    static const size_t read_aheads[] = {0, 1000, 16384, 100000};
    const struct stress_round *round = arg;
    bool tls = round->seed % 4 != 0;
    struct world world = {.server = &servers[tls], .chaos.seed = round->seed, .tls = tls};
    struct weft_http_session_options options = {
        .version = WEFT_HTTP_2_DIRECTLY,
        .ca_file = servers[tls].ca,
        .read_ahead = read_aheads[round->seed / 4 % 4],
    };
    EXPECT_EQ(weft_http_session_new(&options, &world.session), 0);
    play_all(&world);
    struct weft_http_session_stats stats;
    weft_http_session_stats(world.session, &stats);
    EXPECT_EQ(stats.active, 0);
    /* Where the first to connect is cancelled, all that wait for it connect by themselves. */
    if (tls)
        EXPECT(stats.connections <= STREAMS + atomic_load(&world.alone));
    weft_http_session_free(world.session);
    return 0;
}

int main(int argc, char **argv)
{
    int r = 77;
    if (nghttpd_start(&servers[0], false) && nghttpd_start(&servers[1], true))
        r = stress_main(argc, argv, play);
    else
        printf("there is no nghttpd here (Debian: nghttp2-server)\n");
    nghttpd_stop(&servers[0]);
    nghttpd_stop(&servers[1]);
    return r;
}
