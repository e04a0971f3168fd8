/* SPDX-License-Identifier: MIT */
/* Functions that signals start; waiting for signals is in signal_test.c. */
#include "support/test.h"

#include <pthread.h>
#include <sys/resource.h>

#include "core/base.h"
#include "support/io.h"

static int add_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return -1; /* which nobody cares for */
}

static void await_count(atomic_int *count, int expected)
{
    uint64_t deadline_ns = soon();
    while (atomic_load(count) < expected) {
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND / 10), 0);
    }
    EXPECT_EQ(atomic_load(count), expected);
}

static void (*disposition(int signal))(int)
{
    struct sigaction action;
    EXPECT_EQ(sigaction(signal, NULL, &action), 0);
    return action.sa_handler;
}

static void block(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- delivery ------------------------------------------------------------------------------- */

static int handle_many(void *arg)
{
    atomic_int count = 0;
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, &count), 0);
    for (int i = 1; i <= 50; i++) {
        EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
        await_count(&count, i);
    }
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), 0);
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), -ENOENT);
    EXPECT(disposition(SIGUSR1) == SIG_IGN);
    return 0;
}

Test(signal_handle, each_delivery_is_a_call)
{
    signal(SIGUSR1, SIG_IGN);
    on_fibers_counting_fds(1, handle_many, NULL);
    on_fibers_counting_fds(2, handle_many, NULL);
}

Test(signal_handle, also_where_every_thread_blocks_it)
{
    signal(SIGUSR1, SIG_IGN);
    block(SIGUSR1);
    on_fibers_counting_fds(1, handle_many, NULL);
    on_fibers_counting_fds(2, handle_many, NULL);
}

static int handle_queued(void *arg)
{
    atomic_int count = 0;
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGRTMIN, add_one, &count), 0);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(kill(getpid(), SIGRTMIN), 0);
    await_count(&count, 20);
    return 0; /* the end of the runtime ends the handling */
}

Test(signal_handle, realtime_signals_queue)
{
#ifndef WITH_TSAN /* which merges those that it holds back for a handler */
    on_fibers_counting_fds(1, handle_queued, NULL);
    cr_assert(disposition(SIGRTMIN) == SIG_DFL);
#endif
    block(SIGRTMIN);
    on_fibers_counting_fds(1, handle_queued, NULL);
}

struct slow {
    atomic_int running, calls;
    struct weft_event go;
};

static int run_slowly(void *arg)
{
    struct slow *slow = arg;
    EXPECT_EQ(atomic_fetch_add(&slow->running, 1), 0); /* never two at once */
    atomic_fetch_add(&slow->calls, 1);
    int r = weft_event_wait(&slow->go, soon());
    atomic_fetch_sub(&slow->running, 1);
    return r;
}

static int handle_slowly(void *arg)
{
    struct slow slow = {0};
    atomic_int others = 0;
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGUSR1, run_slowly, &slow), 0);
    EXPECT_EQ(weft_signal_handle(SIGUSR2, add_one, &others), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    await_count(&slow.calls, 1);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR2), 0); /* of another signal: beside it */
    await_count(&others, 1);
    EXPECT_EQ(atomic_load(&slow.calls), 1);
    weft_event_set(&slow.go);
    await_count(&slow.calls, 2);
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), 0); /* which waits for the call: `slow` is ours */
    return 0;
}

Test(signal_handle, calls_of_one_signal_follow_each_other)
{
    on_fibers_counting_fds(1, handle_slowly, NULL);
    on_fibers_counting_fds(3, handle_slowly, NULL);
}

/* ---- replacing and ending ------------------------------------------------------------------- */

static int replace(void *arg)
{
    atomic_int first = 0, second = 0;
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, &first), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    await_count(&first, 1);
    EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, &second), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    await_count(&second, 1);
    EXPECT_EQ(atomic_load(&first), 1);
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), 0);
    EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, &first), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    await_count(&first, 2);
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), 0);
    return 0;
}

Test(signal_handle, the_function_may_be_replaced)
{
    on_fibers_counting_fds(1, replace, NULL);
    on_fibers_counting_fds(2, replace, NULL);
}

static int end_itself(void *arg)
{
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), 0);
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), -ENOENT);
    return add_one(arg);
}

static int end_from_inside(void *arg)
{
    atomic_int count = 0;
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGUSR1, end_itself, &count), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    await_count(&count, 1);
    EXPECT(disposition(SIGUSR1) == SIG_DFL);
    return 0;
}

Test(signal_handle, a_call_may_end_the_handling)
{
    on_fibers_counting_fds(1, end_from_inside, NULL);
}

static int open_later(void *arg)
{
    struct slow *slow = arg;
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    weft_event_set(&slow->go);
    return 0;
}

static int end_while_it_runs(void *arg)
{
    struct slow slow = {0};
    struct weft_group group;
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGUSR1, run_slowly, &slow), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    await_count(&slow.calls, 1);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "opener", open_later, &slow), 0);
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), 0);
    EXPECT_EQ(atomic_load(&slow.running), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(signal_handle, its_end_waits_for_the_call_that_runs)
{
    on_fibers_counting_fds(1, end_while_it_runs, NULL);
}

/* ---- what stops a runtime ------------------------------------------------------------------- */

static int survive(void *arg)
{
    atomic_int count = 0;
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGTERM, add_one, &count), 0);
    EXPECT_EQ(weft_signal_handle(SIGINT, add_one, &count), 0);
    for (int i = 1; i <= 20; i++) {
        EXPECT_EQ(kill(getpid(), i % 2 ? SIGTERM : SIGINT), 0);
        await_count(&count, i);
    }
    EXPECT_EQ(weft_check_cancel(), 0);
    EXPECT_EQ(weft_signal_unhandle(SIGTERM), 0);
    EXPECT_EQ(kill(getpid(), SIGTERM), 0);
    EXPECT_EQ(weft_sleep_until(soon()), -ECANCELED);
    return 7;
}

Test(signal_handle, what_is_handled_does_not_stop_the_runtime)
{
    cr_assert_eq(weft_run(NULL, survive, NULL), 7);
}

static int stop_it(void *arg)
{
    (void)arg;
    weft_runtime_stop(weft_runtime_self());
    return 0;
}

static int run_for_ever(void *arg)
{
    (void)arg;
    EXPECT_EQ(weft_signal_handle(SIGHUP, stop_it, NULL), 0);
    EXPECT_EQ(kill(getpid(), SIGHUP), 0);
    return weft_sleep_until(soon());
}

Test(signal_handle, a_call_may_stop_the_runtime)
{
    cr_assert_eq(weft_run(NULL, run_for_ever, NULL), -ECANCELED);
    cr_assert(disposition(SIGHUP) == SIG_DFL);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static int be_busy(void *arg)
{
    EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, arg), -EBUSY);
    EXPECT_EQ(weft_signal_unhandle(SIGUSR1), -ENOENT);
    return add_one(arg);
}

static int be_refused(void *arg)
{
    static const int never[] = {-1, 0, SIGKILL, SIGSTOP, SIGSEGV, SIGABRT, 32, 33, 65};
    struct weft_runtime *other;
    struct rlimit before, low;
    atomic_int count = 0, others = 0;
    (void)arg;
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++) {
        EXPECT_EQ(weft_signal_handle(never[i], add_one, &count), -EINVAL);
        EXPECT_EQ(weft_signal_unhandle(never[i]), -ENOENT);
    }
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int room = 0; room < 3; room++) { /* each of its descriptors is missing once */
        int next = dup(0);
        close(next);
        low = before;
        low.rlim_cur = (rlim_t)next + (rlim_t)room;
        EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
        EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, &count), -EMFILE);
        EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    EXPECT(disposition(SIGUSR1) == SIG_DFL);
    EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, &count), 0);
    EXPECT_EQ(weft_runtime_new(NULL, &other), 0);
    EXPECT_EQ(weft_runtime_spawn(other, "other", be_busy, &others), 0);
    await_count(&others, 1);
    EXPECT_EQ(weft_runtime_free(other), 0);
    return 0;
}

Test(signal_handle, what_cannot_be_handled_is_refused)
{
    on_fibers_counting_fds(1, be_refused, NULL);
}

static int be_alone(void *arg)
{
    EXPECT_EQ(weft_signal_handle(SIGUSR1, add_one, arg), -EAGAIN);
    EXPECT(disposition(SIGUSR1) == SIG_DFL);
    return 0;
}

Test(signal_handle, without_a_further_fiber_it_is_refused)
{
    struct weft_options options;
    atomic_int count = 0;
    int before = open_fds();
    weft_options_init(&options);
    options.handle_signals = false;
    options.max_fibers = 1;
    cr_assert_eq(weft_run(&options, be_alone, &count), 0);
    cr_assert_eq(open_fds(), before);
}
