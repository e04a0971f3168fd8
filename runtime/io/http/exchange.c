/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a transfer, on the fiber that has the response: for its headers, its data, its end,
 * and meanwhile, where the request's body has a source, reading from that.
 *
 *   I1  A wait that ends by cancellation or a deadline aborts the transfer before it returns.
 *   I2  The source is read in a scope of its own, which ends with the exchange's deadline, or when
 *       the transfer is over: a source that waits does not hold the response's error up.
 *   I3  The time for the first byte runs from when bytes of the request were last taken, or else
 *       from when there was a connection: a long upload does not count.
 *   I4  The time for a slow body counts only while its reader waits: it does not matter how long
 *       that does other things.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "io/http/response.h"
#include "weft/fiber.h"
#include "weft/scope.h"
#include "weft/time.h"

enum { PUMP_BLOCK = 64 * 1024 };

/* ---- failing ---------------------------------------------------------------------------- */

/* "Could not resolve host: nosuch" -> "could not...", and "HOST: ..." where it does not say. */
static void tell_why(struct weft_http_response *response, const char *why)
{
    const char *host = response->plan.host ? response->plan.host : "";
    bool tells = !host[0] || strstr(why, host);
    char *text = response->why.text;
    size_t room = sizeof(response->why.text);
    size_t said = 0;

    if (!tells)
        said = (size_t)snprintf(text, room, "%.100s: ", host);
    snprintf(text + said, room - said, "%s", why);
    if (!isupper((unsigned char)text[said + 1])) /* not "SSL ..." */
        text[said] = (char)tolower((unsigned char)text[said]);
}

int response_fail(struct weft_http_response *response, int error, const char *why)
{
    transfer_end(&response->transfer);
    tell_why(response, why);
    response->error = error;
    return error;
}

const char *why_ended(int r)
{
    return r == -ETIMEDOUT ? "the deadline of the scope expired" : "cancelled";
}

/* ---- sending ---------------------------------------------------------------------------- */

/* I2.  Returns: what the source returned. */
static ssize_t read_source(struct weft_http_response *response, struct http_chunk *chunk)
{
    struct http_source *source = response->plan.body.source;
    struct weft_scope scope;
    ssize_t n = -ECANCELED;

    weft_scope_enter(&scope, response->deadline_ns);
    if (transfer_watch(&response->transfer, (struct scope *)&scope))
        n = source->class->read(source, chunk->bytes, PUMP_BLOCK);
    transfer_watch(&response->transfer, NULL);
    weft_scope_leave(&scope);
    return n > PUMP_BLOCK ? -EOVERFLOW : n;
}

static void pump_end(struct weft_http_response *response)
{
    response->pumping = false;
    transfer_send(&response->transfer, NULL);
}

/* What was read goes to the driver: not more than was promised, and an error where it is less. */
static int pump_block(struct weft_http_response *response, struct http_chunk *chunk, size_t size)
{
    int64_t promised = response->plan.body.size;
    int64_t left = promised - response->pumped;

    if (promised >= 0 && (int64_t)size > left)
        size = (size_t)left;
    chunk->size = size;
    response->pumped += (int64_t)size;
    if (size > 0)
        transfer_send(&response->transfer, chunk);
    else
        free(chunk);
    if (promised >= 0 && size == 0 && left > 0)
        return response_fail(response, -ENODATA, "the request's body is shorter than promised");
    if (size == 0 || response->pumped == promised)
        pump_end(response);
    return 0;
}

static int pump(struct weft_http_response *response)
{
    struct http_transfer *transfer = &response->transfer;
    struct http_chunk *chunk = chunk_new(PUMP_BLOCK);
    if (!chunk)
        return response_fail(response, -ENOMEM, "out of memory");
    ssize_t n = read_source(response, chunk);
    if (n >= 0)
        return pump_block(response, chunk, (size_t)n);
    free(chunk);
    int r = weft_check_cancel();
    if (r < 0)
        return response_fail(response, r, why_ended(r));
    if (post_has(response->session, &transfer->post, POST_DONE)) {
        response->pumping = false; /* the transfer's result counts, not that reading was stopped */
        return 0;
    }
    return response_fail(response, (int)n, "reading the request's body failed");
}

/* ---- waiting ---------------------------------------------------------------------------- */

/* I3. */
static uint64_t head_deadline(const struct weft_http_response *response)
{
    uint64_t active_ns = atomic_load_explicit(&response->transfer.active_ns, memory_order_relaxed);
    uint64_t silence_ns = response->plan.first_byte_ns;

    if (active_ns == 0 || silence_ns >= WEFT_NO_DEADLINE - active_ns)
        return WEFT_NO_DEADLINE;
    return active_ns + silence_ns;
}

/* I4. */
static uint64_t body_deadline(const struct weft_http_response *response)
{
    uint64_t slow_ns = response->session->config.options.low_speed_ns;

    if (slow_ns == WEFT_NO_DEADLINE)
        return WEFT_NO_DEADLINE;
    return weft_deadline_after(slow_ns > response->waited_ns ? slow_ns - response->waited_ns : 0);
}

static uint64_t next_deadline(const struct weft_http_response *response, unsigned events)
{
    uint64_t deadline_ns = events & POST_HEAD ? head_deadline(response) : body_deadline(response);

    return deadline_ns < response->deadline_ns ? deadline_ns : response->deadline_ns;
}

/* I4: after a wait for the body.  Returns: whether it is too slow. */
static bool note_wait(struct weft_http_response *response, uint64_t began_ns)
{
    const struct weft_http_session_options *options = &response->session->config.options;
    uint64_t received = atomic_load_explicit(&response->transfer.received, memory_order_relaxed);

    response->waited_ns += weft_now_ns() - began_ns;
    if (received - response->waited_from >= options->low_speed_bytes) {
        response->waited_from = received;
        response->waited_ns = 0;
    }
    return response->waited_ns >= options->low_speed_ns;
}

/* A deadline has passed: the scope's, the whole's, or one of I3 and I4. */
static int fail_late(struct weft_http_response *response, unsigned events)
{
    int r = weft_check_cancel();
    if (r < 0)
        return response_fail(response, r, why_ended(r));
    if (weft_now_ns() >= response->deadline_ns)
        return response_fail(response, -ETIMEDOUT, "timed out");
    return response_fail(response, -ETIMEDOUT,
                         events & POST_HEAD ? "timed out waiting for the first byte"
                                            : "timed out: the body comes too slowly");
}

static unsigned also_awaited(const struct weft_http_response *response, unsigned events)
{
    unsigned also = POST_DONE;

    if (response->pumping)
        also |= POST_ROOM;
    if (events & POST_HEAD && response->plan.first_byte_ns != WEFT_NO_DEADLINE &&
        atomic_load_explicit(&response->transfer.active_ns, memory_order_relaxed) == 0)
        also |= POST_LIVE;
    return also;
}

/* Whether the wait that timed out did so for good, and not for a deadline that has moved on. */
static bool is_late(struct weft_http_response *response, unsigned events, uint64_t began_ns)
{
    bool slow = events & POST_DATA && note_wait(response, began_ns);

    return slow || weft_check_cancel() < 0 || next_deadline(response, events) <= weft_now_ns();
}

/* One wait, or one block sent.  Returns: whether `events` or the end may have come. */
static int await_once(struct weft_http_response *response, unsigned events)
{
    struct http_post *post = &response->transfer.post;
    uint64_t began_ns = weft_now_ns();
    int r = post_wait(response->session, post, events | also_awaited(response, events),
                      next_deadline(response, events), POST_CANCELLABLE);

    if (r == -ECANCELED)
        return response_fail(response, r, why_ended(r));
    if (r < 0 && is_late(response, events, began_ns))
        return fail_late(response, events);
    if (r == 0 && events & POST_DATA)
        note_wait(response, began_ns);
    if (post_has(response->session, post, events | POST_DONE))
        return 1;
    if (!response->pumping || !post_has(response->session, post, POST_ROOM))
        return 0;
    return pump(response);
}

int response_await(struct weft_http_response *response, unsigned events)
{
    struct http_transfer *transfer = &response->transfer;
    int r;

    do
        r = await_once(response, events);
    while (r == 0);
    if (r < 0)
        return r;
    if (post_has(response->session, &transfer->post, events))
        return 1;
    if (transfer->result < 0)
        return response_fail(response, transfer->result, transfer->why);
    return 0;
}
