/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets.
 *
 *   I1  A Unix socket has its mode before anybody can connect: bind, chmod, then listen.  The
 *       process's umask plays no part.
 *   I2  What a connection died of in the queue is not the listener's error: it is skipped.  The
 *       listener's own errors (no descriptors left) are returned, and the connection stays queued.
 *
 * For fibers.  It removes no socket file, neither a stale one before nor its own after.
 */
#include "weft/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/address.h"
#include "io/descriptor.h"
#include "io/stream.h"
#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/time.h"

/* A listener is its descriptor: struct weft_listener is never defined. */
static struct weft_descriptor *descriptor_of(struct weft_listener *listener)
{
    return (struct weft_descriptor *)(void *)listener;
}

int weft_listener_fd(const struct weft_listener *listener)
{
    return weft_descriptor_fd((const struct weft_descriptor *)(const void *)listener);
}

void weft_listener_free(struct weft_listener *listener)
{
    weft_descriptor_free(descriptor_of(listener));
}

int weft_listener_new(int fd, struct weft_listener **ret_listener)
{
    int listening;
    int r = sys_socket_option(fd, SO_ACCEPTCONN, &listening);
    if (r < 0)
        return r;
    if (!listening)
        return -EINVAL;
    struct weft_descriptor *descriptor;
    r = weft_descriptor_new(fd, &descriptor);
    if (r < 0)
        return r;
    *ret_listener = (struct weft_listener *)(void *)descriptor;
    return 0;
}

/* Not inlined: see io/sys.h. */
static __attribute__((noinline)) int set_mode(const char *path, mode_t mode)
{
    return chmod(path, mode) < 0 ? -errno : 0;
}

/* Listen on a bound socket; takes over the fd. */
static int listener_start(int fd, struct weft_listener **ret_listener)
{
    int r = sys_listen(fd);
    return r < 0 ? r : weft_listener_new(fd, ret_listener);
}

static int listen_bound_path(int fd, const char *path, mode_t mode,
                             struct weft_listener **ret_listener)
{
    int r = path[0] == '@' ? 0 : set_mode(path, mode);
    if (r == 0)
        r = listener_start(fd, ret_listener);
    if (r < 0 && path[0] != '@')
        unlink(path); /* bind made it, and nobody ever connected */
    return r;
}

int weft_listen_unix(const char *path, mode_t mode, struct weft_listener **ret_listener)
{
    struct address address;
    int r = address_unix(path, &address);
    if (r < 0)
        return r;
    int fd = sys_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    r = sys_bind(fd, &address.any, address.size);
    if (r == 0)
        r = listen_bound_path(fd, path, mode, ret_listener);
    if (r < 0)
        close(fd);
    return r;
}

/* TCP_NODELAY is inherited by what is accepted, so it costs no call per connection. */
static int tcp_options(int fd)
{
    int r = sys_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    return r < 0 ? r : sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

int weft_listen_tcp(const char *address_text, uint16_t port, struct weft_listener **ret_listener)
{
    struct address address;
    int r = address_inet(address_text, port, &address);
    if (r < 0)
        return r;
    int fd = sys_socket(address.any.sa_family);
    if (fd < 0)
        return fd;
    r = tcp_options(fd);
    if (r == 0)
        r = sys_bind(fd, &address.any, address.size);
    if (r == 0)
        r = listener_start(fd, ret_listener);
    if (r < 0)
        close(fd);
    return r;
}

/* Errors of the connection at the head of the queue, by accept(2): Linux passes them on. */
static bool died_in_queue(int error)
{
    switch (error) {
    case -ECONNABORTED:
    case -EPROTO:
    case -ENOPROTOOPT:
    case -ENETDOWN:
    case -ENETUNREACH:
    case -EHOSTDOWN:
    case -EHOSTUNREACH:
    case -ENONET:
        return true;
    default:
        return false;
    }
}

static int accept_next(int fd)
{
    int accepted;
    do
        accepted = sys_accept(fd);
    while (died_in_queue(accepted));
    return accepted;
}

int weft_accept(struct weft_listener *listener, struct weft_stream **ret_stream)
{
    struct weft_descriptor *descriptor = descriptor_of(listener);
    int r = weft_check_cancel();
    if (r == 0)
        r = descriptor_enter(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    int fd;
    while ((fd = accept_next(descriptor->fd)) == -EAGAIN) {
        r = descriptor_await(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    return fd < 0 ? fd : stream_adopt_socket(fd, ret_stream);
}

uint16_t weft_listener_port(const struct weft_listener *listener)
{
    struct address address = {.size = sizeof(struct sockaddr_in6)};
    if (getsockname(weft_listener_fd(listener), &address.any, &address.size) < 0)
        return 0;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.v4.sin_port);
    return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}
