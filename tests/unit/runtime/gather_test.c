/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/fibers.h"

enum { CALLS = 5 };

/* A call that waits for its event, and then returns its value. */
struct job {
    struct weft_event event;
    int value;
    bool ran;
};

struct world {
    struct job jobs[CALLS];
    struct weft_call calls[CALLS];
    atomic_int arrivals;
    int order[CALLS], count;
};

static int return_value(void *arg)
{
    struct job *job = arg;

    job->ran = true;
    return job->value;
}

static int wait_and_return_value(void *arg)
{
    struct job *job = arg;
    int r = weft_event_wait(&job->event, WEFT_NO_DEADLINE);

    job->ran = true;
    return r < 0 ? r : job->value;
}

static void make_calls(struct world *world, int (*fn)(void *))
{
    for (int i = 0; i < CALLS; i++) {
        world->jobs[i].value = 10 * i;
        world->calls[i] =
            (struct weft_call){.name = "call", .fn = fn, .arg = &world->jobs[i], .result = 77};
    }
}

static uint64_t live_fibers(void)
{
    struct weft_runtime_stats stats;

    weft_stats_runtime(weft_runtime_self(), &stats);
    return stats.live_fibers;
}

static void run_in_cancelled_scope(void (*fn)(void))
{
    struct weft_scope scope;

    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    fn();
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
}

/* --- gather */

static int set_in_reverse(void *arg)
{
    struct world *world = arg;

    for (int i = CALLS - 1; i >= 0; i--) {
        EXPECT_EQ(weft_yield(), 0);
        weft_event_set(&world->jobs[i].event);
    }
    return 0;
}

static int gather_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    make_calls(&world, wait_and_return_value);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "setter", set_in_reverse, &world), 0);
    EXPECT_EQ(weft_gather(world.calls, CALLS), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < CALLS; i++)
        EXPECT_EQ(world.calls[i].result, 10 * i);
    return 0;
}

Test(gather, results_are_in_order_however_the_calls_end)
{
    on_fibers(1, gather_body, NULL);
    on_fibers(3, gather_body, NULL);
}

static int nothing_body(void *arg)
{
    (void)arg;
    EXPECT_EQ(weft_gather(NULL, 0), 0);
    EXPECT_EQ(weft_gather_all(NULL, 0), 0);
    return 0;
}

Test(gather, of_nothing_is_nothing)
{
    on_fibers(1, nothing_body, NULL);
}

static int first_error_body(void *arg)
{
    struct world world = {0};
    (void)arg;

    make_calls(&world, wait_and_return_value);
    world.calls[2].fn = return_value;
    world.jobs[2].value = -EIO;
    EXPECT_EQ(weft_gather(world.calls, CALLS), -EIO);
    EXPECT_EQ(world.calls[2].result, -EIO);
    for (int i = 0; i < CALLS; i++)
        if (i != 2)
            EXPECT_EQ(world.calls[i].result, -ECANCELED);
    EXPECT(world.jobs[0].ran);
    EXPECT_EQ(live_fibers(), 1);
    EXPECT_EQ(weft_check_cancel(), 0);
    return 0;
}

Test(gather, the_first_failure_cancels_the_rest)
{
    on_fibers(1, first_error_body, NULL);
}

static void gather_cancelled(void)
{
    struct world world = {0};

    make_calls(&world, return_value);
    EXPECT_EQ(weft_gather(world.calls, CALLS), -ECANCELED);
    for (int i = 0; i < CALLS; i++) {
        EXPECT(!world.jobs[i].ran);
        EXPECT_EQ(world.calls[i].result, -ECANCELED);
    }
    EXPECT_EQ(weft_gather_all(world.calls, CALLS), -ECANCELED);
    EXPECT(!world.jobs[0].ran);
}

static int gather_cancelled_body(void *arg)
{
    (void)arg;
    run_in_cancelled_scope(gather_cancelled);
    return 0;
}

Test(gather, in_a_cancelled_scope_nothing_is_started)
{
    on_fibers(1, gather_cancelled_body, NULL);
}

static int gather_deadline_body(void *arg)
{
    struct world world = {0};
    struct weft_scope scope;
    (void)arg;

    make_calls(&world, wait_and_return_value);
    weft_event_set(&world.jobs[0].event);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(weft_gather(world.calls, CALLS), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    for (int i = 1; i < CALLS; i++) /* the deadline may strike before they were all started */
        EXPECT(world.calls[i].result == -ETIMEDOUT || world.calls[i].result == -ECANCELED);
    EXPECT_EQ(live_fibers(), 1);
    return 0;
}

Test(gather, ends_with_the_deadline_of_its_scope)
{
    on_fibers(1, gather_deadline_body, NULL);
}

static int limit_body(void *arg)
{
    struct world world = {0};
    (void)arg;

    make_calls(&world, wait_and_return_value);
    EXPECT_EQ(weft_gather(world.calls, CALLS), -EAGAIN); /* the third cannot be started */
    EXPECT(world.jobs[0].ran && world.jobs[1].ran && !world.jobs[2].ran);
    for (int i = 0; i < CALLS; i++)
        EXPECT_EQ(world.calls[i].result, -ECANCELED);

    make_calls(&world, return_value); /* these end at once: it is the living that count */
    EXPECT_EQ(weft_gather(world.calls, CALLS), 0);
    EXPECT_EQ(world.calls[4].result, 40);
    return 0;
}

static int set_when_all_were_tried(void *arg)
{
    struct world *world = arg;

    while (world->calls[CALLS - 1].result != -EAGAIN)
        EXPECT_EQ(weft_yield(), 0);
    weft_event_set(&world->jobs[0].event);
    return 0;
}

static int limit_all_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    make_calls(&world, wait_and_return_value);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "setter", set_when_all_were_tried, &world), 0);
    EXPECT_EQ(weft_gather_all(world.calls, CALLS), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.calls[0].result, 0);
    for (int i = 1; i < CALLS; i++)
        EXPECT_EQ(world.calls[i].result, -EAGAIN); /* why it was not started */
    return 0;
}

static int limit_completions_body(void *arg)
{
    struct world world = {0};
    struct weft_completions completions;
    (void)arg;

    make_calls(&world, wait_and_return_value);
    EXPECT_EQ(weft_completions_init(&completions, world.calls, CALLS), -EAGAIN);
    EXPECT(world.jobs[0].ran && world.jobs[1].ran);
    EXPECT_EQ(live_fibers(), 1);
    EXPECT_EQ(weft_check_cancel(), 0); /* its scope was left */
    return 0;
}

Test(gather, a_call_that_cannot_be_started_is_an_error)
{
    struct weft_options options;

    weft_options_init(&options);
    one_at_a_time(&options);
    options.max_fibers = 3;
    options.handle_signals = false;
    EXPECT_EQ(weft_run(&options, limit_body, NULL), 0);
    EXPECT_EQ(weft_run(&options, limit_all_body, NULL), 0);
    EXPECT_EQ(weft_run(&options, limit_completions_body, NULL), 0);
}

static int gather_all_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    make_calls(&world, wait_and_return_value);
    world.jobs[1].value = -EIO;
    world.jobs[3].value = -ECANCELED;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "setter", set_in_reverse, &world), 0);
    EXPECT_EQ(weft_gather_all(world.calls, CALLS), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.calls[0].result, 0);
    EXPECT_EQ(world.calls[1].result, -EIO);
    EXPECT_EQ(world.calls[2].result, 20);
    EXPECT_EQ(world.calls[3].result, -ECANCELED);
    EXPECT_EQ(world.calls[4].result, 40);
    return 0;
}

Test(gather_all, failures_are_results_and_cancel_nothing)
{
    on_fibers(1, gather_all_body, NULL);
    on_fibers(3, gather_all_body, NULL);
}

/* --- timeout */

static int timeout_body(void *arg)
{
    struct job job = {.value = 5};
    int result = 77;
    (void)arg;

    EXPECT_EQ(weft_timeout(WEFT_NO_DEADLINE, return_value, &job, &result), 0);
    EXPECT_EQ(result, 5);
    EXPECT_EQ(weft_timeout(weft_deadline_after(1000 * WEFT_SECOND), return_value, &job, NULL), 0);
    job.value = -EIO;
    EXPECT_EQ(weft_timeout(WEFT_NO_DEADLINE, return_value, &job, &result), 0);
    EXPECT_EQ(result, -EIO);
    job.value = -ETIMEDOUT; /* its own, of something inside */
    EXPECT_EQ(weft_timeout(WEFT_NO_DEADLINE, return_value, &job, &result), 0);
    EXPECT_EQ(result, -ETIMEDOUT);
    return 0;
}

Test(timeout, gives_what_the_function_returned)
{
    on_fibers(1, timeout_body, NULL);
}

static int return_in_spite(void *arg)
{
    EXPECT_EQ(wait_and_return_value(arg), -ETIMEDOUT);
    return 3;
}

static int timeout_expires_body(void *arg)
{
    struct job job = {.value = 5};
    int result = 77;
    (void)arg;

    EXPECT_EQ(
        weft_timeout(weft_deadline_after(WEFT_MILLISECOND), wait_and_return_value, &job, &result),
        -ETIMEDOUT);
    EXPECT_EQ(result, 77);
    EXPECT(job.ran);
    EXPECT_EQ(weft_timeout(0, wait_and_return_value, &job, &result), -ETIMEDOUT);
    EXPECT_EQ(weft_timeout(0, return_in_spite, &job, &result), 0);
    EXPECT_EQ(result, 3); /* what it had to give is not lost */
    EXPECT_EQ(weft_check_cancel(), 0);
    return 0;
}

Test(timeout, a_function_that_takes_too_long_is_cancelled)
{
    on_fibers(1, timeout_expires_body, NULL);
}

static void timeout_cancelled(void)
{
    struct job job = {.value = 5};
    int result = 77;

    EXPECT_EQ(weft_timeout(WEFT_NO_DEADLINE, return_value, &job, &result), -ECANCELED);
    EXPECT(!job.ran);
    EXPECT_EQ(result, 77);
}

static int time_out_in_group(void *arg)
{
    struct world *world = arg;
    int result = 77;

    arrive(&world->arrivals);
    EXPECT_EQ(weft_timeout(WEFT_NO_DEADLINE, wait_and_return_value, &world->jobs[0], &result),
              -ECANCELED);
    EXPECT_EQ(result, 77);
    return 0;
}

static int timeout_cancelled_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    run_in_cancelled_scope(timeout_cancelled);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "child", time_out_in_group, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    return 0;
}

Test(timeout, is_cancelled_from_outside)
{
    on_fibers(1, timeout_cancelled_body, NULL);
}

/* --- completions */

static int completions_body(void *arg)
{
    struct weft_completions completions;
    struct world world = {0};
    struct weft_group group;
    struct weft_call *call = NULL;
    (void)arg;

    make_calls(&world, wait_and_return_value);
    world.jobs[2].value = -EIO; /* which cancels nothing */
    weft_group_init(&group);
    EXPECT_EQ(weft_completions_init(&completions, world.calls, CALLS), 0);
    for (int i = CALLS - 1; i >= 0; i--) {
        weft_event_set(&world.jobs[i].event);
        EXPECT_EQ(weft_completions_next(&completions, WEFT_NO_DEADLINE, &call), 1);
        EXPECT(call == &world.calls[i]);
        EXPECT_EQ(call->result, i == 2 ? -EIO : 10 * i);
    }
    EXPECT_EQ(weft_completions_next(&completions, WEFT_NO_DEADLINE, &call), 0);
    EXPECT_EQ(weft_completions_next(&completions, WEFT_NO_DEADLINE, &call), 0);
    weft_completions_destroy(&completions);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(completions, calls_come_in_the_order_in_which_they_end)
{
    on_fibers(1, completions_body, NULL);
    on_fibers(3, completions_body, NULL);
}

static int ended_before_body(void *arg)
{
    struct weft_completions completions;
    struct world world = {0};
    struct weft_call *call = NULL;
    (void)arg;

    make_calls(&world, return_value);
    EXPECT_EQ(weft_completions_init(&completions, world.calls, CALLS), 0);
    for (int i = 0; i < CALLS; i++) {
        EXPECT_EQ(weft_completions_next(&completions, 0, &call), 1); /* no wait is needed */
        EXPECT(call == &world.calls[i]);
    }
    EXPECT_EQ(weft_completions_next(&completions, 0, &call), 0);
    weft_completions_destroy(&completions);
    EXPECT_EQ(weft_completions_init(&completions, NULL, 0), 0);
    EXPECT_EQ(weft_completions_next(&completions, 0, &call), 0);
    weft_completions_destroy(&completions);
    return 0;
}

Test(completions, those_that_ended_before_are_not_forgotten)
{
    on_fibers(1, ended_before_body, NULL);
}

static int next_fails_body(void *arg)
{
    struct weft_completions completions;
    struct world world = {0};
    struct weft_call *call = NULL;
    struct weft_scope scope;
    (void)arg;

    make_calls(&world, wait_and_return_value);
    EXPECT_EQ(weft_completions_init(&completions, world.calls, CALLS), 0);
    EXPECT_EQ(weft_completions_next(&completions, weft_deadline_after(WEFT_MILLISECOND), &call),
              -ETIMEDOUT);
    weft_event_set(&world.jobs[3].event);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_completions_next(&completions, WEFT_NO_DEADLINE, &call), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(!call);
    EXPECT_EQ(weft_completions_next(&completions, WEFT_NO_DEADLINE, &call), 1);
    EXPECT(call == &world.calls[3]); /* it was not lost */
    weft_completions_destroy(&completions);
    for (int i = 0; i < CALLS; i++)
        EXPECT_EQ(world.calls[i].result, i == 3 ? 30 : -ECANCELED);
    EXPECT_EQ(live_fibers(), 1);
    EXPECT_EQ(weft_check_cancel(), 0);
    return 0;
}

Test(completions, a_next_that_fails_takes_nothing_and_destroy_cancels_the_rest)
{
    on_fibers(1, next_fails_body, NULL);
}

static void completions_cancelled(void)
{
    struct weft_completions completions;
    struct world world = {0};

    make_calls(&world, return_value);
    EXPECT_EQ(weft_completions_init(&completions, world.calls, CALLS), -ECANCELED);
    EXPECT(!world.jobs[0].ran);
}

static int completions_cancelled_body(void *arg)
{
    (void)arg;
    run_in_cancelled_scope(completions_cancelled);
    return 0;
}

Test(completions, in_a_cancelled_scope_nothing_is_started)
{
    on_fibers(1, completions_cancelled_body, NULL);
}

static int many_body(void *arg)
{
    enum { MANY = 500 };
    static struct weft_call calls[MANY];
    static struct job jobs[MANY];
    struct weft_completions completions;
    struct weft_call *call = NULL;
    int sum = 0;
    (void)arg;

    for (int i = 0; i < MANY; i++) {
        jobs[i] = (struct job){.value = i};
        weft_event_set(&jobs[i].event);
        calls[i] = (struct weft_call){.fn = wait_and_return_value, .arg = &jobs[i]};
    }
    EXPECT_EQ(weft_completions_init(&completions, calls, MANY), 0);
    while (weft_completions_next(&completions, WEFT_NO_DEADLINE, &call) > 0)
        sum += call->result;
    weft_completions_destroy(&completions);
    EXPECT_EQ(sum, MANY * (MANY - 1) / 2);
    return 0;
}

Test(completions, each_call_comes_once_on_many_workers)
{
    on_fibers(4, many_body, NULL);
}
