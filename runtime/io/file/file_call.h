/* SPDX-License-Identifier: MIT */
/*
 * An operation on files that may block, as data: what the two backends carry out.  The worker's
 * io_uring does it where it can (file_uring.c), else a thread of the runtime's own
 * (file_offload.c), with the same result.
 */
#ifndef RUNTIME_IO_FILE_FILE_CALL_H
#define RUNTIME_IO_FILE_FILE_CALL_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

enum file_op {
    FILE_OPEN,     /* path, flags, mode; the result is the descriptor */
    FILE_CLOSE,    /* fd */
    FILE_READ,     /* fd, parts, count, offset (-1: at the position, and move it) */
    FILE_WRITE,    /* likewise */
    FILE_SYNC,     /* fd */
    FILE_DATASYNC, /* fd */
    FILE_TRUNCATE, /* fd, offset: the new size */
    FILE_SEEK,     /* fd, offset, flags: whence */
    FILE_STAT,     /* fd, status */
    FILE_CHMOD,    /* path, mode */
    FILE_LINK,     /* path, to */
    FILE_MKDIR,    /* path, mode */
    FILE_PATHSTAT, /* path, flags: AT_SYMLINK_NOFOLLOW or 0, status */
    FILE_READLINK, /* path, text, size */
    FILE_RENAME,   /* path, to */
    FILE_RMDIR,    /* path */
    FILE_SYMLINK,  /* to: what it points to, path */
    FILE_UNLINK,   /* path */
    FILE_OPS
};

struct file_call {
    enum file_op op;
    int fd;
    int flags;
    mode_t mode;
    const char *path, *to;
    const struct iovec *parts;
    int count;
    int64_t offset;
    char *text;
    size_t size;
    struct stat *status;
    int64_t result; /* what the system call returned, or -errno */
};

/**
 * Carry it out, on a fiber, which waits for its end.
 * Returns: the result, which is the same whoever carried it out.
 * Errors:  of its own: -ECANCELED, -ETIMEDOUT from the scope, -EAGAIN no thread to be had: then it
 *          was not done.
 */
int64_t file_call(struct file_call *call);

/** The io_uring's part.  Returns: as ring_run (core/ring.h). */
int file_call_uring(struct file_call *call);

/** The pool's part.  Errors: as weft_offload. */
int file_call_offload(struct file_call *call);

#endif
