/* SPDX-License-Identifier: MIT */
/* task_test: runtime/sync/task.c */
#include "task_support.h"

static int join_body(void *arg)
{
    struct weft_task *task;
    int value = 42, result = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new("answer", return_its_argument, &value, &task), 0);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, 42);
    EXPECT_EQ(weft_task_join(task, 0, NULL), 0); /* again, and it need not wait */
    EXPECT(weft_task_done(task));
    EXPECT(weft_task_name(task)[0] == 'a');
    weft_task_free(task);
    return 0;
}

Test(task, join_gives_what_its_function_returned)
{
    on_fibers(1, join_body, NULL);
}

static int negative_body(void *arg)
{
    struct weft_task *task;
    int value = -EIO, result = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new(NULL, return_its_argument, &value, &task), 0);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, -EIO);
    EXPECT_EQ(weft_check_cancel(), 0); /* it has cancelled nobody */
    weft_task_free(task);
    EXPECT_EQ(count_unjoined(), 0);
    return 0;
}

Test(task, a_failure_is_a_result_and_cancels_nobody)
{
    on_fibers(1, negative_body, NULL);
}

static int result_body(void *arg)
{
    struct world world = {.value = 7};
    struct weft_task *task;
    int result = 99;
    (void)arg;

    EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &task), 0);
    EXPECT_EQ(weft_task_result(task, &result), -EAGAIN);
    EXPECT_EQ(result, 99);
    EXPECT(!weft_task_done(task));
    weft_event_set(&world.event);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, NULL), 0);
    EXPECT_EQ(weft_task_result(task, &result), 0);
    EXPECT_EQ(result, 7);
    weft_task_free(task);
    return 0;
}

Test(task, its_result_can_be_asked_for_without_waiting)
{
    on_fibers(1, result_body, NULL);
}

static int timeout_body(void *arg)
{
    struct world world = {.value = 7};
    struct weft_task *task;
    int result = 99;
    (void)arg;

    EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &task), 0);
    EXPECT_EQ(weft_task_join(task, weft_deadline_after(WEFT_MILLISECOND), &result), -ETIMEDOUT);
    EXPECT_EQ(result, 99);
    EXPECT(!weft_task_done(task)); /* it goes on, and can be joined again */
    weft_event_set(&world.event);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, 7);
    weft_task_free(task);
    return 0;
}

Test(task, a_join_that_times_out_leaves_the_task_alone)
{
    on_fibers(1, timeout_body, NULL);
}

static int join_the_task(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->result = weft_task_join(world->task, WEFT_NO_DEADLINE, NULL);
    return 0;
}

static int cancelled_join_body(void *arg)
{
    struct world world = {.value = 7, .result = 1};
    struct weft_group group;
    int result = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &world.task), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "joiner", join_the_task, &world), 0);
    await_arrivals(&world.arrivals, 2);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, -ECANCELED);
    EXPECT(!weft_task_done(world.task));
    weft_event_set(&world.event);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, 7);
    weft_task_free(world.task);
    return 0;
}

Test(task, cancelling_who_joins_does_not_cancel_the_task)
{
    on_fibers(1, cancelled_join_body, NULL);
}

static int own_scope_body(void *arg)
{
    struct world world = {.value = 7};
    struct weft_scope scope;
    int result = 0;
    (void)arg;

    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &world.task), 0);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, NULL), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(!weft_task_done(world.task));
    weft_event_set(&world.event);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, 7);
    weft_task_free(world.task);
    return 0;
}

Test(task, the_scope_of_who_started_it_does_not_bound_it)
{
    on_fibers(1, own_scope_body, NULL);
}

static int join_and_note(void *arg)
{
    struct world *world = arg;
    int result = 0;

    arrive(&world->arrivals);
    EXPECT_EQ(weft_task_join(world->task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, 7);
    return 0;
}

static int many_joiners_body(void *arg)
{
    struct world world = {.value = 7};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &world.task), 0);
    weft_group_init(&group);
    for (int i = 0; i < JOINERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "joiner", join_and_note, &world), 0);
    await_arrivals(&world.arrivals, 1 + JOINERS);
    weft_event_set(&world.event);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_task_free(world.task);
    return 0;
}

Test(task, many_fibers_may_join_it)
{
    on_fibers(2, many_joiners_body, NULL);
}

static int cancel_body(void *arg)
{
    struct world world = {.value = 7};
    int result = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &world.task), 0);
    weft_task_cancel(world.task);
    weft_task_cancel(world.task);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, -ECANCELED);
    weft_task_cancel(world.task); /* after its end: nothing */
    weft_task_free(world.task);
    EXPECT_EQ(count_unjoined(), 0);
    return 0;
}

Test(task, cancel_ends_its_waits_and_may_be_repeated)
{
    on_fibers(1, cancel_body, NULL);
}

/* Every wait in a cancelled task fails, but for those inside a shield. */
static int insist(void *arg)
{
    struct world *world = arg;
    struct weft_scope shield;

    EXPECT_EQ(wait_for_event(world), -ECANCELED);
    EXPECT_EQ(weft_sleep(1), -ECANCELED);
    EXPECT_EQ(weft_check_cancel(), -ECANCELED);
    weft_shield_enter(&shield);
    EXPECT_EQ(weft_sleep(1), 0);
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    EXPECT_EQ(weft_yield(), -ECANCELED);
    return 1;
}

static int level_body(void *arg)
{
    struct world world = {.value = 7};
    int result = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new("insistent", insist, &world, &world.task), 0);
    weft_task_cancel(world.task);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, 1);
    weft_task_free(world.task);
    return 0;
}

Test(task, cancellation_is_a_level_that_shields_hold_off)
{
    on_fibers(1, level_body, NULL);
}

static int cancel_itself(void *arg)
{
    (void)arg;
    weft_task_cancel(weft_task_self());
    return weft_sleep(1);
}

static int cancel_self_body(void *arg)
{
    struct weft_task *task;
    int result = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new("suicidal", cancel_itself, NULL, &task), 0);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, -ECANCELED);
    weft_task_free(task);
    return 0;
}

Test(task, a_task_may_cancel_itself)
{
    on_fibers(1, cancel_self_body, NULL);
}

static int cancelled_child(void *arg)
{
    arrive(arg);
    return weft_sleep_until(WEFT_NO_DEADLINE);
}

static int open_a_group(void *arg)
{
    struct world *world = arg;
    struct weft_group group;

    weft_group_init(&group);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(weft_group_spawn(&group, "child", cancelled_child, &world->arrivals), 0);
    return weft_group_join(&group);
}

static int cancel_group_body(void *arg)
{
    struct world world = {0};
    int result = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new("parent", open_a_group, &world, &world.task), 0);
    await_arrivals(&world.arrivals, 3);
    weft_task_cancel(world.task);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, &result), 0);
    EXPECT_EQ(result, -ECANCELED);
    weft_task_free(world.task);
    return 0;
}

Test(task, cancel_reaches_the_groups_inside_it)
{
    on_fibers(2, cancel_group_body, NULL);
}

static int free_body(void *arg)
{
    struct world world = {0};
    struct weft_scope scope;
    (void)arg;

    EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &world.task), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope); /* which the free does not regard */
    weft_task_free(world.task);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    expect_live_fibers(1);
    weft_task_free(NULL);
    weft_task_detach(NULL);
    EXPECT_EQ(count_unjoined(), 0);
    return 0;
}

Test(task, free_cancels_it_and_waits_for_its_end)
{
    on_fibers(1, free_body, NULL);
}

static int set_ran(void *arg)
{
    struct world *world = arg;

    EXPECT_EQ(wait_for_event(world), 7);
    atomic_store(&world->ran, true);
    return 0;
}

static int detach_body(void *arg)
{
    struct world world = {.value = 7};
    (void)arg;

    EXPECT_EQ(weft_task_new("detached", set_ran, &world, &world.task), 0);
    weft_task_detach(world.task);
    EXPECT(!atomic_load(&world.ran));
    weft_event_set(&world.event);
    expect_live_fibers(1);
    EXPECT(atomic_load(&world.ran));
    EXPECT_EQ(count_unjoined(), 0);
    return 0;
}

Test(task, a_detached_task_goes_on)
{
    on_fibers(1, detach_body, NULL);
}

static int expect_self(void *arg)
{
    struct world *world = arg;

    EXPECT_EQ(wait_for_event(world), 7);
    EXPECT(weft_task_self() == world->task);
    EXPECT_EQ(weft_task_join(world->task, WEFT_NO_DEADLINE, NULL), -EDEADLK);
    EXPECT_EQ(weft_tasks_wait(&world->task, 1, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), -EDEADLK);
    return 0;
}

static int self_body(void *arg)
{
    struct world world = {.value = 7};
    struct weft_group group;
    (void)arg;

    EXPECT(!weft_task_self());
    EXPECT_EQ(weft_task_new("self", expect_self, &world, &world.task), 0);
    weft_event_set(&world.event);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, NULL), 0);
    weft_task_free(world.task);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "child", expect_no_self, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(task, knows_itself_and_must_not_join_itself)
{
    cr_assert_null(weft_task_self());
    on_fibers(1, self_body, NULL);
}

static int refuse_new(void *arg)
{
    struct weft_task *task = NULL;
    (void)arg;

    weft_runtime_stop(weft_runtime_self());
    EXPECT_EQ(weft_task_new("late", expect_no_self, NULL, &task), -ESHUTDOWN);
    EXPECT(!task);
    return 0;
}

Test(task, a_stopping_runtime_refuses_new_ones)
{
    on_fibers(1, refuse_new, NULL);
}

static int limit_body(void *arg)
{
    struct world world = {.value = 7};
    struct weft_task *second = NULL;
    (void)arg;

    EXPECT_EQ(weft_task_new("first", wait_for_event, &world, &world.task), 0);
    EXPECT_EQ(weft_task_new("second", wait_for_event, &world, &second), -EAGAIN);
    EXPECT(!second);
    weft_event_set(&world.event);
    EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, NULL), 0);
    weft_task_free(world.task);
    return 0;
}

Test(task, the_limit_of_fibers_counts_tasks_too)
{
    struct weft_options options;

    weft_options_init(&options);
    one_at_a_time(&options);
    options.max_fibers = 2;
    options.handle_signals = false;
    EXPECT_EQ(weft_run(&options, limit_body, NULL), 0);
}
