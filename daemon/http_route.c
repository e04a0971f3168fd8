/* SPDX-License-Identifier: MIT */
/*
 * http_route: from a request to its handler, and from what methods say to what HTTP says.
 *
 * I1  Every path and method is a row of one table: 404, 405 with Allow, and HEAD follow from it.
 * I2  A handler leaves a reply, or none for want of memory: then the connection ends without one.
 * I3  What a method refuses is refused in the same words: {"error": {code, message, data}}.
 */
#include "daemon/http_impl.h"
#include "daemon/methods.h"
#include "daemon/session.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX ((UINT64_C(1) << 53) - 1)

static const struct route {
    const char *method;
    const char *path; /* ID stands for the number of a job */
    void (*handle)(struct http_request *request);
} routes[] = {
    {"POST", "/v1/rpc", http_rpc},
    {"GET", "/v1/jobs", http_jobs_list},
    {"POST", "/v1/jobs", http_jobs_submit},
    {"GET", "/v1/jobs/ID", http_job_get},
    {"DELETE", "/v1/jobs/ID", http_job_cancel},
    {"POST", "/v1/jobs/ID/retry", http_job_retry},
    {"GET", "/v1/jobs/ID/explain", http_job_explain},
    {"GET", "/v1/jobs/ID/logs", http_job_logs},
    {"GET", "/v1/events", http_events},
    {"GET", "/metrics", http_metrics},
};
#define ROUTES (sizeof routes / sizeof routes[0])

/* ---- paths --------------------------------------------------------------------------------- */

/* A number without sign or leading zero.  Returns the text behind it, or NULL. */
static const char *match_id(const char *text, uint64_t *ret_id)
{
    uint64_t id = 0;
    if (*text == '0')
        return NULL;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        id = id * 10 + (uint64_t)(*at - '0');
        if (id > ID_MAX)
            return NULL;
    }
    if (at == text)
        return NULL;
    *ret_id = id;
    return at;
}

static bool match_path(const char *pattern, const char *path, uint64_t *ret_id)
{
    const char *id = strstr(pattern, "ID");
    if (!id)
        return strcmp(pattern, path) == 0;
    size_t before = (size_t)(id - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    const char *rest = match_id(path + before, ret_id);
    return rest && strcmp(rest, id + strlen("ID")) == 0;
}

static bool match_method(const struct route *route, const char *method)
{
    bool is_head = strcmp(method, "HEAD") == 0; /* libmicrohttpd leaves out the body */
    return strcmp(route->method, is_head ? "GET" : method) == 0;
}

static void allow(struct http_request *request, const char *method)
{
    size_t used = strlen(request->allow);
    bool is_get = strcmp(method, "GET") == 0;
    snprintf(request->allow + used, sizeof request->allow - used, "%s%s%s", used ? ", " : "",
             method, is_get ? ", HEAD" : "");
}

static const struct route *find_route(struct http_request *request)
{
    for (size_t i = 0; i < ROUTES; i++) {
        if (!match_path(routes[i].path, request->path, &request->id))
            continue;
        if (match_method(&routes[i], request->method))
            return &routes[i];
        allow(request, routes[i].method);
    }
    return NULL;
}

static void refuse_path(struct http_request *request)
{
    struct rpc_error error;
    bool is_there = request->allow[0] != '\0';
    if (is_there)
        rpc_error_set(&error, RPC_METHOD_NOT_FOUND, "this path takes %s only", request->allow);
    else
        rpc_error_set(&error, RPC_METHOD_NOT_FOUND, "there is no path %.100s", request->path);
    http_reply_error_as(request, is_there ? 405 : 404, &error);
}

static void work_off(struct http_request *request)
{
    const struct route *route = find_route(request);
    struct rpc_error error;
    if (!route) {
        refuse_path(request);
        return;
    }
    request->allow[0] = '\0';
    if (request->err) {
        if (request->err == -EILSEQ)
            rpc_error_set(&error, RPC_INVALID_PARAMS, "the query is not UTF-8");
        else
            http_refuse_memory(&error);
        http_reply_error(request, &error);
        return;
    }
    route->handle(request);
}

void http_work(struct http_request *request)
{
    if (request->source.next) {
        request->text.size = 0;
        request->text_sent = 0;
        int err = request->source.next(request);
        request->is_broken = err != 0;
        if (request->text.size == 0)
            request->source.next = NULL;
        return;
    }
    struct session_totals *totals = http_totals(request);
    bool is_rpc = strcmp(request->path, "/v1/rpc") == 0; /* counts what is in it */
    if (!is_rpc)
        atomic_fetch_add_explicit(&totals->requests, 1, memory_order_relaxed);
    if (!request->status)
        work_off(request);
}

/* ---- replies ------------------------------------------------------------------------------- */

void http_reply_json(struct http_request *request, unsigned status, json_t *body)
{
    request->text.size = 0;
    char *text = body ? json_memory_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(body);
    if (!text)
        return;
    size_t size = strlen(text);
    text[size] = '\n'; /* in place of its NUL */
    free(request->text.data);
    request->text = (struct jsonrpc_text){.data = text, .size = size + 1, .capacity = size + 1};
    request->status = status;
    request->type = "application/json";
}

unsigned http_status_of(int code)
{
    static const struct {
        int code;
        unsigned status;
    } table[] = {
        {RPC_METHOD_NOT_FOUND, 404},  {RPC_NO_SUCH_JOB, 404},  {RPC_LINE_TOO_LONG, 413},
        {RPC_PERMISSION_DENIED, 403}, {RPC_CONFLICT, 409},     {RPC_BUSY, 503},
        {RPC_SHUTTING_DOWN, 503},     {RPC_STORE_FAILED, 500}, {RPC_INTERNAL_ERROR, 500},
        {RPC_NOT_SUPPORTED, 501},     {RPC_TIMEOUT, 408},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].code == code)
            return table[i].status;
    }
    return 400;
}

void http_reply_error(struct http_request *request, const struct rpc_error *error)
{
    atomic_fetch_add_explicit(&http_totals(request)->errors, 1, memory_order_relaxed);
    http_reply_json(request, http_status_of(error->code),
                    json_pack("{s:o}", "error", jsonrpc_error_json(error)));
}

int http_refuse_memory(struct rpc_error *error)
{
    return rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory");
}

void http_reply_error_as(struct http_request *request, unsigned status,
                         const struct rpc_error *error)
{
    http_reply_error(request, error);
    if (request->status)
        request->status = status;
}

/* ---- methods ------------------------------------------------------------------------------- */

/* What is no number stays text, and is refused as such.  Noinline: errno's address must not be kept
 * over a suspension. */
__attribute__((noinline)) static json_t *number_of(const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return !errno && end != text && !*end ? json_integer(number) : json_string(text);
}

/* Of the query's names these are numbers. */
static json_t *value_of(const char *name, const char *text)
{
    static const char *const numbers[] = {"limit", "before", "offset", "since", "epoch"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(name, numbers[i]) == 0)
            return number_of(text);
    }
    return json_string(text);
}

/* "a,b" is a list, as the name given twice is. */
static json_t *list_of(const char *text)
{
    json_t *list = json_array();
    for (;;) {
        size_t size = strcspn(text, ",");
        list = json_memory_append(list, json_stringn(text, size));
        if (!list || !text[size])
            return list;
        text += size + 1;
    }
}

/* Ids, "17" and "17,18" and the name given twice: a list of numbers. */
static json_t *ids_of(const json_t *value)
{
    json_t *texts =
        json_is_array(value) ? json_incref((json_t *)value) : list_of(json_string_value(value));
    json_t *ids = texts ? json_array() : NULL, *text;
    size_t i;
    json_array_foreach(texts, i, text)
    {
        ids = json_memory_append(ids, number_of(json_string_value(text)));
    }
    json_decref(texts);
    return ids;
}

static json_t *param_of(const char *name, json_t *value)
{
    const char *text = json_string_value(value);
    if (strcmp(name, "ids") == 0)
        return ids_of(value);
    if (!text)
        return json_incref(value);
    if (strchr(text, ',') && (strcmp(name, "state") == 0 || strcmp(name, "queue") == 0))
        return list_of(text);
    return value_of(name, text);
}

json_t *http_query_params(const struct http_request *request)
{
    json_t *params = json_object();
    const char *name;
    json_t *value;
    json_object_foreach(request->query, name, value)
    {
        params = json_memory_set(params, name, param_of(name, value));
    }
    return params;
}

int http_call_following(struct http_request *request, const char *method, json_t *params,
                        struct request_follow_up *ret_follow_up, json_t **ret_result)
{
    struct request call = {.context = http_context(request),
                           .peer = http_peer(request),
                           .params = params,
                           .follow_up = ret_follow_up};
    int err = params ? methods_call(&call, method, ret_result) : http_refuse_memory(&call.error);
    json_decref(params);
    if (err && !call.changed)
        http_reply_error(request, &call.error);
    return err;
}

int http_call(struct http_request *request, const char *method, json_t *params, json_t **ret_result)
{
    return http_call_following(request, method, params, NULL, ret_result);
}
