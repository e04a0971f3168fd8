/* SPDX-License-Identifier: MIT */
/* JSON-RPC 2.0 messages: one line of text to requests or a reply, and back.
 * Framing is framer.h's; what a method's parameters mean is params.h's and the method's. */
#pragma once

#include "protocol/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define JSONRPC_DEPTH_MAX 32
#define JSONRPC_BATCH_MAX 1024
#define JSONRPC_ID_LIMIT  ((json_int_t)1 << 53) /* integer ids lie strictly between +- this */

/* One line as it came: a request, or a batch of them. */
struct jsonrpc_message {
    json_t *root;  /* owned */
    bool is_batch; /* the replies must be sent as one array */
    size_t count;  /* requests in it; 1 if not a batch */
};

/* One request, borrowed from its message. */
struct jsonrpc_request {
    json_t *id;         /* string, integer or null; NULL: a notification, send no reply */
    const char *method; /* NULL only if the request was refused before it was known */
    json_t *params;     /* object or array; NULL if absent */
};

/* Parse one line (no newline in it needed; NULs are refused, not fatal).
 * Errors: -EINVAL with *error filled: answer it with id null (parse_error, too_deep,
 *         invalid_request for a scalar, an empty or an over-long batch); -ENOMEM (*error
 *         filled: internal_error).  That needs json_memory_watch(). */
int jsonrpc_parse(const char *line, size_t size, struct jsonrpc_message *ret_message,
                  struct rpc_error *error);
void jsonrpc_message_destroy(struct jsonrpc_message *message);

/* The index-th request.
 * Errors: -EINVAL with *error filled: answer it, whether it had an id or not.  This is the one
 *         ret_ that is set on failure too: ret_request->id is then the id to answer with (NULL
 *         stands for null) and the rest is NULL. */
int jsonrpc_request_at(const struct jsonrpc_message *message, size_t index,
                       struct jsonrpc_request *ret_request, struct rpc_error *error);

/* Growing text for whole lines.  Start from {0}; set size to 0 to use it again. */
struct jsonrpc_text {
    char *data;      /* heap, not NUL-terminated */
    size_t size;     /* bytes written */
    size_t capacity; /* bytes allocated */
    bool in_batch;   /* between batch_open and batch_close */
    bool has_items;  /* the open batch holds a message already */
};

void jsonrpc_text_destroy(struct jsonrpc_text *text);

/* Append bytes as they are.  Errors: -ENOMEM; text is as it was. */
int jsonrpc_text_append(struct jsonrpc_text *text, const void *bytes, size_t size);

/* Append one message as one compact line that ends in "\n" (in an open batch: one array item).
 * On failure the text is as before.  id NULL is written as null; params NULL is left out; result
 * NULL is written as null.  JSON arguments are borrowed and not changed.
 * Errors: -ENOMEM; -EINVAL if method or a string is not UTF-8. */
int jsonrpc_append_result(struct jsonrpc_text *text, const json_t *id, const json_t *result);
int jsonrpc_append_error(struct jsonrpc_text *text, const json_t *id,
                         const struct rpc_error *error);
int jsonrpc_append_request(struct jsonrpc_text *text, const json_t *id, const char *method,
                           const json_t *params);
int jsonrpc_append_notification(struct jsonrpc_text *text, const char *method,
                                const json_t *params);

/* A batch of replies is one line: open, append, close.  A batch that stayed empty (only
 * notifications came) leaves nothing behind, as the standard wants.  Batches do not nest: -EINVAL.
 */
int jsonrpc_batch_open(struct jsonrpc_text *text);
int jsonrpc_batch_close(struct jsonrpc_text *text);

/* {"code":…,"message":…,"data":{"name":…,"param":…,"nearest":…}}, data's last two if set: also what
 * an item of job.submit_many carries.  New reference; NULL: out of memory. */
json_t *jsonrpc_error_json(const struct rpc_error *error);

/* What a client reads: a reply, or a notification.  Everything is borrowed from root. */
struct jsonrpc_reply {
    json_t *root;        /* owned */
    json_t *id;          /* NULL for a notification; JSON null if the server could not tell */
    const char *method;  /* notification: its name, else NULL */
    json_t *params;      /* notification: object or array or NULL */
    json_t *result;      /* success: any value, else NULL */
    int code;            /* error: its code, else 0 */
    const char *message; /* error: its message, else NULL */
    json_t *data;        /* error: its data or NULL */
};

/* Unknown members are passed over, so that a newer server may say more.
 * Errors: -EBADMSG not a JSON-RPC 2.0 reply or notification (a batch of replies neither), -ENOMEM.
 */
int jsonrpc_parse_reply(const char *line, size_t size, struct jsonrpc_reply *ret_reply);
void jsonrpc_reply_destroy(struct jsonrpc_reply *reply);

/* Nesting of arrays and objects, counted without recursion and never beyond limit + 1: what
 * jsonrpc_parse() checks before the parser may recurse. */
size_t jsonrpc_depth(const char *text, size_t size, size_t limit);

/* Parse any JSON text under the same rules (depth, duplicate keys, UTF-8), a scalar too: for
 * `weft call NAME JSON` and for what the store kept.
 * Errors: as jsonrpc_parse(). */
int jsonrpc_parse_value(const char *text, size_t size, json_t **ret_value, struct rpc_error *error);
