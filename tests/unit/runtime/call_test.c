/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "support/fibers.h"

static struct weft_runtime *start_runtime_with(unsigned workers, uint64_t grace_ns)
{
    struct weft_runtime *runtime;
    struct weft_options options;

    weft_options_init(&options);
    options.workers = workers;
    options.grace_ns = grace_ns;
    EXPECT_EQ(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

static struct weft_runtime *start_runtime(unsigned workers)
{
    return start_runtime_with(workers, 0);
}

static int sleep_and_add_one(void *arg)
{
    EXPECT(weft_on_fiber());
    EXPECT_EQ(strcmp(weft_fiber_name(), "called"), 0);
    EXPECT_EQ(weft_sleep(WEFT_MICROSECOND), 0);
    return *(int *)arg + 1;
}

Test(call, gives_a_plain_thread_what_the_function_returned)
{
    struct weft_runtime *runtime = start_runtime(2);
    int number = 41, result = 0;

    EXPECT_EQ(weft_runtime_call(runtime, "called", sleep_and_add_one, &number, &result), 0);
    EXPECT_EQ(result, 42);
    EXPECT_EQ(weft_runtime_call(runtime, "called", sleep_and_add_one, &number, NULL), 0);
    EXPECT_EQ(weft_runtime_free(runtime), 0);
}

static void *call_many_times(void *arg)
{
    for (int i = 0; i < 100; i++) {
        int result = 0;

        EXPECT_EQ(weft_runtime_call(arg, "called", sleep_and_add_one, &i, &result), 0);
        EXPECT_EQ(result, i + 1);
    }
    return NULL;
}

Test(call, any_number_of_threads_may_call)
{
    struct weft_runtime *runtime = start_runtime(2);
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, call_many_times, runtime), 0);
    for (int i = 0; i < 4; i++)
        EXPECT_EQ(pthread_join(threads[i], NULL), 0);
    EXPECT_EQ(weft_runtime_free(runtime), 0);
}

static int call_from_fiber(void *arg)
{
    int result = 5;

    EXPECT_EQ(weft_runtime_call(arg ? arg : weft_runtime_self(), "called", sleep_and_add_one, NULL,
                                &result),
              -EDEADLK);
    EXPECT_EQ(result, 5);
    EXPECT_EQ(weft_runtime_wait(weft_runtime_self()), -EDEADLK);
    return 0;
}

Test(call, on_a_fiber_of_any_runtime_it_is_refused)
{
    struct weft_runtime *other = start_runtime(1);

    on_fibers(1, call_from_fiber, NULL);
    on_fibers(1, call_from_fiber, other);
    EXPECT_EQ(weft_runtime_free(other), 0);
}

Test(call, into_a_stopping_runtime_is_refused)
{
    struct weft_runtime *runtime = start_runtime(1);
    int result = 5;

    weft_runtime_stop(runtime);
    EXPECT_EQ(weft_runtime_call(runtime, "called", sleep_and_add_one, NULL, &result), -ESHUTDOWN);
    EXPECT_EQ(result, 5);
    EXPECT_EQ(weft_runtime_free(runtime), 0);
}

struct stopper {
    struct weft_runtime *runtime;
    atomic_int arrivals;
};

static int wait_for_ever(void *arg)
{
    struct stopper *stopper = arg;

    arrive(&stopper->arrivals);
    return weft_sleep_until(WEFT_NO_DEADLINE);
}

static void *stop_once_it_runs(void *arg)
{
    struct stopper *stopper = arg;

    while (atomic_load(&stopper->arrivals) == 0)
        sched_yield();
    weft_runtime_stop(stopper->runtime);
    return NULL;
}

Test(call, is_cancelled_by_the_stop_like_all_others)
{
    struct stopper stopper = {.runtime = start_runtime(1)};
    pthread_t thread;
    int result = 0;

    EXPECT_EQ(pthread_create(&thread, NULL, stop_once_it_runs, &stopper), 0);
    EXPECT_EQ(weft_runtime_call(stopper.runtime, "called", wait_for_ever, &stopper, &result), 0);
    EXPECT_EQ(result, -ECANCELED);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(weft_runtime_free(stopper.runtime), 0);
}

/* --- weft_runtime_wait: run_forever */

Test(wait, returns_when_somebody_has_stopped_the_runtime_and_all_have_ended)
{
    struct stopper stopper = {.runtime = start_runtime(2)};
    pthread_t thread;

    EXPECT_EQ(weft_runtime_spawn(stopper.runtime, "waiter", wait_for_ever, &stopper), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, stop_once_it_runs, &stopper), 0);
    EXPECT_EQ(weft_runtime_wait(stopper.runtime), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(weft_runtime_wait(stopper.runtime), 0); /* it has, and stays so */
    EXPECT_EQ(weft_runtime_free(stopper.runtime), 0);
}

static int stop_from_inside(void *arg)
{
    (void)arg;
    weft_runtime_stop(weft_runtime_self());
    return 0;
}

Test(wait, a_fiber_may_stop_it_and_signals_may_be_left_alone)
{
    struct weft_runtime *runtime;
    struct weft_options options;

    weft_options_init(&options);
    one_at_a_time(&options);
    options.handle_signals = false;
    EXPECT_EQ(weft_runtime_new(&options, &runtime), 0);
    EXPECT_EQ(weft_runtime_spawn(runtime, "stopper", stop_from_inside, NULL), 0);
    EXPECT_EQ(weft_runtime_wait(runtime), 0);
    EXPECT_EQ(weft_runtime_free(runtime), 0);
}

static int signal_itself(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
    return 0;
}

Test(wait, a_signal_stops_it)
{
    struct weft_runtime *runtime;
    sigset_t set, before;

    /* So that it stays pending where it comes before the wait has begun. */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    runtime = start_runtime(1);
    EXPECT_EQ(weft_runtime_spawn(runtime, "signaller", signal_itself, NULL), 0);
    EXPECT_EQ(weft_runtime_wait(runtime), 0);
    EXPECT_EQ(weft_runtime_free(runtime), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int ignore_cancellation(void *arg)
{
    atomic_bool *go = arg;

    while (!atomic_load(go))
        weft_yield();
    return 0;
}

Test(wait, gives_up_on_fibers_that_do_not_end)
{
    struct weft_runtime *runtime = start_runtime_with(1, WEFT_MILLISECOND);
    atomic_bool go = false;

    EXPECT_EQ(weft_runtime_spawn(runtime, "stubborn", ignore_cancellation, &go), 0);
    weft_runtime_stop(runtime);
    EXPECT_EQ(weft_runtime_wait(runtime), -ETIMEDOUT);
    atomic_store(&go, true);
    while (weft_runtime_wait(runtime) < 0)
        sched_yield();
    EXPECT_EQ(weft_runtime_free(runtime), 0);
}
