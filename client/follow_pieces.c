/* SPDX-License-Identifier: MIT */
/*
 * follow_pieces: follow by job.logs.
 *
 * One round: a piece of each stream, then the job.  If the job is still in the attempt that it was
 * in before the round, the pieces are of that attempt and are printed; else they are dropped and
 * the new attempt's output is read from its start.  (What the old one wrote last may be missed.)
 *
 * I1  offset moves only with what was printed, a piece at once, so no byte comes twice: a piece that
 *     was printed in part ends the follow.
 * I2  The pause between rounds is a job.wait with a timeout: it ends when the job does, so a job
 *     that is over is never slept on.
 */
#include "client/follow_impl.h"
#include "client/job_text.h"
#include "client/text.h"

#include "protocol/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX 65536

static json_int_t integer_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void drop_pieces(struct follow *follow)
{
    for (size_t i = 0; i < follow->streams_count; i++) {
        json_decref(follow->streams[i].piece);
        follow->streams[i].piece = NULL;
    }
}

static int read_piece(struct follow *follow, struct follow_stream *stream,
                      struct weft_client_error *error)
{
    json_t *params =
        json_pack("{s:I, s:s, s:I, s:i}", "id", (json_int_t)follow->id, "stream", stream->name,
                  "offset", (json_int_t)stream->offset, "limit", PIECE_MAX);
    return command_try(follow->command, "job.logs", params, &stream->piece, error);
}

static int read_pieces(struct follow *follow, struct weft_client_error *error)
{
    int err = 0;
    for (size_t i = 0; !err && i < follow->streams_count; i++)
        err = read_piece(follow, &follow->streams[i], error);
    return err;
}

/* ---- printing ---- */

static int print_bytes(const char *data, size_t size, FILE *to)
{
    return fwrite(data, 1, size, to) == size ? 0 : -EPIPE;
}

static int print_base64(const char *text, size_t size, FILE *to)
{
    size_t decoded_size;
    char *data = malloc(size ? size : 1);
    if (!data)
        return -ENOMEM;
    int err = text_from_base64(text, size, data, &decoded_size) ? -EBADMSG : 0;
    if (!err)
        err = print_bytes(data, decoded_size, to);
    free(data);
    return err;
}

static int print_data(const struct follow_stream *stream)
{
    const json_t *data = json_object_get(stream->piece, "data");
    const char *encoding = json_string_value(json_object_get(stream->piece, "encoding"));
    if (!json_is_string(data))
        return -EBADMSG;
    if (encoding && strcmp(encoding, "base64") == 0)
        return print_base64(json_string_value(data), json_string_length(data), stream->to);
    return print_bytes(json_string_value(data), json_string_length(data), stream->to);
}

static int print_news(struct follow *follow, struct follow_stream *stream, json_int_t next)
{
    int err = 0;
    follow_tell_gap(follow, stream, integer_of(stream->piece, "gap"));
    if (follow->json)
        command_print_json(follow->command, stream->piece);
    else
        err = print_data(stream);
    if (!err)
        err = follow_flush(stream);
    if (!err)
        stream->offset = next; /* I1 */
    return err;
}

static int print_piece(struct follow *follow, struct follow_stream *stream, bool *ret_news)
{
    json_int_t next = integer_of(stream->piece, "next");
    bool ended_before = stream->ended;
    int err = 0;
    stream->ended = json_is_true(json_object_get(stream->piece, "eof"));
    if (next > stream->offset) {
        err = print_news(follow, stream, next);
        *ret_news = true;
    }
    if (!err && stream->ended && !ended_before)
        follow_tell_dropped(follow, stream, integer_of(stream->piece, "dropped"));
    return err;
}

static int print_pieces(struct follow *follow, bool *ret_news)
{
    int err = 0;
    for (size_t i = 0; !err && i < follow->streams_count; i++)
        err = print_piece(follow, &follow->streams[i], ret_news);
    return err;
}

/* ---- rounds ---- */

/* *ret_news: something was printed, or another attempt began. */
static int take_round(struct follow *follow, json_t **ret_job, bool *ret_news,
                      struct weft_client_error *error)
{
    json_t *job;
    int err = read_pieces(follow, error);
    if (!err)
        err = follow_read_job(follow, &job, error);
    if (err) {
        drop_pieces(follow);
        return err;
    }
    int64_t attempt = integer_of(job, "attempt");
    bool is_same = attempt == follow->attempt;
    *ret_news = !is_same;
    if (is_same)
        err = print_pieces(follow, ret_news);
    else
        follow_begin_attempt(follow, attempt);
    drop_pieces(follow);
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
    int err = command_try(follow->command, "job.wait", params, &result, error);
    json_decref(result);
    follow->pause_ms *= 2;
    if (follow->pause_ms > FOLLOW_PAUSE_MAX_MS)
        follow->pause_ms = FOLLOW_PAUSE_MAX_MS;
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

int follow_pieces_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error)
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
            follow->pause_ms = FOLLOW_PAUSE_MIN_MS;
        else
            err = pause_round(follow, error);
        if (err)
            return err;
    }
}

int follow_pieces_once(struct follow *follow, struct weft_client_error *error)
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
