/* SPDX-License-Identifier: MIT */
/* task_outside_test: tasks and plain threads, and results that nobody asks for */
#include "task_support.h"

Test(task, a_plain_thread_may_start_cancel_and_free_one)
{
    struct world world = {.value = 7};
    struct weft_runtime *runtime;
    struct weft_options options;
    int result = 0;

    weft_options_init(&options);
    one_at_a_time(&options);
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
    one_at_a_time(&options);
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
