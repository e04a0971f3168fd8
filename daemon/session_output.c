/* SPDX-License-Identifier: MIT */
/* session_output: see session_output.h. */
#include "daemon/session_output.h"

#include "weft/pass.h"
#include "weft/scope.h"
#include "weft/stream.h"
#include "weft/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP_CAPACITY 4096 /* idle connections hold no more */

void session_output_init(struct session_output *output, struct weft_stream *stream,
                         uint64_t write_timeout, void (*sent)(void *owner, unsigned tokens),
                         void *owner)
{
    *output = (struct session_output){
        .stream = stream, .write_timeout = write_timeout, .sent = sent, .owner = owner, .fd = -1};
    weft_mutex_init(&output->lock);
    weft_cond_init(&output->progress);
    weft_semaphore_init(&output->place, 1, 1);
}

void session_output_destroy(struct session_output *output)
{
    jsonrpc_text_destroy(&output->waiting);
}

static int append(struct jsonrpc_text *to, const struct jsonrpc_text *from)
{
    size_t needed = to->size + from->size;
    if (needed > to->capacity) {
        size_t capacity = needed + needed / 2;
        char *data = realloc(to->data, capacity);
        if (!data)
            return -ENOMEM;
        to->data = data;
        to->capacity = capacity;
    }
    if (from->size)
        memcpy(to->data + to->size, from->data, from->size);
    to->size = needed;
    return 0;
}

/* One try within the timeout; a descriptor, if there is one, goes with the first byte.
 * Returns 0, -EAGAIN time is up but some went out, or an error. */
static int write_some(struct session_output *output, const char *data, size_t size, const int *fd,
                      size_t *done)
{
    struct weft_scope scope;
    uint64_t timeout = output->write_timeout;
    weft_scope_enter(&scope, timeout ? weft_deadline_after(timeout) : WEFT_NO_DEADLINE);
    int err = fd ? weft_stream_send_fds(output->stream, data, size, fd, 1, done)
                 : weft_write(output->stream, data, size, done);
    int expired = weft_scope_leave(&scope);
    return err && expired == -ETIMEDOUT && *done > 0 ? -EAGAIN : err;
}

static int write_all(struct session_output *output, const char *data, size_t size)
{
    size_t offset = 0;
    while (offset < size) {
        size_t done = 0;
        int err = write_some(output, data + offset, size - offset, NULL, &done);
        if (err && err != -EAGAIN)
            return err;
        offset += done;
    }
    return 0;
}

/* One reply, with its descriptor.  If the kernel has too many of our user's on their way, the reply
 * goes without: its reader sees that none came, and has job.logs. */
static int write_passing(struct session_output *output, const char *data, size_t size, int fd)
{
    size_t done = 0;
    int err = write_some(output, data, size, &fd, &done);
    if (err && err != -EAGAIN && err != -ETOOMANYREFS)
        return err;
    return write_all(output, data + done, size - done);
}

/* What is taken from waiting to be written. */
struct batch {
    struct jsonrpc_text text;
    int fd;
    size_t fd_at, fd_size;
};

/* Without text there is no data either: of a notification only the tokens are given back. */
static int write_batch(struct session_output *output, const struct batch *batch)
{
    if (batch->text.size == 0)
        return 0;
    const char *data = batch->text.data;
    size_t behind = batch->fd < 0 ? 0 : batch->fd_at + batch->fd_size;
    int err = batch->fd < 0 ? 0 : write_all(output, data, batch->fd_at);
    if (!err && batch->fd >= 0)
        err = write_passing(output, data + batch->fd_at, batch->fd_size, batch->fd);
    return err ? err : write_all(output, data + behind, batch->text.size - behind);
}

static void drop_fd(struct session_output *output, int fd)
{
    if (fd < 0)
        return;
    close(fd);
    weft_semaphore_release(&output->place);
}

static void trim(struct jsonrpc_text *text)
{
    text->size = 0;
    if (text->capacity > KEEP_CAPACITY)
        jsonrpc_text_destroy(text);
}

/* Take what waits; batch has the room of the one before.  The lock is held. */
static void take_batch(struct session_output *output, struct batch *batch)
{
    struct jsonrpc_text spare = batch->text;
    *batch = (struct batch){output->waiting, output->fd, output->fd_at, output->fd_size};
    output->waiting = spare;
    output->waiting.size = 0;
    output->fd = -1;
}

/* Write until nothing is waiting.  Called and returns with the lock held, writes without. */
static int output_write(struct session_output *output)
{
    struct batch batch = {.fd = -1};
    output->writing = true;
    while (output->waiting_tokens || output->waiting.size) {
        take_batch(output, &batch);
        unsigned tokens = output->waiting_tokens;
        output->waiting_tokens = 0;
        int err = output->err;
        weft_mutex_unlock(&output->lock);
        if (!err)
            err = write_batch(output, &batch);
        drop_fd(output, batch.fd);
        output->sent(output->owner, tokens);
        weft_mutex_lock_shielded(&output->lock);
        if (!output->err)
            output->err = err;
        output->gone += batch.text.size;
        weft_cond_broadcast(&output->progress);
    }
    output->writing = false;
    trim(&output->waiting);
    jsonrpc_text_destroy(&batch.text);
    return output->err;
}

int session_output_put(struct session_output *output, const struct jsonrpc_text *text,
                       unsigned tokens, int fd)
{
    weft_mutex_lock_shielded(&output->lock);
    if (fd >= 0) { /* I5: no other is there */
        output->fd = fd;
        output->fd_at = output->waiting.size;
        output->fd_size = text->size;
    }
    int err = output->err ? 0 : append(&output->waiting, text);
    if (err)
        output->err = err;
    else if (!output->err)
        output->appended += text->size;
    output->waiting_tokens += tokens;
    err = output->writing ? output->err : output_write(output);
    weft_mutex_unlock(&output->lock);
    return err;
}

int session_output_flush(struct session_output *output)
{
    int err = 0;
    weft_mutex_lock_shielded(&output->lock);
    uint64_t mark = output->appended;
    while (!err && !output->err && output->gone < mark)
        err = weft_cond_wait(&output->progress, &output->lock, WEFT_NO_DEADLINE);
    if (output->err)
        err = output->err;
    weft_mutex_unlock(&output->lock);
    return err;
}
