/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>

#include "support/fibers.h"

enum { WATCHERS = 3, UNTOUCHED = 77 };

struct world {
    struct weft_watch *watch;
    atomic_int arrivals;
};

struct watcher {
    struct world *world;
    uint64_t version;
    int value, result;
};

static struct weft_watch *watch_of_int(int initial)
{
    struct weft_watch *watch;

    EXPECT_EQ(weft_watch_new(sizeof(initial), &initial, &watch), 0);
    return watch;
}

Test(watch, new_refuses_what_cannot_be)
{
    struct weft_watch *watch = NULL;
    int value = 1;

    cr_assert_eq(weft_watch_new(0, &value, &watch), -EINVAL);
    cr_assert_eq(weft_watch_new(SIZE_MAX - 8, &value, &watch), -ENOMEM);
    cr_assert_null(watch);
    weft_watch_free(NULL);
}

Test(watch, a_plain_thread_sees_the_latest_value_once)
{
    struct weft_watch *watch = watch_of_int(1);
    uint64_t version = 0;
    int value;

    cr_assert_eq(weft_watch_try_changed(watch, &version, &value), 0); /* the first is news */
    cr_assert_eq(value, 1);
    cr_assert_eq(version, 1);
    value = UNTOUCHED;
    cr_assert_eq(weft_watch_try_changed(watch, &version, &value), -EAGAIN);
    cr_assert_eq(value, UNTOUCHED);
    for (int i = 2; i < 5; i++)
        cr_assert_eq(weft_watch_set(watch, &i), 0);
    cr_assert_eq(weft_watch_try_changed(watch, &version, &value), 0);
    cr_assert_eq(value, 4);
    cr_assert_eq(version, 4);
    cr_assert_eq(weft_watch_set(watch, &value), 0); /* the same is a change too */
    cr_assert_eq(weft_watch_try_changed(watch, &version, &value), 0);
    cr_assert_eq(weft_watch_get(watch, &value), 5);
    cr_assert_eq(value, 4);
    weft_watch_free(watch);
}

Test(watch, a_closed_one_keeps_its_value)
{
    struct weft_watch *watch = watch_of_int(1);
    uint64_t version = 0;
    int value = 2;

    weft_watch_close(watch);
    weft_watch_close(watch);
    cr_assert_eq(weft_watch_set(watch, &value), -EPIPE);
    cr_assert_eq(weft_watch_try_changed(watch, &version, &value), 0); /* what is not seen yet */
    cr_assert_eq(value, 1);
    cr_assert_eq(weft_watch_try_changed(watch, &version, &value), -EPIPE);
    cr_assert_eq(version, 1);
    cr_assert_eq(weft_watch_get(watch, &value), 1);
    weft_watch_free(watch);
}

static int watch_once(void *arg)
{
    struct watcher *watcher = arg;

    arrive(&watcher->world->arrivals);
    watcher->result = weft_watch_changed(watcher->world->watch, &watcher->version, &watcher->value,
                                         WEFT_NO_DEADLINE);
    return 0;
}

static void spawn_watchers(struct weft_group *group, struct world *world, struct watcher *watchers)
{
    weft_group_init(group);
    for (int i = 0; i < WATCHERS; i++) {
        watchers[i] = (struct watcher){world, 1, UNTOUCHED, 1};
        EXPECT_EQ(weft_group_spawn(group, "watcher", watch_once, &watchers[i]), 0);
        await_arrivals(&world->arrivals, i + 1);
    }
}

static int change_body(void *arg)
{
    struct world world = {.watch = watch_of_int(1)};
    struct watcher watchers[WATCHERS];
    struct weft_group group;
    (void)arg;

    spawn_watchers(&group, &world, watchers);
    for (int i = 2; i < 4; i++)
        EXPECT_EQ(weft_watch_set(world.watch, &i), 0);
    weft_watch_close(world.watch); /* does not take the news away */
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WATCHERS; i++) {
        EXPECT_EQ(watchers[i].result, 0);
        EXPECT_EQ(watchers[i].value, 3); /* the latest when they ran */
        EXPECT_EQ(watchers[i].version, 3);
    }
    weft_watch_free(world.watch);
    return 0;
}

Test(watch, a_set_wakes_all_who_wait_and_they_get_the_latest)
{
    on_fibers(1, change_body, NULL);
}

static int close_body(void *arg)
{
    struct world world = {.watch = watch_of_int(1)};
    struct watcher watchers[WATCHERS];
    struct weft_group group;
    (void)arg;

    spawn_watchers(&group, &world, watchers);
    weft_watch_close(world.watch);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WATCHERS; i++) {
        EXPECT_EQ(watchers[i].result, -EPIPE);
        EXPECT_EQ(watchers[i].value, UNTOUCHED);
        EXPECT_EQ(watchers[i].version, 1);
    }
    EXPECT_EQ(weft_watch_changed(world.watch, &watchers[0].version, &watchers[0].value, 0), -EPIPE);
    weft_watch_free(world.watch);
    return 0;
}

Test(watch, close_ends_the_waits)
{
    on_fibers(1, close_body, NULL);
}

static int cancel_body(void *arg)
{
    struct world world = {.watch = watch_of_int(1)};
    struct watcher watchers[WATCHERS];
    struct weft_group group;
    int value = 2;
    (void)arg;

    spawn_watchers(&group, &world, watchers);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_watch_set(world.watch, &value), 0);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < WATCHERS; i++) {
        EXPECT_EQ(watchers[i].result, -ECANCELED);
        EXPECT_EQ(watchers[i].value, UNTOUCHED);
        EXPECT_EQ(watchers[i].version, 1); /* so the change is still news */
        EXPECT_EQ(weft_watch_changed(world.watch, &watchers[i].version, &value, 0), 0);
    }
    weft_watch_free(world.watch);
    return 0;
}

Test(watch, a_change_is_not_lost_to_a_cancel)
{
    on_fibers(1, cancel_body, NULL);
}

static int ends_body(void *arg)
{
    struct weft_watch *watch = watch_of_int(1);
    struct weft_scope scope;
    uint64_t version = 1;
    int value = UNTOUCHED;
    (void)arg;

    EXPECT_EQ(weft_watch_changed(watch, &version, &value, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_watch_changed(watch, &version, &value, weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    version = 0;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_watch_changed(watch, &version, &value, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(version, 0);
    EXPECT_EQ(value, UNTOUCHED);
    weft_watch_free(watch);
    return 0;
}

Test(watch, a_deadline_or_a_cancelled_scope_ends_the_wait_only)
{
    on_fibers(1, ends_body, NULL);
}

static void *set_from_thread(void *arg)
{
    for (int i = 2; i <= 100; i++)
        EXPECT_EQ(weft_watch_set(arg, &i), 0);
    weft_watch_close(arg);
    return NULL;
}

static int thread_body(void *arg)
{
    struct weft_watch *watch = watch_of_int(1);
    pthread_t thread;
    uint64_t version = 0;
    int value = 0;
    (void)arg;

    EXPECT_EQ(pthread_create(&thread, NULL, set_from_thread, watch), 0);
    for (;;) {
        int before = value;
        int r = weft_watch_changed(watch, &version, &value, WEFT_NO_DEADLINE);

        if (r == -EPIPE)
            break;
        EXPECT_EQ(r, 0);
        EXPECT(value > before);
        EXPECT_EQ(version, value);
    }
    EXPECT_EQ(value, 100); /* the last one is never missed */
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_watch_free(watch);
    return 0;
}

Test(watch, a_plain_thread_may_set_and_the_last_value_is_never_missed)
{
    on_fibers(1, thread_body, NULL);
}
