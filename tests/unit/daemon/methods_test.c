/* SPDX-License-Identifier: MIT */
/* The command table over an engine, store, runner and server of this file's own. */
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
    const char *output; /* what engine_logs() gives */
    size_t output_size;
    bool at_end, eof;
    int reload_err;
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

int engine_submit(struct engine *engine, const struct peer *peer, struct job_spec *spec,
                  const struct engine_turn *turn, uint64_t *ret_id, struct rpc_error *error)
{
    (void)engine, (void)peer, (void)turn;
    snprintf(world.queue, sizeof world.queue, "%s", spec->queue);
    job_spec_free(spec);
    if (world.err)
        return fail(error);
    *ret_id = 17;
    return 0;
}

int engine_submit_many(struct engine *engine, const struct peer *peer, struct engine_item *items,
                       size_t count, bool atomic, const struct engine_turn *turn,
                       struct rpc_error *error)
{
    bool any_bad = false;
    (void)engine, (void)peer, (void)turn;
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
    snprintf(world.queue, sizeof world.queue, "%s", filter->queue ? filter->queue : "");
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
    for (size_t i = 0; i < count; i++) {
        results[i] = ids[i] == 404 ? JOB_NONE : JOB_CANCELLED;
        if (ids[i] == 404)
            rpc_error_set(&errors[i], RPC_NO_SUCH_JOB, NULL);
    }
    return world.err;
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
    ret_chunk->data = world.output_size ? malloc(world.output_size) : NULL;
    if (world.output_size)
        memcpy(ret_chunk->data, world.output, world.output_size);
    ret_chunk->size = world.output_size;
    ret_chunk->next = piece->offset + world.output_size;
    ret_chunk->at_end = world.at_end;
    ret_chunk->dropped = world.dropped;
    *ret_eof = world.eof;
    return 0;
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
    *ret_life = (struct store_life){.next_id = 1, .instance = "0123456789abcdef0123456789abcdef"};
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

static const struct native_handler echo_handler = {.name = "echo"};

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
    if (world.reload_err)
        return problem_set(problem, world.reload_err, "weftd.conf:3: unknown key 'x'");
    *ret_report = json_pack("{s:i, s:[s]}", "changed", 2, "restart", "daemon.socket");
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static struct daemon_context context = {.version = "1.2.3", .reload = fake_reload};
static struct peer peer = {.admin = true};
static struct rpc_error error;

static void ask_as_ourselves(void)
{
    peer.uid = getuid();
}

/* The result as compact text with sorted keys, or NULL and `error` is filled. */
static const char *ask(const char *method, const char *params)
{
    static char text[8192];
    json_t *json = params ? json_loads(params, 0, NULL) : NULL;
    json_t *result = NULL;
    struct request request = {.context = &context, .peer = &peer, .params = json};
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

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void refused(const char *method, const char *params, int code, const char *piece)
{
    cr_assert_null(ask(method, params), "%s %s was accepted", method, params);
    cr_assert_eq(error.code, code, "%d: %s", error.code, error.message);
    cr_assert(strstr(error.message, piece) != NULL, "'%s' not in '%s'", piece, error.message);
}

/* ---- the table ------------------------------------------------------------------------------- */

Test(methods, table_is_sorted_and_every_row_complete, .init = ask_as_ourselves)
{
    for (size_t i = 0; i < methods_count; i++) {
        cr_assert_not_null(methods[i].handle);
        cr_assert((methods[i].params == NULL) == (methods[i].params_count == 0));
        cr_assert(i == 0 || strcmp(methods[i - 1].name, methods[i].name) < 0);
    }
    cr_assert_eq(methods_count, 11);
}

Test(methods, unknown_method_names_the_nearest, .init = ask_as_ourselves)
{
    refused("job.sumbit", NULL, RPC_METHOD_NOT_FOUND, "did you mean 'job.submit'?");
    cr_assert_str_eq(error.nearest, "job.submit");
    refused("zzzzzzzzzzzz", NULL, RPC_METHOD_NOT_FOUND, "there is no method 'zzzzzzzzzzzz'");
    cr_assert_str_eq(error.nearest, "");
}

Test(methods, parameters_are_checked_before_the_handler_runs, .init = ask_as_ourselves)
{
    refused("ping", "{\"x\":1}", RPC_INVALID_PARAMS, "x");
    refused("job.get", NULL, RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"id\":\"1\"}", RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"id\":0}", RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"id\":9007199254740992}", RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"ID\":1}", RPC_INVALID_PARAMS, "ID");
    refused("job.get", "[1]", RPC_INVALID_PARAMS, "by name");
    refused("job.submit", "[1]", RPC_INVALID_PARAMS, "by name");
    refused("job.wait", "{\"ids\":[]}", RPC_INVALID_PARAMS, "ids");
    refused("job.wait", "{\"ids\":[1,\"2\"]}", RPC_INVALID_PARAMS, "ids[1]");
    refused("job.wait", "{\"ids\":[1],\"timeout\":\"soon\"}", RPC_INVALID_PARAMS, "timeout");
    refused("job.list", "{\"state\":\"done\"}", RPC_INVALID_PARAMS, "state");
    refused("job.list", "{\"limit\":1001}", RPC_INVALID_PARAMS, "limit");
    refused("job.logs", "{\"id\":1,\"stream\":\"out\"}", RPC_INVALID_PARAMS, "stream");
    refused("job.logs", "{\"id\":1,\"limit\":\"1G\"}", RPC_INVALID_PARAMS, "limit");
    refused("job.submit_many", "{\"jobs\":[]}", RPC_INVALID_PARAMS, "jobs");
    refused("job.submit", "{\"argv\":[]}", RPC_INVALID_PARAMS, "argv");
    refused("job.submit", "{\"call\":\"nope\"}", RPC_NO_SUCH_HANDLER, "");
}

Test(methods, errno_without_a_sentence_gets_one, .init = ask_as_ourselves)
{
    static const struct {
        int err, code;
    } rows[] = {
        {-ENOENT, RPC_NO_SUCH_JOB},      {-EAGAIN, RPC_BUSY},
        {-ESHUTDOWN, RPC_SHUTTING_DOWN}, {-ECANCELED, RPC_SHUTTING_DOWN},
        {-EIO, RPC_STORE_FAILED},        {-ENOSPC, RPC_STORE_FAILED},
        {-ETIMEDOUT, RPC_TIMEOUT},       {-ENOMEM, RPC_INTERNAL_ERROR},
        {-EXDEV, RPC_INTERNAL_ERROR},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world.err = rows[i].err;
        refused("job.get", "{\"id\":1}", rows[i].code, "");
    }
    world.message = "there is no queue \"x\"";
    refused("job.get", "{\"id\":1}", RPC_NO_SUCH_QUEUE, "no queue");
}

/* ---- the handlers ---------------------------------------------------------------------------- */

Test(methods, ping_and_hello, .init = ask_as_ourselves)
{
    cr_assert_str_eq(ask("ping", NULL), "\"pong\"");
    const char *hello = ask("hello", NULL);
    cr_assert_not_null(hello, "%s", error.message);
    static const char *const pieces[] = {
        "\"version\":\"1.2.3\"",
        "\"protocol\":1",
        "\"line_max\":1048576",
        "\"in_flight\":128",
        "\"job.submit_many\"",
        "\"echo\"",
        "\"uid\":",
        "\"admin\":true",
        "\"instance\":\"0123456789abcdef0123456789abcdef\"",
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        cr_assert(strstr(hello, pieces[i]) != NULL, "no %s in %s", pieces[i], hello);
}

Test(methods, submit_gives_the_id, .init = ask_as_ourselves)
{
    const char *result = ask("job.submit", "{\"argv\":[\"true\"],\"queue\":\"q\"}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert_str_eq(result, "{\"id\":17}");
    cr_assert_str_eq(world.queue, "q");
}

Test(methods, root_works_for_nobody_else, .init = ask_as_ourselves)
{
    peer.uid = getuid() + 1;
    if (getuid() == 0) {
        refused("job.submit", "{\"argv\":[\"true\"]}", RPC_NOT_SUPPORTED, "root only");
        refused("job.submit_many", "{\"jobs\":[{\"argv\":[\"true\"]}]}", RPC_NOT_SUPPORTED,
                "root only");
    } else {
        cr_assert_not_null(ask("job.submit", "{\"argv\":[\"true\"]}"));
    }
}

Test(methods, submit_many_answers_each_in_order, .init = ask_as_ourselves)
{
    const char *result = ask("job.submit_many", "{\"jobs\":[{\"argv\":[\"a\"]},{\"argv\":1},"
                                                "{\"call\":\"echo\"}]}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert(starts_with(result, "{\"results\":[{\"id\":100},{\"error\":{\"code\":-32602,"), "%s",
              result);
    cr_assert(strstr(result, "}},{\"id\":102}]}") != NULL, "%s", result);
}

Test(methods, atomic_submit_many_names_the_culprit, .init = ask_as_ourselves)
{
    refused("job.submit_many",
            "{\"atomic\":true,\"jobs\":[{\"argv\":[\"a\"]},{\"argv\":[\"b\"],\"piority\":1}]}",
            RPC_INVALID_PARAMS, "jobs[1]: ");
    cr_assert_str_eq(error.param, "jobs[1]");
    cr_assert_str_eq(error.nearest, "priority");
}

Test(methods, get_shows_the_job, .init = ask_as_ourselves)
{
    const char *job = ask("job.get", "{\"id\":12}");
    cr_assert_not_null(job, "%s", error.message);
    cr_assert(strstr(job, "\"id\":12") && strstr(job, "\"state\":\"succeeded\""), "%s", job);
    cr_assert(strstr(job, "\"argv\":[\"true\"]") != NULL, "%s", job);
}

Test(methods, list_passes_its_filter_on, .init = ask_as_ourselves)
{
    world.next = 8;
    const char *page = ask("job.list", "{\"state\":[\"failed\",\"dead\"],\"queue\":\"q\","
                                       "\"limit\":2,\"before\":10}");
    cr_assert_not_null(page, "%s", error.message);
    cr_assert_eq(world.filter.states, 1u << JOB_FAILED | 1u << JOB_DEAD);
    cr_assert_str_eq(world.queue, "q");
    cr_assert_eq(world.filter.limit, 2);
    cr_assert_eq(world.filter.before, 10);
    cr_assert(strstr(page, "\"next\":8") != NULL, "%s", page);
    cr_assert(strstr(page, "\"id\":9") < strstr(page, "\"id\":8"), "%s", page);
    world.next = 0;
    page = ask("job.list", "{\"state\":\"running\",\"before\":null}");
    cr_assert_eq(world.filter.states, 1u << JOB_RUNNING);
    cr_assert_eq(world.filter.before, 0);
    cr_assert_eq(world.filter.limit, 100);
    cr_assert(strstr(page, "\"next\":null") != NULL, "%s", page);
    cr_assert_not_null(ask("job.list", NULL));
    cr_assert_eq(world.filter.states, 0);
}

Test(methods, wait_keeps_order_and_timeout, .init = ask_as_ourselves)
{
    const char *page = ask("job.wait", "{\"ids\":[3,1,3]}");
    cr_assert_not_null(page, "%s", error.message);
    cr_assert_eq(world.count, 3);
    cr_assert_eq(world.ids[0], 3);
    cr_assert_eq(world.ids[1], 1);
    cr_assert_eq(world.deadline, WEFT_NO_DEADLINE);
    uint64_t before = weft_now_ns();
    cr_assert_not_null(ask("job.wait", "{\"ids\":[1],\"timeout\":\"10m\"}"));
    cr_assert(world.deadline >= before + 600 * WEFT_SECOND);
    cr_assert(world.deadline <= weft_now_ns() + 600 * WEFT_SECOND);
    world.err = -ETIMEDOUT;
    refused("job.wait", "{\"ids\":[1],\"timeout\":0}", RPC_TIMEOUT, "");
}

Test(methods, cancel_answers_each, .init = ask_as_ourselves)
{
    const char *result = ask("job.cancel", "{\"ids\":[1,404]}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert(starts_with(result, "{\"results\":[{\"id\":1,\"state\":\"cancelled\"},{\"error\":{"),
              "%s", result);
    cr_assert(strstr(result, "-32001") && strstr(result, "\"id\":404}]}"), "%s", result);
}

/* ---- logs ------------------------------------------------------------------------------------ */

static const char *logs_of(const char *bytes, size_t size, bool at_end)
{
    world.output = bytes;
    world.output_size = size;
    world.at_end = at_end;
    const char *result = ask("job.logs", "{\"id\":5,\"offset\":10}");
    cr_assert_not_null(result, "%s", error.message);
    return result;
}

Test(methods, logs_of_text_are_text, .init = ask_as_ourselves)
{
    world.eof = true;
    cr_assert_str_eq(logs_of("h\xc3\xa4\n", 4, true),
                     "{\"data\":\"h\xc3\xa4\\n\",\"encoding\":\"utf-8\",\"eof\":true,\"next\":14}");
    cr_assert_eq(world.stream, OUTPUT_STDOUT);
    cr_assert_eq(world.offset, 10);
    cr_assert_eq(world.limit, 65536);
    world.eof = false;
    cr_assert_str_eq(logs_of("", 0, true),
                     "{\"data\":\"\",\"encoding\":\"utf-8\",\"eof\":false,\"next\":10}");
    cr_assert_not_null(ask("job.logs", "{\"id\":5,\"stream\":\"stderr\",\"limit\":\"1K\"}"));
    cr_assert_eq(world.stream, OUTPUT_STDERR);
    cr_assert_eq(world.limit, 1024);
}

Test(methods, logs_say_what_a_cap_cut_off, .init = ask_as_ourselves)
{
    world.eof = true;
    world.dropped = 99;
    cr_assert(strstr(logs_of("a", 1, true), "\"dropped\":99") != NULL);
}

Test(methods, logs_cut_inside_a_character_end_before_it, .init = ask_as_ourselves)
{
    cr_assert_str_eq(logs_of("ab\xe2\x82", 4, false),
                     "{\"data\":\"ab\",\"encoding\":\"utf-8\",\"eof\":false,\"next\":12}");
    cr_assert_str_eq(logs_of("a\xf0\x9f\x98\x80", 5, false),
                     "{\"data\":\"a\xf0\x9f\x98\x80\",\"encoding\":\"utf-8\",\"eof\":false,"
                     "\"next\":15}");
}

Test(methods, logs_that_are_no_text_are_base64, .init = ask_as_ourselves)
{
    cr_assert_str_eq(logs_of("\xff\xfe\xfd", 3, true),
                     "{\"data\":\"//79\",\"encoding\":\"base64\",\"eof\":false,\"next\":13}");
    cr_assert_str_eq(logs_of("a\0b", 3, true),
                     "{\"data\":\"YQBi\",\"encoding\":\"base64\",\"eof\":false,\"next\":13}");
    cr_assert_str_eq(logs_of("ab\xe2\x82", 4, true),
                     "{\"data\":\"YWLigg==\",\"encoding\":\"base64\",\"eof\":false,\"next\":14}");
    cr_assert_str_eq(logs_of("\xe2\x82", 2, false),
                     "{\"data\":\"4oI=\",\"encoding\":\"base64\",\"eof\":false,\"next\":12}");
}

/* ---- the daemon ------------------------------------------------------------------------------ */

Test(methods, reload_reports_and_is_for_admins, .init = ask_as_ourselves)
{
    cr_assert_str_eq(ask("daemon.reload", NULL), "{\"changed\":2,\"restart\":[\"daemon.socket\"]}");
    world.reload_err = -EINVAL;
    refused("daemon.reload", NULL, RPC_BAD_CONFIG, "weftd.conf:3: unknown key 'x'");
    peer.admin = false;
    refused("daemon.reload", NULL, RPC_PERMISSION_DENIED, "admin_group");
}

static int stats_main(void *arg)
{
    (void)arg;
    context.runtime = weft_runtime_self();
    context.started_ns = weft_now_ns();
    const char *stats = ask("daemon.stats", NULL);
    EXPECT(stats != NULL);
    static const char *const pieces[] = {
        "\"version\":\"1.2.3\"",
        "\"uptime\":",
        "\"workers\":[{",
        "\"steals\":",
        "\"stolen\":",
        "\"parks\":",
        "\"wakes\":",
        "\"polls\":",
        "\"turns\":",
        "\"queued\":3",
        "\"failed\":2",
        "\"waiting\":0",
        "\"commits\":42",
        "\"rss\":",
        "\"allocator\":",
        "\"programs\":6",
        "\"submitted\":5",
        "\"fibers\":",
        "\"lost\":0",
        "\"connections\":1",
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        if (!strstr(stats, pieces[i]))
            fprintf(stderr, "no %s in %s\n", pieces[i], stats);
        EXPECT(strstr(stats, pieces[i]) != NULL);
    }
    return 0;
}

Test(methods, stats_show_every_part, .init = ask_as_ourselves)
{
    on_fibers(2, stats_main, NULL);
}
