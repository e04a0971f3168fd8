/* SPDX-License-Identifier: MIT */
/*
 * Operations on files as requests to the worker's io_uring (core/ring.h), one function an
 * operation.  What has no function here (there is no such request, or it came late) is the pool's.
 *
 *   I1  A large read or write is handed to a thread of the kernel's at once (IOSQE_ASYNC), so that
 *       the copying does not hold the worker.
 *   I2  The kernel's request for reading does not ask whether the file has a position, as pread(2)
 *       does: whoever calls has made sure.
 *   I3  The file's position is read before the request and moved after it, here.  A request "at the
 *       position" (offset -1) leaves it where it was if it ends short for an error (a full disk),
 *       seen on Linux 6.18: the next one would write over the bytes that it reported.
 *
 * For fibers.  The functions only fill a request in.
 */
#include <liburing.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base.h"
#include "core/ring.h"
#include "io/file/file_call.h"
#include "io/file/file_sys.h"
#include "io/sys.h"

enum { ASYNC_FROM = 128 * 1024 }; /* bytes: about what is copied in the time of a hand-over */

static unsigned size_of(const struct file_call *call)
{
    size_t size = 0;
    for (int i = 0; i < call->count && size < ASYNC_FROM; i++)
        size += call->parts[i].iov_len;
    return size < ASYNC_FROM ? (unsigned)size : ASYNC_FROM;
}

static void ask_open(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_openat(sqe, AT_FDCWD, call->path, call->flags, call->mode);
}

static void ask_close(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_close(sqe, call->fd);
}

static void ask_read(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_readv(sqe, call->fd, call->parts, (unsigned)call->count, (uint64_t)call->offset);
    if (size_of(call) >= ASYNC_FROM)
        io_uring_sqe_set_flags(sqe, IOSQE_ASYNC); /* I1 */
}

static void ask_write(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_writev(sqe, call->fd, call->parts, (unsigned)call->count, (uint64_t)call->offset);
    if (size_of(call) >= ASYNC_FROM)
        io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
}

static void ask_sync(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_fsync(sqe, call->fd, 0);
}

static void ask_datasync(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_fsync(sqe, call->fd, IORING_FSYNC_DATASYNC);
}

static void ask_link(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_linkat(sqe, AT_FDCWD, call->path, AT_FDCWD, call->to, 0);
}

static void ask_mkdir(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_mkdirat(sqe, AT_FDCWD, call->path, call->mode);
}

static void ask_rename(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_renameat(sqe, AT_FDCWD, call->path, AT_FDCWD, call->to, 0);
}

static void ask_rmdir(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_unlinkat(sqe, AT_FDCWD, call->path, AT_REMOVEDIR);
}

static void ask_symlink(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_symlinkat(sqe, call->to, AT_FDCWD, call->path);
}

static void ask_unlink(const struct file_call *call, struct io_uring_sqe *sqe)
{
    io_uring_prep_unlinkat(sqe, AT_FDCWD, call->path, 0);
}

static void (*const askers[FILE_OPS])(const struct file_call *, struct io_uring_sqe *) = {
    [FILE_OPEN] = ask_open,   [FILE_CLOSE] = ask_close,     [FILE_READ] = ask_read,
    [FILE_WRITE] = ask_write, [FILE_SYNC] = ask_sync,       [FILE_DATASYNC] = ask_datasync,
    [FILE_LINK] = ask_link,   [FILE_MKDIR] = ask_mkdir,     [FILE_RENAME] = ask_rename,
    [FILE_RMDIR] = ask_rmdir, [FILE_SYMLINK] = ask_symlink, [FILE_UNLINK] = ask_unlink,
};

/* ---- stat, whose request answers in another form ---------------------------------------- */

static struct timespec time_of(const struct statx_timestamp *time)
{
    return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

static struct stat stat_of(const struct statx *from)
{
    return (struct stat){
        .st_dev = makedev(from->stx_dev_major, from->stx_dev_minor),
        .st_ino = from->stx_ino,
        .st_mode = from->stx_mode,
        .st_nlink = from->stx_nlink,
        .st_uid = from->stx_uid,
        .st_gid = from->stx_gid,
        .st_rdev = makedev(from->stx_rdev_major, from->stx_rdev_minor),
        .st_size = (off_t)from->stx_size,
        .st_blksize = (blksize_t)from->stx_blksize,
        .st_blocks = (blkcnt_t)from->stx_blocks,
        .st_atim = time_of(&from->stx_atime),
        .st_mtim = time_of(&from->stx_mtime),
        .st_ctim = time_of(&from->stx_ctime),
    };
}

static int stat_uring(struct file_call *call)
{
    struct io_uring_sqe request = {0};
    struct statx status;
    int32_t result;
    bool by_fd = call->op == FILE_STAT;
    io_uring_prep_statx(&request, by_fd ? call->fd : AT_FDCWD, by_fd ? "" : call->path,
                        by_fd ? AT_EMPTY_PATH : call->flags, STATX_BASIC_STATS, &status);
    int r = ring_run(&request, &result);
    if (r != 0)
        return r;
    if (result == 0)
        *call->status = stat_of(&status);
    call->result = result;
    return 0;
}

static int run(struct file_call *call)
{
    struct io_uring_sqe request = {0};
    int32_t result;
    askers[call->op](call, &request);
    int r = ring_run(&request, &result);
    if (r == 0)
        call->result = result;
    return r;
}

/* I3.  Where it ends after an append is known to nobody but write(2). */
static int run_at_position(struct file_call *call)
{
    int64_t position = file_sys_seek(call->fd, 0, SEEK_CUR);
    if (position < 0)
        return run(call); /* it has none */
    if (call->op == FILE_WRITE && sys_get_flags(call->fd) & O_APPEND)
        return RING_REFUSED;
    call->offset = position;
    int r = run(call);
    call->offset = -1;
    if (r == 0 && call->result > 0)
        file_sys_seek(call->fd, position + call->result, SEEK_SET);
    return r;
}

int file_call_uring(struct file_call *call)
{
    if (call->op == FILE_STAT || call->op == FILE_PATHSTAT)
        return stat_uring(call);
    if (!askers[call->op])
        return RING_REFUSED;
    if ((call->op == FILE_READ || call->op == FILE_WRITE) && call->offset < 0)
        return run_at_position(call);
    return run(call);
}
