/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets.
 *
 *   I1  A Unix socket has its mode before anybody can connect: bind, chmod, then listen.  The
 *       process's umask plays no part.
 *   I2  What a connection died of in the queue is not the listener's error: it is skipped.  The
 *       listener's own errors (no descriptors left) are returned, and the connection stays queued.
 *
 *   I3  A socket file is removed only if it is ours and nobody could connect yet, or if the caller
 *       asked for it (replace_stale), it is a socket, and nobody answers there.
 *
 * For fibers.  A listener leaves its socket file behind.
 */
#include "weft/listener.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/descriptor.h"
#include "io/net/address.h"
#include "io/stream/stream.h"
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

static const struct weft_listen_options defaults = {0};

enum { DEFAULT_MODE = 0600 };

/* Listen on a bound socket; takes over the fd. */
static int listener_start(int fd, const struct weft_listen_options *options,
                          struct weft_listener **ret_listener)
{
    int r = sys_listen(fd, options->backlog ? options->backlog : INT_MAX);
    return r < 0 ? r : weft_listener_new(fd, ret_listener);
}

/* Whether a socket is there at which nobody listens any more: whoever does is asked. */
static bool is_stale(const struct address *address)
{
    struct stat status; /* connect(2) would refuse at any other file too */
    if (lstat(address->local.sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = sys_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return false;
    int r = sys_connect(fd, &address->any, address->size);
    close(fd);
    return r == -ECONNREFUSED;
}

static int bind_path(int fd, const struct address *address,
                     const struct weft_listen_options *options)
{
    int r = sys_bind(fd, &address->any, address->size);
    if (r != -EADDRINUSE || !options->replace_stale || !is_stale(address))
        return r;
    unlink(address->local.sun_path);
    return sys_bind(fd, &address->any, address->size);
}

static int listen_local(int fd, const struct address *address,
                        const struct weft_listen_options *options,
                        struct weft_listener **ret_listener)
{
    const char *path = address->local.sun_path;
    if (path[0] == '\0') { /* abstract */
        int r = sys_bind(fd, &address->any, address->size);
        return r < 0 ? r : listener_start(fd, options, ret_listener);
    }
    int r = bind_path(fd, address, options);
    if (r < 0)
        return r;
    r = set_mode(path, options->mode ? options->mode : DEFAULT_MODE);
    if (r == 0)
        r = listener_start(fd, options, ret_listener);
    if (r < 0)
        unlink(path); /* bind made it, and nobody ever connected */
    return r;
}

/* What is accepted inherits these, so they cost no call per connection. */
static int tcp_options(int fd, int family, const struct weft_listen_options *options)
{
    int r = 0;
    if (!options->exclusive_address)
        r = sys_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0 && options->reuse_port)
        r = sys_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r == 0 && family == AF_INET6)
        r = sys_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->v6_only);
    if (r == 0 && !options->delay)
        r = sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return r;
}

static int listen_inet(int fd, const struct address *address,
                       const struct weft_listen_options *options,
                       struct weft_listener **ret_listener)
{
    int r = tcp_options(fd, address->any.sa_family, options);
    if (r == 0)
        r = sys_bind(fd, &address->any, address->size);
    if (r == 0)
        r = listener_start(fd, options, ret_listener);
    if (r == 0)
        descriptor_of(*ret_listener)->kind = WATCH_TCP; /* and so is what is accepted */
    return r;
}

int weft_listen(const struct weft_address *public, const struct weft_listen_options *options,
                struct weft_listener **ret_listener)
{
    const struct address *address = address_of(public);
    options = options ? options : &defaults;
    if (address->size == 0)
        return -EAFNOSUPPORT;
    if (options->backlog < 0)
        return -EINVAL;
    int fd = sys_socket(address->any.sa_family, SOCK_STREAM);
    if (fd < 0)
        return fd;
    int r = sys_set_buffers(fd, options->receive_buffer, options->send_buffer);
    if (r == 0 && address->any.sa_family == AF_UNIX)
        r = listen_local(fd, address, options, ret_listener);
    else if (r == 0)
        r = listen_inet(fd, address, options, ret_listener);
    if (r < 0)
        close(fd);
    return r;
}

int weft_listen_unix(const char *path, mode_t mode, struct weft_listener **ret_listener)
{
    struct weft_listen_options options = {.mode = mode};
    struct weft_address address;
    int r = weft_address_unix(path, &address);
    return r < 0 ? r : weft_listen(&address, &options, ret_listener);
}

int weft_listen_tcp(const char *text, uint16_t port, struct weft_listener **ret_listener)
{
    struct weft_address address;
    int r = weft_address_inet(text, port, &address);
    return r < 0 ? r : weft_listen(&address, NULL, ret_listener);
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
    enum watch_kind kind = descriptor->kind == WATCH_TCP ? WATCH_TCP : WATCH_SOCKET;
    int fd;
    while ((fd = accept_next(descriptor->fd)) == -EAGAIN) {
        r = descriptor_await(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    return fd < 0 ? fd : stream_adopt_socket(fd, kind, ret_stream);
}

int weft_listener_address(const struct weft_listener *listener, struct weft_address *ret_address)
{
    return socket_address(weft_listener_fd(listener), SYS_LOCAL, ret_address);
}

uint16_t weft_listener_port(const struct weft_listener *listener)
{
    struct weft_address address;
    return weft_listener_address(listener, &address) < 0 ? 0 : weft_address_port(&address);
}
