/* SPDX-License-Identifier: MIT */
/* Files at both ends: as the body of a request, and as where the body of a response goes.  For the
 * fiber that has the request or the response. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "io/http/body.h"
#include "weft/file.h"
#include "weft/path.h"
#include "weft/scope.h"

enum { BLOCK = 64 * 1024 };

/* ---- a file to send --------------------------------------------------------------------- */

struct file_source {
    struct http_source source;
    struct weft_file *file; /* the caller's */
    int64_t offset, size;   /* where reading is; what was promised */
};

static ssize_t file_read(struct http_source *source, void *buffer, size_t size)
{
    struct file_source *from = (struct file_source *)source;
    int64_t left = from->size - from->offset;
    size_t most = (uint64_t)left < size ? (size_t)left : size;

    if (most == 0)
        return 0; /* it may have grown: what was promised is sent, no more */
    ssize_t n = weft_file_pread(from->file, buffer, most, from->offset);
    if (n == 0)
        return -ENODATA; /* it was cut */
    if (n > 0)
        from->offset += n;
    return n;
}

static int file_rewind(struct http_source *source)
{
    ((struct file_source *)source)->offset = 0;
    return 0;
}

static void file_free(struct http_source *source)
{
    free(source);
}

static const struct http_source_class file_class = {file_read, file_rewind, file_free};

int file_source_new(struct weft_file *file, struct http_source **ret_source, int64_t *ret_size)
{
    struct stat stat;
    int r = weft_file_stat(file, &stat);
    if (r < 0)
        return r;
    if (!S_ISREG(stat.st_mode))
        return -EINVAL;
    struct file_source *source = malloc(sizeof(*source));
    if (!source)
        return -ENOMEM;
    *source = (struct file_source){{&file_class}, file, 0, stat.st_size};
    *ret_source = &source->source;
    *ret_size = stat.st_size;
    return 0;
}

/* ---- a file to fill --------------------------------------------------------------------- */

/* Returns: 1 there is more, 0 the end. */
static int write_block(struct weft_http_response *response, struct weft_file *file, char *block,
                       uint64_t limit, uint64_t *size)
{
    size_t written;
    ssize_t n = weft_http_response_read(response, block, BLOCK);
    if (n <= 0)
        return (int)n;
    if ((uint64_t)n > limit - *size)
        return -EFBIG;
    int r = weft_file_write(file, block, (size_t)n, &written);
    *size += written;
    return r < 0 ? r : 1;
}

int weft_http_response_to_file(struct weft_http_response *response, struct weft_file *file,
                               uint64_t limit, uint64_t *ret_size)
{
    char *block = malloc(BLOCK);
    uint64_t size = 0;
    int r = block ? 1 : -ENOMEM;

    while (r > 0)
        r = write_block(response, file, block, limit, &size);
    free(block);
    if (ret_size)
        *ret_size = size;
    return r;
}

static void remove_shielded(const char *path)
{
    struct weft_scope shield;

    weft_shield_enter(&shield);
    weft_path_remove(path);
    weft_scope_leave(&shield);
}

int weft_http_response_save(struct weft_http_response *response, const char *path, uint64_t limit,
                            uint64_t *ret_size)
{
    struct weft_file *file;
    if (ret_size)
        *ret_size = 0;
    int r = weft_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, &file);
    if (r < 0)
        return r;
    r = weft_http_response_to_file(response, file, limit, ret_size);
    int closed = weft_file_close(file);
    if (r == 0)
        r = closed;
    if (r < 0)
        remove_shielded(path);
    return r;
}
