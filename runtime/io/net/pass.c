/* SPDX-License-Identifier: MIT */
/*
 * Passing descriptors over Unix sockets (SCM_RIGHTS).
 *
 *   I1  Descriptors go with the first byte of their message, in the one sendmsg(2) that sends it:
 *       either both went or neither.
 *   I2  Every descriptor that the kernel installed is handed to the caller: there is room for as
 *       many as one message can carry, so only a full descriptor table cuts them short, which is
 *       told.  They are close-on-exec from the first.
 *
 * For fibers, but for weft_passed_close.  It does not look at what it passes.
 */
#include "weft/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/time.h"

/* Room for the descriptors of one message, and for credentials, which somebody may have asked for
 * on this socket (SO_PASSCRED). */
union control {
    struct cmsghdr header; /* for its alignment */
    char room[CMSG_SPACE(sizeof(int) * WEFT_PASS_MAX) + CMSG_SPACE(sizeof(struct ucred))];
};

/* Inside the side.  Errors: -ENOTSOCK, -EOPNOTSUPP. */
static int check_local(const struct weft_descriptor *descriptor)
{
    int domain;
    if (descriptor->layer)
        return -EOPNOTSUPP;
    int r = sys_socket_option(descriptor->fd, SO_DOMAIN, &domain);
    if (r < 0)
        return r;
    return domain == AF_UNIX ? 0 : -EOPNOTSUPP;
}

/* The scope, the side, and whether it can pass descriptors. */
static int pass_enter(struct weft_descriptor *descriptor, enum watch_side side)
{
    int r = stream_enter(descriptor, side);
    if (r < 0)
        return r;
    r = check_local(descriptor);
    if (r < 0)
        descriptor_leave(descriptor, side);
    return r;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void control_fill(union control *control, struct msghdr *message, const int *fds,
                         size_t count)
{
    memset(control, 0, sizeof(*control));
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
}

/* Returns: bytes sent, one at least.  On an error the side has been left. */
static ssize_t send_first(struct weft_descriptor *descriptor, const void *data, size_t size,
                          const int *fds, size_t count)
{
    struct iovec piece = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    union control control;
    ssize_t n;
    if (count > 0)
        control_fill(&control, &message, fds, count);
    while ((n = sys_sendmsg(descriptor->fd, &message)) == -EAGAIN) {
        int r = descriptor_await(descriptor, WATCH_WRITE, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_WRITE);
    return n;
}

int weft_stream_send_fds(struct weft_stream *stream, const void *data, size_t size, const int *fds,
                         size_t count, size_t *ret_written)
{
    struct weft_descriptor *descriptor = stream_descriptor(stream);
    ssize_t first = size == 0 || count > WEFT_PASS_MAX ? -EINVAL : 0;
    size_t rest = 0;
    int r = 0;
    if (first == 0)
        first = pass_enter(descriptor, WATCH_WRITE);
    if (first == 0)
        first = send_first(descriptor, data, size, fds, count);
    if (first > 0 && (size_t)first < size)
        r = weft_write(stream, (const char *)data + first, size - (size_t)first, &rest);
    if (ret_written)
        *ret_written = first > 0 ? (size_t)first + rest : 0;
    return first < 0 ? (int)first : r;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* Add the descriptors of one control message. */
static void passed_add(struct weft_passed *passed, struct cmsghdr *header)
{
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    CHECK(count <= WEFT_PASS_MAX - passed->count); /* I2 */
    memcpy(passed->fds + passed->count, CMSG_DATA(header), count * sizeof(int));
    passed->count += count;
}

static void passed_collect(struct weft_passed *passed, struct msghdr *message)
{
    passed->count = 0;
    passed->truncated = message->msg_flags & MSG_CTRUNC;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
            passed_add(passed, header);
}

static ssize_t try_receive(int fd, void *buffer, size_t size, struct weft_passed *ret_passed)
{
    struct iovec piece = {.iov_base = buffer, .iov_len = size};
    union control control;
    struct msghdr message = {
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = sys_recvmsg(fd, &message);
    if (n >= 0)
        passed_collect(ret_passed, &message);
    return n;
}

ssize_t weft_stream_recv_fds(struct weft_stream *stream, void *buffer, size_t size,
                             struct weft_passed *ret_passed)
{
    struct weft_descriptor *descriptor = stream_descriptor(stream);
    int r = pass_enter(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    ssize_t n;
    while ((n = try_receive(descriptor->fd, buffer, size, ret_passed)) == -EAGAIN) {
        r = descriptor_await(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    return n;
}

void weft_passed_close(struct weft_passed *passed)
{
    for (size_t i = 0; i < passed->count; i++)
        if (passed->fds[i] >= 0)
            close(passed->fds[i]);
    passed->count = 0;
}
