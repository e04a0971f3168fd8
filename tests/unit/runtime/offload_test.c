/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "core/offload.h"
#include "core/worker.h"
#include "support/fibers.h"

/* A job that says that it began, and blocks until it is let go. */
struct gate {
    sem_t begun, go;
    atomic_int runs;
    int result;
    int offloaded; /* what weft_offload returned */
    int got;       /* the job's result as it came back */
};

static void gate_init(struct gate *gate)
{
    memset(gate, 0, sizeof(*gate));
    sem_init(&gate->begun, 0, 0);
    sem_init(&gate->go, 0, 0);
    gate->got = -77;
}

static int pass_gate(void *arg)
{
    struct gate *gate = arg;
    atomic_fetch_add(&gate->runs, 1);
    sem_post(&gate->begun);
    while (sem_wait(&gate->go) < 0)
        ;
    return gate->result;
}

static int offload_gate(void *arg)
{
    struct gate *gate = arg;
    gate->offloaded = weft_offload(pass_gate, gate, &gate->got);
    return 0;
}

static struct offload_pool *pool_of_caller(void)
{
    return worker_offload(worker_self());
}

static struct weft_executor_stats stats_now(void)
{
    struct weft_executor_stats stats;
    weft_executor_stats(weft_executor_default(), &stats);
    return stats;
}

static unsigned threads_now(void)
{
    return stats_now().threads;
}

static unsigned queued_now(void)
{
    return (unsigned)stats_now().queued;
}

static void await_queued(unsigned count)
{
    while (queued_now() != count)
        weft_yield();
}

static void with_threads(unsigned workers, unsigned threads, int (*fn)(void *))
{
    struct weft_options options;
    weft_options_init(&options);
    options.workers = workers;
    options.offload_threads = threads;
    options.handle_signals = false;
    EXPECT_EQ(weft_run(&options, fn, NULL), 0);
}

/* ---- running -------------------------------------------------------------------------------- */

static int report_thread(void *arg)
{
    sigset_t blocked;
    *(pthread_t *)arg = pthread_self();
    EXPECT(!weft_on_fiber());
    EXPECT_EQ(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    EXPECT(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1));
    return -5;
}

static int run_one(void *arg)
{
    pthread_t first = pthread_self(), second = pthread_self();
    int result = 0;
    (void)arg;
    EXPECT_EQ(weft_offload(report_thread, &first, &result), 0);
    EXPECT_EQ(result, -5);
    EXPECT(!pthread_equal(first, pthread_self()));
    while (weft_offload(report_thread, &second, NULL) == 0 && !pthread_equal(first, second))
        ; /* the first may be on its way to idling still */
    return 0;
}

Test(offload, runs_on_a_thread_of_its_own_and_uses_it_again)
{
    with_threads(1, 0, run_one);
}

/* While a job blocks, its worker runs others. */
static int run_beside(void *arg)
{
    struct weft_group group;
    struct gate gate;
    (void)arg;
    gate_init(&gate);
    gate.result = 42;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "blocked", offload_gate, &gate), 0);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    sem_post(&gate.go);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(gate.offloaded, 0);
    EXPECT_EQ(gate.got, 42);
    return 0;
}

Test(offload, holds_up_the_fiber_and_not_the_worker)
{
    with_threads(1, 0, run_beside);
}

enum { MANY = 500 };

static int add_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 1;
}

static int offload_add(void *arg)
{
    int result = 0;
    EXPECT_EQ(weft_offload(add_one, arg, &result), 0);
    EXPECT_EQ(result, 1);
    return 0;
}

static int run_many(void *arg)
{
    struct weft_group group;
    atomic_int total = 0;
    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(weft_group_spawn(&group, "adder", offload_add, &total), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&total), MANY);
    EXPECT(threads_now() <= 3);
    EXPECT_EQ(queued_now(), 0);
    return 0;
}

Test(offload, many_jobs_share_few_threads)
{
    with_threads(2, 3, run_many);
}

/* Every job blocks, so each must have a thread, up to the limit. */
static int run_wide(void *arg)
{
    enum { WIDE = 8 };
    struct weft_group group;
    struct gate gates[WIDE + 2];
    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < WIDE + 2; i++) {
        gate_init(&gates[i]);
        EXPECT_EQ(weft_group_spawn(&group, "blocked", offload_gate, &gates[i]), 0);
    }
    await_queued(2);
    EXPECT_EQ(threads_now(), WIDE);
    for (int i = 0; i < WIDE + 2; i++)
        sem_post(&gates[i].go);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WIDE + 2; i++)
        EXPECT_EQ(atomic_load(&gates[i].runs), 1);
    return 0;
}

Test(offload, grows_to_its_limit_and_queues_the_rest)
{
    with_threads(1, 8, run_wide);
}

static int run_idle(void *arg)
{
    atomic_int total = 0;
    (void)arg;
    offload_pool_set_idle(pool_of_caller(), WEFT_MILLISECOND);
    for (int round = 0; round < 3; round++) {
        EXPECT_EQ(offload_add(&total), 0);
        uint64_t deadline_ns = weft_deadline_after(30 * WEFT_SECOND);
        while (threads_now() > 0) {
            EXPECT(weft_now_ns() < deadline_ns);
            EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
        }
    }
    return 0;
}

Test(offload, idle_threads_leave)
{
    with_threads(1, 4, run_idle);
}

/* Three threads idle; jobs one by one must all go to one of them, so that the others leave. */
static int run_in_a_row(void *arg)
{
    struct weft_group group;
    struct gate gates[3];
    uint64_t deadline_ns = weft_deadline_after(30 * WEFT_SECOND);
    pthread_t last = pthread_self();
    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < 3; i++) {
        gate_init(&gates[i]);
        EXPECT_EQ(weft_group_spawn(&group, "blocked", offload_gate, &gates[i]), 0);
        sem_post(&gates[i].go);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int same = 0; same < 10;) { /* not at once: a thread may be on its way to idling */
        pthread_t now;
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_offload(report_thread, &now, NULL), 0);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
        same = pthread_equal(now, last) ? same + 1 : 0;
        last = now;
    }
    return 0;
}

Test(offload, the_thread_that_idles_last_is_used_first)
{
    with_threads(1, 3, run_in_a_row);
}

/* ---- cancellation --------------------------------------------------------------------------- */

static int offload_queued(void *arg)
{
    struct gate *gate = arg;
    struct weft_scope scope;
    weft_scope_enter(&scope, weft_now_ns() + WEFT_MILLISECOND);
    offload_gate(gate);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    return 0;
}

/* With one thread, which is blocked, the second job is queued. */
static int cancel_while_queued(void *arg)
{
    struct weft_group outer, inner;
    struct gate running, cancelled, expired;
    (void)arg;
    gate_init(&running);
    gate_init(&cancelled);
    gate_init(&expired);
    weft_group_init(&outer);
    EXPECT_EQ(weft_group_spawn(&outer, "running", offload_gate, &running), 0);
    sem_wait(&running.begun);
    weft_group_init(&inner);
    EXPECT_EQ(weft_group_spawn(&inner, "cancelled", offload_gate, &cancelled), 0);
    await_queued(1);
    weft_group_cancel(&inner);
    EXPECT_EQ(weft_group_join(&inner), -ECANCELED);
    EXPECT_EQ(cancelled.offloaded, -ECANCELED);
    EXPECT_EQ(queued_now(), 0);
    EXPECT_EQ(offload_queued(&expired), 0);
    EXPECT_EQ(expired.offloaded, -ETIMEDOUT);
    sem_post(&running.go);
    EXPECT_EQ(weft_group_join(&outer), 0);
    EXPECT_EQ(running.offloaded, 0);
    EXPECT_EQ(atomic_load(&cancelled.runs), 0);
    EXPECT_EQ(atomic_load(&expired.runs), 0);
    EXPECT_EQ(cancelled.got, -77);
    return 0;
}

Test(offload, a_cancel_takes_a_queued_job_back)
{
    with_threads(1, 1, cancel_while_queued);
    with_threads(2, 1, cancel_while_queued);
}

static int cancel_while_running(void *arg)
{
    struct weft_group group;
    struct gate gate;
    (void)arg;
    gate_init(&gate);
    gate.result = 9;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "running", offload_gate, &gate), 0);
    sem_wait(&gate.begun);
    weft_group_cancel(&group);
    struct weft_scope shield;
    weft_shield_enter(&shield);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    EXPECT_EQ(gate.got, -77); /* it waits for the end all the same */
    sem_post(&gate.go);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(gate.offloaded, 0);
    EXPECT_EQ(gate.got, 9);
    return 0;
}

Test(offload, a_job_that_runs_is_waited_for)
{
    with_threads(1, 1, cancel_while_running);
    with_threads(2, 1, cancel_while_running);
}

static int offload_in_cancelled_scope(void *arg)
{
    struct weft_scope scope;
    atomic_int total = 0;
    (void)arg;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_offload(add_one, &total, NULL), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(atomic_load(&total), 0);
    return 0;
}

Test(offload, in_a_cancelled_scope_nothing_runs)
{
    with_threads(1, 1, offload_in_cancelled_scope);
}
