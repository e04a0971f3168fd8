/* SPDX-License-Identifier: MIT */
/*
 * follow: see follow.h.
 *
 * I1  What is not kept is said, not passed over.
 * I2  A follow that goes on in pieces does so for good, from the offsets that it has come to.
 */
#include "client/follow_impl.h"

#include <errno.h>
#include <unistd.h>

void follow_init(struct follow *follow, struct command *command, int64_t id, const char *only)
{
    *follow = (struct follow){
        .command = command,
        .id = id,
        .pause_ms = FOLLOW_PAUSE_MIN_MS,
        .streams = {{.name = "stdout", .to = command->out}, {.name = "stderr", .to = command->err}},
        .streams_count = 2,
    };
    if (only) {
        follow->streams[0] = (struct follow_stream){.name = only, .to = command->out};
        follow->streams_count = 1;
    }
    for (size_t i = 0; i < follow->streams_count; i++) {
        follow->streams[i].fd = -1;
        follow->streams[i].pause_ms = FOLLOW_PAUSE_MIN_MS;
    }
}

void follow_destroy(struct follow *follow)
{
    for (size_t i = 0; i < follow->streams_count; i++) {
        if (follow->streams[i].fd >= 0)
            close(follow->streams[i].fd);
        follow->streams[i].fd = -1;
    }
}

int follow_read_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error)
{
    json_t *params = json_pack("{s:I}", "id", (json_int_t)follow->id);
    return command_try(follow->command, "job.get", params, ret_job, error);
}

/* ---- telling ---- */

void follow_begin_attempt(struct follow *follow, int64_t attempt)
{
    if (follow->attempt > 0 && !follow->json)
        command_fail(follow->command, 0, "job %lld: attempt %lld", (long long)follow->id,
                     (long long)attempt);
    follow->attempt = attempt;
    for (size_t i = 0; i < follow->streams_count; i++) {
        follow->streams[i].offset = 0;
        follow->streams[i].ended = false;
    }
}

void follow_tell_gap(struct follow *follow, const struct follow_stream *stream, int64_t gap)
{
    if (gap > 0 && !follow->json)
        command_fail(follow->command, 0,
                     "job %lld: %lld bytes of %s from offset %lld on were not kept "
                     "(exec.output_max)",
                     (long long)follow->id, (long long)gap, stream->name,
                     (long long)stream->offset);
}

void follow_tell_dropped(struct follow *follow, const struct follow_stream *stream, int64_t dropped)
{
    if (dropped > 0 && !follow->json)
        command_fail(follow->command, 0,
                     "job %lld: %lld more bytes of %s were not kept (exec.output_max)",
                     (long long)follow->id, (long long)dropped, stream->name);
}

int follow_flush(const struct follow_stream *stream)
{
    return fflush(stream->to) == 0 && !ferror(stream->to) ? 0 : -EPIPE;
}

/* ---- choosing ---- */

/* What came by a file is not asked for again (I2). */
static void go_on_in_pieces(struct follow *follow)
{
    follow_destroy(follow);
    follow->in_pieces = true;
}

int follow_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error)
{
    if (!follow->in_pieces && !follow->json) {
        int err = follow_files_job(follow, ret_job, error);
        if (err != -EOPNOTSUPP)
            return err;
        go_on_in_pieces(follow);
    }
    return follow_pieces_job(follow, ret_job, error);
}

int follow_once(struct follow *follow, struct weft_client_error *error)
{
    if (!follow->in_pieces && !follow->json) {
        int err = follow_files_once(follow, error);
        if (err != -EOPNOTSUPP)
            return err;
        go_on_in_pieces(follow);
    }
    return follow_pieces_once(follow, error);
}
