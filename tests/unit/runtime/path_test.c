/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <limits.h>

#include "support/files.h"

static int stat_body(void *arg)
{
    struct folder *folder = arg;
    struct stat status, link_status, untouched;

    raw_file(at(folder, "a"), "data", 4);
    EXPECT_EQ(symlink("a", at(folder, "l")), 0);
    EXPECT_EQ(symlink("nowhere", at(folder, "dead")), 0);
    EXPECT_EQ(weft_path_stat(at(folder, "l"), &status), 0);
    EXPECT(S_ISREG(status.st_mode));
    EXPECT_EQ(status.st_size, 4);
    EXPECT_EQ(weft_path_lstat(at(folder, "l"), &link_status), 0);
    EXPECT(S_ISLNK(link_status.st_mode));
    EXPECT_EQ(link_status.st_size, 1);
    memset(&status, 7, sizeof(status));
    untouched = status;
    EXPECT_EQ(weft_path_stat(at(folder, "dead"), &status), -ENOENT);
    EXPECT(memcmp(&status, &untouched, sizeof(status)) == 0);
    EXPECT_EQ(weft_path_lstat(at(folder, "dead"), &status), 0);
    EXPECT_EQ(weft_path_stat(at(folder, "a/b"), &status), -ENOTDIR);
    EXPECT_EQ(weft_path_lstat(at(folder, "none"), &status), -ENOENT);
    return 0;
}

FILE_TEST(path, stat_follows_links_and_lstat_does_not, 1, stat_body)

static int exists_body(void *arg)
{
    struct folder *folder = arg;
    char name[NAME_MAX + 2];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    raw_file(at(folder, "a"), "", 0);
    EXPECT_EQ(symlink("nowhere", at(folder, "dead")), 0);
    EXPECT_EQ(symlink("loop", at(folder, "loop")), 0);
    EXPECT_EQ(weft_path_exists(at(folder, "a")), 1);
    EXPECT_EQ(weft_path_exists(folder->path), 1);
    EXPECT_EQ(weft_path_exists(at(folder, "b")), 0);
    EXPECT_EQ(weft_path_exists(at(folder, "a/b")), 0);
    EXPECT_EQ(weft_path_exists(at(folder, "dead")), 0);
    EXPECT_EQ(weft_path_exists(at(folder, "loop")), -ELOOP);
    EXPECT_EQ(weft_path_exists(at(folder, name)), -ENAMETOOLONG);
    return 0;
}

FILE_TEST(path, exists_says_whether_something_is_there, 1, exists_body)

static int rename_body(void *arg)
{
    struct folder *folder = arg;

    raw_file(at(folder, "a"), "a", 1);
    raw_file(at(folder, "b"), "b", 1);
    EXPECT_EQ(mkdir(at(folder, "d"), 0700), 0);
    EXPECT_EQ(weft_path_rename(at(folder, "a"), at(folder, "b")), 0);
    EXPECT(raw_holds(at(folder, "b"), "a", 1));
    EXPECT_EQ(weft_path_rename(at(folder, "a"), at(folder, "c")), -ENOENT);
    EXPECT_EQ(weft_path_rename(at(folder, "b"), at(folder, "d")), -EISDIR);
    EXPECT_EQ(weft_path_rename(at(folder, "d"), at(folder, "b")), -ENOTDIR);
    EXPECT_EQ(weft_path_rename(at(folder, "d"), at(folder, "d/e")), -EINVAL);
    EXPECT_EQ(weft_path_rename(at(folder, "b"), "/proc/self/b"), -EXDEV);
    return 0;
}

FILE_TEST(path, rename_replaces_what_was_there, 1, rename_body)

static int remove_body(void *arg)
{
    struct folder *folder = arg;

    raw_file(at(folder, "a"), "a", 1);
    EXPECT_EQ(mkdir(at(folder, "d"), 0700), 0);
    raw_file(at(folder, "d/x"), "x", 1);
    EXPECT_EQ(weft_path_remove(at(folder, "a")), 0);
    EXPECT_EQ(weft_path_remove(at(folder, "a")), -ENOENT);
    EXPECT_EQ(weft_path_remove(at(folder, "d")), -EISDIR);
    EXPECT_EQ(weft_path_rmdir(at(folder, "d")), -ENOTEMPTY);
    EXPECT_EQ(weft_path_rmdir(at(folder, "d/x")), -ENOTDIR);
    EXPECT_EQ(weft_path_remove(at(folder, "d/x")), 0);
    EXPECT_EQ(weft_path_rmdir(at(folder, "d")), 0);
    EXPECT_EQ(weft_path_rmdir(at(folder, "d")), -ENOENT);
    return 0;
}

FILE_TEST(path, remove_takes_files_and_rmdir_empty_folders, 1, remove_body)

static int mkdir_body(void *arg)
{
    struct folder *folder = arg;
    struct stat status;

    umask(022);
    EXPECT_EQ(weft_path_mkdir(at(folder, "d"), 0775), 0);
    EXPECT_EQ(stat(at(folder, "d"), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0755);
    EXPECT_EQ(weft_path_mkdir(at(folder, "d"), 0777), -EEXIST);
    EXPECT_EQ(weft_path_mkdir(at(folder, "no/d"), 0777), -ENOENT);
    return 0;
}

FILE_TEST(path, mkdir_makes_one_folder, 1, mkdir_body)

static int mkdirs_body(void *arg)
{
    struct folder *folder = arg;
    struct stat status;

    EXPECT_EQ(weft_path_mkdirs(at(folder, "a/b//c/"), 0700), 0);
    EXPECT_EQ(stat(at(folder, "a/b/c"), &status), 0);
    EXPECT(S_ISDIR(status.st_mode));
    EXPECT_EQ(weft_path_mkdirs(at(folder, "a/b/c"), 0700), 0);
    EXPECT_EQ(weft_path_mkdirs(at(folder, "a/b/d"), 0700), 0);
    raw_file(at(folder, "file"), "", 0);
    EXPECT_EQ(symlink("nowhere", at(folder, "dead")), 0);
    EXPECT_EQ(weft_path_mkdirs(at(folder, "file"), 0700), -EEXIST);
    EXPECT_EQ(weft_path_mkdirs(at(folder, "file/d"), 0700), -ENOTDIR);
    EXPECT_EQ(weft_path_mkdirs(at(folder, "dead"), 0700), -EEXIST);
    EXPECT_EQ(weft_path_mkdirs("", 0700), -ENOENT);
    EXPECT_EQ(weft_path_mkdirs("/", 0700), 0);
    return 0;
}

FILE_TEST(path, mkdirs_makes_what_is_missing, 1, mkdirs_body)

static int links_body(void *arg)
{
    struct folder *folder = arg;
    char target[16] = "untouched";
    struct stat status;

    raw_file(at(folder, "a"), "a", 1);
    EXPECT_EQ(weft_path_link(at(folder, "a"), at(folder, "b")), 0);
    EXPECT_EQ(stat(at(folder, "b"), &status), 0);
    EXPECT_EQ(status.st_nlink, 2);
    EXPECT_EQ(weft_path_link(at(folder, "a"), at(folder, "b")), -EEXIST);
    EXPECT_EQ(weft_path_link(at(folder, "none"), at(folder, "c")), -ENOENT);
    EXPECT_EQ(weft_path_symlink("b", at(folder, "l")), 0);
    EXPECT_EQ(weft_path_symlink("b", at(folder, "l")), -EEXIST);
    EXPECT_EQ(weft_path_readlink(at(folder, "l"), target, 1), -ERANGE);
    EXPECT_EQ(weft_path_readlink(at(folder, "a"), target, sizeof(target)), -EINVAL);
    EXPECT_EQ(weft_path_readlink(at(folder, "none"), target, sizeof(target)), -ENOENT);
    EXPECT(strcmp(target, "untouched") == 0);
    EXPECT_EQ(weft_path_readlink(at(folder, "l"), target, 2), 1);
    EXPECT(strcmp(target, "b") == 0);
    EXPECT(raw_holds(at(folder, "l"), "a", 1));
    return 0;
}

FILE_TEST(path, links_are_made_and_read, 1, links_body)

static int chmod_body(void *arg)
{
    struct folder *folder = arg;
    struct stat status;

    raw_file(at(folder, "a"), "a", 1);
    EXPECT_EQ(weft_path_chmod(at(folder, "a"), 0604), 0);
    EXPECT_EQ(stat(at(folder, "a"), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0604);
    EXPECT_EQ(weft_path_chmod(at(folder, "b"), 0604), -ENOENT);
    return 0;
}

FILE_TEST(path, chmod_sets_the_mode, 1, chmod_body)

/* Every call, and what it would have changed. */
static int cancelled_calls(struct folder *folder, int error)
{
    struct stat status;
    char target[8];

    EXPECT_EQ(weft_path_stat(at(folder, "a"), &status), error);
    EXPECT_EQ(weft_path_lstat(at(folder, "a"), &status), error);
    EXPECT_EQ(weft_path_exists(at(folder, "a")), error);
    EXPECT_EQ(weft_path_rename(at(folder, "a"), at(folder, "b")), error);
    EXPECT_EQ(weft_path_remove(at(folder, "a")), error);
    EXPECT_EQ(weft_path_mkdir(at(folder, "d"), 0700), error);
    EXPECT_EQ(weft_path_mkdirs(at(folder, "d/e"), 0700), error);
    EXPECT_EQ(weft_path_rmdir(at(folder, "e")), error);
    EXPECT_EQ(weft_path_link(at(folder, "a"), at(folder, "b")), error);
    EXPECT_EQ(weft_path_symlink("a", at(folder, "b")), error);
    EXPECT_EQ(weft_path_readlink(at(folder, "l"), target, sizeof(target)), error);
    EXPECT_EQ(weft_path_chmod(at(folder, "a"), 0), error);
    return 0;
}

static int cancel_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_scope scope;
    struct stat status;

    raw_file(at(folder, "a"), "a", 1);
    EXPECT_EQ(mkdir(at(folder, "e"), 0700), 0);
    EXPECT_EQ(symlink("a", at(folder, "l")), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    cancelled_calls(folder, -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    weft_scope_enter(&scope, 0);
    cancelled_calls(folder, -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(stat(at(folder, "a"), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0644);
    EXPECT_EQ(status.st_nlink, 1);
    EXPECT_EQ(access(at(folder, "e"), F_OK), 0);
    EXPECT_EQ(access(at(folder, "b"), F_OK), -1);
    EXPECT_EQ(access(at(folder, "d"), F_OK), -1);
    return 0;
}

FILE_TEST(path, in_a_cancelled_or_expired_scope_nothing_is_done, 1, cancel_body)

enum { FIBERS = 100 };

struct mover {
    struct folder *folder;
    int number;
};

static int make_move_remove(void *arg)
{
    struct mover *mover = arg;
    char one[100], two[100];

    snprintf(one, sizeof(one), "%s/one-%d", mover->folder->path, mover->number);
    snprintf(two, sizeof(two), "%s/two-%d", mover->folder->path, mover->number);
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(weft_path_mkdir(one, 0700), 0);
        EXPECT_EQ(weft_path_rename(one, two), 0);
        EXPECT_EQ(weft_path_exists(one), 0);
        EXPECT_EQ(weft_path_exists(two), 1);
        EXPECT_EQ(weft_path_rmdir(two), 0);
    }
    return 0;
}

static int many_body(void *arg)
{
    struct mover movers[FIBERS];
    struct weft_group group;

    weft_group_init(&group);
    for (int i = 0; i < FIBERS; i++) {
        movers[i] = (struct mover){arg, i};
        EXPECT_EQ(weft_group_spawn(&group, "mover", make_move_remove, &movers[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

FILE_TEST(path, many_fibers_work_in_one_folder, 4, many_body)
