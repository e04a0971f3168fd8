/* SPDX-License-Identifier: MIT */
/* The body of a request, as one of two things: bytes in memory, which libcurl sends from there, or
 * a source that the response's fiber reads from, piece by piece. */
#ifndef RUNTIME_IO_HTTP_BODY_H
#define RUNTIME_IO_HTTP_BODY_H

#include <sys/types.h>

#include "weft/http.h"

struct http_source;

/* What a source can do.  All are called on the response's fiber, and may suspend. */
struct http_source_class {
    ssize_t (*read)(struct http_source *source, void *buffer, size_t size);
    int (*rewind)(struct http_source *source); /* -ESPIPE: it cannot */
    void (*free)(struct http_source *source);
};

struct http_source {
    const struct http_source_class *class;
};

struct http_body {
    enum { BODY_NONE, BODY_MEMORY, BODY_SOURCE } kind;
    const void *data; /* BODY_MEMORY */
    void *owned;      /* is data, where the memory is ours */
    int64_t size;     /* -1: unknown, BODY_SOURCE only */
    struct http_source *source;
    char *content_type; /* NULL: none */
};

/** Errors: -EINVAL, -ENOMEM, weft_file_stat's. */
int body_init(struct http_body *body, const struct weft_http_body *given);
void body_destroy(struct http_body *body);

/** Sources.  Errors: -ENOMEM; file_source: weft_file_stat's, -EINVAL not a regular file. */
int file_source_new(struct weft_file *file, struct http_source **ret_source, int64_t *ret_size);
int multipart_source_new(const struct weft_http_part *parts, size_t count,
                         struct http_source **ret_source, int64_t *ret_size,
                         char **ret_content_type);

#endif
