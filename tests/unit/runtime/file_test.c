/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <limits.h>
#include <pty.h>

#include "support/files.h"

enum { BIG = 9 * 1024 * 1024 + 17 }; /* more than one piece of a write */

/* ---- reading and writing */

static int write_and_read_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    char buffer[16] = "";
    size_t written = 99;

    EXPECT_EQ(weft_file_write(file, "hello", 5, &written), 0);
    EXPECT_EQ(written, 5);
    EXPECT_EQ(weft_file_write(file, " world", 6, NULL), 0);
    EXPECT_EQ(weft_file_tell(file), 11);
    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), 0);
    EXPECT_EQ(weft_file_seek(file, 0, SEEK_SET), 0);
    EXPECT_EQ(weft_file_read(file, buffer, 4), 4);
    EXPECT_EQ(weft_file_read(file, buffer + 4, sizeof(buffer) - 4), 7);
    EXPECT(memcmp(buffer, "hello world", 11) == 0);
    EXPECT_EQ(weft_file_tell(file), 11);
    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), 0);
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT(raw_holds(at(folder, "a"), "hello world", 11));
    return 0;
}

FILE_TEST(file, what_was_written_is_read_again, 1, write_and_read_body)

static int pread_pwrite_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    char buffer[8] = "";
    size_t written = 99;

    EXPECT_EQ(weft_file_pwrite(file, "xyz", 3, 5, &written), 0);
    EXPECT_EQ(written, 3);
    EXPECT_EQ(weft_file_tell(file), 0);
    EXPECT_EQ(weft_file_pread(file, buffer, 8, 4), 4);
    EXPECT(memcmp(buffer, "\0xyz", 4) == 0);
    EXPECT_EQ(weft_file_pread(file, buffer, 8, 100), 0);
    EXPECT_EQ(weft_file_tell(file), 0);
    EXPECT_EQ(weft_file_pread(file, buffer, 8, -1), -EINVAL);
    EXPECT_EQ(weft_file_pwrite(file, "x", 1, -1, &written), -EINVAL);
    EXPECT_EQ(written, 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, pread_and_pwrite_leave_the_position, 1, pread_pwrite_body)

static int vectored_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    char one[2], two[5] = "";
    struct iovec out[] = {{"ab", 2}, {NULL, 0}, {"cde", 3}};
    struct iovec in[] = {{one, sizeof(one)}, {two, sizeof(two)}};
    struct iovec past[] = {{"!", 1}};
    size_t written;

    EXPECT_EQ(weft_file_writev(file, out, 3, &written), 0);
    EXPECT_EQ(written, 5);
    EXPECT_EQ(weft_file_pwritev(file, past, 1, 5, &written), 0);
    EXPECT_EQ(written, 1);
    EXPECT_EQ(weft_file_tell(file), 5);
    EXPECT_EQ(weft_file_seek(file, 0, SEEK_SET), 0);
    EXPECT_EQ(weft_file_readv(file, in, 2), 6);
    EXPECT(memcmp(one, "ab", 2) == 0 && memcmp(two, "cde!", 4) == 0);
    EXPECT_EQ(weft_file_preadv(file, in, 2, 4), 2);
    EXPECT(memcmp(one, "e!", 2) == 0);
    EXPECT_EQ(weft_file_preadv(file, in, 2, -5), -EINVAL);
    EXPECT_EQ(weft_file_readv(file, in, -1), -EINVAL);
    EXPECT_EQ(weft_file_readv(file, in, IOV_MAX + 1), -EINVAL);
    EXPECT_EQ(weft_file_writev(file, out, IOV_MAX + 1, &written), -EINVAL);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(weft_file_writev(file, out, 0, &written), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, parts_are_written_and_read_in_their_order, 1, vectored_body)

static int many_parts_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    struct iovec *parts = calloc(IOV_MAX, sizeof(*parts));
    char *data = pattern(IOV_MAX * 7);
    size_t written, size = 0;

    EXPECT(parts);
    for (int i = 0; i < IOV_MAX; i++) {
        parts[i] = (struct iovec){data + size, (size_t)(i % 7)};
        size += (size_t)(i % 7);
    }
    EXPECT_EQ(weft_file_writev(file, parts, IOV_MAX, &written), 0);
    EXPECT_EQ(written, size);
    weft_file_free(file);
    EXPECT(raw_holds(at(folder, "a"), data, size));
    free(parts);
    free(data);
    return 0;
}

FILE_TEST(file, as_many_parts_as_the_system_allows_are_written, 1, many_parts_body)

static int big_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    char *data = pattern(BIG), *back = malloc(BIG);
    size_t written, got = 0;
    ssize_t n;

    EXPECT(back);
    EXPECT_EQ(weft_file_write(file, data, BIG, &written), 0);
    EXPECT_EQ(written, BIG);
    while ((n = weft_file_pread(file, back + got, BIG - got, (off_t)got)) > 0)
        got += (size_t)n;
    EXPECT_EQ(n, 0);
    EXPECT_EQ(got, BIG);
    EXPECT(memcmp(data, back, BIG) == 0);
    weft_file_free(file);
    free(data);
    free(back);
    return 0;
}

FILE_TEST(file, a_big_write_is_written_whole, 2, big_body)

static int append_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file;

    raw_file(at(folder, "a"), "one", 3);
    file = opened(at(folder, "a"), O_WRONLY | O_APPEND);
    EXPECT_EQ(weft_file_write(file, "two", 3, NULL), 0);
    weft_file_free(file);
    EXPECT(raw_holds(at(folder, "a"), "onetwo", 6));
    return 0;
}

FILE_TEST(file, an_appending_file_is_written_at_its_end, 1, append_body)

static int seek_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);

    EXPECT_EQ(weft_file_write(file, "0123456789", 10, NULL), 0);
    EXPECT_EQ(weft_file_seek(file, 3, SEEK_SET), 3);
    EXPECT_EQ(weft_file_seek(file, 2, SEEK_CUR), 5);
    EXPECT_EQ(weft_file_seek(file, -1, SEEK_END), 9);
    EXPECT_EQ(weft_file_seek(file, 0, SEEK_DATA), 0);
    EXPECT_EQ(weft_file_seek(file, 100, SEEK_DATA), -ENXIO);
    EXPECT_EQ(weft_file_seek(file, -1, SEEK_SET), -EINVAL);
    EXPECT_EQ(weft_file_seek(file, 0, 99), -EINVAL);
    EXPECT_EQ(weft_file_tell(file), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, seek_moves_the_position_as_lseek_does, 1, seek_body)

static int truncate_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);

    EXPECT_EQ(weft_file_write(file, "0123456789", 10, NULL), 0);
    EXPECT_EQ(weft_file_truncate(file, 4), 0);
    EXPECT(raw_holds(at(folder, "a"), "0123", 4));
    EXPECT_EQ(weft_file_truncate(file, 6), 0);
    EXPECT(raw_holds(at(folder, "a"), "0123\0\0", 6));
    EXPECT_EQ(weft_file_truncate(file, -1), -EINVAL);
    weft_file_free(file);
    file = opened(at(folder, "a"), O_RDONLY);
    EXPECT_EQ(weft_file_truncate(file, 0), -EINVAL);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, truncate_cuts_and_extends, 1, truncate_body)

static int sync_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    struct weft_file *nothing = opened("/dev/null", O_RDWR);

    EXPECT_EQ(weft_file_write(file, "data", 4, NULL), 0);
    EXPECT_EQ(weft_file_sync(file), 0);
    EXPECT_EQ(weft_file_datasync(file), 0);
    EXPECT_EQ(weft_file_sync(nothing), -EINVAL);
    EXPECT_EQ(weft_file_datasync(nothing), -EINVAL);
    weft_file_free(file);
    weft_file_free(nothing);
    return 0;
}

FILE_TEST(file, sync_waits_for_the_disk, 1, sync_body)

static int stat_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT);
    struct stat raw, status;

    EXPECT_EQ(weft_file_write(file, "data", 4, NULL), 0);
    EXPECT_EQ(weft_file_stat(file, &status), 0);
    EXPECT_EQ(fstat(weft_file_fd(file), &raw), 0);
    EXPECT_EQ(status.st_size, 4);
    EXPECT_EQ(status.st_dev, raw.st_dev);
    EXPECT_EQ(status.st_ino, raw.st_ino);
    EXPECT_EQ(status.st_mode, raw.st_mode);
    EXPECT_EQ(status.st_nlink, raw.st_nlink);
    EXPECT_EQ(status.st_uid, raw.st_uid);
    EXPECT_EQ(status.st_gid, raw.st_gid);
    EXPECT_EQ(status.st_rdev, raw.st_rdev);
    EXPECT_EQ(status.st_blksize, raw.st_blksize);
    EXPECT_EQ(status.st_mtim.tv_sec, raw.st_mtim.tv_sec);
    EXPECT_EQ(status.st_mtim.tv_nsec, raw.st_mtim.tv_nsec);
    EXPECT_EQ(status.st_ctim.tv_nsec, raw.st_ctim.tv_nsec);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, stat_says_what_fstat_says, 1, stat_body)

/* ---- opening and closing */

static int open_errors_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = (void *)folder;
    char long_name[NAME_MAX + 2];

    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    raw_file(at(folder, "a"), "", 0);
    EXPECT_EQ(weft_file_open(at(folder, "missing"), O_RDONLY, 0, &file), -ENOENT);
    EXPECT_EQ(weft_file_open(at(folder, "a/b"), O_RDONLY, 0, &file), -ENOTDIR);
    EXPECT_EQ(weft_file_open(at(folder, "a"), O_RDWR | O_CREAT | O_EXCL, 0600, &file), -EEXIST);
    EXPECT_EQ(weft_file_open(at(folder, long_name), O_RDONLY, 0, &file), -ENAMETOOLONG);
    EXPECT_EQ(weft_file_open(at(folder, long_name), O_RDWR | O_CREAT, 0600, &file), -ENAMETOOLONG);
    EXPECT_EQ(weft_file_open(folder->path, O_RDONLY, 0, &file), -EISDIR);
    EXPECT_EQ(weft_file_open(folder->path, O_RDWR, 0, &file), -EISDIR);
    EXPECT_EQ(weft_file_open("", O_RDONLY, 0, &file), -ENOENT);
    EXPECT(file == (void *)folder);
    return 0;
}

FILE_TEST(file, open_says_what_is_wrong_with_a_path, 1, open_errors_body)

static int folder_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(folder->path, O_RDONLY | O_DIRECTORY);
    char buffer[8];

    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), -EISDIR);
    EXPECT_EQ(weft_file_pread(file, buffer, sizeof(buffer), 0), -EISDIR);
    EXPECT_EQ(weft_file_sync(file), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, a_folder_may_be_opened_to_sync_it_but_not_be_read, 1, folder_body)

static int direction_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file;
    char buffer[8];
    size_t written = 99;

    raw_file(at(folder, "a"), "data", 4);
    file = opened(at(folder, "a"), O_RDONLY);
    EXPECT_EQ(weft_file_write(file, "x", 1, &written), -EBADF);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(weft_file_pwrite(file, "x", 1, 0, NULL), -EBADF);
    weft_file_free(file);
    file = opened(at(folder, "a"), O_WRONLY);
    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), -EBADF);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, a_file_is_used_only_as_it_was_opened, 1, direction_body)

static int flags_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file = opened(at(folder, "a"), O_RDWR | O_CREAT | O_APPEND);
    struct stat status;

    EXPECT_EQ(fcntl(weft_file_fd(file), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(weft_file_fd(file), F_GETFL) & (O_NONBLOCK | O_APPEND), O_APPEND);
    weft_file_free(file);
    umask(022);
    EXPECT_EQ(weft_file_open(at(folder, "b"), O_WRONLY | O_CREAT, 0666, &file), 0);
    EXPECT_EQ(fstat(weft_file_fd(file), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0644);
    weft_file_free(file);
    file = opened(at(folder, "b"), O_RDONLY | O_NONBLOCK);
    EXPECT(fcntl(weft_file_fd(file), F_GETFL) & O_NONBLOCK);
    weft_file_free(file);
    file = opened(folder->path, O_RDWR | O_TMPFILE);
    EXPECT_EQ(weft_file_write(file, "temporary", 9, NULL), 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, open_takes_the_flags_and_mode_of_open, 1, flags_body)

static int adopt_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file;
    char buffer[8];
    int fd;

    raw_file(at(folder, "a"), "0123456789", 10);
    fd = open(at(folder, "a"), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(lseek(fd, 4, SEEK_SET), 4);
    EXPECT_EQ(weft_file_borrow_fd(fd, &file), 0);
    EXPECT_EQ(weft_file_fd(file), fd);
    EXPECT_EQ(weft_file_read(file, buffer, 2), 2);
    EXPECT(memcmp(buffer, "45", 2) == 0);
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 6); /* still open, and the position is shared */
    EXPECT_EQ(weft_file_borrow_fd(fd, &file), 0);
    weft_file_free(file);
    EXPECT_EQ(weft_file_from_fd(fd, &file), 0);
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1);
    weft_file_free(NULL);
    return 0;
}

FILE_TEST(file, a_descriptor_is_adopted_or_borrowed, 1, adopt_body)

static int not_files_body(void *arg)
{
    struct weft_file *file;
    int fds[2], sockets[2], master, slave;
    (void)arg;

    raw_pipe(fds);
    raw_pair(sockets);
    EXPECT_EQ(weft_file_from_fd(fds[0], &file), -ESPIPE);
    EXPECT_EQ(weft_file_from_fd(sockets[0], &file), -ESPIPE);
    EXPECT_EQ(weft_file_borrow_fd(-1, &file), -EBADF);
    if (openpty(&master, &slave, NULL, NULL, NULL) == 0) {
        EXPECT_EQ(weft_file_borrow_fd(slave, &file), -ESPIPE);
        close(master);
        close(slave);
    }
    close(fds[0]);
    close(fds[1]);
    close(sockets[0]);
    close(sockets[1]);
    return 0;
}

FILE_TEST(file, pipes_sockets_and_terminals_are_not_taken_for_files, 1, not_files_body)

static int devices_body(void *arg)
{
    struct weft_file *file = opened("/dev/zero", O_RDWR);
    char buffer[100];
    (void)arg;

    memset(buffer, 1, sizeof(buffer));
    EXPECT_EQ(weft_file_read(file, buffer, sizeof(buffer)), sizeof(buffer));
    EXPECT_EQ(buffer[99], 0);
    EXPECT_EQ(weft_file_write(file, buffer, sizeof(buffer), NULL), 0);
    weft_file_free(file);
    file = opened("/dev/full", O_WRONLY);
    EXPECT_EQ(weft_file_write(file, buffer, sizeof(buffer), NULL), -ENOSPC);
    weft_file_free(file);
    file = opened("/proc/self/status", O_RDONLY);
    EXPECT_EQ(weft_file_read(file, buffer, 5), 5);
    EXPECT(memcmp(buffer, "Name:", 5) == 0);
    weft_file_free(file);
    return 0;
}

FILE_TEST(file, devices_and_files_of_proc_are_read_and_written, 1, devices_body)

/* ---- FIFOs */

struct fifo {
    struct weft_file *file;
    atomic_int arrivals;
    ssize_t result;
};

static int read_fifo(void *arg)
{
    struct fifo *fifo = arg;
    char buffer[8];

    arrive(&fifo->arrivals);
    fifo->result = weft_file_read(fifo->file, buffer, sizeof(buffer));
    return 0;
}

static int fifo_body(void *arg)
{
    struct folder *folder = arg;
    struct fifo fifo = {0};
    struct weft_group group;
    struct weft_file *out;
    char buffer[8];
    struct iovec parts[] = {{NULL, 0}, {buffer, sizeof(buffer)}};

    EXPECT_EQ(mkfifo(at(folder, "fifo"), 0600), 0);
    EXPECT_EQ(weft_file_open(at(folder, "fifo"), O_WRONLY, 0, &out), -ENXIO);
    fifo.file = opened(at(folder, "fifo"), O_RDONLY);
    out = opened(at(folder, "fifo"), O_WRONLY);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_fifo, &fifo), 0);
    await_arrivals(&fifo.arrivals, 1);
    EXPECT_EQ(weft_file_read(fifo.file, buffer, sizeof(buffer)), -EBUSY);
    EXPECT_EQ(weft_file_write(out, "hello", 5, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(fifo.result, 5);
    parts[0] = (struct iovec){"ab", 2}, parts[1] = (struct iovec){"c", 1};
    EXPECT_EQ(weft_file_writev(out, parts, 2, NULL), 0);
    parts[0] = (struct iovec){NULL, 0}, parts[1] = (struct iovec){buffer, sizeof(buffer)};
    EXPECT_EQ(weft_file_readv(fifo.file, parts, 2), 3);
    EXPECT_EQ(weft_file_pread(fifo.file, buffer, 1, 0), -ESPIPE);
    EXPECT_EQ(weft_file_pwrite(out, "x", 1, 0, NULL), -ESPIPE);
    EXPECT_EQ(weft_file_seek(fifo.file, 0, SEEK_SET), -ESPIPE);
    EXPECT_EQ(weft_file_tell(fifo.file), -ESPIPE);
    EXPECT_EQ(weft_file_close(out), 0);
    EXPECT_EQ(weft_file_read(fifo.file, buffer, sizeof(buffer)), 0);
    EXPECT_EQ(weft_file_close(fifo.file), 0);
    return 0;
}

FILE_TEST(file, a_fifo_is_used_as_a_stream, 1, fifo_body)

static int cancel_fifo_body(void *arg)
{
    struct folder *folder = arg;
    struct fifo fifo = {0};
    struct weft_group group;

    EXPECT_EQ(mkfifo(at(folder, "fifo"), 0600), 0);
    fifo.file = opened(at(folder, "fifo"), O_RDWR);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_fifo, &fifo), 0);
    await_arrivals(&fifo.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(fifo.result, -ECANCELED);
    weft_file_free(fifo.file);
    return 0;
}

FILE_TEST(file, a_read_that_waits_for_a_fifo_is_cancelled, 1, cancel_fifo_body)
