/* SPDX-License-Identifier: MIT */
/*
 * sqlite_floor FOLDER submit|life JOBS BATCH: what SQLite alone takes for the rows of weftd's store.
 * WAL and synchronous=FULL on one thread, BATCH rows a commit, weftd's table and indexes.
 *
 * submit: each job is inserted.  life: inserted, then started, then ended, each in batches.
 * Prints the seconds that it took.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static sqlite3 *db;

static void check(int code, int wanted)
{
    if (code == wanted)
        return;
    fprintf(stderr, "sqlite_floor: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static void run(const char *sql)
{
    check(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *statement;
    check(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    return statement;
}

static void open_store(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/floor.db", folder);
    check(sqlite3_open(path, &db), SQLITE_OK);
    run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;"
        "PRAGMA wal_autocheckpoint = 4096;"
        "CREATE TABLE job (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, uid INTEGER NOT NULL, "
        "gid INTEGER NOT NULL, queue TEXT NOT NULL, priority INTEGER NOT NULL, "
        "attempt INTEGER NOT NULL, failures INTEGER NOT NULL, crashes INTEGER NOT NULL, "
        "exit_code INTEGER NOT NULL, term_signal INTEGER NOT NULL, submitted_at INTEGER NOT NULL, "
        "due_at INTEGER NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL, "
        "sum INTEGER NOT NULL, fixed_sum INTEGER NOT NULL, spec TEXT, result TEXT, error TEXT) "
        "STRICT;"
        "CREATE INDEX ended_by_state ON job (state, id, uid) WHERE state >= 5;"
        "CREATE INDEX ended_by_queue ON job (queue, state, id, uid) WHERE state >= 5;"
        "CREATE INDEX ended_by_time ON job (finished_at) WHERE state >= 5");
}

/* Run the statement for each job, whose id is its first parameter. */
static void for_each(sqlite3_stmt *statement, long jobs, long batch)
{
    for (long id = 1; id <= jobs; id++) {
        if (id % batch == 1 || batch == 1)
            run("BEGIN IMMEDIATE");
        sqlite3_bind_int64(statement, 1, id);
        check(sqlite3_step(statement), SQLITE_DONE);
        sqlite3_reset(statement);
        if (id % batch == 0 || id == jobs)
            run("COMMIT");
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    long jobs = strtol(argv[3], NULL, 10), batch = strtol(argv[4], NULL, 10);
    if (jobs < 1 || batch < 1)
        return 2;
    open_store(argv[1]);
    sqlite3_stmt *insert =
        prepare("INSERT INTO job VALUES (?1, 3, 1000, 1000, 'default', 0, 0, 0, 0, -1, -1, "
                "1790000000250000000, 0, 0, 0, 4711, 4712, "
                "'{\"call\":\"echo\",\"args\":{\"n\":1}}', NULL, NULL)");
    sqlite3_stmt *start = prepare("UPDATE job SET state = 4, attempt = 1, "
                                  "started_at = 1790000000260000000, sum = 4713 WHERE id = ?1");
    sqlite3_stmt *end = prepare("UPDATE job SET state = 5, finished_at = 1790000000270000000 + id, "
                                "sum = 4714, result = '{\"n\":1}' WHERE id = ?1");
    double began = now();
    for_each(insert, jobs, batch);
    if (strcmp(argv[2], "life") == 0) {
        for_each(start, jobs, batch);
        for_each(end, jobs, batch);
    }
    printf("%.6f\n", now() - began);
    sqlite3_finalize(insert);
    sqlite3_finalize(start);
    sqlite3_finalize(end);
    sqlite3_close(db);
    return 0;
}
