/* SPDX-License-Identifier: MIT */
/* What the tests of the session share: one over a socket pair, methods of this file's own behind it,
 * and a client in front of it.  Header only. */
#pragma once

#include "daemon/session.h"

#include "daemon/engine.h"
#include "daemon/methods.h"
#include "protocol/jsonrpc.h"
#include "support/test.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "support/io.h"

enum { BIG = 300000, TURNS = 200 };

/* ---- the other side of methods.h ------------------------------------------------------------- */

static struct world {
    struct weft_stream *client;
    struct weft_stream *server;
    struct session_limits limits;
    struct session_totals totals;
    struct weft_event gate;  /* "block" waits for it */
    struct weft_event ended; /* the session */
    atomic_int arrivals;     /* calls of "block" */
    atomic_int cancelled;    /* of them */
    int turns;               /* calls of "turn"; plain, because each has its turn */
    struct weft_event stir;  /* "follow" sends a line when it is set */
    struct weft_event over;  /* a follow-up is */
    bool follow_result;      /* ... and said that it has nothing more, if it was not stopped */
    atomic_int follows;      /* follow-ups begun */
    int follow_err;          /* how the last one ended */
    atomic_int opened;       /* descriptors that "pass" has opened */
    int result;              /* session_serve()'s */
    const char *first;       /* what the client has said before it begins; NULL: nothing */
    char text[1 << 20];      /* what the client read and did not look at yet */
    size_t size;
} world;

static int call_block(struct request *request)
{
    arrive(&world.arrivals);
    int err = weft_event_wait(&world.gate, WEFT_NO_DEADLINE);
    if (err)
        atomic_fetch_add(&world.cancelled, 1);
    return err ? rpc_error_set(&request->error, RPC_SHUTTING_DOWN, NULL) : 0;
}

static json_t *big_text(void)
{
    char *text = malloc(BIG);
    memset(text, 'x', BIG);
    json_t *json = json_stringn(text, BIG);
    free(text);
    return json;
}

/* Its number, read and written across suspensions: two that overlap would get the same. */
static json_t *call_turn(struct request *request)
{
    int mine = world.turns;
    for (int i = 0; i < 3; i++)
        weft_yield();
    world.turns = mine + 1;
    request->turn->done(request->turn->arg);
    weft_yield();
    return json_integer(mine);
}

struct follow {
    bool pours; /* records without end; else one for each time it is stirred */
    bool begun;
};

static int follow_next(void *arg, uint64_t deadline_ns, json_t **ret_records)
{
    struct follow *follow = arg;
    if (!follow->begun)
        arrive(&world.follows);
    follow->begun = true;
    int err = follow->pours ? weft_yield() : weft_event_wait(&world.stir, deadline_ns);
    weft_event_clear(&world.stir);
    if (!err && world.follow_result)
        err = -EPIPE;
    if (err)
        world.follow_err = err;
    else
        *ret_records = json_pack("[{s:i}]", "news", 1);
    return err;
}

static void follow_free(void *arg)
{
    free(arg);
    weft_event_set(&world.over);
}

static json_t *call_follow(struct request *request, bool pours)
{
    struct follow *follow = calloc(1, sizeof *follow);
    follow->pours = pours;
    if (!request->follow_up) {
        rpc_error_set(&request->error, RPC_INVALID_REQUEST, NULL);
        free(follow);
    } else {
        *request->follow_up = (struct request_follow_up){follow_next, "news", follow_free, follow};
    }
    return json_string("following");
}

/* A descriptor of a file that holds the request's text. */
static json_t *call_pass(struct request *request)
{
    const char *text = json_string_value(json_object_get(request->params, "text"));
    if (!request->pass) {
        rpc_error_set(&request->error, RPC_INVALID_REQUEST, NULL);
        return NULL;
    }
    if (request->pass->begin(request->pass->arg)) {
        rpc_error_set(&request->error, RPC_SHUTTING_DOWN, NULL);
        return NULL;
    }
    atomic_fetch_add(&world.opened, 1);
    if (!text)
        return json_string("nothing"); /* a place that is not needed after all */
    int fd = memfd_create("passed", MFD_CLOEXEC);
    EXPECT_EQ(pwrite(fd, text, strlen(text), 0), strlen(text));
    request->pass->fd = fd;
    return json_string(text);
}

bool methods_takes_turns(const char *name)
{
    return strcmp(name, "turn") == 0;
}

int methods_call(struct request *request, const char *name, json_t **ret_result)
{
    request->error = (struct rpc_error){0};
    request->changed = strncmp(name, "change", 6) == 0;
    if (strcmp(name, "echo") == 0 || strcmp(name, "change") == 0)
        *ret_result = request->params ? json_deep_copy(request->params) : json_null();
    else if (strcmp(name, "uid") == 0)
        *ret_result = json_integer(request->peer->uid);
    else if (strcmp(name, "big") == 0)
        *ret_result = big_text();
    else if (strcmp(name, "latin1") == 0)
        *ret_result = json_string_nocheck("\xe4");
    else if (strcmp(name, "turn") == 0)
        *ret_result = call_turn(request);
    else if (strcmp(name, "follow") == 0)
        *ret_result = call_follow(request, false);
    else if (strcmp(name, "pour") == 0)
        *ret_result = call_follow(request, true);
    else if (strcmp(name, "pass") == 0)
        *ret_result = call_pass(request);
    else if (strcmp(name, "block") == 0 && call_block(request) == 0)
        *ret_result = json_string("through");
    else if (strcmp(name, "change_and_lack_memory") == 0)
        return rpc_error_set(&request->error, RPC_INTERNAL_ERROR, NULL);
    else if (request->error.code == RPC_OK)
        return rpc_error_set(&request->error, RPC_METHOD_NOT_FOUND, NULL);
    return request->error.code == RPC_OK ? 0 : -EINVAL;
}

/* ---- the client ------------------------------------------------------------------------------ */

static int session_main(void *arg)
{
    struct peer peer = {.uid = 4711};
    (void)arg;
    world.result = session_serve(world.server, &peer, &world.limits, &world.totals, NULL);
    weft_event_set(&world.ended);
    weft_stream_free(world.server);
    return 0;
}

static void say(const char *text)
{
    EXPECT_EQ(weft_write(world.client, text, strlen(text), NULL), 0);
}

static void hang_up(void)
{
    weft_stream_free(world.client);
    world.client = NULL;
}

/* The next line, parsed; NULL at the end of the connection. */
static json_t *hear(void)
{
    char *newline;
    while (!(newline = memchr(world.text, '\n', world.size))) {
        ssize_t got =
            weft_read(world.client, world.text + world.size, sizeof world.text - world.size);
        EXPECT(got >= 0);
        if (got == 0)
            return NULL;
        world.size += (size_t)got;
    }
    size_t length = (size_t)(newline - world.text);
    json_t *json = json_loadb(world.text, length, 0, NULL);
    EXPECT(json != NULL);
    world.size -= length + 1;
    memmove(world.text, newline + 1, world.size);
    return json;
}

static void expect_result(json_t *reply, json_int_t id, const char *result)
{
    char *text = json_dumps(json_object_get(reply, "result"), JSON_ENCODE_ANY | JSON_COMPACT);
    EXPECT_EQ(json_integer_value(json_object_get(reply, "id")), id);
    if (!text || strcmp(text, result) != 0) {
        fprintf(stderr, "expected %s, got %s\n", result, text);
        abort();
    }
    free(text);
    json_decref(reply);
}

static void expect_error(json_t *reply, int code)
{
    EXPECT_EQ(json_integer_value(json_object_get(json_object_get(reply, "error"), "code")), code);
    json_decref(reply);
}

static void expect_end(void)
{
    EXPECT(hear() == NULL);
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

/* Run the test's body beside a session. */
static int beside_session(void *arg)
{
    struct weft_stream *ends[2];
    struct weft_group group;
    stream_pair(ends);
    world.client = ends[0];
    world.server = ends[1];
    if (world.first)
        say(world.first);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "session", session_main, NULL), 0);
    ((void (*)(void))arg)();
    weft_stream_free(world.client);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.totals.in_flight), 0);
    return 0;
}

static void with_session(unsigned workers, void (*body)(void))
{
    world.limits.max_in_flight = world.limits.max_in_flight ? world.limits.max_in_flight : 8;
    world.limits.line_max = 1000;
    on_fibers(workers, beside_session, (void *)body);
}
