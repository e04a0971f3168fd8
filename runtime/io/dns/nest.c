/* SPDX-License-Identifier: MIT */
/*
 * A private epoll set inside the worker's: readable when one of its own sockets is ready.
 *
 *   I1  Its sockets are watched level-triggered, the set itself edge-triggered: whoever was told
 *       looks until there is nothing more, and only then waits again.
 *
 * For the fiber that owns it.
 */
#include "io/dns/nest.h"

#include <errno.h>
#include <unistd.h>

#include "weft/fiber.h"
#include "weft/time.h"

/* Not inlined, as everything that reads errno: see io/sys.h. */
static __attribute__((noinline)) int epoll_new(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int nest_open(struct nest *nest)
{
    int fd = epoll_new();
    if (fd < 0)
        return fd;
    int r = weft_descriptor_new(fd, &nest->descriptor);
    if (r < 0) {
        close(fd);
        return r;
    }
    nest->fd = fd;
    return 0;
}

void nest_close(struct nest *nest)
{
    weft_descriptor_free(nest->descriptor);
}

static __attribute__((noinline)) int control(int epoll_fd, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll_fd, operation, fd, &event) < 0 ? -errno : 0;
}

int nest_watch(struct nest *nest, int fd, uint32_t events)
{
    if (events == 0) {
        control(nest->fd, EPOLL_CTL_DEL, fd, 0);
        return 0;
    }
    int r = control(nest->fd, EPOLL_CTL_MOD, fd, events);
    return r == -ENOENT ? control(nest->fd, EPOLL_CTL_ADD, fd, events) : r;
}

int nest_wait(struct nest *nest, uint64_t until_ns, uint64_t deadline_ns)
{
    uint64_t end_ns = until_ns < deadline_ns ? until_ns : deadline_ns;
    int r = weft_descriptor_wait_readable(nest->descriptor, end_ns);
    if (r != -ETIMEDOUT)
        return r;
    r = weft_check_cancel(); /* it may be the scope's */
    if (r < 0)
        return r;
    return weft_now_ns() >= deadline_ns ? -ETIMEDOUT : -EAGAIN;
}

static __attribute__((noinline)) int look(int epoll_fd, struct epoll_event *events)
{
    int n;
    do
        n = epoll_wait(epoll_fd, events, NEST_EVENTS, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? 0 : n;
}

int nest_look(struct nest *nest, struct epoll_event events[NEST_EVENTS])
{
    return look(nest->fd, events);
}
