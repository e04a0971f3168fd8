/* SPDX-License-Identifier: MIT */
/*
 * faults_io: descriptors, files, sockets, threads; see faults.h.  What glibc calls within itself
 * (stdio, getaddrinfo) does not pass here.
 */
#include "support/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

/* The next one of that name, looked up once.  Two threads that look find the same. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static _Atomic(__typeof__(&(name))) known;                                                 \
        __typeof__(&(name)) real = atomic_load_explicit(&known, memory_order_relaxed);             \
        if (!real) {                                                                               \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                                             \
            atomic_store_explicit(&known, real, memory_order_relaxed);                             \
        }                                                                                          \
        real;                                                                                      \
    })

/* ---- descriptors --------------------------------------------------------------------------- */

static bool refuse_fd(void)
{
    return faults_hit_errno(FAULTS_FD, EMFILE);
}

#define MAKES_FD(name, parameters, ...)                                                            \
    int name parameters                                                                            \
    {                                                                                              \
        return refuse_fd() ? -1 : REAL(name)(__VA_ARGS__);                                         \
    }

MAKES_FD(socket, (int domain, int type, int protocol), domain, type, protocol)
MAKES_FD(socketpair, (int domain, int type, int protocol, int fds[2]), domain, type, protocol, fds)
MAKES_FD(pipe2, (int fds[2], int flags), fds, flags)
MAKES_FD(pipe, (int fds[2]), fds)
MAKES_FD(eventfd, (unsigned count, int flags), count, flags)
MAKES_FD(timerfd_create, (clockid_t clock, int flags), clock, flags)
MAKES_FD(signalfd, (int fd, const sigset_t *mask, int flags), fd, mask, flags)
MAKES_FD(epoll_create1, (int flags), flags)
MAKES_FD(memfd_create, (const char *name, unsigned flags), name, flags)
MAKES_FD(pidfd_open, (pid_t pid, unsigned flags), pid, flags)
MAKES_FD(dup, (int fd), fd)

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    return refuse_fd() ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define OPENS(name, folder, ...)                                                                   \
    int name(__VA_ARGS__, int flags, ...)                                                          \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        bool makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;                        \
        mode_t mode = makes ? va_arg(list, mode_t) : 0;                                            \
        va_end(list);                                                                              \
        return open_at(folder, path, flags, mode);                                                 \
    }

OPENS(open, AT_FDCWD, const char *path)
OPENS(open64, AT_FDCWD, const char *path)
OPENS(openat, folder, int folder, const char *path)
OPENS(openat64, folder, int folder, const char *path)

/* What _FORTIFY_SOURCE makes of them. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}
int __openat_2(int folder, const char *path, int flags)
{
    return open_at(folder, path, flags, 0);
}

FILE *fopen(const char *path, const char *mode)
{
    return refuse_fd() ? NULL : REAL(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return refuse_fd() ? NULL : REAL(fopen64)(path, mode);
}

static int control(int fd, int command, void *argument)
{
    bool makes = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
    return makes && refuse_fd() ? -1 : (int)syscall(SYS_fcntl, fd, command, argument);
}

#define CONTROLS(name)                                                                             \
    int name(int fd, int command, ...)                                                             \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, command);                                                                   \
        void *argument = va_arg(list, void *);                                                     \
        va_end(list);                                                                              \
        return control(fd, command, argument);                                                     \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)

/* ---- events, connections, threads ---------------------------------------------------------- */

static bool refuse_watch(int operation)
{
    return operation != EPOLL_CTL_DEL && faults_hit_errno(FAULTS_EPOLL, ENOMEM);
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    return refuse_watch(operation) ? -1 : REAL(epoll_ctl)(epoll_fd, operation, fd, event);
}

/* What a caller of accept(2) must live with: some are of the connection, some of the host. */
static bool refuse_connection(void)
{
    static const int errors[] = {ECONNABORTED, EMFILE, ENFILE, ENOBUFS, EPROTO};
    static atomic_uint turn;
    if (!faults_hit(FAULTS_ACCEPT))
        return false;
    errno = errors[atomic_fetch_add(&turn, 1) % (sizeof errors / sizeof errors[0])];
    return true;
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return refuse_connection() ? -1 : REAL(accept4)(fd, address, size, flags);
}

int accept(int fd, struct sockaddr *address, socklen_t *size)
{
    return refuse_connection() ? -1 : REAL(accept)(fd, address, size);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    return faults_hit(FAULTS_THREAD) ? EAGAIN : REAL(pthread_create)(thread, attr, start, arg);
}

int io_uring_queue_init_params(unsigned entries, void *ring, void *params);
int io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
    return faults_hit(FAULTS_RING) ? -ENOSYS
                                   : REAL(io_uring_queue_init_params)(entries, ring, params);
}

/* Those that glibc has no function for. */
long syscall(long number, ...)
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if ((number == SYS_openat2 && refuse_fd()) ||
        (number == SYS_epoll_ctl && refuse_watch((int)a[1])) ||
        (number == SYS_process_madvise && faults_hit_errno(FAULTS_MAP, ENOMEM)))
        return -1;
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- bytes --------------------------------------------------------------------------------- */

static bool is_file(int fd)
{
    struct stat stat;
    int before = errno;
    bool yes = fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
    errno = before;
    return yes;
}

static bool no_space(int fd)
{
    return is_file(fd) && faults_hit_errno(FAULTS_SPACE, ENOSPC);
}

static bool no_read(int fd)
{
    return is_file(fd) && faults_hit_errno(FAULTS_READ, EIO);
}

/* As much of it as the call is allowed to do.  Of files only: of a socket or pipe a piece that is
 * shorter than asked for says that there is no more (epoll(7)), and the runtime relies on it. */
static size_t shortened(int fd, size_t size)
{
    return size > 1 && is_file(fd) && faults_hit(FAULTS_SHORT) ? size / 2 : size;
}

/* The same of several pieces: half of the first. */
static const struct iovec *shortened_pieces(int fd, const struct iovec *pieces, int *count,
                                            struct iovec *half)
{
    if (*count < 1 || pieces[0].iov_len < 2 || !is_file(fd) || !faults_hit(FAULTS_SHORT))
        return pieces;
    *half = (struct iovec){pieces[0].iov_base, pieces[0].iov_len / 2};
    *count = 1;
    return half;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return no_space(fd) ? -1 : REAL(write)(fd, data, shortened(fd, size));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return no_space(fd) ? -1 : REAL(pwrite)(fd, data, shortened(fd, size), at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return no_space(fd) ? -1 : REAL(pwrite64)(fd, data, shortened(fd, size), at);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    struct iovec half;
    pieces = shortened_pieces(fd, pieces, &count, &half);
    return no_space(fd) ? -1 : REAL(writev)(fd, pieces, count);
}

ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t at, int flags)
{
    struct iovec half;
    pieces = shortened_pieces(fd, pieces, &count, &half);
    return no_space(fd) ? -1 : REAL(pwritev2)(fd, pieces, count, at, flags);
}

ssize_t read(int fd, void *data, size_t size)
{
    return no_read(fd) ? -1 : REAL(read)(fd, data, shortened(fd, size));
}

ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    return no_read(fd) ? -1 : REAL(pread)(fd, data, shortened(fd, size), at);
}

ssize_t pread64(int fd, void *data, size_t size, off_t at)
{
    return no_read(fd) ? -1 : REAL(pread64)(fd, data, shortened(fd, size), at);
}

ssize_t preadv2(int fd, const struct iovec *pieces, int count, off_t at, int flags)
{
    struct iovec half;
    pieces = shortened_pieces(fd, pieces, &count, &half);
    return no_read(fd) ? -1 : REAL(preadv2)(fd, pieces, count, at, flags);
}

int fsync(int fd)
{
    return faults_hit_errno(FAULTS_SYNC, EIO) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return faults_hit_errno(FAULTS_SYNC, EIO) ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t size)
{
    return no_space(fd) ? -1 : REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off_t size)
{
    return no_space(fd) ? -1 : REAL(ftruncate64)(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    return no_space(fd) ? ENOSPC : REAL(posix_fallocate)(fd, at, size);
}

int posix_fallocate64(int fd, off_t at, off_t size)
{
    return no_space(fd) ? ENOSPC : REAL(posix_fallocate64)(fd, at, size);
}
