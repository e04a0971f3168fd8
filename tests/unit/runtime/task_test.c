/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <signal.h>

#include "core/runtime.h"
#include "support/fibers.h"

enum { JOINERS = 4, MANY = 100 };

struct world {
    struct weft_event event;
    struct weft_task *task;
    atomic_int arrivals;
    atomic_bool ran;
    int result;
    int value;
};

static int return_its_argument(void *arg)
{
    return *(int *)arg;
}

static int wait_for_event(void *arg)
{
    struct world *world = arg;
    int r;

    arrive(&world->arrivals);
    r = weft_event_wait(&world->event, WEFT_NO_DEADLINE);
    return r < 0 ? r : world->value;
}

/* Give the fiber's last steps, after its task has ended, a chance to be taken. */
static void expect_live_fibers(uint64_t count)
{
    struct weft_runtime_stats stats;

    do {
        EXPECT_EQ(weft_yield(), 0);
        weft_stats_runtime(weft_runtime_self(), &stats);
    } while (stats.live_fibers != count);
}

static uint64_t count_unjoined(void)
{
    struct weft_runtime_stats stats;

    weft_stats_runtime(weft_runtime_self(), &stats);
    return stats.unjoined;
}

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

static int expect_no_self(void *arg)
{
    (void)arg;
    EXPECT(!weft_task_self());
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
    options.workers = 1;
    options.max_fibers = 2;
    options.handle_signals = false;
    EXPECT_EQ(weft_run(&options, limit_body, NULL), 0);
}

/* --- weft_tasks_wait */

struct three {
    struct world worlds[3];
    struct weft_task *tasks[3];
};

static void start_three(struct three *three)
{
    for (int i = 0; i < 3; i++) {
        three->worlds[i].value = i;
        EXPECT_EQ(
            weft_task_new("one of three", wait_for_event, &three->worlds[i], &three->tasks[i]), 0);
    }
}

static void free_three(struct three *three)
{
    for (int i = 0; i < 3; i++)
        weft_task_free(three->tasks[i]);
}

static int set_second(void *arg)
{
    struct three *three = arg;

    EXPECT_EQ(weft_yield(), 0);
    weft_event_set(&three->worlds[1].event);
    return 0;
}

static int first_done_body(void *arg)
{
    struct three three = {0};
    struct weft_group group;
    (void)arg;

    start_three(&three);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "setter", set_second, &three), 0);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_FIRST_DONE, WEFT_NO_DEADLINE), 1);
    EXPECT(weft_task_done(three.tasks[1]) && !weft_task_done(three.tasks[0]));
    EXPECT_EQ(weft_group_join(&group), 0);
    /* It has ended before: no wait is needed, not even with a deadline that has passed. */
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_FIRST_DONE, 0), 1);
    free_three(&three);
    return 0;
}

Test(tasks_wait, first_done_returns_when_one_has_ended)
{
    on_fibers(1, first_done_body, NULL);
    on_fibers(2, first_done_body, NULL);
}

static int set_all(void *arg)
{
    struct three *three = arg;

    for (int i = 2; i >= 0; i--) {
        weft_event_set(&three->worlds[i].event);
        EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

static int all_body(void *arg)
{
    struct three three = {0};
    struct weft_group group;
    (void)arg;

    start_three(&three);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "setter", set_all, &three), 0);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), 3);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_ALL, 0), 3);
    free_three(&three);
    return 0;
}

Test(tasks_wait, all_returns_when_the_last_has_ended)
{
    on_fibers(1, all_body, NULL);
    on_fibers(2, all_body, NULL);
}

static int first_error_body(void *arg)
{
    struct three three = {0};
    (void)arg;

    start_three(&three);
    three.worlds[1].value = -EIO;
    weft_event_set(&three.worlds[0].event);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_FIRST_ERROR,
                              weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    EXPECT(weft_task_done(three.tasks[0])); /* without an error */
    weft_event_set(&three.worlds[1].event);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_FIRST_ERROR, WEFT_NO_DEADLINE), 2);
    EXPECT(!weft_task_done(three.tasks[2]));
    EXPECT_EQ(count_unjoined(), 0);
    free_three(&three);
    EXPECT_EQ(count_unjoined(), 1); /* looking is not asking for the result */
    return 0;
}

Test(tasks_wait, first_error_returns_when_one_has_failed)
{
    on_fibers(1, first_error_body, NULL);
}

static int no_error_body(void *arg)
{
    struct three three = {0};
    (void)arg;

    start_three(&three);
    EXPECT_EQ(set_all(&three), 0);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_FIRST_ERROR, WEFT_NO_DEADLINE), 3);
    free_three(&three);
    return 0;
}

Test(tasks_wait, first_error_returns_when_all_have_ended_without_one)
{
    on_fibers(1, no_error_body, NULL);
}

static int nulls_body(void *arg)
{
    struct three three = {0};
    struct weft_task *none[2] = {0};
    (void)arg;

    EXPECT_EQ(weft_tasks_wait(NULL, 0, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(weft_tasks_wait(none, 2, WEFT_WAIT_FIRST_DONE, WEFT_NO_DEADLINE), 0);
    start_three(&three);
    weft_task_free(three.tasks[1]);
    three.tasks[1] = NULL;
    weft_event_set(&three.worlds[0].event);
    weft_event_set(&three.worlds[2].event);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), 2);
    free_three(&three);
    return 0;
}

Test(tasks_wait, skips_places_that_are_empty)
{
    on_fibers(1, nulls_body, NULL);
}

static int wait_cancel_body(void *arg)
{
    struct three three = {0};
    struct weft_scope scope;
    (void)arg;

    start_three(&three);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), -ETIMEDOUT);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_tasks_wait(three.tasks, 3, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    for (int i = 0; i < 3; i++)
        EXPECT(!weft_task_done(three.tasks[i]));
    free_three(&three);
    return 0;
}

Test(tasks_wait, ends_with_its_scope_and_leaves_the_tasks_alone)
{
    on_fibers(1, wait_cancel_body, NULL);
}

static int many_body(void *arg)
{
    struct weft_task *tasks[MANY];
    int values[MANY], result = 0;
    (void)arg;

    for (int i = 0; i < MANY; i++) {
        values[i] = i;
        EXPECT_EQ(weft_task_new("many", return_its_argument, &values[i], &tasks[i]), 0);
    }
    EXPECT_EQ(weft_tasks_wait(tasks, MANY, WEFT_WAIT_ALL, WEFT_NO_DEADLINE), MANY);
    for (int i = 0; i < MANY; i++) {
        EXPECT_EQ(weft_task_result(tasks[i], &result), 0);
        EXPECT_EQ(result, i);
        weft_task_free(tasks[i]);
    }
    return 0;
}

Test(tasks_wait, takes_any_number_of_tasks)
{
    on_fibers(4, many_body, NULL);
}

/* --- from outside, and results that nobody asks for */

Test(task, a_plain_thread_may_start_cancel_and_free_one)
{
    struct world world = {.value = 7};
    struct weft_runtime *runtime;
    struct weft_options options;
    int result = 0;

    weft_options_init(&options);
    options.workers = 1;
    EXPECT_EQ(weft_runtime_new(&options, &runtime), 0);
    EXPECT_EQ(weft_runtime_task(runtime, "outside", wait_for_event, &world, &world.task), 0);
    weft_task_cancel(world.task); /* perhaps before it has begun */
    while (!weft_task_done(world.task))
        sched_yield();
    EXPECT_EQ(weft_task_result(world.task, &result), 0);
    EXPECT_EQ(result, -ECANCELED);
    weft_task_free(world.task);
    EXPECT_EQ(weft_runtime_free(runtime), 0);
}

Test(task, into_a_runtime_that_stops_none_is_started)
{
    struct weft_task *task = NULL;
    struct weft_runtime *runtime;
    struct weft_options options;

    weft_options_init(&options);
    options.workers = 1;
    EXPECT_EQ(weft_runtime_new(&options, &runtime), 0);
    weft_runtime_stop(runtime);
    EXPECT_EQ(weft_runtime_task(runtime, "late", expect_no_self, NULL, &task), -ESHUTDOWN);
    EXPECT(!task);
    EXPECT_EQ(weft_runtime_free(runtime), 0);
}

static int free_itself(void *arg)
{
    (void)arg;
    weft_task_free(weft_task_self());
    return 0;
}

static int free_itself_body(void *arg)
{
    struct weft_task *task;
    (void)arg;

    return weft_task_new("confused", free_itself, NULL, &task);
}

Test(task, one_that_frees_itself_aborts, .signal = SIGABRT)
{
    on_fibers(1, free_itself_body, NULL);
}

static atomic_int failed, forgotten;

static void note_unjoined(struct weft_runtime *runtime, const struct unjoined *unjoined)
{
    EXPECT(runtime);
    EXPECT_EQ(strcmp(unjoined->name, "unjoined"), 0);
    if (unjoined->kind == UNJOINED_FAILED)
        EXPECT_EQ(unjoined->result, -EIO);
    atomic_fetch_add(unjoined->kind == UNJOINED_FAILED ? &failed : &forgotten, 1);
}

static int lose_results(void *arg)
{
    int fine = 3, bad = -EIO;
    struct weft_task **kept = arg, *task;

    weft_runtime_self()->on_unjoined = note_unjoined;
    EXPECT_EQ(weft_task_new("unjoined", return_its_argument, &bad, &task), 0);
    weft_task_free(task);
    EXPECT_EQ(count_unjoined(), 1);
    EXPECT_EQ(weft_task_new("unjoined", return_its_argument, &bad, &task), 0);
    weft_task_detach(task);
    EXPECT_EQ(count_unjoined(), 2);
    EXPECT_EQ(weft_task_new("unjoined", return_its_argument, &fine, &task), 0);
    weft_task_free(task); /* nothing failed, nothing lost */
    EXPECT_EQ(weft_task_new("joined", return_its_argument, &bad, &task), 0);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, NULL), 0);
    weft_task_free(task);
    EXPECT_EQ(count_unjoined(), 2);
    EXPECT_EQ(weft_task_new("joined", return_its_argument, &bad, &kept[0]), 0);
    EXPECT_EQ(weft_task_join(kept[0], WEFT_NO_DEADLINE, NULL), 0);
    EXPECT_EQ(weft_task_new("unjoined", return_its_argument, &fine, &kept[1]), 0);
    return 0;
}

Test(task, results_that_nobody_asked_for_are_told)
{
    struct weft_task *kept[2];
    int result = 0;

    on_fibers(1, lose_results, kept);
    cr_assert_eq(atomic_load(&failed), 2);
    cr_assert_eq(atomic_load(&forgotten), 1);
    cr_assert_eq(weft_task_result(kept[1], &result), 0); /* the handle outlives its runtime */
    cr_assert_eq(result, 3);
    weft_task_cancel(kept[1]);
    weft_task_free(kept[0]);
    weft_task_free(kept[1]);
}

static int fail_after_event(void *arg)
{
    EXPECT_EQ(wait_for_event(arg), 7);
    return -EIO;
}

static int detached_failure_body(void *arg)
{
    struct world world = {.value = 7};
    (void)arg;

    EXPECT_EQ(weft_task_new("doomed", fail_after_event, &world, &world.task), 0);
    weft_task_detach(world.task);
    EXPECT_EQ(count_unjoined(), 0);
    weft_event_set(&world.event);
    expect_live_fibers(1);
    EXPECT_EQ(count_unjoined(), 1);
    return 0;
}

Test(task, the_failure_of_a_detached_task_is_told)
{
    on_fibers(1, detached_failure_body, NULL);
}

static int leave_running(void *arg)
{
    struct world *world = arg;

    return weft_task_new("waiter", wait_for_event, world, &world->task);
}

Test(task, the_runtimes_stop_cancels_it)
{
    struct world world = {.value = 7};
    int result = 0;

    on_fibers(1, leave_running, &world);
    cr_assert_eq(weft_task_result(world.task, &result), 0);
    cr_assert_eq(result, -ECANCELED);
    weft_task_free(world.task);
}

/* Many ends and frees that meet, on several workers. */
static int free_race_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 300; round++) {
        struct world world = {.value = 7};

        EXPECT_EQ(weft_task_new("waiter", wait_for_event, &world, &world.task), 0);
        weft_event_set(&world.event);
        if (round % 2)
            EXPECT_EQ(weft_task_join(world.task, WEFT_NO_DEADLINE, NULL), 0);
        weft_task_free(world.task);
    }
    expect_live_fibers(1);
    return 0;
}

Test(task, its_end_may_race_with_join_and_free)
{
    on_fibers(3, free_race_body, NULL);
}
