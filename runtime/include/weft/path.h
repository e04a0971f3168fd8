/* SPDX-License-Identifier: MIT */
/* What the file system does by name.  Each call runs off the worker, and is looked at by the scope
 * as file operations are (weft/file.h): cancelled before it began, it has done nothing; once begun,
 * its result is returned.
 * Each may return -ECANCELED, -ETIMEDOUT, -ENOMEM, -EAGAIN (no thread to be had), and what path
 * lookup reports: -ENOENT, -ENOTDIR, -EACCES, -ELOOP, -ENAMETOOLONG.  Listed are the others.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_PATH_H
#define WEFT_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

int weft_path_stat(const char *path, struct stat *ret_stat);

/** As weft_path_stat, of a symbolic link itself. */
int weft_path_lstat(const char *path, struct stat *ret_stat);

/** Returns: 1 something is there (links are followed), 0 nothing is. */
int weft_path_exists(const char *path);

/** Errors: -EXDEV another file system, -ENOTEMPTY or -EEXIST, -EISDIR, -EROFS, -ENOSPC. */
int weft_path_rename(const char *from, const char *to);

/** Remove a file or a link.  Errors: -EISDIR, -EROFS, -EPERM. */
int weft_path_remove(const char *path);

/** Remove an empty folder.  Errors: -ENOTEMPTY, -EBUSY, -EROFS. */
int weft_path_rmdir(const char *path);

/** Errors: -EEXIST, -EROFS, -ENOSPC. */
int weft_path_mkdir(const char *path, mode_t mode);

/** Make a folder and those above it that are missing.  One that is there is fine.
 * Errors: -ENOTDIR or -EEXIST where something else is in the way, -EROFS, -ENOSPC. */
int weft_path_mkdirs(const char *path, mode_t mode);

/** A second name for a file.  Errors: -EEXIST, -EXDEV, -EPERM, -EMLINK, -EROFS, -ENOSPC. */
int weft_path_link(const char *from, const char *to);

/** A symbolic link at `path`.  Errors: -EEXIST, -EROFS, -ENOSPC. */
int weft_path_symlink(const char *target, const char *path);

/** Where a symbolic link points, ended by NUL.  Returns: its length.
 * Errors: -EINVAL not a link, -ERANGE `size` is too small. */
ssize_t weft_path_readlink(const char *path, char *ret_target, size_t size);

/** Errors: -EPERM, -EROFS. */
int weft_path_chmod(const char *path, mode_t mode);

/* ---- folders */

struct weft_dir;

/** One name in a folder. */
struct weft_dir_entry {
    const char *name;   /* good until the next weft_dir_next or weft_dir_free */
    uint64_t inode;     /* as the folder has it: of a mount point, what it covers */
    unsigned char type; /* DT_REG, DT_DIR, DT_LNK... of <dirent.h>; asked for where the file system
                         * does not tell, and DT_UNKNOWN if it is gone by then */
};

/** Open a folder for reading its names. */
int weft_dir_open(const char *path, struct weft_dir **ret_dir);

/** The next name, in no order, without "." and "..".  One fiber at a time.
 * Returns: 1; 0 there are no more.  After -ECANCELED or -ETIMEDOUT it may go on: none is lost. */
int weft_dir_next(struct weft_dir *dir, struct weft_dir_entry *ret_entry);

/** Any thread.  Never suspends.  NULL does nothing. */
void weft_dir_free(struct weft_dir *dir);

/* ---- copying */

/* How weft_copy_file copies.  All zeroes is the default. */
struct weft_copy_options {
    bool exclusive; /* -EEXIST when `to` is there */
    bool sync;      /* return when the copy is on the disk */
    /* NULL, or called on the fiber, between pieces of a few MiB and at the end; a negative result
     * ends the copy with it */
    int (*progress)(void *arg, uint64_t copied, uint64_t size);
    void *arg;
};

/**
 * Copy a regular file's content and permission bits; sharing blocks where the file system can
 * (copy_file_range).  `options` may be NULL.  `ret_copied` (may be NULL), which is set in any case,
 * tells how many bytes were copied.
 *
 * Whatever ends it early, a cancel too: a `to` that this call made is removed again, and one that
 * was there before keeps its name and holds only what was copied so far.
 * Errors: -EINVAL `from` is no regular file, or both are the same; -EISDIR; -EEXIST (exclusive),
 *         -ENOSPC, -EROFS, -EMFILE, and what read(2), write(2) report.
 */
int weft_copy_file(const char *from, const char *to, const struct weft_copy_options *options,
                   uint64_t *ret_copied);

#ifdef __cplusplus
}
#endif
#endif
