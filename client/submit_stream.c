/* SPDX-License-Identifier: MIT */
/*
 * submit_stream: see submit_stream.h.
 *
 * I1  A request is at most line_max bytes, as weftd says in hello: no chunk is refused for its
 *     size.
 * I2  At most WINDOW chunks are in flight, and the oldest is printed first: ids come out in the
 *     order of the lines, memory is bounded, and weftd always has the next chunk at hand.
 * I3  Whatever was acknowledged is printed, also when something fails later.
 */
#include "client/submit_stream.h"

#include "client/job_request.h"
#include "protocol/error.h"
#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW        8
#define CHUNK_JOBS    1024
#define ENVELOPE      256 /* bytes of a request around its jobs, with room to spare */
#define LINE_MAX_SIZE ((size_t)1 << 20)
#define WRAPPERS      4 /* nesting around a line: request, params, jobs, job */

struct chunk {
    int64_t request;
    size_t count;
    size_t lines[CHUNK_JOBS]; /* where each job stands in the file */
};

struct stream {
    struct command *command;
    FILE *file;
    const char *name;      /* of the file, for messages */
    const char *handler;   /* or NULL */
    const json_t *options; /* defaults of every job */
    size_t line;           /* number of the line at hand */
    size_t line_max;       /* I1 */
    size_t jobs_max;       /* in one chunk */
    json_t *jobs;          /* being gathered into the chunk behind the last in flight */
    size_t size;           /* bytes of jobs as text */
    struct chunk *window;  /* ring of WINDOW + 1: in flight, and the one being gathered */
    size_t first, in_flight;
    bool refused; /* a line was */
    int status;   /* not COMMAND_OK: weftd refused a chunk or is gone; nothing more is sent */
};

static struct chunk *chunk_at(struct stream *stream, size_t index)
{
    return &stream->window[(stream->first + index) % (WINDOW + 1)];
}

static void refuse_line(struct stream *stream, size_t line, const char *why)
{
    command_fail(stream->command, 0, "%s:%zu: %s", stream->name, line, why);
    stream->refused = true;
}

/* ---- printing ---- */

static void print_item(struct stream *stream, size_t line, json_t *item)
{
    struct command *command = stream->command;
    const json_t *error = json_object_get(item, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    if (error)
        refuse_line(stream, line, message ? message : "refused");
    if (command->json) {
        json_object_set_new(item, "line", json_integer((json_int_t)line));
        command_print_json(command, item);
    } else if (!error) {
        fprintf(command->out, "%lld\n", (long long)json_integer_value(json_object_get(item, "id")));
    }
}

static void print_chunk(struct stream *stream, const struct chunk *chunk, const json_t *result)
{
    const json_t *items = json_object_get(result, "results");
    if (json_array_size(items) != chunk->count) {
        stream->status = command_explain(stream->command, -EBADMSG, NULL);
        return;
    }
    for (size_t i = 0; i < chunk->count; i++)
        print_item(stream, chunk->lines[i], json_array_get(items, i));
    if (!command_flush(stream->command))
        stream->status = COMMAND_FAILED;
}

/* A refusal is of this chunk; anything else is the end, for all that is in flight. */
static void fail_chunk(struct stream *stream, const struct chunk *chunk, int err,
                       const struct weft_client_error *error)
{
    if (err == -EREMOTEIO)
        command_fail(stream->command, 0, "%s: lines %zu to %zu were refused", stream->name,
                     chunk->lines[0], chunk->lines[chunk->count - 1]);
    else
        command_fail(stream->command, 0, "%s: from line %zu on nothing was acknowledged",
                     stream->name, chunk->lines[0]);
    stream->status = command_explain(stream->command, err, error);
}

/* The reply to the oldest chunk in flight. */
static void take_reply(struct stream *stream)
{
    struct weft_reply reply;
    const struct chunk *chunk = chunk_at(stream, 0);
    int err = weft_client_receive(stream->command->client, chunk->request, &reply);
    if (err || reply.error.code != RPC_OK) {
        fail_chunk(stream, chunk, err ? err : -EREMOTEIO, &reply.error);
    } else {
        print_chunk(stream, chunk, reply.result);
        weft_reply_destroy(&reply);
    }
    stream->first = (stream->first + 1) % (WINDOW + 1);
    stream->in_flight--;
}

/* ---- gathering and sending ---- */

static void send_chunk(struct stream *stream)
{
    struct chunk *chunk = chunk_at(stream, stream->in_flight);
    if (chunk->count == 0)
        return;
    json_t *params = json_pack("{s:O}", "jobs", stream->jobs);
    int err = params ? weft_client_send(stream->command->client, "job.submit_many", params,
                                        &chunk->request)
                     : -ENOMEM;
    json_decref(params);
    json_array_clear(stream->jobs);
    stream->size = 0;
    if (err) {
        fail_chunk(stream, chunk, err, NULL);
        return;
    }
    stream->in_flight++;
    if (stream->in_flight == WINDOW)
        take_reply(stream);
    chunk_at(stream, stream->in_flight)->count = 0;
}

/* Take over job. */
static void gather(struct stream *stream, json_t *job)
{
    size_t size = json_dumpb(job, NULL, 0, JSON_COMPACT);
    if (size == 0) {
        json_decref(job);
        stream->status = command_explain(stream->command, -ENOMEM, NULL);
        return;
    }
    size += 1; /* the comma behind it */
    if (size + ENVELOPE > stream->line_max) {
        json_decref(job);
        refuse_line(stream, stream->line, "the job is too large for one request");
        return;
    }
    struct chunk *chunk = chunk_at(stream, stream->in_flight);
    if (stream->size + size + ENVELOPE > stream->line_max || chunk->count == stream->jobs_max) {
        send_chunk(stream);
        chunk = chunk_at(stream, stream->in_flight);
    }
    if (stream->status) {
        json_decref(job);
        return;
    }
    if (json_array_append_new(stream->jobs, job) < 0) {
        stream->status = command_explain(stream->command, -ENOMEM, NULL);
        return;
    }
    chunk->lines[chunk->count++] = stream->line;
    stream->size += size;
}

/* The job that a line's value means; takes over value.  NULL: out of memory. */
static json_t *make_job(const struct stream *stream, json_t *value)
{
    json_t *job = value;
    if (stream->handler)
        job = json_pack("{s:s, s:o}", "call", stream->handler, "args", value);
    if (job && json_memory_update_missing(job, stream->options) == 0)
        return job;
    json_decref(job);
    return NULL;
}

static void take_line(struct stream *stream, const char *text, size_t size)
{
    json_t *value;
    struct rpc_error error;
    if (text[strspn(text, " \t\r\n")] == '\0' && strlen(text) == size)
        return;
    if (jsonrpc_depth(text, size, JSONRPC_DEPTH_MAX) > JSONRPC_DEPTH_MAX - WRAPPERS) {
        refuse_line(stream, stream->line, "nested too deeply");
        return;
    }
    if (jsonrpc_parse_value(text, size, &value, &error)) {
        refuse_line(stream, stream->line, error.message);
        return;
    }
    if (!json_is_object(value)) {
        json_decref(value);
        refuse_line(stream, stream->line, "each line must be a JSON object");
        return;
    }
    json_t *job = make_job(stream, value);
    if (job)
        gather(stream, job);
    else
        stream->status = command_explain(stream->command, -ENOMEM, NULL);
}

/* ---- the whole ---- */

static void take_lines(struct stream *stream)
{
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size;
    while (!stream->status && (size = getline(&text, &capacity, stream->file)) >= 0) {
        stream->line++;
        take_line(stream, text, (size_t)size);
    }
    if (!stream->status && !feof(stream->file))
        stream->status = command_fail(stream->command, COMMAND_FAILED, "%s could not be read: %s",
                                      stream->name, strerror(errno));
    free(text);
    if (!stream->status)
        send_chunk(stream);
    while (stream->in_flight > 0 && stream->status != COMMAND_UNREACHABLE)
        take_reply(stream); /* I3 */
}

static size_t limit_of(const json_t *hello, const char *name, size_t most)
{
    json_int_t limit = json_integer_value(json_object_get(json_object_get(hello, "limits"), name));
    return limit > 0 && (size_t)limit < most ? (size_t)limit : most;
}

static int learn_limits(struct stream *stream)
{
    json_t *hello;
    int status = command_ask(stream->command, "hello", &hello);
    if (status)
        return status;
    stream->line_max = limit_of(hello, "line_max", LINE_MAX_SIZE);
    stream->jobs_max = limit_of(hello, "jobs", CHUNK_JOBS);
    json_decref(hello);
    return COMMAND_OK;
}

static int run_stream(struct stream *stream)
{
    int status = learn_limits(stream);
    if (status)
        return status;
    stream->window = calloc(WINDOW + 1, sizeof *stream->window);
    stream->jobs = json_array();
    if (stream->window && stream->jobs)
        take_lines(stream);
    else
        stream->status = command_explain(stream->command, -ENOMEM, NULL);
    free(stream->window);
    json_decref(stream->jobs);
    return stream->status ? stream->status : stream->refused ? COMMAND_FAILED : COMMAND_OK;
}

static int run_file(struct stream *stream, const char *path)
{
    bool is_own = strcmp(path, "-") == 0;
    stream->name = is_own ? "standard input" : path;
    stream->file = is_own ? stream->command->in : fopen(path, "re");
    if (!stream->file)
        return command_fail(stream->command, COMMAND_FAILED, "%s: %s", path,
                            strerrordesc_np(errno));
    int status = run_stream(stream);
    if (!is_own)
        fclose(stream->file);
    return status;
}

int submit_stream(struct command *command, const char *handler)
{
    json_t *options;
    int status = job_request_options(command, &options);
    if (status)
        return status;
    struct stream stream = {.command = command, .handler = handler, .options = options};
    status = run_file(&stream, arguments_value(&command->arguments, "from"));
    json_decref(options);
    return status;
}
