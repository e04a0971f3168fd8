/* SPDX-License-Identifier: MIT */
/*
 * Requests: from the plan to the headers of the last response, hop by hop.
 *
 *   I1  Each hop is a transfer of its own; the one before it is done when it begins.
 *   I2  Before a hop the body of the redirect is read, so that the connection can be used again,
 *       but not much of it, and not for long.
 *
 * For fibers.
 */
#include <errno.h>
#include <stdio.h>

#include "io/http/response.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum { DRAIN_BYTES = 64 * 1024 };
#define DRAIN_NS WEFT_SECOND

/* ---- redirects -------------------------------------------------------------------------- */

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Where to go on, or NULL: this is the response. */
static const char *redirect_to(const struct weft_http_response *response)
{
    const struct http_head *head = &response->transfer.head;

    if (response->plan.max_redirects < 0 || !is_redirect(head->status))
        return NULL;
    return head_find(head, "Location", 0);
}

/* I2. */
static void drain(struct weft_http_response *response)
{
    struct http_transfer *transfer = &response->transfer;
    uint64_t deadline_ns = weft_deadline_after(DRAIN_NS);
    size_t left = DRAIN_BYTES;

    while (!response->pumping && left > 0 &&
           post_wait(response->session, &transfer->post, POST_DATA | POST_DONE, deadline_ns,
                     POST_CANCELLABLE) == 0) {
        struct http_chunk *chunk = transfer_receive(transfer);
        if (!chunk)
            break;
        left -= chunk->size < left ? chunk->size : left;
        free(chunk);
    }
    transfer_end(transfer);
}

static int follow(struct weft_http_response *response, const char *location)
{
    const char *why = "out of memory";
    int status = response->transfer.head.status;

    if (response->redirects >= (unsigned)response->plan.max_redirects)
        return response_fail(response, -ELOOP, "too many redirects");
    drain(response);
    int r = plan_redirect(&response->plan, status, location, &why);
    if (r < 0)
        return response_fail(response, r, why);
    response->redirects++;
    return 0;
}

/* ---- sending ---------------------------------------------------------------------------- */

int response_begin(struct weft_http_response *response)
{
    response->pumping = response->plan.body.kind == BODY_SOURCE;
    response->pumped = 0;
    int r = transfer_begin(&response->transfer, response->session, &response->plan);
    if (r < 0)
        return response_fail(response, r, "the session was closed");
    r = response_await(response, POST_HEAD);
    return r < 0 ? r : 0;
}

/* Whether a kept connection died just when it was used again, before it brought any answer.
 * libcurl begins again by itself then, unless it must have a source's bytes again, or was sending.
 */
static bool died_when_reused(struct weft_http_response *response, int error)
{
    struct http_transfer *transfer = &response->transfer;

    if (error != -ECONNRESET && error != -EPIPE)
        return false;
    return transfer->wants_rewind ||
           (transfer_info(transfer).reused && transfer->head.version == 0);
}

static int rewind_body(struct weft_http_response *response)
{
    struct http_source *source = response->plan.body.source;

    return source ? source->class->rewind(source) : 0;
}

/* One hop; where a kept connection was of no use, once more. */
static int run_hop(struct weft_http_response *response)
{
    int r = response_begin(response);

    if (!died_when_reused(response, r) || rewind_body(response) < 0)
        return r;
    transfer_destroy(&response->transfer);
    response->error = 0;
    response->why.text[0] = '\0';
    return response_begin(response);
}

static int run_hops(struct weft_http_response *response)
{
    for (;;) {
        int r = run_hop(response);
        if (r < 0)
            return r;
        const char *location = redirect_to(response);
        if (!location)
            return 0;
        r = follow(response, location);
        if (r < 0)
            return r;
        transfer_destroy(&response->transfer);
    }
}

static int response_new(struct weft_http_session *session, const struct weft_http_request *request,
                        struct weft_http_response **ret_response)
{
    const struct weft_http_session_options *options = &session->config.options;
    struct weft_http_response *response = calloc(1, sizeof(*response));
    if (!response)
        return -ENOMEM;
    response->session = session_ref(session);
    response->deadline_ns =
        weft_deadline_after(request->total_ns ? request->total_ns : options->total_ns);
    response->transfer.session = session;
    response->transfer.post.events = POST_DONE; /* as if ended, until it is begun */
    atomic_flag_clear(&response->busy);
    *ret_response = response;
    return 0;
}

static int response_run(struct weft_http_response *response,
                        const struct weft_http_request *request)
{
    const char *why = "out of memory";
    int r = plan_init(&response->plan, response->session, request, &why);
    if (r < 0)
        return response_fail(response, r, why);
    return run_hops(response);
}

int weft_http_send(struct weft_http_session *session, const struct weft_http_request *request,
                   struct weft_http_response **ret_response)
{
    struct weft_http_response *response;
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    r = response_new(session, request, &response);
    if (r < 0)
        return r;
    r = response_run(response, request);
    if (r == 0) {
        *ret_response = response;
        return 0;
    }
    if (request->why)
        *request->why = response->why;
    weft_http_response_free(response);
    return r;
}

int weft_http_check(const struct weft_http_request *request, struct weft_http_why *ret_why)
{
    const char *why = NULL;
    int r = plan_check(request, &why);
    if (r < 0)
        snprintf(ret_why->text, sizeof(ret_why->text), "%s", why);
    return r;
}

/* ---- simple forms ----------------------------------------------------------------------- */

static int send_simple(struct weft_http_session *session, const char *method, const char *url,
                       const struct weft_http_body *body, struct weft_http_response **ret_response)
{
    struct weft_http_request request = {.method = method, .url = url};

    if (body)
        request.body = *body;
    return weft_http_send(session, &request, ret_response);
}

int weft_http_get(struct weft_http_session *session, const char *url,
                  struct weft_http_response **ret_response)
{
    return send_simple(session, "GET", url, NULL, ret_response);
}

int weft_http_head(struct weft_http_session *session, const char *url,
                   struct weft_http_response **ret_response)
{
    return send_simple(session, "HEAD", url, NULL, ret_response);
}

int weft_http_options(struct weft_http_session *session, const char *url,
                      struct weft_http_response **ret_response)
{
    return send_simple(session, "OPTIONS", url, NULL, ret_response);
}

int weft_http_delete(struct weft_http_session *session, const char *url,
                     struct weft_http_response **ret_response)
{
    return send_simple(session, "DELETE", url, NULL, ret_response);
}

int weft_http_post(struct weft_http_session *session, const char *url,
                   const struct weft_http_body *body, struct weft_http_response **ret_response)
{
    return send_simple(session, "POST", url, body, ret_response);
}

int weft_http_put(struct weft_http_session *session, const char *url,
                  const struct weft_http_body *body, struct weft_http_response **ret_response)
{
    return send_simple(session, "PUT", url, body, ret_response);
}

int weft_http_patch(struct weft_http_session *session, const char *url,
                    const struct weft_http_body *body, struct weft_http_response **ret_response)
{
    return send_simple(session, "PATCH", url, body, ret_response);
}
