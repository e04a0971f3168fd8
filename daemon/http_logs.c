/* SPDX-License-Identifier: MIT */
/*
 * http_logs: a job's output as it is, byte by byte, in pieces.
 *
 * The first piece is read before anything is answered, so that an error has its status; the rest
 * comes as the client takes it.  With follow it goes on until the job has ended; a retry begins
 * another attempt, whose output is sent from its start.
 *
 * I1  Between two looks at a job that writes nothing is a job.wait with a timeout: it ends when the
 *     job does, so a job that is over is never waited for.
 * I2  The body is one piece of the stream, without a gap: one before it is in a header, and in front
 *     of one in the midst the reply ends without its proper end.
 */
#include "daemon/engine.h"
#include "daemon/http_impl.h"
#include "daemon/methods.h"
#include "protocol/json_memory.h"
#include "protocol/params.h"
#include "weft/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX 65536
#define PAUSE_MIN (20 * WEFT_MILLISECOND)
#define PAUSE_MAX (500 * WEFT_MILLISECOND)

static const char *const stream_names[] = {"stdout", "stderr", NULL};

static const struct param_spec logs_params[] = {
    {"stream", PARAM_STRING, .choices = stream_names},
    {"offset", PARAM_INT, .min = 0, .max = INT64_MAX},
    {"limit", PARAM_SIZE, .min = 1, .max = INT64_MAX},
    {"follow", PARAM_BOOL},
};

static struct engine *engine_of(const struct http_request *request)
{
    return http_context(request)->engine;
}

static void append_chunk(struct http_request *request, struct output_chunk *chunk)
{
    free(request->text.data);
    request->text =
        (struct jsonrpc_text){.data = chunk->data, .size = chunk->size, .capacity = chunk->size};
    request->source.offset = chunk->next;
    request->source.left -= chunk->size;
}

/* I2 */
static int take_gap(struct http_request *request, const struct output_chunk *chunk)
{
    if (chunk->gap == 0)
        return 0;
    if (request->status) /* the headers are on their way */
        return -ESTALE;
    request->source.gap = chunk->gap;
    return 0;
}

static int read_piece(struct http_request *request, bool *ret_at_end, bool *ret_eof,
                      struct rpc_error *error)
{
    struct http_source *source = &request->source;
    struct engine_piece piece = {.id = source->id,
                                 .stream = (enum output_stream)source->stream,
                                 .offset = source->offset,
                                 .limit = source->left < PIECE_MAX ? source->left : PIECE_MAX};
    struct output_chunk chunk;
    int err = engine_logs(engine_of(request), http_peer(request), &piece, &chunk, ret_eof, error);
    if (err)
        return err;
    err = take_gap(request, &chunk);
    if (err) {
        free(chunk.data);
        return err;
    }
    *ret_at_end = chunk.at_end;
    append_chunk(request, &chunk);
    return 0;
}

/* Which attempt the next piece is of.  Errors: engine_get()'s. */
static int look_at_attempt(struct http_request *request, struct rpc_error *error)
{
    struct http_source *source = &request->source;
    struct job_record *record;
    int err = engine_get(engine_of(request), http_peer(request), source->id, &record, error);
    if (err)
        return err;
    if (record->attempt != source->attempt && source->attempt)
        source->offset = 0;
    source->attempt = record->attempt;
    job_record_free(record);
    return 0;
}

/* Returns 0 also when the job goes on.  Errors: engine_wait()'s. */
static int pause_for(struct http_request *request, uint64_t pause, struct rpc_error *error)
{
    struct engine_page page;
    int err = engine_wait(engine_of(request), http_peer(request), &request->source.id, 1,
                          weft_deadline_after(pause), &page, error);
    if (!err)
        engine_page_destroy(&page);
    return err == -ETIMEDOUT ? 0 : err;
}

/* http_source.next */
static int next_piece(struct http_request *request)
{
    struct http_source *source = &request->source;
    struct rpc_error error;
    bool at_end, eof;
    uint64_t pause = PAUSE_MIN;
    while (source->left > 0) {
        int err = source->follow ? look_at_attempt(request, &error) : 0;
        if (!err)
            err = read_piece(request, &at_end, &eof, &error);
        if (err)
            return err;
        if (request->text.size > 0 || eof || !source->follow)
            return 0;
        err = pause_for(request, pause, &error);
        if (err)
            return err;
        pause = pause < PAUSE_MAX ? 2 * pause : PAUSE_MAX;
    }
    return 0;
}

static json_t *bool_of(const json_t *value)
{
    const char *text = json_string_value(value);
    if (text && (!*text || strcmp(text, "1") == 0 || strcmp(text, "true") == 0))
        return json_true();
    if (text && (strcmp(text, "0") == 0 || strcmp(text, "false") == 0))
        return json_false();
    return json_incref((json_t *)value); /* params_check() says what is wrong with it */
}

static int read_query(struct http_request *request, struct rpc_error *error)
{
    json_t *params = http_query_params(request);
    if (!params)
        return http_refuse_memory(error);
    if (params_has(params, "follow"))
        params = json_memory_set(params, "follow", bool_of(params_get(params, "follow")));
    if (!params)
        return http_refuse_memory(error);
    int err = params_check(params, logs_params, PARAMS_COUNT(logs_params), error);
    if (!err)
        request->source = (struct http_source){
            .id = request->id,
            .offset = (uint64_t)params_int(params, "offset", 0),
            .left = params_size(params, "limit", UINT64_MAX),
            .follow = params_bool(params, "follow", false),
            .stream = strcmp(params_string(params, "stream", "stdout"), "stderr") == 0
                          ? OUTPUT_STDERR
                          : OUTPUT_STDOUT,
        };
    json_decref(params);
    return err;
}

/* The first piece is what is there now, even if that is nothing: a follower is told at once that
 * the job is there. */
static int read_first(struct http_request *request, struct rpc_error *error)
{
    bool at_end, eof;
    int err = read_query(request, error);
    if (!err)
        err = look_at_attempt(request, error);
    if (!err)
        err = read_piece(request, &at_end, &eof, error);
    if (err)
        return err;
    if (request->source.follow ? !eof : !at_end)
        request->source.next = next_piece;
    return 0;
}

void http_job_logs(struct http_request *request)
{
    struct rpc_error error = {0};
    int err = read_first(request, &error);
    if (err && error.code == RPC_OK)
        rpc_error_set(&error, RPC_INTERNAL_ERROR, "%s", strerrordesc_np(-err));
    if (err) {
        request->source.next = NULL;
        http_reply_error(request, &error);
        return;
    }
    request->status = 200;
    request->type = "text/plain; charset=utf-8";
}
