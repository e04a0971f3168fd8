/* SPDX-License-Identifier: MIT */
/* task_wait_test: weft_tasks_wait of runtime/sync/task.c */
#include "task_support.h"

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
