/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <string.h>

#include "support/fibers.h"

enum { WAITERS = 3 };

struct world {
    struct weft_waitgroup waitgroup;
    atomic_int arrivals, returned;
    int result;
};

Test(waitgroup, the_count_is_kept_within_its_bounds)
{
    struct weft_waitgroup waitgroup;

    memset(&waitgroup, 0xff, sizeof(waitgroup));
    weft_waitgroup_init(&waitgroup);
    cr_assert_eq(weft_waitgroup_count(&waitgroup), 0);
    cr_assert_eq(weft_waitgroup_done(&waitgroup), -EINVAL);
    cr_assert_eq(weft_waitgroup_add(&waitgroup, 2), 0);
    cr_assert_eq(weft_waitgroup_add(&waitgroup, UINT32_MAX - 1), -EOVERFLOW);
    cr_assert_eq(weft_waitgroup_count(&waitgroup), 2);
    cr_assert_eq(weft_waitgroup_add(&waitgroup, UINT32_MAX - 2), 0);
    cr_assert_eq(weft_waitgroup_count(&waitgroup), UINT32_MAX);
    weft_waitgroup_init(&waitgroup);
    cr_assert_eq(weft_waitgroup_add(&waitgroup, 1), 0);
    cr_assert_eq(weft_waitgroup_done(&waitgroup), 0);
    cr_assert_eq(weft_waitgroup_done(&waitgroup), -EINVAL);
}

static int wait_and_note(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    world->result = weft_waitgroup_wait(&world->waitgroup, WEFT_NO_DEADLINE);
    atomic_fetch_add(&world->returned, 1);
    return world->result;
}

static void spawn_waiters(struct weft_group *group, struct world *world)
{
    weft_group_init(group);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(weft_group_spawn(group, "waiter", wait_and_note, world), 0);
        await_arrivals(&world->arrivals, i + 1);
    }
}

static int wait_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_waitgroup_wait(&world.waitgroup, 0), 0); /* nothing is under way */
    EXPECT_EQ(weft_waitgroup_add(&world.waitgroup, 2), 0);
    spawn_waiters(&group, &world);
    EXPECT_EQ(weft_waitgroup_done(&world.waitgroup), 0);
    EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(atomic_load(&world.returned), 0);
    EXPECT_EQ(weft_waitgroup_done(&world.waitgroup), 0);
    EXPECT_EQ(weft_waitgroup_add(&world.waitgroup, 1), 0); /* too late to hold them */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.returned), WAITERS);
    return 0;
}

Test(waitgroup, the_last_done_wakes_all)
{
    on_fibers(1, wait_body, NULL);
}

static int ends_body(void *arg)
{
    struct world world = {.result = 1};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_waitgroup_add(&world.waitgroup, 1), 0);
    EXPECT_EQ(weft_waitgroup_wait(&world.waitgroup, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_waitgroup_wait(&world.waitgroup, weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    spawn_waiters(&group, &world);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.result, -ECANCELED);
    EXPECT_EQ(weft_waitgroup_count(&world.waitgroup), 1);
    return 0;
}

Test(waitgroup, a_deadline_and_a_cancel_end_the_wait_only)
{
    on_fibers(1, ends_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct weft_waitgroup waitgroup = {0};
    struct weft_scope scope;
    (void)arg;

    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_waitgroup_wait(&waitgroup, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    return 0;
}

Test(waitgroup, waiting_in_a_cancelled_scope_is_refused)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static void *finish_in_thread(void *arg)
{
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_waitgroup_done(arg), 0);
    return NULL;
}

/* Who waited frees it, while the thread may still be inside the last done. */
static int thread_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 50; round++) {
        struct weft_waitgroup *waitgroup = malloc(sizeof(*waitgroup));
        pthread_t thread;

        EXPECT(waitgroup);
        weft_waitgroup_init(waitgroup);
        EXPECT_EQ(weft_waitgroup_add(waitgroup, 100), 0);
        EXPECT_EQ(pthread_create(&thread, NULL, finish_in_thread, waitgroup), 0);
        EXPECT_EQ(weft_waitgroup_wait(waitgroup, WEFT_NO_DEADLINE), 0);
        free(waitgroup);
        EXPECT_EQ(pthread_join(thread, NULL), 0);
    }
    return 0;
}

Test(waitgroup, who_waited_for_a_plain_thread_may_free_it)
{
    on_fibers(2, thread_body, NULL);
}
