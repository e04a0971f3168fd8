/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/files.h"

enum { BIG = 9 * 1024 * 1024 + 17 }; /* more than one piece */

static int read_all_body(void *arg)
{
    struct folder *folder = arg;
    void *data = NULL;
    size_t size = 99;
    char *big = pattern(BIG);

    raw_file(at(folder, "a"), "content", 7);
    raw_file(at(folder, "empty"), "", 0);
    raw_file(at(folder, "big"), big, BIG);
    EXPECT_EQ(weft_file_read_all(at(folder, "a"), SIZE_MAX, &data, &size), 0);
    EXPECT_EQ(size, 7);
    EXPECT(strcmp(data, "content") == 0);
    free(data);
    EXPECT_EQ(weft_file_read_all(at(folder, "a"), 7, &data, &size), 0);
    free(data);
    EXPECT_EQ(weft_file_read_all(at(folder, "empty"), 0, &data, &size), 0);
    EXPECT_EQ(size, 0);
    EXPECT_EQ(((char *)data)[0], 0);
    free(data);
    EXPECT_EQ(weft_file_read_all(at(folder, "big"), BIG, &data, &size), 0);
    EXPECT_EQ(size, BIG);
    EXPECT(memcmp(data, big, BIG) == 0);
    free(data);
    EXPECT_EQ(weft_file_read_all("/proc/self/maps", 1 << 20, &data, &size), 0);
    EXPECT(size > 100 && strlen(data) == size);
    free(data);
    data = big;
    EXPECT_EQ(weft_file_read_all(at(folder, "a"), 6, &data, &size), -EFBIG);
    EXPECT_EQ(weft_file_read_all("/proc/self/maps", 10, &data, &size), -EFBIG);
    EXPECT_EQ(weft_file_read_all("/dev/zero", 10000, &data, &size), -EFBIG);
    EXPECT_EQ(weft_file_read_all(at(folder, "none"), 6, &data, &size), -ENOENT);
    EXPECT_EQ(weft_file_read_all(folder->path, 6, &data, &size), -EISDIR);
    EXPECT(data == big && size > 100);
    free(big);
    return 0;
}

FILE_TEST(file_whole, a_whole_file_is_read_up_to_a_limit, 1, read_all_body)

static int write_all_body(void *arg)
{
    struct folder *folder = arg;
    struct stat status;

    umask(022);
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "first one", 9, 0666, 0), 0);
    EXPECT(raw_holds(at(folder, "a"), "first one", 9));
    EXPECT_EQ(stat(at(folder, "a"), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0644);
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "two", 3, 0666, WEFT_WRITE_SYNC), 0);
    EXPECT(raw_holds(at(folder, "a"), "two", 3));
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "+3", 2, 0666, WEFT_WRITE_APPEND), 0);
    EXPECT(raw_holds(at(folder, "a"), "two+3", 5));
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "no", 2, 0666, WEFT_WRITE_EXCLUSIVE), -EEXIST);
    EXPECT_EQ(weft_file_write_all(at(folder, "b"), "", 0, 0600, WEFT_WRITE_EXCLUSIVE), 0);
    EXPECT_EQ(stat(at(folder, "b"), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600);
    EXPECT_EQ(
        weft_file_write_all(at(folder, "a"), "no", 2, 0666, WEFT_WRITE_APPEND | WEFT_WRITE_ATOMIC),
        -EINVAL);
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "no", 2, 0666, 1U << 20), -EINVAL);
    EXPECT_EQ(weft_file_write_all(at(folder, "no/a"), "no", 2, 0666, 0), -ENOENT);
    EXPECT(raw_holds(at(folder, "a"), "two+3", 5));
    return 0;
}

FILE_TEST(file_whole, a_whole_file_is_written, 1, write_all_body)

static int replace_body(void *arg)
{
    struct folder *folder = arg;
    struct stat status;
    struct weft_scope scope;
    const unsigned exclusive = WEFT_WRITE_ATOMIC | WEFT_WRITE_EXCLUSIVE;

    raw_file(at(folder, "a"), "old", 3);
    EXPECT_EQ(chmod(at(folder, "a"), 0640), 0);
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "new one", 7, 0600, WEFT_WRITE_ATOMIC), 0);
    EXPECT(raw_holds(at(folder, "a"), "new one", 7));
    EXPECT_EQ(stat(at(folder, "a"), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0640);
    EXPECT_EQ(weft_file_write_all(at(folder, "b"), "b", 1, 0600, WEFT_WRITE_ATOMIC), 0);
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "no", 2, 0600, exclusive), -EEXIST);
    EXPECT_EQ(weft_file_write_all(at(folder, "c"), "c", 1, 0600, exclusive), 0);
    EXPECT_EQ(weft_file_write_all(at(folder, "no/a"), "a", 1, 0600, WEFT_WRITE_ATOMIC), -ENOENT);
    EXPECT_EQ(mkdir(at(folder, "d"), 0700), 0);
    EXPECT_EQ(weft_file_write_all(at(folder, "d"), "d", 1, 0600, WEFT_WRITE_ATOMIC), -EISDIR);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_file_write_all(at(folder, "a"), "no", 2, 0600, WEFT_WRITE_ATOMIC), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(raw_holds(at(folder, "a"), "new one", 7));
    EXPECT(raw_holds(at(folder, "c"), "c", 1));
    EXPECT_EQ(names_in(folder->path), 4); /* no temporary file was left */
    return 0;
}

FILE_TEST(file_whole, an_atomic_write_replaces_the_file_or_leaves_it, 1, replace_body)
