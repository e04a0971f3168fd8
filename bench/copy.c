/* SPDX-License-Identifier: MIT */
/*
 * Files copied in a folder of tmpfs by 64 fibers, each of which takes one after the other; ms.
 *
 * copy_small: 10,000 files of 4 KiB.
 * copy_big:   8 files of 64 MiB.
 *
 * As the floor does, this warms up and then reports the best of three.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weft/group.h>
#include <weft/path.h>

#define FIBERS      64
#define SMALL_FILES 10000
#define SMALL_SIZE  4096
#define BIG_FILES   8
#define BIG_SIZE    (64L * 1024 * 1024)

struct work {
    char folder[64];
    int count;
    size_t size;
    atomic_int next;
};

static void name_of(const struct work *work, char *text, size_t size, const char *kind, int number)
{
    snprintf(text, size, "%s/%s-%d", work->folder, kind, number);
}

static void make_files(const struct work *work)
{
    static char block[1 << 20];
    char name[100];

    memset(block, 'w', sizeof(block));
    for (int i = 0; i < work->count; i++) {
        int fd;

        name_of(work, name, sizeof(name), "from", i);
        fd = open(name, O_WRONLY | O_CREAT, 0644);
        for (size_t left = work->size; left > 0;) {
            ssize_t n = write(fd, block, left < sizeof(block) ? left : sizeof(block));

            bench_check(n > 0, "write");
            left -= (size_t)n;
        }
        close(fd);
    }
}

static void remove_files(const struct work *work, const char *kind)
{
    char name[100];

    for (int i = 0; i < work->count; i++) {
        name_of(work, name, sizeof(name), kind, i);
        unlink(name);
    }
}

static int copy_files(void *arg)
{
    struct work *work = arg;
    int number;

    while ((number = atomic_fetch_add(&work->next, 1)) < work->count) {
        char from[100], to[100];
        uint64_t copied;

        name_of(work, from, sizeof(from), "from", number);
        name_of(work, to, sizeof(to), "to", number);
        bench_check(weft_copy_file(from, to, NULL, &copied) == 0, "copy");
        bench_check(copied == work->size, "bytes copied");
    }
    return 0;
}

static double copy_once(struct work *work)
{
    struct weft_group group;
    uint64_t start = bench_now_ns();

    atomic_store(&work->next, 0);
    weft_group_init(&group);
    for (int i = 0; i < FIBERS; i++)
        bench_check(weft_group_spawn(&group, "copier", copy_files, work) == 0, "spawn");
    bench_check(weft_group_join(&group) == 0, "join");
    return bench_ns_per(start, 1) / 1e6;
}

static double measure(int count, size_t size)
{
    struct work work = {.folder = "/dev/shm/weft-bench-XXXXXX", .count = count, .size = size};
    double best = 0;

    bench_check(mkdtemp(work.folder) != NULL, "mkdtemp in /dev/shm");
    make_files(&work);
    for (int round = 0; round < 4; round++) {
        double value = copy_once(&work);

        remove_files(&work, "to");
        if (round > 0 && (best == 0 || value < best))
            best = value;
    }
    remove_files(&work, "from");
    rmdir(work.folder);
    return best;
}

static double measure_small(void)
{
    return measure(SMALL_FILES, SMALL_SIZE);
}

static double measure_big(void)
{
    return measure(BIG_FILES, BIG_SIZE);
}

int main(int argc, char **argv)
{
    static const struct bench_row rows[] = {
        {"copy_small", measure_small, "ms"},
        {"copy_big", measure_big, "ms"},
    };

    return bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
