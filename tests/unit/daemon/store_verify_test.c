/* SPDX-License-Identifier: MIT */
/* weftd --verify: what it finds, and that it touches nothing. */
#include "daemon/store_verify.h"

#include "store_support.h"

#include <dirent.h>
#include <sqlite3.h>
#include <sys/inotify.h>

static char *said; /* by the last verify() */

static int verify(const char *folder, struct problem *problem)
{
    size_t size;
    free(said);
    said = NULL;
    FILE *to = open_memstream(&said, &size);
    int result = store_verify(folder, to, problem);
    fclose(to);
    return result;
}

static void assert_faults(const char *folder, int faults, const char *piece)
{
    struct problem problem = {0};
    int found = verify(folder, &problem);
    cr_assert_eq(found, faults, "%d: %s%s", found, said, problem.text);
    cr_assert_not_null(strstr(said, piece), "'%s' not in %s", piece, said);
}

static void change(const char *folder, const char *sql)
{
    char path[128];
    sqlite3 *db;
    path_in(path, folder, "weft.db");
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int insert(struct store *store, uint64_t id, enum job_state state, const char *spec)
{
    struct job_record record = record_make(id);
    record.state = state;
    record.queue = "default";
    record.spec = spec;
    record.due_at = state == JOB_DELAYED ? 5 : 0;
    return put_record(store, STORE_INSERT, &record);
}

/* Folded back, with a job of every kind that is right. */
static const char *make_folder(char folder[64])
{
    struct job_record ended = record_ended(1, JOB_SUCCEEDED);
    ended.queue = "default";
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert(store, 1, JOB_QUEUED, "{\"argv\":[\"true\"]}"), 0);
    cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    cr_assert_eq(insert(store, 2, JOB_QUEUED, "{\"argv\":[\"a\"],\"key\":\"k\"}"), 0);
    cr_assert_eq(insert(store, 3, JOB_DELAYED, "{\"argv\":[\"a\"],\"key\":\"l\"}"), 0);
    cr_assert_eq(insert(store, 4, JOB_WAITING, "{\"argv\":[\"a\"],\"after\":[1,2]}"), 0);
    cr_assert_eq(put_setting(store, "a", "b"), 0);
    store_free(store);
    return folder;
}

static size_t count_names(const char *folder)
{
    size_t count = 0;
    DIR *names = opendir(folder);
    while (readdir(names))
        count++;
    closedir(names);
    return count;
}

Test(store_verify, a_good_store_has_no_fault_and_is_not_touched)
{
    char folder[64];
    make_folder(folder);
    pid_t pid = fork();
    if (pid == 0) /* dies with something in its log */
        _exit(insert(boot(folder), 5, JOB_QUEUED, "{\"call\":\"echo\"}") == 0 ? 0 : 1);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    file_unlink(folder, "weft.db-shm");
    struct bytes db = file_read(folder, "weft.db"), wal = file_read(folder, "weft.db-wal");
    size_t names = count_names(folder);
    cr_assert_gt(wal.size, 0u);
    assert_faults(folder, 0, "5 jobs (4 have not ended), 1 settings, 0 output files");
    cr_assert(file_is(folder, "weft.db", db));
    cr_assert(file_is(folder, "weft.db-wal", wal));
    cr_assert_eq(count_names(folder), names, "a file was made");
    free(db.data);
    free(wal.data);
    folder_remove(folder);
}

Test(store_verify, what_no_edge_leads_to_is_a_fault)
{
    char folder[64];
    struct store *store = boot(make_folder(folder));
    struct job_record ended = record_ended(6, JOB_DEAD);
    ended.queue = "default";
    ended.attempt = 0;
    cr_assert_eq(insert(store, 5, JOB_RUNNING, "{\"argv\":[\"true\"]}"), 0);
    cr_assert_eq(insert(store, 6, JOB_QUEUED, "{\"argv\":[\"true\"]}"), 0);
    cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    store_free(store);
    assert_faults(folder, 2, "job 5 is running and has had no attempt");
    assert_faults(folder, 2, "job 6 is dead and has had no attempt");
    folder_remove(folder);
}

static struct job_record record_of(enum job_state state)
{
    struct job_record record = record_ended(5, state);
    record.queue = "default";
    if (!job_state_is_end(state)) {
        record.finished_at = 0;
        record.result = NULL;
    }
    record.attempt = state == JOB_WAITING ? 0 : 1;
    record.due_at = state == JOB_DELAYED ? 5 : 0;
    return record;
}

/* The record is the only one that may be wrong.  piece: of what is said; NULL: it is right. */
static void assert_judged(const struct job_record *record, const char *piece)
{
    char folder[64];
    struct store *store = boot(make_folder(folder));
    cr_assert_eq(insert(store, 5, JOB_QUEUED, record->spec), 0);
    cr_assert_eq(put_record(store, STORE_UPDATE, record), 0);
    store_free(store);
    assert_faults(folder, piece ? 1 : 0, piece ? piece : "");
    folder_remove(folder);
}

Test(store_verify, times_and_attempts_fit_the_state)
{
    static const enum job_state states[] = {JOB_RUNNING, JOB_SUCCEEDED, JOB_DELAYED, JOB_WAITING};
    struct job_record record;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        record = record_of(states[i]);
        assert_judged(&record, NULL);
    }
    record = record_of(JOB_RUNNING);
    record.started_at = 0;
    assert_judged(&record, "job 5 is running and has never started");
    record = record_of(JOB_SUCCEEDED);
    record.finished_at = 0;
    assert_judged(&record, "job 5 is succeeded and has no time of its end");
    record = record_of(JOB_RUNNING);
    record.finished_at = 7;
    assert_judged(&record, "job 5 is running and has a time of its end");
    record = record_of(JOB_DELAYED);
    record.due_at = 0;
    assert_judged(&record, "job 5 is delayed and is not due at any time");
    record = record_of(JOB_WAITING);
    record.attempt = 1;
    assert_judged(&record, "job 5 is waiting and has had an attempt");
}

Test(store_verify, a_job_is_in_the_queue_that_it_asked_for)
{
    char folder[64];
    struct store *store = boot(make_folder(folder));
    cr_assert_eq(insert(store, 5, JOB_QUEUED, "{\"argv\":[\"a\"],\"queue\":\"slow\"}"), 0);
    store_free(store);
    assert_faults(folder, 1, "job 5 is in queue default and asked for slow");
    folder_remove(folder);
}

Test(store_verify, a_spec_without_its_job_is_a_fault)
{
    char folder[64];
    make_folder(folder);
    change(folder, "INSERT INTO long_spec (id, spec) VALUES (900, '{}')");
    assert_faults(folder, 1, "the spec of job 900 is there, and the job is not");
    folder_remove(folder);
}

Test(store_verify, specs_keys_and_dependencies_are_looked_at)
{
    char folder[64];
    struct store *store = boot(make_folder(folder));
    cr_assert_eq(insert(store, 5, JOB_QUEUED, "{\"argv\":[\"a\"],\"key\":\"x\"}"), 0);
    cr_assert_eq(insert(store, 8, JOB_QUEUED, "{\"argv\":[\"a\"],\"key\":\"x\"}"), 0);
    cr_assert_eq(insert(store, 6, JOB_QUEUED, "{\"argv\":"), 0);
    cr_assert_eq(insert(store, 7, JOB_WAITING, "{\"argv\":[\"a\"],\"after\":[900]}"), 0);
    store_free(store);
    assert_faults(folder, 3, "jobs 5 and 8 live and have one key");
    assert_faults(folder, 3, "job 6 cannot be read");
    assert_faults(folder, 3, "job 7 waits for job 900, which there never was");
    folder_remove(folder);
}

Test(store_verify, every_row_that_was_changed_is_named)
{
    char folder[64];
    make_folder(folder);
    change(folder, "UPDATE job SET state = 5 WHERE id IN (2, 4)");
    assert_faults(folder, 2, "checksum of job 2");
    assert_faults(folder, 2, "checksum of job 4");
    folder_remove(folder);
}

Test(store_verify, an_index_that_disagrees_is_a_fault)
{
    char folder[64];
    make_folder(folder);
    struct bytes db = file_read(folder, "weft.db");
    change(folder, "DELETE FROM job WHERE id = 1");
    struct bytes without = file_read(folder, "weft.db");
    cr_assert_eq(db.size, without.size);
    for (size_t at = 4096; at < db.size; at += 4096) /* but for the pages of indexes */
        if (db.data[at] == 10 || db.data[at] == 2)
            memcpy(without.data + at, db.data + at, 4096);
    file_write(folder, "weft.db", without);
    struct problem problem = {0};
    cr_assert_gt(verify(folder, &problem), 0, "%s%s", said, problem.text);
    cr_assert_not_null(strstr(said, "ended_by_"), "%s", said);
    free(db.data);
    free(without.data);
    folder_remove(folder);
}

Test(store_verify, output_without_a_job_is_a_note)
{
    char folder[64], path[128];
    make_folder(folder);
    const char *names[] = {"output/0/1.1.out", "output/0/77.1.out", "output/0/1.2.err",
                           "output/0/notes"};
    path_in(path, folder, "output");
    cr_assert_eq(mkdir(path, 0700), 0);
    path_in(path, folder, "output/0");
    cr_assert_eq(mkdir(path, 0700), 0);
    for (size_t i = 0; i < 4; i++)
        file_write(folder, names[i], (struct bytes){(unsigned char *)"x", 1});
    assert_faults(folder, 0, "output/0/77.1.out belongs to no job");
    assert_faults(folder, 0, "output/0/1.2.err belongs to no attempt");
    assert_faults(folder, 0, "3 output files (2 of no job): no fault");
    folder_remove(folder);
}

Test(store_verify, a_folder_that_is_used_or_empty_is_refused)
{
    char folder[64];
    struct problem problem = {0};
    struct store *store = boot(make_folder(folder));
    cr_assert_eq(verify(folder, &problem), -EBUSY);
    cr_assert_not_null(strstr(problem.text, "a weftd uses"), "%s", problem.text);
    store_free(store);
    folder_remove(folder);
    folder_make(folder, true);
    cr_assert_eq(verify(folder, &problem), -ENOENT);
    cr_assert_eq(count_names(folder), 2u);
    folder_remove(folder);
}

Test(store_verify, what_is_no_store_is_one_fault)
{
    char folder[64];
    folder_make(folder, true);
    file_write(folder, "weft.db", (struct bytes){(unsigned char *)"garbage", 7});
    assert_faults(folder, 1, "shorter than its header");
    folder_remove(folder);
}

/* As a program that a weftd was starting when it was killed: it has the lock, until somebody opens
 * the lock's file. */
static void keep_lock(const char *folder, int ready)
{
    char path[128], event[4096];
    path_in(path, folder, "lock");
    int watch = inotify_init1(IN_CLOEXEC);
    if (inotify_add_watch(watch, path, IN_OPEN) < 0 || write(ready, "", 1) != 1)
        _exit(1);
    _exit(read(watch, event, sizeof event) > 0 ? 0 : 1);
}

static void die_holding_the_lock(const char *folder, int ready)
{
    (void)boot(folder);
    if (fork() == 0)
        keep_lock(folder, ready);
    _exit(0);
}

Test(store_verify, a_lock_whose_holder_is_dead_is_waited_for)
{
    char folder[64], byte;
    struct problem problem = {0};
    struct store *store = NULL;
    make_folder(folder);
    for (int turn = 0; turn < 2; turn++) {
        int ready[2];
        cr_assert_eq(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0)
            die_holding_the_lock(folder, ready[1]);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        close(ready[1]);
        if (turn == 0)
            cr_assert_eq(verify(folder, &problem), 0, "%s", problem.text);
        else
            cr_assert_eq(store_boot(&test_config, folder, NULL, &problem, &store), 0, "%s",
                         problem.text);
    }
    store_free(store);
    folder_remove(folder);
}
