/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/mount.h>
#include <sys/resource.h>

#include "support/files.h"

enum { BIG = 16 * 1024 * 1024 + 5 }; /* three pieces */

static int small_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_copy_options on_disk = {.sync = true};
    uint64_t copied = 99;

    raw_file(at(folder, "a"), "content", 7);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), NULL, &copied), 0);
    EXPECT_EQ(copied, 7);
    EXPECT(raw_holds(at(folder, "b"), "content", 7));
    raw_file(at(folder, "empty"), "", 0);
    EXPECT_EQ(weft_copy_file(at(folder, "empty"), at(folder, "b"), NULL, &copied), 0);
    EXPECT_EQ(copied, 0);
    EXPECT(raw_holds(at(folder, "b"), "", 0));
    EXPECT_EQ(weft_copy_file(at(folder, "empty"), at(folder, "c"), &on_disk, NULL), 0);
    EXPECT(raw_holds(at(folder, "c"), "", 0));
    return 0;
}

FILE_TEST(copy, content_is_copied_over_what_was_there, 1, small_body)

struct watcher {
    int calls;
    uint64_t last, size;
    int fail_at; /* the call whose result is -EDOM; 0: none */
    struct weft_scope *cancel;
};

static int watch(void *arg, uint64_t copied, uint64_t size)
{
    struct watcher *watcher = arg;

    EXPECT(copied >= watcher->last);
    watcher->calls++;
    watcher->last = copied;
    watcher->size = size;
    if (watcher->cancel)
        weft_scope_cancel(watcher->cancel);
    return watcher->calls == watcher->fail_at ? -EDOM : 0;
}

static int big_body(void *arg)
{
    struct folder *folder = arg;
    struct watcher watcher = {0};
    struct weft_copy_options options = {.progress = watch, .arg = &watcher};
    char *data = pattern(BIG);
    uint64_t copied;

    raw_file(at(folder, "a"), data, BIG);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), &options, &copied), 0);
    EXPECT_EQ(copied, BIG);
    EXPECT_EQ(watcher.last, BIG);
    EXPECT_EQ(watcher.size, BIG);
    EXPECT(watcher.calls >= 3);
    EXPECT(raw_holds(at(folder, "b"), data, BIG));
    free(data);
    return 0;
}

FILE_TEST(copy, a_big_file_is_copied_in_pieces_with_progress, 1, big_body)

static int early_end_body(void *arg)
{
    struct folder *folder = arg;
    struct watcher watcher = {.fail_at = 1};
    struct weft_copy_options options = {.progress = watch, .arg = &watcher};
    struct weft_scope scope;
    struct stat status;
    char *data = pattern(BIG);
    uint64_t copied = 0;

    raw_file(at(folder, "a"), data, BIG);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), &options, &copied), -EDOM);
    EXPECT(copied > 0 && copied < BIG);
    EXPECT(access(at(folder, "b"), F_OK) < 0); /* it made it, so it removed it */
    raw_file(at(folder, "b"), "old", 3);
    watcher = (struct watcher){.cancel = &scope};
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), &options, &copied), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(watcher.calls, 1);
    EXPECT(copied > 0 && copied < BIG);
    EXPECT_EQ(stat(at(folder, "b"), &status), 0);
    EXPECT_EQ(status.st_size, copied);
    EXPECT(raw_holds(at(folder, "b"), data, copied));
    free(data);
    return 0;
}

FILE_TEST(copy, a_copy_that_ends_early_leaves_what_is_documented, 1, early_end_body)

static int mode_body(void *arg)
{
    struct folder *folder = arg;
    struct stat status;

    umask(077);
    raw_file(at(folder, "a"), "x", 1);
    EXPECT_EQ(chmod(at(folder, "a"), 04755), 0);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), NULL, NULL), 0);
    EXPECT_EQ(stat(at(folder, "b"), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0755);
    EXPECT_EQ(chmod(at(folder, "b"), 0600), 0);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), NULL, NULL), 0);
    EXPECT_EQ(stat(at(folder, "b"), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600);
    return 0;
}

FILE_TEST(copy, a_new_file_gets_the_permissions_of_its_source, 1, mode_body)

static int errors_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_copy_options exclusive = {.exclusive = true};
    uint64_t copied = 99;

    raw_file(at(folder, "a"), "data", 4);
    EXPECT_EQ(mkdir(at(folder, "d"), 0700), 0);
    EXPECT_EQ(mkfifo(at(folder, "fifo"), 0600), 0);
    EXPECT_EQ(link(at(folder, "a"), at(folder, "same")), 0);
    EXPECT_EQ(symlink("a", at(folder, "l")), 0);
    EXPECT_EQ(weft_copy_file(at(folder, "none"), at(folder, "b"), NULL, &copied), -ENOENT);
    EXPECT_EQ(copied, 0);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "none/b"), NULL, NULL), -ENOENT);
    EXPECT_EQ(weft_copy_file(at(folder, "d"), at(folder, "b"), NULL, NULL), -EISDIR);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "d"), NULL, NULL), -EISDIR);
    EXPECT_EQ(weft_copy_file(at(folder, "fifo"), at(folder, "b"), NULL, NULL), -EINVAL);
    EXPECT_EQ(weft_copy_file("/dev/zero", at(folder, "b"), NULL, NULL), -EINVAL);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "fifo"), NULL, NULL), -ENXIO);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), "/dev/null", NULL, NULL), -EINVAL);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "a"), NULL, NULL), -EINVAL);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "same"), NULL, NULL), -EINVAL);
    EXPECT_EQ(weft_copy_file(at(folder, "l"), at(folder, "a"), NULL, NULL), -EINVAL);
    raw_file(at(folder, "c"), "old", 3);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "c"), &exclusive, NULL), -EEXIST);
    EXPECT(raw_holds(at(folder, "a"), "data", 4));
    EXPECT(raw_holds(at(folder, "c"), "old", 3));
    EXPECT(access(at(folder, "b"), F_OK) < 0);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "new"), &exclusive, NULL), 0);
    return 0;
}

FILE_TEST(copy, what_cannot_be_copied_is_an_error_and_harms_nothing, 1, errors_body)

static int proc_body(void *arg)
{
    struct folder *folder = arg;
    uint64_t copied;

    EXPECT_EQ(weft_copy_file("/proc/self/status", at(folder, "b"), NULL, &copied), 0);
    EXPECT(copied > 100); /* though its size is 0 */
    return 0;
}

FILE_TEST(copy, a_file_of_proc_is_copied_whole, 1, proc_body)

static int across_body(void *arg)
{
    struct folder *folder = arg;
    char *data = pattern(BIG);
    char other[64];

    snprintf(other, sizeof(other), "/dev/shm/weft-copy-%d", (int)getpid());
    raw_file(at(folder, "a"), data, BIG);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), other, NULL, NULL), 0);
    EXPECT(raw_holds(other, data, BIG));
    EXPECT_EQ(unlink(other), 0);
    free(data);
    return 0;
}

FILE_TEST(copy, a_file_is_copied_to_another_file_system, 1, across_body)

static int full_body(void *arg)
{
    struct folder *folder = arg;
    char *data = pattern(3 << 20);
    uint64_t copied = 0;

    raw_file(at(folder, "a"), data, 3 << 20);
    EXPECT_EQ(mkdir(at(folder, "disk"), 0700), 0);
    if (mount("weft-test", at(folder, "disk"), "tmpfs", 0, "size=1m") == 0) {
        EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "disk/b"), NULL, &copied), -ENOSPC);
        EXPECT(copied <= 1 << 20);
        EXPECT(access(at(folder, "disk/b"), F_OK) < 0);
        EXPECT_EQ(umount(at(folder, "disk")), 0);
    }
    free(data);
    return 0;
}

FILE_TEST(copy, a_full_disk_ends_the_copy_and_leaves_nothing, 1, full_body)

static int no_descriptors_body(void *arg)
{
    struct folder *folder = arg;
    struct rlimit before, one;
    int free_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    raw_file(at(folder, "a"), "data", 4);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    one = (struct rlimit){.rlim_cur = (rlim_t)free_fd + 1, .rlim_max = before.rlim_max};
    close(free_fd);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &one), 0);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), NULL, NULL), -EMFILE);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT(access(at(folder, "b"), F_OK) < 0);
    return 0;
}

FILE_TEST(copy, without_descriptors_it_is_refused, 1, no_descriptors_body)

static int cancelled_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_scope scope;

    raw_file(at(folder, "a"), "data", 4);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), NULL, NULL), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), NULL, NULL), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT(access(at(folder, "b"), F_OK) < 0);
    return 0;
}

FILE_TEST(copy, in_a_cancelled_or_expired_scope_nothing_is_copied, 1, cancelled_body)

enum { FIBERS = 150 };

struct copier {
    struct folder *folder;
    int number;
};

static int copy_one(void *arg)
{
    struct copier *copier = arg;
    char from[100], to[100];
    uint64_t copied;

    snprintf(from, sizeof(from), "%s/a", copier->folder->path);
    snprintf(to, sizeof(to), "%s/b-%d", copier->folder->path, copier->number);
    EXPECT_EQ(weft_copy_file(from, to, NULL, &copied), 0);
    EXPECT_EQ(copied, 5000);
    return 0;
}

static int many_body(void *arg)
{
    struct folder *folder = arg;
    struct copier copiers[FIBERS];
    struct weft_group group;
    char *data = pattern(5000), name[20];

    raw_file(at(folder, "a"), data, 5000);
    weft_group_init(&group);
    for (int i = 0; i < FIBERS; i++) {
        copiers[i] = (struct copier){folder, i};
        EXPECT_EQ(weft_group_spawn(&group, "copier", copy_one, &copiers[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < FIBERS; i++) {
        snprintf(name, sizeof(name), "b-%d", i);
        EXPECT(raw_holds(at(folder, name), data, 5000));
    }
    free(data);
    return 0;
}

FILE_TEST(copy, many_files_are_copied_at_once, 4, many_body)
