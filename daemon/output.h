/* SPDX-License-Identifier: MIT */
/*
 * output: what programs wrote, in files.
 *
 * STATE/output/<id / 1000>/<id>.<attempt>.out and .err, one file per stream and attempt, created
 * at the first byte (a silent program leaves no file).  Written by the run of that attempt only;
 * read by anybody at any time, by offset.  Where the tail is kept it is a folder: output_tail.h.
 *
 * I1  What is kept of a stream never exceeds the cap.  Its head is: what comes behind it is read from
 *     the pipe and dropped, so the program never blocks on us.  How much was dropped is kept beside
 *     the file, in <id>.<attempt>.out.dropped, and told to whoever reads to the end.  Or its tail is:
 *     then what was written first goes first, and whoever asks for it is told of the gap.
 * I2  Trouble with the file (ENOSPC, EIO) never disturbs the program: the rest is dropped and
 *     the error is reported by output_close().
 * I3  Not fsynced: output survives a killed weftd, and may miss its tail after a power cut.
 * I4  A file is only ever appended to.  When nothing will be, its mode has no write bit any more:
 *     who has only its descriptor (output_share) sees by that that it is complete.  What a killed
 *     weftd left keeps its bit.
 *
 * All calls: from a fiber, may suspend; file I/O goes through weft_offload.  But output_store_new()
 * and output_store_free(): any thread, and new blocks shortly.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum output_stream { OUTPUT_STDOUT, OUTPUT_STDERR, OUTPUT_STREAM_COUNT };

struct output_store; /* the folder */
struct output;       /* one stream of one attempt, being written */

/* Errors: -EACCES, -EROFS, …: the folder cannot be made or written.  state_dir is copied. */
int output_store_new(const char *state_dir, struct output_store **ret_store);
void output_store_free(struct output_store *store);

/* Of a stream that is longer than the cap. */
enum output_keep { OUTPUT_KEEP_HEAD, OUTPUT_KEEP_TAIL };

struct output_limit {
    uint64_t cap;
    enum output_keep keep;
};

/* Start a stream; files of the same attempt from an interrupted run are replaced.  Trouble with
 * those is I2's.  Errors: -ENOMEM. */
int output_open(struct output_store *store, uint64_t id, uint32_t attempt,
                enum output_stream stream, const struct output_limit *limit,
                struct output **ret_output);

/* Append; never fails for the file's sake (I1, I2).  Shielded. */
void output_write(struct output *output, const void *data, size_t size);

struct output_summary {
    uint64_t written; /* bytes that went to files; of a tail, those that are gone again too */
    uint64_t dropped; /* bytes behind these: over the cap, or after an error */
    int err;          /* I2: first -errno, or 0 */
};

/* Shielded.  Frees output. */
void output_close(struct output *output, struct output_summary *ret_summary);

/* One piece of a stream. */
struct output_chunk {
    char *data; /* malloc'ed, the caller's; NULL if size is 0 */
    size_t size;
    uint64_t gap;     /* bytes from the offset on that are not kept any more; data is behind them */
    uint64_t next;    /* offset to ask for next */
    bool at_end;      /* nothing behind it now; it is eof only if the attempt is over too */
    uint64_t dropped; /* at_end, and the attempt is over: bytes that were written behind the last
                       * one and not kept; else 0 */
};

/* Read up to limit bytes from offset.  No file is an empty stream.  An offset behind the end gives
 * size 0 with next = offset.  A gap is told before what is behind it, never after data, so that data
 * is always one piece of the stream.  Errors: the file's. */
int output_read(struct output_store *store, uint64_t id, uint32_t attempt,
                enum output_stream stream, uint64_t offset, size_t limit,
                struct output_chunk *ret_chunk);

/* A file of a stream, for somebody else to read. */
struct output_share {
    int fd;           /* of a regular file, read-only, the caller's; -1: there is none now */
    uint64_t begin;   /* the offset of its first byte */
    uint64_t gap;     /* bytes from the offset asked for on that are not kept any more */
    bool at_end;      /* no file follows it now */
    uint64_t dropped; /* as in a chunk */
};

/* Open, anew and for reading only, the file that holds offset, or the first one behind it that is
 * kept.  None is opened in which nothing is behind offset nor will be; is_over: the attempt is, so
 * nothing will be.  Errors: the file's. */
int output_share(struct output_store *store, uint64_t id, uint32_t attempt,
                 enum output_stream stream, uint64_t offset, bool is_over,
                 struct output_share *ret_share);

/* Drop the files of all attempts up to `attempt`.  No file is fine. */
int output_remove(struct output_store *store, uint64_t id, uint32_t attempt);

/* Drop every file of these jobs, which lie in one folder; ids in order. */
int output_remove_all(struct output_store *store, const uint64_t *ids, size_t count);

/* The folders of output, in no order; and the jobs that have files in one, in order of id.  Names
 * that are not ours are passed over.  The arrays are the caller's.  Errors: -ENOMEM, the system's. */
int output_folders(struct output_store *store, uint64_t **ret_folders, size_t *ret_count);
int output_jobs(struct output_store *store, uint64_t folder, uint64_t **ret_ids, size_t *ret_count);
