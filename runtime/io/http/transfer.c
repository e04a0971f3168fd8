/* SPDX-License-Identifier: MIT */
/*
 * Transfers: the fiber's side, and how the driver begins and ends them.  The invariants stand in
 * transfer.h.
 *
 *   I1  Every transfer that was posted is finished exactly once, by transfer_finish or
 *       transfer_fail, and its easy handle is gone then.
 *   I2  An abort closes the connection (HTTP/1) or resets the stream (HTTP/2): libcurl does so when
 *       a handle is removed before its end.
 *
 * libcurl's callbacks are in callbacks.c.
 */
#include "io/http/transfer.h"

#include <errno.h>
#include <stdio.h>

#include "core/scope.h"
#include "weft/time.h"

/* ---- the fiber's side ------------------------------------------------------------------- */

static http_post_run run_transfer;

int transfer_begin(struct http_transfer *transfer, struct weft_http_session *session,
                   const struct http_plan *plan)
{
    *transfer = (struct http_transfer){.session = session, .plan = plan, .fd = -1};
    post_init(&transfer->post, run_transfer);
    list_init(&transfer->active);
    int r = post_send(session, &transfer->post, WANT_BEGIN);
    if (r == 0)
        return 0;
    transfer->result = r;
    transfer->post.events = POST_DONE; /* nobody else has it */
    return r;
}

void transfer_end(struct http_transfer *transfer)
{
    struct weft_http_session *session = transfer->session;
    int r = post_send(session, &transfer->post, WANT_END);

    /* -ESHUTDOWN: the driver fails all that it has, or has done so. */
    if (r != -EALREADY)
        post_wait(session, &transfer->post, POST_DONE, WEFT_NO_DEADLINE, POST_SHIELDED);
}

void transfer_destroy(struct http_transfer *transfer)
{
    queue_destroy(&transfer->in);
    queue_destroy(&transfer->out);
    free(transfer->sending);
    transfer->sending = NULL;
    head_destroy(&transfer->head);
    head_destroy(&transfer->trailer);
}

struct http_chunk *transfer_receive(struct http_transfer *transfer)
{
    struct weft_http_session *session = transfer->session;
    bool resume = false;

    spin_lock(&session->lock);
    struct http_chunk *chunk = queue_pop(&transfer->in);
    if (!transfer->in.first)
        transfer->post.events &= ~(unsigned)POST_DATA;
    if (transfer->receive_paused && transfer->in.bytes <= session->config.options.read_ahead / 2) {
        resume = true;
        transfer->receive_paused = false;
    }
    spin_unlock(&session->lock);
    if (resume)
        post_send(session, &transfer->post, WANT_RECEIVE);
    return chunk;
}

void transfer_send(struct http_transfer *transfer, struct http_chunk *chunk)
{
    struct weft_http_session *session = transfer->session;

    spin_lock(&session->lock);
    if (chunk)
        queue_push(&transfer->out, chunk);
    else
        transfer->out_ended = true;
    if (!chunk || transfer->out.first != transfer->out.last)
        transfer->post.events &= ~(unsigned)POST_ROOM; /* two blocks are enough */
    bool resume = transfer->send_paused;
    transfer->send_paused = false;
    spin_unlock(&session->lock);
    if (resume)
        post_send(session, &transfer->post, WANT_SEND);
}

struct weft_http_info transfer_info(struct http_transfer *transfer)
{
    struct weft_http_session *session = transfer->session;

    spin_lock(&session->lock);
    struct weft_http_info info = transfer->info;
    spin_unlock(&session->lock);
    return info;
}

bool transfer_watch(struct http_transfer *transfer, struct scope *scope)
{
    struct weft_http_session *session = transfer->session;

    spin_lock(&session->lock);
    bool done = transfer->post.events & POST_DONE;
    transfer->reading = scope;
    spin_unlock(&session->lock);
    return !done;
}

/* ---- the driver's side ------------------------------------------------------------------ */

/* Whom the reader of a source waits for is no longer of interest: the scope it waits in ends. */
static void stop_reading(struct http_transfer *transfer)
{
    struct weft_http_session *session = transfer->session;

    spin_lock(&session->lock);
    if (transfer->reading)
        scope_cancel(transfer->reading, -ECANCELED, false, &session->batch);
    transfer->reading = NULL;
    spin_unlock(&session->lock);
}

/* What libcurl keeps of a body for a transfer that waits is handed out, to nobody: before 8.1 it
 * forgets to free that when a transfer goes and others still use the connection. */
static void discard_kept(struct http_transfer *transfer)
{
    transfer->discarding = true;
    curl_easy_pause(transfer->easy, CURLPAUSE_CONT); /* fails where there is no connection */
}

/* I1.  The transfer may be gone afterwards. */
static void transfer_let_go(struct http_transfer *transfer)
{
    struct weft_http_session *session = transfer->session;

    if (transfer->easy) {
        curl_easy_setopt(transfer->easy, CURLOPT_ERRORBUFFER, NULL); /* `why` stays as it is */
        discard_kept(transfer);
        curl_multi_remove_handle(session->multi, transfer->easy); /* I2 */
        curl_easy_cleanup(transfer->easy);
        transfer->easy = NULL;
    }
    session->calls++;
    if (list_linked(&transfer->active)) {
        list_remove(&transfer->active);
        session->sending_count -= transfer->plan->body.kind != BODY_NONE;
        atomic_fetch_sub_explicit(&session->active_count, 1, memory_order_relaxed);
    }
    if (list_empty(&session->active))
        sweep_later(session);
    stop_reading(transfer);
    post_finish(session, &transfer->post);
}

static uint64_t time_ns(CURL *easy, CURLINFO what)
{
    curl_off_t microseconds = 0;

    curl_easy_getinfo(easy, what, &microseconds);
    return (uint64_t)microseconds * WEFT_MICROSECOND;
}

void transfer_note_info(struct http_transfer *transfer)
{
    CURL *easy = transfer->easy;
    curl_off_t sent = 0, received = 0;
    long connects = 0, port = 0;
    char *address = NULL;

    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &port);
    curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
    struct weft_http_info info = {
        .resolved_ns = time_ns(easy, CURLINFO_NAMELOOKUP_TIME_T),
        .connected_ns = time_ns(easy, CURLINFO_CONNECT_TIME_T),
        .secured_ns = time_ns(easy, CURLINFO_APPCONNECT_TIME_T),
        .first_byte_ns = time_ns(easy, CURLINFO_STARTTRANSFER_TIME_T),
        .total_ns = time_ns(easy, CURLINFO_TOTAL_TIME_T),
        .sent = (uint64_t)sent,
        .received = (uint64_t)received,
        .reused = transfer->connected && connects == 0,
        .port = (uint16_t)port,
    };
    snprintf(info.address, sizeof(info.address), "%s", address ? address : "");
    spin_lock(&transfer->session->lock);
    transfer->info = info;
    spin_unlock(&transfer->session->lock);
}

static void count_connections(struct http_transfer *transfer)
{
    long connects = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
    http_count(&transfer->session->connections, (uint64_t)connects);
}

void transfer_finish(struct http_transfer *transfer, CURLcode code)
{
    if (transfer->broken) {
        transfer_fail(transfer, transfer->broken, transfer->broken_why);
        return;
    }
    if (code == CURLE_OK && !transfer->headed) { /* no header block ever ended */
        transfer_fail(transfer, -EPROTO, "the server sent no headers");
        return;
    }
    transfer->wants_rewind = code == CURLE_SEND_FAIL_REWIND;
    transfer->result = error_of(code, transfer->easy, transfer->why, transfer->connected);
    if (code != CURLE_OK && !transfer->why[0])
        snprintf(transfer->why, sizeof(transfer->why), "%s", curl_easy_strerror(code));
    transfer_note_info(transfer);
    count_connections(transfer);
    transfer_let_go(transfer);
}

void transfer_fail(struct http_transfer *transfer, int error, const char *why)
{
    transfer->result = error;
    snprintf(transfer->why, sizeof(transfer->why), "%s", why);
    if (transfer->easy) {
        transfer_note_info(transfer);
        count_connections(transfer);
    }
    transfer_let_go(transfer);
}

static void begin(struct http_transfer *transfer)
{
    struct weft_http_session *session = transfer->session;

    list_append(&session->active, &transfer->active);
    atomic_fetch_add_explicit(&session->active_count, 1, memory_order_relaxed);
    http_count(&session->started, 1);
    session->sending_count += transfer->plan->body.kind != BODY_NONE;
    session->begun_ns = weft_now_ns();
    transfer->easy = curl_easy_init();
    if (!transfer->easy || !setup_easy(transfer->easy, transfer) ||
        curl_multi_add_handle(session->multi, transfer->easy) != CURLM_OK)
        transfer_fail(transfer, -ENOMEM, "out of memory");
}

/* Tell libcurl which directions wait, after one of them may go on. */
static void resume(struct http_transfer *transfer)
{
    struct weft_http_session *session = transfer->session;

    spin_lock(&session->lock);
    int paused = (transfer->receive_paused ? CURLPAUSE_RECV : 0) |
                 (transfer->send_paused ? CURLPAUSE_SEND : 0);
    spin_unlock(&session->lock);
    CURLcode code = curl_easy_pause(transfer->easy, paused);
    if (code != CURLE_OK)
        transfer_finish(transfer, code);
}

static void run_transfer(struct weft_http_session *session, struct http_post *post, unsigned wants)
{
    struct http_transfer *transfer = container_of(post, struct http_transfer, post);
    (void)session;

    if (wants & WANT_END) {
        transfer_fail(transfer, -ECANCELED, "aborted");
        return;
    }
    if (wants & WANT_BEGIN)
        begin(transfer);
    else
        resume(transfer);
}
