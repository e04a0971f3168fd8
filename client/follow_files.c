/* SPDX-License-Identifier: MIT */
/*
 * follow_files: follow by descriptors (job.output), without weftd but to ask for the next file and
 * to be told of the end.
 *
 * A stream has a file, or none.  With one it is read to its end, again and again; when nothing will
 * be appended to it, the next is asked for.  Without one that is asked for at growing intervals,
 * until weftd says that there will be none.
 *
 * I1  offset moves only with what was printed, or said to be gone, so no byte comes twice.
 * I2  Whether a file is complete is asked before it is read to its end: that is the end then.
 * I3  While anything is waited for a job.wait without a timeout lies with weftd: its answer ends
 *     the pause, and every stream looks at once.
 * I4  Another attempt begins when each file of the one before is read to its end.
 * I5  A look prints a bounded piece, and between two the connection and the interrupt are looked at.
 */
#include "client/clock.h"
#include "client/follow_impl.h"
#include "client/job_text.h"

#include "protocol/error.h"

#include <errno.h>
#include <sys/param.h>
#include <unistd.h>

#define FILE_PAUSE_MAX_MS 100 /* a file is looked at without weftd */
#define READ_SIZE         65536
#define LOOK_MAX          (4 << 20) /* I5 */
#define MS                UINT64_C(1000000)

static void look_now(struct follow_stream *stream)
{
    stream->pause_ms = FOLLOW_PAUSE_MIN_MS;
    stream->look_ns = 0;
}

static void look_later(struct follow_stream *stream)
{
    uint32_t longest = stream->fd >= 0 ? FILE_PAUSE_MAX_MS : FOLLOW_PAUSE_MAX_MS;
    stream->look_ns = clock_now_ns() + stream->pause_ms * MS;
    stream->pause_ms = MIN(stream->pause_ms * 2, longest);
}

/* ---- a file ---- */

static void close_file(struct follow_stream *stream)
{
    close(stream->fd);
    stream->fd = -1;
    look_now(stream);
}

/* At most `most` bytes; *ret_count less than that: then it is at the end.  Errors: -EPIPE as
 * follow_flush(), pread(2)'s. */
static int print_file(struct follow_stream *stream, int64_t most, int64_t *ret_count)
{
    char buffer[READ_SIZE];
    int64_t count = 0;
    while (count < most) {
        size_t size = (size_t)MIN(most - count, READ_SIZE);
        ssize_t got = pread(stream->fd, buffer, size, stream->offset - stream->begin);
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        size = fwrite(buffer, 1, (size_t)got, stream->to);
        stream->offset += (int64_t)size; /* I1 */
        count += (int64_t)size;
        if (size < (size_t)got)
            return -EPIPE;
    }
    *ret_count = count;
    return count > 0 ? follow_flush(stream) : 0;
}

/* Print a piece, and close it if it is read to the end for good.  *ret_more: there is more to be
 * had at once. */
static int look_at_file(struct follow_stream *stream, bool *ret_more)
{
    int64_t count;
    int complete = stream->is_last ? 1 : weft_client_output_is_complete(stream->fd); /* I2 */
    if (complete < 0)
        return complete;
    int err = print_file(stream, LOOK_MAX, &count);
    if (err)
        return err;
    bool at_end = count < LOOK_MAX;
    if (at_end && complete)
        close_file(stream);
    else if (count > 0)
        look_now(stream);
    else
        look_later(stream);
    *ret_more = complete || !at_end;
    return 0;
}

/* I4: it is complete, as the attempt is over. */
static int finish_file(struct follow_stream *stream)
{
    int64_t count;
    if (stream->fd < 0)
        return 0;
    int err = print_file(stream, INT64_MAX, &count);
    close_file(stream);
    return err;
}

/* ---- the next file ---- */

static int begin_attempt(struct follow *follow, int64_t attempt)
{
    int err = 0;
    for (size_t i = 0; !err && i < follow->streams_count; i++)
        err = finish_file(&follow->streams[i]);
    if (err)
        return err;
    follow_begin_attempt(follow, attempt);
    for (size_t i = 0; i < follow->streams_count; i++)
        look_now(&follow->streams[i]);
    return 0;
}

static void take_answer(struct follow *follow, struct follow_stream *stream,
                        const struct weft_client_output *output)
{
    bool ended_before = stream->ended;
    follow_tell_gap(follow, stream, output->gap);
    stream->offset += output->gap;
    stream->fd = output->fd;
    stream->begin = output->begin;
    stream->is_last = output->eof;
    stream->ended = output->eof && output->fd < 0;
    if (stream->ended && !ended_before)
        follow_tell_dropped(follow, stream, output->dropped);
    if (stream->fd >= 0)
        look_now(stream);
    else
        look_later(stream);
}

/* A weftd that has no job.output, or may not pass a descriptor here, has job.logs. */
static bool is_without_descriptors(int err, const struct weft_client_error *error)
{
    return err == -EREMOTEIO &&
           (error->code == RPC_METHOD_NOT_FOUND || error->code == RPC_INVALID_REQUEST);
}

static int ask(struct follow *follow, struct follow_stream *stream, struct weft_client_error *error)
{
    struct weft_client_output output;
    int err = weft_client_output(follow->command->client, follow->id, stream->name, stream->offset,
                                 &output, error);
    if (err)
        return is_without_descriptors(err, error) ? -EOPNOTSUPP : err;
    bool is_for_other = output.attempt != follow->attempt && stream->offset > 0;
    if (output.attempt != follow->attempt)
        err = begin_attempt(follow, output.attempt);
    if (!err && !is_for_other)
        take_answer(follow, stream, &output);
    else if (output.fd >= 0)
        close(output.fd); /* it was asked for by the old one's offset */
    return err;
}

/* ---- the job ---- */

/* *ret_more: look again at once. */
static int look(struct follow *follow, struct follow_stream *stream, bool *ret_more,
                struct weft_client_error *error)
{
    int64_t attempt = follow->attempt;
    *ret_more = false;
    if (stream->fd < 0) {
        int err = ask(follow, stream, error);
        if (err || stream->fd < 0) {
            *ret_more = attempt != follow->attempt;
            return err;
        }
    }
    return look_at_file(stream, ret_more);
}

/* *ret_wait_ns: how long there is nothing to look at; 0: not at all. */
static int look_at_all(struct follow *follow, uint64_t *ret_wait_ns,
                       struct weft_client_error *error)
{
    uint64_t next = UINT64_MAX, now = clock_now_ns();
    for (size_t i = 0; i < follow->streams_count; i++) {
        struct follow_stream *stream = &follow->streams[i];
        bool more;
        int err = stream->look_ns <= now && !stream->ended ? look(follow, stream, &more, error) : 0;
        if (err)
            return err;
    }
    for (size_t i = 0; i < follow->streams_count; i++) {
        if (!follow->streams[i].ended)
            next = MIN(next, follow->streams[i].look_ns);
    }
    now = clock_now_ns();
    *ret_wait_ns = next > now ? next - now : 0;
    return 0;
}

static int send_wait(struct follow *follow)
{
    json_t *params = json_pack("{s:[I]}", "ids", (json_int_t)follow->id);
    if (!params)
        return -ENOMEM;
    int err = weft_client_send(follow->command->client, "job.wait", params, &follow->wait_id);
    json_decref(params);
    return err;
}

/* The job has ended, by the answer to a job.wait; or weftd would not wait. */
static int take_end(struct follow *follow, struct weft_reply *reply,
                    struct weft_client_error *error)
{
    follow->wait_id = 0;
    for (size_t i = 0; i < follow->streams_count; i++)
        look_now(&follow->streams[i]);
    *error = reply->error;
    weft_reply_destroy(reply);
    return error->code == RPC_OK || error->code == RPC_TIMEOUT ? 0 : -EREMOTEIO;
}

/* I3.  Until the job has ended, for ns at most. */
static int pause_for(struct follow *follow, uint64_t ns, struct weft_client_error *error)
{
    struct weft_reply reply;
    int err = follow->wait_id ? 0 : send_wait(follow);
    if (!err)
        err = weft_client_receive_within(follow->command->client, follow->wait_id, ns, &reply);
    if (err == -ETIMEDOUT)
        return 0;
    return err ? err : take_end(follow, &reply, error);
}

static bool all_ended(const struct follow *follow)
{
    for (size_t i = 0; i < follow->streams_count; i++) {
        if (!follow->streams[i].ended)
            return false;
    }
    return true;
}

/* Every stream has ended, so the job had.  *ret_job: NULL if a job.retry has come since. */
static int take_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error)
{
    json_t *job;
    int err = follow_read_job(follow, &job, error);
    if (err)
        return err;
    if (job_has_ended(job)) {
        *ret_job = job;
        return 0;
    }
    json_decref(job);
    for (size_t i = 0; i < follow->streams_count; i++) {
        follow->streams[i].ended = false;
        look_later(&follow->streams[i]);
    }
    return 0;
}

int follow_files_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error)
{
    uint64_t wait_ns;
    int err = 0;
    *ret_job = NULL;
    while (!err && !*ret_job) {
        err = look_at_all(follow, &wait_ns, error);
        if (!err && all_ended(follow))
            err = take_job(follow, ret_job, error);
        else if (!err)
            err = pause_for(follow, wait_ns, error);
    }
    return err;
}

int follow_files_once(struct follow *follow, struct weft_client_error *error)
{
    for (size_t i = 0; i < follow->streams_count; i++) {
        bool more = true;
        while (more) {
            int err = look(follow, &follow->streams[i], &more, error);
            if (err)
                return err;
        }
    }
    return 0;
}
