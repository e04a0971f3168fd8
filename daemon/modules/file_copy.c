/* SPDX-License-Identifier: MIT */
/*
 * file.copy: a copy that is there whole or not at all.
 *
 * The bytes go into a file without a name in the target's folder (O_TMPFILE; where the file system
 * has none: with a hidden name), which at the end gets a hidden name and is renamed over the
 * target.  So a target that was there stays as it was until the copy is whole, a failure or a
 * cancel leaves nothing, and what a power cut or a kill can leave is at worst a hidden file
 * ".weft-copy-…".
 *
 * I1  temporary is the name that must be removed, or empty.
 * I2  A symbolic link at the target is replaced, not followed.
 *
 * Mode bits are the source's, under weftd's umask; owner, times and extended attributes are not
 * copied.  The copy is not synced to disk: after a power cut it may be gone, or be the old one.
 */
#include "daemon/modules/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 128 * 1024 };

struct copy {
    struct weft_attempt *attempt;
    const char *from, *to;
    uint64_t size;      /* of the source when it was opened; 0: not known */
    int source, target; /* -1: not opened yet */
    char *piece;        /* PIECE bytes, once copy_file_range cannot do it; else NULL */
    uint64_t bytes;     /* copied */
    mode_t mode;
    const char *fault; /* the path at fault, once something failed */
    char folder[PATH_MAX], temporary[PATH_MAX];
};

static int failed(struct copy *copy, const char *path, int rc)
{
    copy->fault = path;
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The folder of `to`, with its slash.  Errors: -EISDIR `to` names a folder. */
static int split_target(struct copy *copy)
{
    const char *name = strrchr(copy->to, '/') + 1; /* absolute: there is one */
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EISDIR;
    snprintf(copy->folder, sizeof(copy->folder), "%.*s", (int)(name - copy->to), copy->to);
    return 0;
}

/* A rename would find out, but only after the work.  Errors: -EISDIR, -EEXIST the same file. */
static int check_target(const struct copy *copy, const struct stat *source)
{
    struct stat target;
    if (stat(copy->to, &target) < 0)
        return 0; /* it is not there, or opening the folder will say why not */
    if (S_ISDIR(target.st_mode))
        return -EISDIR;
    return target.st_dev == source->st_dev && target.st_ino == source->st_ino ? -EEXIST : 0;
}

static int name_temporary(struct copy *copy)
{
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) < 0)
        return -errno;
    int size = snprintf(copy->temporary, sizeof(copy->temporary), "%s.weft-copy-%016" PRIx64,
                        copy->folder, random);
    return size < 0 || (size_t)size >= sizeof(copy->temporary) ? -ENAMETOOLONG : 0;
}

static int open_named(struct copy *copy)
{
    int rc = name_temporary(copy);
    if (rc < 0) {
        copy->temporary[0] = '\0';
        return rc;
    }
    copy->target = open(copy->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, copy->mode);
    if (copy->target >= 0)
        return 0;
    rc = -errno;
    copy->temporary[0] = '\0';
    return rc;
}

static int open_target(struct copy *copy)
{
    copy->target = open(copy->folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, copy->mode);
    if (copy->target >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return -errno;
    return open_named(copy);
}

static int begin(struct copy *copy)
{
    struct stat status;
    copy->source = file_open(copy->from, &status);
    if (copy->source < 0)
        return failed(copy, copy->from, copy->source);
    copy->mode = status.st_mode & 0777;
    copy->size = (uint64_t)status.st_size;
    (void)posix_fadvise(copy->source, 0, 0, POSIX_FADV_SEQUENTIAL);
    int rc = split_target(copy);
    if (rc == 0)
        rc = check_target(copy, &status);
    if (rc == 0)
        rc = open_target(copy);
    return rc < 0 ? failed(copy, copy->to, rc) : 0;
}

/* ---- copying --------------------------------------------------------------------------------- */

static int write_piece(struct copy *copy, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(copy->target, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(copy, copy->to, -errno);
        data += n;
        size -= (size_t)n;
        copy->bytes += (uint64_t)n;
    }
    return 0;
}

/* Returns: bytes copied, 0 at the end. */
static ssize_t copy_by_hand(struct copy *copy)
{
    ssize_t n;
    do
        n = read(copy->source, copy->piece, PIECE);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return failed(copy, copy->from, -errno);
    int rc = write_piece(copy, copy->piece, (size_t)n);
    return rc < 0 ? rc : n;
}

/* These are about the two file systems, not about the disk. */
static bool cannot_be_ranged(int err)
{
    return err == EXDEV || err == EINVAL || err == ENOSYS || err == EOPNOTSUPP || err == EPERM;
}

/* Files of /proc and the like seem empty to copy_file_range: the first 0 is not believed. */
static ssize_t copy_some(struct copy *copy, size_t size)
{
    if (copy->piece)
        return copy_by_hand(copy);
    ssize_t n;
    do
        n = copy_file_range(copy->source, NULL, copy->target, NULL, size, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        copy->bytes += (uint64_t)n;
        return n;
    }
    if (n < 0 && !cannot_be_ranged(errno))
        return failed(copy, copy->to, -errno);
    if (n == 0 && copy->bytes > 0)
        return 0;
    copy->piece = malloc(PIECE);
    return copy->piece ? copy_by_hand(copy) : failed(copy, copy->to, -ENOMEM);
}

/* ---- the end --------------------------------------------------------------------------------- */

static int name_target(struct copy *copy)
{
    char self[32];
    int rc = name_temporary(copy);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", copy->target);
    if (rc == 0 && linkat(AT_FDCWD, self, AT_FDCWD, copy->temporary, AT_SYMLINK_FOLLOW) < 0)
        rc = -errno;
    if (rc < 0)
        copy->temporary[0] = '\0';
    return rc;
}

static int end(struct copy *copy)
{
    int rc = copy->temporary[0] ? 0 : name_target(copy);
    if (rc == 0 && rename(copy->temporary, copy->to) < 0)
        rc = -errno;
    if (rc < 0)
        return failed(copy, copy->to, rc);
    copy->temporary[0] = '\0';
    return 0;
}

static void say_how_far(const struct copy *copy)
{
    if (copy->size >= copy->bytes) /* else it grows: who knows how far */
        weft_attempt_progress(copy->attempt, (double)copy->bytes / (double)copy->size,
                              "%" PRIu64 " of %" PRIu64 " bytes", copy->bytes, copy->size);
}

static int copy_slice(void *arg)
{
    struct copy *copy = arg;
    int rc = copy->source < 0 ? begin(copy) : 0;
    if (rc < 0)
        return rc;
    for (size_t total = 0; total < FILE_SLICE;) {
        ssize_t n = copy_some(copy, FILE_SLICE - total);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return end(copy);
        total += (size_t)n;
    }
    say_how_far(copy);
    return 1;
}

static int copy_clean_up(void *arg)
{
    struct copy *copy = arg;
    if (copy->source >= 0)
        close(copy->source);
    if (copy->target >= 0)
        close(copy->target);
    if (copy->temporary[0])
        unlink(copy->temporary);
    free(copy->piece);
    return 0;
}

/* Names the path, unless both are at fault. */
static int copy_failed(struct weft_attempt *attempt, const struct copy *copy, int rc)
{
    if (rc == -EEXIST && copy->fault == copy->to && !copy->bytes)
        return weft_attempt_fail(attempt, -EINVAL, "%s and %s are the same file", copy->from,
                                 copy->to);
    return weft_attempt_fail(attempt, rc, "cannot copy %s to %s: %s", copy->from, copy->to,
                             copy->fault ? copy->fault : "cannot begin");
}

int file_copy_run(struct weft_attempt *attempt)
{
    struct copy copy = {
        .attempt = attempt,
        .from = weft_arg_text(attempt, "from", ""),
        .to = weft_arg_text(attempt, "to", ""),
        .source = -1,
        .target = -1,
    };
    int rc = file_in_slices(copy_slice, &copy);
    file_clean_up(copy_clean_up, &copy);
    if (rc == -ECANCELED || rc == -ETIMEDOUT)
        return rc;
    if (rc < 0)
        return copy_failed(attempt, &copy, rc);
    return weft_result_integer(attempt, "bytes", (int64_t)copy.bytes);
}
