/* SPDX-License-Identifier: MIT */
/*
 * Unix signals by signalfd.
 *
 *   I1  Workers block every signal but the fatal ones, so a signal of the set is pending on the
 *       process until it is read here, provided that no other thread takes it: the program's own
 *       threads must block it too, which only the program can see to.
 *   I2  A signal that was sent to one thread (raise, pthread_kill) is not the process's and may
 *       never be seen here.
 *
 * For fibers.  It installs no handler and changes no mask.
 */
#include "weft/signal.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "io/descriptor.h"
#include "io/sys.h"
#include "weft/fiber.h"

/* Not inlined: see io/sys.h. */
static __attribute__((noinline)) int open_signalfd(const sigset_t *set)
{
    int fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int check_blocked(const sigset_t *set)
{
    sigset_t blocked;
    int r = pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (r != 0)
        return -r;
    for (int number = 1; number <= SIGRTMAX; number++)
        if (sigismember(set, number) == 1 && sigismember(&blocked, number) != 1)
            return -EINVAL;
    return 0;
}

/* A set of signals is its descriptor: struct weft_signals is never defined. */
static struct weft_descriptor *descriptor_of(struct weft_signals *signals)
{
    return (struct weft_descriptor *)(void *)signals;
}

int weft_signals_new(const sigset_t *set, struct weft_signals **ret_signals)
{
    int r = check_blocked(set);
    if (r < 0)
        return r;
    int fd = open_signalfd(set);
    if (fd < 0)
        return fd;
    struct weft_descriptor *descriptor;
    r = descriptor_adopt(fd, WATCH_PLAIN, &descriptor);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_signals = (struct weft_signals *)(void *)descriptor;
    return 0;
}

int weft_signals_wait(struct weft_signals *signals, uint64_t deadline_ns)
{
    struct weft_descriptor *descriptor = descriptor_of(signals);
    struct signalfd_siginfo info;
    int r = weft_check_cancel();
    if (r == 0)
        r = descriptor_enter(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    ssize_t n;
    while ((n = sys_read(descriptor->fd, &info, sizeof(info))) == -EAGAIN) {
        r = descriptor_await(descriptor, WATCH_READ, deadline_ns);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    return n < 0 ? (int)n : (int)info.ssi_signo;
}

void weft_signals_free(struct weft_signals *signals)
{
    weft_descriptor_free(descriptor_of(signals));
}
