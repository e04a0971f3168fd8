/* SPDX-License-Identifier: MIT */
/*
 * The names in a folder, fetched by the buffer on the threads for files (there is no such request
 * to an io_uring).
 *
 *   I1  A fetch that was taken back by a cancel has moved nothing; one that ran is kept, so that no
 *       name is lost.
 *   I2  Types that the file system does not tell are asked for in the same trip.
 *
 * For fibers, one at a time; weft_dir_free for any thread.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base.h"
#include "io/file/file.h"
#include "weft/fiber.h"
#include "weft/path.h"

enum { BUFFER = 32 * 1024 };

struct weft_dir {
    int fd;
    size_t next, end; /* of what is in the buffer */
    _Alignas(struct dirent64) char buffer[BUFFER];
};

int weft_dir_open(const char *path, struct weft_dir **ret_dir)
{
    int fd = file_open_fd(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    struct weft_dir *dir = malloc(sizeof(*dir));
    if (!dir) {
        close(fd);
        return -ENOMEM;
    }
    dir->fd = fd;
    dir->next = dir->end = 0;
    *ret_dir = dir;
    return 0;
}

void weft_dir_free(struct weft_dir *dir)
{
    if (!dir)
        return;
    close(dir->fd);
    free(dir);
}

static struct dirent64 *dir_at(struct weft_dir *dir, size_t place)
{
    return (struct dirent64 *)(void *)(dir->buffer + place);
}

/* I2. */
static void find_types(struct weft_dir *dir)
{
    struct stat status;
    for (size_t at = 0; at < dir->end; at += dir_at(dir, at)->d_reclen) {
        struct dirent64 *entry = dir_at(dir, at);
        if (entry->d_type == DT_UNKNOWN &&
            fstatat(dir->fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            entry->d_type = (unsigned char)IFTODT(status.st_mode);
    }
}

/* On the pool. */
static int fetch(void *arg)
{
    struct weft_dir *dir = arg;
    ssize_t n = getdents64(dir->fd, dir->buffer, sizeof(dir->buffer));
    if (n < 0)
        return -errno;
    dir->next = 0;
    dir->end = (size_t)n;
    find_types(dir);
    return 0;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int weft_dir_next(struct weft_dir *dir, struct weft_dir_entry *ret_entry)
{
    int r = weft_check_cancel(), result;
    while (r >= 0) {
        if (dir->next == dir->end) {
            r = file_offload(fetch, dir, &result);
            if (r < 0 || result < 0)
                return r < 0 ? r : result;
            if (dir->end == 0)
                return 0;
        }
        struct dirent64 *entry = dir_at(dir, dir->next);
        dir->next += entry->d_reclen;
        if (is_dots(entry->d_name))
            continue;
        *ret_entry = (struct weft_dir_entry){entry->d_name, entry->d_ino, entry->d_type};
        return 1;
    }
    return r;
}
