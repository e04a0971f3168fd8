/* SPDX-License-Identifier: MIT */
/* What the tests of the command table share: an engine, store, runner and server that note what they
 * were asked and say what the test wants, and ask(), which calls a method.  Header only. */
#pragma once

#include "daemon/methods.h"

#include "daemon/engine.h"
#include "daemon/native.h"
#include "daemon/problem.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/session.h"
#include "daemon/store.h"
#include "protocol/jsonrpc.h"
#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fibers.h"

/* ---- the other side -------------------------------------------------------------------------- */

static struct world {
    int err;             /* what the engine's next call returns */
    const char *message; /* and says; NULL: nothing */
    uint64_t ids[8];     /* what it was asked for */
    size_t count;
    struct engine_filter filter;
    char queue[64];
    uint64_t deadline;
    uint64_t next; /* of the page it gives */
    enum output_stream stream;
    uint64_t offset;
    size_t limit;
    uint64_t dropped;   /* what it says was dropped */
    uint64_t gap;       /* and was not kept */
    const char *output; /* what engine_logs() gives */
    size_t output_size;
    bool at_end, eof;
    struct engine_shared shared; /* what engine_share_output() gives */
    int reload_err;
    bool drained;
    struct engine_queue queue_facts; /* what a queue is said to be */
    struct queue_change change;      /* what was asked for */
    uint32_t purged;                 /* states */
    struct engine_explanation facts; /* what engine_explain() gives; the record is the test's */
    struct events *events;           /* what engine_subscribe() opens; the test's */
    uint64_t since;                  /* it was asked for */
    unsigned changes;                /* calls that have changed something */
} world;

static int fail(struct rpc_error *error)
{
    if (world.message)
        rpc_error_set(error, RPC_NO_SUCH_QUEUE, "%s", world.message);
    return world.err;
}

static struct job_record *record_of(uint64_t id)
{
    struct job_record record = {.id = id,
                                .state = JOB_SUCCEEDED,
                                .attempt = 1,
                                .exit_code = 0,
                                .term_signal = JOB_NO_EXIT,
                                .submitted_at = 1500000000,
                                .queue = "default",
                                .spec = "{\"argv\":[\"true\"]}"};
    struct job_record *copy;
    EXPECT_EQ(job_record_copy(&record, &copy), 0);
    return copy;
}

static void fill_page(struct engine_page *page, const uint64_t *ids, size_t count)
{
    page->records = calloc(count, sizeof *page->records);
    for (size_t i = 0; i < count; i++)
        page->records[i] = record_of(ids[i]);
    page->count = count;
    page->next = world.next;
}

void engine_page_destroy(struct engine_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        job_record_free(page->records[i]);
    free(page->records);
}

int engine_submit(struct engine *engine, const struct peer *peer, struct engine_item *item,
                  const struct engine_turn *turn)
{
    (void)engine, (void)peer, (void)turn;
    world.changes++;
    snprintf(world.queue, sizeof world.queue, "%s", item->spec->queue);
    item->existing = item->spec->key != NULL;
    job_spec_free(item->spec);
    item->spec = NULL;
    if (world.err)
        return fail(item->error);
    item->id = 17;
    return 0;
}

int engine_submit_many(struct engine *engine, const struct peer *peer, struct engine_item *items,
                       size_t count, bool atomic, const struct engine_turn *turn,
                       struct rpc_error *error)
{
    bool any_bad = false;
    (void)engine, (void)peer, (void)turn;
    world.changes++;
    for (size_t i = 0; i < count; i++)
        any_bad |= items[i].spec == NULL;
    for (size_t i = 0; i < count; i++) {
        if (items[i].spec && !(atomic && any_bad))
            items[i].id = 100 + i;
        job_spec_free(items[i].spec);
    }
    if (atomic && any_bad)
        return rpc_error_set(error, RPC_INVALID_PARAMS, "one of them is bad");
    return world.err ? fail(error) : 0;
}

int engine_get(struct engine *engine, const struct peer *peer, uint64_t id,
               struct job_record **ret_record, struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.ids[0] = id;
    if (world.err)
        return fail(error);
    *ret_record = record_of(id);
    return 0;
}

int engine_list(struct engine *engine, const struct peer *peer, const struct engine_filter *filter,
                struct engine_page *ret_page, struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.filter = *filter;
    snprintf(world.queue, sizeof world.queue, "%s", filter->queues ? filter->queues[0] : "");
    if (world.err)
        return fail(error);
    fill_page(ret_page, (uint64_t[]){9, 8}, 2);
    return 0;
}

int engine_wait(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                uint64_t deadline_ns, struct engine_page *ret_page, struct rpc_error *error)
{
    (void)engine, (void)peer;
    memcpy(world.ids, ids, count * sizeof *ids);
    world.count = count;
    world.deadline = deadline_ns;
    if (world.err)
        return fail(error);
    fill_page(ret_page, ids, count);
    return 0;
}

int engine_cancel(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                  enum job_state *results, struct rpc_error *errors)
{
    (void)engine, (void)peer;
    world.changes++;
    for (size_t i = 0; i < count; i++) {
        results[i] = ids[i] == 404 ? JOB_NONE : JOB_CANCELLED;
        if (ids[i] == 404)
            rpc_error_set(&errors[i], RPC_NO_SUCH_JOB, NULL);
    }
    return world.err;
}

int engine_retry(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                 enum job_state *results, struct rpc_error *errors, struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.changes++;
    for (size_t i = 0; i < count; i++) {
        results[i] = ids[i] == 404 ? JOB_NONE : JOB_QUEUED;
        if (ids[i] == 404)
            rpc_error_set(&errors[i], RPC_CONFLICT, "job 404 is running");
    }
    return world.err ? fail(error) : 0;
}

int engine_explain(struct engine *engine, const struct peer *peer, uint64_t id,
                   struct engine_explanation *ret_explanation, struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.ids[0] = id;
    if (world.err)
        return fail(error);
    *ret_explanation = world.facts;
    EXPECT_EQ(job_record_copy(world.facts.record, &ret_explanation->record), 0);
    return 0;
}

/* One queue comes back, called as it was asked for, or "all". */
static int answer_queue(const char *name, struct engine_queue **ret_queues, size_t *ret_count)
{
    snprintf(world.queue, sizeof world.queue, "%s", name ? name : "all");
    *ret_queues = calloc(1, sizeof **ret_queues);
    **ret_queues = world.queue_facts;
    (*ret_queues)->name = world.queue;
    *ret_count = 1;
    return 0;
}

size_t engine_set_drained(struct engine *engine, const struct peer *peer, bool drained)
{
    (void)engine, (void)peer;
    world.changes++;
    world.drained = drained;
    return 2;
}

int engine_wait_drained(struct engine *engine, uint64_t deadline_ns)
{
    (void)engine;
    world.deadline = deadline_ns;
    return world.err;
}

int engine_queue_list(struct engine *engine, struct engine_queue **ret_queues, size_t *ret_count,
                      struct rpc_error *error)
{
    (void)engine;
    return world.err ? fail(error) : answer_queue("listed", ret_queues, ret_count);
}

int engine_queue_change(struct engine *engine, const struct peer *peer, const char *name,
                        const struct queue_change *change, struct engine_queue **ret_queues,
                        size_t *ret_count, struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.changes++;
    world.change = *change;
    return world.err ? fail(error) : answer_queue(name, ret_queues, ret_count);
}

int engine_queue_freeze(struct engine *engine, const struct peer *peer, const char *name,
                        bool frozen, struct engine_queue **ret_queues, size_t *ret_count,
                        struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.changes++;
    world.queue_facts.frozen = frozen;
    return world.err ? fail(error) : answer_queue(name, ret_queues, ret_count);
}

int engine_queue_purge(struct engine *engine, const struct peer *peer, const char *name,
                       uint32_t states, uint64_t *ret_count, struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.changes++;
    snprintf(world.queue, sizeof world.queue, "%s", name);
    world.purged = states;
    if (world.err)
        return fail(error);
    *ret_count = 12;
    return 0;
}

int engine_logs(struct engine *engine, const struct peer *peer, const struct engine_piece *piece,
                struct output_chunk *ret_chunk, bool *ret_eof, struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.ids[0] = piece->id;
    world.stream = piece->stream;
    world.offset = piece->offset;
    world.limit = piece->limit;
    if (world.err)
        return fail(error);
    *ret_chunk = (struct output_chunk){0};
    ret_chunk->data = world.output_size ? malloc(world.output_size) : NULL;
    if (world.output_size)
        memcpy(ret_chunk->data, world.output, world.output_size);
    ret_chunk->size = world.output_size;
    ret_chunk->next = piece->offset + world.output_size;
    ret_chunk->at_end = world.at_end;
    ret_chunk->dropped = world.dropped;
    ret_chunk->gap = world.gap;
    *ret_eof = world.eof;
    return 0;
}

int engine_share_output(struct engine *engine, const struct peer *peer,
                        const struct engine_piece *piece, struct engine_shared *ret_shared,
                        struct rpc_error *error)
{
    (void)engine, (void)peer;
    world.ids[0] = piece->id;
    world.stream = piece->stream;
    world.offset = piece->offset;
    if (world.err)
        return fail(error);
    *ret_shared = world.shared;
    return 0;
}

int engine_subscribe(struct engine *engine, const char *queue, uint64_t since,
                     struct events_reader *ret_reader, uint64_t *ret_last, struct rpc_error *error)
{
    (void)engine, (void)queue;
    world.since = since;
    return world.err ? fail(error) : events_open(world.events, since, ret_reader, ret_last);
}

int engine_backup(struct engine *engine, const char *name, char **ret_path, uint64_t *ret_bytes,
                  struct rpc_error *error)
{
    (void)engine;
    world.changes++;
    if (world.err)
        return fail(error);
    *ret_path = strdup(name);
    *ret_bytes = 4096;
    return *ret_path ? 0 : -ENOMEM;
}

void engine_stats(struct engine *engine, struct engine_stats *ret_stats)
{
    (void)engine;
    *ret_stats = (struct engine_stats){.submitted = 5};
    ret_stats->live[JOB_QUEUED] = 3;
    ret_stats->ended[JOB_FAILED] = 2;
}

void store_life(const struct store *store, struct store_life *ret_life)
{
    (void)store;
    *ret_life = (struct store_life){
        .next_id = 1, .starts = 5, .instance = "0123456789abcdef0123456789abcdef"};
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
    (void)store;
    *ret_stats = (struct store_stats){.commits = 42};
}

void runner_stats(struct runner *runner, struct runner_stats *ret_stats)
{
    (void)runner;
    *ret_stats = (struct runner_stats){.programs = 6};
}

void server_limits(struct server *server, struct session_limits *ret_limits)
{
    (void)server;
    *ret_limits = (struct session_limits){.line_max = 1 << 20, .max_in_flight = 128};
}

void server_stats(struct server *server, struct server_stats *ret_stats)
{
    (void)server;
    *ret_stats = (struct server_stats){.connections = 1};
}

static const struct native_module core_module = {.name = (char *)"core", .version = (char *)"1.5"};
static const struct native_handler echo_handler = {.module = &core_module, .name = (char *)"echo"};

const struct native_handler *native_at(size_t index)
{
    return index == 0 ? &echo_handler : NULL;
}

const struct native_handler *native_find(const char *name)
{
    return strcmp(name, "echo") == 0 ? &echo_handler : NULL;
}

int native_check(const char *name, const json_t *args, struct rpc_error *error)
{
    (void)args;
    return native_find(name) ? 0 : rpc_error_set(error, RPC_NO_SUCH_HANDLER, NULL);
}

static int fake_reload(struct daemon_context *context, struct problem *problem, json_t **ret_report)
{
    (void)context;
    world.changes++;
    if (world.reload_err)
        return problem_set(problem, world.reload_err, "weftd.conf:3: unknown key 'x'");
    *ret_report = json_pack("{s:i, s:[s]}", "changed", 2, "restart", "daemon.socket");
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static struct daemon_context context = {.version = "1.2.3", .reload = fake_reload};
static struct peer peer = {.admin = true};
static struct request_follow_up *asked_follow_up; /* where a request may leave one */
static struct request_pass *asked_pass;           /* likewise, of a descriptor */
static struct rpc_error error;

static inline void ask_as_ourselves(void)
{
    peer.uid = getuid();
}

/* The result as compact text with sorted keys, or NULL and `error` is filled. */
static inline const char *ask(const char *method, const char *params)
{
    static char text[8192];
    json_t *json = params ? json_loads(params, 0, NULL) : NULL;
    json_t *result = NULL;
    struct request request = {.context = &context,
                              .peer = &peer,
                              .follow_up = asked_follow_up,
                              .pass = asked_pass,
                              .params = json};
    int err = methods_call(&request, method, &result);
    error = request.error;
    EXPECT((err == 0) == (result != NULL));
    EXPECT((err == 0) == (error.code == RPC_OK));
    EXPECT(!err || error.message[0]);
    json_decref(json);
    if (err)
        return NULL;
    size_t size =
        json_dumpb(result, text, sizeof text - 1, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    EXPECT(size < sizeof text);
    text[size] = '\0';
    json_decref(result);
    return text;
}

static inline bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static inline void refused(const char *method, const char *params, int code, const char *piece)
{
    cr_assert_null(ask(method, params), "%s %s was accepted", method, params ? params : "");
    cr_assert_eq(error.code, code, "%d: %s", error.code, error.message);
    cr_assert(strstr(error.message, piece) != NULL, "'%s' not in '%s'", piece, error.message);
}
