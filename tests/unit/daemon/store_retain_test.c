/* SPDX-License-Identifier: MIT */
/* What the store lets go of: rows that are deleted, the space that they leave, and a log that
 * somebody's reading holds back. */
#include "store_support.h"

#include <sqlite3.h>

/* Ids of those that ended first, by then; "3 9 " */
static const char *oldest_of(struct store *store, enum store_oldest which, int64_t ended_by,
                             size_t limit)
{
    static char text[512];
    size_t size = 0;
    struct waited_op op = {
        .op = {.kind = STORE_OLDEST, .oldest = which, .ended_by = ended_by, .filter.limit = limit}};
    cr_assert_eq(op_run(store, &op), 0);
    text[0] = '\0';
    for (size_t i = 0; i < op.op.found_count; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "%llu ",
                                 (unsigned long long)op.op.found[i]->id);
        job_record_free(op.op.found[i]);
    }
    free(op.op.found);
    return text;
}

static const char *oldest(struct store *store, int64_t ended_by, size_t limit)
{
    return oldest_of(store, STORE_OLDEST_ALL, ended_by, limit);
}

static void end_at(struct store *store, uint64_t id, int64_t when)
{
    struct job_record record = record_ended(id, JOB_SUCCEEDED + id % 5);
    record.finished_at = when;
    cr_assert_eq(put_record(store, STORE_UPDATE, &record), 0);
}

static int delete_ids(struct store *store, const uint64_t *ids, size_t count)
{
    struct waited_op op = {.op = {.kind = STORE_DELETE, .ids = ids, .count = count}};
    return op_run(store, &op);
}

Test(store_retain, those_that_ended_first_are_found_whatever_lives)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 100), 0);
    end_at(store, 50, 300);
    end_at(store, 60, 100);
    end_at(store, 40, 200);
    cr_assert_str_eq(oldest(store, INT64_MAX, 100), "60 40 50 ");
    cr_assert_str_eq(oldest(store, INT64_MAX, 2), "60 40 ");
    cr_assert_str_eq(oldest(store, 200, 100), "60 40 ");
    cr_assert_str_eq(oldest(store, 99, 100), "");
    store_free(store);
    folder_remove(folder);
}

static void insert_kept(struct store *store, uint64_t id, int64_t keep)
{
    struct job_record record = record_make(id);
    record.keep = keep;
    cr_assert_eq(put_record(store, STORE_INSERT, &record), 0);
}

Test(store_retain, those_with_a_keep_of_their_own_are_found_by_that)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 3), 0);
    insert_kept(store, 4, 1000);
    insert_kept(store, 5, 10);
    insert_kept(store, 6, 1);
    for (uint64_t id = 1; id <= 5; id++)
        end_at(store, id, 100 * (int64_t)id);
    cr_assert_str_eq(oldest(store, INT64_MAX, 100), "1 2 3 4 5 ");
    cr_assert_str_eq(oldest(store, 400, 2), "1 2 ");
    cr_assert_str_eq(oldest(store, 400, 100), "1 2 3 4 ");
    cr_assert_str_eq(oldest_of(store, STORE_OLDEST_PLAIN, INT64_MAX, 100), "1 2 3 ");
    cr_assert_str_eq(oldest_of(store, STORE_OLDEST_PLAIN, 200, 100), "1 2 ");
    cr_assert_str_eq(oldest_of(store, STORE_OLDEST_KEPT, INT64_MAX, 100), "5 4 ");
    cr_assert_str_eq(oldest_of(store, STORE_OLDEST_KEPT, 1399, 100), "5 ");
    cr_assert_str_eq(oldest_of(store, STORE_OLDEST_KEPT, 509, 100), "");
    store_free(store);
    folder_remove(folder);
}

Test(store_retain, what_is_deleted_is_gone_and_what_lives_is_not)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    struct store_life life;
    const uint64_t ids[] = {7, 57, 99, 100, 5000};
    cr_assert_eq(insert_range(store, 1, 100), 0);
    end_at(store, 7, 1); /* the spec is a long one */
    end_at(store, 57, 1);
    end_at(store, 100, 1);
    cr_assert_eq(delete_ids(store, ids, 5), 0);
    for (int turn = 0; turn < 2; turn++) {
        cr_assert_null(get_record(store, 7));
        cr_assert_null(get_record(store, 57));
        cr_assert_null(get_record(store, 100));
        struct job_record *lives = get_record(store, 99);
        cr_assert_not_null(lives, "it had not ended");
        job_record_free(lives);
        cr_assert_str_eq(oldest(store, INT64_MAX, 100), "");
        store_free(store);
        store = boot(folder);
        store_life(store, &life);
        cr_assert_eq(life.next_id, 101u, "an id is never given twice");
        cr_assert_eq(life.ended, 0u);
    }
    cr_assert_eq(insert_range(store, 101, 1), 0);
    store_free(store);
    folder_remove(folder);
}

/* The ends that it takes to have something to delete are old ones. */
static void fill_and_forget(struct store *store, uint64_t first, size_t count)
{
    uint64_t *ids = calloc(count, sizeof *ids);
    cr_assert_eq(insert_range(store, first, count), 0);
    struct job_record *records = calloc(count, sizeof *records);
    const struct job_record **rows = calloc(count, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
        records[i] = record_ended(ids[i], JOB_SUCCEEDED);
        rows[i] = &records[i];
    }
    struct waited_op end = {.op = {.kind = STORE_UPDATE, .rows = rows, .count = count}};
    cr_assert_eq(op_run(store, &end), 0);
    for (size_t at = 0; at < count; at += 100)
        cr_assert_eq(delete_ids(store, ids + at, 100), 0);
    free(rows);
    free(records);
    free(ids);
}

Test(store_retain, the_file_does_not_grow_with_what_was_deleted_and_shrinks)
{
#ifdef WEFT_TEST_MINI
    enum { JOBS = 8000 };
#else
    enum { JOBS = 20000 };
#endif
    char folder[64], path[128];
    struct stat status;
    struct store *store = boot(folder_make(folder, true));
    path_in(path, folder, "weft.db");
    fill_and_forget(store, 1, JOBS);
    store_free(store); /* folds the WAL back */
    cr_assert_eq(stat(path, &status), 0);
    off_t first = status.st_size;
    cr_assert_lt(first, 2 << 20, "%lld bytes", (long long)first);
    store = boot(folder);
    fill_and_forget(store, JOBS + 1, JOBS);
    store_free(store);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_leq(status.st_size, first + (1 << 20), "%lld bytes", (long long)status.st_size);
    folder_remove(folder);
}

/* ---- keys of ended jobs ---------------------------------------------------------------------- */

/* Returns the id of who has the key; 0: the row was inserted. */
static uint64_t insert_keyed(struct store *store, uint64_t id, uid_t uid, const char *spec,
                             int64_t since)
{
    uint64_t existing = 0;
    struct job_record record = record_make(id);
    const struct job_record *row = &record;
    record.uid = uid;
    record.key_hash = 17; /* of all: what hashes alike need not be the same */
    record.spec = spec;
    struct waited_op op = {.op = {.kind = STORE_INSERT,
                                  .rows = &row,
                                  .count = 1,
                                  .key_since = since,
                                  .existing = &existing}};
    cr_assert_eq(op_run(store, &op), 0);
    struct job_record *found = get_record(store, id);
    cr_assert_eq(found == NULL, existing > 0);
    job_record_free(found);
    return existing;
}

static void end_keyed(struct store *store, uint64_t id, int64_t when)
{
    struct job_record *found = get_record(store, id);
    found->state = JOB_SUCCEEDED;
    found->finished_at = when;
    cr_assert_eq(put_record(store, STORE_UPDATE, found), 0);
    job_record_free(found);
}

Test(store_retain, a_row_whose_key_an_ended_job_has_is_not_inserted)
{
    static const char key[] = "{\"argv\":[\"a\"],\"key\":\"k\"}";
    static const char another[] = "{\"argv\":[\"a\"],\"key\":\"K\"}";
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_keyed(store, 1, 1000, key, 0), 0u);
    cr_assert_eq(insert_keyed(store, 2, 1000, key, 0), 0u, "nobody has ended");
    end_keyed(store, 1, 100);
    cr_assert_eq(insert_keyed(store, 3, 1000, key, 99), 1u);
    cr_assert_eq(insert_keyed(store, 3, 1000, key, 100), 0u, "too long ago");
    cr_assert_eq(insert_keyed(store, 4, 1001, key, 0), 0u, "another user's");
    cr_assert_eq(insert_keyed(store, 5, 1000, another, 0), 0u);
    end_keyed(store, 5, 300);
    end_keyed(store, 2, 200);
    cr_assert_eq(insert_keyed(store, 6, 1000, key, 0), 2u, "the last");
    cr_assert_eq(insert_keyed(store, 6, 1000, another, 0), 5u);
    store_free(store);
    store = boot(folder);
    cr_assert_eq(insert_keyed(store, 6, 1000, key, 0), 2u);
    const uint64_t ids[] = {2, 1};
    cr_assert_eq(delete_ids(store, ids, 2), 0);
    cr_assert_eq(insert_keyed(store, 6, 1000, key, 0), 0u, "forgotten");
    store_free(store);
    folder_remove(folder);
}

/* ---- who reads for ever ---------------------------------------------------------------------- */

static sqlite3 *begin_reading(const char *folder)
{
    char path[128];
    sqlite3 *db;
    path_in(path, folder, "weft.db");
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM job", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

/* What was done before this is in the figures: the store tidies up at the latest after 16. */
static void measured(struct store *store, struct store_stats *ret_stats)
{
    for (int i = 0; i < 20; i++) {
        struct waited_op ping = {.op = {.kind = STORE_PING}};
        cr_assert_eq(op_run(store, &ping), 0);
    }
    store_stats(store, ret_stats);
}

/* Inserts until one is refused, and updates, which are not. */
static void write_beside_a_reader(struct store *store, const char *folder, uint64_t wal_max)
{
    struct store_stats stats;
    uint64_t id = 1000;
    int err;
    sqlite3 *reader = begin_reading(folder);
    while ((err = insert_range(store, id, 100)) == 0) {
        id += 100;
        cr_assert_lt(id, 1000000u, "the log grows without end");
    }
    cr_assert_eq(err, -ENOSPC);
    end_at(store, 1, 1);
    measured(store, &stats);
    cr_assert_gt(stats.wal_bytes, wal_max);
    cr_assert_lt(stats.wal_bytes, wal_max + (1 << 20), "%llu", (unsigned long long)stats.wal_bytes);
    sqlite3_close(reader);
    measured(store, &stats); /* the next look finds it gone */
    cr_assert_eq(insert_range(store, id, 1), 0);
    measured(store, &stats);
    cr_assert_lt(stats.wal_bytes, wal_max);
    cr_assert(!stats.failed);
}

Test(store_retain, a_reader_that_never_ends_does_not_make_the_log_grow_for_ever)
{
    char folder[64];
    struct config_store config = test_config;
    struct problem problem;
    struct store *store = NULL;
    config.checkpoint = 64 << 10;
    config.wal_max = 2 << 20;
    folder_make(folder, true);
    cr_assert_eq(store_boot(&config, folder, NULL, &problem, &store), 0);
    cr_assert_eq(insert_range(store, 1, 10), 0);
    write_beside_a_reader(store, folder, config.wal_max);
    store_free(store);
    folder_remove(folder);
}
