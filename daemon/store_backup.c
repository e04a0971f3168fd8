/* SPDX-License-Identifier: MIT */
/* store_backup: a copy of the database beside the batches; see store_impl.h. */
#include "daemon/store_impl.h"

#include <errno.h>

static void backup_ended(struct store *store, int err)
{
    struct store_op *op = store->backup;
    store->backup = NULL;
    store_op_complete(store, op, err);
}

void store_backup_go_on(struct store *store)
{
    struct store_op *op = store->backup;
    struct problem dropped;
    int rc =
        op->give_up && atomic_load_explicit(op->give_up, memory_order_relaxed) ? -ECANCELED : 0;
    if (rc == 0 && store_error(store, NULL))
        rc = store_error(store, NULL);
    if (rc == 0)
        rc = store->ops->backup_step(store->backend, op->problem);
    if (rc == 1)
        return;
    int end_rc =
        store->ops->backup_end(store->backend, rc < 0 ? &dropped : op->problem, &op->bytes);
    backup_ended(store, rc < 0 ? rc : end_rc);
}

bool store_backup_begin(struct store *store, struct store_op *op)
{
    if (store->backup || !store->ops->backup_begin)
        op->err = store->backup ? problem_set(op->problem, -EBUSY, "another backup is being made")
                                : problem_set(op->problem, -EOPNOTSUPP, "it cannot be backed up");
    else
        op->err = store->ops->backup_begin(store->backend, op->path, op->problem);
    if (op->err == 0)
        store->backup = op;
    return op->err == 0;
}

void store_backup_abort(struct store *store)
{
    struct problem dropped;
    if (!store->backup)
        return;
    (void)store->ops->backup_end(store->backend, &dropped, &store->backup->bytes);
    backup_ended(store, -ESHUTDOWN);
}
