/* SPDX-License-Identifier: MIT */
/*
 * System calls that return -errno; see the header for why they are functions of their own.
 * Any thread.  Nothing here suspends a fiber, keeps state or knows a descriptor.
 */
#include "io/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int sys_get_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : flags;
}

int sys_set_flags(int fd, int flags)
{
    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int sys_is_socket(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    return S_ISSOCK(status.st_mode);
}

int sys_is_regular(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    return S_ISREG(status.st_mode);
}

int sys_duplicate(int fd)
{
    int other = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return other < 0 ? -errno : other;
}

/* A pipe, a FIFO, or a terminal but for a pseudo-terminal's master, where opening makes a new
 * one. */
static bool can_reopen(int fd)
{
    struct stat status;
    unsigned number;
    if (fstat(fd, &status) < 0)
        return false;
    if (S_ISFIFO(status.st_mode))
        return true;
    return isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0;
}

int sys_reopen(int fd)
{
    char path[32];
    if (!can_reopen(fd))
        return -EINVAL;
    int flags = sys_get_flags(fd);
    if (flags < 0)
        return flags;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return own < 0 ? -errno : own;
}

ssize_t sys_read(int fd, void *buffer, size_t size)
{
    ssize_t n;
    do
        n = read(fd, buffer, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t sys_pread(int fd, void *buffer, size_t size, off_t offset)
{
    ssize_t n;
    do
        n = pread(fd, buffer, size, offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* At and behind the end of the file this says yes: there is nothing to read. */
bool sys_is_cached(int fd, off_t offset)
{
    char byte;
    struct iovec piece = {.iov_base = &byte, .iov_len = 1};
    return preadv2(fd, &piece, 1, offset, RWF_NOWAIT) >= 0;
}

ssize_t sys_recv(int fd, void *buffer, size_t size)
{
    ssize_t n;
    do
        n = recv(fd, buffer, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t sys_send(int fd, const void *data, size_t size)
{
    ssize_t n;
    do
        n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* The kernel sends SIGPIPE to the thread that wrote, where it is blocked and stays pending: for
 * ever, or until somebody unblocks it and the process dies of it. */
static void drop_sigpipe(void)
{
    struct timespec now = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
        ;
}

ssize_t sys_sendmsg(int fd, const struct msghdr *message)
{
    ssize_t n;
    do
        n = sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t receive_message(int fd, struct msghdr *message, int flags)
{
    ssize_t n;
    do
        n = recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t sys_recvmsg(int fd, struct msghdr *message)
{
    return receive_message(fd, message, 0);
}

ssize_t sys_recvmsg_whole(int fd, struct msghdr *message)
{
    return receive_message(fd, message, MSG_TRUNC);
}

ssize_t sys_sendv(int fd, const struct iovec *pieces, int count)
{
    /* sendmsg(2) changes nothing of it */
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    return sys_sendmsg(fd, &message);
}

/* What a call that may raise SIGPIPE returned. */
static ssize_t piped(ssize_t n)
{
    if (n >= 0)
        return n;
    int error = errno;
    if (error == EPIPE)
        drop_sigpipe();
    return -error;
}

ssize_t sys_write(int fd, const void *data, size_t size)
{
    ssize_t n;
    do
        n = write(fd, data, size);
    while (n < 0 && errno == EINTR);
    return piped(n);
}

ssize_t sys_writev(int fd, const struct iovec *pieces, int count)
{
    ssize_t n;
    do
        n = writev(fd, pieces, count);
    while (n < 0 && errno == EINTR);
    return piped(n);
}

ssize_t sys_sendfile(int fd, int file, off_t *offset, size_t size)
{
    ssize_t n;
    do
        n = sendfile(fd, file, offset, size);
    while (n < 0 && errno == EINTR);
    return piped(n);
}

int sys_socket(int family, int type)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int sys_socketpair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

int sys_pipe(int fds[2])
{
    return pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : 0;
}

int sys_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return bind(fd, address, size) < 0 ? -errno : 0;
}

int sys_listen(int fd, int backlog)
{
    return listen(fd, backlog) < 0 ? -errno : 0;
}

/* A connect that a signal interrupted goes on by itself, as if it had said EINPROGRESS. */
int sys_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    if (connect(fd, address, size) == 0)
        return 0;
    return errno == EINTR ? -EINPROGRESS : -errno;
}

int sys_accept(int fd)
{
    int accepted;
    do
        accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (accepted < 0 && errno == EINTR);
    return accepted < 0 ? -errno : accepted;
}

int sys_shutdown_write(int fd)
{
    return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

int sys_socket_option(int fd, int name, int *ret_value)
{
    int value = 0;
    socklen_t size = sizeof(value);
    if (getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0)
        return -errno;
    *ret_value = value;
    return 0;
}

int sys_set_option_data(int fd, int level, int name, const void *value, socklen_t size)
{
    return setsockopt(fd, level, name, value, size) < 0 ? -errno : 0;
}

int sys_set_option(int fd, int level, int name, int value)
{
    return sys_set_option_data(fd, level, name, &value, sizeof(value));
}

static int buffer_size(size_t size)
{
    return size < INT_MAX ? (int)size : INT_MAX;
}

int sys_set_buffers(int fd, size_t receive, size_t send)
{
    int r = 0;
    if (receive)
        r = sys_set_option(fd, SOL_SOCKET, SO_RCVBUF, buffer_size(receive));
    if (r == 0 && send)
        r = sys_set_option(fd, SOL_SOCKET, SO_SNDBUF, buffer_size(send));
    return r;
}

int sys_socket_name(int fd, enum sys_end end, struct sockaddr *address, socklen_t *size)
{
    int r = end == SYS_LOCAL ? getsockname(fd, address, size) : getpeername(fd, address, size);
    return r < 0 ? -errno : 0;
}

int sys_peer(int fd, struct ucred *ret_peer)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    *ret_peer = peer;
    return 0;
}

int sys_poll_now(int fd, short events)
{
    struct pollfd poll_for = {.fd = fd, .events = events};
    int n;
    do
        n = poll(&poll_for, 1, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}
