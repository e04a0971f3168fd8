/* SPDX-License-Identifier: MIT */
/*
 * Descriptor events of one worker: an edge-triggered epoll that is itself one ev_io in the worker's
 * libev loop.  A descriptor is added once, to the epoll of its home worker, and needs no system
 * call per event or per wait; any thread may remove it.
 */
#ifndef RUNTIME_CORE_POLLER_H
#define RUNTIME_CORE_POLLER_H

#include <stdint.h>

struct weft_descriptor;
struct worker;

struct poller {
    int epoll_fd;
};

/** Errors: epoll_create1(2)'s. */
int poller_init(struct poller *poller);
void poller_destroy(struct poller *poller);

/** Watch the descriptor here from now on.  Any thread.  Errors: epoll_ctl(2)'s. */
int poller_add(struct poller *poller, struct weft_descriptor *watch);

/** Ask for room to write too; `tag` is the watch's, read while it was not closed.  Only the fiber
 * busy on the write side.  Errors: epoll_ctl(2)'s. */
int poller_arm_writable(struct weft_descriptor *watch, uint64_t tag);

/** Watch it no more; before its fd is closed.  Any thread. */
void poller_remove(struct weft_descriptor *watch);

/**
 * Fetch what is ready, without blocking, and wake the fibers that wait for it.
 * Owner's thread only, on the scheduler's stack.  Returns: events delivered.
 */
unsigned poller_dispatch(struct poller *poller, struct worker *worker);

#endif
