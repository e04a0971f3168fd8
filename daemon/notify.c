/* SPDX-License-Identifier: MIT */
/*
 * notify: see notify.h.  libsystemd does the talking; without NOTIFY_SOCKET every send is a no-op.
 *
 * I1  The variables of socket activation and of the watchdog are taken out of the environment when
 *     they are read.  NOTIFY_SOCKET stays; programs get an allow-list (exec.env), so neither
 *     reaches a job.
 */
#include "daemon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

static int set_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int notify_inherited_socket(struct problem *problem, int *ret_fd)
{
    int count = sd_listen_fds(1);
    if (count < 0)
        return problem_set(problem, count, "LISTEN_FDS: %s", strerror(-count));
    if (count == 0)
        return 0;
    if (count > 1)
        return problem_set(problem, -EINVAL,
                           "%d sockets were passed in, one is wanted: a single ListenStream= in "
                           "the socket unit",
                           count);
    int fd = SD_LISTEN_FDS_START;
    if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0)
        return problem_set(problem, -EINVAL,
                           "the socket passed in is not a listening Unix stream socket");
    int err = set_flags(fd);
    if (err)
        return problem_set(problem, err, "the socket passed in: %s", strerror(-err));
    *ret_fd = fd;
    return 1;
}

void notify_ready(void)
{
    sd_notify(0, "READY=1");
}

void notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
               (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void notify_extend(uint64_t ns)
{
    sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, ns / 1000);
}

void notify_status(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text[strcspn(text, "\n")] = '\0'; /* a newline would begin another variable */
    sd_notifyf(0, "STATUS=%s", text);
}

static uint64_t watchdog_ns;

static void read_watchdog(void)
{
    uint64_t usec;
    if (sd_watchdog_enabled(1, &usec) > 0)
        watchdog_ns = usec > UINT64_MAX / 1000 ? UINT64_MAX : usec * 1000;
}

uint64_t notify_watchdog_ns(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* reading it removes it */
    pthread_once(&once, read_watchdog);
    return watchdog_ns;
}

void notify_watchdog(void)
{
    sd_notify(0, "WATCHDOG=1");
}
