/* SPDX-License-Identifier: MIT */
/*
 * The module of handlers for files.
 *   file.copy {from, to}          -> {"bytes": …}
 *   file.hash {path, algorithm}   -> {"hash": "…"}, in hex; algorithm: sha256 (default), sha512
 *
 * Paths are absolute.  The handlers act as weftd's user.
 */
#include "daemon/modules/file.h"

#include "protocol/error.h"
#include "protocol/params.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

int file_check_path(const json_t *args, const char *name, struct rpc_error *error)
{
    if (params_string(args, name, "")[0] == '/')
        return 0;
    return rpc_error_set_param(error, RPC_INVALID_PARAMS, name, NULL,
                               "parameter \"%s\" must be an absolute path", name);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct param_spec copy_params[] = {
    {"from", PARAM_STRING, .required = true, .length_min = 1, .length_max = PATH_MAX - 1},
    {"to", PARAM_STRING, .required = true, .length_min = 1, .length_max = PATH_MAX - 1},
};

static int copy_check(const json_t *args, struct rpc_error *error)
{
    int rc = file_check_path(args, "from", error);
    return rc < 0 ? rc : file_check_path(args, "to", error);
}

static const char *const algorithms[] = {"sha256", "sha512", NULL};

static const struct param_spec hash_params[] = {
    {"path", PARAM_STRING, .required = true, .length_min = 1, .length_max = PATH_MAX - 1},
    {"algorithm", PARAM_STRING, .choices = algorithms},
};

static int hash_check(const json_t *args, struct rpc_error *error)
{
    return file_check_path(args, "path", error);
}

static const struct native_handler handlers[] = {
    {.name = "file.copy",
     .params = copy_params,
     .params_count = PARAMS_COUNT(copy_params),
     .check = copy_check,
     .run = file_copy_run},
    {.name = "file.hash",
     .params = hash_params,
     .params_count = PARAMS_COUNT(hash_params),
     .check = hash_check,
     .run = file_hash_run},
};

const struct native_module native_file = {
    .abi = NATIVE_ABI,
    .name = "file",
    .handlers = handlers,
    .handlers_count = sizeof(handlers) / sizeof(handlers[0]),
};
