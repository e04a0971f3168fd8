/* SPDX-License-Identifier: MIT */
/*
 * A pool of threads for blocking calls.  Who waits for them is executor.c.
 *
 * A job is given to an idle thread, or to a thread started for it, or, when all threads there may
 * be are busy, queued.
 *
 *   I1  A queued job implies that every thread has one: a thread that ends a job takes the oldest
 *       queued job before it idles or leaves.
 *   I2  Only a queued job can be taken back.  From the moment a thread has it, its memory belongs
 *       to the thread, too.
 *   I3  A thread touches a job for the last time when it marks it done, under the pool's lock; but
 *       for one that nobody waits for, which it frees.
 *   I4  The thread that idles last is used first, so that the surplus is idle long enough to leave.
 *   I5  A leaving thread joins the one that left before it; the pool joins the last.  So none is
 *       detached, and none outlives the pool.
 *
 * Any thread, but for freeing.  The pool's lock is a pthread mutex, held for a few instructions and
 * never across a suspension.  There are no priorities and no work stealing here: jobs block.
 */
#include "core/offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/stack.h"
#include "weft/offload.h"
#include "weft/time.h"

enum { STACK_BYTES = 512 * 1024, NAME_BYTES = 16 };

#define IDLE_NS      (5 * WEFT_SECOND)
#define NAME_DEFAULT "weft-offload"

struct offload_thread {
    struct list link; /* on the pool's idle list, or on no list; guarded by the pool's lock */
    struct offload_pool *pool;
    pthread_cond_t wake; /* a job was handed over, or the pool stops */
    struct job *job;     /* what to run next; guarded by the pool's lock while idle */
};

struct offload_pool {
    pthread_mutex_t lock;
    struct list queue;     /* of job; guarded by lock */
    struct list idle;      /* of offload_thread, the latest first; guarded by lock */
    pthread_cond_t empty;  /* threads became 0 */
    struct waiter *closer; /* the fiber that waits for that; guarded by lock */
    unsigned threads;      /* alive, or about to be; guarded by lock */
    unsigned idling;       /* length of idle; guarded by lock */
    unsigned max_threads;  /* constant */
    size_t queued;         /* length of queue; guarded by lock */
    size_t queue_limit;    /* constant */
    uint64_t idle_ns;      /* guarded by lock */
    uint64_t completed, cancelled, refused; /* jobs; guarded by lock */
    bool closed;                            /* no more jobs; guarded by lock */
    bool has_leaver;                        /* `leaver` is to be joined; guarded by lock */
    pthread_t leaver;                       /* the thread that left last; guarded by lock */
    char name[NAME_BYTES];                  /* of the threads; constant */
};

/* One thread fewer.  Under the lock. */
static void pool_count_down(struct offload_pool *pool, struct wait_batch *batch)
{
    if (--pool->threads > 0)
        return;
    pthread_cond_signal(&pool->empty);
    struct waiter *closer = pool->closer;
    pool->closer = NULL;
    if (closer)
        wait_claim(closer, batch);
}

/* ---- the threads ------------------------------------------------------------------------ */

/* Under the lock. */
static struct job *queue_pop(struct offload_pool *pool)
{
    struct list *node = list_first(&pool->queue);
    if (!node)
        return NULL;
    struct job *job = container_of(node, struct job, link);
    list_remove(node);
    pool->queued--;
    job->state = JOB_RUNNING;
    return job;
}

/* Under the lock: it is done, for whoever waits.  Then `job` is gone (I3). */
static void job_finish(struct job *job, int result, struct wait_batch *batch)
{
    struct waiter *waiter = job->waiter;
    job->waiter = NULL;
    job->result = result;
    job->state = JOB_DONE;
    if (job->wake)
        pthread_cond_signal(job->wake);
    if (waiter)
        wait_claim(waiter, batch); /* lost to a cancel: the fiber comes and finds it done */
}

static void job_run(struct offload_pool *pool, struct job *job)
{
    struct wait_batch batch = {0};
    bool posted = job->posted;
    int result = job->fn(job->arg);
    pthread_mutex_lock(&pool->lock);
    pool->completed++;
    if (!posted)
        job_finish(job, result, &batch);
    pthread_mutex_unlock(&pool->lock);
    if (posted)
        free(job);
    wait_batch_wake(&batch);
}

/* A point on weft_now_ns's clock, as the conditions want it. */
static struct timespec timespec_of(uint64_t deadline_ns)
{
    return (struct timespec){.tv_sec = (time_t)(deadline_ns / WEFT_SECOND),
                             .tv_nsec = (long)(deadline_ns % WEFT_SECOND)};
}

int offload_cond_wait(pthread_cond_t *cond, struct offload_pool *pool, uint64_t deadline_ns)
{
    struct timespec until = timespec_of(deadline_ns);
    if (deadline_ns == WEFT_NO_DEADLINE)
        return -pthread_cond_wait(cond, &pool->lock);
    return -pthread_cond_timedwait(cond, &pool->lock, &until);
}

/* The job that comes next for this thread: queued, or handed over while it idles.  NULL: it has
 * idled long enough, or there will be no more.  Under the lock, which it drops while it waits. */
static struct job *thread_next(struct offload_thread *thread)
{
    struct offload_pool *pool = thread->pool;
    struct job *job = queue_pop(pool);
    if (job)
        return job;
    uint64_t until_ns = weft_deadline_after(pool->idle_ns);
    int r = 0;
    thread->job = NULL;
    list_prepend(&pool->idle, &thread->link); /* I4 */
    pool->idling++;
    while (!thread->job && !pool->closed && r != -ETIMEDOUT)
        r = offload_cond_wait(&thread->wake, pool, until_ns);
    if (!thread->job) {
        list_remove(&thread->link);
        pool->idling--;
    }
    return thread->job;
}

/* Under the lock, as the last thing with it.  Returns: whether `*ret_leaver` must be joined. */
static bool thread_leave(struct offload_pool *pool, pthread_t *ret_leaver, struct wait_batch *batch)
{
    bool had_leaver = pool->has_leaver;
    *ret_leaver = pool->leaver;
    pool->leaver = pthread_self();
    pool->has_leaver = true;
    pool_count_down(pool, batch);
    return had_leaver;
}

static void *thread_main(void *arg)
{
    struct offload_thread *thread = arg;
    struct offload_pool *pool = thread->pool;
    struct job *job = thread->job;
    struct wait_batch batch = {0};
    pthread_t leaver;
    pthread_setname_np(pthread_self(), pool->name);
    do {
        job_run(pool, job);
        pthread_mutex_lock(&pool->lock);
        job = thread_next(thread);
        if (job)
            pthread_mutex_unlock(&pool->lock);
    } while (job);
    bool join = thread_leave(pool, &leaver, &batch);
    pthread_mutex_unlock(&pool->lock);
    wait_batch_wake(&batch);
    if (join)
        pthread_join(leaver, NULL); /* I5 */
    pthread_cond_destroy(&thread->wake);
    free(thread);
    return NULL;
}

void offload_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Start a thread with all signals blocked. */
static int thread_create(struct offload_thread *thread)
{
    pthread_attr_t attributes;
    pthread_t id;
    sigset_t all;
    sigfillset(&all);
    int error = pthread_attr_init(&attributes);
    if (error)
        return -error;
    error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (!error)
        error = pthread_attr_setsigmask_np(&attributes, &all);
    if (!error)
        error = pthread_create(&id, &attributes, thread_main, thread);
    pthread_attr_destroy(&attributes);
    return -error;
}

/* A thread whose first job this is.  The caller has counted it. */
static int thread_start(struct offload_pool *pool, struct job *job)
{
    struct offload_thread *thread = malloc(sizeof(*thread));
    if (!thread)
        return -ENOMEM;
    *thread = (struct offload_thread){.pool = pool, .job = job};
    list_init(&thread->link);
    offload_cond_init(&thread->wake);
    int r = thread_create(thread);
    if (r < 0) {
        pthread_cond_destroy(&thread->wake);
        free(thread);
    }
    return r;
}

/* ---- the pool --------------------------------------------------------------------------- */

int offload_pool_new(const struct weft_executor_options *options, struct offload_pool **ret_pool)
{
    struct offload_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return -ENOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->empty, NULL);
    list_init(&pool->queue);
    list_init(&pool->idle);
    pool->max_threads = options->threads ? options->threads : OFFLOAD_DEFAULT_THREADS;
    pool->queue_limit = options->queue_limit ? options->queue_limit : SIZE_MAX;
    pool->idle_ns = options->idle_ns;
    snprintf(pool->name, sizeof(pool->name), "%s", options->name ? options->name : NAME_DEFAULT);
    *ret_pool = pool;
    return 0;
}

void weft_executor_options_init(struct weft_executor_options *options)
{
    *options = (struct weft_executor_options){.idle_ns = IDLE_NS};
}

void offload_pool_lock(struct offload_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
}

void offload_pool_unlock(struct offload_pool *pool)
{
    pthread_mutex_unlock(&pool->lock);
}

void offload_pool_close(struct offload_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    for (struct list *node = pool->idle.next; node != &pool->idle; node = node->next)
        pthread_cond_signal(&container_of(node, struct offload_thread, link)->wake);
    pthread_mutex_unlock(&pool->lock);
}

/* Until the last thread is leaving: a fiber suspends, a plain thread blocks. */
static void pool_await_empty(struct offload_pool *pool)
{
    struct waiter waiter;
    bool on_fiber = fiber_self() != NULL;
    if (on_fiber)
        wait_prepare_shielded(&waiter);
    pthread_mutex_lock(&pool->lock);
    bool empty = pool->threads == 0;
    if (on_fiber && !empty)
        pool->closer = &waiter;
    while (!on_fiber && pool->threads > 0)
        pthread_cond_wait(&pool->empty, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    if (!on_fiber)
        return;
    if (empty) {
        wait_abandon(&waiter);
        return;
    }
    wait_describe(&waiter, "executor", pool);
    wait_suspend(&waiter, WEFT_NO_DEADLINE);
}

void offload_pool_free(struct offload_pool *pool)
{
    if (!pool)
        return;
    offload_pool_close(pool);
    pool_await_empty(pool);
    pthread_mutex_lock(&pool->lock); /* whoever woke us has left it */
    CHECK(list_empty(&pool->queue)); /* I1 */
    bool join = pool->has_leaver;
    pthread_t leaver = pool->leaver;
    pthread_mutex_unlock(&pool->lock);
    if (join)
        pthread_join(leaver, NULL); /* I5: it joined the one before, which joined... */
    pthread_cond_destroy(&pool->empty);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void offload_pool_stats(struct offload_pool *pool, struct weft_executor_stats *ret_stats)
{
    pthread_mutex_lock(&pool->lock);
    *ret_stats = (struct weft_executor_stats){.threads = pool->threads,
                                              .idle = pool->idling,
                                              .queued = pool->queued,
                                              .completed = pool->completed,
                                              .cancelled = pool->cancelled,
                                              .refused = pool->refused};
    pthread_mutex_unlock(&pool->lock);
}

void offload_pool_set_idle(struct offload_pool *pool, uint64_t idle_ns)
{
    pthread_mutex_lock(&pool->lock);
    pool->idle_ns = idle_ns;
    pthread_mutex_unlock(&pool->lock);
}

/* ---- jobs --------------------------------------------------------------------------------- */

/* Hand the job to an idle thread, or queue it when there are `threads_enough`.
 * Returns: 0, or what keeps it out; -EXFULL: nothing but that there are fewer threads.
 * Under the lock. */
static int pool_place(struct offload_pool *pool, struct job *job, unsigned threads_enough)
{
    struct list *node = list_first(&pool->idle);
    if (pool->closed)
        return -ESHUTDOWN;
    if (node) {
        struct offload_thread *thread = container_of(node, struct offload_thread, link);
        list_remove(node);
        pool->idling--;
        job->state = JOB_RUNNING;
        thread->job = job;
        pthread_cond_signal(&thread->wake);
        return 0;
    }
    if (pool->threads < threads_enough)
        return -EXFULL;
    if (pool->queued >= pool->queue_limit)
        return -EAGAIN;
    job->state = JOB_QUEUED;
    list_append(&pool->queue, &job->link);
    pool->queued++;
    return 0;
}

/* A thread for the job, which has been counted; else one of those that are there. */
static int pool_grow(struct offload_pool *pool, struct job *job)
{
    struct wait_batch batch = {0};
    job->state = JOB_RUNNING;
    if (thread_start(pool, job) == 0)
        return 0;
    pthread_mutex_lock(&pool->lock);
    pool_count_down(pool, &batch);
    int r = pool_place(pool, job, 1);
    pool->refused += r < 0;
    pthread_mutex_unlock(&pool->lock);
    wait_batch_wake(&batch);
    return r == -EXFULL ? -EAGAIN : r;
}

int offload_submit(struct offload_pool *pool, struct job *job)
{
    list_init(&job->link);
    job->pool = pool;
    pthread_mutex_lock(&pool->lock);
    int r = pool_place(pool, job, pool->max_threads);
    if (r == -EXFULL)
        pool->threads++;
    else if (r < 0)
        pool->refused++;
    pthread_mutex_unlock(&pool->lock);
    return r == -EXFULL ? pool_grow(pool, job) : r;
}

int offload_take_back(struct job *job)
{
    struct offload_pool *pool = job->pool;
    if (job->state != JOB_QUEUED)
        return -EALREADY;
    list_remove(&job->link);
    pool->queued--;
    pool->cancelled++;
    job->state = JOB_CANCELLED;
    return 0;
}
