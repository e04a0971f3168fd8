/* SPDX-License-Identifier: MIT */
/* Text that is put together piece by piece, kept or handed to a writer as it grows. */
#ifndef RUNTIME_OBSERVE_TEXT_H
#define RUNTIME_OBSERVE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef int text_writer(const char *text, size_t size, void *arg);

/* All zeroes is an empty text that is kept.  The first error is remembered, and what is added after
 * it is dropped. */
struct text {
    char *data; /* ends in a zero once something was added */
    size_t size, capacity;
    int error;          /* 0, -ENOMEM, or the writer's */
    text_writer *write; /* NULL: the text is kept */
    void *arg;
};

__attribute__((format(printf, 2, 3))) void text_add(struct text *text, const char *format, ...);

/** Hand what is left to the writer, free, and return the error, if any, else 0. */
int text_end(struct text *text);

/** A writer to the descriptor *arg, an int; blocks. */
int text_write_fd(const char *data, size_t size, void *arg);

#endif
