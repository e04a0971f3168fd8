/* SPDX-License-Identifier: MIT */
/* http_jobs: what the paths do, each by the method of JSON-RPC that does it for lines. */
#include "daemon/http_impl.h"
#include "daemon/methods.h"
#include "daemon/rpc.h"
#include "daemon/session.h"

#include "protocol/json_memory.h"

#include <errno.h>
#include <stdio.h>

static json_t *id_params(const struct http_request *request)
{
    return json_pack("{s:I}", "id", (json_int_t)request->id);
}

static json_t *ids_params(const struct http_request *request)
{
    return json_pack("{s:[I]}", "ids", (json_int_t)request->id);
}

/* The paths of one job take no query: what is there is refused as a parameter that they do not
 * have. */
static json_t *with_query(const struct http_request *request, json_t *params)
{
    if (json_object_size(request->query) == 0 || !json_is_object(params))
        return params;
    json_t *query = http_query_params(request);
    if (!query || json_memory_update_missing(params, query) < 0) {
        json_decref(params);
        params = NULL;
    }
    json_decref(query);
    return params;
}

void http_jobs_list(struct http_request *request)
{
    json_t *result;
    if (http_call(request, "job.list", http_query_params(request), &result) == 0)
        http_reply_json(request, 200, result);
}

void http_job_get(struct http_request *request)
{
    json_t *result;
    if (http_call(request, "job.get", with_query(request, id_params(request)), &result) == 0)
        http_reply_json(request, 200, result);
}

void http_job_explain(struct http_request *request)
{
    json_t *result;
    if (http_call(request, "job.explain", with_query(request, id_params(request)), &result) == 0)
        http_reply_json(request, 200, result);
}

void http_jobs_submit(struct http_request *request)
{
    struct rpc_error error;
    json_t *params, *result;
    if (jsonrpc_parse_value(request->body ? request->body : "", request->size, &params, &error)) {
        http_reply_error(request, &error);
        return;
    }
    if (http_call(request, "job.submit", with_query(request, params), &result))
        return;
    snprintf(request->location, sizeof request->location, "/v1/jobs/%lld",
             (long long)json_integer_value(json_object_get(result, "id")));
    http_reply_json(request, 201, result);
}

/* ---- cancel and retry: methods of many ids, here of one ---- */

/* Its own error of {"id":…,"error":{code,message,data}} is the reply's. */
static unsigned status_of_item(const json_t *item)
{
    const json_t *error = json_object_get(item, "error");
    return error ? http_status_of((int)json_integer_value(json_object_get(error, "code"))) : 200;
}

static void reply_one(struct http_request *request, const char *method)
{
    json_t *result;
    if (http_call(request, method, with_query(request, ids_params(request)), &result))
        return;
    json_t *item = json_array_get(json_object_get(result, "results"), 0);
    unsigned status = status_of_item(item);
    json_t *body = status == 200 ? json_incref(item)
                                 : json_pack("{s:O}", "error", json_object_get(item, "error"));
    if (status != 200)
        atomic_fetch_add_explicit(&http_totals(request)->errors, 1, memory_order_relaxed);
    http_reply_json(request, status, body);
    json_decref(result);
}

void http_job_cancel(struct http_request *request)
{
    reply_one(request, "job.cancel");
}

void http_job_retry(struct http_request *request)
{
    reply_one(request, "job.retry");
}

/* ---- JSON-RPC ---- */

/* What was no message at all. */
static void refuse_message(struct http_request *request, const struct rpc_error *error)
{
    request->type = "application/json";
    if (rpc_append_error(&request->text, NULL, error, http_totals(request)) == 0)
        request->status = http_status_of(error->code);
}

/* A message that could be read is answered with 200, whatever JSON-RPC says in it; one that wants no
 * answer with 204. */
void http_rpc(struct http_request *request)
{
    struct jsonrpc_message message;
    struct rpc_error error;
    struct rpc_caller caller = {.context = http_context(request),
                                .peer = http_peer(request),
                                .totals = http_totals(request),
                                .max_in_flight = http_limits(request)->max_in_flight};
    if (jsonrpc_parse(request->body ? request->body : "", request->size, &message, &error)) {
        refuse_message(request, &error);
        return;
    }
    atomic_fetch_add_explicit(&caller.totals->requests, message.count, memory_order_relaxed);
    if (rpc_answer(&message, &caller, &request->text) == 0)
        request->status = request->text.size ? 200 : 204;
    request->type = request->text.size ? "application/json" : NULL;
    jsonrpc_message_destroy(&message);
}
