/* SPDX-License-Identifier: MIT */
/*
 * Byte streams: try the system call, wait on EAGAIN, try again.
 *
 *   I1  The scope is asked before anything is taken or sent, and again by each wait; between a
 *       system call that moved bytes and the return that reports them there is no way out.  So a
 *       cancel loses no byte.
 *   I2  No SIGPIPE, on sockets (MSG_NOSIGNAL) nor on pipes (sys_write).
 *   I3  A stream with a layer (TLS) does all of this by the layer's class; plain ones pay one
 *       predicted branch for it, inside the side, where the layer cannot change.
 *   I4  A read that fills less than it could has emptied a TCP socket, unless urgent data stands in
 *       the way; what comes later makes another edge, and so does an end.  So the next read waits
 *       at once instead of being told -EAGAIN first, unless an event has told of urgent data, an
 *       end or an error, behind which no further edge need come.  (Not so a Unix socket, where a
 *       read also ends at a message with descriptors.)
 *
 * For fibers.  It does no buffering and splits no lines.  A fiber whose peer always has something
 * is not interrupted here: giving way is the scheduler's affair.
 */
#include "io/stream/stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/time.h"

int weft_stream_new(int fd, struct weft_stream **ret_stream)
{
    int is_socket = sys_is_socket(fd);
    if (is_socket < 0)
        return is_socket;
    struct weft_descriptor *descriptor;
    int r = weft_descriptor_new(fd, &descriptor);
    if (r < 0)
        return r;
    descriptor->kind = is_socket ? WATCH_SOCKET : WATCH_PLAIN;
    *ret_stream = stream_of(descriptor);
    return 0;
}

int stream_adopt_socket(int fd, enum watch_kind kind, struct weft_stream **ret_stream)
{
    struct weft_descriptor *descriptor;
    int r = descriptor_adopt(fd, kind, &descriptor);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_stream = stream_of(descriptor);
    return 0;
}

void weft_stream_free(struct weft_stream *stream)
{
    weft_descriptor_free(stream_descriptor(stream));
}

int weft_stream_fd(const struct weft_stream *stream)
{
    return weft_descriptor_fd((const struct weft_descriptor *)(const void *)stream);
}

/* ---- reading and writing ---------------------------------------------------------------- */

ssize_t stream_try_read(const struct weft_descriptor *descriptor, void *buffer, size_t size)
{
    if (descriptor->kind != WATCH_PLAIN)
        return sys_recv(descriptor->fd, buffer, size);
    return sys_read(descriptor->fd, buffer, size);
}

ssize_t stream_try_write(const struct weft_descriptor *descriptor, const void *data, size_t size)
{
    if (descriptor->kind != WATCH_PLAIN)
        return sys_send(descriptor->fd, data, size);
    return sys_write(descriptor->fd, data, size);
}

int stream_enter(struct weft_descriptor *descriptor, enum watch_side side)
{
    int r = weft_check_cancel();
    return r < 0 ? r : descriptor_enter(descriptor, side);
}

ssize_t weft_read(struct weft_stream *stream, void *buffer, size_t size)
{
    struct weft_descriptor *descriptor = stream_descriptor(stream);
    int r = stream_enter(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    if (unlikely(descriptor->layer))
        return descriptor->layer->class->read(descriptor, buffer, size);
    ssize_t n =
        descriptor_is_drained(descriptor) ? -EAGAIN : stream_try_read(descriptor, buffer, size);
    while (n == -EAGAIN) {
        r = descriptor_await(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
        n = stream_try_read(descriptor, buffer, size);
    }
    if (descriptor->kind == WATCH_TCP && n > 0 && (size_t)n < size)
        descriptor_leave_drained(descriptor); /* I4 */
    else
        descriptor_leave(descriptor, WATCH_READ);
    return n;
}

/* Between enter and leave; *written grows with each piece that went out.  On an error of
 * descriptor_await the side is left already, which *left tells. */
static int write_all(struct weft_descriptor *descriptor, const char *data, size_t size,
                     size_t *written, bool *left)
{
    while (*written < size) {
        ssize_t n = stream_try_write(descriptor, data + *written, size - *written);
        if (n >= 0) {
            *written += (size_t)n;
            continue;
        }
        if (n != -EAGAIN)
            return (int)n;
        int r = descriptor_await(descriptor, WATCH_WRITE, WEFT_NO_DEADLINE);
        if (r < 0) {
            *left = true;
            return r;
        }
    }
    return 0;
}

int weft_write(struct weft_stream *stream, const void *data, size_t size, size_t *ret_written)
{
    struct weft_descriptor *descriptor = stream_descriptor(stream);
    size_t written = 0;
    bool left = false;
    int r = stream_enter(descriptor, WATCH_WRITE);
    if (r == 0 && unlikely(descriptor->layer)) {
        r = descriptor->layer->class->write(descriptor, data, size, &written);
    } else if (r == 0) {
        r = write_all(descriptor, data, size, &written, &left);
        if (!left)
            descriptor_leave(descriptor, WATCH_WRITE);
    }
    if (ret_written)
        *ret_written = written;
    return r;
}

/* ---- gathering ---------------------------------------------------------------------------- */

enum { WINDOW = 64 }; /* pieces that one system call gets */

/* Where a gathered write has come to. */
struct gather {
    const struct iovec *pieces; /* the first is the one to go on with */
    int count;
    size_t offset; /* in the first one */
};

static int gather_window(const struct gather *gather, struct iovec window[WINDOW])
{
    int count = gather->count < WINDOW ? gather->count : WINDOW;
    memcpy(window, gather->pieces, (size_t)count * sizeof(*window));
    window[0].iov_base = (char *)window[0].iov_base + gather->offset;
    window[0].iov_len -= gather->offset;
    return count;
}

static void gather_advance(struct gather *gather, size_t size)
{
    gather->offset += size;
    while (gather->count > 0 && gather->offset >= gather->pieces->iov_len) {
        gather->offset -= gather->pieces->iov_len;
        gather->pieces++;
        gather->count--;
    }
}

/* As write_all. */
static int gather_write(struct weft_descriptor *descriptor, struct gather *gather, size_t *written,
                        bool *left)
{
    struct iovec window[WINDOW];
    while (gather->count > 0) {
        int count = gather_window(gather, window);
        ssize_t n = descriptor->kind != WATCH_PLAIN ? sys_sendv(descriptor->fd, window, count)
                                                    : sys_writev(descriptor->fd, window, count);
        if (n >= 0) {
            *written += (size_t)n;
            gather_advance(gather, (size_t)n);
            continue;
        }
        if (n != -EAGAIN)
            return (int)n;
        int r = descriptor_await(descriptor, WATCH_WRITE, WEFT_NO_DEADLINE);
        if (r < 0) {
            *left = true;
            return r;
        }
    }
    return 0;
}

/* A layer takes piece by piece. */
static int write_pieces(struct weft_stream *stream, struct gather *gather, size_t *written)
{
    for (; gather->count > 0; gather->pieces++, gather->count--) {
        size_t once = 0;
        int r = weft_write(stream, gather->pieces->iov_base, gather->pieces->iov_len, &once);
        *written += once;
        if (r < 0)
            return r;
    }
    return 0;
}

static bool pieces_valid(const struct iovec *pieces, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        if (__builtin_add_overflow(total, pieces[i].iov_len, &total))
            return false;
    return count >= 0 && total <= SSIZE_MAX;
}

static int writev_entered(struct weft_stream *stream, struct gather *gather, size_t *written)
{
    struct weft_descriptor *descriptor = stream_descriptor(stream);
    bool left = false;
    if (unlikely(descriptor->layer)) {
        descriptor_leave(descriptor, WATCH_WRITE);
        return write_pieces(stream, gather, written);
    }
    gather_advance(gather, 0); /* past empty pieces: what is left is not empty */
    int r = gather_write(descriptor, gather, written, &left);
    if (!left)
        descriptor_leave(descriptor, WATCH_WRITE);
    return r;
}

int weft_writev(struct weft_stream *stream, const struct iovec *pieces, int count,
                size_t *ret_written)
{
    struct gather gather = {.pieces = pieces, .count = count};
    size_t written = 0;
    int r = pieces_valid(pieces, count) ? stream_enter(stream_descriptor(stream), WATCH_WRITE)
                                        : -EINVAL;
    if (r == 0)
        r = writev_entered(stream, &gather, &written);
    if (ret_written)
        *ret_written = written;
    return r;
}

/* ---- the rest ----------------------------------------------------------------------------- */

int weft_stream_wait_readable(struct weft_stream *stream, uint64_t deadline_ns)
{
    struct weft_descriptor *descriptor = stream_descriptor(stream);
    int r = stream_enter(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    if (unlikely(descriptor->layer))
        return descriptor->layer->class->wait_readable(descriptor, deadline_ns);
    while ((r = sys_poll_now(descriptor->fd, POLLIN | POLLRDHUP)) == 0) {
        r = descriptor_await(descriptor, WATCH_READ, deadline_ns);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    return r < 0 ? r : 0;
}

int weft_stream_shutdown_write(struct weft_stream *stream)
{
    struct weft_descriptor *descriptor = stream_descriptor(stream);
    if (likely(!descriptor->layer))
        return sys_shutdown_write(descriptor->fd);
    int r = stream_enter(descriptor, WATCH_WRITE);
    return r < 0 ? r : descriptor->layer->class->shutdown_write(descriptor);
}

int weft_stream_peer(struct weft_stream *stream, struct weft_peer *ret_peer)
{
    int domain;
    int r = sys_socket_option(weft_stream_fd(stream), SO_DOMAIN, &domain);
    if (r < 0)
        return r;
    if (domain != AF_UNIX)
        return -EOPNOTSUPP; /* the kernel would answer pid 0, uid -1 */
    struct ucred peer;
    r = sys_peer(weft_stream_fd(stream), &peer);
    if (r < 0)
        return r;
    *ret_peer = (struct weft_peer){.pid = peer.pid, .uid = peer.uid, .gid = peer.gid};
    return 0;
}
