/* SPDX-License-Identifier: MIT */
/* The store over SQLite: what goes in comes out, before and after a restart; who may open it.
 * (Full disks: store_full_test.c.) */
#include "store_support.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>

/* ---- in and out ------------------------------------------------------------------------------ */

Test(store_sqlite, a_new_store_is_empty_private_and_whole)
{
    char folder[64], path[128];
    char state[100];
    struct store_life life;
    struct stat status;
    snprintf(state, sizeof state, "%s/a/b/state", folder_make(folder, true));
    struct store *store = boot(state);
    store_life(store, &life);
    cr_assert_eq(life.next_id, 1u);
    cr_assert_eq(life.starts, 1u);
    cr_assert_eq(strspn(life.instance, "0123456789abcdef"), 32u);
    cr_assert_eq(stat(state, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0700u);
    const char *files[] = {"weft.db", "weft.db-wal", "weft.db-shm", "lock"};
    for (size_t i = 0; i < 4; i++) {
        path_in(path, state, files[i]);
        cr_assert_eq(stat(path, &status), 0, "%s", path);
        cr_assert_eq(status.st_mode & 07777, 0600u, "%s", path);
    }
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, a_restart_keeps_the_instance_and_counts_itself)
{
    char folder[64];
    struct store_life before, after;
    struct store *store = boot(folder_make(folder, true));
    store_life(store, &before);
    cr_assert_eq(insert_range(store, 1, 41), 0);
    store_free(store);
    store = boot(folder);
    store_life(store, &after);
    cr_assert_str_eq(after.instance, before.instance);
    cr_assert_eq(after.starts, 2u);
    cr_assert_eq(after.next_id, 42u);
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, every_field_survives)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    struct job_record full = {
        .id = (UINT64_C(1) << 53) - 1,
        .uid = (uid_t)-2,
        .gid = (gid_t)-3,
        .state = JOB_DELAYED,
        .attempt = UINT32_MAX,
        .failures = 4000000000u,
        .crashes = 3,
        .exit_code = 255,
        .term_signal = 9,
        .priority = -1000000,
        .submitted_at = INT64_MAX,
        .due_at = INT64_MIN,
        .started_at = -1,
        .finished_at = 7,
        .expires_at = INT64_MIN + 1,
        .keep = 5000000001,
        .key_hash = UINT64_MAX,
        .queue = "Wärteschlange '\" --",
        .spec = "{\"argv\":[\"a\"]}",
        .result = "",
        .error = "\xff not UTF-8",
    };
    cr_assert_eq(put_record(store, STORE_INSERT, &full), 0);
    struct job_record *found = get_record(store, full.id);
    cr_assert(record_same(found, &full));
    job_record_free(found);
    store_free(store);
    store = boot(folder);
    found = get_record(store, full.id);
    cr_assert(record_same(found, &full));
    job_record_free(found);
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, an_update_writes_what_may_change_and_needs_no_spec)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    for (uint64_t id = 6; id <= 7; id++) { /* 7 has a spec that lies in long_spec */
        struct job_record record = record_make(id), ended = record_ended(id, JOB_FAILED);
        struct job_record update = ended;
        cr_assert_eq(put_record(store, STORE_INSERT, &record), 0);
        update.spec = update.queue = NULL;
        update.uid = update.gid = 0;
        update.submitted_at = 0;
        cr_assert_eq(put_record(store, STORE_UPDATE, &update), 0);
        struct job_record *found = get_record(store, id);
        cr_assert(record_same(found, &ended));
        job_record_free(found);
    }
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, get_answers_in_order_with_holes_and_repeats)
{
    char folder[64];
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 10), 0);
    const uint64_t ids[] = {9, 77, 2, 9, 0, UINT64_MAX};
    struct waited_op get = {.op = {.kind = STORE_GET, .ids = ids, .count = 6}};
    cr_assert_eq(op_run(store, &get), 0);
    cr_assert_eq(get.op.found_count, 6u);
    for (size_t i = 0; i < 6; i++) {
        struct job_record *found = get.op.found[i];
        cr_assert_eq(found ? found->id : 0, i % 3 == 0 ? 9u : i == 2 ? 2u : 0u);
        job_record_free(found);
    }
    free(get.op.found);
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, a_reader_sees_the_writes_before_it_in_the_same_batch)
{
    char folder[64];
    struct problem problem;
    struct store *store;
    cr_assert_eq(store_open(&test_config, folder_make(folder, true), &problem, &store), 0);
    struct job_record record = record_make(1);
    const struct job_record *row = &record;
    uint64_t id = 1;
    struct waited_op put = {
        .op = {.kind = STORE_INSERT, .done = op_wake, .rows = &row, .count = 1}};
    struct waited_op get = {.op = {.kind = STORE_GET, .done = op_wake, .ids = &id, .count = 1}};
    sem_init(&put.ended, 0, 0);
    sem_init(&get.ended, 0, 0);
    store_push(store, &put.op);
    store_push(store, &get.op);
    cr_assert_eq(store_start(store), 0);
    sem_wait(&get.ended);
    cr_assert_eq(sem_trywait(&put.ended), 0, "the write was acknowledged first");
    cr_assert_not_null(get.op.found[0]);
    job_record_free(get.op.found[0]);
    free(get.op.found);
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, disagreement_with_memory_is_an_error)
{
    char folder[64];
    struct problem problem = {0};
    struct store *store = boot(folder_make(folder, true));
    struct job_record record = record_make(1);
    cr_assert_eq(put_record(store, STORE_UPDATE, &record), -EBADMSG);
    cr_assert_eq(store_error(store, &problem), -EBADMSG);
    cr_assert_not_null(strstr(problem.text, "job 1 is gone"), "%s", problem.text);
    store_free(store);
    store = boot(folder);
    cr_assert_eq(insert_range(store, 1, 5), 0);
    cr_assert_eq(insert_range(store, 5, 1), -EBADMSG);
    store_free(store);
    folder_remove(folder);
}

/* ---- recovery -------------------------------------------------------------------------------- */

static void retry_row(struct store *store, uint64_t id)
{
    struct job_record ended = record_ended(id, JOB_DEAD), live = record_make(id);
    cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    cr_assert_eq(put_record(store, STORE_UPDATE, &live), 0);
}

static int expect_next_live(void *arg, const struct job_record *record)
{
    uint64_t *expected = arg;
    while (*expected % 3 == 0)
        ++*expected; /* those have ended */
    struct job_record same = record_make(*expected);
    cr_assert(record_same(record, &same), "job %llu", (unsigned long long)record->id);
    ++*expected;
    return 0;
}

Test(store_sqlite, recovery_streams_the_live_jobs_in_order)
{
    char folder[64];
    struct problem problem;
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 3000), 0);
    for (uint64_t id = 3; id <= 3000; id += 3) {
        struct job_record ended = record_ended(id, JOB_SUCCEEDED + id % 5);
        cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    }
    for (uint64_t id = 1; id <= 300; id += 3) /* ended, and live again */
        retry_row(store, id);
    store_free(store);
    cr_assert_eq(store_open(&test_config, folder, &problem, &store), 0);
    uint64_t expected = 1;
    cr_assert_eq(store_recover(store, expect_next_live, &expected, &problem), 0);
    cr_assert_eq(expected, 3000u);
    store_free(store);
    folder_remove(folder);
}

/* ---- LIST ------------------------------------------------------------------------------------ */

static bool in_queues(const char *const *queues, const char *queue)
{
    bool in = queues == NULL;
    for (; queues && *queues; queues++)
        in = in || strcmp(*queues, queue) == 0;
    return in;
}

/* The oracle: walk down all ids and filter. */
static bool listed(uint64_t id, const struct store_filter *filter)
{
    if (id % 10 == 0)
        return false; /* live */
    struct job_record record = record_ended(id, JOB_SUCCEEDED + id % 5);
    return (filter->all_users || record.uid == filter->uid) &&
           (!filter->states || (filter->states >> record.state & 1)) &&
           in_queues(filter->queues, record.queue) && (!filter->before || id < filter->before);
}

static void check_list(struct store *store, uint64_t newest, const struct store_filter *filter)
{
    struct waited_op list = {.op = {.kind = STORE_LIST, .filter = *filter}};
    size_t next = 0;
    cr_assert_eq(op_run(store, &list), 0);
    for (uint64_t id = newest; id > 0 && next < filter->limit; id--) {
        if (!listed(id, filter))
            continue;
        cr_assert_lt(next, list.op.found_count, "job %llu is missing", (unsigned long long)id);
        struct job_record same = record_ended(id, JOB_SUCCEEDED + id % 5);
        cr_assert(record_same(list.op.found[next], &same), "%llu where %llu should be",
                  (unsigned long long)list.op.found[next]->id, (unsigned long long)id);
        job_record_free(list.op.found[next++]);
    }
    cr_assert_eq(list.op.found_count, next);
    free(list.op.found);
}

Test(store_sqlite, list_agrees_with_a_filter_by_hand)
{
    char folder[64];
    const uint64_t newest = 600;
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, newest), 0);
    for (uint64_t id = 1; id <= newest; id++) {
        struct job_record ended = record_ended(id, JOB_SUCCEEDED + id % 5);
        if (id % 10 != 0)
            cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
        else if (id % 20 != 0)
            retry_row(store, id);
    }
    random_seed();
    for (int i = 0; i < 400; i++) {
        static const char *const queues[][4] = {
            {"default"}, {"slow"}, {"none"}, {"slow", "default"}, {"none", "default", "slow"}};
        const size_t which = random_below(7);
        struct store_filter filter = {
            .all_users = random_below(2),
            .uid = (uid_t)(999 + random_below(4)),
            .states = (uint32_t)(random_below(2) ? random_below(1 << JOB_STATE_COUNT) : 0),
            .queues = which < 5 ? queues[which] : NULL,
            .before = random_below(2) ? random_below(newest + 10) : 0,
            .limit = 1 + random_below(100),
        };
        check_list(store, newest, &filter);
    }
    store_free(store);
    folder_remove(folder);
}

/* In pieces, so that commits wait for none of them: what is found, and how many pieces. */
static size_t list_pieces(struct store *store, struct store_filter filter, uint64_t *ids,
                          size_t *ret_pieces)
{
    size_t count = 0;
    for (*ret_pieces = 0;; ++*ret_pieces) {
        struct waited_op list = {.op = {.kind = STORE_LIST, .filter = filter}};
        cr_assert_eq(op_run(store, &list), 0);
        for (size_t i = 0; i < list.op.found_count; i++) {
            ids[count++] = list.op.found[i]->id;
            job_record_free(list.op.found[i]);
        }
        free(list.op.found);
        if (list.op.reached == 0)
            return count;
        cr_assert(filter.before == 0 || list.op.reached < filter.before, "it comes further");
        filter.before = list.op.reached;
    }
}

Test(store_sqlite, a_list_looks_at_so_many_and_says_how_far_it_has_come)
{
    enum { MANY = 4000 };
    static struct job_record records[MANY];
    static const struct job_record *rows[MANY];
    char folder[64];
    uint64_t ids[MANY];
    size_t pieces;
    struct job_match match;
    struct store *store = boot(folder_make(folder, true));
    for (size_t i = 0; i < MANY; i++) {
        records[i] = record_ended(i + 1, JOB_SUCCEEDED + i % 5);
        if (i % 1500 == 5)
            records[i].spec = "{\"name\":\"rare\",\"argv\":[\"x\"],\"tags\":[\"a\"]}";
        rows[i] = &records[i];
    }
    struct waited_op insert = {.op = {.kind = STORE_INSERT, .rows = rows, .count = MANY}};
    cr_assert_eq(op_run(store, &insert), 0);
    cr_assert_eq(job_match_init(&match, "ra*", "a"), 0);
    struct store_filter filter = {.all_users = true, .match = &match, .limit = 100};
    cr_assert_eq(list_pieces(store, filter, ids, &pieces), 3u);
    cr_assert(ids[0] == 3006 && ids[1] == 1506 && ids[2] == 6);
    cr_assert_gt(pieces, 1u);
    filter.queues = (const char *const[]){"slow", "default", NULL};
    cr_assert_eq(list_pieces(store, filter, ids, &pieces), 3u);
    cr_assert(ids[0] == 3006 && ids[1] == 1506 && ids[2] == 6);
    cr_assert_gt(pieces, 1u);
    filter = (struct store_filter){.uid = 4711, .limit = 100};
    cr_assert_eq(list_pieces(store, filter, ids, &pieces), 0u);
    job_match_destroy(&match);
    store_free(store);
    folder_remove(folder);
}

/* ---- many threads ---------------------------------------------------------------------------- */

enum { THREADS = 8, OPS_EACH = 1250, WINDOW = 50 };

struct submitter {
    struct store *store;
    pthread_t thread;
    uint64_t first;
    struct job_record records[OPS_EACH];
    const struct job_record *rows[OPS_EACH];
    struct store_op ops[OPS_EACH];
    sem_t window;
    atomic_uint acknowledged;
};

static void submitted(struct store_op *op)
{
    struct submitter *submitter = op->owner;
    if (op->err == 0)
        atomic_fetch_add(&submitter->acknowledged, 1);
    sem_post(&submitter->window);
}

static void *submit(void *arg)
{
    struct submitter *submitter = arg;
    for (size_t i = 0; i < OPS_EACH; i++) {
        submitter->records[i] = record_make(submitter->first + i);
        submitter->rows[i] = &submitter->records[i];
        submitter->ops[i] = (struct store_op){.kind = STORE_INSERT,
                                              .done = submitted,
                                              .owner = submitter,
                                              .rows = &submitter->rows[i],
                                              .count = 1};
        sem_wait(&submitter->window);
        store_push(submitter->store, &submitter->ops[i]);
    }
    for (size_t i = 0; i < WINDOW; i++)
        sem_wait(&submitter->window);
    return NULL;
}

Test(store_sqlite, ten_thousand_ops_of_eight_threads_are_there_after_a_restart)
{
    char folder[64];
    struct store_stats stats;
    struct store *store = boot(folder_make(folder, false));
    struct submitter *submitters = calloc(THREADS, sizeof *submitters);
    for (size_t i = 0; i < THREADS; i++) {
        submitters[i].store = store;
        submitters[i].first = 1 + i * OPS_EACH;
        sem_init(&submitters[i].window, 0, WINDOW);
        pthread_create(&submitters[i].thread, NULL, submit, &submitters[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(submitters[i].thread, NULL);
        cr_assert_eq(submitters[i].acknowledged, (unsigned)OPS_EACH);
    }
    store_stats(store, &stats);
    cr_assert_eq(stats.writes, (uint64_t)THREADS * OPS_EACH);
    cr_assert_lt(stats.commits, stats.writes / 4, "%llu commits: no groups",
                 (unsigned long long)stats.commits);
    store_free(store);
    free(submitters);

    size_t live = 0;
    struct problem problem;
    cr_assert_eq(store_boot(&test_config, folder, &live, &problem, &store), 0);
    cr_assert_eq(live, (size_t)THREADS * OPS_EACH);
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, the_log_stays_bounded_and_is_folded_back_at_the_end)
{
    char folder[64], path[128];
    struct stat status;
    struct store *store = boot(folder_make(folder, true));
    path_in(path, folder, "weft.db-wal");
    for (uint64_t id = 1; id < 40000; id += 100) {
        cr_assert_eq(insert_range(store, id, 100), 0);
        cr_assert_eq(stat(path, &status), 0);
        cr_assert_lt(status.st_size, 3 << 20, "WAL of %lld bytes", (long long)status.st_size);
    }
    store_free(store);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_size, 0);
    folder_remove(folder);
}

/* ---- next to other programs ------------------------------------------------------------------ */

Test(store_sqlite, others_may_read_while_it_runs)
{
    char folder[64], path[128];
    sqlite3 *db;
    sqlite3_stmt *count;
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 10), 0);
    path_in(path, folder, "weft.db");
    pid_t pid = fork(); /* of another process: SQLite's locks belong to processes */
    if (pid == 0) {
        bool good = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
                    sqlite3_prepare_v2(db, "SELECT count(*) FROM job", -1, &count, NULL) == 0 &&
                    sqlite3_step(count) == SQLITE_ROW && sqlite3_column_int(count, 0) == 10;
        _exit(good ? 0 : 1);
    }
    int ended;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    cr_assert_eq(ended, 0);
    cr_assert_eq(insert_range(store, 11, 10), 0);
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, an_id_is_not_given_again_after_its_row_was_deleted)
{
    char folder[64], path[128];
    struct store_life life;
    sqlite3 *db;
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 57), 0);
    store_free(store);
    path_in(path, folder, "weft.db");
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "DELETE FROM job WHERE id > 5", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    store = boot(folder);
    store_life(store, &life);
    cr_assert_eq(life.next_id, 58u);
    store_free(store);
    folder_remove(folder);
}

Test(store_sqlite, a_second_opener_is_refused_and_told_who_holds_it)
{
    char folder[64], pid[32];
    struct problem problem = {0};
    struct store *store = boot(folder_make(folder, true)), *second = NULL;
    cr_assert_eq(store_open(&test_config, folder, &problem, &second), -EBUSY);
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    cr_assert_not_null(strstr(problem.text, folder), "%s", problem.text);
    cr_assert_not_null(strstr(problem.text, pid), "%s", problem.text);
    cr_assert_null(second);
    cr_assert_eq(insert_range(store, 1, 1), 0);
    store_free(store);
    store_free(boot(folder));
    folder_remove(folder);
}

/* Open as nobody; returns the error as an exit status. */
static int open_as_nobody(const char *folder, const char *expected)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct problem problem = {0};
        struct store *store;
        if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0)
            _exit(200);
        int err = store_open(&test_config, folder, &problem, &store);
        fprintf(stderr, "as nobody: %s\n", problem.text);
        _exit(err && strstr(problem.text, expected) ? -err : 201);
    }
    int ended;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    cr_assert(WIFEXITED(ended));
    return WEXITSTATUS(ended);
}

Test(store_sqlite, a_state_folder_that_is_not_writable_is_named)
{
    char folder[64], path[128];
    folder_make(folder, true);
    if (geteuid() != 0) {
        cr_log_info("skipped: needs root to become somebody else");
        return;
    }
    chmod(folder, 0755);
    cr_assert_eq(open_as_nobody(folder, folder), EACCES);
    path_in(path, folder, "below");
    cr_assert_eq(open_as_nobody(path, path), EACCES);
    store_free(boot(folder)); /* root's files in a folder of nobody's */
    cr_assert_eq(chown(folder, 65534, 65534), 0);
    cr_assert_eq(open_as_nobody(folder, folder), EACCES);
    path_in(path, folder, "lock");
    cr_assert_eq(chown(path, 65534, 65534), 0);
    cr_assert_eq(open_as_nobody(folder, "weft.db"), EACCES);
    path_in(path, folder, "weft.db");
    cr_assert_eq(chown(path, 65534, 65534), 0);
    chmod(path, 0400);
    cr_assert_eq(open_as_nobody(folder, "weft.db"), EACCES);
    folder_remove(folder);
}

Test(store_sqlite, a_state_folder_that_is_a_file_is_named)
{
    char folder[64], path[128];
    struct problem problem = {0};
    struct store *store = NULL;
    folder_make(folder, true);
    file_write(folder, "file", (struct bytes){(unsigned char *)"x", 1});
    path_in(path, folder, "file");
    cr_assert_eq(store_open(&test_config, path, &problem, &store), -ENOTDIR);
    cr_assert_not_null(strstr(problem.text, path), "%s", problem.text);
    path_in(path, folder, "file/below");
    cr_assert_eq(store_open(&test_config, path, &problem, &store), -ENOTDIR);
    folder_remove(folder);
}
