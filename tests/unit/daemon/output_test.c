/* SPDX-License-Identifier: MIT */
/* Output files: what is kept, what is told of the rest, and reading while it is written. */
#include "daemon/output.h"

#include "support/io.h"
#include "support/test.h"

#include <dirent.h>
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

static struct output *open_stdout(uint64_t id, uint32_t attempt, uint64_t cap)
{
    struct output *output;
    EXPECT_EQ(output_open(store, id, attempt, OUTPUT_STDOUT, cap, &output), 0);
    return output;
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
    struct output *output = open_stdout(1, 1, 10);
    output_write(output, "1234", 4);
    output_write(output, "5", 1);
    output_close(output, &summary);
    EXPECT_EQ(summary.err, -ENOTDIR);
    EXPECT_EQ(summary.written, 0);
    EXPECT_EQ(summary.dropped, 5);
    EXPECT_EQ(unlink(path_of("/0")), 0);
    return 0;
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
