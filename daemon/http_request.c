/* SPDX-License-Identifier: MIT */
/*
 * http_request: libmicrohttpd's callbacks.  A request comes in, its reply goes out.
 *
 * Called by MHD_run(), on the connection's fiber, and never suspends (http.h, I2).  libmicrohttpd
 * calls http_on_request() once with the headers, then with each piece of the body, then without one:
 * there the connection is suspended, and the work begins; when it is resumed, libmicrohttpd calls
 * once more and gets the reply.
 *
 * I1  What the work needs is copied out of libmicrohttpd's memory before it begins.
 * I2  Nothing fails here but for memory, and that closes the connection.
 */
#include "daemon/http_access.h"
#include "daemon/http_impl.h"
#include "daemon/session.h"
#include "protocol/json_memory.h"
#include "protocol/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (32 << 10) /* of a reply that comes piece by piece, at once */

/* ---- coming in ----------------------------------------------------------------------------- */

/* A name that comes more than once has an array of its values. */
static int add_query(json_t *query, const char *name, const char *value)
{
    json_t *text = json_string(value);
    json_t *there = json_object_get(query, name);
    if (json_is_array(there))
        return json_array_append_new(there, text);
    return json_object_set_new(query, name, there ? json_pack("[O, o]", there, text) : text);
}

static enum MHD_Result on_query(void *cls, enum MHD_ValueKind kind, const char *name,
                                const char *value)
{
    struct http_request *request = cls;
    (void)kind;
    if (add_query(request->query, name, value ? value : "") == 0)
        return MHD_YES;
    int err = json_memory_refusal(name);
    request->err = err == -EILSEQ ? err : json_memory_refusal(value ? value : "");
    return MHD_YES;
}

static void request_free(struct http_request *request)
{
    if (!request)
        return;
    free(request->method);
    free(request->path);
    json_decref(request->query);
    free(request->body);
    free(request->last_id);
    if (request->source.follow_up.free)
        request->source.follow_up.free(request->source.follow_up.arg);
    jsonrpc_text_destroy(&request->text);
    free(request);
}

static int copy_last_id(struct http_request *request)
{
    const char *text = MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, "Last-Event-ID");
    if (text && text[0] && !(request->last_id = strdup(text)))
        return -ENOMEM;
    return 0;
}

static struct http_request *request_new(struct http_connection *connection,
                                        struct MHD_Connection *mhd, const char *url,
                                        const char *method)
{
    struct http_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->connection = connection;
    request->mhd = mhd;
    request->method = strdup(method);
    request->path = strdup(url);
    request->query = json_object();
    if (!request->method || !request->path || !request->query || copy_last_id(request)) {
        request_free(request);
        return NULL;
    }
    MHD_get_connection_values(mhd, MHD_GET_ARGUMENT_KIND, on_query, request);
    return request;
}

/* What the client says the body has; 0: it does not. */
static uint64_t announced_size(struct MHD_Connection *mhd)
{
    const char *text = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");
    return text ? strtoull(text, NULL, 10) : 0; /* libmicrohttpd has checked it */
}

static void take_body(struct http_request *request, const char *data, size_t size)
{
    if (request->too_large || request->size + size > http_limits(request)->line_max) {
        request->too_large = true;
        return;
    }
    if (request->size + size > request->capacity) {
        size_t capacity = request->size + size + request->size / 2;
        char *body = realloc(request->body, capacity);
        if (!body) {
            request->err = -ENOMEM;
            return;
        }
        request->body = body;
        request->capacity = capacity;
    }
    memcpy(request->body + request->size, data, size);
    request->size += size;
}

static void refuse_large(struct http_request *request)
{
    struct rpc_error error;
    char most[UNITS_TEXT_MAX];
    rpc_error_set(&error, RPC_LINE_TOO_LONG, "the body is over %s (daemon.line_max)",
                  units_format_size(http_limits(request)->line_max, most));
    http_reply_error(request, &error);
}

/* ---- going out ----------------------------------------------------------------------------- */

/* libmicrohttpd wants more of a reply that comes piece by piece. */
static ssize_t on_more(void *cls, uint64_t position, char *to, size_t room)
{
    struct http_request *request = cls;
    (void)position;
    size_t left = request->text.size - request->text_sent;
    if (left > 0) {
        size_t size = left < room ? left : room;
        memcpy(to, request->text.data + request->text_sent, size);
        request->text_sent += size;
        return (ssize_t)size;
    }
    if (request->is_broken)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (!request->source.next)
        return MHD_CONTENT_READER_END_OF_STREAM;
    request->state = HTTP_WORK;
    MHD_suspend_connection(request->mhd);
    return 0;
}

static struct MHD_Response *response_new(struct http_request *request)
{
    if (request->source.next)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, on_more, request, NULL);
    char *data = request->text.data;
    size_t size = request->text.size;
    request->text = (struct jsonrpc_text){0};
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(data);
    return response;
}

static bool add_gap(const struct http_request *request, struct MHD_Response *response)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, request->source.gap);
    return request->source.gap == 0 ||
           MHD_add_response_header(response, "Weft-Gap", text) == MHD_YES;
}

static bool add_headers(const struct http_request *request, struct MHD_Response *response)
{
    const char *headers[][2] = {
        {"Content-Type", request->type},
        {"Allow", request->allow},
        {"Location", request->location},
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Retry-After", request->status == 503 ? "1" : ""},
        {"WWW-Authenticate", request->status == 401 ? "Bearer" : ""},
        {"Connection", request->close ? "close" : ""},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        if (headers[i][1] && headers[i][1][0] &&
            MHD_add_response_header(response, headers[i][0], headers[i][1]) != MHD_YES)
            return false;
    }
    return add_gap(request, response);
}

static enum MHD_Result queue_reply(struct http_request *request)
{
    if (!request->status)
        return MHD_NO;
    struct MHD_Response *response = response_new(request);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_NO;
    if (add_headers(request, response))
        result = MHD_queue_response(request->mhd, request->status, response);
    MHD_destroy_response(response);
    request->state = HTTP_REPLYING;
    return result;
}

/* ---- the callbacks ------------------------------------------------------------------------- */

static const char *header(struct MHD_Connection *mhd, const char *name)
{
    return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

/* Is it one that can be refused by its headers?  Then the reply is made. */
static bool refuse_early(struct http_request *request)
{
    struct MHD_Connection *mhd = request->mhd;
    const struct http_claims claims = {.host = header(mhd, MHD_HTTP_HEADER_HOST),
                                       .origin = header(mhd, MHD_HTTP_HEADER_ORIGIN),
                                       .authorization = header(mhd, MHD_HTTP_HEADER_AUTHORIZATION)};
    struct rpc_error error;
    unsigned status = http_access_check(http_access(request), &claims, &error);
    if (status)
        http_reply_error_as(request, status, &error);
    else if (announced_size(mhd) > http_limits(request)->line_max)
        refuse_large(request);
    return request->status != 0;
}

/* Its headers are there.  What they forbid is refused before the body is sent, or asked for
 * (Expect: 100-continue). */
static enum MHD_Result begin(struct http_connection *connection, struct MHD_Connection *mhd,
                             const char *url, const char *method, void **ret_request)
{
    struct http_request *request = request_new(connection, mhd, url, method);
    if (!request)
        return MHD_NO;
    *ret_request = request;
    http_set_current(connection, request);
    request->close = true; /* of a refusal: its body is not waited for */
    if (refuse_early(request)) {
        atomic_fetch_add_explicit(&http_totals(request)->requests, 1, memory_order_relaxed);
        return queue_reply(request);
    }
    request->close = false;
    return MHD_YES;
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_size, void **ret_request)
{
    struct http_request *request = *ret_request;
    (void)version;
    if (!request)
        return begin(cls, mhd, url, method, ret_request);
    if (*data_size > 0) {
        take_body(request, data, *data_size);
        *data_size = 0;
        return request->err == -ENOMEM ? MHD_NO : MHD_YES;
    }
    if (request->state == HTTP_REPLYING)
        return queue_reply(request);
    if (request->too_large)
        refuse_large(request); /* and the work is nothing */
    request->state = HTTP_WORK;
    MHD_suspend_connection(mhd);
    return MHD_YES;
}

void http_on_completed(void *cls, struct MHD_Connection *mhd, void **request,
                       enum MHD_RequestTerminationCode how)
{
    (void)mhd;
    (void)how;
    http_set_current(cls, NULL);
    request_free(*request);
    *request = NULL;
}
