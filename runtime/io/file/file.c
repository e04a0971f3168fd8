/* SPDX-License-Identifier: MIT */
/*
 * Files: try at once, else let somebody else do it who may block.
 *
 *   I1  The scope is asked before anything is begun.  Once an operation has moved bytes, its result
 *       is returned.
 *   I2  What the page cache has, or takes, is read and written by the worker itself (RWF_NOWAIT),
 *       if it is no more than AT_ONCE_MAX; so are files whose content is memory (tmpfs).  A
 *       hand-over to the kernel's threads or ours costs ten times as much as such a call.
 *   I3  A file is always ready, so a fiber that reads on and on would never suspend: each GIVE_WAY
 *       operations it lets others run.
 *   I4  A path is opened with O_NONBLOCK, because a FIFO would hold the thread, or the runtime's
 *       stop, until somebody opens its other end.  What epoll accepts is then used as a stream.
 *
 * For fibers, but for weft_file_free and weft_file_fd.  Nothing is buffered here, and fibers that
 * share a file's position are not ordered.
 */
#include "io/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/fiber.h"
#include "core/handoff.h"
#include "io/file/file_call.h"
#include "io/file/file_sys.h"
#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/scope.h"
#include "weft/stream.h"

enum {
    AT_ONCE_MAX = 128 * 1024, /* bytes that the worker copies itself */
    PIECE = 8 * 1024 * 1024,  /* bytes of a write between two looks at the scope */
    PARTS = 64,               /* parts of a vectored write in one system call */
    GIVE_WAY = 16,            /* operations at once between two yields */
    FLAGS_ALWAYS = O_CLOEXEC | O_NOCTTY,
    SLOW_WRITES = O_DIRECT | O_SYNC | O_DSYNC,
};

/* Whether an operation may be tried on the worker.  It changes once at most, from CACHED. */
enum at_once { NEVER, IF_CACHED, ALWAYS };

struct weft_file {
    int fd;                     /* constant */
    bool owned;                 /* constant */
    struct weft_stream *stream; /* NULL, or who reads and writes it; constant */
    atomic_uchar read, write;   /* enum at_once; atomic: relaxed, a hint */
};

static atomic_bool at_once_allowed = true; /* atomic: relaxed; a switch for tests */

void file_set_at_once(bool allowed)
{
    atomic_store_explicit(&at_once_allowed, allowed, memory_order_relaxed);
}

/* ---- opening ---------------------------------------------------------------------------- */

static int open_anyhow(const char *path, int flags, mode_t mode)
{
    struct file_call call = {
        .op = FILE_OPEN, .path = path, .flags = flags | O_CLOEXEC, .mode = mode};
    return (int)file_call(&call);
}

/* With O_NONBLOCK or O_DIRECTORY: else a FIFO, or a lease, would hold the worker. */
int file_open_fd(const char *path, int flags, mode_t mode)
{
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    r = file_sys_open_cached(path, flags | O_CLOEXEC);
    return r == -EAGAIN ? open_anyhow(path, flags, mode) : r;
}

/* What may be done at once with a file that has these flags. */
static void file_init(struct weft_file *file, int fd, bool owned, bool regular, int flags)
{
    file->fd = fd;
    file->owned = owned;
    file->stream = NULL;
    atomic_init(&file->read, regular && !(flags & O_DIRECT) ? IF_CACHED : NEVER);
    atomic_init(&file->write, regular && !(flags & SLOW_WRITES) ? IF_CACHED : NEVER);
}

/* Of what was opened by path: a stream where epoll accepts it, else no longer O_NONBLOCK (I4). */
static int file_settle(struct weft_file *file, mode_t type, int flags)
{
    int r = -EPERM;
    if (type != S_IFREG && type != S_IFDIR && type != S_IFBLK && !(flags & O_PATH))
        r = weft_stream_new(file->fd, &file->stream);
    if (r != -EPERM)
        return r;
    if (!(flags & O_NONBLOCK))
        sys_set_flags(file->fd,
                      flags & ~O_NONBLOCK); /* open flags that it does not know are kept */
    return 0;
}

static int file_adopt_opened(int fd, int flags, struct weft_file **ret_file)
{
    uint64_t size;
    mode_t type;
    int r = file_sys_kind(fd, &type, &size);
    if (r < 0)
        return r;
    if (type == S_IFDIR && !(flags & (O_DIRECTORY | O_PATH)))
        return -EISDIR;
    struct weft_file *file = malloc(sizeof(*file));
    if (!file)
        return -ENOMEM;
    file_init(file, fd, true, type == S_IFREG, flags);
    r = file_settle(file, type, flags);
    if (r < 0) {
        free(file);
        return r;
    }
    *ret_file = file;
    return 0;
}

int weft_file_open(const char *path, int flags, mode_t mode, struct weft_file **ret_file)
{
    int fd = file_open_fd(path, flags | FLAGS_ALWAYS | O_NONBLOCK, mode);
    if (fd == -EAGAIN &&
        !(flags & O_NONBLOCK)) /* somebody holds a lease: wait until it is given up */
        fd = open_anyhow(path, flags | FLAGS_ALWAYS, mode);
    if (fd < 0)
        return fd;
    int r = file_adopt_opened(fd, flags, ret_file);
    if (r < 0)
        close(fd);
    return r;
}

static int file_from_fd(int fd, bool owned, struct weft_file **ret_file)
{
    uint64_t size;
    mode_t type;
    int r = file_sys_kind(fd, &type, &size);
    if (r < 0)
        return r;
    bool is_file = type == S_IFREG || type == S_IFDIR || type == S_IFBLK || type == S_IFCHR;
    if (!is_file || (type == S_IFCHR && file_sys_is_terminal(fd)))
        return -ESPIPE;
    int flags = sys_get_flags(fd);
    if (flags < 0)
        return flags;
    struct weft_file *file = malloc(sizeof(*file));
    if (!file)
        return -ENOMEM;
    file_init(file, fd, owned, type == S_IFREG, flags);
    *ret_file = file;
    return 0;
}

int weft_file_from_fd(int fd, struct weft_file **ret_file)
{
    return file_from_fd(fd, true, ret_file);
}

int weft_file_borrow_fd(int fd, struct weft_file **ret_file)
{
    return file_from_fd(fd, false, ret_file);
}

/* ---- closing ---------------------------------------------------------------------------- */

int weft_file_close(struct weft_file *file)
{
    struct file_call call = {.op = FILE_CLOSE, .fd = file->fd, .result = 1};
    struct weft_scope shield;
    if (file->stream || !file->owned) {
        weft_file_free(file);
        return 0;
    }
    weft_shield_enter(&shield);
    file_call(&call);
    weft_scope_leave(&shield);
    if (call.result > 0)
        close(call.fd); /* nobody could do it: no thread, or the runtime's grace is over */
    free(file);
    return call.result < 0 ? (int)call.result : 0;
}

void weft_file_free(struct weft_file *file)
{
    if (!file)
        return;
    if (file->stream)
        weft_stream_free(file->stream);
    else if (file->owned)
        close(file->fd);
    free(file);
}

int weft_file_fd(const struct weft_file *file)
{
    return file->fd;
}

/* ---- reading and writing ---------------------------------------------------------------- */

static size_t parts_size(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count && size <= AT_ONCE_MAX; i++)
        size += parts[i].iov_len;
    return size;
}

static ssize_t transfer_now(const struct file_call *call, bool cached)
{
    if (call->op == FILE_READ)
        return file_sys_read(call->fd, call->parts, call->count, call->offset, cached);
    return file_sys_write(call->fd, call->parts, call->count, call->offset, cached);
}

/* I2.  Errors: -EAGAIN not at once. */
static ssize_t transfer_at_once(struct weft_file *file, const struct file_call *call)
{
    atomic_uchar *state = call->op == FILE_READ ? &file->read : &file->write;
    enum at_once mode = atomic_load_explicit(state, memory_order_relaxed);
    if (mode == NEVER || parts_size(call->parts, call->count) > AT_ONCE_MAX ||
        unlikely(!atomic_load_explicit(&at_once_allowed, memory_order_relaxed)))
        return -EAGAIN;
    ssize_t n = transfer_now(call, mode == IF_CACHED);
    if (n != -EOPNOTSUPP || mode == ALWAYS)
        return n;
    mode = file_sys_in_memory(file->fd) ? ALWAYS : NEVER;
    atomic_store_explicit(state, mode, memory_order_relaxed);
    return mode == ALWAYS ? transfer_now(call, false) : -EAGAIN;
}

/* I3.  What the scope has to say then is for the next call. */
static void give_way(void)
{
    struct fiber *self = fiber_self();
    struct worker *worker = worker_enter(self);
    bool yield = !worker || ++worker->instant % GIVE_WAY == 0;
    worker_exit(self);
    if (yield)
        (void)weft_yield();
}

/* One operation, which may move less than was asked for. */
static ssize_t transfer(struct weft_file *file, enum file_op op, const struct iovec *parts,
                        int count, int64_t offset)
{
    struct file_call call = {
        .op = op, .fd = file->fd, .parts = parts, .count = count, .offset = offset};
    struct fiber *self = fiber_self();
    CHECK(self);
    int r = fiber_peek_cancel(self);
    if (r < 0)
        return r;
    ssize_t n = transfer_at_once(file, &call);
    if (n == -EAGAIN)
        n = (ssize_t)file_call(&call);
    give_way(); /* a ring, too, may have the result at once */
    return n;
}

/* The first part that is not empty: a stream reads into one. */
static ssize_t read_stream(struct weft_file *file, const struct iovec *parts, int count)
{
    int i = 0;
    while (i + 1 < count && parts[i].iov_len == 0)
        i++;
    return count == 0 ? 0 : weft_read(file->stream, parts[i].iov_base, parts[i].iov_len);
}

static ssize_t file_readv(struct weft_file *file, const struct iovec *parts, int count,
                          int64_t offset)
{
    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    if (file->stream)
        return offset < 0 ? read_stream(file, parts, count) : -ESPIPE;
    return transfer(file, FILE_READ, parts, count, offset);
}

/* How far a vectored write has come. */
struct cursor {
    const struct iovec *parts;
    int count;
    size_t skip; /* bytes of the first part that are written */
};

static void cursor_skip(struct cursor *cursor, size_t size)
{
    cursor->skip += size;
    while (cursor->count > 0 && cursor->skip >= cursor->parts->iov_len) {
        cursor->skip -= cursor->parts->iov_len;
        cursor->parts++;
        cursor->count--;
    }
}

/* The parts that come next.  Returns: how many. */
static int cursor_next(const struct cursor *cursor, struct iovec parts[PARTS])
{
    size_t room = PIECE, skip = cursor->skip;
    int count = 0;
    for (; count < cursor->count && count < PARTS && room > 0; count++) {
        size_t size = cursor->parts[count].iov_len - skip;
        parts[count].iov_base = (char *)cursor->parts[count].iov_base + skip;
        parts[count].iov_len = size < room ? size : room;
        room -= parts[count].iov_len;
        skip = 0;
    }
    return count;
}

static int write_fully(struct weft_file *file, struct cursor cursor, int64_t offset,
                       size_t *written)
{
    struct iovec parts[PARTS];
    cursor_skip(&cursor, 0);
    while (cursor.count > 0) {
        ssize_t n = transfer(file, FILE_WRITE, parts, cursor_next(&cursor, parts),
                             offset < 0 ? offset : offset + (int64_t)*written);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EIO; /* it takes nothing, and says no reason */
        *written += (size_t)n;
        cursor_skip(&cursor, (size_t)n);
    }
    return 0;
}

static int write_stream(struct weft_file *file, const struct iovec *parts, int count,
                        size_t *written)
{
    int r = 0;
    for (int i = 0; i < count && r == 0; i++) {
        size_t size = 0;
        r = weft_write(file->stream, parts[i].iov_base, parts[i].iov_len, &size);
        *written += size;
    }
    return r;
}

static int file_writev(struct weft_file *file, const struct iovec *parts, int count, int64_t offset,
                       size_t *ret_written)
{
    size_t written = 0;
    int r;
    if (count < 0 || count > IOV_MAX)
        r = -EINVAL;
    else if (!file->stream)
        r = write_fully(file, (struct cursor){parts, count, 0}, offset, &written);
    else
        r = offset < 0 ? write_stream(file, parts, count, &written) : -ESPIPE;
    if (ret_written)
        *ret_written = written;
    return r;
}

ssize_t weft_file_read(struct weft_file *file, void *buffer, size_t size)
{
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    return file_readv(file, &part, 1, -1);
}

ssize_t weft_file_pread(struct weft_file *file, void *buffer, size_t size, off_t offset)
{
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    return weft_file_preadv(file, &part, 1, offset);
}

ssize_t weft_file_readv(struct weft_file *file, const struct iovec *parts, int count)
{
    return file_readv(file, parts, count, -1);
}

ssize_t weft_file_preadv(struct weft_file *file, const struct iovec *parts, int count, off_t offset)
{
    return offset < 0 ? -EINVAL : file_readv(file, parts, count, offset);
}

int weft_file_write(struct weft_file *file, const void *data, size_t size, size_t *ret_written)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return file_writev(file, &part, 1, -1, ret_written);
}

int weft_file_pwrite(struct weft_file *file, const void *data, size_t size, off_t offset,
                     size_t *ret_written)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return weft_file_pwritev(file, &part, 1, offset, ret_written);
}

int weft_file_writev(struct weft_file *file, const struct iovec *parts, int count,
                     size_t *ret_written)
{
    return file_writev(file, parts, count, -1, ret_written);
}

int weft_file_pwritev(struct weft_file *file, const struct iovec *parts, int count, off_t offset,
                      size_t *ret_written)
{
    if (offset >= 0)
        return file_writev(file, parts, count, offset, ret_written);
    if (ret_written)
        *ret_written = 0;
    return -EINVAL;
}

/* ---- the rest --------------------------------------------------------------------------- */

/* An operation that is never tried at once. */
static int64_t file_do(struct file_call call)
{
    int r = weft_check_cancel();
    return r < 0 ? r : file_call(&call);
}

off_t weft_file_seek(struct weft_file *file, off_t offset, int whence)
{
    if (whence == SEEK_SET || whence == SEEK_CUR)
        return file_sys_seek(file->fd, offset, whence);
    return file_do(
        (struct file_call){.op = FILE_SEEK, .fd = file->fd, .offset = offset, .flags = whence});
}

off_t weft_file_tell(struct weft_file *file)
{
    return file_sys_seek(file->fd, 0, SEEK_CUR);
}

int weft_file_truncate(struct weft_file *file, off_t size)
{
    return (int)file_do((struct file_call){.op = FILE_TRUNCATE, .fd = file->fd, .offset = size});
}

int weft_file_sync(struct weft_file *file)
{
    return (int)file_do((struct file_call){.op = FILE_SYNC, .fd = file->fd});
}

int weft_file_datasync(struct weft_file *file)
{
    return (int)file_do((struct file_call){.op = FILE_DATASYNC, .fd = file->fd});
}

int weft_file_stat(struct weft_file *file, struct stat *ret_stat)
{
    return (int)file_do((struct file_call){.op = FILE_STAT, .fd = file->fd, .status = ret_stat});
}
