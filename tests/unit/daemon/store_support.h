/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the store share: a folder of their own, records, and pushing as a blocking
 * call.  Header only: every test is one source file.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/store.h"

#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused)) /* a test file needs not all of these */

static const struct config_store test_config = {
    .reserve = 0, .checkpoint = 1 << 20, .wal_max = 1 << 30, .batch_max = 4096};

/* ---- folders and files ----------------------------------------------------------------------- */

UNUSED static int remove_entry(const char *path, const struct stat *status, int flag,
                               struct FTW *walk)
{
    (void)status, (void)flag, (void)walk;
    return remove(path);
}

UNUSED static void folder_remove(const char *folder)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A new folder; on a memory file system where `fast`, on a disk otherwise. */
UNUSED static const char *folder_make(char path[64], bool fast)
{
    bool shm = fast && access("/dev/shm", W_OK) == 0;
    strcpy(path, shm ? "/dev/shm/weft-store-XXXXXX" : "/tmp/weft-store-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    return path;
}

struct bytes {
    unsigned char *data;
    size_t size;
};

UNUSED static void path_in(char path[128], const char *folder, const char *name)
{
    snprintf(path, 128, "%s/%s", folder, name);
}

/* A missing file reads as empty. */
UNUSED static struct bytes file_read(const char *folder, const char *name)
{
    char path[128];
    path_in(path, folder, name);
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (struct bytes){calloc(1, 1), 0};
    cr_assert_eq(fstat(fd, &status), 0);
    struct bytes bytes = {malloc((size_t)status.st_size + 1), (size_t)status.st_size};
    cr_assert_eq(read(fd, bytes.data, bytes.size), (ssize_t)bytes.size);
    close(fd);
    return bytes;
}

UNUSED static void file_write(const char *folder, const char *name, struct bytes bytes)
{
    char path[128];
    path_in(path, folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(write(fd, bytes.data, bytes.size), (ssize_t)bytes.size);
    close(fd);
}

UNUSED static bool file_is(const char *folder, const char *name, struct bytes expected)
{
    struct bytes now = file_read(folder, name);
    bool same = now.size == expected.size && memcmp(now.data, expected.data, now.size) == 0;
    free(now.data);
    return same;
}

UNUSED static void file_unlink(const char *folder, const char *name)
{
    char path[128];
    path_in(path, folder, name);
    unlink(path);
}

/* ---- randomness, with a printed seed --------------------------------------------------------- */

UNUSED static uint64_t random_state;

UNUSED static void random_seed(void)
{
    struct timespec now;
    const char *given = getenv("WEFT_SEED");
    clock_gettime(CLOCK_REALTIME, &now);
    random_state = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec * 1000003u + 1;
    fprintf(stderr, "seed: WEFT_SEED=%llu\n", (unsigned long long)random_state);
}

UNUSED static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

/* ---- records --------------------------------------------------------------------------------- */

static char long_spec[3000];

__attribute__((constructor)) static void long_spec_fill(void) /* before there are threads */
{
    memset(long_spec, 'L', sizeof long_spec - 1);
}

/* A job whose every field follows from its id, so that a reader can say what it must be. */
UNUSED static struct job_record record_make(uint64_t id)
{
    return (struct job_record){
        .id = id,
        .uid = (uid_t)(1000 + id % 3),
        .gid = (gid_t)(100 + id % 5),
        .state = JOB_QUEUED,
        .exit_code = JOB_NO_EXIT,
        .term_signal = JOB_NO_EXIT,
        .priority = (int32_t)(id % 7) - 3,
        .submitted_at = INT64_C(1700000000000000000) + (int64_t)id,
        .queue = id % 4 ? "default" : "slow",
        .spec = id % 50 == 7 ? long_spec : "{\"argv\":[\"true\"]}",
    };
}

UNUSED static struct job_record record_ended(uint64_t id, enum job_state state)
{
    struct job_record record = record_make(id);
    record.state = state;
    record.attempt = 1;
    record.exit_code = (int32_t)(id % 200);
    record.started_at = record.submitted_at + 1;
    record.finished_at = record.submitted_at + 2;
    record.result = id % 2 ? "{\"n\":1}" : NULL;
    record.error = id % 2 ? NULL : "exit status 3";
    return record;
}

UNUSED static bool text_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

UNUSED static bool record_same(const struct job_record *a, const struct job_record *b)
{
    return a->id == b->id && a->uid == b->uid && a->gid == b->gid && a->state == b->state &&
           a->attempt == b->attempt && a->failures == b->failures && a->crashes == b->crashes &&
           a->exit_code == b->exit_code && a->term_signal == b->term_signal &&
           a->priority == b->priority && a->submitted_at == b->submitted_at &&
           a->due_at == b->due_at && a->started_at == b->started_at &&
           a->finished_at == b->finished_at && a->expires_at == b->expires_at &&
           a->keep == b->keep && a->key_hash == b->key_hash && text_same(a->queue, b->queue) &&
           text_same(a->spec, b->spec) && text_same(a->result, b->result) &&
           text_same(a->error, b->error);
}

/* ---- pushing --------------------------------------------------------------------------------- */

struct waited_op {
    struct store_op op; /* first: done gets its address */
    sem_t ended;
};

UNUSED static void op_wake(struct store_op *op)
{
    sem_post(&((struct waited_op *)op)->ended);
}

/* Push and wait; the outcome is in waited->op. */
UNUSED static int op_run(struct store *store, struct waited_op *waited)
{
    sem_init(&waited->ended, 0, 0);
    waited->op.done = op_wake;
    store_push(store, &waited->op);
    while (sem_wait(&waited->ended) < 0)
        ;
    sem_destroy(&waited->ended);
    return waited->op.err;
}

UNUSED static int put_record(struct store *store, enum store_kind kind,
                             const struct job_record *record)
{
    struct waited_op waited = {.op = {.kind = kind, .rows = &record, .count = 1}};
    return op_run(store, &waited);
}

/* Rows first … first+count-1 in one op. */
UNUSED static int insert_range(struct store *store, uint64_t first, size_t count)
{
    struct job_record *records = calloc(count, sizeof *records);
    const struct job_record **rows = calloc(count, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        records[i] = record_make(first + i);
        rows[i] = &records[i];
    }
    struct waited_op waited = {.op = {.kind = STORE_INSERT, .rows = rows, .count = count}};
    int err = op_run(store, &waited);
    free(rows);
    free(records);
    return err;
}

/* NULL: no such job.  Free with job_record_free(). */
UNUSED static struct job_record *get_record(struct store *store, uint64_t id)
{
    struct waited_op waited = {.op = {.kind = STORE_GET, .ids = &id, .count = 1}};
    cr_assert_eq(op_run(store, &waited), 0);
    cr_assert_eq(waited.op.found_count, 1u);
    struct job_record *record = waited.op.found[0];
    free(waited.op.found);
    return record;
}

/* Open, recover into nothing, start. */
UNUSED static int ignore_row(void *arg, const struct job_record *record)
{
    (void)record;
    if (arg)
        ++*(size_t *)arg;
    return 0;
}

UNUSED static int ignore_setting(void *arg, const char *name, const char *value)
{
    (void)arg, (void)name, (void)value;
    return 0;
}

/* value NULL: forget it. */
UNUSED static int put_setting(struct store *store, const char *name, const char *value)
{
    struct store_setting setting = {name, value};
    struct waited_op waited = {.op = {.kind = STORE_SET, .settings = &setting, .count = 1}};
    return op_run(store, &waited);
}

UNUSED static int store_boot(const struct config_store *config, const char *folder, size_t *live,
                             struct problem *problem, struct store **ret_store)
{
    struct store *store;
    int err = store_open(config, folder, problem, &store);
    if (err)
        return err;
    err = store_recover(store, ignore_row, live, problem);
    if (!err)
        err = store_start(store);
    if (err) {
        store_free(store);
        return err;
    }
    *ret_store = store;
    return 0;
}

UNUSED static struct store *boot(const char *folder)
{
    struct problem problem = {0};
    struct store *store = NULL;
    int err = store_boot(&test_config, folder, NULL, &problem, &store);
    cr_assert_eq(err, 0, "%s", problem.text);
    return store;
}
