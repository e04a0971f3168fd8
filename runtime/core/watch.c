/* SPDX-License-Identifier: MIT */
/*
 * The pool of watches, and the delivery of events to them.
 *
 *   I1  A slot's memory is never given back, so a tag of any age may be looked up.
 *   I2  A slot's generation changes when its descriptor is closed and at no other time: a tag
 *       whose generation is the slot's names the descriptor that is open there now.
 *   I3  An event that no fiber takes is noted in `ready`, also when the waiting fiber lost interest
 *       at that very moment: the edge comes only once, so nothing may drop it.
 *
 * Called by the poller (deliver) and by io/descriptor.c (new, put).  It makes no system call but
 * the allocator's.
 */
#include "core/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "core/wait.h"

enum {
    CHUNK_SHIFT = 8,
    CHUNK_SLOTS = 1 << CHUNK_SHIFT,
    CHUNKS = 8192, /* 2 M descriptors: twice the kernel's default fs.nr_open */
};

enum {
    LASTING_EVENTS = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR,
    READ_EVENTS = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR,
    WRITE_EVENTS = EPOLLOUT | EPOLLHUP | EPOLLERR,
};

static struct {
    struct spin lock;
    struct weft_descriptor *free; /* guarded by lock */
    unsigned chunk_count;         /* guarded by lock */
    atomic_uint used;             /* atomic: a counter, relaxed */
    /* atomic: release in pool_publish pairs with acquire in watch_at */
    _Atomic(struct weft_descriptor *) chunks[CHUNKS];
} pool;

static struct weft_descriptor *watch_at(uint32_t index)
{
    struct weft_descriptor *chunk =
        atomic_load_explicit(&pool.chunks[index >> CHUNK_SHIFT], memory_order_acquire);
    return &chunk[index & (CHUNK_SLOTS - 1)];
}

/* Number the chunk's slots and put them on the free list.  False: the numbers are used up. */
static bool pool_publish(struct weft_descriptor *chunk)
{
    spin_lock(&pool.lock);
    unsigned number = pool.chunk_count;
    if (number == CHUNKS) {
        spin_unlock(&pool.lock);
        return false;
    }
    pool.chunk_count++;
    for (unsigned i = 0; i < CHUNK_SLOTS; i++) {
        chunk[i].index = (number << CHUNK_SHIFT) + i;
        chunk[i].next_free = i + 1 < CHUNK_SLOTS ? &chunk[i + 1] : pool.free;
    }
    pool.free = chunk;
    atomic_store_explicit(&pool.chunks[number], chunk, memory_order_release);
    spin_unlock(&pool.lock);
    return true;
}

static int pool_grow(void)
{
    size_t size = CHUNK_SLOTS * sizeof(struct weft_descriptor);
    struct weft_descriptor *chunk = aligned_alloc(CACHE_LINE, size);
    if (!chunk)
        return -ENOMEM;
    memset(chunk, 0, size);
    if (pool_publish(chunk))
        return 0;
    free(chunk);
    return -ENFILE;
}

static struct weft_descriptor *pool_take(void)
{
    spin_lock(&pool.lock);
    struct weft_descriptor *watch = pool.free;
    if (watch)
        pool.free = watch->next_free;
    spin_unlock(&pool.lock);
    return watch;
}

int watch_new(int fd, struct weft_descriptor **ret_watch)
{
    struct weft_descriptor *watch;
    while (!(watch = pool_take())) {
        int r = pool_grow();
        if (r < 0)
            return r;
    }
    spin_lock(&watch->lock); /* an event of the former generation may be reading it (I1) */
    watch->fd = fd;
    watch->epoll_fd = -1;
    watch->kind = WATCH_PLAIN;
    watch->closed = false;
    watch->writable_armed = false;
    watch->layer = NULL;
    memset(watch->side, 0, sizeof(watch->side));
    spin_unlock(&watch->lock);
    atomic_fetch_add_explicit(&pool.used, 1, memory_order_relaxed);
    *ret_watch = watch;
    return 0;
}

void watch_put(struct weft_descriptor *watch)
{
    atomic_fetch_sub_explicit(&pool.used, 1, memory_order_relaxed);
    spin_lock(&pool.lock);
    watch->next_free = pool.free;
    pool.free = watch;
    spin_unlock(&pool.lock);
}

uint64_t watch_tag(const struct weft_descriptor *watch)
{
    return (uint64_t)watch->generation << 32 | watch->index;
}

/* Under the watch's lock. */
static void direction_deliver(struct watch_direction *direction, uint32_t events,
                              struct wait_batch *batch)
{
    struct waiter *waiter = direction->waiter;
    if (events & LASTING_EVENTS)
        direction->lasting = true;
    atomic_store_explicit(&direction->drained, false, memory_order_relaxed);
    direction->waiter = NULL;
    if (waiter) {
        waiter->result = 0;
        if (wait_claim(waiter, batch))
            return;
    }
    direction->ready = true; /* I3 */
}

bool watch_deliver(uint64_t tag, uint32_t events, struct wait_batch *batch)
{
    struct weft_descriptor *watch = watch_at((uint32_t)tag);
    spin_lock(&watch->lock);
    bool current = watch->generation == (uint32_t)(tag >> 32);
    if (current && events & READ_EVENTS)
        direction_deliver(&watch->side[WATCH_READ], events, batch);
    if (current && events & WRITE_EVENTS)
        direction_deliver(&watch->side[WATCH_WRITE], events, batch);
    spin_unlock(&watch->lock);
    return current;
}

unsigned watch_count(void)
{
    return atomic_load_explicit(&pool.used, memory_order_relaxed);
}
