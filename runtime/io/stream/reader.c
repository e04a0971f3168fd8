/* SPDX-License-Identifier: MIT */
/*
 * The buffered reader: one growing buffer between a source of bytes and calls that want records.
 *
 *   R1  The bytes that were read and not taken are buffer[start..end), in order; whatever a call
 *       returns, they stay so.  Taking is the last thing a successful call does.
 *   R2  The buffer has one byte more than `capacity`, so that a null byte fits behind any record.
 *       While `terminated`, that byte stands at `start`, and `saved` is what belongs there: every
 *       call puts it back first.
 *   R3  Records are searched in what is there; the buffer grows only while none is found, up to
 *       the limit and one byte, which tells a record of just the limit from a longer one.
 *
 * A reader is for one fiber at a time; it suspends where its source does.  It knows nothing of
 * descriptors, and does not close its source.
 */
#include "weft/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base.h"
#include "weft/file.h"
#include "weft/stream.h"

enum { FIRST_CAPACITY = 4096 };

struct reader {
    ssize_t (*read)(void *arg, void *buffer, size_t size);
    void *arg;
    char *buffer; /* NULL until the first read; R2 */
    size_t capacity;
    size_t start, end; /* R1 */
    size_t limit;
    bool ended; /* the source said so last */
    bool terminated;
    char saved; /* R2 */
};

_Static_assert(sizeof(struct reader) <= sizeof(struct weft_reader), "too small in public");
_Static_assert(_Alignof(struct reader) <= _Alignof(struct weft_reader), "or less aligned");

/* The reader as its calls find it: with the byte back that the last record's terminator hides. */
static struct reader *reader_of(struct weft_reader *public)
{
    struct reader *reader = (struct reader *)(void *)public;
    if (reader->terminated) {
        reader->buffer[reader->start] = reader->saved;
        reader->terminated = false;
    }
    return reader;
}

static size_t reader_available(const struct reader *reader)
{
    return reader->end - reader->start;
}

/* ---- beginning and end ------------------------------------------------------------------- */

void weft_reader_init_function(struct weft_reader *public,
                               ssize_t (*read)(void *arg, void *buffer, size_t size), void *arg)
{
    struct reader *reader = (struct reader *)(void *)public;
    *public = (struct weft_reader){0};
    reader->read = read;
    reader->arg = arg;
    reader->limit = WEFT_READER_LIMIT;
}

static ssize_t read_stream(void *arg, void *buffer, size_t size)
{
    return weft_read(arg, buffer, size);
}

void weft_reader_init(struct weft_reader *reader, struct weft_stream *stream)
{
    weft_reader_init_function(reader, read_stream, stream);
}

static ssize_t read_file(void *arg, void *buffer, size_t size)
{
    return weft_file_read(arg, buffer, size);
}

void weft_reader_init_file(struct weft_reader *reader, struct weft_file *file)
{
    weft_reader_init_function(reader, read_file, file);
}

static void reader_release(struct reader *reader)
{
    free(reader->buffer);
    reader->buffer = NULL;
    reader->capacity = reader->start = reader->end = 0;
}

void weft_reader_destroy(struct weft_reader *public)
{
    reader_release(reader_of(public));
}

void weft_reader_set_limit(struct weft_reader *public, size_t limit)
{
    reader_of(public)->limit = limit;
}

size_t weft_reader_buffered(const struct weft_reader *public)
{
    return reader_available((const struct reader *)(const void *)public);
}

bool weft_reader_at_end(const struct weft_reader *public)
{
    const struct reader *reader = (const struct reader *)(const void *)public;
    return reader->ended && reader_available(reader) == 0;
}

/* ---- the buffer -------------------------------------------------------------------------- */

static int reader_grow(struct reader *reader, size_t capacity)
{
    char *buffer = capacity < SIZE_MAX ? realloc(reader->buffer, capacity + 1) : NULL;
    if (!buffer)
        return -ENOMEM;
    reader->buffer = buffer;
    reader->capacity = capacity;
    return 0;
}

static void reader_compact(struct reader *reader)
{
    size_t available = reader_available(reader);
    if (reader->start > 0 && available > 0)
        memmove(reader->buffer, reader->buffer + reader->start, available);
    reader->start = 0;
    reader->end = available;
}

/* Make room for one more byte at least, in a buffer of `most` at most.  What is moved is less than
 * what was taken since the last move, or the buffer is full. */
static int reader_make_room(struct reader *reader, size_t most)
{
    if (reader->start > 0 &&
        (reader_available(reader) < reader->start || reader->end == reader->capacity))
        reader_compact(reader);
    if (reader->end < reader->capacity)
        return 0;
    size_t capacity = reader->capacity ? 2 * reader->capacity : FIRST_CAPACITY;
    return reader_grow(reader, capacity < most ? capacity : most);
}

/* Get more from the source; fewer than `most` bytes are there.
 * Returns: 1, 0 at the end, or the source's error. */
static int reader_fill(struct reader *reader, size_t most)
{
    int r = reader_make_room(reader, most);
    if (r < 0)
        return r;
    ssize_t n =
        reader->read(reader->arg, reader->buffer + reader->end, reader->capacity - reader->end);
    if (n < 0)
        return (int)n;
    CHECK((size_t)n <= reader->capacity - reader->end);
    reader->end += (size_t)n;
    reader->ended = n == 0;
    return n > 0;
}

static void reader_take(struct reader *reader, void *buffer, size_t size)
{
    if (size == 0)
        return;
    memcpy(buffer, reader->buffer + reader->start, size);
    reader->start += size;
}

/* Take a record where it stands, and end it with a null byte (R2). */
static ssize_t reader_lend(struct reader *reader, size_t size, const char **ret_data)
{
    char *data = reader->buffer + reader->start;
    reader->start += size;
    reader->saved = reader->buffer[reader->start];
    reader->buffer[reader->start] = '\0';
    reader->terminated = true;
    *ret_data = data;
    return (ssize_t)size;
}

/* ---- bytes --------------------------------------------------------------------------------- */

ssize_t weft_reader_read(struct weft_reader *public, void *buffer, size_t size)
{
    struct reader *reader = reader_of(public);
    if (size == 0)
        return 0;
    if (reader_available(reader) == 0 && size >= FIRST_CAPACITY) {
        ssize_t n = reader->read(reader->arg, buffer, size);
        reader->ended = n == 0;
        return n;
    }
    if (reader_available(reader) == 0) {
        int r = reader_fill(reader, FIRST_CAPACITY);
        if (r <= 0)
            return r;
    }
    size_t available = reader_available(reader);
    size_t taken = size < available ? size : available;
    reader_take(reader, buffer, taken);
    return (ssize_t)taken;
}

/* Straight into the caller's buffer; room is reserved first to take everything back into the
 * reader's own should it not be enough (R1). */
static int read_directly(struct reader *reader, char *buffer, size_t size)
{
    int r = reader->capacity < size ? reader_grow(reader, size) : 0;
    if (r < 0)
        return r;
    size_t got = reader_available(reader);
    ssize_t n = 1;
    reader_take(reader, buffer, got);
    while (got < size && (n = reader->read(reader->arg, buffer + got, size - got)) > 0)
        got += (size_t)n;
    reader->ended = n == 0;
    reader->start = reader->end = 0;
    if (got == size) {
        reader_release(reader);
        return 0;
    }
    memcpy(reader->buffer, buffer, got);
    reader->end = got;
    return n < 0 ? (int)n : -ENODATA;
}

int weft_reader_readexactly(struct weft_reader *public, void *buffer, size_t size)
{
    struct reader *reader = reader_of(public);
    if (reader_available(reader) < size && size > reader->limit)
        return read_directly(reader, buffer, size);
    while (reader_available(reader) < size) {
        int r = reader_fill(reader, reader->limit + 1);
        if (r <= 0)
            return r < 0 ? r : -ENODATA;
    }
    reader_take(reader, buffer, size);
    return 0;
}

int weft_reader_read_all(struct weft_reader *public, size_t max, char **ret_data, size_t *ret_size)
{
    struct reader *reader = reader_of(public);
    size_t most = max < SIZE_MAX - 1 ? max + 1 : SIZE_MAX - 1;
    int r = 1;
    while (r > 0 && reader_available(reader) <= max)
        r = reader_fill(reader, most);
    if (r != 0)
        return r < 0 ? r : -EFBIG;
    reader_compact(reader);
    reader->buffer[reader->end] = '\0';
    *ret_data = reader->buffer;
    *ret_size = reader->end;
    reader->buffer = NULL;
    reader->capacity = reader->end = 0;
    return 0;
}

ssize_t weft_reader_peek(struct weft_reader *public, size_t size, const char **ret_data)
{
    struct reader *reader = reader_of(public);
    if (size > reader->limit)
        return -EMSGSIZE;
    int r = 1;
    while (r > 0 && reader_available(reader) < size)
        r = reader_fill(reader, reader->limit + 1);
    if (r < 0)
        return r;
    *ret_data = reader->buffer ? reader->buffer + reader->start : "";
    return (ssize_t)reader_available(reader);
}

void weft_reader_consume(struct weft_reader *public, size_t size)
{
    struct reader *reader = reader_of(public);
    CHECK(size <= reader_available(reader));
    reader->start += size;
}

/* ---- records ------------------------------------------------------------------------------- */

/* Where the separator ends, counted from the first byte that is there; 0: it is not there.  The
 * first *searched bytes are known not to hold its beginning; grows with what is searched. */
static size_t find_end(const struct reader *reader, const void *separator, size_t separator_size,
                       size_t *searched)
{
    size_t available = reader_available(reader);
    if (available - *searched < separator_size)
        return 0;
    const char *data = reader->buffer + reader->start;
    const char *found = memmem(data + *searched, available - *searched, separator, separator_size);
    if (found)
        return (size_t)(found - data) + separator_size;
    *searched = available - (separator_size - 1);
    return 0;
}

ssize_t weft_reader_readuntil(struct weft_reader *public, const void *separator,
                              size_t separator_size, const char **ret_data)
{
    struct reader *reader = reader_of(public);
    size_t size, searched = 0;
    if (separator_size == 0)
        return -EINVAL;
    while ((size = find_end(reader, separator, separator_size, &searched)) == 0) {
        if (reader_available(reader) > reader->limit)
            return -EMSGSIZE;
        int r = reader_fill(reader, reader->limit + 1);
        if (r < 0)
            return r;
        if (r == 0)
            return reader_available(reader) > 0 ? -ENODATA : 0;
    }
    return size > reader->limit ? -EMSGSIZE : reader_lend(reader, size, ret_data);
}

ssize_t weft_reader_readline(struct weft_reader *public, const char **ret_line)
{
    ssize_t n = weft_reader_readuntil(public, "\n", 1, ret_line);
    if (n != -ENODATA)
        return n;
    struct reader *reader = reader_of(public);
    return reader_lend(reader, reader_available(reader), ret_line);
}

int weft_reader_next_line(struct weft_reader *public, const char **ret_line, size_t *ret_size)
{
    const char *line;
    ssize_t n = weft_reader_readline(public, &line);
    if (n <= 0)
        return (int)n;
    size_t size = (size_t)n;
    if (line[size - 1] == '\n')
        size -= size > 1 && line[size - 2] == '\r' ? 2 : 1;
    /* The line is in the reader's buffer, and taken. */
    struct reader *reader = (struct reader *)(void *)public;
    reader->buffer[line - reader->buffer + (ptrdiff_t)size] = '\0';
    *ret_line = line;
    if (ret_size)
        *ret_size = size;
    return 1;
}

int weft_reader_skip_until(struct weft_reader *public, const void *separator, size_t separator_size)
{
    struct reader *reader = reader_of(public);
    size_t size, searched = 0;
    if (separator_size == 0)
        return -EINVAL;
    while ((size = find_end(reader, separator, separator_size, &searched)) == 0) {
        reader->start += searched;
        searched = 0;
        int r = reader_fill(reader, SIZE_MAX - 1);
        if (r == 0)
            reader->start = reader->end;
        if (r <= 0)
            return r;
    }
    reader->start += size;
    return 1;
}

int weft_reader_skip_line(struct weft_reader *reader)
{
    return weft_reader_skip_until(reader, "\n", 1);
}
