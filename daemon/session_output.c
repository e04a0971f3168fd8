/* SPDX-License-Identifier: MIT */
/* session_output: see session_output.h. */
#include "daemon/session_output.h"

#include "weft/scope.h"
#include "weft/stream.h"
#include "weft/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_CAPACITY 4096 /* idle connections hold no more */

void session_output_init(struct session_output *output, struct weft_stream *stream,
                         uint64_t write_timeout, void (*sent)(void *owner, unsigned tokens),
                         void *owner)
{
    *output = (struct session_output){
        .stream = stream, .write_timeout = write_timeout, .sent = sent, .owner = owner};
    weft_mutex_init(&output->lock);
    weft_cond_init(&output->progress);
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

/* One try within the timeout.  Returns 0, -EAGAIN time is up but some went out, or an error. */
static int write_some(struct session_output *output, const char *data, size_t size, size_t *done)
{
    struct weft_scope scope;
    uint64_t timeout = output->write_timeout;
    weft_scope_enter(&scope, timeout ? weft_deadline_after(timeout) : WEFT_NO_DEADLINE);
    int err = weft_write(output->stream, data, size, done);
    int expired = weft_scope_leave(&scope);
    return err && expired == -ETIMEDOUT && *done > 0 ? -EAGAIN : err;
}

static int write_all(struct session_output *output, const struct jsonrpc_text *text)
{
    size_t offset = 0;
    while (offset < text->size) {
        size_t done = 0;
        int err = write_some(output, text->data + offset, text->size - offset, &done);
        if (err && err != -EAGAIN)
            return err;
        offset += done;
    }
    return 0;
}

static void trim(struct jsonrpc_text *text)
{
    text->size = 0;
    if (text->capacity > KEEP_CAPACITY)
        jsonrpc_text_destroy(text);
}

/* Write until nothing is waiting.  Called and returns with the lock held, writes without. */
static int output_write(struct session_output *output)
{
    struct jsonrpc_text active = {0};
    output->writing = true;
    while (output->waiting_tokens || output->waiting.size) {
        struct jsonrpc_text spare = active;
        active = output->waiting;
        output->waiting = spare;
        output->waiting.size = 0;
        unsigned tokens = output->waiting_tokens;
        output->waiting_tokens = 0;
        int err = output->err;
        weft_mutex_unlock(&output->lock);
        if (!err)
            err = write_all(output, &active);
        output->sent(output->owner, tokens);
        weft_mutex_lock_shielded(&output->lock);
        if (!output->err)
            output->err = err;
        output->gone += active.size;
        weft_cond_broadcast(&output->progress);
    }
    output->writing = false;
    trim(&output->waiting);
    jsonrpc_text_destroy(&active);
    return output->err;
}

int session_output_put(struct session_output *output, const struct jsonrpc_text *text,
                       unsigned tokens)
{
    weft_mutex_lock_shielded(&output->lock);
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
