/* SPDX-License-Identifier: MIT */
/* Incremental newline framer: bytes in, whole lines out, with a hard limit on a line's length.
 * Use from one thread at a time.  See framer.c for the invariants. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define FRAMER_LINE_MAX_DEFAULT ((size_t)1 << 20)

struct framer {
    char *buffer;    /* heap; NULL until the first bytes arrive */
    size_t capacity; /* bytes allocated */
    size_t start;    /* first byte not yet handed out */
    size_t scanned;  /* [start, scanned) is known to hold no newline */
    size_t end;      /* one past the last byte received */
    size_t line_max; /* longest line accepted, without its "\n" or "\r\n" */
    bool skipping;   /* set while the rest of a refused line is being dropped */
};

/* Empty framer in the caller's memory; allocates nothing.  line_max 0 means the default. */
void framer_init(struct framer *framer, size_t line_max);
void framer_destroy(struct framer *framer);

/* Copy size bytes in.  Invalidates every line handed out before.
 * Errors: -ENOMEM (nothing was taken). */
int framer_feed(struct framer *framer, const void *bytes, size_t size);

/* Without the copy: room for at least size_min bytes (> 0) to read(2) into, then say how many
 * came.  Invalidates every line handed out before; commit(0) after a failed read is fine.
 * Errors: -ENOMEM. */
int framer_reserve(struct framer *framer, size_t size_min, char **ret_space, size_t *ret_size);
void framer_commit(struct framer *framer, size_t size);

/* The next whole line, without its newline, with a NUL behind it (it may hold NULs itself), inside
 * the framer's buffer: it may be written to, and stays until the next feed or reserve.  Empty lines
 * are passed over.  Call until it returns 0 before feeding more, or the buffer grows.
 * Returns: 1 a line, 0 more bytes are needed.
 * Errors:  -EMSGSIZE once for each line over the limit, as soon as that is known; the rest of that
 *          line is dropped and the next call goes on: the connection stays good. */
int framer_next(struct framer *framer, char **ret_line, size_t *ret_size);

/* At end of file, after framer_next() returned 0: the last line, if it came without its newline.
 * Returns: 1 a line, 0 none. */
int framer_finish(struct framer *framer, char **ret_line, size_t *ret_size);

/* Bytes of a line that has begun and not ended (also of one that is being dropped): what a
 * partial-line timeout must watch.  Meaningful after framer_next() returned 0. */
bool framer_is_partial(const struct framer *framer);
