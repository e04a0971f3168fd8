/* SPDX-License-Identifier: MIT */
/*
 * A buffered reader over a stream, a file or a function.  One fiber uses it at a time.
 *
 * No call loses a byte: what was read when a call fails (cancelled, timed out, too long, the end
 * came too early) is kept, and the same or another call finds it.  How long a call may take is
 * its scope's affair.  Data that a call returns by pointer is the reader's: it is valid until the
 * next call on the same reader.
 *
 *     const char *line;
 *     size_t size;
 *     int r;
 *     while ((r = weft_reader_next_line(&reader, &line, &size)) > 0)
 *         use(line);
 *
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_READER_H
#define WEFT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_file;
struct weft_stream;

/** The longest record that a reader returns unless told otherwise, in bytes. */
#define WEFT_READER_LIMIT ((size_t)64 * 1024)

/* Caller-owned.  Its content is private. */
struct weft_reader {
    uint64_t opaque[12];
};

/** Read from `stream`, which is borrowed until the reader's end.  Never suspends. */
void weft_reader_init(struct weft_reader *reader, struct weft_stream *stream);

/** Read from `file`, from its position on; borrowed until the reader's end.  Never suspends. */
void weft_reader_init_file(struct weft_reader *reader, struct weft_file *file);

/**
 * Read from a function: it puts up to size bytes, one at least, into buffer and returns how many,
 * 0 at the end, or -errno, which the reader passes on.  It may suspend.  Never suspends itself.
 */
void weft_reader_init_function(struct weft_reader *reader,
                               ssize_t (*read)(void *arg, void *buffer, size_t size), void *arg);

/** Free the buffer and what is in it; not the source.  Never suspends. */
void weft_reader_destroy(struct weft_reader *reader);

/** The longest record from now on, its separator included.  Never suspends. */
void weft_reader_set_limit(struct weft_reader *reader, size_t limit);

/** Bytes that are there already.  Never suspends. */
size_t weft_reader_buffered(const struct weft_reader *reader);

/** Whether the source has said that it is at its end, and nothing is left.  Never suspends. */
bool weft_reader_at_end(const struct weft_reader *reader);

/**
 * Read up to size bytes: those that are there, else what the source gives next.
 * Returns: bytes read, 0 at the end.
 * Errors:  the source's (weft_read's), -ENOMEM.
 */
ssize_t weft_reader_read(struct weft_reader *reader, void *buffer, size_t size);

/**
 * Read exactly size bytes, however many.  Returns: 0.
 * Errors: -ENODATA the end came before; as after each error, nothing was taken: what there was is
 *         still to be read, weft_reader_buffered tells how much.  The source's, -ENOMEM.
 */
int weft_reader_readexactly(struct weft_reader *reader, void *buffer, size_t size);

/**
 * Read up to and including the next `separator`, of `separator_size` bytes.  *ret_data ends with
 * the separator, and with a null byte that does not count.
 * Returns: bytes, with the separator; 0 at the end.
 * Errors:  -ENODATA the end came before a separator, -EMSGSIZE there is none within the limit
 *          (raise the limit or skip the record), -EINVAL an empty separator, the source's, -ENOMEM.
 */
ssize_t weft_reader_readuntil(struct weft_reader *reader, const void *separator,
                              size_t separator_size, const char **ret_data);

/** Read a line with its "\n".  The last line may lack it.  Otherwise as weft_reader_readuntil. */
ssize_t weft_reader_readline(struct weft_reader *reader, const char **ret_line);

/**
 * Read a line without its "\n" or "\r\n": what a loop over lines calls.
 * Returns: 1 a line, which ends with a null byte; `ret_size` (may be NULL) is its length.  0 at the
 *          end.
 * Errors:  as weft_reader_readline.
 */
int weft_reader_next_line(struct weft_reader *reader, const char **ret_line, size_t *ret_size);

/**
 * Drop everything up to and including the next `separator`, however far.  After an error, call it
 * again: what was dropped is dropped.
 * Returns: 1; 0 the end came before, and everything up to there was dropped.
 * Errors:  -EINVAL an empty separator, the source's, -ENOMEM.
 */
int weft_reader_skip_until(struct weft_reader *reader, const void *separator,
                           size_t separator_size);

/** Drop the rest of the line.  Otherwise as weft_reader_skip_until. */
int weft_reader_skip_line(struct weft_reader *reader);

/**
 * Read all up to the end, `max` bytes at most.  *ret_data gets a null byte behind its end, which
 * does not count.  Ownership: the caller frees *ret_data with free().
 * Errors: -EFBIG there is more, the source's, -ENOMEM.
 */
int weft_reader_read_all(struct weft_reader *reader, size_t max, char **ret_data, size_t *ret_size);

/**
 * Wait until size bytes are there, and look at all that are without taking any.
 * Returns: how many *ret_data has: size or more; less only when the end came before; 0 at the end.
 * Errors:  -EMSGSIZE size is beyond the limit, the source's, -ENOMEM.
 */
ssize_t weft_reader_peek(struct weft_reader *reader, size_t size, const char **ret_data);

/** Take `size` bytes that are there (weft_reader_buffered).  Never suspends. */
void weft_reader_consume(struct weft_reader *reader, size_t size);

#ifdef __cplusplus
}
#endif
#endif
