/* SPDX-License-Identifier: MIT */
/*
 * Streams in pairs, and the addresses and options of their sockets.
 *
 *   I1  Options act on the open socket itself, and need no side of the descriptor: they may be set
 *       while other fibers read and write.
 *
 * Pairs are for fibers; the rest for any thread while nobody frees the stream.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "io/net/address.h"
#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/time.h"

/* ---- pairs -------------------------------------------------------------------------------- */

/* Streams of two new descriptors, which are closed on failure. */
static int pair_streams(const int fds[2], struct weft_stream *ret_streams[2])
{
    struct weft_stream *first, *second;
    int r = weft_stream_new(fds[0], &first);
    if (r < 0) {
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    r = weft_stream_new(fds[1], &second);
    if (r < 0) {
        weft_stream_free(first);
        close(fds[1]);
        return r;
    }
    ret_streams[0] = first;
    ret_streams[1] = second;
    return 0;
}

int weft_stream_pair(struct weft_stream *ret_streams[2])
{
    int fds[2];
    int r = sys_socketpair(fds);
    return r < 0 ? r : pair_streams(fds, ret_streams);
}

int weft_stream_pipe(struct weft_stream *ret_streams[2])
{
    int fds[2];
    int r = sys_pipe(fds);
    return r < 0 ? r : pair_streams(fds, ret_streams);
}

/* ---- addresses ------------------------------------------------------------------------------ */

int socket_address(int fd, enum sys_end end, struct weft_address *ret_address)
{
    struct address address = {.size = 0};
    socklen_t size = sizeof(address) - offsetof(struct address, any);
    int r = sys_socket_name(fd, end, &address.any, &size);
    return r < 0 ? r : weft_address_from(&address.any, size, ret_address);
}

int weft_stream_local_address(struct weft_stream *stream, struct weft_address *ret_address)
{
    return socket_address(weft_stream_fd(stream), SYS_LOCAL, ret_address);
}

int weft_stream_remote_address(struct weft_stream *stream, struct weft_address *ret_address)
{
    return socket_address(weft_stream_fd(stream), SYS_REMOTE, ret_address);
}

/* ---- options -------------------------------------------------------------------------------- */

int weft_stream_set_nodelay(struct weft_stream *stream, bool on)
{
    return sys_set_option(weft_stream_fd(stream), IPPROTO_TCP, TCP_NODELAY, on);
}

int weft_stream_set_buffers(struct weft_stream *stream, size_t receive, size_t send)
{
    return sys_set_buffers(weft_stream_fd(stream), receive, send);
}

/* Seconds, rounded up, if there are any.  Errors: -EINVAL by setsockopt(2), when out of range. */
static int set_seconds(int fd, int name, uint64_t ns)
{
    uint64_t seconds = ns / WEFT_SECOND + (ns % WEFT_SECOND != 0);
    if (seconds == 0)
        return 0;
    return sys_set_option(fd, IPPROTO_TCP, name, seconds < INT_MAX ? (int)seconds : INT_MAX);
}

int weft_stream_set_keepalive(struct weft_stream *stream, uint64_t idle_ns, uint64_t interval_ns,
                              unsigned probes)
{
    int fd = weft_stream_fd(stream);
    int r = set_seconds(fd, TCP_KEEPIDLE, idle_ns);
    if (r == 0)
        r = set_seconds(fd, TCP_KEEPINTVL, interval_ns);
    if (r == 0 && probes > 0)
        r = sys_set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, probes < INT_MAX ? (int)probes : INT_MAX);
    if (r == 0)
        r = sys_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, idle_ns > 0);
    return r;
}
