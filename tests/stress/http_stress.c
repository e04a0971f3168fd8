/* SPDX-License-Identifier: MIT */
/* Fibers send requests over one session, to a server that behaves well and badly, are cancelled and
 * timed out at any moment, read bodies by halves, and drop them: what comes is right, every end is
 * one that is documented, and in the end nothing moves any more and the session works.  Every few
 * rounds the session is freed under way. */
#include "support/stress.h"
#include "support/web.h"

enum { FIBERS = 24, OPERATIONS = 20 / (STRESS_SLOW > 1 ? 4 : 1) };

struct world {
    struct web web;
    struct chaos chaos;
    bool freed_early;
    atomic_int inside; /* fibers whose request has begun */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    uint64_t produced, to_produce;
    bool counted;
};

static const struct {
    const char *path;
    uint64_t size; /* of the pattern that comes */
} good[] = {{"/bytes/0", 0},         {"/bytes/100", 100},       {"/bytes/300000", 300000},
            {"/chunked/5000", 5000}, {"/chunked/70000", 70000}, {"/drip/30", 30},
            {"/to-end/2000", 2000}};

static const char *const bad[] = {"/half",       "/half-chunk",  "/close",   "/reset",
                                  "/reset-half", "/never",       "/garbage", "/stall/9",
                                  "/early",      "/gzip-broken", "/hang-up", "/loop"};

/* What a request to a server that misbehaves, or that was cancelled, may end with. */
static bool may_end_so(struct world *world, int r)
{
    return r == 0 || stress_ended(r) || r == -ECONNRESET || r == -EPIPE || r == -EPROTO ||
           r == -EBADMSG || r == -ELOOP || (world->freed_early && r == -ESHUTDOWN);
}

static int note(struct world *world, int r)
{
    if (!may_end_so(world, r))
        fprintf(stderr, "ended with %d\n", r);
    EXPECT(may_end_so(world, r));
    return r;
}

static ssize_t produce(void *arg, void *buffer, size_t size)
{
    struct actor *actor = arg;
    uint64_t left = actor->to_produce - actor->produced;
    if (!actor->counted)
        atomic_fetch_add(&actor->world->inside, 1);
    actor->counted = true;
    size_t n = left < size ? (size_t)left : size;
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

static int produce_again(void *arg)
{
    ((struct actor *)arg)->produced = 0;
    return 0;
}

/* Read the body, or some of it.  `size` UINT64_MAX: whatever it is. */
static void read_body(struct actor *actor, struct weft_http_response *response, uint64_t size)
{
    char block[5000];
    uint64_t at = 0;
    ssize_t n;
    bool half = dice_roll(&actor->dice, 4) == 0;
    while ((n = weft_http_response_read(response, block, 1 + dice_roll(&actor->dice, 5000))) > 0) {
        for (ssize_t i = 0; size != UINT64_MAX && i < n; i++)
            EXPECT_EQ(block[i], pattern(at + (uint64_t)i));
        at += (uint64_t)n;
        if (half && dice_roll(&actor->dice, 2))
            return;
    }
    if (note(actor->world, (int)n) == 0 && size != UINT64_MAX)
        EXPECT_EQ(at, size);
}

static void act_once(struct actor *actor)
{
    struct world *world = actor->world;
    struct weft_http_response *response;
    struct weft_http_request request = {.total_ns = 20 * WEFT_SECOND};
    unsigned kind = world->freed_early ? 1 : dice_roll(&actor->dice, 4);
    uint64_t size = UINT64_MAX;
    char url[128];
    const char *path = bad[dice_roll(&actor->dice, sizeof(bad) / sizeof(*bad))];
    if (kind == 0) {
        request.total_ns = 5 * WEFT_MILLISECOND; /* some of these never answer */
    } else if (kind == 1) {
        size = actor->to_produce = 1 + dice_roll(&actor->dice, 200000);
        actor->produced = 0;
        path = "/mirror";
        request.body = weft_http_stream(produce, produce_again, actor,
                                        dice_roll(&actor->dice, 2) ? -1 : (int64_t)size, NULL);
    } else {
        unsigned i = dice_roll(&actor->dice, sizeof(good) / sizeof(*good));
        path = good[i].path;
        size = good[i].size;
    }
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", world->web.server.port, path);
    request.url = url;
    int r = note(world, weft_http_send(world->web.session, &request, &response));
    if (r < 0)
        return;
    if (weft_http_response_status(response) != 200)
        size = UINT64_MAX;
    read_body(actor, response, size);
    weft_http_response_free(response);
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct world *world = actor->world;
    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct weft_scope scope;
        chaos_enter(&world->chaos, actor->number, &actor->dice, &scope);
        act_once(actor);
        chaos_leave(&world->chaos, actor->number, &scope);
    }
    return 0;
}

/* For a session that is freed while others use it: nobody may begin anything afterwards. */
static int act_alone(void *arg)
{
    act_once(arg);
    return 0;
}

static void start_all(struct world *world, struct actor *actors, struct weft_group *group,
                      uint64_t seed, int (*fn)(void *))
{
    weft_group_init(group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){.world = world, .number = i, .dice = dice_of(seed, i)};
        EXPECT_EQ(weft_group_spawn(group, "actor", fn, &actors[i]), 0);
    }
}

static void play_and_keep(struct world *world, struct actor *actors, uint64_t seed)
{
    struct weft_group trouble, group;
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    start_all(world, actors, &group, seed, act);
    if (seed % 4 == 1)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    await_idle(&world->web);
    web_works(&world->web);
    weft_http_session_free(world->web.session);
}

/* Every fiber's request has begun when its body was asked for. */
static void play_and_free(struct world *world, struct actor *actors, uint64_t seed)
{
    struct weft_group group;
    world->freed_early = true;
    start_all(world, actors, &group, seed, act_alone);
    await_count(&world->inside, FIBERS);
    weft_http_session_free(world->web.session);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_http_session_options options = {
        .connections = round->seed % 2 ? 5 : 100,
        .read_ahead = round->seed % 3 ? 1000 : 0,
    };
    http_server_start(&world.web.server);
    EXPECT_EQ(weft_http_session_new(&options, &world.web.session), 0);
    if (round->seed % 5 == 0)
        play_and_free(&world, actors, round->seed);
    else
        play_and_keep(&world, actors, round->seed);
    http_server_stop(&world.web.server);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
