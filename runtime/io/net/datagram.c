/* SPDX-License-Identifier: MIT */
/*
 * Datagrams: try the system call, wait on EAGAIN, try again.
 *
 *   I1  A datagram is sent or received by one system call, between which and the return that
 *       reports it there is no way out: a cancel loses and doubles none.
 *   I2  An ICMP error that an earlier datagram caused is the kernel's to hand to the next call on
 *       the socket.  It is returned, once, and is no state of ours.
 *   I3  Nothing tells when a Unix receiver that we are not connected to has room again: a sender
 *       asks again, less and less often, and outside of its side, so that others may send
 *       elsewhere.
 *
 * For fibers.  It neither splits nor gathers, and repeats nothing that the network lost.
 */
#include "weft/datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/descriptor.h"
#include "io/net/address.h"
#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum { RETRY_MIN_NS = 100 * 1000, RETRY_MAX_NS = 20 * 1000 * 1000, DEFAULT_MODE = 0600 };

static const struct weft_datagram_options defaults = {0};

/* A datagram socket is its descriptor: struct weft_datagram is never defined. */
static struct weft_descriptor *descriptor_of(struct weft_datagram *datagram)
{
    return (struct weft_descriptor *)(void *)datagram;
}

int weft_datagram_fd(const struct weft_datagram *datagram)
{
    return weft_descriptor_fd((const struct weft_descriptor *)(const void *)datagram);
}

void weft_datagram_free(struct weft_datagram *datagram)
{
    weft_descriptor_free(descriptor_of(datagram));
}

/* ---- making ------------------------------------------------------------------------------- */

int weft_datagram_new(int fd, struct weft_datagram **ret_datagram)
{
    struct weft_descriptor *descriptor;
    int type;
    int r = sys_socket_option(fd, SO_TYPE, &type);
    if (r < 0)
        return r;
    if (type != SOCK_DGRAM)
        return -EPROTOTYPE;
    r = weft_descriptor_new(fd, &descriptor);
    if (r < 0)
        return r;
    descriptor->kind = WATCH_SOCKET;
    *ret_datagram = (struct weft_datagram *)(void *)descriptor;
    return 0;
}

static int set_options(int fd, int family, const struct weft_datagram_options *options)
{
    int r = sys_set_buffers(fd, options->receive_buffer, options->send_buffer);
    if (r < 0 || family == AF_UNIX)
        return r;
    if (options->reuse_address)
        r = sys_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0 && options->reuse_port)
        r = sys_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r == 0 && options->broadcast)
        r = sys_set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (r == 0 && family == AF_INET6)
        r = sys_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->v6_only);
    return r;
}

/* Not inlined: see io/sys.h. */
static __attribute__((noinline)) int set_mode(const char *path, mode_t mode)
{
    return chmod(path, mode) < 0 ? -errno : 0;
}

/* The path of a socket file that binding makes, or NULL. */
static const char *path_of(const struct address *local)
{
    return local->any.sa_family == AF_UNIX && local->local.sun_path[0] ? local->local.sun_path
                                                                       : NULL;
}

/* A new socket, bound.  Returns: the fd. */
static int open_bound(const struct address *local, const struct weft_datagram_options *options)
{
    const char *path = path_of(local);
    int fd = sys_socket(local->any.sa_family, SOCK_DGRAM);
    if (fd < 0)
        return fd;
    int r = set_options(fd, local->any.sa_family, options);
    if (r == 0)
        r = sys_bind(fd, &local->any, local->size);
    if (r < 0) {
        close(fd);
        return r;
    }
    r = path ? set_mode(path, options->mode ? options->mode : DEFAULT_MODE) : 0;
    if (r < 0) {
        unlink(path);
        close(fd);
        return r;
    }
    return fd;
}

/* Any address of the family: a port, or an abstract name, that the kernel picks. */
static void address_any(int family, struct address *ret_address)
{
    memset(ret_address, 0, sizeof(*ret_address));
    ret_address->any.sa_family = (sa_family_t)family;
    if (family == AF_INET)
        ret_address->size = sizeof(ret_address->v4);
    else if (family == AF_INET6)
        ret_address->size = sizeof(ret_address->v6);
    else
        ret_address->size = sizeof(sa_family_t);
}

/* Open, connect unless `remote` is NULL, and adopt. */
static int datagram_open(const struct address *local, const struct address *remote,
                         const struct weft_datagram_options *options,
                         struct weft_datagram **ret_datagram)
{
    int fd = open_bound(local, options ? options : &defaults);
    if (fd < 0)
        return fd;
    int r = remote ? sys_connect(fd, &remote->any, remote->size) : 0;
    if (r == 0)
        r = weft_datagram_new(fd, ret_datagram);
    if (r < 0) {
        close(fd);
        if (path_of(local))
            unlink(path_of(local));
    }
    return r;
}

int weft_datagram_bind(const struct weft_address *local,
                       const struct weft_datagram_options *options,
                       struct weft_datagram **ret_datagram)
{
    if (address_of(local)->size == 0)
        return -EAFNOSUPPORT;
    return datagram_open(address_of(local), NULL, options, ret_datagram);
}

int weft_datagram_connect(const struct weft_address *remote, const struct weft_address *local,
                          const struct weft_datagram_options *options,
                          struct weft_datagram **ret_datagram)
{
    struct address any;
    if (address_of(remote)->size == 0)
        return -EAFNOSUPPORT;
    address_any(address_of(remote)->any.sa_family, &any);
    return datagram_open(local ? address_of(local) : &any, address_of(remote), options,
                         ret_datagram);
}

int weft_datagram_local_address(struct weft_datagram *datagram, struct weft_address *ret_address)
{
    return socket_address(weft_datagram_fd(datagram), SYS_LOCAL, ret_address);
}

int weft_datagram_remote_address(struct weft_datagram *datagram, struct weft_address *ret_address)
{
    return socket_address(weft_datagram_fd(datagram), SYS_REMOTE, ret_address);
}

/* ---- sending ------------------------------------------------------------------------------ */

static int datagram_enter(struct weft_descriptor *descriptor, enum watch_side side)
{
    int r = weft_check_cancel();
    return r < 0 ? r : descriptor_enter(descriptor, side);
}

static ssize_t try_send(int fd, const struct address *to, const void *data, size_t size)
{
    struct iovec piece = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (to) {
        message.msg_name = (void *)&to->any;
        message.msg_namelen = to->size;
    }
    return sys_sendmsg(fd, &message);
}

/* As weft_datagram_send, but -EAGAIN when the receiver has no room and nothing tells when (I3). */
static int send_once(struct weft_descriptor *descriptor, const struct address *to, const void *data,
                     size_t size)
{
    int r = datagram_enter(descriptor, WATCH_WRITE);
    if (r < 0)
        return r;
    ssize_t n;
    while ((n = try_send(descriptor->fd, to, data, size)) == -EAGAIN) {
        if (to && to->any.sa_family == AF_UNIX)
            break;
        r = descriptor_await(descriptor, WATCH_WRITE, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_WRITE);
    return n < 0 ? (int)n : 0;
}

int weft_datagram_send(struct weft_datagram *datagram, const struct weft_address *to,
                       const void *data, size_t size)
{
    const struct address *address = to ? address_of(to) : NULL;
    uint64_t pause_ns = RETRY_MIN_NS;
    int r;
    while ((r = send_once(descriptor_of(datagram), address, data, size)) == -EAGAIN) {
        r = weft_sleep(pause_ns);
        if (r < 0)
            return r;
        if (pause_ns < RETRY_MAX_NS)
            pause_ns *= 2;
    }
    return r == -ENOTCONN ? -EDESTADDRREQ : r; /* what Unix sockets call the same */
}

/* ---- receiving ---------------------------------------------------------------------------- */

/* As recvmsg(2), but returns the datagram's whole length.  *ret_from is set when one came. */
static ssize_t try_receive(int fd, void *buffer, size_t size, struct address *ret_from)
{
    struct iovec piece = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_name = &ret_from->any,
                             .msg_namelen = sizeof(*ret_from) - offsetof(struct address, any),
                             .msg_iov = &piece,
                             .msg_iovlen = 1};
    ssize_t n = sys_recvmsg_whole(fd, &message);
    ret_from->size = message.msg_namelen;
    return n;
}

ssize_t weft_datagram_recv(struct weft_datagram *datagram, void *buffer, size_t size,
                           struct weft_address *ret_from, size_t *ret_whole)
{
    struct weft_descriptor *descriptor = descriptor_of(datagram);
    struct address from;
    memset(&from, 0, sizeof(from));
    int r = datagram_enter(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    ssize_t n;
    while ((n = try_receive(descriptor->fd, buffer, size, &from)) == -EAGAIN) {
        r = descriptor_await(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    if (n < 0)
        return n;
    if (ret_from)
        address_publish(&from, ret_from);
    if (ret_whole)
        *ret_whole = (size_t)n;
    return (size_t)n < size ? n : (ssize_t)size;
}

/* ---- multicast ---------------------------------------------------------------------------- */

static int change_membership(struct weft_datagram *datagram, const struct weft_address *public,
                             unsigned interface, bool join)
{
    const struct address *group = address_of(public);
    int fd = weft_datagram_fd(datagram);
    if (weft_address_family(public) == AF_INET) {
        struct ip_mreqn request = {.imr_multiaddr = group->v4.sin_addr,
                                   .imr_ifindex = (int)interface};
        return sys_set_option_data(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP,
                                   &request, sizeof(request));
    }
    if (weft_address_family(public) != AF_INET6)
        return -EINVAL;
    struct ipv6_mreq request = {.ipv6mr_multiaddr = group->v6.sin6_addr,
                                .ipv6mr_interface = interface};
    return sys_set_option_data(fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP,
                               &request, sizeof(request));
}

int weft_datagram_join(struct weft_datagram *datagram, const struct weft_address *group,
                       unsigned interface)
{
    return change_membership(datagram, group, interface, true);
}

int weft_datagram_leave(struct weft_datagram *datagram, const struct weft_address *group,
                        unsigned interface)
{
    return change_membership(datagram, group, interface, false);
}

static int multicast_v4(int fd, unsigned interface, unsigned hops, bool loop)
{
    struct ip_mreqn by = {.imr_ifindex = (int)interface};
    int r = sys_set_option_data(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by));
    if (r == 0)
        r = sys_set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, (int)hops);
    return r < 0 ? r : sys_set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, loop);
}

static int multicast_v6(int fd, unsigned interface, unsigned hops, bool loop)
{
    int r = sys_set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)interface);
    if (r == 0)
        r = sys_set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, (int)hops);
    return r < 0 ? r : sys_set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, loop);
}

int weft_datagram_set_multicast(struct weft_datagram *datagram, unsigned interface, unsigned hops,
                                bool loop)
{
    int fd = weft_datagram_fd(datagram), family;
    int r = hops > 255 ? -EINVAL : sys_socket_option(fd, SO_DOMAIN, &family);
    if (r < 0)
        return r;
    if (family == AF_INET)
        return multicast_v4(fd, interface, hops, loop);
    return family == AF_INET6 ? multicast_v6(fd, interface, hops, loop) : -EINVAL;
}
