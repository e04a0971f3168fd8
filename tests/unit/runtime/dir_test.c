/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/resource.h>
#include <sys/un.h>

#include "support/files.h"

enum { NAMES = 300 }; /* of 100 bytes: more than one buffer */

static int all_names_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_dir_entry entry;
    struct weft_dir *dir;
    bool seen[NAMES] = {false};
    char name[120], *end;
    int number, count = 0, r;

    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "%d-%0100d", i, 0);
        raw_file(at(folder, name), "", 0);
    }
    EXPECT_EQ(weft_dir_open(folder->path, &dir), 0);
    while ((r = weft_dir_next(dir, &entry)) > 0) {
        number = (int)strtol(entry.name, &end, 10);
        EXPECT_EQ(*end, '-');
        EXPECT(number >= 0 && number < NAMES && !seen[number]);
        EXPECT_EQ(entry.type, DT_REG);
        EXPECT(entry.inode != 0);
        seen[number] = true;
        count++;
    }
    EXPECT_EQ(r, 0);
    EXPECT_EQ(count, NAMES);
    EXPECT_EQ(weft_dir_next(dir, &entry), 0); /* the end stays the end */
    weft_dir_free(dir);
    return 0;
}

FILE_TEST(dir, every_name_comes_once, 1, all_names_body)

static unsigned char type_of(struct folder *folder, const char *name)
{
    struct weft_dir_entry entry;
    struct weft_dir *dir;
    unsigned char type = DT_UNKNOWN;

    EXPECT_EQ(weft_dir_open(folder->path, &dir), 0);
    while (weft_dir_next(dir, &entry) > 0)
        if (strcmp(entry.name, name) == 0)
            type = entry.type;
    weft_dir_free(dir);
    return type;
}

static int types_body(void *arg)
{
    struct folder *folder = arg;

    raw_file(at(folder, "file"), "", 0);
    EXPECT_EQ(mkdir(at(folder, "folder"), 0700), 0);
    EXPECT_EQ(symlink("file", at(folder, "link")), 0);
    EXPECT_EQ(mkfifo(at(folder, "fifo"), 0600), 0);
    EXPECT_EQ(type_of(folder, "file"), DT_REG);
    EXPECT_EQ(type_of(folder, "folder"), DT_DIR);
    EXPECT_EQ(type_of(folder, "link"), DT_LNK);
    EXPECT_EQ(type_of(folder, "fifo"), DT_FIFO);
    EXPECT_EQ(type_of(folder, "."), DT_UNKNOWN); /* the dots are left out */
    EXPECT_EQ(type_of(folder, ".."), DT_UNKNOWN);
    return 0;
}

FILE_TEST(dir, entries_tell_their_type, 1, types_body)

static int empty_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_dir_entry entry = {.name = "untouched"};
    struct weft_dir *dir;

    EXPECT_EQ(weft_dir_open(folder->path, &dir), 0);
    EXPECT_EQ(weft_dir_next(dir, &entry), 0);
    EXPECT(strcmp(entry.name, "untouched") == 0);
    weft_dir_free(dir);
    weft_dir_free(NULL);
    return 0;
}

FILE_TEST(dir, an_empty_folder_has_no_names, 1, empty_body)

static int errors_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_dir_entry entry;
    struct weft_dir *dir = (void *)folder;
    struct rlimit before, none;

    raw_file(at(folder, "file"), "", 0);
    EXPECT_EQ(weft_dir_open(at(folder, "none"), &dir), -ENOENT);
    EXPECT_EQ(weft_dir_open(at(folder, "file"), &dir), -ENOTDIR);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(weft_dir_open(folder->path, &dir), -EMFILE);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT(dir == (void *)folder);
    EXPECT_EQ(mkdir(at(folder, "gone"), 0700), 0);
    EXPECT_EQ(weft_dir_open(at(folder, "gone"), &dir), 0);
    EXPECT_EQ(rmdir(at(folder, "gone")), 0);
    int r = weft_dir_next(dir, &entry); /* ext4 says ENOENT, others that it is empty */
    EXPECT(r == -ENOENT || r == 0);
    weft_dir_free(dir);
    return 0;
}

FILE_TEST(dir, what_cannot_be_listed_is_an_error, 1, errors_body)

static int cancel_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_dir_entry entry;
    struct weft_dir *dir, *other;
    struct weft_scope scope;
    int count = 0;

    for (int i = 0; i < 3; i++)
        raw_file(at(folder, (const char *[]){"a", "b", "c"}[i]), "", 0);
    EXPECT_EQ(weft_dir_open(folder->path, &dir), 0);
    for (int i = 0; i < 4; i++) {
        weft_scope_enter(&scope, i % 2 ? 0 : WEFT_NO_DEADLINE);
        weft_scope_cancel(&scope);
        int error = i % 2 ? -ETIMEDOUT : -ECANCELED;
        int r = weft_dir_next(dir, &entry);
        EXPECT(r == -ECANCELED || r == error);
        EXPECT(weft_dir_open(folder->path, &other) < 0);
        EXPECT(weft_scope_leave(&scope) < 0);
        count += weft_dir_next(dir, &entry);
    }
    EXPECT_EQ(count, 3); /* none was lost */
    weft_dir_free(dir);
    return 0;
}

FILE_TEST(dir, a_cancelled_next_loses_no_name, 1, cancel_body)
