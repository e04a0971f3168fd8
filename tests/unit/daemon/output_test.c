/* SPDX-License-Identifier: MIT */
/* Output files: what is kept, what is told of the rest, and reading while it is written. */
#include "daemon/output.h"

#include "support/io.h"
#include "support/test.h"

#include <dirent.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64];
static struct output_store *store;

struct body {
    int (*run)(void);
};

static int body_main(void *arg)
{
    struct body *body = arg;
    EXPECT_EQ(output_store_new(folder, &store), 0);
    EXPECT_EQ(body->run(), 0);
    output_store_free(store);
    return 0;
}

static int count_files(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static const char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof(path), "%s/output%s", folder, name);
    return path;
}

/* The body has to remove all that it made: that is a test, too. */
static void with_store(int (*run)(void))
{
    struct body body = {run};
    strcpy(folder, "/tmp/weft-output-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
    on_fibers_counting_fds(2, body_main, &body);
    EXPECT_EQ(count_files(path_of("")), 0);
    EXPECT_EQ(rmdir(path_of("")), 0);
    EXPECT_EQ(rmdir(folder), 0);
}

static struct output *open_keeping(uint64_t id, uint32_t attempt, uint64_t cap,
                                   enum output_keep keep)
{
    struct output *output;
    const struct output_limit limit = {cap, keep};
    EXPECT_EQ(output_open(store, id, attempt, OUTPUT_STDOUT, &limit, &output), 0);
    return output;
}

static struct output *open_stdout(uint64_t id, uint32_t attempt, uint64_t cap)
{
    return open_keeping(id, attempt, cap, OUTPUT_KEEP_HEAD);
}

static void expect_chunk(uint64_t id, uint64_t offset, size_t limit, const char *text, bool at_end,
                         uint64_t dropped)
{
    struct output_chunk chunk;
    EXPECT_EQ(output_read(store, id, 1, OUTPUT_STDOUT, offset, limit, &chunk), 0);
    EXPECT_EQ(chunk.size, strlen(text));
    EXPECT((chunk.data == NULL) == (chunk.size == 0));
    EXPECT(chunk.size == 0 || memcmp(chunk.data, text, chunk.size) == 0);
    EXPECT_EQ(chunk.next, offset + chunk.size);
    EXPECT_EQ(chunk.gap, 0);
    EXPECT_EQ(chunk.at_end, at_end);
    EXPECT_EQ(chunk.dropped, dropped);
    free(chunk.data);
}

static int write_and_read(void)
{
    struct output_summary summary;
    struct output *output = open_stdout(1234567, 1, 100);
    EXPECT_EQ(access(path_of("/1234"), F_OK), -1); /* silent: no file */
    expect_chunk(1234567, 0, 10, "", true, 0);
    output_write(output, "hello ", 6);
    EXPECT_EQ(access(path_of("/1234/1234567.1.out"), F_OK), 0);
    expect_chunk(1234567, 0, 100, "hello ", true, 0); /* while it is written */
    output_write(output, "world", 5);
    expect_chunk(1234567, 6, 3, "wor", false, 0);
    expect_chunk(1234567, 9, 2, "ld", true, 0);
    expect_chunk(1234567, 11, 5, "", true, 0);
    expect_chunk(1234567, 99, 5, "", true, 0);
    expect_chunk(1234567, INT64_MAX, 5, "", true, 0);
    output_close(output, &summary);
    EXPECT_EQ(summary.written, 11);
    EXPECT_EQ(summary.dropped, 0);
    EXPECT_EQ(summary.err, 0);
    EXPECT_EQ(output_remove(store, 1234567, 1), 0);
    expect_chunk(1234567, 0, 100, "", true, 0);
    return 0;
}

Test(output, is_read_by_offset)
{
    with_store(write_and_read);
}

static int cap(void)
{
    struct output_summary summary;
    struct output *output = open_stdout(5, 1, 8);
    output_write(output, "12345", 5);
    output_write(output, "67890", 5);
    output_write(output, "abc", 3);
    expect_chunk(5, 0, 100, "12345678", true, 0); /* it may not be over */
    output_close(output, &summary);
    EXPECT_EQ(summary.written, 8);
    EXPECT_EQ(summary.dropped, 5);
    expect_chunk(5, 0, 100, "12345678", true, 5);
    expect_chunk(5, 0, 7, "1234567", false, 0);
    output_close(open_stdout(5, 1, 8), &summary); /* run again, and silent */
    expect_chunk(5, 0, 100, "", true, 0);
    output = open_stdout(6, 1, 0);
    output_write(output, "x", 1);
    output_close(output, &summary);
    expect_chunk(6, 0, 100, "", true, 1); /* nothing kept, and it is told */
    EXPECT_EQ(output_remove(store, 6, 1), 0);
    return 0;
}

Test(output, keeps_the_cap_and_counts_the_rest)
{
    with_store(cap);
}

static void expect_refusal(int err)
{
    struct output_chunk chunk;
    struct output_share share;
    EXPECT_EQ(output_read(store, 5, 1, OUTPUT_STDOUT, 0, 100, &chunk), err);
    EXPECT_EQ(output_share(store, 5, 1, OUTPUT_STDOUT, 0, true, &share), err);
    expect_chunk(5, 0, 7, "1234567", false, 0); /* the rest is asked for later */
}

static int hide_what_was_dropped(void)
{
    const char *note = "/0/5.1.out.dropped";
    struct output_summary summary;
    struct output *output = open_stdout(5, 1, 8);
    output_write(output, "1234567890", 10);
    output_close(output, &summary);
    EXPECT_EQ(unlink(path_of(note)), 0);
    EXPECT_EQ(symlink("5.1.out.dropped", path_of(note)), 0);
    expect_refusal(-ELOOP);
    EXPECT_EQ(unlink(path_of(note)), 0);
    EXPECT_EQ(mkdir(path_of(note), 0700), 0);
    expect_refusal(-EISDIR);
    EXPECT_EQ(output_remove(store, 5, 1), 0);
    return 0;
}

Test(output, that_was_cut_does_not_pass_for_whole)
{
    with_store(hide_what_was_dropped);
}

/* ---- the tail -------------------------------------------------------------------------------- */

static char byte_at(uint64_t offset)
{
    return (char)('!' + offset * 2654435761U % 89);
}

/* The next bytes of a stream that says of each byte where it belongs. */
static void write_stream(struct output *output, uint64_t *offset, size_t size)
{
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(*offset + i);
    output_write(output, data, size);
    *offset += size;
    free(data);
}

/* Bytes of the stream, and where those are that were not asked for. */
static struct output_chunk expect_stream(uint64_t id, uint64_t offset, size_t limit)
{
    struct output_chunk chunk;
    size_t right = 0;
    EXPECT_EQ(output_read(store, id, 1, OUTPUT_STDOUT, offset, limit, &chunk), 0);
    while (right < chunk.size && chunk.data[right] == byte_at(offset + chunk.gap + right))
        right++;
    EXPECT_EQ(right, chunk.size);
    EXPECT(chunk.size <= limit);
    EXPECT_EQ(chunk.next, offset + chunk.gap + chunk.size);
    free(chunk.data);
    return chunk;
}

/* On disk, in how many segments. */
static uint64_t bytes_in(const char *name, int *ret_segments)
{
    struct dirent *entry;
    struct stat status;
    uint64_t bytes = 0;
    DIR *dir = opendir(path_of(name));
    EXPECT(dir != NULL);
    for (*ret_segments = 0; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        EXPECT_EQ(fstatat(dirfd(dir), entry->d_name, &status, 0), 0);
        bytes += (uint64_t)status.st_size;
        ++*ret_segments;
    }
    closedir(dir);
    return bytes;
}

enum { TAIL_CAP = 64 << 10, TAIL_SEGMENT = TAIL_CAP / 8 };

static int tail(void)
{
    struct output_summary summary;
    struct output_chunk chunk;
    uint64_t end = 0;
    int segments;
    struct output *output = open_keeping(5, 1, TAIL_CAP, OUTPUT_KEEP_TAIL);
    EXPECT_EQ(access(path_of("/0"), F_OK), -1); /* silent: no file */
    write_stream(output, &end, 10);
    chunk = expect_stream(5, 3, 100);
    EXPECT(chunk.gap == 0 && chunk.size == 7 && chunk.at_end);
    while (end < TAIL_CAP)
        write_stream(output, &end, 1022);
    for (size_t size = 1; size < 3 * TAIL_SEGMENT; size = size * 3 + 1) {
        write_stream(output, &end, size);
        uint64_t kept = bytes_in("/0/5.1.out", &segments);
        EXPECT(kept <= TAIL_CAP && kept > TAIL_CAP - TAIL_SEGMENT && segments == 8);
        chunk = expect_stream(5, 0, 2 * TAIL_CAP); /* all that is kept, in one piece */
        EXPECT(chunk.gap == end - kept && chunk.size == kept && chunk.at_end);
        chunk = expect_stream(5, end - TAIL_SEGMENT - 5, TAIL_SEGMENT); /* over a border */
        EXPECT(chunk.gap == 0 && chunk.size == TAIL_SEGMENT && !chunk.at_end);
        chunk = expect_stream(5, chunk.next, TAIL_SEGMENT);
        EXPECT(chunk.gap == 0 && chunk.size == 5 && chunk.at_end);
        chunk = expect_stream(5, end + 9, 9); /* behind the end */
        EXPECT(chunk.gap == 0 && chunk.size == 0 && chunk.at_end);
    }
    write_stream(output, &end, 3 * TAIL_CAP); /* more at once than is kept */
    EXPECT_EQ(bytes_in("/0/5.1.out", &segments), TAIL_CAP);
    chunk = expect_stream(5, 17, 1);
    EXPECT(chunk.gap == end - TAIL_CAP - 17 && chunk.size == 1 && !chunk.at_end);
    output_close(output, &summary);
    EXPECT_EQ(summary.written, end);
    EXPECT_EQ(summary.dropped, 0);
    EXPECT_EQ(summary.err, 0);
    EXPECT_EQ(output_remove(store, 5, 1), 0);
    return 0;
}

Test(output, keeps_the_tail_within_the_cap_and_tells_of_the_gap)
{
    with_store(tail);
}

static int small_tails(void)
{
    struct output_summary summary;
    int segments;
    for (uint64_t cap = 0; cap < 6; cap++) {
        uint64_t end = 0;
        struct output *output = open_keeping(6, 1, cap, OUTPUT_KEEP_TAIL);
        for (size_t size = 1; size < 9; size++) {
            write_stream(output, &end, size);
            struct output_chunk chunk = expect_stream(6, 0, 100);
            EXPECT(chunk.size <= cap && chunk.gap + chunk.size == (cap ? end : 0));
        }
        output_close(output, &summary);
        EXPECT_EQ(summary.dropped, cap ? 0 : end);
        EXPECT(!cap || bytes_in("/0/6.1.out", &segments) <= cap);
    }
    EXPECT_EQ(output_remove(store, 6, 1), 0);
    return 0;
}

Test(output, keeps_a_tail_of_few_bytes)
{
    with_store(small_tails);
}

/* What weftd leaves when it is killed: nobody closed anything.  The next run replaces it. */
static int interrupted_tail(void)
{
    struct output_summary summary;
    struct output_chunk chunk;
    uint64_t *ids, end = 0;
    size_t count;
    int segments;
    struct output *output = open_keeping(7, 1, TAIL_CAP, OUTPUT_KEEP_TAIL);
    write_stream(output, &end, TAIL_CAP + 100);
    write_stream(output, &end, 100);
    struct output_store *old = store;
    EXPECT_EQ(output_store_new(folder, &store), 0);
    chunk = expect_stream(7, 0, 2 * TAIL_CAP);
    EXPECT(chunk.gap + chunk.size == end && chunk.at_end);
    struct output *again = open_keeping(7, 1, 100, OUTPUT_KEEP_HEAD);
    expect_chunk(7, 0, 100, "", true, 0);
    output_write(again, "again", 5);
    output_close(again, &summary);
    expect_chunk(7, 0, 100, "again", true, 0);
    again = open_keeping(7, 1, 100, OUTPUT_KEEP_TAIL);
    end = 0;
    write_stream(again, &end, 120);
    output_close(again, &summary);
    EXPECT_EQ(bytes_in("/0/7.1.out", &segments), 100);
    EXPECT_EQ(output_jobs(store, 0, &ids, &count), 0);
    EXPECT(count == 1 && ids[0] == 7);
    EXPECT_EQ(output_remove_all(store, ids, count), 0); /* as of a job that is unknown */
    free(ids);
    output_store_free(store);
    store = old;
    output_close(output, &summary);
    return 0;
}

Test(output, leaves_a_tail_that_is_readable_and_replaced)
{
    with_store(interrupted_tail);
}

/* As if it had been rotated away while somebody read. */
static int hole(void)
{
    struct output_summary summary;
    struct output_chunk chunk;
    uint64_t end = 0;
    struct output *output = open_keeping(8, 1, TAIL_CAP, OUTPUT_KEEP_TAIL);
    write_stream(output, &end, TAIL_CAP);
    output_close(output, &summary);
    EXPECT_EQ(unlink(path_of("/0/8.1.out/16384")), 0);
    chunk = expect_stream(8, 1, TAIL_CAP);
    EXPECT(chunk.gap == 0 && chunk.next == 16384 && !chunk.at_end);
    chunk = expect_stream(8, chunk.next, TAIL_CAP);
    EXPECT(chunk.gap == TAIL_SEGMENT && chunk.next == TAIL_CAP && chunk.at_end);
    EXPECT_EQ(output_remove(store, 8, 1), 0);
    return 0;
}

Test(output, gives_no_data_from_both_sides_of_a_gap)
{
    with_store(hole);
}

/* A reader beside a writer who overtakes it: what it gets is the stream, with gaps that are told. */
static size_t output_cap;
static atomic_bool written;

static int overtaking_main(void *arg)
{
    uint64_t end = 0;
    for (size_t i = 0; i < 400; i++)
        write_stream(arg, &end, 1 + i * output_cap / 2000);
    atomic_store(&written, true);
    return 0;
}

static void overtake(void)
{
    struct output_summary summary;
    struct weft_group group;
    uint64_t offset = 0, gaps = 0;
    struct output_chunk chunk = {0};
    struct output *output = open_keeping(8, 1, output_cap, OUTPUT_KEEP_TAIL);
    atomic_store(&written, false);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "writer", overtaking_main, output), 0);
    for (bool over = false; !over || !chunk.at_end;) {
        over = atomic_load(&written);
        chunk = expect_stream(8, offset, output_cap / 2);
        gaps += chunk.gap;
        offset = chunk.next;
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    output_close(output, &summary);
    EXPECT_EQ(offset, summary.written);
    EXPECT(gaps < summary.written);
    EXPECT_EQ(output_remove(store, 8, 1), 0);
}

static int overtaken(void)
{
    static const size_t caps[] = {64, TAIL_CAP}; /* two segments, that come and go; eight */
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        output_cap = caps[i];
        overtake();
    }
    return 0;
}

Test(output, tells_a_reader_that_is_overtaken_of_gaps)
{
    with_store(overtaken);
}

static int remove_attempts(void)
{
    struct output_summary summary;
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        struct output *output = open_stdout(2000, attempt, 1);
        output_write(output, "12", 2);
        output_close(output, &summary);
    }
    struct output *neighbour = open_stdout(2001, 1, 10);
    output_write(neighbour, "1", 1);
    output_close(neighbour, &summary);
    EXPECT_EQ(count_files(path_of("/2")), 7);
    EXPECT_EQ(output_remove(store, 2000, 2), 0);
    EXPECT_EQ(count_files(path_of("/2")), 3);
    EXPECT_EQ(output_remove(store, 2000, 3), 0);
    EXPECT_EQ(output_remove(store, 2000, 3), 0); /* no file is fine */
    EXPECT_EQ(count_files(path_of("/2")), 1);
    EXPECT_EQ(output_remove(store, 2001, 1), 0);
    EXPECT_EQ(access(path_of("/2"), F_OK), -1);
    return 0;
}

Test(output, removes_attempts_and_empty_folders)
{
    with_store(remove_attempts);
}

static int write_cancelled(void)
{
    struct output_summary summary;
    struct output_chunk chunk;
    struct weft_scope scope;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    struct output *output = open_stdout(7, 1, 10);
    output_write(output, "kept", 4);
    output_close(output, &summary);
    EXPECT_EQ(output_read(store, 7, 1, OUTPUT_STDOUT, 0, 10, &chunk), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    expect_chunk(7, 0, 10, "kept", true, 0);
    EXPECT_EQ(output_remove(store, 7, 1), 0);
    return 0;
}

Test(output, is_written_whatever_was_cancelled)
{
    with_store(write_cancelled);
}

static int fail_to_write(void)
{
    struct output_summary summary;
    FILE *file = fopen(path_of("/0"), "we"); /* where the folder should be */
    EXPECT(file != NULL);
    EXPECT_EQ(fclose(file), 0);
    for (int keep = OUTPUT_KEEP_HEAD; keep <= OUTPUT_KEEP_TAIL; keep++) {
        struct output *output = open_keeping(1, 1, 10, (enum output_keep)keep);
        output_write(output, "1234", 4);
        output_write(output, "5", 1);
        output_close(output, &summary);
        EXPECT_EQ(summary.err, -ENOTDIR);
        EXPECT_EQ(summary.written, 0);
        EXPECT_EQ(summary.dropped, 5);
    }
    EXPECT_EQ(unlink(path_of("/0")), 0);
    return 0;
}

/* In the midst of a tail: what was written before is kept, the rest counted. */
static int fail_to_go_on(void)
{
    struct output_summary summary;
    struct output_chunk chunk;
    uint64_t end = 0;
    struct output *output = open_keeping(1, 1, TAIL_CAP, OUTPUT_KEEP_TAIL);
    write_stream(output, &end, 100);
    EXPECT_EQ(mkdir(path_of("/0/1.1.out/8192"), 0700), 0); /* where the next segment should be */
    write_stream(output, &end, TAIL_CAP);
    write_stream(output, &end, 1);
    output_close(output, &summary);
    EXPECT_EQ(summary.err, -EEXIST);
    EXPECT_EQ(summary.written, TAIL_SEGMENT);
    EXPECT_EQ(summary.dropped, end - TAIL_SEGMENT);
    EXPECT_EQ(rmdir(path_of("/0/1.1.out/8192")), 0);
    chunk = expect_stream(1, 0, TAIL_CAP);
    EXPECT(chunk.size == TAIL_SEGMENT && chunk.at_end && chunk.dropped == summary.dropped);
    EXPECT_EQ(output_remove(store, 1, 1), 0);
    return 0;
}

Test(output, keeps_what_there_is_of_a_tail_that_cannot_go_on)
{
    with_store(fail_to_go_on);
}

Test(output, swallows_trouble_with_the_file_and_tells_of_it)
{
    with_store(fail_to_write);
}

Test(output, needs_a_folder)
{
    EXPECT_EQ(output_store_new("/no/such/folder", &store), -ENOENT);
    EXPECT_EQ(output_store_new("/etc/passwd", &store), -ENOTDIR);
}
