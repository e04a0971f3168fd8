/* SPDX-License-Identifier: MIT */
/*
 * System calls as the library wants them: -errno returned, EINTR retried, never blocking.
 *
 * They are out of line on purpose: a compiler caches errno's address, which is the thread's, and a
 * fiber may come back from a suspension on another thread.  None of these suspends, so errno is
 * read on the thread that set it.
 */
#ifndef RUNTIME_IO_SYS_H
#define RUNTIME_IO_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

int sys_get_flags(int fd);
int sys_set_flags(int fd, int flags);

/** Returns: 1 a socket, 0 something else. */
int sys_is_socket(int fd);

ssize_t sys_read(int fd, void *buffer, size_t size);
ssize_t sys_recv(int fd, void *buffer, size_t size);
ssize_t sys_send(int fd, const void *data, size_t size);

/**
 * write(2) that raises no SIGPIPE: -EPIPE only.  The calling thread must have SIGPIPE blocked, as
 * workers do: the signal that the kernel left pending on it is taken off.
 */
ssize_t sys_write(int fd, const void *data, size_t size);

ssize_t sys_pread(int fd, void *buffer, size_t size, off_t offset);

/** Whether reading a file there would not wait for a disk; false where that cannot be told. */
bool sys_is_cached(int fd, off_t offset);

/** Returns: 1 a regular file, 0 something else. */
int sys_is_regular(int fd);

/** Another number for the same open file, close-on-exec, above standard error's. */
int sys_duplicate(int fd);

/** Open a terminal, pipe or FIFO anew, non-blocking: an open file of its own.
 * Errors: -EINVAL it is none of these; and open(2)'s. */
int sys_reopen(int fd);

/** As sys_send and sys_write for several pieces. */
ssize_t sys_sendv(int fd, const struct iovec *pieces, int count);
ssize_t sys_writev(int fd, const struct iovec *pieces, int count);

/** sendfile(2) that raises no SIGPIPE, as sys_write. */
ssize_t sys_sendfile(int fd, int file, off_t *offset, size_t size);

/** sendmsg(2) and recvmsg(2); descriptors that come with it are close-on-exec. */
ssize_t sys_sendmsg(int fd, const struct msghdr *message);
ssize_t sys_recvmsg(int fd, struct msghdr *message);

/** As sys_recvmsg, but returns a datagram's whole length, also of what did not fit. */
ssize_t sys_recvmsg_whole(int fd, struct msghdr *message);

/** Non-blocking and close-on-exec. */
int sys_socket(int family, int type);
int sys_socketpair(int fds[2]);
int sys_pipe(int fds[2]);
int sys_bind(int fd, const struct sockaddr *address, socklen_t size);
int sys_listen(int fd, int backlog);
int sys_connect(int fd, const struct sockaddr *address, socklen_t size);
int sys_accept(int fd);
int sys_shutdown_write(int fd);

enum sys_end { SYS_LOCAL, SYS_REMOTE };

/** *size is the room at first, and then the address's size. */
int sys_socket_name(int fd, enum sys_end end, struct sockaddr *address, socklen_t *size);

/** SO_RCVBUF and SO_SNDBUF; 0 leaves one as it is. */
int sys_set_buffers(int fd, size_t receive, size_t send);

/** An integer option of SOL_SOCKET. */
int sys_socket_option(int fd, int name, int *ret_value);
int sys_set_option(int fd, int level, int name, int value);
int sys_set_option_data(int fd, int level, int name, const void *value, socklen_t size);
int sys_peer(int fd, struct ucred *ret_peer);

/** poll(2) without waiting.  Returns: 1 one of `events`, an error or a hang-up is there; 0. */
int sys_poll_now(int fd, short events);

#endif
