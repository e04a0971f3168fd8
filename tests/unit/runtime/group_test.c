/* SPDX-License-Identifier: MIT */
#include "core/group.h"

#include <pthread.h>

#include "support/fibers.h"
#include "support/test.h"

static atomic_int done;

static int finish(void *arg)
{
    (void)arg;
    atomic_fetch_add(&done, 1);
    return 0;
}

static int yield_and_finish(void *arg)
{
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(weft_yield(), 0);
    return finish(arg);
}

static int fail(void *arg)
{
    return (int)(intptr_t)arg;
}

static int sleep_for_ever(void *arg)
{
    int r = weft_sleep_until(WEFT_NO_DEADLINE - 1);

    if (arg)
        *(int *)arg = r;
    return r;
}

static int empty_group(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    return weft_group_join(&group);
}

Test(group, join_of_an_empty_group_returns_zero)
{
    on_fibers(1, empty_group, NULL);
}

static int many_children(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < 1000; i++)
        EXPECT_EQ(weft_group_spawn(&group, "child", i % 2 ? finish : yield_and_finish, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&done), 1000);
    return 0;
}

Test(group, join_waits_for_every_child_on_one_worker)
{
    on_fibers(1, many_children, NULL);
}

Test(group, join_waits_for_every_child_on_four_workers)
{
    on_fibers(4, many_children, NULL);
}

static int first_failure(void *arg)
{
    struct weft_group group;
    int slept = 1;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "sleeper", sleep_for_ever, &slept);
    weft_group_spawn(&group, "failing", fail, (void *)(intptr_t)-EIO);
    weft_group_spawn(&group, "failing later", fail, (void *)(intptr_t)-ENOENT);
    EXPECT_EQ(weft_group_join(&group), -EIO);
    EXPECT_EQ(slept, -ECANCELED);
    EXPECT_EQ(weft_check_cancel(), 0); /* the failure stays inside the group */
    return 0;
}

Test(group, first_failure_cancels_the_rest_and_is_the_result)
{
    on_fibers(1, first_failure, NULL);
}

static int body_is_cancelled(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "failing", fail, (void *)(intptr_t)-EIO);
    EXPECT_EQ(weft_sleep(WEFT_SECOND * 1000), -ECANCELED);
    EXPECT_EQ(weft_group_join(&group), -EIO);
    return 0;
}

Test(group, a_child_s_failure_cancels_the_body_of_the_owner)
{
    on_fibers(2, body_is_cancelled, NULL);
}

static int cancel_group(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < 100; i++)
        weft_group_spawn(&group, "sleeper", sleep_for_ever, NULL);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    return 0;
}

Test(group, cancel_ends_parked_children)
{
    on_fibers(1, cancel_group, NULL);
}

static int spawn_after_cancel(void *arg)
{
    struct weft_group group;
    int slept = 1;

    (void)arg;
    weft_group_init(&group);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_spawn(&group, "late", sleep_for_ever, &slept), 0);
    EXPECT_EQ(slept, -ECANCELED);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    return 0;
}

Test(group, a_child_spawned_into_a_cancelled_group_is_cancelled_at_its_first_wait)
{
    on_fibers(1, spawn_after_cancel, NULL);
}

static int nested_child(void *arg)
{
    struct weft_group group;

    weft_group_init(&group);
    weft_group_spawn(&group, "grandchild", sleep_for_ever, arg);
    return weft_group_join(&group);
}

static int nested(void *arg)
{
    struct weft_group group;
    int slept = 1;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "child", nested_child, &slept);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(slept, -ECANCELED);
    return 0;
}

Test(group, cancellation_reaches_groups_inside_groups)
{
    on_fibers(1, nested, NULL);
}

static int sibling_spawns(void *arg)
{
    return weft_group_spawn(arg, "sibling", finish, NULL);
}

static int spawned_by_others(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < 200; i++)
        weft_group_spawn(&group, "spawner", sibling_spawns, &group);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&done), 200);
    return 0;
}

Test(group, children_may_spawn_siblings)
{
    on_fibers(4, spawned_by_others, NULL);
}

static void *spawn_from_thread(void *arg)
{
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_group_spawn(arg, "from a thread", yield_and_finish, NULL), 0);
    return NULL;
}

static int foreign(void *arg)
{
    struct weft_group group;
    pthread_t thread;

    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(pthread_create(&thread, NULL, spawn_from_thread, &group), 0);
    while (atomic_load(&done) < 100)
        EXPECT_EQ(weft_yield(), 0);
    pthread_join(thread, NULL);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(group, plain_threads_may_spawn)
{
    on_fibers(2, foreign, NULL);
}

static int reuse(void *arg)
{
    struct weft_group group;

    (void)arg;
    for (int i = 0; i < 100; i++) {
        weft_group_init(&group);
        weft_group_spawn(&group, "child", yield_and_finish, NULL);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    EXPECT_EQ(atomic_load(&done), 100);
    return 0;
}

Test(group, memory_of_a_joined_group_can_be_used_again)
{
    on_fibers(2, reuse, NULL);
}

static int order[3], order_count;

static int note(void *arg)
{
    order[order_count++] = (int)(intptr_t)arg;
    return 0;
}

static int in_order(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    for (intptr_t i = 0; i < 3; i++)
        weft_group_spawn(&group, "child", note, (void *)i);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT(order[0] == 0 && order[1] == 1 && order[2] == 2);
    return 0;
}

Test(group, children_start_in_the_order_of_spawning)
{
    on_fibers(1, in_order, NULL);
}
