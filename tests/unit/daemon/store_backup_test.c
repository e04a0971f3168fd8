/* SPDX-License-Identifier: MIT */
/* A copy of the store while it is written. */
#include "store_vfs.h"

#include <sys/stat.h>
#include <sys/syscall.h>

static char backup_path[128];

enum { MANY = TEST_COUNT(40000, 20000) }; /* jobs: more pages than a backup copies at once */

/* Returns the op's error; its text is in problem. */
static int back_up(struct store *store, const char *path, atomic_bool *give_up,
                   struct problem *problem)
{
    *problem = (struct problem){0};
    struct waited_op op = {
        .op = {.kind = STORE_BACKUP, .path = path, .give_up = give_up, .problem = problem}};
    int err = op_run(store, &op);
    cr_assert_eq(err == 0, op.op.bytes > 0);
    return err;
}

/* The copy as a store of its own: how many jobs it has, from 1 on without a gap. */
static uint64_t jobs_in(const char *path)
{
    char folder[64], to[128];
    uint64_t count = 0;
    struct job_record *found;
    path_in(to, folder_make(folder, true), "weft.db");
    cr_assert_eq(rename(path, to), 0);
    struct store *store = boot(folder);
    while ((found = get_record(store, count + 1))) {
        struct job_record same = record_make(++count);
        cr_assert(record_same(found, &same));
        job_record_free(found);
    }
    struct store_life life;
    store_life(store, &life);
    cr_assert_eq(life.next_id, count + 1);
    store_free(store);
    folder_remove(folder);
    return count;
}

static const char *folder_for(char folder[64])
{
    folder_make(folder, true);
    path_in(backup_path, folder, "copy.db");
    return folder;
}

struct writing {
    struct store *store;
    _Atomic uint64_t acknowledged;
    atomic_bool stop;
};

static void *write_for_ever(void *arg)
{
    struct writing *writing = arg;
    for (uint64_t id = 1; !atomic_load(&writing->stop); id += 5) {
        cr_assert_eq(insert_range(writing->store, id, 5), 0);
        atomic_store(&writing->acknowledged, id + 4);
    }
    return NULL;
}

Test(store_backup, it_has_what_was_there_and_commits_go_on, .timeout = 60)
{
    char folder[64];
    struct problem problem;
    pthread_t thread;
    struct writing writing = {.store = boot(folder_for(folder))};
    pthread_create(&thread, NULL, write_for_ever, &writing);
    for (int turn = 0; turn < 5; turn++) {
        while (atomic_load(&writing.acknowledged) < (uint64_t)(turn + 1) * 500)
            sched_yield();
        uint64_t least = atomic_load(&writing.acknowledged);
        cr_assert_eq(back_up(writing.store, backup_path, NULL, &problem), 0, "%s", problem.text);
        uint64_t count = jobs_in(backup_path);
        cr_assert_geq(count, least);
    }
    atomic_store(&writing.stop, true);
    pthread_join(thread, NULL);
    store_free(writing.store);
    folder_remove(folder);
}

/* Inserts in between, one for each ping that comes back.  Returns how many. */
static uint64_t insert_during_backup(struct store *store, uint64_t first_id)
{
    struct problem problem = {0};
    struct waited_op backup = {
        .op = {.kind = STORE_BACKUP, .done = op_wake, .path = backup_path, .problem = &problem}};
    sem_init(&backup.ended, 0, 0);
    store_push(store, &backup.op);
    uint64_t id = first_id;
    while (sem_trywait(&backup.ended) < 0)
        cr_assert_eq(insert_range(store, id++, 1), 0);
    cr_assert_eq(backup.op.err, 0, "%s", problem.text);
    return id - first_id;
}

Test(store_backup, a_backup_of_many_pieces_holds_up_nobody, .timeout = 60)
{
    char folder[64];
    struct store *store = boot(folder_for(folder));
    uint64_t last = MANY, inserted;
    cr_assert_eq(insert_range(store, 1, MANY), 0);
    do { /* one is there if the backup held it up; none, if the kernel held up this thread */
        unlink(backup_path);
        inserted = insert_during_backup(store, last + 1);
        last += inserted;
    } while (inserted < 2);
    cr_assert_gt(jobs_in(backup_path), (uint64_t)MANY);
    store_free(store);
    folder_remove(folder);
}

Test(store_backup, what_is_there_is_kept_and_what_fails_leaves_nothing)
{
    char folder[64], other[128];
    struct problem problem;
    atomic_bool give_up = true;
    struct store *store = boot(folder_for(folder));
    cr_assert_eq(insert_range(store, 1, 10), 0);
    file_write(folder, "copy.db", (struct bytes){(unsigned char *)"mine", 4});
    cr_assert_eq(back_up(store, backup_path, NULL, &problem), -EEXIST);
    cr_assert_not_null(strstr(problem.text, "copy.db"), "%s", problem.text);
    cr_assert(file_is(folder, "copy.db", (struct bytes){(unsigned char *)"mine", 4}));
    path_in(other, folder, "gone/copy.db");
    cr_assert_eq(back_up(store, other, NULL, &problem), -ENOENT);
    path_in(other, folder, "given-up.db");
    cr_assert_eq(back_up(store, other, &give_up, &problem), -ECANCELED);
    cr_assert_eq(access(other, F_OK), -1);
    path_in(other, folder, "given-up.db.new");
    cr_assert_eq(access(other, F_OK), -1);
    cr_assert_eq(insert_range(store, 11, 1), 0, "the store is well");
    store_free(store);
    folder_remove(folder);
}

static atomic_bool folders_fail;

/* In place of libc's. */
int fsync(int fd)
{
    struct stat status;
    if (!atomic_load(&folders_fail) || fstat(fd, &status) < 0 || !S_ISDIR(status.st_mode))
        return (int)syscall(SYS_fsync, fd);
    errno = EIO;
    return -1;
}

Test(store_backup, a_name_that_cannot_be_synced_is_taken_away_again)
{
    char folder[64];
    struct problem problem;
    struct store *store = boot(folder_for(folder));
    cr_assert_eq(insert_range(store, 1, 10), 0);
    atomic_store(&folders_fail, true);
    cr_assert_eq(back_up(store, backup_path, NULL, &problem), -EIO);
    cr_assert_eq(access(backup_path, F_OK), -1);
    atomic_store(&folders_fail, false);
    cr_assert_eq(back_up(store, backup_path, NULL, &problem), 0, "%s", problem.text);
    cr_assert_eq(jobs_in(backup_path), 10u);
    store_free(store);
    folder_remove(folder);
}

Test(store_backup, one_that_would_touch_the_reserve_is_refused)
{
    char folder[64];
    struct problem problem;
    struct config_store config = test_config;
    struct store *store = boot(folder_for(folder));
    config.reserve = UINT64_C(1) << 60;
    cr_assert_eq(insert_range(store, 1, 10), 0);
    store_apply_config(store, &config);
    cr_assert_eq(back_up(store, backup_path, NULL, &problem), -ENOSPC);
    store_apply_config(store, &test_config);
    cr_assert_eq(back_up(store, backup_path, NULL, &problem), 0, "%s", problem.text);
    cr_assert_eq(jobs_in(backup_path), 10u);
    store_free(store);
    folder_remove(folder);
}

Test(store_backup, a_stop_ends_one_that_is_under_way)
{
    char folder[64], new_path[128];
    struct problem problem = {0};
    struct store *store = boot(folder_for(folder));
    struct waited_op backup = {
        .op = {.kind = STORE_BACKUP, .done = op_wake, .path = backup_path, .problem = &problem}};
    cr_assert_eq(insert_range(store, 1, MANY), 0);
    sem_init(&backup.ended, 0, 0);
    store_push(store, &backup.op);
    store_stop(store);
    cr_assert_eq(sem_trywait(&backup.ended), 0);
    cr_assert(backup.op.err == -ESHUTDOWN || backup.op.err == 0, "%d", backup.op.err);
    path_in(new_path, folder, "copy.db.new");
    cr_assert_eq(access(new_path, F_OK), -1);
    store_free(store);
    folder_remove(folder);
}

struct two_backups {
    struct store_op first; /* when it is done, the store's thread asks for both at once */
    struct waited_op backups[2];
    struct store *store;
};

static void ask_for_both(struct store_op *op)
{
    struct two_backups *two = op->owner;
    store_push(two->store, &two->backups[0].op);
    store_push(two->store, &two->backups[1].op);
}

Test(store_backup, there_is_one_at_a_time)
{
    char folder[64], other[128];
    struct problem problems[2] = {0};
    struct store *store = boot(folder_for(folder));
    struct two_backups two = {.store = store};
    cr_assert_eq(insert_range(store, 1, 10), 0);
    path_in(other, folder, "other.db");
    for (int i = 0; i < 2; i++) {
        two.backups[i].op = (struct store_op){.kind = STORE_BACKUP,
                                              .done = op_wake,
                                              .path = i == 0 ? backup_path : other,
                                              .problem = &problems[i]};
        sem_init(&two.backups[i].ended, 0, 0);
    }
    two.first = (struct store_op){.kind = STORE_PING, .done = ask_for_both, .owner = &two};
    store_push(store, &two.first);
    for (int i = 0; i < 2; i++)
        while (sem_wait(&two.backups[i].ended) < 0)
            ;
    cr_assert_eq(two.backups[0].op.err, 0, "%s", problems[0].text);
    cr_assert_eq(two.backups[1].op.err, -EBUSY);
    cr_assert_not_null(strstr(problems[1].text, "another backup is being made"));
    cr_assert_eq(access(other, F_OK), -1);
    cr_assert_eq(jobs_in(backup_path), 10u);
    store_free(store);
    folder_remove(folder);
}

/* The disk fails at each step of the copy in turn: it says which file, leaves nothing, and the store
 * goes on. */
static void fail_copy(int code, int err)
{
    char folder[64], new_path[128];
    struct problem problem;
    long step = 0;
    int got = err;
    struct store *store = boot(folder_for(folder));
    cr_assert_eq(insert_range(store, 1, 40), 0);
    path_in(new_path, folder, "copy.db.new");
    for (; got == err && step < 1000; step++) {
        disk_fail_after(step, code);
        got = back_up(store, backup_path, NULL, &problem);
        disk_fail_after(-1, code);
        cr_assert_eq(access(new_path, F_OK), -1);
        cr_assert(got == 0 || strstr(problem.text, backup_path), "%s", problem.text);
        cr_assert(got != 0 || access(backup_path, F_OK) == 0);
    }
    cr_assert_eq(got, 0, "%d at step %ld: %s", got, step, problem.text);
    cr_assert_gt(step, 1);
    cr_assert_eq(insert_range(store, 41, 1), 0, "the store is well");
    store_free(store);
    folder_remove(folder);
}

Test(store_backup, a_disk_that_is_full_is_said_so_and_leaves_nothing, .init = disk_install)
{
    fail_copy(SQLITE_FULL, -ENOSPC);
}

Test(store_backup, a_disk_that_fails_is_said_so_and_leaves_nothing, .init = disk_install)
{
    fail_copy(SQLITE_IOERR_WRITE, -EIO);
}
