/* SPDX-License-Identifier: MIT */
/*
 * System calls on files that do not block, made by the worker itself: -errno returned.  Out of line
 * for the reason that io/sys.h gives.
 */
#ifndef RUNTIME_IO_FILE_FILE_SYS_H
#define RUNTIME_IO_FILE_FILE_SYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/** open(2) if that needs no disk: the path is cached, and nothing is created or cut.
 * Errors: -EAGAIN it would, or nobody can tell; and open(2)'s. */
int file_sys_open_cached(const char *path, int flags);

/** The file's type (S_IFMT), and its size as far as it is known here. */
int file_sys_kind(int fd, mode_t *ret_type, uint64_t *ret_size);

/** Whether its content is memory, and no disk is behind it (tmpfs). */
bool file_sys_in_memory(int fd);

/** Whether it is a terminal. */
bool file_sys_is_terminal(int fd);

/** lseek(2) with SEEK_SET or SEEK_CUR. */
int64_t file_sys_seek(int fd, int64_t offset, int whence);

/** preadv2(2) and pwritev2(2), `cached`: with RWF_NOWAIT.  Errors: -EAGAIN it would block. */
ssize_t file_sys_read(int fd, const struct iovec *parts, int count, int64_t offset, bool cached);
ssize_t file_sys_write(int fd, const struct iovec *parts, int count, int64_t offset, bool cached);

#endif
