/* SPDX-License-Identifier: MIT */
/* The store on a full disk: it says so, stops or refuses, and loses nothing. */
#include "store_support.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>

/* Insert one by one until it fails; returns how many were acknowledged. */
static uint64_t fill(struct store *store, uint64_t first, int *ret_err)
{
    for (uint64_t id = first;; id++) {
        struct job_record record = record_make(id);
        *ret_err = put_record(store, STORE_INSERT, &record);
        if (*ret_err)
            return id - first;
    }
}

static void check_all_there(const char *folder, uint64_t count)
{
    struct store *store = boot(folder);
    for (uint64_t id = 1; id <= count; id++) {
        struct job_record *found = get_record(store, id), same = record_make(id);
        cr_assert(found && record_same(found, &same), "job %llu", (unsigned long long)id);
        job_record_free(found);
    }
    store_free(store);
}

Test(store_full, a_file_size_limit_fails_everything_and_loses_nothing)
{
    char folder[64];
    struct rlimit old, small = {300 << 10, RLIM_INFINITY};
    struct problem problem = {0};
    int err;
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint64_t count = fill(store, 1, &err);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_eq(err, -EFBIG, "%s", strerror(-err));
    cr_assert_gt(count, 20u);
    cr_assert_eq(store_error(store, &problem), -EFBIG);
    cr_assert_not_null(strstr(problem.text, "File too large"), "%s", problem.text);
    cr_assert_eq(insert_range(store, count + 100, 1), -EFBIG, "it works again, and must not");
    store_free(store);
    check_all_there(folder, count);
    folder_remove(folder);
}

/* A file system of its own, gone with the process.  False: not allowed here. */
static bool mount_small(const char *folder, const char *size)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    return mount("tmpfs", folder, "tmpfs", 0, size) == 0;
}

/* Somebody else's file. */
static void take_all_space(const char *folder)
{
    static const char block[1024];
    char path[128];
    path_in(path, folder, "greedy");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;
    cr_assert_eq(errno, ENOSPC);
    close(fd);
}

static int update_until_it_fails(struct store *store, uint64_t id)
{
    struct job_record big = record_make(id);
    char *text = malloc(200000);
    int err;
    memset(text, 'x', 199999);
    text[199999] = '\0';
    big.result = text;
    do
        err = put_record(store, STORE_UPDATE, &big);
    while (!err);
    free(text);
    return err;
}

Test(store_full, a_full_disk_fails_everything_and_loses_nothing)
{
    char folder[64];
    struct problem problem = {0};
    int err;
    folder_make(folder, false);
    if (!mount_small(folder, "size=1m")) {
        cr_log_info("skipped: cannot mount a tmpfs: %s", strerror(errno));
        rmdir(folder);
        return;
    }
    struct store *store = boot(folder);
    uint64_t count = fill(store, 1, &err);
    cr_assert_eq(err, -ENOSPC, "%s", strerror(-err));
    cr_assert_eq(store_error(store, NULL), 0, "the last insert was refused in time");
    cr_assert_gt(count, 20u);
    take_all_space(folder);
    cr_assert_eq(update_until_it_fails(store, count), -ENOSPC);
    cr_assert_eq(store_error(store, &problem), -ENOSPC);
    cr_assert_not_null(strstr(problem.text, folder), "%s", problem.text);
    cr_assert_eq(mount("tmpfs", folder, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    cr_assert_eq(insert_range(store, count + 100, 1), -ENOSPC, "it works again, and must not");
    store_free(store);
    check_all_there(folder, count - 1);
    umount2(folder, MNT_DETACH);
    rmdir(folder);
}

Test(store_full, inserts_are_refused_before_the_disk_is_full_and_the_rest_goes_on)
{
    char folder[64];
    struct problem problem = {0};
    struct config_store config = test_config;
    struct store *store = NULL;
    int err;
    config.reserve = 4 << 20;
    folder_make(folder, false);
    if (!mount_small(folder, "size=6m")) {
        cr_log_info("skipped: cannot mount a tmpfs: %s", strerror(errno));
        rmdir(folder);
        return;
    }
    cr_assert_eq(store_boot(&config, folder, NULL, &problem, &store), 0, "%s", problem.text);
    uint64_t count = fill(store, 1, &err);
    cr_assert_eq(err, -ENOSPC);
    cr_assert_eq(store_error(store, NULL), 0);
    for (uint64_t id = 1; id <= count; id++) {
        struct job_record ended = record_ended(id, JOB_SUCCEEDED);
        cr_assert_eq(put_record(store, STORE_UPDATE, &ended), 0);
    }
    config.reserve = 0;
    store_apply_config(store, &config);
    cr_assert_eq(insert_range(store, count + 1, 1), 0);
    store_free(store);
    umount2(folder, MNT_DETACH);
    rmdir(folder);
}
