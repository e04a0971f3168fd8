/* SPDX-License-Identifier: MIT */
/*
 * Waiting for jobs of a thread pool: the calls of weft/offload.h.
 *
 *   I1  A job that is waited for lives on the waiter's stack, or is the caller's.  A call that
 *       waits for its own job does not return before the job is done or was taken back.
 *   I2  One waiter a job: a fiber (job->waiter) or a plain thread (job->wake).
 *
 * Any thread, but for weft_offload.  An executor is its pool: struct weft_executor is never
 * defined.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/offload.h"
#include "core/stack.h"
#include "core/worker.h"
#include "weft/time.h"

_Static_assert(sizeof(struct job) <= sizeof(struct weft_job), "weft_job is too small");
_Static_assert(_Alignof(struct job) <= _Alignof(struct weft_job), "weft_job alignment");

static struct offload_pool *pool_of(struct weft_executor *executor)
{
    return (struct offload_pool *)(void *)executor;
}

static struct job *job_of(struct weft_job *job)
{
    return (struct job *)(void *)job;
}

/* ---- waiting ------------------------------------------------------------------------------ */

/* Under the lock.  Returns: 1 it is done. */
static int job_look(const struct job *job)
{
    if (job->state == JOB_DONE)
        return 1;
    return job->waiter || job->wake ? -EBUSY : 0;
}

/* The wait lost to a cancel or to the deadline. */
static void job_unlink(struct job *job)
{
    offload_pool_lock(job->pool);
    job->waiter = NULL;
    offload_pool_unlock(job->pool);
}

/* With the wait prepared. */
static int job_suspend(struct job *job, struct waiter *waiter, uint64_t deadline_ns)
{
    offload_pool_lock(job->pool);
    int r = job_look(job);
    if (r == 0)
        job->waiter = waiter;
    offload_pool_unlock(job->pool);
    if (r != 0) {
        wait_abandon(waiter);
        return r < 0 ? r : 0;
    }
    wait_describe(waiter, "offload", (const void *)job->fn);
    r = wait_suspend(waiter, deadline_ns);
    if (r < 0)
        job_unlink(job);
    return r;
}

/* Whatever is cancelled. */
static void job_await_end(struct job *job)
{
    struct waiter waiter;
    wait_prepare_shielded(&waiter);
    /* NOLINTNEXTLINE(clang-analyzer-core.StackAddressEscape): job_finish has unlinked it */
    job_suspend(job, &waiter, WEFT_NO_DEADLINE);
}

/* On a plain thread. */
static int job_block(struct job *job, uint64_t deadline_ns)
{
    pthread_cond_t wake;
    offload_cond_init(&wake);
    offload_pool_lock(job->pool);
    int r = job_look(job);
    if (r == 0)
        job->wake = &wake;
    while (r == 0) {
        r = offload_cond_wait(&wake, job->pool, deadline_ns);
        if (job->state == JOB_DONE)
            r = 1;
    }
    if (job->wake == &wake)
        job->wake = NULL;
    offload_pool_unlock(job->pool);
    pthread_cond_destroy(&wake);
    return r < 0 ? r : 0;
}

static int job_await(struct job *job, uint64_t deadline_ns)
{
    struct waiter waiter;
    if (!fiber_self())
        return job_block(job, deadline_ns);
    int r = wait_prepare(&waiter);
    return r < 0 ? r : job_suspend(job, &waiter, deadline_ns);
}

/* ---- calls that wait ------------------------------------------------------------------------ */

static int take_back(struct job *job)
{
    offload_pool_lock(job->pool);
    int r = job->waiter || job->wake ? -EBUSY : offload_take_back(job);
    offload_pool_unlock(job->pool);
    return r;
}

/* On a fiber.  A cancel before the submit or while it is queued: it has not run. */
static int run_on_fiber(struct offload_pool *pool, struct job *job)
{
    struct waiter waiter;
    int r = wait_prepare(&waiter);
    if (r < 0)
        return r;
    r = offload_submit(pool, job);
    if (r < 0) {
        wait_abandon(&waiter);
        return r;
    }
    r = job_suspend(job, &waiter, WEFT_NO_DEADLINE);
    if (r < 0 && take_back(job) == 0)
        return r;
    if (r < 0)
        job_await_end(job); /* I1 */
    /* NOLINTNEXTLINE(clang-analyzer-core.StackAddressEscape): the same */
    return 0;
}

int offload_run(struct offload_pool *pool, int (*fn)(void *), void *arg, int *ret_result)
{
    struct job job = {.fn = fn, .arg = arg};
    int r = run_on_fiber(pool, &job);
    if (r == 0 && ret_result)
        *ret_result = job.result;
    return r;
}

int weft_executor_run(struct weft_executor *executor, int (*fn)(void *), void *arg, int *ret_result)
{
    struct job job = {.fn = fn, .arg = arg};
    if (fiber_self())
        return offload_run(pool_of(executor), fn, arg, ret_result);
    int r = offload_submit(pool_of(executor), &job);
    if (r == 0)
        r = job_block(&job, WEFT_NO_DEADLINE);
    if (r == 0 && ret_result)
        *ret_result = job.result;
    return r;
}

struct weft_executor *weft_executor_default(void)
{
    return (struct weft_executor *)(void *)worker_offload(worker_self());
}

int weft_offload(int (*fn)(void *), void *arg, int *ret_result)
{
    return offload_run(worker_offload(worker_self()), fn, arg, ret_result);
}

/* ---- jobs that are submitted ---------------------------------------------------------------- */

int weft_executor_submit(struct weft_executor *executor, struct weft_job *public, int (*fn)(void *),
                         void *arg)
{
    struct job *job = job_of(public);
    *job = (struct job){.fn = fn, .arg = arg};
    return offload_submit(pool_of(executor), job);
}

int weft_job_wait(struct weft_job *public, uint64_t deadline_ns, int *ret_result)
{
    struct job *job = job_of(public);
    int r = job_await(job, deadline_ns);
    if (r == 0 && ret_result)
        *ret_result = job->result;
    return r;
}

bool weft_job_done(struct weft_job *public)
{
    struct job *job = job_of(public);
    offload_pool_lock(job->pool);
    bool done = job->state == JOB_DONE;
    offload_pool_unlock(job->pool);
    return done;
}

int weft_job_cancel(struct weft_job *public)
{
    return take_back(job_of(public));
}

int weft_executor_post(struct weft_executor *executor, int (*fn)(void *), void *arg)
{
    struct job *job = malloc(sizeof(*job));
    if (!job)
        return -ENOMEM;
    *job = (struct job){.fn = fn, .arg = arg, .posted = true};
    int r = offload_submit(pool_of(executor), job);
    if (r < 0)
        free(job);
    return r;
}

/* ---- executors ------------------------------------------------------------------------------ */

int weft_executor_new_with(const struct weft_executor_options *options,
                           struct weft_executor **ret_executor)
{
    struct weft_executor_options defaults;
    struct offload_pool *pool;
    weft_executor_options_init(&defaults);
    int r = offload_pool_new(options ? options : &defaults, &pool);
    if (r == 0)
        *ret_executor = (struct weft_executor *)(void *)pool;
    return r;
}

int weft_executor_new(unsigned threads, const char *name, struct weft_executor **ret_executor)
{
    struct weft_executor_options options;
    weft_executor_options_init(&options);
    options.threads = threads;
    options.name = name;
    return weft_executor_new_with(&options, ret_executor);
}

void weft_executor_stats(struct weft_executor *executor, struct weft_executor_stats *ret_stats)
{
    offload_pool_stats(pool_of(executor), ret_stats);
}

void weft_executor_close(struct weft_executor *executor)
{
    offload_pool_close(pool_of(executor));
}

void weft_executor_free(struct weft_executor *executor)
{
    offload_pool_free(pool_of(executor));
}
