/* SPDX-License-Identifier: MIT */
/*
 * store: one thread that commits whatever arrived during its last commit (store.h).
 *
 * Pushers prepend to `head` (a lock-free stack); the store thread takes the whole stack at once
 * and turns it round.  Cut to batch_max rows and BATCH_BYTES, that is the next transaction.
 *
 * I1  `arrived` is posted by the push that finds the stack empty, and waited for once per take: its
 *     value is 1 while the stack has something in it, else 0.  No wake-up is lost or left over.
 * I2  `head` becomes CLOSED once, by the thread that ends the store, and never changes again.
 * I3  `failure` is written once, before `error` (release), and read after it (acquire).
 * I4  An op is not touched after its done: the list is advanced first.
 * I5  A batch for which there is no memory was rolled back, and is tried again for a few seconds: it
 *     may hold the end of a job, which nobody could be refused.
 *
 * It knows no SQL, no files and no jobs beyond the length of a record's strings.
 */
#include "daemon/config.h"
#include "daemon/failpoint.h"
#include "daemon/store_files.h"
#include "daemon/store_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_BYTES          (UINT64_C(8) << 20) /* of records in one transaction; one op may exceed it */
#define ROW_BYTES            256 /* a row without its strings, with its index entries */
#define DISK_FACTOR          3   /* a row is in the WAL, in its table, and fills no page */
#define MEMORY_TRIES         24  /* of a batch (I5): for four seconds */
#define MEMORY_PAUSE_NS      1000000
#define MEMORY_PAUSE_MOST_NS 256000000
#define IDLE_BATCHES         16 /* at the latest after these the backend may tidy up */

#define CLOSED ((struct store_op *)-1)

/* ---- life ------------------------------------------------------------------------------------ */

static void apply_batch_max(struct store *store, const struct config_store *config)
{
    atomic_store_explicit(&store->batch_max, config->batch_max ? config->batch_max : 1,
                          memory_order_relaxed);
}

static int open_backend(const struct store_backend_ops *ops, void *backend,
                        const struct config_store *config, struct problem *problem,
                        struct store **ret_store)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return problem_set(problem, -ENOMEM, "no memory");
    store->ops = ops;
    store->backend = backend;
    store->lock = -1;
    apply_batch_max(store, config);
    int err = ops->life(backend, problem, &store->life);
    if (err) {
        free(store);
        return err;
    }
    sem_init(&store->arrived, 0, 0);
    pthread_mutex_init(&store->ending, NULL);
    atomic_init(&store->stats.file_bytes, ops->file_bytes(backend));
    *ret_store = store;
    return 0;
}

int store_open_backend(const struct store_backend_ops *ops, void *backend,
                       const struct config_store *config, struct store **ret_store)
{
    return open_backend(ops, backend, config, NULL, ret_store);
}

static int open_locked(const struct config_store *config, const char *state_dir,
                       struct problem *problem, struct store **ret_store)
{
    void *backend;
    int err = store_sqlite_open(config, state_dir, problem, &backend);
    if (err)
        return err;
    err = open_backend(&store_sqlite_ops, backend, config, problem, ret_store);
    if (err)
        store_sqlite_ops.close(backend);
    return err;
}

int store_open(const struct config_store *config, const char *state_dir, struct problem *problem,
               struct store **ret_store)
{
    int lock;
    int err = store_folder_make(state_dir, problem);
    if (!err)
        err = store_folder_lock(state_dir, problem, &lock);
    if (err)
        return err;
    struct store *store = NULL;
    err = open_locked(config, state_dir, problem, &store);
    if (err) {
        close(lock);
        return err;
    }
    store->lock = lock;
    *ret_store = store;
    return 0;
}

void store_life(const struct store *store, struct store_life *ret_life)
{
    *ret_life = store->life;
}

int store_settings(struct store *store,
                   int (*setting)(void *arg, const char *name, const char *value), void *arg,
                   struct problem *problem)
{
    return store->ops->settings ? store->ops->settings(store->backend, setting, arg, problem) : 0;
}

int store_recover(struct store *store, int (*row)(void *arg, const struct job_record *record),
                  void *arg, struct problem *problem)
{
    return store->ops->recover(store->backend, row, arg, problem);
}

void store_on_failure(struct store *store, void (*failed)(void *arg), void *arg)
{
    store->failed = failed;
    store->failed_arg = arg;
}

void store_apply_config(struct store *store, const struct config_store *config)
{
    apply_batch_max(store, config);
    if (store->ops->configure)
        store->ops->configure(store->backend, config);
}

int store_error(struct store *store, struct problem *problem)
{
    int err = atomic_load_explicit(&store->error, memory_order_acquire); /* I3 */
    if (err && problem)
        *problem = store->failure;
    return err;
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
#define READ(name) .name = atomic_load_explicit(&store->stats.name, memory_order_relaxed)
    *ret_stats = (struct store_stats){READ(commits),   READ(writes),
                                      READ(reads),     READ(batch_max),
                                      READ(commit_ns), READ(commit_max_ns),
                                      READ(pending),   READ(file_bytes),
                                      READ(wal_bytes), .failed = store_error(store, NULL) != 0};
#undef READ
}

/* ---- the list of requests -------------------------------------------------------------------- */

void store_op_complete(struct store *store, struct store_op *op, int err)
{
    op->err = err;
    COUNT(store->stats.pending, (uint64_t)-1);
    op->done(op);
}

void store_push(struct store *store, struct store_op *op)
{
    COUNT(store->stats.pending, 1);
    struct store_op *head = atomic_load_explicit(&store->head, memory_order_relaxed);
    do {
        if (head == CLOSED) {
            int err = store_error(store, NULL);
            store_op_complete(store, op, err ? err : -ESHUTDOWN);
            return;
        }
        op->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&store->head, &head, op, memory_order_release,
                                                    memory_order_relaxed));
    if (!head)
        sem_post(&store->arrived);
}

/* Move everything that was pushed behind `list`, oldest first, and leave `rest` in its place. */
static void take_pushed(struct store *store, struct store_op *rest, struct op_list *list)
{
    struct store_op *newest = atomic_exchange_explicit(&store->head, rest, memory_order_acquire);
    if (!newest || newest == CLOSED)
        return;
    struct store_op *oldest = NULL;
    for (struct store_op *op = newest, *older; op; op = older) {
        older = op->next;
        op->next = oldest;
        oldest = op;
    }
    if (list->first)
        list->last->next = oldest;
    else
        list->first = oldest;
    list->last = newest;
}

/* Wait until there is something to do, and take all of it.  A backup is something to do. */
static void collect(struct store *store)
{
    if (store->todo.first || store->backup) {
        if (sem_trywait(&store->arrived) < 0)
            return;
    } else {
        while (sem_wait(&store->arrived) < 0)
            ; /* EINTR only: a debugger */
    }
    take_pushed(store, NULL, &store->todo);
}

static uint64_t text_bytes(const char *text)
{
    return text ? strlen(text) : 0;
}

static uint64_t op_bytes(const struct store_op *op)
{
    uint64_t bytes = 0;
    if (op->kind != STORE_INSERT && op->kind != STORE_UPDATE)
        return 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct job_record *row = op->rows[i];
        bytes += ROW_BYTES + text_bytes(row->result) + text_bytes(row->error);
        if (op->kind == STORE_INSERT)
            bytes += text_bytes(row->queue) + text_bytes(row->spec);
    }
    return bytes;
}

static bool op_writes(const struct store_op *op)
{
    return op->kind == STORE_INSERT || op->kind == STORE_UPDATE || op->kind == STORE_SET ||
           op->kind == STORE_DELETE;
}

static bool op_reads(const struct store_op *op)
{
    return op->kind == STORE_GET || op->kind == STORE_LIST || op->kind == STORE_OLDEST;
}

static uint64_t op_rows(const struct store_op *op)
{
    return op_writes(op) ? op->count : 1;
}

/* Cut the next batch off `todo`: at least one op, then as many as the limits allow. */
static struct op_list cut_batch(struct store *store)
{
    uint64_t rows_max = atomic_load_explicit(&store->batch_max, memory_order_relaxed);
    uint64_t rows = 0, bytes = 0, ops = 0;
    struct op_list batch = {.first = store->todo.first};
    for (struct store_op *op = batch.first; op; op = op->next) {
        rows += op_rows(op);
        bytes += op_bytes(op);
        if (batch.last && (rows > rows_max || bytes > BATCH_BYTES))
            break;
        batch.last = op;
        ops++;
    }
    store->todo.first = batch.last->next;
    batch.last->next = NULL;
    if (ops > atomic_load_explicit(&store->stats.batch_max, memory_order_relaxed))
        atomic_store_explicit(&store->stats.batch_max, ops, memory_order_relaxed);
    return batch;
}

/* ---- one batch ------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* From here on nothing is acknowledged (store.h, I2). */
static void fail(struct store *store, int err, const struct problem *problem)
{
    store->failure = *problem;
    if (!problem->err)
        problem_set(&store->failure, err, "the store failed: %s", strerror(-err));
    atomic_store_explicit(&store->error, err, memory_order_release); /* I3 */
    if (store->failed)
        store->failed(store->failed_arg);
}

/* Does this insert leave the reserve alone?  `room` is asked for once per batch. */
static bool fits(struct store *store, const struct store_op *op, uint64_t *room, bool *asked)
{
    if (!*asked)
        *room = store->ops->room(store->backend);
    *asked = true;
    uint64_t need = op_bytes(op) * DISK_FACTOR;
    if (need > *room)
        return false;
    if (*room != UINT64_MAX)
        *room -= need;
    return true;
}

/* Apply the batch's writes; *ret_rows 0: there was nothing to commit and nothing was begun. */
static int apply_writes(struct store *store, struct op_list batch, struct problem *problem,
                        uint64_t *ret_rows)
{
    uint64_t rows = 0, room = 0;
    bool begun = false, asked = false;
    for (struct store_op *op = batch.first; op; op = op->next) {
        op->err = 0;
        if (!op_writes(op))
            continue;
        if (op->kind == STORE_INSERT && !fits(store, op, &room, &asked)) {
            op->err = -ENOSPC;
            continue;
        }
        if (!begun)
            failpoint(FAILPOINT_WRITE);
        int err = begun ? 0 : store->ops->begin(store->backend, problem);
        begun = true;
        if (!err)
            err = store->ops->apply(store->backend, op, problem);
        if (err)
            return err;
        rows += op->count;
    }
    *ret_rows = begun ? (rows ? rows : 1) : 0;
    return 0;
}

static int commit_writes(struct store *store, uint64_t rows, struct problem *problem)
{
    uint64_t start = now_ns();
    failpoint(FAILPOINT_COMMIT);
    int err = store->ops->commit(store->backend, problem);
    if (err)
        return err;
    failpoint(FAILPOINT_COMMITTED);
    uint64_t took = now_ns() - start;
    COUNT(store->stats.commits, 1);
    COUNT(store->stats.writes, rows);
    COUNT(store->stats.commit_ns, took);
    if (took > atomic_load_explicit(&store->stats.commit_max_ns, memory_order_relaxed))
        atomic_store_explicit(&store->stats.commit_max_ns, took, memory_order_relaxed);
    return 0;
}

static int try_batch(struct store *store, struct op_list batch, struct problem *problem)
{
    uint64_t rows = 0;
    int err = apply_writes(store, batch, problem, &rows);
    if (!err && rows)
        err = commit_writes(store, rows, problem);
    if (err)
        store->ops->rollback(store->backend);
    return err;
}

/* I5.  Nobody else needs this thread meanwhile; what is pushed waits. */
static int write_batch(struct store *store, struct op_list batch, struct problem *problem)
{
    struct timespec pause = {.tv_nsec = MEMORY_PAUSE_NS};
    int err = try_batch(store, batch, problem);
    for (int i = 1; err == -ENOMEM && i < MEMORY_TRIES; i++) {
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < MEMORY_PAUSE_MOST_NS)
            pause.tv_nsec *= 2;
        *problem = (struct problem){0};
        err = try_batch(store, batch, problem);
    }
    return err;
}

static int read_op(struct store *store, struct store_op *op)
{
    struct problem problem = {0};
    op->found = NULL;
    op->found_count = 0;
    int err = store->ops->read(store->backend, op, &problem);
    COUNT(store->stats.reads, 1);
    if (err && err != -ENOMEM)
        fail(store, err, &problem);
    return err;
}

/* Tell everybody, in order of arrival; reads are done when their turn comes, so that they hold up
 * nobody who came before them. */
static void complete_batch(struct store *store, struct op_list batch)
{
    for (struct store_op *op = batch.first, *next; op; op = next) {
        next = op->next;
        int err = store_error(store, NULL);
        if (!err && op->kind == STORE_BACKUP && store_backup_begin(store, op))
            continue; /* it is told when it is through */
        if (!err)
            err = op_reads(op) ? read_op(store, op) : op->err;
        store_op_complete(store, op, err);
    }
}

static void measure(struct store *store)
{
    const struct store_backend_ops *ops = store->ops;
    uint64_t wal = ops->wal_bytes ? ops->wal_bytes(store->backend) : 0;
    atomic_store_explicit(&store->stats.file_bytes, ops->file_bytes(store->backend),
                          memory_order_relaxed);
    atomic_store_explicit(&store->stats.wal_bytes, wal, memory_order_relaxed);
}

static bool is_busy(struct store *store)
{
    return store->todo.first || atomic_load_explicit(&store->head, memory_order_relaxed);
}

/* Let the backend tidy up while nobody waits; under load now and then all the same. */
static void tidy(struct store *store)
{
    if (store_error(store, NULL) || (is_busy(store) && ++store->since_idle < IDLE_BATCHES))
        return;
    struct problem problem = {0};
    store->since_idle = 0;
    int more;
    do {
        more = store->ops->idle(store->backend, &problem);
    } while (more > 0 && !is_busy(store));
    if (more < 0 && more != -ENOMEM) /* then another time (I5) */
        fail(store, more, &problem);
    measure(store);
}

static void run_batch(struct store *store)
{
    struct op_list batch = cut_batch(store);
    struct problem problem = {0};
    if (!store_error(store, NULL)) {
        int err = write_batch(store, batch, &problem);
        if (err)
            fail(store, err, &problem);
    }
    complete_batch(store, batch);
    tidy(store);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void *store_main(void *arg)
{
    struct store *store = arg;
    pthread_setname_np(pthread_self(), "weft-store");
    while (!store->closing) {
        collect(store);
        if (store->todo.first)
            run_batch(store);
        if (store->backup)
            store_backup_go_on(store);
    }
    store_backup_abort(store);
    take_pushed(store, CLOSED, &store->todo); /* I2: nothing comes after this */
    while (store->todo.first)
        run_batch(store);
    store_backup_abort(store);
    return NULL;
}

int store_start(struct store *store)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_mutex_lock(&store->ending);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it */
    int err = -pthread_create(&store->thread, NULL, store_main, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    store->started = !err;
    pthread_mutex_unlock(&store->ending);
    return err;
}

static void stop_done(struct store_op *op)
{
    struct store *store = op->owner;
    store->closing = true;
}

/* Never started: nobody will ever do what was pushed. */
static void refuse_pushed(struct store *store)
{
    struct op_list left = {0};
    take_pushed(store, CLOSED, &left);
    for (struct store_op *op = left.first, *next; op; op = next) {
        next = op->next;
        store_op_complete(store, op, -ESHUTDOWN);
    }
}

void store_stop(struct store *store)
{
    pthread_mutex_lock(&store->ending);
    if (!store->stopped && !store->started)
        refuse_pushed(store);
    if (!store->stopped && store->started) {
        store->stop = (struct store_op){.kind = STORE_PING, .done = stop_done, .owner = store};
        store_push(store, &store->stop);
        pthread_join(store->thread, NULL);
    }
    store->stopped = true;
    pthread_mutex_unlock(&store->ending);
}

void store_free(struct store *store)
{
    if (!store)
        return;
    store_stop(store);
    store->ops->close(store->backend);
    if (store->lock >= 0)
        close(store->lock);
    sem_destroy(&store->arrived);
    pthread_mutex_destroy(&store->ending);
    free(store);
}
