/* SPDX-License-Identifier: MIT */
/*
 * What the file system does by name: each is one operation that may block, carried out by the
 * backend (file_call.h).  For fibers.  Nothing here keeps state or knows an open file.
 */
#include "weft/path.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "io/file/file_call.h"
#include "weft/fiber.h"

static int path_do(struct file_call call)
{
    int r = weft_check_cancel();
    return r < 0 ? r : (int)file_call(&call);
}

int weft_path_stat(const char *path, struct stat *ret_stat)
{
    return path_do((struct file_call){.op = FILE_PATHSTAT, .path = path, .status = ret_stat});
}

int weft_path_lstat(const char *path, struct stat *ret_stat)
{
    return path_do((struct file_call){
        .op = FILE_PATHSTAT, .path = path, .flags = AT_SYMLINK_NOFOLLOW, .status = ret_stat});
}

int weft_path_exists(const char *path)
{
    struct stat status;
    int r = weft_path_stat(path, &status);
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    return r < 0 ? r : 1;
}

int weft_path_rename(const char *from, const char *to)
{
    return path_do((struct file_call){.op = FILE_RENAME, .path = from, .to = to});
}

int weft_path_remove(const char *path)
{
    return path_do((struct file_call){.op = FILE_UNLINK, .path = path});
}

int weft_path_rmdir(const char *path)
{
    return path_do((struct file_call){.op = FILE_RMDIR, .path = path});
}

int weft_path_mkdir(const char *path, mode_t mode)
{
    return path_do((struct file_call){.op = FILE_MKDIR, .path = path, .mode = mode});
}

/* A folder that is there already is as good. */
static int make_folder(const char *path, mode_t mode)
{
    struct stat status;
    int r = weft_path_mkdir(path, mode);
    if (r != -EEXIST)
        return r;
    r = weft_path_stat(path, &status);
    if (r < 0)
        return r == -ENOENT ? -EEXIST : r; /* a link to nowhere */
    return S_ISDIR(status.st_mode) ? 0 : -EEXIST;
}

/* From the top: at each slash the text is cut for a moment. */
static int make_folders(char *path, mode_t mode)
{
    int r = 0;
    for (char *slash = strchr(path + 1, '/'); slash && r == 0; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        r = make_folder(path, mode);
        *slash = '/';
    }
    return r == 0 ? make_folder(path, mode) : r;
}

int weft_path_mkdirs(const char *path, mode_t mode)
{
    int r = make_folder(path, mode);
    if (r != -ENOENT || !*path)
        return r;
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    r = make_folders(copy, mode);
    free(copy);
    return r;
}

int weft_path_link(const char *from, const char *to)
{
    return path_do((struct file_call){.op = FILE_LINK, .path = from, .to = to});
}

int weft_path_symlink(const char *target, const char *path)
{
    return path_do((struct file_call){.op = FILE_SYMLINK, .path = path, .to = target});
}

ssize_t weft_path_readlink(const char *path, char *ret_target, size_t size)
{
    char text[PATH_MAX];
    int r = path_do(
        (struct file_call){.op = FILE_READLINK, .path = path, .text = text, .size = sizeof(text)});
    if (r < 0)
        return r;
    if ((size_t)r >= size)
        return -ERANGE;
    memcpy(ret_target, text, (size_t)r);
    ret_target[r] = '\0';
    return r;
}

int weft_path_chmod(const char *path, mode_t mode)
{
    return path_do((struct file_call){.op = FILE_CHMOD, .path = path, .mode = mode});
}
