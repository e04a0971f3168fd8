/* SPDX-License-Identifier: MIT */
/*
 * For tests of files: each body runs in a folder of its own, in every way that the library has to
 * do the work, and must leave no descriptor open.
 *
 *   by_io_uring, by_the_pool  the two backends, with nothing done at once on the worker; in /tmp,
 *                             and on tmpfs, because disks are slow
 *   from_the_cache            io_uring if there is one, and what is cached at once, in /tmp
 *   in_memory                 likewise, on tmpfs
 */
#pragma once
#include <ftw.h>
#include <sys/stat.h>

#include "io/file/file.h"
#include "support/io.h"

struct folder {
    char path[64];
    enum weft_file_backend backend;
};

#define FILE_TEST(suite, name, workers, body)                                                      \
    Test(suite, name##_by_io_uring)                                                                \
    {                                                                                              \
        in_folder("/tmp", WEFT_FILE_URING, false, workers, body);                                  \
    }                                                                                              \
    Test(suite, name##_by_the_pool)                                                                \
    {                                                                                              \
        in_folder("/dev/shm", WEFT_FILE_OFFLOAD, false, workers, body);                            \
    }                                                                                              \
    Test(suite, name##_from_the_cache)                                                             \
    {                                                                                              \
        in_folder("/tmp", WEFT_FILE_AUTO, true, workers, body);                                    \
    }                                                                                              \
    Test(suite, name##_in_memory)                                                                  \
    {                                                                                              \
        in_folder("/dev/shm", WEFT_FILE_AUTO, true, workers, body);                                \
    }

/** A path in the folder; good for the next three calls. */
static inline const char *at(struct folder *folder, const char *name)
{
    static char names[4][600];
    static unsigned turn;
    char *text = names[turn++ % 4];
    snprintf(text, sizeof(names[0]), "%s/%s", folder->path, name);
    return text;
}

static inline int remove_one(const char *path, const struct stat *status, int kind,
                             struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/** Whether the kernel refuses io_uring here. */
static inline bool uring_refused(int r)
{
    return r == -EPERM || r == -ENOSYS || r == -EACCES || r == -ENOMEM;
}

static inline void in_folder(const char *parent, enum weft_file_backend backend, bool at_once,
                             unsigned workers, int (*body)(void *))
{
    struct folder folder = {.backend = backend};
    struct weft_options options;
    int before = open_fds(), r;

    if (access(parent, W_OK) < 0)
        parent = "/tmp";
    snprintf(folder.path, sizeof(folder.path), "%s/weft-test-XXXXXX", parent);
    EXPECT(mkdtemp(folder.path));
    file_set_at_once(at_once);
    weft_options_init(&options);
    options.workers = workers;
    options.handle_signals = false;
    options.file_backend = backend;
    if (workers == 1)
        one_at_a_time(&options);
    r = weft_run(&options, body, &folder);
    remove_tree(folder.path);
    if (backend == WEFT_FILE_URING && uring_refused(r))
        fprintf(stderr, "io_uring is refused here: %s\n", strerror(-r));
    else
        EXPECT_EQ(r, 0);
    EXPECT_EQ(open_fds(), before);
}

/** A file with this content, made without the library. */
static inline void raw_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, data, size), size);
    close(fd);
}

/** Whether the file has exactly this content. */
static inline bool raw_holds(const char *path, const void *data, size_t size)
{
    char *content = malloc(size + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    EXPECT(content && fd >= 0);
    ssize_t n = read(fd, content, size + 1);
    bool same = n == (ssize_t)size && memcmp(content, data, size) == 0;
    close(fd);
    free(content);
    return same;
}

/** `size` bytes that do not repeat soon; for free(). */
static inline char *pattern(size_t size)
{
    enum { PERIOD = 65521 }; /* a prime: no block of a file is like another */
    char *data = malloc(size + PERIOD);
    EXPECT(data);
    for (size_t i = 0; i < PERIOD; i++)
        data[i] = (char)(i * 31 + i / 251);
    for (size_t i = PERIOD; i < size; i += PERIOD)
        memcpy(data + i, data, PERIOD);
    return data;
}

/** Names in a folder, without the dots. */
static inline int names_in(const char *path)
{
    DIR *dir = opendir(path);
    int count = -2;
    EXPECT(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static inline struct weft_file *opened(const char *path, int flags)
{
    struct weft_file *file = NULL;
    EXPECT_EQ(weft_file_open(path, flags, 0644, &file), 0);
    return file;
}
