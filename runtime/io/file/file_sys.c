/* SPDX-License-Identifier: MIT */
/*
 * System calls that the worker makes itself, because they do not block; see the header.
 * Any thread.  Nothing here suspends a fiber or keeps state.
 */
#include "io/file/file_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

int file_sys_open_cached(const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)flags, .resolve = RESOLVE_CACHED};
    if (flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE)
        return -EAGAIN;
    long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    if (fd >= 0)
        return (int)fd;
    /* Unknown to the kernel or its guards, or flags that openat2 is stricter about than open. */
    bool unsure = errno == ENOSYS || errno == EINVAL || errno == EPERM;
    return unsure ? -EAGAIN : -errno;
}

int file_sys_kind(int fd, mode_t *ret_type, uint64_t *ret_size)
{
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &status) < 0)
        return -errno;
    *ret_type = status.stx_mode & S_IFMT;
    *ret_size = status.stx_size;
    return 0;
}

bool file_sys_in_memory(int fd)
{
    struct statfs status;
    if (fstatfs(fd, &status) < 0)
        return false;
    return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}

bool file_sys_is_terminal(int fd)
{
    struct termios settings;
    return ioctl(fd, TCGETS, &settings) == 0;
}

int64_t file_sys_seek(int fd, int64_t offset, int whence)
{
    off_t position = lseek(fd, offset, whence);
    return position < 0 ? -errno : position;
}

ssize_t file_sys_read(int fd, const struct iovec *parts, int count, int64_t offset, bool cached)
{
    ssize_t n;
    do
        n = preadv2(fd, parts, count, offset, cached ? RWF_NOWAIT : 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t file_sys_write(int fd, const struct iovec *parts, int count, int64_t offset, bool cached)
{
    ssize_t n;
    do
        n = pwritev2(fd, parts, count, offset, cached ? RWF_NOWAIT : 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}
