/* SPDX-License-Identifier: MIT */
/* Settings, which a store has since version 2, and stores of older versions. */
#include "store_support.h"

#include <sqlite3.h>

/* ---- settings -------------------------------------------------------------------------------- */

static int write_down(void *arg, const char *name, const char *value)
{
    char *text = arg;
    size_t used = strlen(text);
    snprintf(text + used, 512 - used, "%s=%s;", name, value);
    return 0;
}

static int give_up(void *arg, const char *name, const char *value)
{
    (void)arg, (void)name, (void)value;
    return -ENOMEM;
}

/* All of them, as a start reads them. */
static void expect_settings(const char *folder, const char *expected)
{
    char text[512] = "";
    struct problem problem = {0};
    struct store *store;
    cr_assert_eq(store_open(&test_config, folder, &problem, &store), 0, "%s", problem.text);
    cr_assert_eq(store_settings(store, write_down, text, &problem), 0, "%s", problem.text);
    cr_assert_str_eq(text, expected);
    cr_assert_eq(store_settings(store, give_up, NULL, &problem), *expected ? -ENOMEM : 0);
    store_free(store);
}

Test(store_versions, settings_survive_until_they_are_forgotten)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(put_setting(store, "b", "first"), 0);
    cr_assert_eq(put_setting(store, "a", ""), 0);
    cr_assert_eq(put_setting(store, "b", "second"), 0);
    cr_assert_eq(put_setting(store, "c", "third"), 0);
    cr_assert_eq(put_setting(store, "c", NULL), 0);
    cr_assert_eq(put_setting(store, "was never there", NULL), 0);
    store_free(store);
    expect_settings(folder, "a=;b=second;");
    folder_remove(folder);
}

/* ---- an older store -------------------------------------------------------------------------- */

/* What that version had, and nothing that came later. */
static void make_version(const char *folder, int version)
{
    static const char *const back[] = {
        [5] = "DROP INDEX ended_by_key; ALTER TABLE job DROP COLUMN key_hash; "
              "PRAGMA user_version = 5",
        [4] = "DROP INDEX kept_by_time; DROP INDEX kept_by_due; DROP INDEX ended_by_time; "
              "CREATE INDEX ended_by_time ON job (finished_at) WHERE state >= 5; "
              "ALTER TABLE job DROP COLUMN keep; PRAGMA user_version = 4",
        [3] = "ALTER TABLE job DROP COLUMN expires_at; PRAGMA user_version = 3",
        [2] = "DROP INDEX ended_by_time; PRAGMA user_version = 2",
        [1] = "DROP TABLE setting; PRAGMA user_version = 1",
    };
    char path[128];
    sqlite3 *db;
    path_in(path, folder, "weft.db");
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    for (int at = 5; at >= version; at--)
        cr_assert_eq(sqlite3_exec(db, back[at], NULL, NULL, NULL), SQLITE_OK, "%s",
                     sqlite3_errmsg(db));
    sqlite3_close(db);
}

Test(store_versions, a_store_of_version_1_is_brought_to_this_one)
{
    char folder[64];
    size_t live = 0;
    struct problem problem = {0};
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 10), 0);
    store_free(store);
    make_version(folder, 1);
    expect_settings(folder, ""); /* looking alone changes nothing */
    expect_settings(folder, "");
    cr_assert_eq(store_boot(&test_config, folder, &live, &problem, &store), 0, "%s", problem.text);
    cr_assert_eq(live, 10u);
    cr_assert_eq(put_setting(store, "a", "b"), 0);
    store_free(store);
    expect_settings(folder, "a=b;");
    store = boot(folder);
    store_free(store);
    folder_remove(folder);
}

Test(store_versions, a_store_of_version_2_knows_who_ended_first)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    struct store_life life;
    cr_assert_eq(insert_range(store, 1, 10), 0);
    struct job_record ended = record_ended(9, JOB_FAILED);
    cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    store_free(store);
    make_version(folder, 2);
    store = boot(folder);
    store_life(store, &life);
    cr_assert_eq(life.ended, 1u);
    struct waited_op oldest = {
        .op = {.kind = STORE_OLDEST, .ended_by = INT64_MAX, .filter.limit = 10}};
    cr_assert_eq(op_run(store, &oldest), 0);
    cr_assert_eq(oldest.op.found_count, 1u);
    cr_assert_eq(oldest.op.found[0]->id, 9u);
    job_record_free(oldest.op.found[0]);
    free(oldest.op.found);
    store_free(store);
    folder_remove(folder);
}

Test(store_versions, a_store_of_version_3_is_brought_to_this_one)
{
    char folder[64];
    struct problem problem = {0};
    size_t live = 0;
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 10), 0);
    cr_assert_eq(put_setting(store, "a", "b"), 0);
    store_free(store);
    make_version(folder, 3);
    expect_settings(folder, "a=b;");
    cr_assert_eq(store_boot(&test_config, folder, &live, &problem, &store), 0, "%s", problem.text);
    cr_assert_eq(live, 10u);
    struct job_record mortal = record_make(11);
    mortal.expires_at = 4711;
    cr_assert_eq(put_record(store, STORE_INSERT, &mortal), 0);
    struct job_record *found = get_record(store, 11);
    cr_assert_eq(found->expires_at, 4711);
    job_record_free(found);
    store_free(store);
    store = boot(folder); /* the table is as a new store's */
    store_free(store);
    folder_remove(folder);
}

Test(store_versions, a_store_of_version_4_is_brought_to_this_one)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    struct job_record ended = record_ended(2, JOB_FAILED), kept = record_make(3);
    cr_assert_eq(insert_range(store, 1, 2), 0);
    cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    store_free(store);
    make_version(folder, 4);
    expect_settings(folder, "");
    store = boot(folder);
    kept.keep = 4711;
    cr_assert_eq(put_record(store, STORE_INSERT, &kept), 0);
    struct job_record *found = get_record(store, 3);
    cr_assert_eq(found->keep, 4711);
    job_record_free(found);
    found = get_record(store, 2);
    cr_assert_eq(found->keep, 0);
    job_record_free(found);
    struct waited_op plain = {.op = {.kind = STORE_OLDEST,
                                     .oldest = STORE_OLDEST_PLAIN,
                                     .ended_by = INT64_MAX,
                                     .filter.limit = 10}};
    cr_assert_eq(op_run(store, &plain), 0);
    cr_assert_eq(plain.op.found_count, 1u);
    cr_assert_eq(plain.op.found[0]->id, 2u);
    job_record_free(plain.op.found[0]);
    free(plain.op.found);
    store_free(store);
    store = boot(folder); /* the tables are as a new store's */
    store_free(store);
    folder_remove(folder);
}
