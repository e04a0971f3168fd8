/* SPDX-License-Identifier: MIT */
/*
 * The buffered writer: one growing buffer between calls that write little and a target that likes
 * much.
 *
 *   W1  The bytes that were taken and not sent are buffer[start..end), in order.  A byte leaves
 *       that range when the target has taken it, and at no other time.
 *   W2  Data is taken whole or not at all.  So before any of it is sent past the buffer, the buffer
 *       has room for all of it.
 *   W3  Once an error stuck, nothing is taken and nothing sent.  A cancelled or timed out send
 *       does not stick, nor does -EBUSY: another fiber's being in the way says nothing of the
 *       target.
 *
 * A writer is for one fiber at a time; it suspends where its target does.  It knows nothing of
 * descriptors, and does not close its target.
 */
#include "weft/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base.h"
#include "weft/file.h"
#include "weft/stream.h"

enum { FIRST_CAPACITY = 4096 };

struct writer {
    int (*write)(void *arg, const void *data, size_t size, size_t *ret_written);
    void *arg;
    char *buffer; /* NULL until the first byte */
    size_t capacity;
    size_t start, end; /* W1 */
    size_t low, high;
    int error; /* that sticks, or 0; W3 */
};

_Static_assert(sizeof(struct writer) <= sizeof(struct weft_writer), "too small in public");
_Static_assert(_Alignof(struct writer) <= _Alignof(struct weft_writer), "or less aligned");

static struct writer *writer_of(struct weft_writer *writer)
{
    return (struct writer *)(void *)writer;
}

static size_t writer_available(const struct writer *writer)
{
    return writer->end - writer->start;
}

/* ---- beginning and end ------------------------------------------------------------------- */

void weft_writer_init_function(struct weft_writer *public,
                               int (*write)(void *arg, const void *data, size_t size,
                                            size_t *ret_written),
                               void *arg)
{
    struct writer *writer = writer_of(public);
    *public = (struct weft_writer){0};
    writer->write = write;
    writer->arg = arg;
    writer->high = WEFT_WRITER_HIGH;
}

static int write_stream(void *arg, const void *data, size_t size, size_t *ret_written)
{
    return weft_write(arg, data, size, ret_written);
}

void weft_writer_init(struct weft_writer *writer, struct weft_stream *stream)
{
    weft_writer_init_function(writer, write_stream, stream);
}

static int write_file(void *arg, const void *data, size_t size, size_t *ret_written)
{
    return weft_file_write(arg, data, size, ret_written);
}

void weft_writer_init_file(struct weft_writer *writer, struct weft_file *file)
{
    weft_writer_init_function(writer, write_file, file);
}

void weft_writer_destroy(struct weft_writer *public)
{
    struct writer *writer = writer_of(public);
    free(writer->buffer);
    writer->buffer = NULL;
    writer->capacity = writer->start = writer->end = 0;
}

int weft_writer_close(struct weft_writer *writer)
{
    int r = weft_writer_flush(writer);
    weft_writer_destroy(writer);
    return r;
}

void weft_writer_set_marks(struct weft_writer *public, size_t low, size_t high)
{
    struct writer *writer = writer_of(public);
    writer->low = low < high ? low : high;
    writer->high = high;
}

size_t weft_writer_buffered(const struct weft_writer *writer)
{
    return writer_available((const struct writer *)(const void *)writer);
}

int weft_writer_error(const struct weft_writer *writer)
{
    return ((const struct writer *)(const void *)writer)->error;
}

void weft_writer_clear_error(struct weft_writer *writer)
{
    writer_of(writer)->error = 0;
}

/* ---- the buffer -------------------------------------------------------------------------- */

/* Room for `size` more bytes behind the end.  Errors: -ENOMEM. */
static int writer_reserve(struct writer *writer, size_t size)
{
    if (writer->capacity - writer->end >= size)
        return 0;
    size_t available = writer_available(writer);
    if (writer->start > 0 && available > 0)
        memmove(writer->buffer, writer->buffer + writer->start, available);
    writer->start = 0;
    writer->end = available;
    if (writer->capacity - available >= size)
        return 0;
    if (size > SIZE_MAX / 2 - available)
        return -ENOMEM;
    size_t wanted = available + size, doubled = 2 * writer->capacity;
    size_t capacity = wanted > doubled ? wanted : doubled;
    capacity = capacity > FIRST_CAPACITY ? capacity : FIRST_CAPACITY;
    char *buffer = realloc(writer->buffer, capacity);
    if (!buffer)
        return -ENOMEM;
    writer->buffer = buffer;
    writer->capacity = capacity;
    return 0;
}

/* Into room that was reserved. */
static void writer_append(struct writer *writer, const char *data, size_t size)
{
    if (size == 0)
        return;
    memcpy(writer->buffer + writer->end, data, size);
    writer->end += size;
}

/* One call of the target.  *ret_written is set in any case. */
static int writer_call(struct writer *writer, const char *data, size_t size, size_t *ret_written)
{
    *ret_written = 0;
    int r = writer->write(writer->arg, data, size, ret_written);
    if (r >= 0) {
        *ret_written = size;
        return 0;
    }
    CHECK(*ret_written <= size);
    if (r != -ECANCELED && r != -ETIMEDOUT && r != -EBUSY)
        writer->error = r; /* W3 */
    return r;
}

/* Send until no more than `left` bytes are there. */
static int writer_send(struct writer *writer, size_t left)
{
    if (writer->error)
        return writer->error;
    size_t available = writer_available(writer), written;
    if (available <= left)
        return 0;
    int r = writer_call(writer, writer->buffer + writer->start, available - left, &written);
    writer->start += written;
    if (writer->start == writer->end)
        writer->start = writer->end = 0;
    return r;
}

/* Data that is larger than the buffer should be; the buffer is empty. */
static int writer_send_past(struct writer *writer, const char *data, size_t size)
{
    size_t written;
    int r = writer_call(writer, data, size, &written);
    writer_append(writer, data + written, size - written);
    return r;
}

/* ---- writing ------------------------------------------------------------------------------- */

int weft_writer_put(struct weft_writer *public, const void *data, size_t size)
{
    struct writer *writer = writer_of(public);
    int r = writer->error ? writer->error : writer_reserve(writer, size);
    if (r == 0)
        writer_append(writer, data, size);
    return r;
}

int weft_writer_drain(struct weft_writer *public)
{
    struct writer *writer = writer_of(public);
    if (writer->error)
        return writer->error;
    return writer_available(writer) > writer->high ? writer_send(writer, writer->low) : 0;
}

int weft_writer_flush(struct weft_writer *public)
{
    return writer_send(writer_of(public), 0);
}

/* Take data for which room is reserved, and send if that is too much now. */
static int writer_take(struct writer *writer, const char *data, size_t size)
{
    bool large = size > writer->high;
    int r = large ? writer_send(writer, 0) : 0;
    if (large && r == 0)
        return writer_send_past(writer, data, size);
    writer_append(writer, data, size);
    if (large || writer_available(writer) <= writer->high)
        return r;
    return writer_send(writer, writer->low);
}

int weft_writer_write(struct weft_writer *public, const void *data, size_t size)
{
    struct writer *writer = writer_of(public);
    int r = writer->error ? writer->error : writer_reserve(writer, size); /* W2 */
    return r < 0 ? r : writer_take(writer, data, size);
}

int weft_writer_writev(struct weft_writer *public, const struct iovec *pieces, int count)
{
    struct writer *writer = writer_of(public);
    size_t total = 0;
    if (count < 0)
        return -EINVAL;
    for (int i = 0; i < count; i++)
        if (__builtin_add_overflow(total, pieces[i].iov_len, &total))
            return -ENOMEM;
    int r = writer->error ? writer->error : writer_reserve(writer, total); /* W2 */
    if (r < 0)
        return r;
    for (int i = 0; i < count; i++) {
        int taken = writer_take(writer, pieces[i].iov_base, pieces[i].iov_len);
        r = r < 0 ? r : taken;
    }
    return r;
}

/* As vsnprintf(3) into the buffer's end.  Errors: -EINVAL, -ENOMEM. */
__attribute__((format(printf, 2, 0))) static int
writer_format(struct writer *writer, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    size_t room = writer->capacity - writer->end;
    int r = 0, n = vsnprintf(room ? writer->buffer + writer->end : NULL, room, format, arguments);
    if (n >= 0 && (size_t)n >= room) {
        r = writer_reserve(writer, (size_t)n + 1);
        if (r == 0)
            n = vsnprintf(writer->buffer + writer->end, (size_t)n + 1, format, again);
    }
    va_end(again);
    if (r == 0 && n >= 0)
        writer->end += (size_t)n;
    return n < 0 ? -EINVAL : r;
}

int weft_writer_vprintf(struct weft_writer *public, const char *format, va_list arguments)
{
    struct writer *writer = writer_of(public);
    int r = writer->error ? writer->error : writer_format(writer, format, arguments);
    return r < 0 ? r : weft_writer_drain(public);
}

int weft_writer_printf(struct weft_writer *writer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int r = weft_writer_vprintf(writer, format, arguments);
    va_end(arguments);
    return r;
}
