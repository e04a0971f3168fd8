/* SPDX-License-Identifier: MIT */
/* JSON-RPC 2.0, from text: jansson does the JSON, this file what the standard and Weft's limits
 * add.
 *
 * I1  The parser never sees text that nests deeper than JSONRPC_DEPTH_MAX, so its recursion is
 *     bounded whatever a client sends.
 * I2  Requests of a batch are looked at one by one and on demand: a batch costs no more memory than
 *     its JSON.
 * I3  Every refusal fills a struct rpc_error that can be sent as it is.
 *
 * Pure: any thread.  Does not know any method, and takes no line apart. */
#include "protocol/jsonrpc.h"

#include "protocol/json_memory.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define NAME_SHOWN 48 /* bytes of a client's own words that a message repeats */

/* Index of the quote that ends the string opened at text[at], or size. */
static size_t skip_string(const char *text, size_t size, size_t at)
{
    for (at++; at < size && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at;
}

size_t jsonrpc_depth(const char *text, size_t size, size_t limit)
{
    size_t depth = 0, deepest = 0;
    for (size_t at = 0; at < size && deepest <= limit; at++) {
        if (text[at] == '"')
            at = skip_string(text, size, at);
        else if (text[at] == '[' || text[at] == '{')
            depth++;
        else if ((text[at] == ']' || text[at] == '}') && depth > 0)
            depth--;
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

static int refuse_json(int rc, const json_error_t *cause, struct rpc_error *error)
{
    if (rc == -ENOMEM) {
        rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory while reading the line");
        return -ENOMEM;
    }
    return rpc_error_set(error, RPC_PARSE_ERROR, "not valid JSON at byte %d: %s", cause->position,
                         cause->text);
}

int jsonrpc_parse_value(const char *text, size_t size, json_t **ret_value, struct rpc_error *error)
{
    if (jsonrpc_depth(text, size, JSONRPC_DEPTH_MAX) > JSONRPC_DEPTH_MAX) /* I1 */
        return rpc_error_set(error, RPC_TOO_DEEP,
                             "the JSON nests more than %d levels deep; flatten it",
                             JSONRPC_DEPTH_MAX);
    json_error_t cause;
    int rc =
        json_memory_load(text, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &cause, ret_value);
    return rc < 0 ? refuse_json(rc, &cause, error) : 0;
}

static int check_batch(const json_t *root, struct rpc_error *error)
{
    size_t count = json_array_size(root);
    if (count == 0)
        return rpc_error_set(error, RPC_INVALID_REQUEST,
                             "the batch is empty; put at least one request into it");
    if (count > JSONRPC_BATCH_MAX)
        return rpc_error_set(
            error, RPC_INVALID_REQUEST,
            "the batch holds %zu requests and the limit is %d; send several, or use "
            "job.submit_many",
            count, JSONRPC_BATCH_MAX);
    return 0;
}

static int check_root(const json_t *root, struct rpc_error *error)
{
    if (json_is_array(root))
        return check_batch(root, error);
    if (json_is_object(root))
        return 0;
    return rpc_error_set(error, RPC_INVALID_REQUEST, NULL);
}

int jsonrpc_parse(const char *line, size_t size, struct jsonrpc_message *ret_message,
                  struct rpc_error *error)
{
    json_t *root;
    int rc = jsonrpc_parse_value(line, size, &root, error);
    if (rc < 0)
        return rc;
    rc = check_root(root, error);
    if (rc < 0) {
        json_decref(root);
        return rc;
    }
    bool is_batch = json_is_array(root);
    *ret_message = (struct jsonrpc_message){
        .root = root, .is_batch = is_batch, .count = is_batch ? json_array_size(root) : 1};
    return 0;
}

void jsonrpc_message_destroy(struct jsonrpc_message *message)
{
    if (message == NULL)
        return;
    json_decref(message->root);
    *message = (struct jsonrpc_message){0};
}

static bool id_is_valid(const json_t *id)
{
    if (json_is_integer(id))
        return json_integer_value(id) < JSONRPC_ID_LIMIT &&
               json_integer_value(id) > -JSONRPC_ID_LIMIT;
    return json_is_string(id) || json_is_null(id);
}

static int check_members(const json_t *object, struct rpc_error *error)
{
    static const char *const known[] = {"jsonrpc", "id", "method", "params"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        size_t i = 0;
        while (i < 4 && strcmp(name, known[i]) != 0)
            i++;
        if (i == 4)
            return rpc_error_set(error, RPC_INVALID_REQUEST,
                                 "a request has no member \"%.*s\"; what the method needs goes "
                                 "inside \"params\"",
                                 NAME_SHOWN, name);
    }
    return 0;
}

static int check_version(const json_t *version, struct rpc_error *error)
{
    if (json_is_string(version) && strcmp(json_string_value(version), "2.0") == 0)
        return 0;
    return rpc_error_set(error, RPC_INVALID_REQUEST,
                         "%s: every request carries \"jsonrpc\":\"2.0\"",
                         version ? "\"jsonrpc\" is not \"2.0\"" : "\"jsonrpc\" is missing");
}

static int check_method(const json_t *method, struct rpc_error *error)
{
    if (json_string_length(method) > 0)
        return 0;
    return rpc_error_set(error, RPC_INVALID_REQUEST,
                         "%s: it is the name of a method, such as \"ping\"",
                         method ? "\"method\" is not a name" : "\"method\" is missing");
}

static int check_request(const json_t *object, struct rpc_error *error)
{
    int rc = check_version(json_object_get(object, "jsonrpc"), error);
    if (rc == 0)
        rc = check_method(json_object_get(object, "method"), error);
    if (rc < 0)
        return rc;
    const json_t *params = json_object_get(object, "params");
    if (params != NULL && !json_is_object(params) && !json_is_array(params))
        return rpc_error_set(error, RPC_INVALID_REQUEST,
                             "\"params\" is not an object; leave it out or send {\"name\":value}");
    return check_members(object, error);
}

int jsonrpc_request_at(const struct jsonrpc_message *message, size_t index,
                       struct jsonrpc_request *ret_request, struct rpc_error *error)
{
    json_t *object = message->is_batch ? json_array_get(message->root, index) : message->root;
    *ret_request = (struct jsonrpc_request){0};
    if (!json_is_object(object))
        return rpc_error_set(error, RPC_INVALID_REQUEST, NULL);
    json_t *id = json_object_get(object, "id");
    if (id != NULL && !id_is_valid(id))
        return rpc_error_set(error, RPC_INVALID_REQUEST,
                             "\"id\" is neither a string nor null nor an integer between -2^53 and "
                             "2^53");
    ret_request->id = id;
    int rc = check_request(object, error);
    if (rc < 0)
        return rc;
    ret_request->method = json_string_value(json_object_get(object, "method"));
    ret_request->params = json_object_get(object, "params");
    return 0;
}

/* Fields of an error reply; false if they are not what the standard says. */
static bool take_error(const json_t *error, struct jsonrpc_reply *reply)
{
    json_int_t code = json_integer_value(json_object_get(error, "code"));
    reply->message = json_string_value(json_object_get(error, "message"));
    reply->data = json_object_get(error, "data");
    if (code == 0 || code < INT32_MIN || code > INT32_MAX)
        return false;
    reply->code = (int)code;
    return reply->message != NULL;
}

static bool take_reply(const json_t *root, struct jsonrpc_reply *reply)
{
    const json_t *error = json_object_get(root, "error");
    reply->id = json_object_get(root, "id");
    reply->method = json_string_value(json_object_get(root, "method"));
    reply->params = json_object_get(root, "params");
    reply->result = json_object_get(root, "result");
    if (reply->method != NULL)
        return reply->id == NULL && reply->result == NULL && error == NULL;
    if (reply->id == NULL || !id_is_valid(reply->id) || (error == NULL) == (reply->result == NULL))
        return false;
    return error == NULL || take_error(error, reply);
}

int jsonrpc_parse_reply(const char *line, size_t size, struct jsonrpc_reply *ret_reply)
{
    struct rpc_error refusal, ignored;
    json_t *root;
    int rc = jsonrpc_parse_value(line, size, &root, &refusal);
    if (rc < 0)
        return rc == -ENOMEM ? rc : -EBADMSG;
    struct jsonrpc_reply reply = {.root = root};
    if (!json_is_object(root) || check_version(json_object_get(root, "jsonrpc"), &ignored) < 0 ||
        !take_reply(root, &reply)) {
        json_decref(root);
        return -EBADMSG;
    }
    *ret_reply = reply;
    return 0;
}

void jsonrpc_reply_destroy(struct jsonrpc_reply *reply)
{
    if (reply == NULL)
        return;
    json_decref(reply->root);
    *reply = (struct jsonrpc_reply){0};
}
