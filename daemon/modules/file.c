/* SPDX-License-Identifier: MIT */
/*
 * The module of handlers for files.
 *   file.copy {from, to}          -> {"bytes": …}
 *   file.hash {path, algorithm}   -> {"hash": "…"}, in hex; algorithm: sha256 (default), sha512
 *   file.read {path, offset, limit}                    -> {"data", "encoding", "eof"}
 *   file.write {path, data, encoding, append, fsync}   -> {"bytes": …}
 *   file.lines {path, limit}                           -> {"lines": […], "eof"}
 *
 * Paths are absolute.  The handlers act as weftd's user.
 */
#include "daemon/modules/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weft/weft.h>

/* ---- shared ---------------------------------------------------------------------------------- */

int file_in_slices(int (*slice)(void *), void *arg)
{
    int more = 1;
    while (more > 0) {
        int rc = weft_offload(slice, arg, &more);
        if (rc < 0)
            return rc;
    }
    return more;
}

void file_clean_up(int (*fn)(void *), void *arg)
{
    struct weft_scope shield;
    weft_shield_enter(&shield);
    if (weft_offload(fn, arg, NULL) < 0) /* it did not run */
        fn(arg);
    weft_scope_leave(&shield);
}

/* Without waiting for a writer where it is a FIFO. */
int file_open(const char *path, struct stat *ret_status)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = fstat(fd, &status) < 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(status.st_mode))
        rc = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    if (rc < 0) {
        close(fd);
        return rc;
    }
    if (ret_status)
        *ret_status = status;
    return fd;
}

int file_check(struct weft_attempt *attempt)
{
    static const char *const names[] = {"path", "from", "to"};
    for (size_t i = 0; i < MODULE_COUNT(names); i++) {
        const char *path = weft_arg_text(attempt, names[i], "");
        size_t size = strlen(path);
        if (size > 0 && path[size - 1] == '/')
            return weft_arg_refuse(attempt, names[i], "must name a file, not a folder");
    }
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define PATH_PARAM(name)                                                                           \
    {                                                                                              \
        name, WEFT_PARAM_PATH, true, 1, PATH_MAX - 1                                               \
    }

static const struct weft_param copy_params[] = {PATH_PARAM("from"), PATH_PARAM("to")};

static const char *const algorithms[] = {"sha256", "sha512", NULL};

static const struct weft_param hash_params[] = {
    PATH_PARAM("path"),
    {"algorithm", WEFT_PARAM_TEXT, .choices = algorithms},
};

static const struct weft_param read_params[] = {
    PATH_PARAM("path"),
    {"offset", WEFT_PARAM_SIZE, .min = 0, .max = INT64_MAX},
    {"limit", WEFT_PARAM_SIZE, .min = 1, .max = FILE_RESULT_MAX},
};

static const char *const encodings[] = {"utf-8", "base64", NULL};

static const struct weft_param write_params[] = {
    PATH_PARAM("path"),
    {"data", WEFT_PARAM_TEXT, .required = true},
    {"encoding", WEFT_PARAM_TEXT, .choices = encodings},
    {"append", WEFT_PARAM_BOOLEAN},
    {"fsync", WEFT_PARAM_BOOLEAN},
};

static const struct weft_param lines_params[] = {
    PATH_PARAM("path"),
    {"limit", WEFT_PARAM_INTEGER, .min = 1, .max = FILE_LINES_MAX},
};

#define HANDLER(verb, summary, check)                                                              \
    {                                                                                              \
        "file." #verb, summary, verb##_params, MODULE_COUNT(verb##_params), file_##verb##_run,     \
            check                                                                                  \
    }

static const struct weft_handler handlers[] = {
    HANDLER(copy, "copy a file, whole or not at all", file_check),
    HANDLER(hash, "the digest of a file", file_check),
    HANDLER(read, "a piece of a file", file_check),
    HANDLER(write, "write a file, or append to it", file_write_check),
    HANDLER(lines, "the first lines of a file", file_check),
};

const struct weft_module module_file = WEFT_MODULE_INIT("file", WEFT_VERSION, handlers);
