/* SPDX-License-Identifier: MIT */
/*
 * Copying a file, on the threads for files: a small one in a single trip, a large one in pieces,
 * between which the fiber looks at its scope and reports progress.
 *
 *   I1  All that the copy uses stands in struct copy, on the fiber's stack; one party at a time
 *       uses it, the fiber or the thread that has its job.
 *   I2  Whatever ends the copy early, copy_end is reached, off the worker and shielded: it closes
 *       both files, and removes a destination that this copy made.
 *   I3  copy_file_range first.  It is left for read and write as soon as it refuses, or says "end"
 *       where the file's size says otherwise (files of /proc have no size).
 *
 * weft_copy_file is for fibers; the functions marked so run on the pool, where errno is as
 * anywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base.h"
#include "io/file/file.h"
#include "weft/path.h"

enum {
    PIECE = 8 * 1024 * 1024, /* bytes in one trip */
    BUFFER = 256 * 1024,     /* fits the second-level cache: measured to be the fastest */
    BUFFER_SMALL = 16 * 1024,
    PERMISSIONS = 0777
};

struct copy {
    const char *from, *to;
    bool exclusive, sync;
    int in, out;   /* -1: not open */
    bool made;     /* `to` is this copy's */
    bool ranged;   /* copy_file_range still serves */
    bool finished; /* the end of `from` was reached, and both are closed */
    uint64_t size; /* of `from`, as it was at the beginning */
    uint64_t copied;
};

/* ---- on the pool ------------------------------------------------------------------------ */

static int open_source(struct copy *copy, mode_t *ret_mode)
{
    struct stat status;
    copy->in = open(copy->from, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (copy->in < 0 || fstat(copy->in, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    copy->size = (uint64_t)status.st_size;
    *ret_mode = status.st_mode & PERMISSIONS;
    return 0;
}

/* One that was there: cut it, unless it is the source. */
static int open_existing(struct copy *copy)
{
    struct stat from, to;
    copy->out = open(copy->to, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (copy->out < 0 || fstat(copy->in, &from) < 0 || fstat(copy->out, &to) < 0)
        return -errno;
    if (!S_ISREG(to.st_mode) || (from.st_dev == to.st_dev && from.st_ino == to.st_ino))
        return -EINVAL;
    return to.st_size > 0 && ftruncate(copy->out, 0) < 0 ? -errno : 0;
}

static int open_destination(struct copy *copy, mode_t mode)
{
    struct stat status;
    copy->out = open(copy->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (copy->out < 0)
        return errno == EEXIST && !copy->exclusive ? open_existing(copy) : -errno;
    copy->made = true;
    if (fstat(copy->out, &status) < 0)
        return -errno;
    if ((status.st_mode & PERMISSIONS) == mode)
        return 0;
    return fchmod(copy->out, mode) < 0 ? -errno : 0; /* the umask took something */
}

static bool range_refused(int error)
{
    return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP ||
           error == EPERM;
}

/* Up to `size` bytes by copy_file_range.  Returns: how many; 0 it does not serve (any more). */
static int64_t copy_range(struct copy *copy, size_t size)
{
    ssize_t n = copy_file_range(copy->in, NULL, copy->out, NULL, size, 0);
    if (n > 0)
        return n;
    if (n < 0 && !range_refused(errno))
        return -errno;
    copy->ranged = false; /* I3 */
    return 0;
}

static int write_out(struct copy *copy, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(copy->out, data, size);
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
        copy->copied += (size_t)n;
    }
    return 0;
}

/* Returns: 1; 0 the end. */
static int copy_buffer(struct copy *copy, char *buffer, size_t size)
{
    ssize_t n = read(copy->in, buffer, size);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    int r = write_out(copy, buffer, (size_t)n);
    return r < 0 ? r : 1;
}

/* A piece by read and write, after what copy_range brought.  Returns: as copy_buffer. */
static int copy_buffered(struct copy *copy, uint64_t until)
{
    char small[BUFFER_SMALL];
    char *large = copy->size > sizeof(small) ? malloc(BUFFER) : NULL;
    int r = 1;
    while (r > 0 && copy->copied < until)
        r = copy_buffer(copy, large ? large : small, large ? BUFFER : sizeof(small));
    free(large);
    return r;
}

/* A piece.  Returns: 1; 0 the end. */
static int copy_piece(struct copy *copy)
{
    uint64_t until = copy->copied + PIECE;
    while (copy->ranged && copy->copied < until) {
        int64_t n = copy_range(copy, (size_t)(until - copy->copied));
        if (n < 0)
            return (int)n;
        copy->copied += (uint64_t)n;
        if (copy->size > 0 && copy->copied >= copy->size)
            return 0;
    }
    return copy->copied < until ? copy_buffered(copy, until) : 1;
}

static int copy_flush(struct copy *copy)
{
    if (!copy->sync)
        return 0;
    if (fsync(copy->out) < 0)
        return -errno;
    return copy->made ? file_sync_folder(copy->to) : 0;
}

/* close(2) tells of earlier writes that failed, on network file systems. */
static int copy_close(struct copy *copy)
{
    int r = 0;
    if (copy->in >= 0)
        close(copy->in);
    if (copy->out >= 0 && close(copy->out) < 0)
        r = -errno;
    copy->in = copy->out = -1;
    return r;
}

/* The job of one trip. */
static int copy_step(void *arg)
{
    struct copy *copy = arg;
    int r = copy_piece(copy);
    if (r == 0)
        r = copy_flush(copy);
    else if (r > 0)
        return 0;
    if (r < 0)
        return r;
    r = copy_close(copy);
    copy->finished = r == 0;
    return r;
}

/* The job of the first trip. */
static int copy_begin(void *arg)
{
    struct copy *copy = arg;
    mode_t mode = 0;
    int r = open_source(copy, &mode);
    if (r == 0)
        r = open_destination(copy, mode);
    return r < 0 ? r : copy_step(copy);
}

/* I2. */
static int copy_end(void *arg)
{
    struct copy *copy = arg;
    copy_close(copy);
    if (copy->made)
        unlink(copy->to);
    return 0;
}

/* ---- the fiber's side ------------------------------------------------------------------- */

static int tell(const struct copy *copy, const struct weft_copy_options *options)
{
    if (!options || !options->progress)
        return 0;
    int r = options->progress(options->arg, copy->copied, copy->size);
    return r < 0 ? r : 0;
}

static int copy_run(struct copy *copy, const struct weft_copy_options *options)
{
    int result;
    int r = file_offload(copy_begin, copy, &result);
    while (r == 0 && (r = result) == 0 && (r = tell(copy, options)) == 0 && !copy->finished)
        r = file_offload(copy_step, copy, &result);
    return r;
}

int weft_copy_file(const char *from, const char *to, const struct weft_copy_options *options,
                   uint64_t *ret_copied)
{
    struct copy copy = {.from = from, .to = to, .in = -1, .out = -1, .ranged = true};
    if (options) {
        copy.exclusive = options->exclusive;
        copy.sync = options->sync;
    }
    int r = copy_run(&copy, options);
    if (r < 0 && (copy.in >= 0 || copy.made))
        file_offload_shielded(copy_end, &copy);
    if (ret_copied)
        *ret_copied = copy.copied;
    return r;
}
