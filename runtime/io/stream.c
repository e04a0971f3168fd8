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
 *
 * For fibers.  It does no buffering and splits no lines.  A fiber whose peer always has something
 * is not interrupted here: giving way is the scheduler's affair.
 */
#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/address.h"
#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/time.h"

static struct weft_descriptor *descriptor_of(struct weft_stream *stream)
{
    return (struct weft_descriptor *)(void *)stream;
}

static struct weft_stream *stream_of(struct weft_descriptor *descriptor)
{
    return (struct weft_stream *)(void *)descriptor;
}

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

int stream_adopt_socket(int fd, struct weft_stream **ret_stream)
{
    struct weft_descriptor *descriptor;
    int r = descriptor_adopt(fd, WATCH_SOCKET, &descriptor);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_stream = stream_of(descriptor);
    return 0;
}

void weft_stream_free(struct weft_stream *stream)
{
    weft_descriptor_free(descriptor_of(stream));
}

int weft_stream_fd(const struct weft_stream *stream)
{
    return weft_descriptor_fd((const struct weft_descriptor *)(const void *)stream);
}

/* ---- reading and writing ---------------------------------------------------------------- */

ssize_t stream_try_read(const struct weft_descriptor *descriptor, void *buffer, size_t size)
{
    if (descriptor->kind == WATCH_SOCKET)
        return sys_recv(descriptor->fd, buffer, size);
    return sys_read(descriptor->fd, buffer, size);
}

ssize_t stream_try_write(const struct weft_descriptor *descriptor, const void *data, size_t size)
{
    if (descriptor->kind == WATCH_SOCKET)
        return sys_send(descriptor->fd, data, size);
    return sys_write(descriptor->fd, data, size);
}

/* The scope, then the side: what every call here begins with. */
static int stream_begin(struct weft_descriptor *descriptor, enum watch_side side)
{
    int r = weft_check_cancel();
    return r < 0 ? r : descriptor_enter(descriptor, side);
}

ssize_t weft_read(struct weft_stream *stream, void *buffer, size_t size)
{
    struct weft_descriptor *descriptor = descriptor_of(stream);
    int r = stream_begin(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    if (unlikely(descriptor->layer))
        return descriptor->layer->class->read(descriptor, buffer, size);
    ssize_t n;
    while ((n = stream_try_read(descriptor, buffer, size)) == -EAGAIN) {
        r = descriptor_await(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
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
    struct weft_descriptor *descriptor = descriptor_of(stream);
    size_t written = 0;
    bool left = false;
    int r = stream_begin(descriptor, WATCH_WRITE);
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

int weft_stream_wait_readable(struct weft_stream *stream, uint64_t deadline_ns)
{
    struct weft_descriptor *descriptor = descriptor_of(stream);
    int r = stream_begin(descriptor, WATCH_READ);
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
    struct weft_descriptor *descriptor = descriptor_of(stream);
    if (likely(!descriptor->layer))
        return sys_shutdown_write(descriptor->fd);
    int r = stream_begin(descriptor, WATCH_WRITE);
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

/* ---- connecting ------------------------------------------------------------------------- */

enum { CONNECT_RETRY_MIN_NS = 500 * 1000, CONNECT_RETRY_MAX_NS = 50 * 1000 * 1000 };

/* A Unix listener whose queue is full says EAGAIN and nothing ever tells when there is room, so
 * this asks again, less and less often. */
static int connect_local(int fd, const struct address *address, uint64_t deadline_ns)
{
    uint64_t pause_ns = CONNECT_RETRY_MIN_NS;
    int r;
    while ((r = sys_connect(fd, &address->any, address->size)) == -EAGAIN) {
        if (weft_now_ns() >= deadline_ns)
            return -ETIMEDOUT;
        uint64_t until_ns = weft_deadline_after(pause_ns);
        r = weft_sleep_until(until_ns < deadline_ns ? until_ns : deadline_ns);
        if (r < 0)
            return r;
        if (pause_ns < CONNECT_RETRY_MAX_NS)
            pause_ns *= 2;
    }
    return r;
}

int weft_stream_connect_unix(const char *path, uint64_t deadline_ns,
                             struct weft_stream **ret_stream)
{
    struct address address;
    int r = address_unix(path, &address);
    if (r == 0)
        r = weft_check_cancel();
    if (r < 0)
        return r;
    int fd = sys_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    r = connect_local(fd, &address, deadline_ns);
    if (r < 0) {
        close(fd);
        return r;
    }
    return stream_adopt_socket(fd, ret_stream);
}

/* Wait for the end of a connect that is under way.  On an error the side has been left. */
static int connect_await(struct weft_descriptor *descriptor, uint64_t deadline_ns)
{
    int r, error = 0;
    while ((r = sys_poll_now(descriptor->fd, POLLOUT)) == 0) {
        r = descriptor_await(descriptor, WATCH_WRITE, deadline_ns);
        if (r < 0)
            return r;
    }
    if (r > 0)
        r = sys_socket_option(descriptor->fd, SO_ERROR, &error);
    descriptor_leave(descriptor, WATCH_WRITE);
    return r < 0 ? r : -error;
}

/* The socket joins the epoll set only after connect(2): an unconnected one reports a hang-up. */
static int connect_begun(int fd, uint64_t deadline_ns, struct weft_stream **ret_stream)
{
    struct weft_stream *stream;
    int r = stream_adopt_socket(fd, &stream);
    if (r < 0)
        return r;
    r = descriptor_enter(descriptor_of(stream), WATCH_WRITE);
    if (r == 0)
        r = connect_await(descriptor_of(stream), deadline_ns);
    if (r < 0) {
        weft_stream_free(stream);
        return r;
    }
    *ret_stream = stream;
    return 0;
}

int weft_stream_connect_tcp(const char *address_text, uint16_t port, uint64_t deadline_ns,
                            struct weft_stream **ret_stream)
{
    struct address address;
    int r = address_inet(address_text, port, &address);
    if (r == 0)
        r = weft_check_cancel();
    if (r < 0)
        return r;
    int fd = sys_socket(address.any.sa_family);
    if (fd < 0)
        return fd;
    r = sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (r == 0)
        r = sys_connect(fd, &address.any, address.size);
    if (r < 0 && r != -EINPROGRESS) {
        close(fd);
        return r;
    }
    return connect_begun(fd, deadline_ns, ret_stream);
}
