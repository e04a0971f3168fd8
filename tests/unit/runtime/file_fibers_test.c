/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <signal.h>

#include "support/files.h"

/* ---- cancellation */

static int cancelled_scope_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT), *other;
    struct weft_scope scope;
    struct stat status;
    char buffer[8];
    size_t written = 99;

    EXPECT_EQ(weft_file_write(file, "data", 4, NULL), 0);
    EXPECT_EQ(weft_file_seek(file, 0, SEEK_SET), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), -ECANCELED);
    EXPECT_EQ(weft_file_write(file, "more", 4, &written), -ECANCELED);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(weft_file_sync(file), -ECANCELED);
    EXPECT_EQ(weft_file_datasync(file), -ECANCELED);
    EXPECT_EQ(weft_file_truncate(file, 0), -ECANCELED);
    EXPECT_EQ(weft_file_stat(file, &status), -ECANCELED);
    EXPECT_EQ(weft_file_seek(file, 0, SEEK_END), -ECANCELED);
    EXPECT_EQ(weft_file_open(at(folder, "b"), O_RDWR | O_CREAT, 0600, &other), -ECANCELED);
    EXPECT_EQ(weft_file_tell(file), 0);
    EXPECT_EQ(weft_file_close(file), 0); /* closes whatever the scope says */
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(access(at(folder, "b"), F_OK) < 0);
    EXPECT(raw_holds(at(folder, "a"), "data", 4));
    return 0;
}

FILE_TEST(file_fibers, in_a_cancelled_scope_nothing_is_done, 1, cancelled_scope_body)

static int expired_scope_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    struct weft_scope scope;
    char buffer[8];

    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), -ETIMEDOUT);
    EXPECT_EQ(weft_file_write(file, "x", 1, NULL), -ETIMEDOUT);
    EXPECT_EQ(weft_file_pread(file, buffer, sizeof(buffer), 0), -ETIMEDOUT);
    EXPECT_EQ(weft_file_sync(file), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file_fibers, after_the_scopes_deadline_nothing_is_done, 1, expired_scope_body)

/* ---- leases */

struct opener {
    const char *path;
    atomic_int arrivals;
    int result;
};

static int open_leased(void *arg)
{
    struct opener *opener = arg;
    struct weft_file *file;

    arrive(&opener->arrivals);
    opener->result = weft_file_open(opener->path, O_RDONLY, 0, &file);
    if (opener->result == 0)
        weft_file_free(file);
    return 0;
}

static int lease_body(void *arg)
{
    struct folder *folder = arg;
    struct opener opener = {.path = at(folder, "a")};
    struct weft_group group;
    int fd;

    raw_file(opener.path, "data", 4);
    signal(SIGIO, SIG_IGN);
    fd = open(opener.path, O_RDWR | O_CLOEXEC);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "opener", open_leased, &opener), 0);
        await_arrivals(&opener.arrivals, 1);
        EXPECT_EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
        EXPECT_EQ(weft_group_join(&group), 0);
        EXPECT_EQ(opener.result, 0);
    }
    close(fd);
    return 0;
}

FILE_TEST(file_fibers, open_waits_until_a_lease_is_given_up, 1, lease_body)

/* ---- fairness */

struct turns {
    struct weft_file *file;
    atomic_bool stop;
};

static int read_without_end(void *arg)
{
    struct turns *turns = arg;
    char byte;

    while (!atomic_load(&turns->stop))
        EXPECT_EQ(weft_file_pread(turns->file, &byte, 1, 0), 1);
    return 0;
}

static int fairness_body(void *arg)
{
    struct folder *folder = arg;
    struct turns turns = {.file = opened(at(folder, "a"), O_RDWR | O_CREAT)};
    struct weft_group group;

    EXPECT_EQ(weft_file_write(turns.file, "x", 1, NULL), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_without_end, &turns), 0);
    atomic_store(&turns.stop, true); /* reached only if the reader gives way on the one worker */
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_file_free(turns.file);
    return 0;
}

FILE_TEST(file_fibers, who_reads_without_end_lets_others_run, 1, fairness_body)

/* ---- many at once */

enum { FIBERS = 200, ROUNDS = 20, RECORD = 512 };

struct record {
    struct weft_file *file;
    int number;
};

static int keep_record(void *arg)
{
    struct record *record = arg;
    char out[RECORD], in[RECORD];

    for (int i = 0; i < ROUNDS; i++) {
        memset(out, record->number + i, sizeof(out));
        EXPECT_EQ(weft_file_pwrite(record->file, out, RECORD, record->number * RECORD, NULL), 0);
        EXPECT_EQ(weft_file_pread(record->file, in, RECORD, record->number * RECORD), RECORD);
        EXPECT(memcmp(in, out, RECORD) == 0);
    }
    return 0;
}

static int many_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    struct record records[FIBERS];
    struct weft_group group;

    weft_group_init(&group);
    for (int i = 0; i < FIBERS; i++) {
        records[i] = (struct record){file, i};
        EXPECT_EQ(weft_group_spawn(&group, "record", keep_record, &records[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file_fibers, many_fibers_use_one_file, 4, many_body)
