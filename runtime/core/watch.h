/* SPDX-License-Identifier: MIT */
/*
 * A watched file descriptor: what a poller delivers events to, and what fibers wait on.  This is
 * `struct weft_descriptor`; the waiting side is io/descriptor.c.
 *
 * Watches live in slots that are never unmapped (type-stable): an event names its slot and the
 * slot's generation, so one that was fetched before the descriptor was closed finds valid memory,
 * another generation, and is dropped.
 */
#ifndef RUNTIME_CORE_WATCH_H
#define RUNTIME_CORE_WATCH_H

#include <stdatomic.h>

#include "core/base.h"
#include "core/spin.h"

struct stream_layer;
struct waiter;
struct wait_batch;

enum watch_side { WATCH_READ, WATCH_WRITE, WATCH_SIDES };

/* What the fd is, for the calls that differ. */
enum watch_kind {
    WATCH_PLAIN,  /* pipe, terminal, pidfd, signalfd...: read and write */
    WATCH_SOCKET, /* recv and send */
    WATCH_TCP     /* the same, and a read that is not full has emptied it (stream.c, I4) */
};

/* One side, all of it guarded by the watch's lock. */
struct watch_direction {
    struct waiter *waiter; /* the fiber that waits, or NULL */
    bool ready;            /* an event came while nobody waited: the next wait returns at once */
    bool busy;             /* a fiber is inside a call on this side */
    bool lasting;          /* an event told of an end, an error or urgent data: there may be more to
                              read without another event */
    atomic_bool drained;   /* the last read has emptied the socket, and no event has come since;
                              atomic: a hint outside the lock, which direction_link looks behind */
};

struct weft_descriptor {
    struct spin lock;
    uint32_t index;      /* constant */
    uint32_t generation; /* guarded by lock; changed when the descriptor is closed */
    int fd;              /* constant from watch_new to the last user's leaving */
    int epoll_fd;        /* of the home worker; constant as fd */
    uint8_t kind;        /* enum watch_kind; set before the descriptor is shared */
    bool closed;         /* guarded by lock; the last fiber inside closes the fd */
    bool writable_armed; /* EPOLLOUT is asked for; only the fiber busy on WATCH_WRITE */
    struct watch_direction side[WATCH_SIDES];
    union {
        struct stream_layer
            *layer; /* TLS (io/stream/stream.h); NULL: plain.  Whoever is inside a side
                     * reads it; whoever is inside both, or is last, writes it */
        struct weft_descriptor *next_free; /* of a free slot; guarded by the pool's lock */
    };
};

_Static_assert(sizeof(struct weft_descriptor) == CACHE_LINE, "a slot is one cache line");

/** A slot for `fd`, open and idle.  Any thread.  Errors: -ENOMEM, -ENFILE no slot number left. */
int watch_new(int fd, struct weft_descriptor **ret_watch);

/** Give the slot back; its generation must have changed since watch_new.  Any thread. */
void watch_put(struct weft_descriptor *watch);

/** The event data that names this watch as it is now.  Under its lock, or before it is shared. */
uint64_t watch_tag(const struct weft_descriptor *watch);

/**
 * Deliver epoll `events` to the watch that `tag` names: claim the fibers that wait into `batch`, or
 * note the readiness.  Any thread.  Returns: false when the watch was closed meanwhile.
 */
bool watch_deliver(uint64_t tag, uint32_t events, struct wait_batch *batch);

/** Watches in use in this process: what tests count to find a leak.  Any thread. */
unsigned watch_count(void);

#endif
