/* SPDX-License-Identifier: MIT */
/*
 * A store that was damaged: it is refused and left as it is, or what it gives is what was put in.
 * Never anything else.
 */
#include "store_support.h"

#include <endian.h>

#include <sqlite3.h>

enum { JOBS = 300 };

static const char setting_text[] = "{\"queue\":\"slow\",\"paused\":true}";

/* What job id must be in the store that make_store() makes: a third has ended. */
static struct job_record expected_record(uint64_t id)
{
    return id % 3 == 0 ? record_ended(id, JOB_SUCCEEDED + id % 5) : record_make(id);
}

static void make_store(const char *folder)
{
    struct store *store = boot(folder);
    cr_assert_eq(insert_range(store, 1, JOBS), 0);
    cr_assert_eq(put_setting(store, "queue slow", setting_text), 0);
    for (uint64_t id = 3; id <= JOBS; id += 3) {
        struct job_record ended = record_ended(id, JOB_SUCCEEDED + id % 5);
        cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    }
    store_free(store);
}

/* The same, but killed before the WAL was folded back: it is all in the WAL. */
static void make_store_and_die(const char *folder, unsigned commits)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct store *store = boot(folder);
        for (char name[] = "1"; *name <= '5'; ++*name) /* a page each: one size is a power of 2 */
            if (put_setting(store, name, long_spec) != 0)
                _exit(1);
        for (unsigned i = 0; i < commits; i++)
            if (insert_range(store, 1 + i * 20, 20) != 0)
                _exit(1);
        _exit(0);
    }
    int ended;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    cr_assert_eq(ended, 0);
}

static void restore(const char *folder, struct bytes db, struct bytes wal)
{
    file_unlink(folder, "weft.db-shm");
    file_write(folder, "weft.db", db);
    file_write(folder, "weft.db-wal", wal);
}

static void assert_refused(const char *folder, int err, const char *text)
{
    struct problem problem = {0};
    struct store *store = NULL;
    struct bytes db = file_read(folder, "weft.db"), wal = file_read(folder, "weft.db-wal");
    cr_assert_eq(store_boot(&test_config, folder, NULL, &problem, &store), err, "%s", problem.text);
    cr_assert_eq(problem.err, err);
    cr_assert_not_null(strstr(problem.text, "weft.db"), "%s", problem.text);
    cr_assert_not_null(strstr(problem.text, text), "%s", problem.text);
    cr_assert(file_is(folder, "weft.db", db), "the database was touched");
    cr_assert(file_is(folder, "weft.db-wal", wal), "the WAL was touched");
    free(db.data);
    free(wal.data);
}

/* ---- whole files ----------------------------------------------------------------------------- */

Test(store_damage, a_file_of_garbage_is_refused)
{
    char folder[64];
    unsigned char garbage[9000];
    folder_make(folder, true);
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (unsigned char)(i * 7 + i / 256);
    file_write(folder, "weft.db", (struct bytes){garbage, sizeof garbage});
    assert_refused(folder, -EBADMSG, "not an SQLite database");
    folder_remove(folder);
}

Test(store_damage, an_empty_file_is_refused)
{
    char folder[64];
    file_write(folder_make(folder, true), "weft.db", (struct bytes){(unsigned char *)"", 0});
    assert_refused(folder, -EBADMSG, "shorter than its header");
    folder_remove(folder);
}

Test(store_damage, a_database_of_another_program_is_refused)
{
    char folder[64], path[128];
    sqlite3 *db;
    path_in(path, folder_make(folder, true), "weft.db");
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_refused(folder, -EBADMSG, "another program");
    folder_remove(folder);
}

static void change_store(const char *folder, const char *sql)
{
    char path[128];
    sqlite3 *db;
    path_in(path, folder, "weft.db");
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

Test(store_damage, a_store_of_a_newer_weftd_is_refused)
{
    char folder[64];
    make_store(folder_make(folder, true));
    change_store(folder, "PRAGMA user_version = 1000");
    assert_refused(folder, -EPROTONOSUPPORT, "newer weftd");
    folder_remove(folder);
}

Test(store_damage, a_setting_that_was_changed_is_refused)
{
    char folder[64];
    struct problem problem = {0};
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(put_setting(store, "queue a", "{\"paused\":true}"), 0);
    store_free(store);
    change_store(folder, "UPDATE setting SET value = '{\"paused\":false}'");
    cr_assert_eq(store_open(&test_config, folder, &problem, &store), 0);
    cr_assert_eq(store_settings(store, ignore_setting, NULL, &problem), -EBADMSG);
    cr_assert(strstr(problem.text, "checksum of a setting") != NULL, "%s", problem.text);
    store_free(store);
    folder_remove(folder);
}

Test(store_damage, a_store_without_one_of_its_tables_is_refused)
{
    char folder[64];
    make_store(folder_make(folder, true));
    change_store(folder, "DROP TABLE long_spec");
    assert_refused(folder, -EBADMSG, "long_spec");
    folder_remove(folder);
}

Test(store_damage, an_index_that_says_something_else_is_refused)
{
    char folder[64];
    make_store(folder_make(folder, true));
    change_store(folder, "DROP INDEX ended_by_state; CREATE INDEX ended_by_state ON job "
                         "(state, id, uid) WHERE state >= 5 AND uid = 1000");
    assert_refused(folder, -EBADMSG, "ended_by_state");
    folder_remove(folder);
}

Test(store_damage, a_row_that_was_changed_by_hand_is_refused)
{
    char folder[64];
    make_store(folder_make(folder, true));
    change_store(folder, "UPDATE job SET state = 5 WHERE id = 4");
    assert_refused(folder, -EBADMSG, "checksum of job 4");
    folder_remove(folder);
}

Test(store_damage, a_log_without_its_database_is_refused)
{
    char folder[64];
    make_store_and_die(folder_make(folder, true), 3);
    file_unlink(folder, "weft.db");
    assert_refused(folder, -EBADMSG, "weft.db-wal is still there");
    folder_remove(folder);
}

Test(store_damage, a_truncated_database_is_refused_at_any_length)
{
    char folder[64];
    make_store(folder_make(folder, true));
    struct bytes db = file_read(folder, "weft.db"), wal = {(unsigned char *)"", 0};
    for (size_t size = 0; size < db.size; size += 1021) {
        restore(folder, (struct bytes){db.data, size}, wal);
        assert_refused(folder, -EBADMSG, "it was left as it is");
    }
    free(db.data);
    folder_remove(folder);
}

/* Closing must not fold the WAL into a database that was just found to be damaged. */
Test(store_damage, a_damaged_database_with_a_good_log_is_refused_and_neither_is_touched)
{
    char folder[64];
    make_store(folder_make(folder, true));
    pid_t pid = fork();
    if (pid == 0)
        _exit(insert_range(boot(folder), JOBS + 1, 1) == 0 ? 0 : 1);
    int ended;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    cr_assert_eq(ended, 0);
    struct bytes db = file_read(folder, "weft.db"), wal = file_read(folder, "weft.db-wal");
    cr_assert_gt(wal.size, 4096u);
    unsigned char *first = memmem(db.data, db.size, "exit status 3", 13);
    cr_assert_not_null(first);
    first[12] = '4'; /* for the checksum */
    restore(folder, db, wal);
    assert_refused(folder, -EBADMSG, "checksum of job");
    first[12] = '3';
    memset(db.data + 3 * 4096, 0xff, 100); /* the root of job, for quick_check */
    restore(folder, db, wal);
    assert_refused(folder, -EBADMSG, "it was left as it is");
    free(db.data);
    free(wal.data);
    folder_remove(folder);
}

Test(store_damage, a_creation_that_was_cut_short_is_started_over)
{
    char folder[64], path[128];
    struct bytes half = {(unsigned char *)"SQLite form", 11};
    file_write(folder_make(folder, true), "weft.db.new", half);
    file_write(folder, "weft.db.new-journal", half);
    store_free(boot(folder));
    path_in(path, folder, "weft.db.new");
    cr_assert_eq(access(path, F_OK), -1);
    folder_remove(folder);
}

/* ---- flipped bits ---------------------------------------------------------------------------- */

static int expect_row(void *arg, const struct job_record *record)
{
    struct job_record same = expected_record(record->id);
    cr_assert(record_same(record, &same), "job %llu is not what it was",
              (unsigned long long)record->id);
    ++*(size_t *)arg;
    return 0;
}

static void check_content(struct store *store)
{
    for (uint64_t id = 1; id <= JOBS; id += 7) {
        struct job_record *found = get_record(store, id), same = expected_record(id);
        cr_assert(found && record_same(found, &same), "job %llu", (unsigned long long)id);
        job_record_free(found);
    }
}

static int expect_setting(void *arg, const char *name, const char *value)
{
    cr_assert_str_eq(name, "queue slow");
    cr_assert_str_eq(value, setting_text);
    ++*(size_t *)arg;
    return 0;
}

/* True: refused, and untouched.  False: opened, and all there. */
static bool refused_or_whole(const char *folder, struct bytes db, size_t live_expected)
{
    struct problem problem = {0};
    struct store *store;
    size_t live = 0, settings = 0;
    int err = store_open(&test_config, folder, &problem, &store);
    if (!err) {
        err = store_settings(store, expect_setting, &settings, &problem);
        if (!err)
            err = store_recover(store, expect_row, &live, &problem);
        if (err)
            store_free(store);
    }
    if (err) {
        cr_assert(err == -EBADMSG || err == -EPROTONOSUPPORT, "%d: %s", err, problem.text);
        cr_assert(file_is(folder, "weft.db", db), "refused, but touched");
        return true;
    }
    cr_assert_eq(live, live_expected, "%zu live jobs of %zu", live, live_expected);
    cr_assert_eq(settings, 1u, "%zu settings", settings);
    cr_assert_eq(store_start(store), 0);
    check_content(store);
    store_free(store);
    return false;
}

Test(store_damage, no_flipped_bit_of_the_database_changes_a_job, .timeout = 120)
{
    char folder[64];
    unsigned refused = 0, flips = 0;
    random_seed();
    make_store(folder_make(folder, true));
    struct bytes db = file_read(folder, "weft.db"), wal = {(unsigned char *)"", 0};
    for (size_t at = 0; at < db.size; at += at < 100 ? 1 : 1 + random_below(db.size / 300)) {
        unsigned char bit = (unsigned char)(1u << random_below(8));
        db.data[at] ^= bit;
        restore(folder, db, wal);
        refused += refused_or_whole(folder, db, JOBS - JOBS / 3);
        flips++;
        db.data[at] ^= bit;
    }
    fprintf(stderr, "%u flips, %u refused\n", flips, refused);
    cr_assert_gt(refused, flips / 3);
    free(db.data);
    folder_remove(folder);
}

/* ---- the write-ahead log --------------------------------------------------------------------- */

/* Live jobs found, or -1 for refused. */
static int boot_count(const char *folder)
{
    struct problem problem = {0};
    struct store *store;
    size_t live = 0;
    int err = store_boot(&test_config, folder, &live, &problem, &store);
    if (err) {
        cr_assert_eq(err, -EBADMSG, "%d: %s", err, problem.text);
        return -1;
    }
    store_free(store);
    return (int)live;
}

Test(store_damage, a_flipped_bit_in_the_log_loses_no_acknowledged_job_but_those_of_the_last_commit,
     .timeout = 120)
{
    char folder[64];
    unsigned refused = 0, flips = 0, last_lost = 0;
    random_seed();
    make_store_and_die(folder_make(folder, true), 6);
    struct bytes db = file_read(folder, "weft.db"), wal = file_read(folder, "weft.db-wal");
    cr_assert_gt(wal.size, 20000u);
    for (size_t at = 0; at < wal.size; at += at < 100 ? 1 : 1 + random_below(wal.size / 150)) {
        unsigned char bit = (unsigned char)(1u << random_below(8));
        wal.data[at] ^= bit;
        restore(folder, db, wal);
        int live = boot_count(folder);
        cr_assert(live == -1 || live == 120 || live == 100, "byte %zu: %d jobs", at, live);
        cr_assert(live != -1 || file_is(folder, "weft.db-wal", wal), "refused, but touched");
        refused += live == -1;
        last_lost += live == 100;
        flips++;
        wal.data[at] ^= bit;
    }
    fprintf(stderr, "%u flips, %u refused, %u in the last commit\n", flips, refused, last_lost);
    cr_assert_gt(refused, flips / 3);
    free(db.data);
    free(wal.data);
    folder_remove(folder);
}

enum { WAL_HEADER = 32, WAL_FRAME = 24 + 4096 };

/* The size of the database that a commit frame states; 0: it is none. */
static uint32_t frame_size(const unsigned char *frame)
{
    uint32_t size;
    memcpy(&size, frame + 4, sizeof size);
    return be32toh(size);
}

/* Also when it hides that a frame ends a transaction: the only one of its size, or one of its
 * salts. */
Test(store_damage, no_flipped_bit_of_a_commit_frame_hides_an_earlier_transaction, .timeout = 120)
{
    enum { COMMITS = 12, LEFT = 20 * (COMMITS - 1) };
    char folder[64];
    int ends = 0, of_one_bit = 0;
    make_store_and_die(folder_make(folder, true), COMMITS);
    struct bytes db = file_read(folder, "weft.db"), wal = file_read(folder, "weft.db-wal");
    for (size_t frame = WAL_HEADER; frame < wal.size; frame += WAL_FRAME) {
        uint32_t size = frame_size(wal.data + frame);
        if (!size)
            continue;
        ends++;
        of_one_bit += (size & (size - 1)) == 0;
        for (size_t bit = 0; bit < (size_t)24 * 8; bit += bit < 96 ? 1 : 5) {
            wal.data[frame + bit / 8] ^= (unsigned char)(1u << bit % 8);
            restore(folder, db, wal);
            cr_assert_eq(boot_count(folder), frame + WAL_FRAME < wal.size ? -1 : LEFT,
                         "frame %zu, bit %zu", frame / WAL_FRAME, bit);
            wal.data[frame + bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
    }
    cr_assert_geq(ends, COMMITS);
    cr_assert_geq(of_one_bit, 1);
    free(db.data);
    free(wal.data);
    folder_remove(folder);
}

Test(store_damage, a_log_cut_short_opens_with_whole_transactions)
{
    char folder[64];
    make_store_and_die(folder_make(folder, true), 6);
    struct bytes db = file_read(folder, "weft.db"), wal = file_read(folder, "weft.db-wal");
    int before = 0;
    for (size_t size = 0; size <= wal.size; size += 1367) {
        restore(folder, db, (struct bytes){wal.data, size});
        int live = boot_count(folder);
        cr_assert(live >= before && live % 20 == 0, "%d jobs at %zu bytes", live, size);
        before = live;
    }
    free(db.data);
    free(wal.data);
    folder_remove(folder);
}

/* The row passes its start, and goes bad while the store runs. */
Test(store_damage, a_row_that_goes_bad_later_is_never_shown)
{
    char folder[64], path[128];
    struct problem problem = {0};
    make_store(folder_make(folder, true));
    struct store *store = boot(folder);
    path_in(path, folder, "weft.db");
    pid_t pid = fork();
    if (pid == 0) {
        sqlite3 *db;
        sqlite3_open(path, &db);
        _exit(sqlite3_exec(db, "UPDATE job SET spec = 'rm' WHERE id = 5", NULL, NULL, NULL));
    }
    int ended;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    cr_assert_eq(ended, 0);
    uint64_t id = 5;
    struct waited_op get = {.op = {.kind = STORE_GET, .ids = &id, .count = 1}};
    cr_assert_eq(op_run(store, &get), -EBADMSG);
    cr_assert_null(get.op.found);
    cr_assert_eq(store_error(store, &problem), -EBADMSG);
    cr_assert_not_null(strstr(problem.text, "checksum of job 5"), "%s", problem.text);
    cr_assert_eq(insert_range(store, JOBS + 1, 1), -EBADMSG);
    store_free(store);
    folder_remove(folder);
}
