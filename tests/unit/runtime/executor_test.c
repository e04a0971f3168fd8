/* SPDX-License-Identifier: MIT */
/* Thread pools of one's own; the runtime's is in offload_test.c. */
#include "support/test.h"

#include <pthread.h>
#include <semaphore.h>

#include "support/process.h"

/* A job that says that it began, and blocks until it is let go. */
struct gate {
    struct weft_job job;
    sem_t begun, go;
    atomic_int runs;
};

static void gate_init(struct gate *gate)
{
    memset(gate, 0, sizeof(*gate));
    sem_init(&gate->begun, 0, 0);
    sem_init(&gate->go, 0, 0);
}

static int pass_gate(void *arg)
{
    struct gate *gate = arg;
    atomic_fetch_add(&gate->runs, 1);
    sem_post(&gate->begun);
    while (sem_wait(&gate->go) < 0)
        ;
    return 42;
}

static int add_one(void *arg)
{
    return atomic_fetch_add((atomic_int *)arg, 1);
}

static struct weft_executor_stats stats_of(struct weft_executor *executor)
{
    struct weft_executor_stats stats;
    weft_executor_stats(executor, &stats);
    return stats;
}

/* ---- running -------------------------------------------------------------------------------- */

static int name_itself(void *arg)
{
    EXPECT(!weft_on_fiber());
    pthread_getname_np(pthread_self(), arg, 16);
    return -5;
}

static int run_one(void *arg)
{
    struct weft_executor *executor;
    char name[16] = "";
    int result = 0;
    (void)arg;
    EXPECT_EQ(weft_executor_new(2, "my-own", &executor), 0);
    EXPECT_EQ(stats_of(executor).threads, 0);
    EXPECT_EQ(weft_executor_run(executor, name_itself, name, &result), 0);
    EXPECT_EQ(result, -5);
    EXPECT(strcmp(name, "my-own") == 0);
    EXPECT_EQ(weft_executor_run(weft_executor_default(), name_itself, name, NULL), 0);
    EXPECT(strcmp(name, "weft-offload") == 0);
    EXPECT_EQ(stats_of(executor).completed, 1);
    weft_executor_free(executor);
    return 0;
}

Test(executor, runs_on_its_own_threads)
{
    on_fibers(1, run_one, NULL);
}

Test(executor, serves_plain_threads_too)
{
    struct weft_executor *executor;
    struct weft_job job;
    atomic_int total = 7;
    int result = 0;
    cr_assert_eq(weft_executor_new_with(NULL, &executor), 0);
    cr_assert_eq(weft_executor_run(executor, add_one, &total, &result), 0);
    cr_assert_eq(result, 7);
    cr_assert_eq(weft_executor_submit(executor, &job, add_one, &total), 0);
    cr_assert_eq(weft_job_wait(&job, WEFT_NO_DEADLINE, &result), 0);
    cr_assert_eq(result, 8);
    cr_assert(weft_job_done(&job));
    cr_assert_eq(weft_job_cancel(&job), -EALREADY);
    weft_executor_free(executor);
    weft_executor_free(NULL);
}

Test(executor, a_plain_threads_wait_has_a_deadline)
{
    struct weft_executor *executor;
    struct gate gate;
    int result = 0;
    gate_init(&gate);
    cr_assert_eq(weft_executor_new(1, NULL, &executor), 0);
    cr_assert_eq(weft_executor_submit(executor, &gate.job, pass_gate, &gate), 0);
    cr_assert_eq(weft_job_wait(&gate.job, weft_now_ns() + WEFT_MILLISECOND, &result), -ETIMEDOUT);
    cr_assert_eq(result, 0);
    cr_assert(!weft_job_done(&gate.job));
    sem_post(&gate.go);
    cr_assert_eq(weft_job_wait(&gate.job, WEFT_NO_DEADLINE, &result), 0);
    cr_assert_eq(result, 42);
    weft_executor_free(executor);
}

enum { JOBS = 200 };

static int submit_many(void *arg)
{
    static struct weft_job jobs[JOBS];
    struct weft_executor *executor;
    atomic_int total = 0;
    (void)arg;
    EXPECT_EQ(weft_executor_new(1, NULL, &executor), 0);
    for (int i = 0; i < JOBS; i++)
        EXPECT_EQ(weft_executor_submit(executor, &jobs[i], add_one, &total), 0);
    for (int i = JOBS - 1; i >= 0; i--) {
        int result = -1;
        EXPECT_EQ(weft_job_wait(&jobs[i], WEFT_NO_DEADLINE, &result), 0);
        EXPECT_EQ(result, i); /* one thread: in order */
    }
    EXPECT_EQ(stats_of(executor).threads, 1);
    EXPECT_EQ(stats_of(executor).completed, JOBS);
    weft_executor_free(executor);
    return 0;
}

Test(executor, one_thread_runs_jobs_in_order)
{
    on_fibers(1, submit_many, NULL);
    on_fibers(2, submit_many, NULL);
}

/* ---- waiting and cancelling ----------------------------------------------------------------- */

struct waiting {
    struct weft_job *job;
    atomic_int arrivals;
    int result;
};

static int wait_for(void *arg)
{
    struct waiting *waiting = arg;
    arrive(&waiting->arrivals);
    waiting->result = weft_job_wait(waiting->job, WEFT_NO_DEADLINE, NULL);
    return 0;
}

static int cancel_a_wait(void *arg)
{
    struct weft_executor *executor;
    struct weft_group group;
    struct gate gate;
    struct waiting waiting = {.job = &gate.job};
    int result = 0;
    (void)arg;
    gate_init(&gate);
    EXPECT_EQ(weft_executor_new(1, NULL, &executor), 0);
    EXPECT_EQ(weft_executor_submit(executor, &gate.job, pass_gate, &gate), 0);
    sem_wait(&gate.begun);
    EXPECT_EQ(weft_job_wait(&gate.job, weft_now_ns() + WEFT_MILLISECOND, &result), -ETIMEDOUT);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_for, &waiting), 0);
    await_arrivals(&waiting.arrivals, 1);
    EXPECT_EQ(weft_job_wait(&gate.job, weft_now_ns() + WEFT_MILLISECOND, &result), -EBUSY);
    EXPECT_EQ(weft_job_cancel(&gate.job), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(waiting.result, -ECANCELED);
    EXPECT_EQ(result, 0);
    EXPECT_EQ(weft_job_cancel(&gate.job), -EALREADY); /* it runs */
    sem_post(&gate.go);
    EXPECT_EQ(weft_job_wait(&gate.job, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, 42);
    EXPECT_EQ(weft_job_wait(&gate.job, WEFT_NO_DEADLINE, NULL), 0); /* again */
    weft_executor_free(executor);
    return 0;
}

Test(executor, a_cancelled_wait_can_be_repeated)
{
    on_fibers(1, cancel_a_wait, NULL);
}

/* Runs its job until it is cancelled, which finds it in the queue. */
static int run_queued(void *arg)
{
    atomic_int total = 0;
    EXPECT_EQ(weft_executor_run(arg, add_one, &total, NULL), -ECANCELED);
    EXPECT_EQ(atomic_load(&total), 0);
    return -ECANCELED;
}

static int cancel_queued(void *arg)
{
    struct weft_executor *executor;
    struct weft_group group;
    struct weft_job job;
    struct gate gate;
    atomic_int total = 0;
    (void)arg;
    gate_init(&gate);
    EXPECT_EQ(weft_executor_new(1, NULL, &executor), 0);
    EXPECT_EQ(weft_executor_submit(executor, &gate.job, pass_gate, &gate), 0);
    sem_wait(&gate.begun);
    EXPECT_EQ(weft_executor_submit(executor, &job, add_one, &total), 0);
    EXPECT_EQ(stats_of(executor).queued, 1);
    EXPECT_EQ(weft_job_cancel(&job), 0);
    EXPECT_EQ(weft_job_cancel(&job), -EALREADY);
    EXPECT_EQ(stats_of(executor).queued, 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "queued", run_queued, executor), 0);
    while (stats_of(executor).queued == 0)
        EXPECT_EQ(weft_yield(), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    sem_post(&gate.go);
    EXPECT_EQ(weft_job_wait(&gate.job, WEFT_NO_DEADLINE, NULL), 0);
    EXPECT_EQ(stats_of(executor).cancelled, 2);
    weft_executor_free(executor);
    EXPECT_EQ(atomic_load(&total), 0);
    return 0;
}

Test(executor, a_queued_job_can_be_taken_back)
{
    on_fibers(1, cancel_queued, NULL);
}

/* ---- limits --------------------------------------------------------------------------------- */

static int fill_the_queue(void *arg)
{
    struct weft_executor_options options;
    struct weft_executor *executor;
    struct weft_job jobs[3];
    struct gate gate;
    atomic_int total = 0;
    (void)arg;
    gate_init(&gate);
    weft_executor_options_init(&options);
    options.threads = 1;
    options.queue_limit = 2;
    EXPECT_EQ(weft_executor_new_with(&options, &executor), 0);
    EXPECT_EQ(weft_executor_submit(executor, &gate.job, pass_gate, &gate), 0);
    EXPECT_EQ(weft_executor_submit(executor, &jobs[0], add_one, &total), 0);
    EXPECT_EQ(weft_executor_submit(executor, &jobs[1], add_one, &total), 0);
    EXPECT_EQ(weft_executor_submit(executor, &jobs[2], add_one, &total), -EAGAIN);
    EXPECT_EQ(weft_executor_run(executor, add_one, &total, NULL), -EAGAIN);
    EXPECT_EQ(weft_executor_post(executor, add_one, &total), -EAGAIN);
    EXPECT_EQ(stats_of(executor).refused, 3);
    EXPECT_EQ(weft_job_cancel(&jobs[1]), 0);
    EXPECT_EQ(weft_executor_post(executor, add_one, &total), 0);
    sem_post(&gate.go);
    weft_executor_close(executor);
    EXPECT_EQ(weft_executor_run(executor, add_one, &total, NULL), -ESHUTDOWN);
    EXPECT_EQ(weft_executor_post(executor, add_one, &total), -ESHUTDOWN);
    weft_executor_free(executor);
    EXPECT_EQ(atomic_load(&total), 2); /* what was accepted has run */
    return 0;
}

Test(executor, a_full_queue_and_a_closed_pool_refuse)
{
    on_fibers(1, fill_the_queue, NULL);
}

static int free_executor(void *arg)
{
    weft_executor_free(arg);
    return 0;
}

/* While one fiber waits for the end of the pool, the worker runs others. */
static int free_slowly(void *arg)
{
    struct weft_executor *executor;
    struct weft_group group;
    struct gate gate;
    (void)arg;
    gate_init(&gate);
    EXPECT_EQ(weft_executor_new(4, NULL, &executor), 0);
    EXPECT_EQ(weft_executor_post(executor, pass_gate, &gate), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "free", free_executor, executor), 0);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    weft_group_cancel(&group); /* which does not reach it */
    sem_post(&gate.go);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(atomic_load(&gate.runs), 1);
    return 0;
}

Test(executor, its_end_holds_up_the_fiber_and_not_the_worker)
{
    on_fibers(1, free_slowly, NULL);
    on_fibers(2, free_slowly, NULL);
}

static int stay_for_ever(void *arg)
{
    struct weft_executor_options options;
    struct weft_executor *executor;
    atomic_int total = 0;
    (void)arg;
    weft_executor_options_init(&options);
    options.idle_ns = WEFT_NO_DEADLINE;
    EXPECT_EQ(weft_executor_new_with(&options, &executor), 0);
    EXPECT_EQ(weft_executor_run(executor, add_one, &total, NULL), 0);
    while (stats_of(executor).idle == 0)
        EXPECT_EQ(weft_yield(), 0);
    weft_executor_free(executor);
    return 0;
}

Test(executor, threads_that_stay_for_ever_leave_at_the_end)
{
    on_fibers(1, stay_for_ever, NULL);
}

/* ---- posting -------------------------------------------------------------------------------- */

static int post_many(void *arg)
{
    for (int i = 0; i < JOBS; i++)
        EXPECT_EQ(weft_executor_post(weft_executor_default(), add_one, arg), 0);
    return 0;
}

Test(executor, what_was_posted_has_run_when_the_runtime_has_ended)
{
    atomic_int total = 0;
    on_fibers(1, post_many, &total);
    cr_assert_eq(atomic_load(&total), JOBS);
}

/* ---- threads refused ------------------------------------------------------------------------ */

static int be_refused_threads(void *arg)
{
    struct weft_executor *executor;
    struct weft_job jobs[2];
    struct gate gate;
    atomic_int total = 0;
    (void)arg;
    gate_init(&gate);
    EXPECT_EQ(weft_executor_new(4, NULL, &executor), 0);
    forbid_processes(true);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(weft_executor_run(executor, add_one, &total, NULL), -EAGAIN);
        EXPECT_EQ(weft_offload(add_one, &total, NULL), -EAGAIN);
        EXPECT_EQ(weft_executor_post(executor, add_one, &total), -EAGAIN);
    }
    EXPECT_EQ(stats_of(executor).threads, 0);
    EXPECT_EQ(stats_of(executor).refused, 200);
    forbid_processes(false);
    EXPECT_EQ(weft_executor_submit(executor, &gate.job, pass_gate, &gate), 0);
    forbid_processes(true); /* where there is one thread, jobs wait for it */
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_executor_submit(executor, &jobs[i], add_one, &total), 0);
    EXPECT_EQ(stats_of(executor).threads, 1);
    sem_post(&gate.go);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_job_wait(&jobs[i], WEFT_NO_DEADLINE, NULL), 0);
    EXPECT_EQ(weft_job_wait(&gate.job, WEFT_NO_DEADLINE, NULL), 0);
    forbid_processes(false);
    weft_executor_free(executor);
    EXPECT_EQ(atomic_load(&total), 2);
    return 0;
}

Test(executor, without_a_thread_the_job_is_refused_and_nothing_is_lost)
{
    become_ordinary();
    on_fibers_counting_fds(1, be_refused_threads, NULL);
}

Test(executor, a_runtime_without_threads_does_not_start)
{
    struct weft_runtime *runtime = NULL;
    become_ordinary();
    int before = open_fds();
    forbid_processes(true);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(weft_runtime_new(NULL, &runtime), -EAGAIN);
    forbid_processes(false);
    cr_assert(runtime == NULL);
    cr_assert_eq(open_fds(), before);
}
