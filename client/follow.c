/* SPDX-License-Identifier: MIT */
/*
 * follow: see follow.h.
 *
 * One round: a piece of each stream, then the job.  If the job is still in the attempt that it was
 * in before the round, the pieces are of that attempt and are printed; else they are dropped and
 * the new attempt's output is read from its start.  (What the old one wrote last may be missed.)
 *
 * I1  offset moves only with what was printed, so no byte comes twice.
 * I2  The pause between rounds is a job.wait with a timeout: it ends when the job does, so a job
 *     that is over is never slept on.
 */
#include "client/follow.h"

#include "client/job_text.h"
#include "client/text.h"

#include "protocol/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 500
#define CHUNK_MAX    65536

void follow_init(struct follow *follow, struct command *command, int64_t id, const char *only)
{
    *follow = (struct follow){
        .command = command,
        .id = id,
        .pause_ms = PAUSE_MIN_MS,
        .streams = {{.name = "stdout", .to = command->out}, {.name = "stderr", .to = command->err}},
        .streams_count = 2,
    };
    if (!only)
        return;
    follow->streams[0] = (struct follow_stream){.name = only, .to = command->out};
    follow->streams_count = 1;
}

static void drop_chunks(struct follow *follow)
{
    for (size_t i = 0; i < follow->streams_count; i++) {
        json_decref(follow->streams[i].chunk);
        follow->streams[i].chunk = NULL;
    }
}

static int read_chunk(struct follow *follow, struct follow_stream *stream,
                      struct weft_client_error *error)
{
    json_t *params =
        json_pack("{s:I, s:s, s:I, s:i}", "id", (json_int_t)follow->id, "stream", stream->name,
                  "offset", (json_int_t)stream->offset, "limit", CHUNK_MAX);
    return params ? command_try(follow->command, "job.logs", params, &stream->chunk, error)
                  : -ENOMEM;
}

static int read_chunks(struct follow *follow, struct weft_client_error *error)
{
    int err = 0;
    for (size_t i = 0; !err && i < follow->streams_count; i++)
        err = read_chunk(follow, &follow->streams[i], error);
    return err;
}

static int read_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error)
{
    json_t *params = json_pack("{s:I}", "id", (json_int_t)follow->id);
    return params ? command_try(follow->command, "job.get", params, ret_job, error) : -ENOMEM;
}

/* ---- printing ---- */

static int print_base64(const char *text, size_t size, FILE *to)
{
    size_t decoded_size;
    char *data = malloc(size ? size : 1);
    if (!data)
        return -ENOMEM;
    int err = text_from_base64(text, size, data, &decoded_size);
    if (!err)
        fwrite(data, 1, decoded_size, to);
    free(data);
    return err ? -EBADMSG : 0;
}

static int print_data(const struct follow_stream *stream)
{
    const json_t *data = json_object_get(stream->chunk, "data");
    const char *encoding = json_string_value(json_object_get(stream->chunk, "encoding"));
    if (!json_is_string(data))
        return -EBADMSG;
    if (encoding && strcmp(encoding, "base64") == 0)
        return print_base64(json_string_value(data), json_string_length(data), stream->to);
    fwrite(json_string_value(data), 1, json_string_length(data), stream->to);
    return 0;
}

/* What a cap cut off is said, not passed over. */
static void tell_dropped(struct follow *follow, const struct follow_stream *stream)
{
    json_int_t dropped = json_integer_value(json_object_get(stream->chunk, "dropped"));
    if (dropped > 0 && !follow->json)
        command_fail(follow->command, 0,
                     "job %lld: %lld more bytes of %s were not kept (exec.output_max)",
                     (long long)follow->id, (long long)dropped, stream->name);
}

/* It begins later than we asked for: what is between is gone, and must not look like nothing. */
static void tell_gap(struct follow *follow, const struct follow_stream *stream)
{
    json_int_t gap = json_integer_value(json_object_get(stream->chunk, "gap"));
    if (gap > 0 && !follow->json)
        command_fail(follow->command, 0,
                     "job %lld: %lld bytes of %s from offset %lld on were not kept "
                     "(exec.output_max)",
                     (long long)follow->id, (long long)gap, stream->name,
                     (long long)stream->offset);
}

static int print_news(struct follow *follow, struct follow_stream *stream, json_int_t next)
{
    int err = 0;
    tell_gap(follow, stream);
    if (follow->json)
        command_print_json(follow->command, stream->chunk);
    else
        err = print_data(stream);
    if (err)
        return err;
    stream->offset = next;
    return fflush(stream->to) == 0 && !ferror(stream->to) ? 0 : -EPIPE;
}

static int print_chunk(struct follow *follow, struct follow_stream *stream, bool *ret_news)
{
    json_int_t next = json_integer_value(json_object_get(stream->chunk, "next"));
    bool ended_before = stream->ended;
    int err = 0;
    stream->ended = json_is_true(json_object_get(stream->chunk, "eof"));
    if (next > stream->offset) {
        err = print_news(follow, stream, next);
        *ret_news = true;
    }
    if (!err && stream->ended && !ended_before)
        tell_dropped(follow, stream);
    return err;
}

static int print_chunks(struct follow *follow, bool *ret_news)
{
    int err = 0;
    for (size_t i = 0; !err && i < follow->streams_count; i++)
        err = print_chunk(follow, &follow->streams[i], ret_news);
    return err;
}

/* ---- rounds ---- */

static void begin_attempt(struct follow *follow, int64_t attempt)
{
    if (follow->attempt > 0 && !follow->json)
        command_fail(follow->command, 0, "job %lld: attempt %lld", (long long)follow->id,
                     (long long)attempt);
    follow->attempt = attempt;
    for (size_t i = 0; i < follow->streams_count; i++)
        follow->streams[i].offset = 0;
}

/* *ret_news: something was printed, or another attempt began. */
static int take_round(struct follow *follow, json_t **ret_job, bool *ret_news,
                      struct weft_client_error *error)
{
    json_t *job;
    int err = read_chunks(follow, error);
    if (!err)
        err = read_job(follow, &job, error);
    if (err) {
        drop_chunks(follow);
        return err;
    }
    int64_t attempt = json_integer_value(json_object_get(job, "attempt"));
    bool is_same = attempt == follow->attempt;
    *ret_news = !is_same;
    if (is_same)
        err = print_chunks(follow, ret_news);
    else
        begin_attempt(follow, attempt);
    drop_chunks(follow);
    if (err)
        json_decref(job);
    else
        *ret_job = job;
    return err;
}

static int pause_round(struct follow *follow, struct weft_client_error *error)
{
    json_t *result = NULL;
    json_t *params = json_pack("{s:[I], s:f}", "ids", (json_int_t)follow->id, "timeout",
                               (double)follow->pause_ms / 1000);
    int err = params ? command_try(follow->command, "job.wait", params, &result, error) : -ENOMEM;
    json_decref(result);
    follow->pause_ms *= 2;
    if (follow->pause_ms > PAUSE_MAX_MS)
        follow->pause_ms = PAUSE_MAX_MS;
    return err == -EREMOTEIO && error->code == RPC_TIMEOUT ? 0 : err;
}

static bool is_over(const struct follow *follow, const json_t *job)
{
    for (size_t i = 0; i < follow->streams_count; i++) {
        if (!follow->streams[i].ended)
            return false;
    }
    return job_has_ended(job);
}

int follow_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error)
{
    for (;;) {
        json_t *job;
        bool news = false;
        int err = take_round(follow, &job, &news, error);
        if (err)
            return err;
        if (!news && is_over(follow, job)) {
            *ret_job = job;
            return 0;
        }
        json_decref(job);
        if (news)
            follow->pause_ms = PAUSE_MIN_MS;
        else
            err = pause_round(follow, error);
        if (err)
            return err;
    }
}

int follow_once(struct follow *follow, struct weft_client_error *error)
{
    bool news = true;
    while (news) {
        json_t *job;
        news = false;
        int err = take_round(follow, &job, &news, error);
        if (err)
            return err;
        json_decref(job);
    }
    return 0;
}
