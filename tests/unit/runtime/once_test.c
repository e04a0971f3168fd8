/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "support/fibers.h"

enum { CALLERS = 4 };

struct world {
    struct weft_once once;
    struct weft_event go;
    atomic_int arrivals, runs;
    int failures; /* how often it fails before it succeeds */
    uint64_t deadline_ns;
};

struct caller {
    struct world *world;
    int result;
};

static int initialise(void *arg)
{
    struct world *world = arg;
    int run = atomic_fetch_add(&world->runs, 1);
    int r = weft_event_wait(&world->go, WEFT_NO_DEADLINE);

    if (r < 0)
        return r;
    return run < world->failures ? -EIO : 40 + run;
}

static int call(void *arg)
{
    struct caller *caller = arg;
    struct world *world = caller->world;

    arrive(&world->arrivals);
    caller->result = weft_once_run(&world->once, initialise, world, world->deadline_ns);
    return 0;
}

static void spawn_callers(struct weft_group *group, struct world *world, struct caller *callers,
                          int count)
{
    for (int i = 0; i < count; i++) {
        int before = atomic_load(&world->arrivals);

        callers[i] = (struct caller){world, 1};
        EXPECT_EQ(weft_group_spawn(group, "caller", call, &callers[i]), 0);
        await_arrivals(&world->arrivals, before + 1);
    }
}

Test(once, a_fresh_one_is_not_done)
{
    struct weft_once once;

    memset(&once, 0xff, sizeof(once));
    weft_once_init(&once);
    cr_assert_not(weft_once_done(&once));
}

static int shared_body(void *arg)
{
    struct world world = {.deadline_ns = WEFT_NO_DEADLINE};
    struct caller callers[CALLERS];
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    spawn_callers(&group, &world, callers, CALLERS);
    EXPECT(!weft_once_done(&world.once));
    weft_event_set(&world.go);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.runs), 1);
    for (int i = 0; i < CALLERS; i++)
        EXPECT_EQ(callers[i].result, 40);
    EXPECT(weft_once_done(&world.once));
    EXPECT_EQ(weft_once_run(&world.once, initialise, &world, 0), 40); /* no wait is needed */
    EXPECT_EQ(atomic_load(&world.runs), 1);
    return 0;
}

Test(once, one_runs_it_and_all_get_its_result)
{
    on_fibers(1, shared_body, NULL);
}

static int failure_body(void *arg)
{
    struct world world = {.failures = 2, .deadline_ns = WEFT_NO_DEADLINE};
    struct caller callers[CALLERS];
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    spawn_callers(&group, &world, callers, CALLERS);
    weft_event_set(&world.go);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.runs), 3);
    EXPECT_EQ(callers[0].result, -EIO);
    EXPECT_EQ(callers[1].result, -EIO);
    EXPECT_EQ(callers[2].result, 42);
    EXPECT_EQ(callers[3].result, 42);
    return 0;
}

Test(once, after_a_failure_the_next_one_tries)
{
    on_fibers(1, failure_body, NULL);
}

static int alone_failure_body(void *arg)
{
    struct world world = {.failures = 1, .deadline_ns = WEFT_NO_DEADLINE};
    (void)arg;

    weft_event_set(&world.go);
    EXPECT_EQ(weft_once_run(&world.once, initialise, &world, WEFT_NO_DEADLINE), -EIO);
    EXPECT(!weft_once_done(&world.once));
    EXPECT_EQ(weft_once_run(&world.once, initialise, &world, WEFT_NO_DEADLINE), 41);
    EXPECT(weft_once_done(&world.once));
    return 0;
}

Test(once, a_failure_that_nobody_waited_for_leaves_it_undone)
{
    on_fibers(1, alone_failure_body, NULL);
}

static int runner_cancelled_body(void *arg)
{
    struct world world = {.deadline_ns = WEFT_NO_DEADLINE};
    struct caller runner, others[2];
    struct weft_group running, group;
    (void)arg;

    weft_group_init(&group);
    weft_group_init(&running);
    spawn_callers(&running, &world, &runner, 1);
    spawn_callers(&group, &world, others, 2);
    weft_group_cancel(&running);
    EXPECT_EQ(weft_group_join(&running), -ECANCELED);
    EXPECT_EQ(runner.result, -ECANCELED);
    weft_event_set(&world.go);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.runs), 2);
    EXPECT_EQ(others[0].result, 41);
    EXPECT_EQ(others[1].result, 41);
    return 0;
}

Test(once, when_the_runner_is_cancelled_another_takes_its_part)
{
    on_fibers(1, runner_cancelled_body, NULL);
}

static int waiter_cancelled_body(void *arg)
{
    struct world world = {.failures = 1, .deadline_ns = WEFT_NO_DEADLINE};
    struct caller runner, cancelled, last;
    struct weft_group group, cancelling;
    (void)arg;

    weft_group_init(&group);
    spawn_callers(&group, &world, &runner, 1);
    weft_group_init(&cancelling);
    spawn_callers(&cancelling, &world, &cancelled, 1);
    spawn_callers(&group, &world, &last, 1);
    weft_group_cancel(&cancelling);
    EXPECT_EQ(weft_group_join(&cancelling), -ECANCELED);
    EXPECT_EQ(cancelled.result, -ECANCELED);
    weft_event_set(&world.go);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(runner.result, -EIO);
    EXPECT_EQ(last.result, 41); /* the part went past the cancelled one */
    return 0;
}

Test(once, the_part_of_a_runner_that_failed_is_not_lost_to_a_cancelled_waiter)
{
    on_fibers(1, waiter_cancelled_body, NULL);
}

static int timeout_body(void *arg)
{
    struct world world = {.deadline_ns = WEFT_NO_DEADLINE};
    struct caller runner;
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    spawn_callers(&group, &world, &runner, 1);
    EXPECT_EQ(weft_once_run(&world.once, initialise, &world, weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    weft_event_set(&world.go);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(runner.result, 40);
    return 0;
}

Test(once, a_deadline_ends_the_wait_for_another_runner)
{
    on_fibers(1, timeout_body, NULL);
}

static int run_itself(void *arg)
{
    struct world *world = arg;

    return weft_once_run(&world->once, run_itself, world, WEFT_NO_DEADLINE);
}

static int recursion_body(void *arg)
{
    struct world world = {0};
    (void)arg;

    EXPECT_EQ(weft_once_run(&world.once, run_itself, &world, WEFT_NO_DEADLINE), -EDEADLK);
    EXPECT(!weft_once_done(&world.once));
    return 0;
}

Test(once, a_function_that_runs_its_own_once_is_told)
{
    on_fibers(1, recursion_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct world world = {0};
    struct weft_scope scope;
    (void)arg;

    weft_event_set(&world.go);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_once_run(&world.once, initialise, &world, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(atomic_load(&world.runs), 0);
    return 0;
}

Test(once, running_in_a_cancelled_scope_is_refused)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static void *watch_from_thread(void *arg)
{
    struct world *world = arg;

    EXPECT(!weft_once_done(&world->once));
    weft_event_set(&world->go);
    while (!weft_once_done(&world->once))
        sched_yield();
    return NULL;
}

static int thread_body(void *arg)
{
    struct world world = {0};
    pthread_t thread;
    (void)arg;

    EXPECT_EQ(pthread_create(&thread, NULL, watch_from_thread, &world), 0);
    EXPECT_EQ(weft_once_run(&world.once, initialise, &world, WEFT_NO_DEADLINE), 40);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    return 0;
}

Test(once, a_plain_thread_may_ask_whether_it_is_done)
{
    on_fibers(1, thread_body, NULL);
}
