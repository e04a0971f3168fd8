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

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

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

/** A stream socket, non-blocking and close-on-exec. */
int sys_socket(int family);
int sys_bind(int fd, const struct sockaddr *address, socklen_t size);
int sys_listen(int fd);
int sys_connect(int fd, const struct sockaddr *address, socklen_t size);
int sys_accept(int fd);
int sys_shutdown_write(int fd);

/** An integer option of SOL_SOCKET. */
int sys_socket_option(int fd, int name, int *ret_value);
int sys_set_option(int fd, int level, int name, int value);
int sys_peer(int fd, struct ucred *ret_peer);

/** poll(2) without waiting.  Returns: 1 one of `events`, an error or a hang-up is there; 0. */
int sys_poll_now(int fd, short events);

#endif
