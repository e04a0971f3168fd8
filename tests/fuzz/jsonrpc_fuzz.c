/* SPDX-License-Identifier: MIT */
/* JSON-RPC from any bytes: what is accepted keeps the promises of jsonrpc.h, and to whatever comes
 * a reply can be written that a client can read.
 * Input: one line. */
#include "fuzz.h"
#include "protocol/jsonrpc.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static void check_error(const struct rpc_error *error)
{
    json_t *message = json_string(error->message);
    HOLDS(rpc_code_info(error->code)->code == error->code);
    HOLDS(message != NULL && json_string_length(message) > 0);
    json_decref(message);
}

static void check_line(const struct jsonrpc_text *text)
{
    HOLDS(text->size > 0 && text->data[text->size - 1] == '\n');
    HOLDS(memchr(text->data, '\n', text->size - 1) == NULL);
}

static void check_error_reply(const json_t *id, const struct rpc_error *error)
{
    struct jsonrpc_text text = {0};
    struct jsonrpc_reply reply;
    check_error(error);
    HOLDS(jsonrpc_append_error(&text, id, error) == 0);
    check_line(&text);
    HOLDS(jsonrpc_parse_reply(text.data, text.size, &reply) == 0);
    HOLDS(reply.code == error->code && strcmp(reply.message, error->message) == 0);
    HOLDS(id == NULL ? json_is_null(reply.id) : json_equal(reply.id, id));
    jsonrpc_reply_destroy(&reply);
    jsonrpc_text_destroy(&text);
}

static void check_result_reply(const struct jsonrpc_request *request)
{
    struct jsonrpc_text text = {0};
    struct jsonrpc_reply reply;
    HOLDS(jsonrpc_append_result(&text, request->id, request->params) == 0);
    check_line(&text);
    HOLDS(jsonrpc_parse_reply(text.data, text.size, &reply) == 0);
    HOLDS(request->params == NULL || json_equal(reply.result, request->params));
    HOLDS(request->id == NULL || json_equal(reply.id, request->id));
    jsonrpc_reply_destroy(&reply);
    jsonrpc_text_destroy(&text);
}

static void check_request(const struct jsonrpc_request *request)
{
    HOLDS(request->method != NULL && request->method[0] != '\0');
    HOLDS(request->params == NULL || json_is_object(request->params) ||
          json_is_array(request->params));
    HOLDS(request->id == NULL || json_is_null(request->id) || json_is_string(request->id) ||
          llabs(json_integer_value(request->id)) < JSONRPC_ID_LIMIT);
    check_result_reply(request);
}

/* A request written from what was read is read as the same. */
static void check_round_trip(const struct jsonrpc_request *request)
{
    struct jsonrpc_text text = {0};
    struct jsonrpc_message message;
    struct jsonrpc_request again;
    struct rpc_error error;
    if (request->id == NULL)
        HOLDS(jsonrpc_append_notification(&text, request->method, request->params) == 0);
    else
        HOLDS(jsonrpc_append_request(&text, request->id, request->method, request->params) == 0);
    check_line(&text);
    HOLDS(jsonrpc_parse(text.data, text.size, &message, &error) == 0);
    HOLDS(jsonrpc_request_at(&message, 0, &again, &error) == 0);
    HOLDS(strcmp(again.method, request->method) == 0);
    HOLDS((again.id == NULL) == (request->id == NULL));
    HOLDS(request->params == NULL || json_equal(again.params, request->params));
    jsonrpc_message_destroy(&message);
    jsonrpc_text_destroy(&text);
}

static void check_batch_replies(const struct jsonrpc_message *message)
{
    struct jsonrpc_text text = {0};
    struct jsonrpc_request request;
    struct rpc_error error;
    json_t *replies = NULL;
    size_t count = 0;
    HOLDS(jsonrpc_batch_open(&text) == 0);
    for (size_t i = 0; i < message->count; i++) {
        int rc = jsonrpc_request_at(message, i, &request, &error);
        if (rc < 0)
            HOLDS(jsonrpc_append_error(&text, request.id, &error) == 0);
        else if (request.id != NULL)
            HOLDS(jsonrpc_append_result(&text, request.id, request.params) == 0);
        count += rc < 0 || request.id != NULL;
    }
    HOLDS(jsonrpc_batch_close(&text) == 0);
    HOLDS((text.size == 0) == (count == 0));
    if (count > 0) {
        check_line(&text);
        HOLDS(jsonrpc_parse_value(text.data, text.size, &replies, &error) == 0);
        HOLDS(json_array_size(replies) == count);
    }
    json_decref(replies);
    jsonrpc_text_destroy(&text);
}

static void check_message(const struct jsonrpc_message *message)
{
    struct jsonrpc_request request;
    struct rpc_error error;
    HOLDS(message->count >= 1 && message->count <= JSONRPC_BATCH_MAX);
    HOLDS(message->is_batch || message->count == 1);
    for (size_t i = 0; i < message->count; i++) {
        if (jsonrpc_request_at(message, i, &request, &error) < 0) {
            HOLDS(error.code == RPC_INVALID_REQUEST && request.method == NULL);
            check_error_reply(request.id, &error);
            continue;
        }
        check_request(&request);
        check_round_trip(&request);
    }
    check_batch_replies(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *line = (const char *)data;
    struct jsonrpc_message message;
    struct jsonrpc_reply reply;
    struct rpc_error error;
    int rc = jsonrpc_parse(line, size, &message, &error);
    HOLDS(rc == 0 || rc == -EINVAL);
    if (rc == 0) {
        HOLDS(jsonrpc_depth(line, size, JSONRPC_DEPTH_MAX) <= JSONRPC_DEPTH_MAX);
        check_message(&message);
        jsonrpc_message_destroy(&message);
    } else {
        check_error_reply(NULL, &error);
    }
    if (jsonrpc_parse_reply(line, size, &reply) == 0) {
        HOLDS((reply.method != NULL) + (reply.result != NULL) + (reply.message != NULL) == 1);
        HOLDS((reply.code != 0) == (reply.message != NULL));
        jsonrpc_reply_destroy(&reply);
    }
    return 0;
}
