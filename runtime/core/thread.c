/* SPDX-License-Identifier: MIT */
/*
 * The threads of a runtime: starting them, where spare ones wait, and their end.  The invariants
 * D1 to D3 stand in thread.h; how a worker changes hands is handoff.c.
 *
 *   I1  A thread waits here without a worker only.  It is on `spares` unless it is reserved, and a
 *       reserved thread is given a worker or released.
 *   I2  An extra thread's struct is its own: it frees it when it leaves, after it took itself off
 *       every list under the lock.
 */
#include "core/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/handoff.h"
#include "core/hooks.h"
#include "core/overflow.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "weft/time.h"

/* A thread of its own costs tens of microseconds, so it is kept for the next need. */
#define SPARE_IDLE_NS (5 * WEFT_SECOND)

static void blocked_signals(sigset_t *ret_set)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};

    sigfillset(ret_set);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        sigdelset(ret_set, fatal[i]);
    sigdelset(ret_set, hook_signal());
}

static void monotonic_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* --- the thread */

/* Returns: false: it has been idle for long.  Under the lock, which it drops while it waits. */
static bool spare_wait(struct threads *threads, struct thread *thread)
{
    uint64_t until_ns = weft_deadline_after(SPARE_IDLE_NS);
    struct timespec until = {.tv_sec = (time_t)(until_ns / WEFT_SECOND),
                             .tv_nsec = (long)(until_ns % WEFT_SECOND)};

    if (!thread->extra) { /* D2 */
        pthread_cond_wait(&thread->wake, &threads->lock);
        return true;
    }
    return pthread_cond_timedwait(&thread->wake, &threads->lock, &until) != ETIMEDOUT;
}

/* Wait for a worker (I1).  False: there will be none, and the thread is on no list. */
static bool await_worker(struct threads *threads, struct thread *thread)
{
    bool stays = true;

    pthread_mutex_lock(&threads->lock);
    /* One that was started, reserved and released before it came here is on the list already. */
    if (!thread->worker && !thread->reserved && !list_linked(&thread->link))
        list_prepend(&threads->spares, &thread->link);
    while (!thread->worker && !threads->closed && (stays || thread->reserved))
        stays = spare_wait(threads, thread);
    if (!thread->worker)
        list_remove(&thread->link);
    pthread_mutex_unlock(&threads->lock);
    return thread->worker != NULL;
}

/* D3, I2. */
static void extra_leave(struct threads *threads, struct thread *thread)
{
    pthread_t leaver;
    bool join;

    pthread_mutex_lock(&threads->lock);
    join = threads->has_leaver;
    leaver = threads->leaver;
    threads->leaver = pthread_self();
    threads->has_leaver = true;
    if (--threads->extra == 0)
        pthread_cond_signal(&threads->fewer);
    pthread_mutex_unlock(&threads->lock);
    if (join)
        pthread_join(leaver, NULL);
    pthread_cond_destroy(&thread->wake);
    free(thread);
}

static void *thread_main(void *arg)
{
    struct thread *thread = arg;
    struct threads *threads = &thread->runtime->threads;
    bool drives;

    thread->errno_location = &errno;
    thread->signal_stack = overflow_stack_new();
    context_adopt_thread(&thread->context);
    drives = !thread->extra || await_worker(threads, thread);
    while (drives) {
        worker_loop(thread);
        drives = !thread->worker && await_worker(threads, thread); /* else the runtime ended */
    }
    overflow_stack_free(thread->signal_stack);
    if (thread->extra)
        extra_leave(threads, thread);
    return NULL;
}

static void thread_init(struct thread *thread, struct weft_runtime *runtime)
{
    thread->runtime = runtime;
    list_init(&thread->link);
    monotonic_cond_init(&thread->wake);
}

static int thread_start(struct thread *thread, const char *name)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);

    if (error)
        return -error;
    error = pthread_attr_setsigmask_np(&attributes, &thread->runtime->threads.blocked);
    if (!error)
        error = pthread_create(&thread->id, &attributes, thread_main, thread);
    pthread_attr_destroy(&attributes);
    if (!error)
        pthread_setname_np(thread->id, name);
    return -error;
}

/* --- spare threads */

/* One more, reserved; it has been counted. */
static struct thread *extra_start(struct weft_runtime *runtime)
{
    struct thread *thread = calloc(1, sizeof(*thread));

    if (!thread)
        return NULL;
    thread_init(thread, runtime);
    thread->extra = true;
    thread->reserved = true;
    if (thread_start(thread, "weft-spare") == 0)
        return thread;
    pthread_cond_destroy(&thread->wake);
    free(thread);
    return NULL;
}

struct thread *threads_reserve(struct threads *threads)
{
    struct thread *thread = NULL;
    struct list *node;
    bool more = false;

    pthread_mutex_lock(&threads->lock);
    node = list_first(&threads->spares);
    if (node) {
        list_remove(node);
        thread = container_of(node, struct thread, link);
        thread->reserved = true;
    } else if (threads->extra < threads->extra_max && !threads->closed) {
        threads->extra++;
        more = true;
    }
    pthread_mutex_unlock(&threads->lock);
    if (!more)
        return thread;
    thread = extra_start(threads->first->runtime);
    if (!thread) {
        pthread_mutex_lock(&threads->lock);
        threads->extra--;
        pthread_mutex_unlock(&threads->lock);
    }
    return thread;
}

void threads_release(struct threads *threads, struct thread *thread)
{
    thread->reserved = false;
    list_prepend(&threads->spares, &thread->link);
    pthread_cond_signal(&thread->wake); /* if it was to leave, it may now */
}

void threads_usage(struct threads *threads, unsigned *ret_extra, unsigned *ret_strays)
{
    unsigned strays = 0;

    pthread_mutex_lock(&threads->lock);
    for (struct list *node = threads->strays.next; node != &threads->strays; node = node->next)
        strays++;
    *ret_extra = threads->extra;
    pthread_mutex_unlock(&threads->lock);
    *ret_strays = strays;
}

/* --- all of them */

int threads_init(struct threads *threads, struct weft_runtime *runtime, unsigned extra_max)
{
    blocked_signals(&threads->blocked);
    list_init(&threads->spares);
    list_init(&threads->strays);
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->fewer, NULL);
    threads->extra_max = extra_max;
    threads->first = calloc(runtime->workers, sizeof(*threads->first));
    if (!threads->first)
        return -ENOMEM;
    for (unsigned i = 0; i < runtime->workers; i++)
        thread_init(&threads->first[i], runtime);
    return 0;
}

int threads_start(struct threads *threads)
{
    struct weft_runtime *runtime = threads->first->runtime;
    char name[16];

    for (unsigned i = 0; i < runtime->workers; i++) {
        snprintf(name, sizeof(name), "weft-%u", i);
        int r = thread_start(&threads->first[i], name);

        if (r < 0)
            return r;
        threads->started = i + 1;
    }
    return 0;
}

void threads_stop(struct threads *threads)
{
    bool join;

    pthread_mutex_lock(&threads->lock);
    threads->closed = true;
    for (struct list *node = threads->spares.next; node != &threads->spares; node = node->next)
        pthread_cond_signal(&container_of(node, struct thread, link)->wake);
    while (threads->extra > 0)
        pthread_cond_wait(&threads->fewer, &threads->lock);
    join = threads->has_leaver;
    pthread_mutex_unlock(&threads->lock);
    if (join)
        pthread_join(threads->leaver, NULL); /* D3: it joined the one before, which joined... */
    for (unsigned i = 0; i < threads->started; i++)
        pthread_join(threads->first[i].id, NULL);
}

void threads_destroy(struct threads *threads)
{
    if (!threads->first)
        return;
    for (unsigned i = 0; i < threads->first->runtime->workers; i++)
        pthread_cond_destroy(&threads->first[i].wake);
    pthread_cond_destroy(&threads->fewer);
    pthread_mutex_destroy(&threads->lock);
    free(threads->first);
}
