/* SPDX-License-Identifier: MIT */
/*
 * engine_backup: daemon.backup.
 *
 * The name is a name and no path: who may ask need not be root, and weftd may be.  The copy is made
 * by the store's thread, beside its commits; a request that is cancelled makes it end soon.
 *
 * Who may call: request fibers.
 */
#include "daemon/engine_impl.h"

#include "daemon/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_name(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strlen(name);
    return size > 0 && size <= ENGINE_BACKUP_NAME_MAX && name[0] != '.' &&
           strspn(name, letters) == size;
}

static int make_folder(void *folder)
{
    return mkdir(folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int make_path(struct engine *engine, const char *name, char **ret_path)
{
    char *folder, *path;
    int result = 0;
    if (asprintf(&folder, "%s/backup", engine->state_dir) < 0)
        return -ENOMEM;
    int rc = weft_offload(make_folder, folder, &result);
    rc = rc < 0 ? rc : result;
    if (rc == 0)
        rc = asprintf(&path, "%s/%s", folder, name) < 0 ? -ENOMEM : 0;
    free(folder);
    if (rc == 0)
        *ret_path = path;
    return rc;
}

/* The op is done when this returns, cancelled or not. */
static int await(struct engine *engine, struct engine_op *op, atomic_bool *give_up)
{
    int rc = weft_event_wait(&op->done, WEFT_NO_DEADLINE);
    if (rc < 0)
        atomic_store_explicit(give_up, true, memory_order_relaxed);
    int op_rc = engine_await(engine, op);
    return rc < 0 ? rc : op_rc;
}

static int code_of(int rc)
{
    switch (rc) {
    case -EEXIST:
        return RPC_CONFLICT;
    case -EBUSY:
    case -EMFILE:
    case -ENFILE:
        return RPC_BUSY;
    default:
        return RPC_STORE_FAILED;
    }
}

static int refuse(struct engine *engine, const struct problem *problem, int rc,
                  struct rpc_error *error)
{
    if (rc == -ECANCELED || rc == -ETIMEDOUT || rc == -ESHUTDOWN || rc == -ENOMEM || !problem->err)
        return engine_refuse(engine, error, rc);
    rpc_error_set(error, code_of(rc), "%s", problem->text);
    return rc;
}

static int copy(struct engine *engine, const char *path, uint64_t *ret_bytes,
                struct rpc_error *error)
{
    atomic_bool give_up = false;
    struct problem problem = {0};
    struct engine_op op = {.op = {.path = path, .give_up = &give_up, .problem = &problem}};
    engine_push(engine, &op, STORE_BACKUP);
    int rc = await(engine, &op, &give_up);
    if (rc < 0)
        return refuse(engine, &problem, rc, error);
    *ret_bytes = op.op.bytes;
    return 0;
}

int engine_backup(struct engine *engine, const char *name, char **ret_path, uint64_t *ret_bytes,
                  struct rpc_error *error)
{
    char *path = NULL;
    if (!is_name(name))
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, "name", NULL,
                                   "the name of a backup has 1 to %d letters, digits, '.', '_' and "
                                   "'-', and does not begin with '.'",
                                   ENGINE_BACKUP_NAME_MAX);
    int rc = make_path(engine, name, &path);
    if (rc < 0)
        return rc == -ENOMEM || rc == -ECANCELED
                   ? engine_refuse(engine, error, rc)
                   : rpc_error_set(error, RPC_INTERNAL_ERROR, "the folder for backups: %s",
                                   strerror(-rc));
    rc = copy(engine, path, ret_bytes, error);
    if (rc == 0)
        *ret_path = path;
    else
        free(path);
    return rc;
}
