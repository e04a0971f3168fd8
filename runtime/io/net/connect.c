/* SPDX-License-Identifier: MIT */
/*
 * Connecting streams.
 *
 *   I1  A socket joins the epoll set only after connect(2): an unconnected one reports a hang-up.
 *   I2  A connect that does not end well closes its socket: nothing of it is left.
 *
 * For fibers.  It resolves no names.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/net/address.h"
#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum { RETRY_MIN_NS = 500 * 1000, RETRY_MAX_NS = 50 * 1000 * 1000 };

/* A Unix listener whose queue is full says EAGAIN and nothing ever tells when there is room, so
 * this asks again, less and less often. */
static int connect_local(int fd, const struct address *address, uint64_t deadline_ns)
{
    uint64_t pause_ns = RETRY_MIN_NS;
    int r;
    while ((r = sys_connect(fd, &address->any, address->size)) == -EAGAIN) {
        if (weft_now_ns() >= deadline_ns)
            return -ETIMEDOUT;
        uint64_t until_ns = weft_deadline_after(pause_ns);
        r = weft_sleep_until(until_ns < deadline_ns ? until_ns : deadline_ns);
        if (r < 0)
            return r;
        if (pause_ns < RETRY_MAX_NS)
            pause_ns *= 2;
    }
    return r;
}

static int connect_start(int fd, const struct address *address, uint64_t deadline_ns)
{
    if (address->any.sa_family == AF_UNIX)
        return connect_local(fd, address, deadline_ns);
    return sys_connect(fd, &address->any, address->size);
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

/* Takes over the fd, whose connect(2) went well or goes on (I1). */
static int connect_finish(int fd, enum watch_kind kind, bool pending, uint64_t deadline_ns,
                          struct weft_stream **ret_stream)
{
    struct weft_stream *stream;
    int r = stream_adopt_socket(fd, kind, &stream);
    if (r < 0)
        return r;
    if (pending)
        r = descriptor_enter(stream_descriptor(stream), WATCH_WRITE);
    if (pending && r == 0)
        r = connect_await(stream_descriptor(stream), deadline_ns);
    if (r < 0) {
        weft_stream_free(stream);
        return r;
    }
    *ret_stream = stream;
    return 0;
}

static int connect_prepare(int fd, int family, const struct weft_connect_options *options)
{
    int r = 0;
    if (family != AF_UNIX && !options->delay)
        r = sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (r == 0)
        r = sys_set_buffers(fd, options->receive_buffer, options->send_buffer);
    if (r == 0 && options->local) {
        const struct address *local = address_of(options->local);
        r = sys_bind(fd, &local->any, local->size);
    }
    return r;
}

int weft_stream_connect(const struct weft_address *public,
                        const struct weft_connect_options *options, uint64_t deadline_ns,
                        struct weft_stream **ret_stream)
{
    static const struct weft_connect_options defaults = {0};
    const struct address *address = address_of(public);
    if (address->size == 0)
        return -EAFNOSUPPORT;
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    int fd = sys_socket(address->any.sa_family, SOCK_STREAM);
    if (fd < 0)
        return fd;
    r = connect_prepare(fd, address->any.sa_family, options ? options : &defaults);
    if (r == 0)
        r = connect_start(fd, address, deadline_ns);
    if (r < 0 && r != -EINPROGRESS) {
        close(fd);
        return r;
    }
    return connect_finish(fd, address->any.sa_family == AF_UNIX ? WATCH_SOCKET : WATCH_TCP,
                          r == -EINPROGRESS, deadline_ns, ret_stream);
}

int weft_stream_connect_unix(const char *path, uint64_t deadline_ns,
                             struct weft_stream **ret_stream)
{
    struct weft_address address;
    int r = weft_address_unix(path, &address);
    return r < 0 ? r : weft_stream_connect(&address, NULL, deadline_ns, ret_stream);
}

int weft_stream_connect_tcp(const char *text, uint16_t port, uint64_t deadline_ns,
                            struct weft_stream **ret_stream)
{
    struct weft_address address;
    int r = weft_address_inet(text, port, &address);
    return r < 0 ? r : weft_stream_connect(&address, NULL, deadline_ns, ret_stream);
}
