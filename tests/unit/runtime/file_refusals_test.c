/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/mount.h>
#include <sys/resource.h>

#include "support/files.h"

static int no_descriptors_body(void *arg)
{
    struct folder *folder = arg;
    struct rlimit before, none;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT), *other;
    char buffer[8];
    void *data;
    size_t size;

    EXPECT_EQ(weft_file_write(file, "data", 4, NULL), 0);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(weft_file_open(at(folder, "a"), O_RDONLY, 0, &other), -EMFILE);
    EXPECT_EQ(weft_file_open(at(folder, "b"), O_RDWR | O_CREAT, 0600, &other), -EMFILE);
    EXPECT_EQ(weft_file_read_all(at(folder, "a"), 10, &data, &size), -EMFILE);
    EXPECT_EQ(weft_file_pread(file, buffer, sizeof(buffer), 0), 4);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file_refusals, without_descriptors_open_fails_and_open_files_go_on, 1,
          no_descriptors_body)

static int too_large_body(void *arg)
{
    struct folder *folder = arg;
    struct rlimit before, small;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    size_t written = 0;

    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 4, .rlim_max = before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    EXPECT_EQ(weft_file_write(file, "0123456789", 10, &written), -EFBIG); /* and no SIGXFSZ */
    EXPECT_EQ(written, 4);
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file_refusals, a_write_beyond_the_limit_of_sizes_is_an_error_and_no_signal, 1,
          too_large_body)

/* A tmpfs of 1 MiB in the folder, if we may mount. */
static bool mount_small(struct folder *folder, const char *options)
{
    EXPECT_EQ(mkdir(at(folder, "disk"), 0700), 0);
    return mount("weft-test", at(folder, "disk"), "tmpfs", 0, options) == 0;
}

static int full_disk_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file;
    char *data = pattern(2 << 20);
    size_t written = 0;

    if (mount_small(folder, "size=1m")) {
        file = opened(at(folder, "disk/a"), O_RDWR | O_CREAT);
        EXPECT_EQ(weft_file_write(file, data, 2 << 20, &written), -ENOSPC);
        EXPECT_EQ(written, 1 << 20);
        EXPECT_EQ(weft_file_pwrite(file, "x", 1, 2 << 20, NULL), -ENOSPC);
        EXPECT_EQ(weft_file_close(file), 0);
        EXPECT_EQ(weft_file_write_all(at(folder, "disk/b"), data, 10, 0600, WEFT_WRITE_ATOMIC),
                  -ENOSPC);
        EXPECT(access(at(folder, "disk/b"), F_OK) < 0);
        EXPECT_EQ(names_in(at(folder, "disk")), 1);
        EXPECT(truncate(at(folder, "disk/a"), 0) == 0);
        EXPECT_EQ(weft_file_write_all(at(folder, "disk/b"), data, 10, 0600, 0), 0);
        EXPECT_EQ(umount(at(folder, "disk")), 0);
    }
    free(data);
    return 0;
}

FILE_TEST(file_refusals, a_full_disk_is_an_error_and_says_how_much_was_written, 1, full_disk_body)

static int read_only_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file;
    void *data;
    size_t size;

    if (mount_small(folder, "size=1m")) {
        raw_file(at(folder, "disk/a"), "data", 4);
        EXPECT_EQ(mount(NULL, at(folder, "disk"), NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
        EXPECT_EQ(weft_file_open(at(folder, "disk/b"), O_RDWR | O_CREAT, 0600, &file), -EROFS);
        EXPECT_EQ(weft_file_open(at(folder, "disk/a"), O_RDWR, 0600, &file), -EROFS);
        EXPECT_EQ(weft_file_write_all(at(folder, "disk/a"), "x", 1, 0600, 0), -EROFS);
        EXPECT_EQ(weft_file_write_all(at(folder, "disk/a"), "x", 1, 0600, WEFT_WRITE_ATOMIC),
                  -EROFS);
        EXPECT_EQ(weft_file_read_all(at(folder, "disk/a"), 10, &data, &size), 0);
        free(data);
        EXPECT_EQ(umount(at(folder, "disk")), 0);
    }
    return 0;
}

FILE_TEST(file_refusals, a_read_only_file_system_is_an_error, 1, read_only_body)
