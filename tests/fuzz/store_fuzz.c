/* SPDX-License-Identifier: MIT */
/* Recovery from a state folder that somebody else wrote into: it is refused, or every job that is
 * shown has a state, a queue and a spec; never a crash, and a refused file is not touched.
 * Input: a byte that says what the rest is (0 a write-ahead log, 1 a database, else patches of a
 * good database: position, 3 bytes; new byte), and the rest. */
#include "daemon/config.h"
#include "daemon/store.h"
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, JOBS = 40 };

static char folder[64], db_path[96], wal_path[96], shm_path[96];
static unsigned char good[FILE_MAX], bad[FILE_MAX], after[FILE_MAX];
static size_t good_size;

static const struct config_store config = {.checkpoint = 1 << 20, .batch_max = 100};

static size_t load(const char *path, unsigned char *data)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    HOLDS(fd >= 0);
    ssize_t size = read(fd, data, FILE_MAX);
    HOLDS(size >= 0);
    close(fd);
    return (size_t)size;
}

static void save(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    HOLDS(fd >= 0);
    HOLDS(write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static int check_row(void *arg, const struct job_record *record)
{
    (void)arg;
    HOLDS(record->id > 0 && job_state_name(record->state) != NULL);
    HOLDS(record->queue && record->spec && strlen(record->spec) < FILE_MAX);
    return 0;
}

static int check_setting(void *arg, const char *name, const char *value)
{
    (void)arg;
    HOLDS(name && value && strlen(name) < FILE_MAX && strlen(value) < FILE_MAX);
    return 0;
}

static void nothing(struct store_op *op)
{
    (void)op;
}

static void insert_jobs(struct store *store)
{
    static struct job_record records[JOBS];
    static const struct job_record *rows[JOBS];
    static const struct store_setting setting = {"queue default", "{\"paused\":true}"};
    static struct store_op op, set;
    for (size_t i = 0; i < JOBS; i++) {
        records[i] = (struct job_record){.id = i + 1,
                                         .state = i % 3 ? JOB_QUEUED : JOB_FAILED,
                                         .queue = "default",
                                         .spec = "{\"argv\":[\"true\"]}"};
        rows[i] = &records[i];
    }
    op = (struct store_op){.kind = STORE_INSERT, .done = nothing, .rows = rows, .count = JOBS};
    set = (struct store_op){.kind = STORE_SET, .done = nothing, .settings = &setting, .count = 1};
    store_push(store, &op);
    store_push(store, &set);
    HOLDS(store_start(store) == 0);
    store_stop(store);
    HOLDS(op.err == 0 && set.err == 0);
}

static void remove_folder(void)
{
    char lock[96];
    snprintf(lock, sizeof lock, "%s/lock", folder);
    unlink(lock);
    unlink(db_path);
    unlink(wal_path);
    unlink(shm_path);
    rmdir(folder);
}

static void make_good(void)
{
    struct problem problem;
    struct store *store;
    strcpy(folder,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/weft-fuzz-XXXXXX" : "/tmp/weft-fuzz-XXXXXX");
    HOLDS(mkdtemp(folder) != NULL);
    snprintf(db_path, sizeof db_path, "%s/weft.db", folder);
    snprintf(wal_path, sizeof wal_path, "%s/weft.db-wal", folder);
    snprintf(shm_path, sizeof shm_path, "%s/weft.db-shm", folder);
    atexit(remove_folder);
    HOLDS(store_open(&config, folder, &problem, &store) == 0);
    HOLDS(store_recover(store, check_row, NULL, &problem) == 0);
    insert_jobs(store);
    store_free(store);
    good_size = load(db_path, good);
}

static void patch(const uint8_t *data, size_t size)
{
    for (; size >= 4; data += 4, size -= 4) {
        size_t at = ((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2]) % good_size;
        bad[at] = data[3];
    }
}

/* Put the folder as the input says; returns the size of the database. */
static size_t arrange(const uint8_t *data, size_t size)
{
    size_t bad_size = good_size;
    memcpy(bad, good, good_size);
    if (data[0] == 1) {
        bad_size = size - 1;
        memcpy(bad, data + 1, bad_size);
    } else if (data[0] > 1) {
        patch(data + 1, size - 1);
    }
    unlink(shm_path);
    save(db_path, bad, bad_size);
    save(wal_path, data + 1, data[0] == 0 ? size - 1 : 0);
    return bad_size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct problem problem = {0};
    struct store *store;
    if (size == 0 || size > FILE_MAX / 2)
        return 0;
    if (!good_size)
        make_good();
    size_t bad_size = arrange(data, size);
    int err = store_open(&config, folder, &problem, &store);
    if (!err) {
        err = store_settings(store, check_setting, NULL, &problem);
        if (!err)
            err = store_recover(store, check_row, NULL, &problem);
        store_free(store);
    }
    if (err) {
        HOLDS(problem.err == err && problem.text[0]);
        HOLDS(load(db_path, after) == bad_size && memcmp(after, bad, bad_size) == 0);
    }
    return 0;
}
