/* SPDX-License-Identifier: MIT */
/* Bodies of requests: memory, or a source (body.h).  On the fiber that sends the request. */
#include "io/http/body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/http/text.h"

struct weft_http_body weft_http_json(const char *text)
{
    return weft_http_bytes(text, strlen(text), "application/json");
}

/* ---- a stream of the caller's ----------------------------------------------------------- */

struct stream_source {
    struct http_source source;
    ssize_t (*read)(void *arg, void *buffer, size_t size);
    int (*rewind)(void *arg);
    void *arg;
};

static ssize_t stream_read(struct http_source *source, void *buffer, size_t size)
{
    struct stream_source *stream = (struct stream_source *)source;

    return stream->read(stream->arg, buffer, size);
}

static int stream_rewind(struct http_source *source)
{
    struct stream_source *stream = (struct stream_source *)source;

    return stream->rewind ? stream->rewind(stream->arg) : -ESPIPE;
}

static void stream_free(struct http_source *source)
{
    free(source);
}

static const struct http_source_class stream_class = {stream_read, stream_rewind, stream_free};

static int stream_source_new(const struct weft_http_body *given, struct http_source **ret_source)
{
    struct stream_source *stream = malloc(sizeof(*stream));
    if (!stream)
        return -ENOMEM;
    *stream = (struct stream_source){{&stream_class}, given->read, given->rewind, given->arg};
    *ret_source = &stream->source;
    return 0;
}

/* ---- all kinds -------------------------------------------------------------------------- */

static int init_bytes(struct http_body *body, const struct weft_http_body *given)
{
    if (given->count > 0 && !given->data)
        return -EINVAL;
    body->kind = BODY_MEMORY;
    body->data = given->data;
    body->size = (int64_t)given->count;
    return 0;
}

static int init_form(struct http_body *body, const struct weft_http_body *given)
{
    const struct weft_http_field *fields = given->data;

    for (size_t i = 0; i < given->count; i++) {
        if (!fields || !fields[i].name || !fields[i].value)
            return -EINVAL;
    }
    char *text = text_encode(fields, given->count, true);
    if (!text)
        return -ENOMEM;
    body->kind = BODY_MEMORY;
    body->data = body->owned = text;
    body->size = (int64_t)strlen(text);
    return 0;
}

static int init_stream(struct http_body *body, const struct weft_http_body *given)
{
    if (!given->read || given->length < -1)
        return -EINVAL;
    body->size = given->length;
    return stream_source_new(given, &body->source);
}

static int init_kind(struct http_body *body, const struct weft_http_body *given)
{
    switch (given->kind) {
    case WEFT_HTTP_NO_BODY:
        return 0;
    case WEFT_HTTP_BYTES:
        return init_bytes(body, given);
    case WEFT_HTTP_FORM:
        return init_form(body, given);
    case WEFT_HTTP_MULTIPART:
        return multipart_source_new(given->data, given->count, &body->source, &body->size,
                                    &body->content_type);
    case WEFT_HTTP_FILE:
        return given->file ? file_source_new(given->file, &body->source, &body->size) : -EINVAL;
    case WEFT_HTTP_STREAM:
        return init_stream(body, given);
    }
    return -EINVAL;
}

static int init_type(struct http_body *body, const struct weft_http_body *given)
{
    const char *type = given->content_type;

    if (body->content_type || given->kind == WEFT_HTTP_NO_BODY)
        return 0;
    if (!type)
        type = given->kind == WEFT_HTTP_FORM ? "application/x-www-form-urlencoded"
                                             : "application/octet-stream";
    if (!text_is_value(type))
        return -EINVAL;
    body->content_type = strdup(type);
    return body->content_type ? 0 : -ENOMEM;
}

int body_init(struct http_body *body, const struct weft_http_body *given)
{
    *body = (struct http_body){0};
    int r = init_kind(body, given);
    if (body->source)
        body->kind = BODY_SOURCE;
    if (r == 0)
        r = init_type(body, given);
    if (r < 0)
        body_destroy(body);
    return r;
}

void body_destroy(struct http_body *body)
{
    if (body->source)
        body->source->class->free(body->source);
    free(body->owned);
    free(body->content_type);
    *body = (struct http_body){0};
}
