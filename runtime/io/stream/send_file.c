/* SPDX-License-Identifier: MIT */
/*
 * Sending a file over a stream.
 *
 *   I1  A worker does not wait for the disk: a piece that is not all in the page cache is sent by
 *       the offload pool.  Only its first and last page are asked for; the kernel reads ahead in
 *       such pieces, and a page that was evicted from between costs time, not correctness.
 *   I2  While a piece is sent, by whomever, the fiber is inside the stream's write side: the
 *       descriptor stays open, and nobody's bytes come between.
 *   I3  sendfile(2) has no flag against waiting, so it is used only where the open file says
 *       O_NONBLOCK.  That, a layer (TLS) and a file system that refuses make the bytes go through
 *       memory; then other writers are not kept out between two pieces.
 *
 * For fibers.  It neither uses nor moves the file's position.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/offload.h"
#include "weft/time.h"

enum { PIECE = 128 * 1024 }; /* the kernel's readahead window */

/* A transfer under way, and the system call that it is about to make. */
struct transfer {
    struct weft_stream *stream;
    int out, in;
    off_t offset;
    size_t left; /* SIZE_MAX and less: bytes that may still be sent */
    size_t sent;
    char *buffer; /* of PIECE bytes, when they go through memory */
    ssize_t result;
};

static size_t piece_size(const struct transfer *transfer)
{
    return transfer->left < PIECE ? transfer->left : PIECE;
}

static void transfer_advance(struct transfer *transfer, size_t size)
{
    transfer->offset += (off_t)size;
    transfer->left -= size;
    transfer->sent += size;
}

static int call_sendfile(void *arg)
{
    struct transfer *transfer = arg;
    off_t offset = transfer->offset;
    transfer->result = sys_sendfile(transfer->out, transfer->in, &offset, piece_size(transfer));
    return 0;
}

static int call_pread(void *arg)
{
    struct transfer *transfer = arg;
    transfer->result =
        sys_pread(transfer->in, transfer->buffer, piece_size(transfer), transfer->offset);
    return 0;
}

/* Make the call, off the worker unless the next piece is in memory (I1).
 * Returns: the call's result.  Errors: also -ECANCELED, -ETIMEDOUT; it was not made then. */
static ssize_t transfer_call(struct transfer *transfer, int (*call)(void *))
{
    off_t last = transfer->offset + (off_t)piece_size(transfer) - 1;
    if (sys_is_cached(transfer->in, transfer->offset) && sys_is_cached(transfer->in, last)) {
        call(transfer);
        return transfer->result;
    }
    int r = weft_offload(call, transfer, NULL);
    if (r == -EAGAIN) /* no thread can be had: late is better than not at all */
        r = call(transfer);
    return r < 0 ? r : transfer->result;
}

/* ---- by the kernel ------------------------------------------------------------------------ */

/* Inside the write side.  Returns: 0 all is sent, or the file has ended; 1 this file or stream
 * cannot do it, and nothing was sent.  On an error, *left tells whether the side was left. */
static int send_directly(struct weft_descriptor *descriptor, struct transfer *transfer, bool *left)
{
    while (transfer->left > 0) {
        int r = weft_check_cancel();
        if (r < 0)
            return r;
        ssize_t n = transfer_call(transfer, call_sendfile);
        if (n == -EAGAIN) {
            r = descriptor_await(descriptor, WATCH_WRITE, WEFT_NO_DEADLINE);
            *left = r < 0;
            if (r < 0)
                return r;
            continue;
        }
        if ((n == -EINVAL || n == -ENOSYS) && transfer->sent == 0)
            return 1;
        if (n <= 0)
            return (int)n;
        transfer_advance(transfer, (size_t)n);
    }
    return 0;
}

/* As send_directly. */
static int try_directly(struct transfer *transfer)
{
    struct weft_descriptor *descriptor = stream_descriptor(transfer->stream);
    bool left = false;
    int r = stream_enter(descriptor, WATCH_WRITE);
    if (r < 0)
        return r;
    int flags = descriptor->layer ? 0 : sys_get_flags(transfer->out);
    r = flags >= 0 && flags & O_NONBLOCK ? send_directly(descriptor, transfer, &left) : 1; /* I3 */
    if (!left)
        descriptor_leave(descriptor, WATCH_WRITE);
    return r;
}

/* ---- through memory -------------------------------------------------------------------------- */

static int copy_pieces(struct transfer *transfer)
{
    while (transfer->left > 0) {
        size_t written;
        ssize_t n = transfer_call(transfer, call_pread);
        if (n <= 0)
            return (int)n;
        int r = weft_write(transfer->stream, transfer->buffer, (size_t)n, &written);
        transfer_advance(transfer, written);
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_by_copying(struct transfer *transfer)
{
    transfer->buffer = malloc(PIECE);
    if (!transfer->buffer)
        return -ENOMEM;
    int r = copy_pieces(transfer);
    free(transfer->buffer);
    return r;
}

static int transfer_run(struct transfer *transfer, size_t size)
{
    int r = sys_is_regular(transfer->in);
    if (r <= 0)
        return r < 0 ? r : -EINVAL;
    r = try_directly(transfer);
    if (r > 0)
        r = send_by_copying(transfer);
    if (r == 0 && transfer->left > 0 && size != WEFT_TO_END)
        return -ENODATA;
    return r;
}

int weft_stream_send_file(struct weft_stream *stream, int fd, off_t offset, size_t size,
                          size_t *ret_sent)
{
    struct transfer transfer = {
        .stream = stream,
        .out = weft_stream_fd(stream),
        .in = fd,
        .offset = offset,
        .left = size,
    };
    int r = offset < 0 || offset > INT64_MAX - PIECE ? -EINVAL : transfer_run(&transfer, size);
    if (ret_sent)
        *ret_sent = transfer.sent;
    return r;
}
