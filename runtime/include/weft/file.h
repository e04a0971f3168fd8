/* SPDX-License-Identifier: MIT */
/* Files.  What is in the page cache is read at once; all else goes to an io_uring of the worker,
 * or, where the kernel refuses one, to a pool of threads (weft_options.file_backend).  Calls,
 * results and errors are the same on both.
 *
 * A cancel or deadline of the scope takes an operation back that the kernel has not begun; one that
 * it has begun is waited for, and then its result is returned, not the cancellation, which the next
 * call reports.  So no byte is lost, and no buffer is in use when a call has returned.
 *
 * Several fibers may use one file at a time; those that use its position (read, write, seek) must
 * order themselves.  Defaults of weft/weft.h apply. */
#ifndef WEFT_FILE_H
#define WEFT_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_file;

/**
 * Open `path` with open(2)'s `flags` and `mode`; close-on-exec and no controlling terminal, always.
 * A FIFO or a terminal is read and written as a stream is, one fiber per direction, and opening a
 * FIFO does not wait for its other end (-ENXIO when it is opened for writing and nobody reads).
 * Errors: -EISDIR a directory without O_DIRECTORY, -ENOMEM, -ECANCELED, -ETIMEDOUT, open(2)'s.
 */
int weft_file_open(const char *path, int flags, mode_t mode, struct weft_file **ret_file);

/** Make a file of `fd`, and close it with the file.  Never suspends.
 * Ownership: the file owns fd; on failure the caller keeps it.
 * Errors: -EBADF, -ENOMEM, -ESPIPE a pipe, socket or terminal (those are streams). */
int weft_file_from_fd(int fd, struct weft_file **ret_file);

/** As weft_file_from_fd, but fd stays the caller's, and open until the file is freed. */
int weft_file_borrow_fd(int fd, struct weft_file **ret_file);

/** Close and free it, off the worker and whatever the scope says; nobody may use it any more.
 * Returns: 0, or what close(2) has to report of earlier writes.  It is gone in any case. */
int weft_file_close(struct weft_file *file);

/** As weft_file_close, but here and now, and its error is dropped.  Any thread.  Never suspends.
 * NULL does nothing. */
void weft_file_free(struct weft_file *file);

/** The descriptor's number, borrowed.  Any thread. */
int weft_file_fd(const struct weft_file *file);

/**
 * Read up to size bytes at the file's position, and move it.
 * Returns: bytes read, 0 at end of file.
 * Errors:  -ECANCELED, -ETIMEDOUT: nothing was read; -EISDIR, and read(2)'s.
 */
ssize_t weft_file_read(struct weft_file *file, void *buffer, size_t size);

/**
 * Write all of it at the file's position (O_APPEND: at the end), and move it.
 * `ret_written` (may be NULL), which is set in any case, tells how much was written.
 * Returns: 0.
 * Errors:  -ECANCELED, -ETIMEDOUT (looked at between pieces of a few MiB), -ENOSPC, and write(2)'s.
 */
int weft_file_write(struct weft_file *file, const void *data, size_t size, size_t *ret_written);

/** As weft_file_read, at `offset`; the position stays.  Errors: -EINVAL offset < 0, -ESPIPE. */
ssize_t weft_file_pread(struct weft_file *file, void *buffer, size_t size, off_t offset);

/** As weft_file_write, at `offset`; the position stays.  Errors: -EINVAL offset < 0, -ESPIPE. */
int weft_file_pwrite(struct weft_file *file, const void *data, size_t size, off_t offset,
                     size_t *ret_written);

/** As weft_file_read, into `count` parts one after the other; -EINVAL more than IOV_MAX. */
ssize_t weft_file_readv(struct weft_file *file, const struct iovec *parts, int count);
ssize_t weft_file_preadv(struct weft_file *file, const struct iovec *parts, int count,
                         off_t offset);

/** As weft_file_write, all of the `count` parts one after the other; -EINVAL more than IOV_MAX. */
int weft_file_writev(struct weft_file *file, const struct iovec *parts, int count,
                     size_t *ret_written);
int weft_file_pwritev(struct weft_file *file, const struct iovec *parts, int count, off_t offset,
                      size_t *ret_written);

/** Move the position as lseek(2) does.  Returns: the new one.  Errors: -EINVAL, -ESPIPE,
 * -ENXIO (SEEK_DATA, SEEK_HOLE); with SEEK_END, _DATA and _HOLE also -ECANCELED, -ETIMEDOUT. */
off_t weft_file_seek(struct weft_file *file, off_t offset, int whence);

/** The position.  Never suspends.  Errors: -ESPIPE. */
off_t weft_file_tell(struct weft_file *file);

/** Cut the file to `size` bytes, or extend it by zeroes.  Errors: ftruncate(2)'s, -ECANCELED,
 * -ETIMEDOUT. */
int weft_file_truncate(struct weft_file *file, off_t size);

/** Wait until data and metadata are on the disk; datasync leaves out what is not needed to read the
 * data back.  Errors: fsync(2)'s, -ECANCELED, -ETIMEDOUT. */
int weft_file_sync(struct weft_file *file);
int weft_file_datasync(struct weft_file *file);

/** Errors: fstat(2)'s, -ECANCELED, -ETIMEDOUT. */
int weft_file_stat(struct weft_file *file, struct stat *ret_stat);

/**
 * Read a whole file.  *ret_data is for free(3), and a NUL that is not counted stands behind it.
 * Errors: -EFBIG more than `limit` bytes, -ENOMEM, and weft_file_open's, weft_file_read's.
 */
int weft_file_read_all(const char *path, size_t limit, void **ret_data, size_t *ret_size);

/* How weft_file_write_all writes; to be combined. */
enum weft_write_flags {
    WEFT_WRITE_APPEND = 1 << 0,    /* at the end of what is there; not with the next two */
    WEFT_WRITE_EXCLUSIVE = 1 << 1, /* -EEXIST when the file is there */
    WEFT_WRITE_ATOMIC = 1 << 2,    /* readers see the old content or the new, also after a crash:
                                    * temporary file beside it, fsync, rename, fsync of the folder;
                                    * keeps the mode of what it replaces; any error or cancel
                                    * leaves the old file as it was.  A symbolic link is replaced,
                                    * not followed */
    WEFT_WRITE_SYNC = 1 << 3       /* return when it is on the disk; ATOMIC implies it */
};

/**
 * Write a whole file, creating it with `mode` (and the umask) if need be, and by default replacing
 * its content in place: there an error or a cancel leaves it cut short.
 * Errors: -EINVAL such flags do not go together, and weft_file_open's, weft_file_write's.
 */
int weft_file_write_all(const char *path, const void *data, size_t size, mode_t mode,
                        unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
