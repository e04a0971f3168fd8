/* SPDX-License-Identifier: MIT */
/*
 * Floor of the copy rows: threads that take one file after the other from a counter and copy it
 * with the system calls that a copy needs, nothing else; ms.
 *
 * copy_small: 10,000 files of 4 KiB, by read and write.
 * copy_big:   8 files of 64 MiB, by copy_file_range.
 */
#include "peer.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_FILES 10000
#define SMALL_SIZE  4096
#define BIG_FILES   8
#define BIG_SIZE    (64L * 1024 * 1024)

static char folder[64];
static atomic_int next_file;
static int file_count;
static size_t file_size;

static void name_of(char *text, size_t size, const char *kind, int number)
{
    snprintf(text, size, "%s/%s-%d", folder, kind, number);
}

static void make_files(void)
{
    static char block[1 << 20];
    char name[100];

    memset(block, 'w', sizeof(block));
    for (int i = 0; i < file_count; i++) {
        int fd;

        name_of(name, sizeof(name), "from", i);
        fd = open(name, O_WRONLY | O_CREAT, 0644);
        for (size_t left = file_size; left > 0;) {
            ssize_t n = write(fd, block, left < sizeof(block) ? left : sizeof(block));

            peer_check(n > 0, "write");
            left -= (size_t)n;
        }
        close(fd);
    }
}

static void remove_files(const char *kind)
{
    char name[100];

    for (int i = 0; i < file_count; i++) {
        name_of(name, sizeof(name), kind, i);
        unlink(name);
    }
}

static size_t copy_content(int in, int out)
{
    char buffer[SMALL_SIZE * 2];
    size_t copied = 0;
    ssize_t n;

    if (file_size > sizeof(buffer))
        while ((n = copy_file_range(in, NULL, out, NULL, file_size, 0)) > 0)
            copied += (size_t)n;
    else
        while ((n = read(in, buffer, sizeof(buffer))) > 0)
            copied += (size_t)write(out, buffer, (size_t)n);
    return copied;
}

static void *copy_files(void *unused)
{
    int number;

    while ((number = atomic_fetch_add(&next_file, 1)) < file_count) {
        char from[100], to[100];
        int in, out;

        name_of(from, sizeof(from), "from", number);
        name_of(to, sizeof(to), "to", number);
        in = open(from, O_RDONLY | O_CLOEXEC);
        out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        peer_check(in >= 0 && out >= 0, "open");
        peer_check(copy_content(in, out) == file_size, "copy");
        close(in);
        close(out);
    }
    return unused;
}

static double copy_once(int workers)
{
    pthread_t threads[64];
    uint64_t start = peer_now_ns();

    atomic_store(&next_file, 0);
    for (int i = 1; i < workers && i < 64; i++)
        peer_check(pthread_create(&threads[i], NULL, copy_files, NULL) == 0, "pthread_create");
    copy_files(NULL);
    for (int i = 1; i < workers && i < 64; i++)
        pthread_join(threads[i], NULL);
    return peer_ns_per(start, 1) / 1e6;
}

/* A warm-up, and the best of three: what the kernel does besides is no part of a floor. */
static double measure(int workers, int count, size_t size)
{
    double best = 0;

    strcpy(folder, "/dev/shm/weft-bench-XXXXXX");
    peer_check(mkdtemp(folder) != NULL, "mkdtemp in /dev/shm");
    file_count = count;
    file_size = size;
    make_files();
    for (int round = 0; round < 4; round++) {
        double value = copy_once(workers);

        remove_files("to");
        if (round > 0 && (best == 0 || value < best))
            best = value;
    }
    remove_files("from");
    rmdir(folder);
    return best;
}

static double measure_small(int workers)
{
    return measure(workers, SMALL_FILES, SMALL_SIZE);
}

static double measure_big(int workers)
{
    return measure(workers, BIG_FILES, BIG_SIZE);
}

int main(int argc, char **argv)
{
    static const struct peer_row rows[] = {
        {"copy_small", measure_small, "ms"},
        {"copy_big", measure_big, "ms"},
    };

    return peer_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
