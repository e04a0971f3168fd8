/* SPDX-License-Identifier: MIT */
/* Newline framer.  Bytes are stored once, where the caller's read(2) or feed() puts them, and lines
 * are handed out in place.
 *
 * I1  start <= scanned <= end < capacity (all 0 while buffer is NULL): one byte is always spare, so
 *     that a last line without a newline can get its NUL too.
 * I2  [start, scanned) holds no newline: no byte is searched twice, however small the pieces.
 * I3  Bytes move towards the front only when at least as many were handed out since they last
 *     moved, so moving costs O(1) for each byte received.
 * I4  What next() and finish() report depends on the bytes alone, never on how they were cut.
 * I5  A partial line is at most line_max + 1 bytes long after next() returned 0 (the one more is a
 *     "\r" whose "\n" may follow).
 *
 * A caller that drains before it feeds holds at most about twice line_max plus one read.  This file
 * does no I/O, and does not look inside lines: NULs and bytes that are not UTF-8 pass through. */
#include "protocol/framer.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* An emptied buffer above this size goes back to the heap: one long line must not cost an idle
 * connection a megabyte for ever. */
#define KEEP_MAX     ((size_t)64 << 10)
#define CAPACITY_MIN ((size_t)512)

void framer_init(struct framer *framer, size_t line_max)
{
    *framer = (struct framer){.line_max = line_max ? line_max : FRAMER_LINE_MAX_DEFAULT};
}

void framer_destroy(struct framer *framer)
{
    if (framer == NULL)
        return;
    free(framer->buffer);
    framer_init(framer, framer->line_max);
}

static void rewind_empty(struct framer *framer)
{
    framer->start = framer->scanned = framer->end = 0;
}

static void release_if_large(struct framer *framer, size_t size_min)
{
    if (framer->capacity <= KEEP_MAX || size_min >= KEEP_MAX)
        return;
    free(framer->buffer);
    framer->buffer = NULL;
    framer->capacity = 0;
}

static void move_to_front(struct framer *framer)
{
    memmove(framer->buffer, framer->buffer + framer->start, framer->end - framer->start);
    framer->scanned -= framer->start;
    framer->end -= framer->start;
    framer->start = 0;
}

static bool has_room(const struct framer *framer, size_t size_min)
{
    return framer->capacity > framer->end && framer->capacity - framer->end - 1 >= size_min;
}

static int grow(struct framer *framer, size_t size_min)
{
    size_t needed, capacity = framer->capacity ? framer->capacity : CAPACITY_MIN;
    if (__builtin_add_overflow(framer->end + 1, size_min, &needed) || needed > SIZE_MAX / 2)
        return -ENOMEM;
    while (capacity < needed)
        capacity *= 2;
    char *buffer = realloc(framer->buffer, capacity);
    if (buffer == NULL)
        return -ENOMEM;
    framer->buffer = buffer;
    framer->capacity = capacity;
    return 0;
}

static int make_room(struct framer *framer, size_t size_min)
{
    if (framer->start == framer->end) {
        rewind_empty(framer);
        release_if_large(framer, size_min);
    }
    if (has_room(framer, size_min))
        return 0;
    if (framer->start > 0 && framer->start >= framer->end - framer->start) /* I3 */
        move_to_front(framer);
    return has_room(framer, size_min) ? 0 : grow(framer, size_min);
}

int framer_reserve(struct framer *framer, size_t size_min, char **ret_space, size_t *ret_size)
{
    int rc = make_room(framer, size_min);
    if (rc < 0)
        return rc;
    *ret_space = framer->buffer + framer->end;
    *ret_size = framer->capacity - framer->end - 1;
    return 0;
}

void framer_commit(struct framer *framer, size_t size)
{
    framer->end += size;
}

int framer_feed(struct framer *framer, const void *bytes, size_t size)
{
    if (size == 0)
        return 0;
    int rc = make_room(framer, size);
    if (rc < 0)
        return rc;
    memcpy(framer->buffer + framer->end, bytes, size);
    framer->end += size;
    return 0;
}

static size_t without_return(const char *line, size_t size)
{
    return size > 0 && line[size - 1] == '\r' ? size - 1 : size;
}

/* Terminate and hand out a line; 0 if it is empty. */
static int hand_out(char *line, size_t size, char **ret_line, size_t *ret_size)
{
    if (size == 0)
        return 0;
    line[size] = '\0';
    *ret_line = line;
    *ret_size = size;
    return 1;
}

/* No newline in sight: keep what is there, unless its line is too long already (I4: the verdict
 * must be the one that the whole line would get). */
static int wait_for_more(struct framer *framer)
{
    size_t size = without_return(framer->buffer + framer->start, framer->end - framer->start);
    bool too_long = !framer->skipping && size > framer->line_max;
    framer->scanned = framer->end;
    if (too_long)
        framer->skipping = true;
    if (framer->skipping)
        rewind_empty(framer);
    return too_long ? -EMSGSIZE : 0;
}

int framer_next(struct framer *framer, char **ret_line, size_t *ret_size)
{
    while (framer->scanned < framer->end) {
        char *line = framer->buffer + framer->start;
        char *newline =
            memchr(framer->buffer + framer->scanned, '\n', framer->end - framer->scanned);
        if (newline == NULL)
            return wait_for_more(framer);
        framer->start = framer->scanned = (size_t)(newline + 1 - framer->buffer);
        if (framer->skipping) {
            framer->skipping = false;
            continue;
        }
        size_t size = without_return(line, (size_t)(newline - line));
        if (size > framer->line_max)
            return -EMSGSIZE;
        if (hand_out(line, size, ret_line, ret_size))
            return 1;
    }
    return 0;
}

int framer_finish(struct framer *framer, char **ret_line, size_t *ret_size)
{
    if (framer->skipping || framer->start == framer->end)
        return 0;
    char *line = framer->buffer + framer->start;
    size_t size = without_return(line, framer->end - framer->start);
    framer->start = framer->scanned = framer->end;
    return hand_out(line, size, ret_line, ret_size);
}

bool framer_is_partial(const struct framer *framer)
{
    return framer->skipping || framer->start < framer->end;
}
