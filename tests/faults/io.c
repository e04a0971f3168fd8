/* SPDX-License-Identifier: MIT */
/* Scenarios of files, streams and children. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario.h"
#include "weft/pool.h"
#include "weft/weft.h"

static char folder[64];

static const char *in_folder(const char *name)
{
    static __thread char paths[4][128]; /* no suspension between making one and using it */
    static __thread unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static void remove_folder(void)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "new/er", "new"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove(in_folder(names[i]));
    rmdir(folder);
}

static int make_folder(void)
{
    if (folder[0])
        return 0;
    strcpy(folder, "/dev/shm/weft-faults-XXXXXX");
    if (!mkdtemp(folder)) {
        strcpy(folder, "/tmp/weft-faults-XXXXXX");
        EXPECT(mkdtemp(folder) != NULL);
    }
    atexit(remove_folder);
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int files(void *unused)
{
    WEFT_CLEANUP(file) struct weft_file *file = NULL;
    char text[16] = "";
    (void)unused;
    TRY(weft_file_open(in_folder("a"), O_RDWR | O_CREAT | O_TRUNC, 0600, &file));
    TRY(weft_file_write(file, "0123456789", 10, NULL));
    TRY(weft_file_datasync(file));
    TRY(weft_file_seek(file, 0, SEEK_SET));
    ssize_t n = 0;
    for (size_t have = 0; have < 10; have += (size_t)n) { /* a read may be short */
        n = weft_file_read(file, text + have, sizeof(text) - have);
        TRY(n);
        EXPECT(n > 0);
    }
    EXPECT(strcmp(text, "0123456789") == 0);
    TRY(weft_file_truncate(file, 5));
    struct stat stat;
    TRY(weft_file_stat(file, &stat));
    EXPECT_EQ(stat.st_size, 5);
    struct weft_file *closing = file;
    file = NULL;
    return weft_file_close(closing);
}

static int write_whole(const char *name, int flags)
{
    static const char text[] = "one\ntwo\nthree\n";
    return weft_file_write_all(in_folder(name), text, sizeof(text) - 1, 0600, flags);
}

static int whole_files(void *unused)
{
    void *data;
    size_t size;
    (void)unused;
    TRY(write_whole("b", 0));
    int r = write_whole("b", WEFT_WRITE_ATOMIC);
    EXPECT_EQ(access(in_folder("b"), F_OK), 0); /* the old one or the new */
    TRY(r);
    TRY(weft_file_read_all(in_folder("b"), 1000, &data, &size));
    EXPECT(size == 14 && memcmp(data, "one\ntwo\nthree\n", 14) == 0);
    free(data);
    uint64_t copied = 0;
    TRY(weft_copy_file(in_folder("b"), in_folder("c"), &(struct weft_copy_options){.sync = true},
                       &copied));
    EXPECT_EQ(copied, 14);
    return 0;
}

static int lines(void *unused)
{
    WEFT_CLEANUP(file) struct weft_file *file = NULL;
    (void)unused;
    TRY(write_whole("d", 0));
    TRY(weft_file_open(in_folder("d"), O_RDWR, 0, &file));
    struct weft_reader reader;
    struct weft_writer writer;
    const char *line;
    ssize_t n;
    int count = 0;
    weft_reader_init_file(&reader, file);
    while ((n = weft_reader_readline(&reader, &line)) > 0)
        count++;
    weft_reader_destroy(&reader);
    TRY(n);
    EXPECT_EQ(count, 3);
    weft_writer_init_file(&writer, file);
    int r = weft_writer_printf(&writer, "%s %d\n", "four", 4);
    if (r >= 0)
        r = weft_writer_flush(&writer);
    weft_writer_destroy(&writer);
    return r;
}

static int paths(void *unused)
{
    WEFT_CLEANUP(dir) struct weft_dir *dir = NULL;
    struct weft_dir_entry entry;
    int r;
    (void)unused;
    TRY(weft_path_mkdirs(in_folder("new/er"), 0700));
    TRY(write_whole("e", 0));
    TRY(weft_path_rename(in_folder("e"), in_folder("a")));
    TRY(weft_dir_open(folder, &dir));
    while ((r = weft_dir_next(dir, &entry)) > 0)
        ;
    return r;
}

/* ---- streams --------------------------------------------------------------------------------- */

static int write_lines(void *arg)
{
    static char line[5000]; /* more than fits at once, in all */
    struct weft_writer writer;
    memset(line, 'x', sizeof(line));
    weft_writer_init(&writer, arg);
    int r = 0;
    for (int i = 0; r >= 0 && i < 100; i++)
        r = weft_writer_write(&writer, line, sizeof(line));
    if (r >= 0)
        r = weft_writer_flush(&writer);
    weft_writer_destroy(&writer);
    weft_stream_shutdown_write(arg);
    return r;
}

static int streams(void *unused)
{
    struct weft_stream *pair[2] = {NULL, NULL};
    (void)unused;
    TRY(weft_stream_pair(pair));
    WEFT_CLEANUP(stream) struct weft_stream *near = pair[0], *far = pair[1];
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    TRY(weft_task_new("writer", write_lines, far, &task));
    struct weft_reader reader;
    char *data = NULL;
    size_t size;
    weft_reader_init(&reader, near);
    int r = weft_reader_read_all(&reader, 1 << 20, &data, &size), written = 0;
    weft_reader_destroy(&reader);
    if (r < 0)
        weft_task_cancel(task);
    int joined = weft_task_join(task, in_time(), &written);
    EXPECT(r < 0 || joined < 0 || written < 0 || size == 500000);
    free(data);
    TRY(r);
    TRY(joined);
    return written;
}

static int pipes(void *unused)
{
    struct weft_stream *pair[2] = {NULL, NULL};
    char text[8];
    (void)unused;
    TRY(weft_stream_pipe(pair));
    WEFT_CLEANUP(stream) struct weft_stream *out = pair[0], *in = pair[1];
    TRY(weft_write(in, "abc", 3, NULL));
    ssize_t n = weft_read(out, text, sizeof(text));
    TRY(n);
    EXPECT_EQ(n, 3);
    return 0;
}

/* ---- children -------------------------------------------------------------------------------- */

static int children(void *unused)
{
    static const char *const argv[] = {"sh", "-c", "cat; echo err >&2; exit 3", NULL};
    WEFT_CLEANUP(process) struct weft_process *process = NULL;
    struct weft_process_options options;
    struct weft_process_output out, err;
    struct weft_process_status status;
    (void)unused;
    weft_process_options_init(&options);
    options.argv = argv;
    options.stdin_fd = options.stdout_fd = options.stderr_fd = WEFT_PROCESS_PIPE;
    TRY(weft_process_spawn(&options, &process));
    TRY(weft_process_communicate(process, "text", 4, 1000, in_time(), &out, &err, &status));
    EXPECT(status.exit_code == 3 && out.size == 4 && err.size == 4);
    free(out.data);
    free(err.data);
    return 0;
}

static int no_child(void *unused)
{
    static const char *const argv[] = {"/no/such/program", NULL};
    struct weft_process *process = NULL;
    struct weft_process_options options;
    (void)unused;
    weft_process_options_init(&options);
    options.argv = argv;
    int r = weft_process_spawn(&options, &process);
    EXPECT(r < 0 && process == NULL);
    return r == -ENOENT ? 0 : r;
}

static WEFT_POOL_FUNCTION(reverse)
{
    char text[8];
    for (size_t i = 0; i < size && i < sizeof(text); i++)
        text[i] = ((const char *)input)[size - 1 - i];
    return weft_pool_write(output, text, size);
}

static int pools(void *unused)
{
    struct weft_pool *pool;
    struct weft_pool_options options;
    struct weft_pool_reply reply = {0};
    struct weft_process_status death;
    (void)unused;
    weft_pool_options_init(&options);
    options.processes = 1;
    TRY(weft_pool_new(&options, &pool));
    int r = weft_pool_call(pool, reverse, "abc", 3, in_time(), &reply, &death);
    EXPECT(r < 0 || (reply.size == 3 && memcmp(reply.data, "cba", 3) == 0));
    free(reply.data);
    weft_pool_free(pool);
    return r;
}

const struct scenario io_scenarios[] = {
    {"files", files, make_folder},
    {"whole_files", whole_files, make_folder},
    {"lines", lines, make_folder},
    {"paths", paths, make_folder},
    {"streams", streams},
    {"pipes", pipes},
    {"children", children},
    {"no_child", no_child},
    {"pools", pools},
    {NULL},
};
