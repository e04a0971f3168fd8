/* SPDX-License-Identifier: MIT */
/*
 * See loop.h.
 *
 *   R1  The reserve is a fixed number of blocks of malloc's, so that what is taken from it can be
 *       given to realloc() and free() as any other.
 *   R2  It stays for the next loop; a program that has none any more keeps its 64 KiB.
 */
#include "core/loop.h"

#include <errno.h>
#include <ev.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base.h"

enum {
    BLOCKS = 32,       /* growths of arrays in one making of a loop: 20, so far */
    BLOCK_SIZE = 2048, /* the loop itself is 1.3 KiB */
    LARGE_BLOCKS = 4,  /* for the array with an entry a descriptor … */
    ENTRY_SIZE = 16,   /* … of this size, which doubles its length, and is rounded to pages */
    PAGE = 4096,
    FDS_AHEAD = 64, /* libev opens two, and other threads may at the same time */
    EVENTS = 30     /* pending at once in one loop, of each priority */
};

struct block {
    void *memory;
    size_t size;
};

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER; /* loop.h, A1 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   /* guards what follows */
static struct block reserve[BLOCKS];
static bool installed;

/* The smallest block that is large enough; its place is empty then. */
static void *take(size_t size)
{
    struct block *best = NULL;
    pthread_mutex_lock(&lock);
    for (struct block *block = reserve; block < reserve + BLOCKS; block++)
        if (block->memory && block->size >= size && (!best || block->size < best->size))
            best = block;
    void *memory = best ? best->memory : NULL;
    if (best)
        *best = (struct block){0};
    pthread_mutex_unlock(&lock);
    return memory;
}

/* What libev calls; see ev_set_allocator(). */
static void *allocate(void *old, long size)
{
    if (size == 0) {
        free(old);
        return NULL;
    }
    void *memory = realloc(old, (size_t)size);
    if (memory)
        return memory;
    memory = take((size_t)size);
    if (memory && old) {
        size_t had = malloc_usable_size(old);
        memcpy(memory, old, had < (size_t)size ? had : (size_t)size);
        free(old);
    }
    return memory;
}

static bool fill(struct block *block, size_t size)
{
    if (block->memory && block->size >= size)
        return true;
    void *memory = malloc(size);
    if (!memory)
        return false;
    free(block->memory);
    *block = (struct block){memory, size};
    return true;
}

void loop_lock(void)
{
    pthread_mutex_lock(&making);
}

void loop_unlock(void)
{
    pthread_mutex_unlock(&making);
}

/* Of loop_start_wake(), on this thread; not on fibers. */
static __thread jmp_buf *way_out;
static __thread int left_with; /* the errno */

/* A4.  libev would try again at once, and for ever. */
static void on_error(const char *message)
{
    left_with = errno;
    if (way_out)
        longjmp(*way_out, 1);
    perror(message);
    abort();
}

static void install(void)
{
    if (installed)
        return;
    ev_set_allocator(allocate);
    ev_set_syserr_cb(on_error);
    installed = true;
}

int loop_reserve(int fd)
{
    size_t large = 2 * ((size_t)fd + 1) * ENTRY_SIZE + (size_t)2 * PAGE;
    bool full = true;
    pthread_mutex_lock(&lock);
    install();
    for (int i = 0; full && i < BLOCKS; i++)
        full = fill(&reserve[i], i < LARGE_BLOCKS ? large : BLOCK_SIZE);
    pthread_mutex_unlock(&lock);
    return full ? 0 : -ENOMEM;
}

static void ignore(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
}

static void feed(struct ev_loop *loop, struct ev_prepare *watcher, int priority)
{
    ev_prepare_init(watcher, ignore);
    ev_set_priority(watcher, priority);
    ev_feed_event(loop, watcher, EV_CUSTOM);
}

/* A2.  libev wakes itself by a watcher of the highest priority; all of ours have the usual one. */
static void warm(struct ev_loop *loop)
{
    struct ev_prepare watchers[2 * EVENTS];
    for (int i = 0; i < EVENTS; i++) {
        feed(loop, &watchers[2 * i], 0);
        feed(loop, &watchers[2 * i + 1], EV_MAXPRI);
    }
    ev_invoke_pending(loop);
}

int loop_open(int fd, struct ev_loop **ret_loop)
{
    struct ev_loop *loop;
    int r = loop_reserve(fd + FDS_AHEAD);
    if (r < 0)
        return r;
    errno = 0;
    loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
    if (!loop)
        return errno ? -errno : -ENOMEM; /* the first thing that it does is to ask for its set */
    warm(loop);
    *ret_loop = loop;
    return 0;
}

/* What libev says of a watcher that was refused. */
static void note_refusal(struct ev_loop *loop)
{
    if (ev_pending_count(loop) > 0)
        *(bool *)ev_userdata(loop) = true;
    ev_invoke_pending(loop);
}

/* libev has changed nothing yet where it calls on_error(). */
int loop_start_wake(struct ev_loop *loop, struct ev_async *wake)
{
    jmp_buf here;
    left_with = 0;
    if (setjmp(here) == 0) {
        way_out = &here;
        ev_async_start(loop, wake);
    }
    way_out = NULL;
    return -left_with;
}

/* libev forgets to close what it wakes itself with where the watcher of that was refused: it is
 * started again. */
static void start_again(struct ev_loop *loop)
{
    struct ev_async any;
    ev_async_init(&any, NULL);
    if (loop_start_wake(loop, &any) == 0)
        ev_async_stop(loop, &any);
}

int loop_settle(struct ev_loop *loop)
{
    bool refused = false;
    ev_set_userdata(loop, &refused);
    ev_set_invoke_pending_cb(loop, note_refusal);
    ev_run(loop, EVRUN_NOWAIT);
    ev_set_invoke_pending_cb(loop, ev_invoke_pending);
    ev_set_userdata(loop, NULL);
    if (!refused)
        return 0;
    start_again(loop);
    return -ENOMEM;
}
