/* SPDX-License-Identifier: MIT */
/*
 * The epoll set of one worker.
 *
 *   I1  A descriptor is added once, edge-triggered, and removed before it is closed: a duplicate
 *       of its open file that lives on elsewhere (in a child) sends no events here.
 *   I2  EPOLLOUT is asked for only from the first wait for room on.  Most descriptors never fill
 *       their buffer, and a Unix socket reports room each time its peer reads: that would wake an
 *       idle worker once per message for nothing.
 *   I3  The kernel checks readiness when a descriptor is added or armed, so readiness that came
 *       before is reported too.
 *
 * poller_dispatch belongs to the owner's thread; adding, arming and removing to any thread.
 */
#include "core/poller.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/wait.h"
#include "core/watch.h"

enum {
    BATCH_EVENTS = 256, /* a fuller set keeps the worker's ev_io readable for the next turn */
    BASE_EVENTS = EPOLLIN | EPOLLPRI | EPOLLRDHUP,
};

/* Not inlined: errno's address must not be cached across a suspension by the caller. */
static __attribute__((noinline)) int epoll_set(int epoll_fd, int operation, int fd, uint32_t events,
                                               uint64_t tag)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.u64 = tag};
    return epoll_ctl(epoll_fd, operation, fd, &event) < 0 ? -errno : 0;
}

int poller_init(struct poller *poller)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return -errno;
    poller->epoll_fd = fd;
    return 0;
}

void poller_destroy(struct poller *poller)
{
    close(poller->epoll_fd);
    poller->epoll_fd = -1;
}

int poller_add(struct poller *poller, struct weft_descriptor *watch)
{
    watch->epoll_fd = poller->epoll_fd;
    return epoll_set(watch->epoll_fd, EPOLL_CTL_ADD, watch->fd, BASE_EVENTS, watch_tag(watch));
}

int poller_arm_writable(struct weft_descriptor *watch, uint64_t tag)
{
    return epoll_set(watch->epoll_fd, EPOLL_CTL_MOD, watch->fd, BASE_EVENTS | EPOLLOUT, tag);
}

void poller_remove(struct weft_descriptor *watch)
{
    epoll_set(watch->epoll_fd, EPOLL_CTL_DEL, watch->fd, 0, 0);
}

unsigned poller_dispatch(struct poller *poller, struct worker *worker)
{
    struct epoll_event events[BATCH_EVENTS];
    struct wait_batch batch = {0};
    unsigned delivered = 0;
    int count = epoll_wait(poller->epoll_fd, events, BATCH_EVENTS, 0);
    for (int i = 0; i < count; i++)
        delivered += watch_deliver(events[i].data.u64, events[i].events, &batch);
    wait_batch_wake_on(worker, &batch);
    return delivered;
}
