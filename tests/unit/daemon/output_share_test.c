/* SPDX-License-Identifier: MIT */
/* Output that is handed out: which file, for reading only, and when it is complete. */
#include "daemon/output.h"

#include "support/io.h"
#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CAP = 64 << 10, SEGMENT = CAP / 8 };

static char folder[64];
static struct output_store *store;
static char bytes[2 * CAP];

static const char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof(path), "%s/output%s", folder, name);
    return path;
}

static int body_main(void *arg)
{
    EXPECT_EQ(output_store_new(folder, &store), 0);
    EXPECT_EQ(((int (*)(void))arg)(), 0);
    EXPECT_EQ(output_remove(store, 1, 1), 0);
    output_store_free(store);
    return 0;
}

/* Descriptors that a body leaves open fail it. */
static void with_store(int (*body)(void))
{
    strcpy(folder, "/tmp/weft-output-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)('a' + i % 23);
    on_fibers_counting_fds(2, body_main, (void *)body);
    EXPECT_EQ(rmdir(path_of("")), 0);
    EXPECT_EQ(rmdir(folder), 0);
}

static struct output *open_stdout(uint64_t cap, enum output_keep keep)
{
    struct output *output;
    const struct output_limit limit = {cap, keep};
    EXPECT_EQ(output_open(store, 1, 1, OUTPUT_STDOUT, &limit, &output), 0);
    return output;
}

static void close_stdout(struct output *output)
{
    struct output_summary summary;
    output_close(output, &summary);
    EXPECT_EQ(summary.err, 0);
}

static struct output_share share_at(uint64_t offset, bool is_over)
{
    struct output_share share;
    EXPECT_EQ(output_share(store, 1, 1, OUTPUT_STDOUT, offset, is_over, &share), 0);
    return share;
}

static bool is_complete(int fd)
{
    struct stat status;
    EXPECT_EQ(fstat(fd, &status), 0);
    return !(status.st_mode & S_IWUSR);
}

static void expect_bytes(const struct output_share *share, size_t size)
{
    static char read_back[sizeof(bytes)];
    EXPECT_EQ(pread(share->fd, read_back, sizeof(read_back), 0), size);
    EXPECT_EQ(memcmp(read_back, bytes + share->begin, size), 0);
}

static void expect_none(uint64_t offset, bool is_over, bool at_end, uint64_t dropped)
{
    struct output_share share = share_at(offset, is_over);
    EXPECT_EQ(share.fd, -1);
    EXPECT_EQ(share.gap, 0);
    EXPECT_EQ(share.at_end, at_end);
    EXPECT_EQ(share.dropped, dropped);
}

static int head(void)
{
    struct output *output = open_stdout(100, OUTPUT_KEEP_HEAD);
    expect_none(0, false, true, 0);
    output_write(output, bytes, 60);
    struct output_share share = share_at(0, false), behind = share_at(60, false);
    EXPECT(share.begin == 0 && share.gap == 0 && share.at_end);
    EXPECT(behind.fd >= 0 && behind.begin == 0); /* nothing there, but there may be */
    expect_bytes(&share, 60);
    output_write(output, bytes + 60, 90);
    expect_bytes(&share, 100);
    EXPECT(!is_complete(share.fd)); /* full, and dropped is not known yet */
    close_stdout(output);
    EXPECT(is_complete(share.fd));
    close(share.fd);
    close(behind.fd);
    expect_none(100, false, true, 50);
    share = share_at(99, true);
    EXPECT_EQ(share.dropped, 50);
    close(share.fd);
    return 0;
}

Test(output, is_handed_out_while_it_grows_and_shows_when_it_is_complete)
{
    with_store(head);
}

static int read_only(void)
{
    struct output *output = open_stdout(CAP, OUTPUT_KEEP_HEAD);
    output_write(output, bytes, 10);
    struct output_share one = share_at(0, false), other = share_at(0, false);
    EXPECT_EQ(fcntl(one.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    EXPECT_EQ(write(one.fd, "x", 1), -1);
    EXPECT_EQ(ftruncate(one.fd, 0), -1);
    EXPECT_EQ(lseek(one.fd, 7, SEEK_SET), 7);
    EXPECT_EQ(lseek(other.fd, 0, SEEK_CUR), 0); /* each has a position of its own */
    output_write(output, bytes + 10, 10);       /* and so has the writer */
    expect_bytes(&other, 20);
    close(one.fd);
    close(other.fd);
    close_stdout(output);
    return 0;
}

Test(output, is_handed_out_for_reading_alone)
{
    with_store(read_only);
}

static int tail(void)
{
    struct output *output = open_stdout(CAP, OUTPUT_KEEP_TAIL);
    output_write(output, bytes, SEGMENT + 10);
    struct output_share first = share_at(5, false), second = share_at(SEGMENT, false);
    EXPECT(first.begin == 0 && !first.at_end && is_complete(first.fd));
    EXPECT(second.begin == SEGMENT && second.at_end && !is_complete(second.fd));
    expect_bytes(&first, SEGMENT);
    expect_bytes(&second, 10);
    close(second.fd);
    output_write(output, bytes + SEGMENT + 10, CAP);
    struct output_share late = share_at(5, false); /* what it was in is gone */
    EXPECT(late.begin == 2 * SEGMENT && late.gap == 2 * SEGMENT - 5);
    close(late.fd);
    expect_bytes(&first, SEGMENT); /* but not for who has it */
    close(first.fd);
    close_stdout(output);
    expect_none(CAP + SEGMENT + 10, false, true, 0);
    return 0;
}

Test(output, of_which_the_tail_is_kept_is_handed_out_segment_by_segment)
{
    with_store(tail);
}

/* A killed weftd leaves files that do not look complete. */
static int left_over(void)
{
    struct output *output = open_stdout(CAP, OUTPUT_KEEP_HEAD);
    output_write(output, bytes, 10);
    close_stdout(output);
    EXPECT_EQ(chmod(path_of("/0/1.1.out"), 0600), 0);
    expect_none(10, true, true, 0);
    struct output_share share = share_at(9, true);
    expect_bytes(&share, 10);
    close(share.fd);
    return 0;
}

Test(output, of_an_attempt_that_is_over_is_not_handed_out_for_what_may_come)
{
    with_store(left_over);
}

static int no_file(void)
{
    struct output_share share;
    EXPECT_EQ(mkdir(path_of("/0"), 0700), 0);
    EXPECT_EQ(mkfifo(path_of("/0/1.1.out"), 0600), 0);
    int writer = open(path_of("/0/1.1.out"), O_RDWR | O_CLOEXEC); /* so that nobody waits for one */
    EXPECT(writer >= 0);
    EXPECT_EQ(output_share(store, 1, 1, OUTPUT_STDOUT, 0, false, &share), -EBADF);
    close(writer);
    return 0;
}

Test(output, is_a_regular_file_or_not_handed_out)
{
    with_store(no_file);
}
