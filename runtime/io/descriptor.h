/* SPDX-License-Identifier: MIT */
/*
 * The inside of weft/descriptor.h, for the modules whose objects are descriptors: streams,
 * listeners, processes, signals.
 *
 * A call on one side of a descriptor is bracketed:
 *
 *     int r = descriptor_enter(descriptor, side);       // -EBUSY: another fiber is inside
 *     if (r < 0)
 *         return r;
 *     while ((n = the system call) == -EAGAIN) {
 *         r = descriptor_await(descriptor, side, deadline_ns);
 *         if (r < 0)
 *             return r;                                 // already left, may even be gone
 *     }
 *     descriptor_leave(descriptor, side);
 */
#ifndef RUNTIME_IO_DESCRIPTOR_H
#define RUNTIME_IO_DESCRIPTOR_H

#include "core/watch.h"
#include "weft/descriptor.h"

/** As weft_descriptor_new for an fd that is O_NONBLOCK already and known to suit epoll. */
int descriptor_adopt(int fd, enum watch_kind kind, struct weft_descriptor **ret_descriptor);

/** As descriptor_adopt for an fd that epoll refuses: nobody may await its readiness. */
int descriptor_adopt_unwatched(int fd, struct weft_descriptor **ret_descriptor);

/** Begin a call on one side.  Errors: -EBUSY another fiber is inside, -EBADF closed. */
int descriptor_enter(struct weft_descriptor *descriptor, enum watch_side side);

/** End it.  The last one to leave a closed descriptor closes its fd. */
void descriptor_leave(struct weft_descriptor *descriptor, enum watch_side side);

/** As descriptor_leave of WATCH_READ, after a read that has emptied the fd: unless an event has
 * come meanwhile, the next read need not try before it waits. */
void descriptor_leave_drained(struct weft_descriptor *descriptor);

/** Whether a read would find nothing: a hint, but one that descriptor_await makes good.  Only
 * between enter and leave. */
static inline bool descriptor_is_drained(struct weft_descriptor *descriptor)
{
    return atomic_load_explicit(&descriptor->side[WATCH_READ].drained, memory_order_relaxed);
}

/**
 * Wait for readiness, after the system call said -EAGAIN.  Only between enter and leave; on an
 * error the side has been left, and the descriptor must not be touched.
 * Errors: -EBADF closed meanwhile, -ETIMEDOUT, -ECANCELED.
 */
int descriptor_await(struct weft_descriptor *descriptor, enum watch_side side,
                     uint64_t deadline_ns);

#endif
