/* SPDX-License-Identifier: MIT */
/* Responses: their heads and their bodies.  The invariants stand in response.h.  For the fiber that
 * has the response; what it waits for is in exchange.c. */
#include "io/http/response.h"

#include <errno.h>
#include <stdio.h>

#include "weft/fiber.h"

enum { FIRST_ROOM = 16 * 1024, MOST_TRUSTED = 1024 * 1024 };

/* ---- the head --------------------------------------------------------------------------- */

int weft_http_response_status(const struct weft_http_response *response)
{
    return response->transfer.head.status;
}

const char *weft_http_response_reason(const struct weft_http_response *response)
{
    const char *reason = response->transfer.head.reason;

    return reason ? reason : "";
}

unsigned weft_http_response_version(const struct weft_http_response *response)
{
    return response->transfer.head.version;
}

const char *weft_http_response_url(const struct weft_http_response *response)
{
    return response->plan.url;
}

const struct weft_http_field *weft_http_response_headers(const struct weft_http_response *response,
                                                         size_t *ret_count)
{
    *ret_count = response->transfer.head.count;
    return response->transfer.head.fields;
}

const char *weft_http_response_header(const struct weft_http_response *response, const char *name)
{
    return head_find(&response->transfer.head, name, 0);
}

const char *weft_http_response_header_at(const struct weft_http_response *response,
                                         const char *name, size_t index)
{
    return head_find(&response->transfer.head, name, index);
}

int64_t weft_http_response_length(const struct weft_http_response *response)
{
    const char *text = head_find(&response->transfer.head, "Content-Length", 0);
    char *end;

    if (!text || *text < '0' || *text > '9')
        return -1;
    errno = 0;
    long long length = strtoll(text, &end, 10);
    return errno || *end ? -1 : (int64_t)length;
}

int weft_http_response_check(struct weft_http_response *response)
{
    int status = weft_http_response_status(response);

    if (status < 400)
        return 0;
    snprintf(response->why.text, sizeof(response->why.text), "%.160s: status %d %.60s",
             response->plan.url, status, weft_http_response_reason(response));
    return -EREMOTEIO;
}

const char *weft_http_response_error(const struct weft_http_response *response)
{
    return response->why.text;
}

const struct weft_http_field *weft_http_response_trailers(const struct weft_http_response *response,
                                                          size_t *ret_count)
{
    const struct http_head *trailer = &response->transfer.trailer;

    *ret_count = response->ended ? trailer->count : 0;
    return response->ended ? trailer->fields : NULL;
}

void weft_http_response_info(const struct weft_http_response *response,
                             struct weft_http_info *ret_info)
{
    /* The lock is no part of what is const to the caller. */
    struct http_transfer *transfer = (struct http_transfer *)(uintptr_t)&response->transfer;

    *ret_info = transfer_info(transfer);
    ret_info->redirects = response->redirects;
}

/* ---- the body --------------------------------------------------------------------------- */

/* Have a block to read from.  Returns: 1; 0 at the end; -errno. */
static int next_block(struct weft_http_response *response)
{
    struct http_transfer *transfer = &response->transfer;

    while (!response->current) {
        int r = response_await(response, POST_DATA);
        if (r <= 0)
            return r;
        response->current = transfer_receive(transfer);
    }
    return 1;
}

static ssize_t read_some(struct weft_http_response *response, void *buffer, size_t size)
{
    if (response->error < 0)
        return response->error;
    if (response->ended || size == 0)
        return 0;
    int r = weft_check_cancel();
    if (r < 0)
        return response_fail(response, r, why_ended(r));
    r = next_block(response);
    if (r == 0)
        response->ended = true;
    if (r <= 0)
        return r;
    size_t taken = chunk_take(response->current, buffer, size);
    if (chunk_empty(response->current)) {
        free(response->current);
        response->current = NULL;
    }
    return (ssize_t)taken;
}

ssize_t weft_http_response_read(struct weft_http_response *response, void *buffer, size_t size)
{
    if (atomic_flag_test_and_set_explicit(&response->busy, memory_order_acquire))
        return -EBUSY;
    ssize_t n = read_some(response, buffer, size);
    atomic_flag_clear_explicit(&response->busy, memory_order_release);
    return n;
}

/* A body that is being gathered: `limit` + 1 bytes at most, one of which is for the NUL. */
struct gathering {
    char *data;
    size_t size, room;
};

static int gather_room(struct gathering *gathering, size_t limit)
{
    if (gathering->size + 1 < gathering->room)
        return 0;
    size_t most = limit < SIZE_MAX - 2 ? limit + 2 : SIZE_MAX; /* to notice one byte too many */
    size_t room = gathering->room < most / 2 ? 2 * gathering->room : most;
    char *data = realloc(gathering->data, room);
    if (!data)
        return -ENOMEM;
    gathering->data = data;
    gathering->room = room;
    return 0;
}

/* Returns: 1 there may be more, 0 the end. */
static int gather_some(struct weft_http_response *response, struct gathering *gathering,
                       size_t limit)
{
    int r = gather_room(gathering, limit);
    if (r < 0)
        return r;
    ssize_t n = weft_http_response_read(response, gathering->data + gathering->size,
                                        gathering->room - gathering->size - 1);
    if (n <= 0)
        return (int)n;
    gathering->size += (size_t)n;
    return gathering->size > limit ? -EMSGSIZE : 1;
}

/* How much to have ready: what was announced, as far as that is to be believed. */
static size_t first_room(const struct weft_http_response *response, size_t limit)
{
    int64_t length = weft_http_response_length(response);
    size_t room = FIRST_ROOM;

    if (length > 0)
        room = (length < MOST_TRUSTED ? (size_t)length : MOST_TRUSTED) + 2;
    return room > limit && limit < SIZE_MAX - 2 ? limit + 2 : room;
}

int weft_http_response_body(struct weft_http_response *response, size_t limit, void **ret_data,
                            size_t *ret_size)
{
    size_t room = first_room(response, limit);
    struct gathering gathering = {.data = malloc(room), .room = room};
    int r = gathering.data ? 1 : -ENOMEM;

    while (r > 0)
        r = gather_some(response, &gathering, limit);
    if (r == -EMSGSIZE && response->error == 0)
        snprintf(response->why.text, sizeof(response->why.text),
                 "%.160s: the body is larger than %zu bytes", response->plan.url, limit);
    if (r < 0) {
        free(gathering.data);
        return r;
    }
    gathering.data[gathering.size] = '\0';
    *ret_data = gathering.data;
    *ret_size = gathering.size;
    return 0;
}

int weft_http_response_text(struct weft_http_response *response, size_t limit, char **ret_text)
{
    void *data;
    size_t size;
    int r = weft_http_response_body(response, limit, &data, &size);
    if (r < 0)
        return r;
    if (memchr(data, '\0', size)) {
        free(data);
        return -EILSEQ;
    }
    *ret_text = data;
    return 0;
}

void weft_http_response_free(struct weft_http_response *response)
{
    if (!response)
        return;
    transfer_end(&response->transfer);
    transfer_destroy(&response->transfer);
    free(response->current);
    plan_destroy(&response->plan);
    session_unref(response->session);
    free(response);
}
