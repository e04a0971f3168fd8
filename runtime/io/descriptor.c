/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a file descriptor, and its end.
 *
 *   I1  One fiber at a time is inside a call on a side (`busy`): a second gets -EBUSY at once, so
 *       two writers cannot mix their bytes.
 *   I2  The fd stays open, and the slot its own, while a fiber is inside: a free() that comes
 *       meanwhile marks the descriptor closed, and the last fiber to leave finishes it.  So a
 *       system call never hits a recycled fd number.
 *   I3  A fiber that merely waits does not count as inside for a free(): it is claimed with -EBADF,
 *       its side is left on its behalf, and it does not touch the descriptor again.
 *   I4  An event between EAGAIN and the wait is held in `ready`.  A stale `ready` costs one early
 *       return, which the interface allows.
 *   I5  `drained` is set only while no event is noted that no wait has taken, and every event
 *       clears it; so a wait that it leads to at once finds the event, or gets it.
 *
 * Any thread may free or release; the rest is for fibers.  It makes none of the I/O itself.
 */
#include "io/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/poller.h"
#include "core/wait.h"
#include "core/worker.h"
#include "io/stream/stream.h"
#include "io/sys.h"

int descriptor_adopt(int fd, enum watch_kind kind, struct weft_descriptor **ret_descriptor)
{
    struct weft_descriptor *descriptor;
    int r = watch_new(fd, &descriptor);
    if (r < 0)
        return r;
    descriptor->kind = kind;
    r = poller_add(worker_poller(worker_self()), descriptor);
    if (r < 0) {
        watch_put(descriptor); /* no event ever bore its tag: the generation may stay */
        return r;
    }
    *ret_descriptor = descriptor;
    return 0;
}

/* Its epoll_fd is -1, from which nothing can be removed (poller_remove). */
int descriptor_adopt_unwatched(int fd, struct weft_descriptor **ret_descriptor)
{
    return watch_new(fd, ret_descriptor);
}

int weft_descriptor_new(int fd, struct weft_descriptor **ret_descriptor)
{
    int flags = sys_get_flags(fd);
    if (flags < 0)
        return flags;
    if (!(flags & O_NONBLOCK)) {
        int r = sys_set_flags(fd, flags | O_NONBLOCK);
        if (r < 0)
            return r;
    }
    int r = descriptor_adopt(fd, WATCH_PLAIN, ret_descriptor);
    if (r < 0)
        sys_set_flags(fd, flags);
    return r;
}

int weft_descriptor_fd(const struct weft_descriptor *descriptor)
{
    return descriptor->fd;
}

/* Whether nobody is left inside a closed descriptor.  Under its lock. */
static bool descriptor_over(const struct weft_descriptor *descriptor)
{
    return descriptor->closed && !descriptor->side[WATCH_READ].busy &&
           !descriptor->side[WATCH_WRITE].busy;
}

/* Nobody is inside any more: a layer says its goodbye and goes. */
static void descriptor_drop_layer(struct weft_descriptor *descriptor)
{
    struct stream_layer *layer = descriptor->layer;
    if (likely(!layer))
        return;
    descriptor->layer = NULL;
    layer->class->finish(layer);
}

static void descriptor_finish(struct weft_descriptor *descriptor)
{
    descriptor_drop_layer(descriptor);
    poller_remove(descriptor);
    close(descriptor->fd);
    watch_put(descriptor);
}

/* End the wait of whoever waits on this side, for a close (I3).  Under the lock. */
static void direction_close(struct watch_direction *direction, struct wait_batch *batch)
{
    struct waiter *waiter = direction->waiter;
    if (!waiter)
        return;
    direction->waiter = NULL;
    waiter->result = -EBADF;
    if (wait_claim(waiter, batch))
        direction->busy = false;
}

void weft_descriptor_free(struct weft_descriptor *descriptor)
{
    if (!descriptor)
        return;
    struct wait_batch batch = {0};
    spin_lock(&descriptor->lock);
    CHECK(!descriptor->closed);
    descriptor->closed = true;
    descriptor->generation++;
    direction_close(&descriptor->side[WATCH_READ], &batch);
    direction_close(&descriptor->side[WATCH_WRITE], &batch);
    bool over = descriptor_over(descriptor);
    spin_unlock(&descriptor->lock);
    if (over)
        descriptor_finish(descriptor);
    wait_batch_wake(&batch);
}

int weft_descriptor_release(struct weft_descriptor *descriptor)
{
    int fd = descriptor->fd;
    poller_remove(descriptor);
    spin_lock(&descriptor->lock);
    CHECK(!descriptor->closed);
    CHECK(!descriptor->side[WATCH_READ].busy && !descriptor->side[WATCH_WRITE].busy);
    descriptor->closed = true;
    descriptor->generation++;
    spin_unlock(&descriptor->lock);
    descriptor_drop_layer(descriptor);
    watch_put(descriptor);
    return fd;
}

int descriptor_enter(struct weft_descriptor *descriptor, enum watch_side side)
{
    struct watch_direction *direction = &descriptor->side[side];
    int r = 0;
    spin_lock(&descriptor->lock);
    if (descriptor->closed)
        r = -EBADF;
    else if (direction->busy)
        r = -EBUSY;
    else
        direction->busy = true;
    spin_unlock(&descriptor->lock);
    return r;
}

void descriptor_leave(struct weft_descriptor *descriptor, enum watch_side side)
{
    spin_lock(&descriptor->lock);
    ASSERT(descriptor->side[side].busy && !descriptor->side[side].waiter);
    descriptor->side[side].busy = false;
    bool over = descriptor_over(descriptor);
    spin_unlock(&descriptor->lock);
    if (over)
        descriptor_finish(descriptor);
}

void descriptor_leave_drained(struct weft_descriptor *descriptor)
{
    struct watch_direction *direction = &descriptor->side[WATCH_READ];
    spin_lock(&descriptor->lock);
    atomic_store_explicit(&direction->drained, !direction->ready && !direction->lasting,
                          memory_order_relaxed); /* I5 */
    spin_unlock(&descriptor->lock);
    descriptor_leave(descriptor, WATCH_READ);
}

/* The first wait for room asks the kernel to report it (poller I2). */
static int descriptor_arm_writable(struct weft_descriptor *descriptor)
{
    spin_lock(&descriptor->lock);
    bool closed = descriptor->closed;
    uint64_t tag = watch_tag(descriptor);
    spin_unlock(&descriptor->lock);
    if (closed)
        return -EBADF;
    int r = poller_arm_writable(descriptor, tag);
    if (r == 0)
        descriptor->writable_armed = true;
    return r;
}

/* Returns: 1 the waiter is linked; 0 ready already; -EBADF closed.  Takes the lock. */
static int direction_link(struct weft_descriptor *descriptor, enum watch_side side,
                          struct waiter *waiter)
{
    struct watch_direction *direction = &descriptor->side[side];
    int r = 1;
    spin_lock(&descriptor->lock);
    ASSERT(direction->busy && !direction->waiter);
    if (descriptor->closed)
        r = -EBADF;
    else if (direction->ready)
        r = 0;
    else
        direction->waiter = waiter;
    direction->ready = false;
    spin_unlock(&descriptor->lock);
    return r;
}

/* Unlink a waiter whose wait ended otherwise (wait.h, W3). */
static void direction_unlink(struct weft_descriptor *descriptor, enum watch_side side,
                             struct waiter *waiter)
{
    struct watch_direction *direction = &descriptor->side[side];
    spin_lock(&descriptor->lock);
    if (direction->waiter == waiter)
        direction->waiter = NULL;
    spin_unlock(&descriptor->lock);
}

int descriptor_await(struct weft_descriptor *descriptor, enum watch_side side, uint64_t deadline_ns)
{
    struct waiter waiter;
    int fd = descriptor->fd; /* once it is linked, it may be closed for us (I3) */
    int r = 0;
    if (side == WATCH_WRITE && !descriptor->writable_armed)
        r = descriptor_arm_writable(descriptor);
    if (r == 0)
        r = wait_prepare(&waiter);
    if (r < 0) {
        descriptor_leave(descriptor, side);
        return r;
    }
    r = direction_link(descriptor, side, &waiter);
    if (r <= 0) {
        wait_abandon(&waiter);
        if (r < 0)
            descriptor_leave(descriptor, side);
        return r;
    }
    wait_describe(&waiter, side == WATCH_READ ? "readable" : "writable",
                  (const void *)(uintptr_t)fd);
    r = wait_suspend(&waiter, deadline_ns);
    if (r == 0)
        return waiter.result; /* -EBADF: free() left for us, and the slot may be another's (I3) */
    direction_unlink(descriptor, side, &waiter);
    descriptor_leave(descriptor, side);
    return r;
}

static int descriptor_wait(struct weft_descriptor *descriptor, enum watch_side side,
                           uint64_t deadline_ns)
{
    int r = descriptor_enter(descriptor, side);
    if (r < 0)
        return r;
    r = descriptor_await(descriptor, side, deadline_ns);
    if (r == 0)
        descriptor_leave(descriptor, side);
    return r;
}

int weft_descriptor_wait_readable(struct weft_descriptor *descriptor, uint64_t deadline_ns)
{
    return descriptor_wait(descriptor, WATCH_READ, deadline_ns);
}

int weft_descriptor_wait_writable(struct weft_descriptor *descriptor, uint64_t deadline_ns)
{
    return descriptor_wait(descriptor, WATCH_WRITE, deadline_ns);
}
