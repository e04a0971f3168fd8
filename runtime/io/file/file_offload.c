/* SPDX-License-Identifier: MIT */
/*
 * Operations on files by system calls on the runtime's threads for files, one function an
 * operation.
 *
 * These functions run on those threads, where errno may be used as anywhere; they must not
 * call the library.  The rest is for fibers.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/offload.h"
#include "core/worker.h"
#include "io/file/file.h"
#include "io/file/file_call.h"
#include "weft/scope.h"

static int64_t do_open(const struct file_call *call)
{
    return open(call->path, call->flags, call->mode);
}

/* EINTR would be no reason to try again: the descriptor is gone.  No signal comes here anyway. */
static int64_t do_close(const struct file_call *call)
{
    return close(call->fd);
}

static int64_t do_read(const struct file_call *call)
{
    return preadv2(call->fd, call->parts, call->count, call->offset, 0);
}

static int64_t do_write(const struct file_call *call)
{
    return pwritev2(call->fd, call->parts, call->count, call->offset, 0);
}

static int64_t do_sync(const struct file_call *call)
{
    return fsync(call->fd);
}

static int64_t do_datasync(const struct file_call *call)
{
    return fdatasync(call->fd);
}

static int64_t do_truncate(const struct file_call *call)
{
    return ftruncate(call->fd, call->offset);
}

static int64_t do_seek(const struct file_call *call)
{
    return lseek(call->fd, call->offset, call->flags);
}

static int64_t do_stat(const struct file_call *call)
{
    return fstat(call->fd, call->status);
}

static int64_t do_chmod(const struct file_call *call)
{
    return chmod(call->path, call->mode);
}

static int64_t do_link(const struct file_call *call)
{
    return link(call->path, call->to);
}

static int64_t do_mkdir(const struct file_call *call)
{
    return mkdir(call->path, call->mode);
}

static int64_t do_pathstat(const struct file_call *call)
{
    return fstatat(AT_FDCWD, call->path, call->status, call->flags);
}

static int64_t do_readlink(const struct file_call *call)
{
    return readlink(call->path, call->text, call->size);
}

static int64_t do_rename(const struct file_call *call)
{
    return rename(call->path, call->to);
}

static int64_t do_rmdir(const struct file_call *call)
{
    return rmdir(call->path);
}

static int64_t do_symlink(const struct file_call *call)
{
    return symlink(call->to, call->path);
}

static int64_t do_unlink(const struct file_call *call)
{
    return unlink(call->path);
}

static int64_t (*const functions[FILE_OPS])(const struct file_call *) = {
    [FILE_OPEN] = do_open,         [FILE_CLOSE] = do_close,       [FILE_READ] = do_read,
    [FILE_WRITE] = do_write,       [FILE_SYNC] = do_sync,         [FILE_DATASYNC] = do_datasync,
    [FILE_TRUNCATE] = do_truncate, [FILE_SEEK] = do_seek,         [FILE_STAT] = do_stat,
    [FILE_CHMOD] = do_chmod,       [FILE_LINK] = do_link,         [FILE_MKDIR] = do_mkdir,
    [FILE_PATHSTAT] = do_pathstat, [FILE_READLINK] = do_readlink, [FILE_RENAME] = do_rename,
    [FILE_RMDIR] = do_rmdir,       [FILE_SYMLINK] = do_symlink,   [FILE_UNLINK] = do_unlink,
};

static int on_thread(void *arg)
{
    struct file_call *call = arg;
    do {
        call->result = functions[call->op](call);
        if (call->result < 0)
            call->result = -errno;
    } while (call->result == -EINTR && call->op != FILE_CLOSE);
    return 0;
}

int file_offload(int (*fn)(void *), void *arg, int *ret_result)
{
    return offload_run(worker_files(worker_self()), fn, arg, ret_result);
}

int file_offload_shielded(int (*fn)(void *), void *arg)
{
    struct weft_scope shield;
    int result;
    weft_shield_enter(&shield);
    int r = file_offload(fn, arg, &result);
    weft_scope_leave(&shield);
    return r < 0 ? fn(arg) : result;
}

int file_call_offload(struct file_call *call)
{
    return file_offload(on_thread, call, NULL);
}
