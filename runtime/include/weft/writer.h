/* SPDX-License-Identifier: MIT */
/*
 * A buffered writer over a stream, a file or a function.  One fiber uses it at a time.
 *
 * What is written is gathered until more than the high mark (64 KiB) is there, and sent then: by
 * weft_writer_write by itself, after weft_writer_put by weft_writer_drain.  The rest goes out by
 * weft_writer_flush.
 *
 * Each call takes its data whole, or, on -ENOMEM and when the writer has failed already, not at
 * all.  A call that was cancelled or timed out while it sent leaves what was not sent in the
 * buffer, each byte once, and the next call goes on with it: do not write the same data again.
 * Any other error of the target sticks: further calls return it, until weft_writer_clear_error.
 *
 * The order of an end: weft_writer_close (flush, and free the buffer), weft_stream_shutdown_write
 * if the peer still has something to say, weft_stream_free.
 *
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_WRITER_H
#define WEFT_WRITER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_file;
struct weft_stream;

/** The high mark of a writer unless told otherwise, in bytes. */
#define WEFT_WRITER_HIGH ((size_t)64 * 1024)

/* Caller-owned.  Its content is private. */
struct weft_writer {
    uint64_t opaque[12];
};

/** Write to `stream`, which is borrowed until the writer's end.  Never suspends. */
void weft_writer_init(struct weft_writer *writer, struct weft_stream *stream);

/** Write to `file` at its position; borrowed until the writer's end.  Never suspends. */
void weft_writer_init_file(struct weft_writer *writer, struct weft_file *file);

/**
 * Write to a function: it takes all of data, or returns -errno and sets *ret_written, which is 0
 * before, to how much it took.  It may suspend.  Never suspends itself.
 */
void weft_writer_init_function(struct weft_writer *writer,
                               int (*write)(void *arg, const void *data, size_t size,
                                            size_t *ret_written),
                               void *arg);

/** Flush, then free the buffer whatever came of it; what was not sent is dropped.  The target
 * stays open.  Returns: 0.  Errors: as weft_writer_flush. */
int weft_writer_close(struct weft_writer *writer);

/** Free the buffer and what is in it; not the target.  Never suspends. */
void weft_writer_destroy(struct weft_writer *writer);

/** Send when more than `high` bytes are there (0: each write at once), until no more than `low`
 * are left, at most `high`; at first WEFT_WRITER_HIGH and 0.  Never suspends. */
void weft_writer_set_marks(struct weft_writer *writer, size_t low, size_t high);

/** Bytes that were taken and not sent yet.  Never suspends. */
size_t weft_writer_buffered(const struct weft_writer *writer);

/** The error that sticks, or 0.  Never suspends. */
int weft_writer_error(const struct weft_writer *writer);

/** Forget it: the next call tries again to send what is there (the disk has room now).  Never
 * suspends. */
void weft_writer_clear_error(struct weft_writer *writer);

/** Take data; send if there is more than the high mark now.  What is larger than the high mark is
 * sent without being copied.  Returns: 0.  Errors: -ENOMEM, and the target's (weft_write's). */
int weft_writer_write(struct weft_writer *writer, const void *data, size_t size);

/** As weft_writer_write for `count` pieces, in order.  Errors: also -EINVAL count < 0. */
int weft_writer_writev(struct weft_writer *writer, const struct iovec *pieces, int count);

/** As weft_writer_write for formatted text.  Errors: also -EINVAL printf(3) refuses it. */
__attribute__((format(printf, 2, 3))) int weft_writer_printf(struct weft_writer *writer,
                                                             const char *format, ...);
__attribute__((format(printf, 2, 0))) int
weft_writer_vprintf(struct weft_writer *writer, const char *format, va_list arguments);

/** Take data, and send nothing: the buffer grows as it must, until weft_writer_drain.  Never
 * suspends.  Errors: -ENOMEM, and the error that sticks. */
int weft_writer_put(struct weft_writer *writer, const void *data, size_t size);

/** If more than the high mark is there, send until no more than the low mark is left.
 * Returns: 0.  Errors: the target's. */
int weft_writer_drain(struct weft_writer *writer);

/** Send all that is there.  Returns: 0.  Errors: the target's. */
int weft_writer_flush(struct weft_writer *writer);

#ifdef __cplusplus
}
#endif
#endif
