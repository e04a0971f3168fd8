/* SPDX-License-Identifier: MIT */
/*
 * Whole files: read into memory, written from it, and replaced in one step.
 *
 *   I1  An atomic write touches nothing but its temporary file until the rename; the temporary file
 *       is removed whatever ends the call before.
 *   I2  From the rename on nothing is cancelled: what is visible is also made durable.
 *
 * For fibers; file_sync_folder for the pool's threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/base.h"
#include "io/file/file.h"
#include "io/file/file_sys.h"
#include "weft/path.h"

enum {
    FIRST_ROOM = 4096,
    PIECE = 8 * 1024 * 1024, /* bytes of a read between two looks at the scope */
    NAME_TRIES = 16,
};

/* ---- reading ---------------------------------------------------------------------------- */

/* A buffer that grows up to a limit; it has room for one byte more, and a NUL. */
struct content {
    char *data;
    size_t size, room, limit;
};

static int content_grow(struct content *content, size_t wanted)
{
    if (wanted > content->limit)
        wanted = content->limit;
    char *data = wanted <= SIZE_MAX - 2 ? realloc(content->data, wanted + 2) : NULL;
    if (!data)
        return -ENOMEM;
    content->data = data;
    content->room = wanted;
    return 0;
}

/* Read one piece.  Returns: 1; 0 that was the end. */
static int content_read(struct content *content, struct weft_file *file)
{
    if (content->size > content->room) {
        if (content->room == content->limit)
            return -EFBIG;
        int r = content_grow(content, content->room < SIZE_MAX / 2 ? content->room * 2 : SIZE_MAX);
        if (r < 0)
            return r;
    }
    size_t left = content->room + 1 - content->size; /* one more, which only finds the end */
    ssize_t n = weft_file_read(file, content->data + content->size, left < PIECE ? left : PIECE);
    if (n <= 0)
        return (int)n;
    content->size += (size_t)n;
    return 1;
}

static int content_fill(struct content *content, struct weft_file *file)
{
    uint64_t size = 0;
    mode_t type;
    int r = file_sys_kind(weft_file_fd(file), &type, &size);
    if (r < 0)
        return r;
    if (type == S_IFREG && size > content->limit)
        return -EFBIG;
    r = content_grow(content, size > 0 ? (size_t)size : FIRST_ROOM);
    if (r == 0)
        while ((r = content_read(content, file)) > 0)
            ;
    if (r == 0 && content->size > content->limit)
        r = -EFBIG;
    return r;
}

int weft_file_read_all(const char *path, size_t limit, void **ret_data, size_t *ret_size)
{
    struct content content = {.limit = limit};
    struct weft_file *file;
    int r = weft_file_open(path, O_RDONLY, 0, &file);
    if (r < 0)
        return r;
    r = content_fill(&content, file);
    weft_file_free(file);
    if (r < 0) {
        free(content.data);
        return r;
    }
    content.data[content.size] = '\0';
    *ret_data = content.data;
    *ret_size = content.size;
    return 0;
}

/* ---- writing ---------------------------------------------------------------------------- */

static int close_after(struct weft_file *file, int result)
{
    int r = weft_file_close(file);
    return result < 0 ? result : r;
}

static int write_file(const char *path, int flags, mode_t mode, const void *data, size_t size,
                      bool sync)
{
    struct weft_file *file;
    int r = weft_file_open(path, O_WRONLY | O_CREAT | flags, mode, &file);
    if (r < 0)
        return r;
    r = weft_file_write(file, data, size, NULL);
    if (r == 0 && sync)
        r = weft_file_sync(file);
    return close_after(file, r);
}

/* The length of the part of `path` that names its folder, with the slash; 0: the current one. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static __attribute__((noinline)) int sync_path(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0; /* EINVAL: it has no fsync */
    close(fd);
    return r;
}

int file_sync_folder(const char *path)
{
    size_t length = folder_length(path);
    if (length == 0)
        return sync_path(".");
    char *folder = strndup(path, length);
    int r = folder ? sync_path(folder) : -ENOMEM;
    free(folder);
    return r;
}

/* A file beside `path` that is about to take its place. */
struct replacement {
    const char *path;
    char *temporary;
    bool exclusive;
};

/* On the pool.  I2. */
static __attribute__((noinline)) int replace(void *arg)
{
    struct replacement *replacement = arg;
    int r = replacement->exclusive ? link(replacement->temporary, replacement->path)
                                   : rename(replacement->temporary, replacement->path);
    if (r < 0)
        return -errno;
    if (replacement->exclusive)
        unlink(replacement->temporary);
    return file_sync_folder(replacement->path);
}

static int remove_temporary(void *arg)
{
    struct replacement *replacement = arg;
    unlink(replacement->temporary);
    return 0;
}

static int temporary_name(struct replacement *replacement)
{
    size_t folder = folder_length(replacement->path);
    uint64_t random;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        return -EAGAIN;
    free(replacement->temporary);
    if (asprintf(&replacement->temporary, "%.*s.weft-%016llx.tmp", (int)folder, replacement->path,
                 (unsigned long long)random) >= 0)
        return 0;
    replacement->temporary = NULL;
    return -ENOMEM;
}

/* Write the temporary file under a name that nobody has. */
static int write_temporary(struct replacement *replacement, mode_t mode, const void *data,
                           size_t size)
{
    int r = -EEXIST;
    for (int i = 0; i < NAME_TRIES && r == -EEXIST; i++) {
        r = temporary_name(replacement);
        if (r == 0)
            r = write_file(replacement->temporary, O_EXCL, mode, data, size, true);
    }
    return r;
}

static int write_atomically(const char *path, const void *data, size_t size, mode_t mode,
                            bool exclusive)
{
    struct replacement replacement = {.path = path, .exclusive = exclusive};
    struct stat before;
    int was_there = weft_path_stat(path, &before);
    if (was_there < 0 && was_there != -ENOENT)
        return was_there;
    if (was_there == 0 && exclusive)
        return -EEXIST;
    int r = write_temporary(&replacement, mode, data, size);
    if (r == 0 && was_there == 0)
        r = weft_path_chmod(replacement.temporary, before.st_mode & 07777);
    if (r == 0)
        r = file_offload_shielded(replace, &replacement);
    if (r < 0 && replacement.temporary)
        file_offload_shielded(remove_temporary, &replacement);
    free(replacement.temporary);
    return r;
}

int weft_file_write_all(const char *path, const void *data, size_t size, mode_t mode,
                        unsigned flags)
{
    bool append = flags & WEFT_WRITE_APPEND, exclusive = flags & WEFT_WRITE_EXCLUSIVE;
    const unsigned known =
        WEFT_WRITE_APPEND | WEFT_WRITE_EXCLUSIVE | WEFT_WRITE_ATOMIC | WEFT_WRITE_SYNC;
    if (flags & ~known || (append && flags & (WEFT_WRITE_EXCLUSIVE | WEFT_WRITE_ATOMIC)))
        return -EINVAL;
    if (flags & WEFT_WRITE_ATOMIC)
        return write_atomically(path, data, size, mode, exclusive);
    return write_file(path, (append ? O_APPEND : O_TRUNC) | (exclusive ? O_EXCL : 0), mode, data,
                      size, flags & WEFT_WRITE_SYNC);
}
