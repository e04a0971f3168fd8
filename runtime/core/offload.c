/* SPDX-License-Identifier: MIT */
/*
 * Blocking calls on a pool of threads, while the fiber waits.
 *
 * A job lives on the stack of its fiber.  It is given to an idle thread, or to a thread started
 * for it, or, when all threads there may be are busy, queued.
 *
 *   I1  A queued job implies that every thread has one: a thread that ends a job takes the oldest
 *       queued job before it idles.
 *   I2  Cancellation takes back a job that is queued.  From the moment a thread has it, the fiber
 *       waits for its end whatever happens, because the thread uses the fiber's stack.
 *   I3  A thread touches a job for the last time when it marks it done, under the pool's lock.
 *   I4  The thread that idles last is used first, so that the surplus is idle long enough to leave.
 *   I5  A leaving thread joins the one that left before it; the pool joins the last.  So none is
 *       detached, and none outlives the pool.
 *
 * weft_offload is for fibers.  The pool's lock is a pthread mutex, held for a few instructions and
 * never across a suspension.  There are no priorities and no work stealing here: jobs block.
 */
#include "core/offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "core/list.h"
#include "core/wait.h"
#include "core/worker.h"
#include "weft/offload.h"
#include "weft/time.h"

enum { STACK_BYTES = 512 * 1024 };

#define IDLE_NS (5 * WEFT_SECOND)

struct job {
    struct list link; /* on the pool's queue, or on no list; guarded by the pool's lock */
    int (*fn)(void *);
    void *arg;
    int result;            /* written by the thread, read by the fiber once done */
    bool done;             /* guarded by the pool's lock */
    struct waiter *waiter; /* the fiber, while it waits; guarded by the pool's lock */
};

struct offload_thread {
    struct list link; /* on the pool's idle list, or on no list; guarded by the pool's lock */
    struct offload_pool *pool;
    pthread_cond_t wake; /* a job was handed over, or the pool stops */
    struct job *job;     /* what to run next; guarded by the pool's lock while idle */
};

struct offload_pool {
    pthread_mutex_t lock;
    struct list queue;    /* of job; guarded by lock */
    struct list idle;     /* of offload_thread, the latest first; guarded by lock */
    pthread_cond_t empty; /* threads became 0 */
    unsigned threads;     /* alive, or about to be; guarded by lock */
    unsigned max_threads; /* constant */
    unsigned queued;      /* length of queue; guarded by lock */
    uint64_t idle_ns;     /* guarded by lock */
    bool stopping;        /* guarded by lock */
    bool has_leaver;      /* `leaver` is to be joined; guarded by lock */
    pthread_t leaver;     /* the thread that left last; guarded by lock */
};

/* ---- the threads ------------------------------------------------------------------------ */

/* Under the lock. */
static struct job *queue_pop(struct offload_pool *pool)
{
    struct list *node = list_first(&pool->queue);
    if (!node)
        return NULL;
    list_remove(node);
    pool->queued--;
    return container_of(node, struct job, link);
}

/* Run the job and tell its fiber; `job` is gone afterwards (I3). */
static void job_run(struct offload_pool *pool, struct job *job)
{
    struct wait_batch batch = {0};
    int result = job->fn(job->arg);
    pthread_mutex_lock(&pool->lock);
    struct waiter *waiter = job->waiter;
    job->waiter = NULL;
    job->result = result;
    job->done = true;
    if (waiter)
        wait_claim(waiter, &batch); /* lost to a cancel: the fiber comes and finds it done */
    pthread_mutex_unlock(&pool->lock);
    wait_batch_wake(&batch);
}

/* The job that comes next for this thread: queued, or handed over while it idles.  NULL: it has
 * idled long enough, or the pool stops.  Under the lock, which it drops while it waits. */
static struct job *thread_next(struct offload_thread *thread)
{
    struct offload_pool *pool = thread->pool;
    struct job *job = queue_pop(pool);
    if (job)
        return job;
    uint64_t until_ns = weft_deadline_after(pool->idle_ns);
    struct timespec until = {.tv_sec = (time_t)(until_ns / WEFT_SECOND),
                             .tv_nsec = (long)(until_ns % WEFT_SECOND)};
    int error = 0;
    thread->job = NULL;
    list_prepend(&pool->idle, &thread->link); /* I4 */
    while (!thread->job && !pool->stopping && error != ETIMEDOUT)
        error = pthread_cond_timedwait(&thread->wake, &pool->lock, &until);
    list_remove(&thread->link);
    return thread->job;
}

/* Under the lock, as the last thing with it.  Returns: whether `*ret_leaver` must be joined. */
static bool thread_leave(struct offload_pool *pool, pthread_t *ret_leaver)
{
    bool had_leaver = pool->has_leaver;
    *ret_leaver = pool->leaver;
    pool->leaver = pthread_self();
    pool->has_leaver = true;
    if (--pool->threads == 0)
        pthread_cond_signal(&pool->empty);
    return had_leaver;
}

static void *thread_main(void *arg)
{
    struct offload_thread *thread = arg;
    struct offload_pool *pool = thread->pool;
    struct job *job = thread->job;
    pthread_t leaver;
    do {
        job_run(pool, job);
        pthread_mutex_lock(&pool->lock);
        job = thread_next(thread);
        if (job)
            pthread_mutex_unlock(&pool->lock);
    } while (job);
    bool join = thread_leave(pool, &leaver);
    pthread_mutex_unlock(&pool->lock);
    if (join)
        pthread_join(leaver, NULL); /* I5 */
    pthread_cond_destroy(&thread->wake);
    free(thread);
    return NULL;
}

/* A condition whose deadlines are on weft_now_ns's clock. */
static void cond_init(pthread_cond_t *cond)
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
    cond_init(&thread->wake);
    int r = thread_create(thread);
    if (r < 0) {
        pthread_cond_destroy(&thread->wake);
        free(thread);
    }
    return r;
}

/* ---- the pool --------------------------------------------------------------------------- */

int offload_pool_new(unsigned max_threads, struct offload_pool **ret_pool)
{
    struct offload_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return -ENOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->empty, NULL);
    list_init(&pool->queue);
    list_init(&pool->idle);
    pool->max_threads = max_threads ? max_threads : OFFLOAD_DEFAULT_THREADS;
    pool->idle_ns = IDLE_NS;
    *ret_pool = pool;
    return 0;
}

/* Under the lock. */
static void pool_wake_idle(struct offload_pool *pool)
{
    for (struct list *node = pool->idle.next; node != &pool->idle; node = node->next)
        pthread_cond_signal(&container_of(node, struct offload_thread, link)->wake);
}

void offload_pool_free(struct offload_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    CHECK(list_empty(&pool->queue));
    pool->stopping = true;
    pool_wake_idle(pool);
    while (pool->threads > 0)
        pthread_cond_wait(&pool->empty, &pool->lock);
    bool join = pool->has_leaver;
    pthread_t leaver = pool->leaver;
    pthread_mutex_unlock(&pool->lock);
    if (join)
        pthread_join(leaver, NULL); /* I5: it joined the one before, which joined... */
    pthread_cond_destroy(&pool->empty);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void offload_pool_stats(struct offload_pool *pool, unsigned *ret_threads, unsigned *ret_queued)
{
    pthread_mutex_lock(&pool->lock);
    *ret_threads = pool->threads;
    *ret_queued = pool->queued;
    pthread_mutex_unlock(&pool->lock);
}

void offload_pool_set_idle(struct offload_pool *pool, uint64_t idle_ns)
{
    pthread_mutex_lock(&pool->lock);
    pool->idle_ns = idle_ns;
    pthread_mutex_unlock(&pool->lock);
}

/* ---- the fiber's side ------------------------------------------------------------------- */

/* Hand the job to an idle thread, or queue it when there are `threads_enough`; false: neither.
 * Under the lock. */
static bool pool_place(struct offload_pool *pool, struct job *job, unsigned threads_enough)
{
    struct list *node = list_first(&pool->idle);
    if (node) {
        struct offload_thread *thread = container_of(node, struct offload_thread, link);
        list_remove(node);
        thread->job = job;
        pthread_cond_signal(&thread->wake);
        return true;
    }
    if (pool->threads < threads_enough)
        return false;
    list_append(&pool->queue, &job->link);
    pool->queued++;
    return true;
}

/* Bring the job into the pool.  Errors: -EAGAIN there is no thread, and none can be started. */
static int pool_submit(struct offload_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    bool placed = pool_place(pool, job, pool->max_threads);
    if (!placed)
        pool->threads++;
    pthread_mutex_unlock(&pool->lock);
    if (placed || thread_start(pool, job) == 0)
        return 0;
    pthread_mutex_lock(&pool->lock);
    if (--pool->threads == 0)
        pthread_cond_signal(&pool->empty);
    placed = pool_place(pool, job, 1); /* wait for one of those that are there */
    pthread_mutex_unlock(&pool->lock);
    return placed ? 0 : -EAGAIN;
}

/* The first wait lost to a cancel.  Returns: whether the job was taken back. */
static bool job_take_back(struct offload_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    job->waiter = NULL;
    bool queued = list_linked(&job->link);
    if (queued) {
        list_remove(&job->link);
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->lock);
    return queued;
}

/* I2: a thread has it. */
static void job_await_end(struct offload_pool *pool, struct job *job)
{
    struct waiter waiter;
    wait_prepare_shielded(&waiter);
    wait_describe(&waiter, "offload", (const void *)job->fn);
    pthread_mutex_lock(&pool->lock);
    bool done = job->done;
    if (!done)
        job->waiter = &waiter;
    pthread_mutex_unlock(&pool->lock);
    if (done)
        wait_abandon(&waiter);
    else
        wait_suspend(&waiter, WEFT_NO_DEADLINE);
}

int weft_offload(int (*fn)(void *), void *arg, int *ret_result)
{
    struct offload_pool *pool = worker_offload(worker_self());
    struct waiter waiter;
    struct job job = {.fn = fn, .arg = arg, .waiter = &waiter};
    list_init(&job.link);
    int r = wait_prepare(&waiter);
    if (r < 0)
        return r;
    r = pool_submit(pool, &job);
    if (r < 0) {
        wait_abandon(&waiter);
        return r;
    }
    wait_describe(&waiter, "offload", (const void *)fn);
    r = wait_suspend(&waiter, WEFT_NO_DEADLINE);
    if (r < 0) {
        if (job_take_back(pool, &job))
            return r;
        job_await_end(pool, &job);
    }
    if (ret_result)
        *ret_result = job.result;
    return 0;
}
