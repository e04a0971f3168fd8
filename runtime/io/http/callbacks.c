/* SPDX-License-Identifier: MIT */
/*
 * What libcurl calls while it moves a transfer's data.
 *
 *   I1  Nothing here suspends, or calls libcurl but to ask about the transfer (N1 of session.h).
 *   I2  A callback that cannot go on notes why in `broken`, and makes libcurl give up.
 *   I3  What comes is queued up to the session's read_ahead, and then libcurl is told to wait: it
 *       keeps the piece that it offered, and offers it again.  The first piece is taken whatever
 *       its size.
 *
 * Runs on the driver's fiber, inside calls of libcurl's.
 */
#include <errno.h>
#include <stdio.h>

#include "io/http/transfer.h"
#include "weft/time.h"

/* I2.  Returns: what makes libcurl give up, from on_header and on_body. */
static size_t give_up(struct http_transfer *transfer, int error, const char *why)
{
    transfer->broken = error;
    transfer->broken_why = why;
    return 0;
}

static void note_activity(struct http_transfer *transfer)
{
    atomic_store_explicit(&transfer->active_ns, weft_now_ns(), memory_order_relaxed);
}

int on_connected(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct http_transfer *transfer = arg;
    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;

    transfer->connected = true;
    note_activity(transfer);
    post_raise(transfer->session, &transfer->post, POST_LIVE);
    return CURL_PREREQFUNC_OK;
}

/* ---- the response ----------------------------------------------------------------------- */

static void publish_head(struct http_transfer *transfer)
{
    transfer_note_info(transfer);
    transfer->headed = true;
    if (transfer->head.version < 20)
        driver_forget_two(transfer->session, transfer->fd);
    post_raise(transfer->session, &transfer->post, POST_HEAD);
}

/* The empty line.  A block of 1xx is not the response's; but 101 ends the exchange. */
static void end_head(struct http_transfer *transfer)
{
    int status = transfer->head.status;

    if (status >= 200 || status == 101)
        publish_head(transfer);
}

static int take_line(struct http_transfer *transfer, const char *line, size_t size)
{
    if (transfer->headed)
        return size ? head_add(&transfer->trailer, line, size) : 0;
    if (size >= 5 && strncmp(line, "HTTP/", 5) == 0)
        return head_begin(&transfer->head, line, size);
    if (size)
        return head_add(&transfer->head, line, size);
    end_head(transfer);
    return 0;
}

size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_transfer *transfer = arg;
    size_t total = size * count, length = total;

    transfer->connected = true;
    transfer->session->calls++;
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    int r = take_line(transfer, line, length);
    if (r == -EMSGSIZE)
        return give_up(transfer, r, "the response's headers are too large");
    if (r < 0)
        return give_up(transfer, r, r == -ENOMEM ? "out of memory" : "malformed headers");
    return total;
}

/* Under the lock.  I3. */
static bool in_full(struct http_transfer *transfer, size_t more)
{
    size_t held = transfer->in.bytes;

    return held > 0 && held + more > transfer->session->config.options.read_ahead;
}

/* Returns: whether there is room for so much; else libcurl is to wait. */
static bool make_room(struct http_transfer *transfer, size_t more)
{
    struct weft_http_session *session = transfer->session;

    spin_lock(&session->lock);
    bool full = in_full(transfer, more);
    if (full)
        transfer->receive_paused = true;
    spin_unlock(&session->lock);
    return !full;
}

size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_transfer *transfer = arg;
    struct weft_http_session *session = transfer->session;
    size_t total = size * count;

    if (total == 0)
        return 0;
    session->calls++;
    if (transfer->discarding)
        return total;
    if (!make_room(transfer, total))
        return CURL_WRITEFUNC_PAUSE;
    struct http_chunk *chunk = chunk_new(total);
    if (!chunk)
        return give_up(transfer, -ENOMEM, "out of memory");
    memcpy(chunk->bytes, data, total);
    chunk->size = total;
    atomic_fetch_add_explicit(&transfer->received, total, memory_order_relaxed);
    spin_lock(&session->lock);
    queue_push(&transfer->in, chunk);
    post_raise_locked(session, &transfer->post, POST_DATA);
    spin_unlock(&session->lock);
    return total;
}

/* ---- the request's body ----------------------------------------------------------------- */

/* Have a block to send from.  Returns: false when there is none now. */
static bool next_block(struct http_transfer *transfer, bool *ret_ended)
{
    struct weft_http_session *session = transfer->session;

    spin_lock(&session->lock);
    transfer->sending = queue_pop(&transfer->out);
    *ret_ended = transfer->out_ended;
    if (!transfer->sending && !transfer->out_ended)
        transfer->send_paused = true;
    if (!transfer->out_ended)
        post_raise_locked(session, &transfer->post, POST_ROOM);
    spin_unlock(&session->lock);
    return transfer->sending;
}

static size_t send_memory(struct http_transfer *transfer, char *buffer, size_t size)
{
    const struct http_body *body = &transfer->plan->body;
    size_t left = (size_t)body->size - transfer->memory_offset;
    size_t taken = left < size ? left : size;

    memcpy(buffer, (const char *)body->data + transfer->memory_offset, taken);
    transfer->memory_offset += taken;
    return taken;
}

/* libcurl wants to begin again, on another connection: what is in memory can be had again. */
int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct http_transfer *transfer = arg;

    if (transfer->plan->body.kind != BODY_MEMORY || origin != SEEK_SET || offset < 0 ||
        offset > transfer->plan->body.size)
        return CURL_SEEKFUNC_FAIL;
    transfer->memory_offset = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

size_t on_send(char *buffer, size_t size, size_t count, void *arg)
{
    struct http_transfer *transfer = arg;
    bool ended;

    transfer->session->calls++;
    note_activity(transfer);
    if (transfer->plan->body.kind == BODY_MEMORY)
        return send_memory(transfer, buffer, size * count);
    if (!transfer->sending && !next_block(transfer, &ended))
        return ended ? 0 : CURL_READFUNC_PAUSE;
    size_t taken = chunk_take(transfer->sending, buffer, size * count);
    if (chunk_empty(transfer->sending)) {
        free(transfer->sending);
        transfer->sending = NULL;
    }
    return taken;
}
