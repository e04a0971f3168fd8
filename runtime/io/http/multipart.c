/* SPDX-License-Identifier: MIT */
/*
 * multipart/form-data as a source: for each part its header, its content and an end of line, then
 * the closing boundary.
 *
 *   I1  The length is known from the beginning: files count as long as they are then.
 *   I2  The boundary is 128 random bits: it need not be looked for in the contents.
 *
 * On the fiber that sends the request.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io/http/body.h"
#include "io/http/text.h"

enum { BOUNDARY = 32 };

struct piece {
    char *header; /* boundary and part's header, behind the end of line of the part before */
    const char *data;
    size_t size;
    struct http_source *file; /* instead of data; or NULL */
};

struct multipart {
    struct http_source source;
    char boundary[BOUNDARY + 1];
    size_t count;         /* of pieces; the last one is the closing boundary */
    size_t index, offset; /* where reading is; the offset counts the piece's header too */
    struct piece pieces[];
};

/* ---- reading ---------------------------------------------------------------------------- */

/* Take bytes of a text at an offset. */
static ssize_t take(const char *text, size_t length, size_t offset, void *buffer, size_t size)
{
    size_t left = length - offset;
    size_t taken = left < size ? left : size;

    memcpy(buffer, text + offset, taken);
    return (ssize_t)taken;
}

/* Returns: bytes, 0 at the end of the piece, or -errno. */
static ssize_t piece_read(struct piece *piece, size_t offset, void *buffer, size_t size)
{
    size_t header_size = strlen(piece->header);

    if (offset < header_size)
        return take(piece->header, header_size, offset, buffer, size);
    if (piece->file)
        return piece->file->class->read(piece->file, buffer, size);
    if (piece->size == 0)
        return 0;
    return take(piece->data, piece->size, offset - header_size, buffer, size);
}

static ssize_t multipart_read(struct http_source *source, void *buffer, size_t size)
{
    struct multipart *multipart = (struct multipart *)source;

    while (multipart->index < multipart->count) {
        ssize_t n =
            piece_read(&multipart->pieces[multipart->index], multipart->offset, buffer, size);
        if (n < 0)
            return n;
        multipart->offset += (size_t)n;
        if (n > 0)
            return n;
        multipart->index++;
        multipart->offset = 0;
    }
    return 0;
}

static int multipart_rewind(struct http_source *source)
{
    struct multipart *multipart = (struct multipart *)source;

    multipart->index = multipart->offset = 0;
    for (size_t i = 0; i < multipart->count; i++) {
        struct http_source *file = multipart->pieces[i].file;
        int r = file ? file->class->rewind(file) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static void multipart_free(struct http_source *source)
{
    struct multipart *multipart = (struct multipart *)source;

    for (size_t i = 0; i < multipart->count; i++) {
        struct piece *piece = &multipart->pieces[i];

        free(piece->header);
        if (piece->file)
            piece->file->class->free(piece->file);
    }
    free(multipart);
}

static const struct http_source_class multipart_class = {multipart_read, multipart_rewind,
                                                         multipart_free};

/* ---- making ----------------------------------------------------------------------------- */

/* A name in quotes, as browsers write it: quote and ends of line are percent-encoded.  Returns: where
 * it ends. */
static char *write_quoted(char *at, const char *name)
{
    *at++ = '"';
    for (; *name; name++) {
        if (*name == '"' || *name == '\r' || *name == '\n')
            at += sprintf(at, "%%%02X", (unsigned)*name);
        else
            *at++ = *name;
    }
    *at++ = '"';
    return at;
}

static const char *type_of(const struct weft_http_part *part)
{
    if (part->content_type)
        return part->content_type;
    return part->filename ? "application/octet-stream" : NULL;
}

static void write_part_header(char *at, const struct weft_http_part *part)
{
    const char *type = type_of(part);

    at = stpcpy(at, "Content-Disposition: form-data; name=");
    at = write_quoted(at, part->name);
    if (part->filename) {
        at = stpcpy(at, "; filename=");
        at = write_quoted(at, part->filename);
    }
    if (type)
        at = stpcpy(stpcpy(at, "\r\nContent-Type: "), type);
    strcpy(at, "\r\n\r\n");
}

/* As much as write_part_header writes, or more: each character may become three. */
static size_t part_header_most(const struct weft_http_part *part)
{
    const char *type = type_of(part);

    return 128 + 3 * strlen(part->name) + (part->filename ? 3 * strlen(part->filename) : 0) +
           (type ? strlen(type) : 0);
}

/* `part` NULL: the closing boundary. */
static int make_header(const struct multipart *multipart, const struct weft_http_part *part,
                       bool first, char **ret_header)
{
    char *header = malloc(BOUNDARY + 16 + (part ? part_header_most(part) : 0));
    if (!header)
        return -ENOMEM;
    int size =
        sprintf(header, "%s--%s%s\r\n", first ? "" : "\r\n", multipart->boundary, part ? "" : "--");
    if (part)
        write_part_header(header + size, part);
    *ret_header = header;
    return 0;
}

static int check_part(const struct weft_http_part *part)
{
    if (!part->name || (part->size > 0 && !part->data && !part->file))
        return -EINVAL;
    return part->content_type && !text_is_value(part->content_type) ? -EINVAL : 0;
}

/* Make the next piece; its file stays the caller's. */
static int add_piece(struct multipart *multipart, const struct weft_http_part *part, int64_t *total)
{
    struct piece *piece = &multipart->pieces[multipart->count];
    int64_t size = 0;
    int r = part ? check_part(part) : 0;
    if (r == 0)
        r = make_header(multipart, part, multipart->count == 0, &piece->header);
    if (r < 0)
        return r;
    multipart->count++;
    if (part && part->file) {
        r = file_source_new(part->file, &piece->file, &size);
    } else if (part) {
        piece->data = part->data;
        piece->size = part->size;
        size = (int64_t)part->size;
    }
    *total += size + (int64_t)strlen(piece->header);
    return r;
}

/* I2. */
static int make_boundary(char *boundary)
{
    unsigned char bytes[BOUNDARY / 2];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return -EIO;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(boundary + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static int make_content_type(const struct multipart *multipart, char **ret_type)
{
    if (asprintf(ret_type, "multipart/form-data; boundary=%s", multipart->boundary) < 0) {
        *ret_type = NULL;
        return -ENOMEM;
    }
    return 0;
}

int multipart_source_new(const struct weft_http_part *parts, size_t count,
                         struct http_source **ret_source, int64_t *ret_size,
                         char **ret_content_type)
{
    struct multipart *multipart =
        calloc(1, sizeof(*multipart) + (count + 1) * sizeof(struct piece));
    int64_t size = 0;
    if (!multipart)
        return -ENOMEM;
    multipart->source.class = &multipart_class;
    int r = make_boundary(multipart->boundary);
    for (size_t i = 0; r == 0 && i <= count; i++)
        r = add_piece(multipart, i < count ? &parts[i] : NULL, &size);
    if (r == 0)
        r = make_content_type(multipart, ret_content_type);
    if (r < 0) {
        multipart_free(&multipart->source);
        return r;
    }
    *ret_source = &multipart->source;
    *ret_size = size;
    return 0;
}
