/* SPDX-License-Identifier: MIT */
/* client_output: a job's output by descriptor (job.output). */
#include "client/client_impl.h"

#include "protocol/error.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t integer_of(const json_t *result, const char *name)
{
    return json_integer_value(json_object_get(result, name));
}

/* Takes over reply->fd if it succeeds. */
static int convert(struct weft_reply *reply, struct weft_client_output *ret_output)
{
    const json_t *passes = json_object_get(reply->result, "descriptor");
    if (!json_is_boolean(passes))
        return -EBADMSG;
    if (json_is_true(passes) && reply->fd < 0)
        return -EOPNOTSUPP;
    if (json_is_false(passes) && reply->fd >= 0)
        return -EBADMSG;
    *ret_output = (struct weft_client_output){
        .fd = reply->fd,
        .eof = json_is_true(json_object_get(reply->result, "eof")),
        .attempt = integer_of(reply->result, "attempt"),
        .begin = integer_of(reply->result, "begin"),
        .gap = integer_of(reply->result, "gap"),
        .dropped = integer_of(reply->result, "dropped"),
    };
    reply->fd = -1;
    return 0;
}

static int ask(struct weft_client *client, const json_t *params, struct weft_reply *ret_reply)
{
    int64_t id;
    int err = weft_client_send(client, "job.output", params, &id);
    return err ? err : weft_client_receive(client, id, ret_reply);
}

int weft_client_output(struct weft_client *client, int64_t id, const char *stream, int64_t offset,
                       struct weft_client_output *ret_output, struct weft_client_error *error)
{
    struct weft_reply reply;
    json_t *params = json_pack("{s:I, s:s, s:I}", "id", (json_int_t)id, "stream", stream, "offset",
                               (json_int_t)offset);
    if (!params)
        return -ENOMEM;
    int err = ask(client, params, &reply);
    json_decref(params);
    if (err)
        return err;
    if (reply.error.code != RPC_OK) {
        *error = reply.error;
        return -EREMOTEIO;
    }
    err = convert(&reply, ret_output);
    weft_reply_destroy(&reply);
    return err;
}

int weft_client_output_is_complete(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    return !(status.st_mode & S_IWUSR);
}
