/* SPDX-License-Identifier: MIT */
/* JSON-RPC 2.0, to text: envelopes are written as they stand and only what varies goes through
 * jansson, straight into the growing text: no JSON tree is built around a result.
 *
 * I1  A call that fails leaves text as it found it.
 * I2  A message is one line: jansson escapes every control character, so the only newline is the
 *     one at the end.
 *
 * Pure: any thread, one thread at a time for each text. */
#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DUMP_FLAGS   (JSON_COMPACT | JSON_ENCODE_ANY)
#define CAPACITY_MIN ((size_t)256)

/* A message being written.  The first failure sticks and turns the later steps into nothing, so
 * that writers read linearly and check once. */
struct writer {
    struct jsonrpc_text *text;
    size_t mark; /* text->size to go back to */
    int rc;
};

void jsonrpc_text_destroy(struct jsonrpc_text *text)
{
    if (text == NULL)
        return;
    free(text->data);
    *text = (struct jsonrpc_text){0};
}

static int text_grow(struct jsonrpc_text *text, size_t size)
{
    size_t needed, capacity = text->capacity ? text->capacity : CAPACITY_MIN;
    if (__builtin_add_overflow(text->size, size, &needed) || needed > SIZE_MAX / 2)
        return -ENOMEM;
    while (capacity < needed)
        capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (data == NULL)
        return -ENOMEM;
    text->data = data;
    text->capacity = capacity;
    return 0;
}

int jsonrpc_text_append(struct jsonrpc_text *text, const void *bytes, size_t size)
{
    int err = text->capacity - text->size < size ? text_grow(text, size) : 0;
    if (err < 0 || size == 0)
        return err;
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
    return 0;
}

static void put(struct writer *writer, const char *bytes, size_t size)
{
    if (writer->rc == 0)
        writer->rc = jsonrpc_text_append(writer->text, bytes, size);
}

static void put_text(struct writer *writer, const char *string)
{
    put(writer, string, strlen(string));
}

static int on_dump(const char *bytes, size_t size, void *arg)
{
    struct writer *writer = arg;
    put(writer, bytes, size);
    return writer->rc < 0 ? -1 : 0;
}

static void put_json(struct writer *writer, const json_t *json)
{
    if (writer->rc < 0)
        return;
    if (json == NULL) {
        put_text(writer, "null");
        return;
    }
    if (json_dump_callback(json, on_dump, writer, DUMP_FLAGS) < 0 && writer->rc == 0)
        writer->rc = json_memory_dump_refusal(json);
}

/* A value made for this message alone; NULL means that making it ran out of memory. */
static void put_json_owned(struct writer *writer, json_t *json)
{
    if (json == NULL && writer->rc == 0)
        writer->rc = -ENOMEM;
    put_json(writer, json);
    json_decref(json);
}

static struct writer message_begin(struct jsonrpc_text *text)
{
    struct writer writer = {.text = text, .mark = text->size};
    if (text->in_batch && text->has_items)
        put_text(&writer, ",");
    put_text(&writer, "{\"jsonrpc\":\"2.0\"");
    return writer;
}

static int message_end(struct writer *writer)
{
    put_text(writer, writer->text->in_batch ? "}" : "}\n");
    if (writer->rc < 0)
        writer->text->size = writer->mark; /* I1 */
    else
        writer->text->has_items = writer->text->in_batch;
    return writer->rc;
}

static void put_id(struct writer *writer, const json_t *id)
{
    put_text(writer, ",\"id\":");
    put_json(writer, id);
}

static void put_call(struct writer *writer, const char *method, const json_t *params)
{
    put_text(writer, ",\"method\":");
    put_json_owned(writer, json_string_nocheck(method));
    if (params == NULL)
        return;
    put_text(writer, ",\"params\":");
    put_json(writer, params);
}

int jsonrpc_append_result(struct jsonrpc_text *text, const json_t *id, const json_t *result)
{
    struct writer writer = message_begin(text);
    put_id(&writer, id);
    put_text(&writer, ",\"result\":");
    put_json(&writer, result);
    return message_end(&writer);
}

static json_t *error_data(const struct rpc_error *error)
{
    json_t *data = json_pack("{s:s}", "name", rpc_code_info(error->code)->name);
    int rc = 0;
    if (error->param[0] != '\0')
        rc |= json_object_set_new(data, "param", json_string(error->param));
    if (error->nearest[0] != '\0')
        rc |= json_object_set_new(data, "nearest", json_string(error->nearest));
    if (rc == 0)
        return data;
    json_decref(data);
    return NULL;
}

json_t *jsonrpc_error_json(const struct rpc_error *error)
{
    return json_pack("{s:i, s:s, s:o}", "code", error->code, "message", error->message, "data",
                     error_data(error));
}

int jsonrpc_append_error(struct jsonrpc_text *text, const json_t *id, const struct rpc_error *error)
{
    struct writer writer = message_begin(text);
    put_id(&writer, id);
    put_text(&writer, ",\"error\":");
    put_json_owned(&writer, jsonrpc_error_json(error));
    return message_end(&writer);
}

int jsonrpc_append_request(struct jsonrpc_text *text, const json_t *id, const char *method,
                           const json_t *params)
{
    struct writer writer = message_begin(text);
    put_id(&writer, id);
    put_call(&writer, method, params);
    return message_end(&writer);
}

int jsonrpc_append_notification(struct jsonrpc_text *text, const char *method, const json_t *params)
{
    struct writer writer = message_begin(text);
    put_call(&writer, method, params);
    return message_end(&writer);
}

int jsonrpc_batch_open(struct jsonrpc_text *text)
{
    struct writer writer = {.text = text};
    if (text->in_batch)
        return -EINVAL;
    put_text(&writer, "[");
    if (writer.rc < 0)
        return writer.rc;
    text->in_batch = true;
    text->has_items = false;
    return 0;
}

int jsonrpc_batch_close(struct jsonrpc_text *text)
{
    struct writer writer = {.text = text};
    if (!text->in_batch)
        return -EINVAL;
    if (text->has_items)
        put_text(&writer, "]\n");
    else
        text->size--; /* the bracket */
    if (writer.rc < 0)
        return writer.rc;
    text->in_batch = false;
    text->has_items = false;
    return 0;
}
