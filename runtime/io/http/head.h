/* SPDX-License-Identifier: MIT */
/* A block of headers: the status line's parts and the fields in order.  One owner; no locking. */
#ifndef RUNTIME_IO_HTTP_HEAD_H
#define RUNTIME_IO_HTTP_HEAD_H

#include "weft/http.h"

enum { HEAD_LIMIT = 256 * 1024 }; /* bytes of a block; more is no header but an attack */

struct http_head {
    int status;
    unsigned version; /* 10, 11, 20 */
    char *reason;     /* NULL: none */
    struct weft_http_field *fields;
    size_t count, capacity;
    size_t bytes;
};

void head_destroy(struct http_head *head);

/** Take a status line, which begins a block: what was there is dropped.  `line` is without its end
 * of line.  Errors: -EPROTO, -ENOMEM. */
int head_begin(struct http_head *head, const char *line, size_t size);

/** Take a header line; one that begins with white space goes on with the one before.
 * Errors: -EMSGSIZE, -ENOMEM; -EPROTO. */
int head_add(struct http_head *head, const char *line, size_t size);

/** Number `index` of that name, or NULL. */
const char *head_find(const struct http_head *head, const char *name, size_t index);

#endif
