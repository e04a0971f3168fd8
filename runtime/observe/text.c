/* SPDX-License-Identifier: MIT */
/* Text for dumps, traces and reports.  The writer is called for pieces of some KiB, outside all
 * locks; it may suspend the fiber, so nothing here keeps an address of errno. */
#include "observe/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLUSH_AT = 8192, LINE_MAX_SIZE = 1024 };

static void text_flush(struct text *text)
{
    int r;

    if (text->error || text->size == 0)
        return;
    r = text->write(text->data, text->size, text->arg);
    text->size = 0;
    if (r < 0)
        text->error = r;
}

/* Room for so much more, and a zero. */
static bool text_reserve(struct text *text, size_t more)
{
    size_t wanted = text->size + more + 1;
    size_t capacity = text->capacity ? text->capacity : FLUSH_AT + LINE_MAX_SIZE;
    char *data;

    if (text->error)
        return false;
    if (wanted <= text->capacity)
        return true;
    while (capacity < wanted)
        capacity *= 2;
    data = realloc(text->data, capacity);
    if (!data) {
        text->error = -ENOMEM;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_add(struct text *text, const char *format, ...)
{
    char line[LINE_MAX_SIZE];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (size <= 0)
        return;
    if ((size_t)size >= sizeof(line))
        size = sizeof(line) - 1;
    if (!text_reserve(text, (size_t)size))
        return;
    memcpy(text->data + text->size, line, (size_t)size + 1);
    text->size += (size_t)size;
    if (text->write && text->size >= FLUSH_AT)
        text_flush(text);
}

int text_end(struct text *text)
{
    if (text->write)
        text_flush(text);
    free(text->data);
    text->data = NULL;
    return text->error;
}

/* Not inlined: see io/sys.h. */
static __attribute__((noinline)) ssize_t write_some(int fd, const char *data, size_t size)
{
    ssize_t n = write(fd, data, size);

    return n < 0 ? -errno : n;
}

int text_write_fd(const char *data, size_t size, void *arg)
{
    const int *fd = arg;

    while (size > 0) {
        ssize_t n = write_some(*fd, data, size);

        if (n < 0 && n != -EINTR)
            return (int)n;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return 0;
}
