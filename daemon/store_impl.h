/* SPDX-License-Identifier: MIT */
/*
 * store_impl: what the files of the store share; nobody else includes this.
 *   store.c         the thread, its list and its batches
 *   store_backup.c  a copy, made in pieces beside them
 */
#pragma once

#include "daemon/store.h"
#include "daemon/store_backend.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

struct op_list {
    struct store_op *first, *last;
};

struct store {
    _Atomic(struct store_op *) head; /* newest first; pairs release push with acquire take */
    sem_t arrived;                   /* I1 */
    const struct store_backend_ops *ops;
    void *backend; /* store thread's once it runs, else the opener's */
    struct store_life life;
    int lock; /* descriptor of STATE/lock, or -1 */

    struct op_list todo;     /* store thread only: taken, not yet in a batch */
    unsigned since_idle;     /* store thread only: batches since the backend tidied up */
    struct store_op *backup; /* store thread only: under way, or NULL */
    bool closing;            /* store thread only: stop_op went by */
    struct store_op stop;    /* pushed by store_stop() */
    void (*failed)(void *);  /* set before the start */
    void *failed_arg;

    atomic_int error; /* I3 */
    struct problem failure;
    _Atomic uint32_t batch_max;

    pthread_mutex_t ending; /* guards the two below, and store_stop() against itself */
    bool started, stopped;
    pthread_t thread;

    struct { /* atomic, relaxed: figures for people */
        _Atomic uint64_t commits, writes, reads, batch_max, commit_ns, commit_max_ns, pending,
            file_bytes, wal_bytes;
    } stats;
};

#define COUNT(counter, n) atomic_fetch_add_explicit(&(counter), (n), memory_order_relaxed)

/* The one place that ends an op (store.c, I4). */
void store_op_complete(struct store *store, struct store_op *op, int err);

/* store_backup.c; all of them store thread only ------------------------------------------------ */

/* Returns whether the op is under way now, and told when it is through; else op->err says why not. */
bool store_backup_begin(struct store *store, struct store_op *op);
/* One piece of it.  Batches come in between. */
void store_backup_go_on(struct store *store);
void store_backup_abort(struct store *store);
