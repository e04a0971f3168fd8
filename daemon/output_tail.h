/* SPDX-License-Identifier: MIT */
/*
 * output_tail: the last bytes of a stream, in a folder of segments that are each named by the offset
 * of its first byte.
 *
 *   17.1.out/6291456    full, the oldest
 *   17.1.out/8388608    …
 *   17.1.out/20971520   being written
 *
 * I1  A segment is only ever appended to, and removed as a whole: byte p of segment s is byte s + p
 *     of the stream, whoever reads it and whenever.  So a reader may miss bytes, and never takes one
 *     for another; and what a killed weftd leaves is readable as it is.
 * I2  The oldest goes before the next is begun: all together never exceed the cap.  Once the stream is
 *     longer than that, at least its last 7/8 of the cap are there (half of a cap below 32 KiB).
 * I3  A segment is begun when the one before is full, or after a gap in the stream; so of two that
 *     are neighbours in a listing, the second begins where the first ends unless bytes are gone.
 *
 * All calls block.  Reading: any thread, beside the one that writes.  Private to output.c.
 */
#pragma once

#include "daemon/output.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { OUTPUT_SEGMENTS = 8, OUTPUT_LISTED_MAX = 4 * OUTPUT_SEGMENTS };

/* Being written.  Its user's alone. */
struct output_tail {
    int folder; /* of the segments */
    int fd;     /* of the newest; -1: none */
    unsigned most, count;
    uint64_t size;                   /* most bytes of one */
    uint64_t at;                     /* the offset of the next byte */
    uint64_t end;                    /* where the newest is full */
    uint64_t first[OUTPUT_SEGMENTS]; /* of those that are there, the oldest first */
};

/* folder is taken over.  cap: at least 1. */
void output_tail_init(struct output_tail *tail, int folder, uint64_t cap);
/* Errors: the file's; bytes from tail->at on were not written. */
int output_tail_write(struct output_tail *tail, const char *data, size_t size);
/* Errors: close(2)'s. */
int output_tail_close(struct output_tail *tail);

/* Up to limit bytes from offset, or from the first one behind it that is kept.  Errors: -ENOMEM, the
 * files'; chunk->data is the caller's either way. */
int output_tail_read(int folder, uint64_t offset, size_t limit, struct output_chunk *chunk);

/* The folder with all that is in it. */
int output_tail_remove(int parent, const char *name);

/* The first offsets of the segments, in order.  Of more than there is room for, which a writer in a
 * hurry can bring about, those in front.  Errors: the folder's. */
struct output_listing {
    uint64_t first[OUTPUT_LISTED_MAX];
    size_t count;
};
int output_tail_list(int folder, struct output_listing *listing);

/* A segment, for reading.  Errors: -ENOENT it is gone, open(2)'s. */
int output_tail_open(int folder, uint64_t first);

/* Nothing is appended to fd any more (output.h, I4).  Best effort: else a reader is told later. */
void output_seal(int fd);

/* pread(2), all of size unless the file ends before.  Returns: bytes. */
ssize_t output_read_at(int fd, char *to, size_t size, uint64_t at);
