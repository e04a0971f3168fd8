/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <stdlib.h>

#include "support/fibers.h"

/* A value that counts its releases.  One that is not taken away before the fiber ends is released
 * then, when the fiber's own variables are gone. */
struct value {
    int number;
    atomic_int releases;
};

static void release_value(void *arg)
{
    struct value *value = arg;

    atomic_fetch_add(&value->releases, 1);
}

static struct weft_local user = WEFT_LOCAL(release_value);
static struct weft_local request = WEFT_LOCAL(release_value);
static struct weft_local plain = WEFT_LOCAL(NULL);
static struct weft_local heap = WEFT_LOCAL(free);

static int get_body(void *arg)
{
    struct value value = {.number = 1};
    (void)arg;

    EXPECT(!weft_local_get(&user));
    EXPECT_EQ(weft_local_set(&user, NULL), 0); /* nothing to forget */
    EXPECT_EQ(weft_local_set(&user, &value), 0);
    EXPECT(weft_local_get(&user) == &value);
    EXPECT(!weft_local_get(&request));
    EXPECT_EQ(weft_local_set(&user, NULL), 0);
    EXPECT(!weft_local_get(&user));
    EXPECT_EQ(atomic_load(&value.releases), 1);
    return 0;
}

Test(local, a_value_is_there_from_set_until_it_is_taken_away)
{
    cr_assert_null(weft_local_get(&user)); /* a plain thread has none */
    on_fibers(1, get_body, NULL);
}

static int replace_body(void *arg)
{
    struct value first = {.number = 1}, second = {.number = 2}, other = {.number = 3};
    (void)arg;

    EXPECT_EQ(weft_local_set(&user, &first), 0);
    EXPECT_EQ(weft_local_set(&request, &other), 0);
    EXPECT_EQ(atomic_load(&first.releases), 0); /* a new set was made, and has it too */
    EXPECT_EQ(weft_local_set(&user, &second), 0);
    EXPECT_EQ(atomic_load(&first.releases), 1);
    EXPECT(weft_local_get(&user) == &second);
    EXPECT(weft_local_get(&request) == &other);
    EXPECT_EQ(weft_local_set(&user, NULL), 0);
    EXPECT_EQ(weft_local_set(&request, NULL), 0);
    EXPECT_EQ(atomic_load(&first.releases), 1);
    EXPECT_EQ(atomic_load(&second.releases), 1);
    EXPECT_EQ(atomic_load(&other.releases), 1);
    return 0;
}

Test(local, each_value_is_released_once_when_another_takes_its_place)
{
    on_fibers(1, replace_body, NULL);
}

static int no_release_body(void *arg)
{
    int number = 0;

    (void)arg;
    EXPECT_EQ(weft_local_set(&plain, &number), 0);
    EXPECT_EQ(weft_local_set(&plain, &number), 0);
    EXPECT(weft_local_get(&plain) == &number);
    EXPECT_EQ(weft_local_set(&heap, malloc(10)), 0); /* LeakSanitizer looks after it */
    return 0;
}

Test(local, the_release_callback_may_be_missing)
{
    on_fibers(1, no_release_body, NULL);
}

struct family {
    struct value *of_parent, *of_child;
    struct weft_event event;
    atomic_int arrivals;
};

static int be_a_child(void *arg)
{
    struct family *family = arg;

    EXPECT(weft_local_get(&user) == family->of_parent);
    EXPECT_EQ(weft_local_set(&user, family->of_child), 0);
    EXPECT(weft_local_get(&user) == family->of_child);
    arrive(&family->arrivals);
    EXPECT_EQ(weft_event_wait(&family->event, WEFT_NO_DEADLINE), 0);
    EXPECT(weft_local_get(&user) == family->of_child);
    return 0;
}

static int child_body(void *arg)
{
    struct value of_parent = {.number = 1}, of_child = {.number = 2}, late = {.number = 3};
    struct family family = {.of_parent = &of_parent, .of_child = &of_child};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_local_set(&user, &of_parent), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "child", be_a_child, &family), 0);
    await_arrivals(&family.arrivals, 1);
    EXPECT(weft_local_get(&user) == &of_parent); /* what the child set is not seen here */
    EXPECT_EQ(weft_local_set(&user, &late), 0);  /* nor this there */
    EXPECT_EQ(atomic_load(&of_parent.releases), 1);
    weft_event_set(&family.event);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&of_child.releases), 1); /* it went with the fiber, before the join */
    EXPECT_EQ(weft_local_set(&user, NULL), 0);
    EXPECT_EQ(atomic_load(&late.releases), 1);
    return 0;
}

Test(local, a_child_inherits_and_what_it_sets_is_its_own)
{
    on_fibers(1, child_body, NULL);
    on_fibers(2, child_body, NULL);
}

static int keep_value(void *arg)
{
    struct family *family = arg;

    arrive(&family->arrivals);
    EXPECT_EQ(weft_event_wait(&family->event, WEFT_NO_DEADLINE), 0);
    EXPECT(weft_local_get(&user) == family->of_parent);
    EXPECT_EQ(atomic_load(&family->of_parent->releases), 0);
    return 0;
}

static int last_holder_body(void *arg)
{
    struct value value = {.number = 1};
    struct family family = {.of_parent = &value};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_local_set(&user, &value), 0);
    weft_group_init(&group);
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(weft_group_spawn(&group, "child", keep_value, &family), 0);
    await_arrivals(&family.arrivals, 10);
    EXPECT_EQ(weft_local_set(&user, NULL), 0);
    EXPECT_EQ(atomic_load(&value.releases), 0); /* the children have it still */
    weft_event_set(&family.event);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&value.releases), 1);
    return 0;
}

Test(local, a_value_is_released_when_the_last_fiber_has_lost_it)
{
    on_fibers(1, last_holder_body, NULL);
    on_fibers(4, last_holder_body, NULL);
}

static int see_value(void *arg)
{
    struct family *family = arg;

    EXPECT(weft_local_get(&user) == family->of_parent);
    arrive(&family->arrivals);
    return 0;
}

static int see_value_in_grandchild(void *arg)
{
    struct weft_group group;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "grandchild", see_value, arg), 0);
    return weft_group_join(&group);
}

static int everywhere_body(void *arg)
{
    static struct value value = {.number = 1};
    struct family family = {.of_parent = &value};
    struct weft_group group;
    struct weft_task *task;
    (void)arg;

    EXPECT_EQ(weft_local_set(&user, &value), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "child", see_value_in_grandchild, &family), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(weft_runtime_spawn(weft_runtime_self(), "runtime's", see_value, &family), 0);
    await_arrivals(&family.arrivals, 2);
    EXPECT_EQ(weft_task_new("task", see_value, &family, &task), 0);
    EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, NULL), 0);
    weft_task_free(task);
    EXPECT_EQ(atomic_load(&family.arrivals), 3);
    return 0;
}

Test(local, groups_tasks_and_the_runtime_pass_values_on)
{
    on_fibers(1, everywhere_body, NULL);
    on_fibers(2, everywhere_body, NULL);
}

static int across_body(void *arg)
{
    static struct value value = {.number = 1};
    struct family family = {.of_parent = &value};

    EXPECT_EQ(weft_local_set(&user, &value), 0);
    EXPECT_EQ(weft_runtime_spawn(arg, "elsewhere", see_value, &family), 0);
    await_arrivals(&family.arrivals, 1);
    weft_runtime_stop(arg);
    return 0;
}

Test(local, a_fiber_of_another_runtime_inherits_too)
{
    struct weft_runtime *other;
    struct weft_options options;

    weft_options_init(&options);
    one_at_a_time(&options);
    EXPECT_EQ(weft_runtime_new(&options, &other), 0);
    on_fibers(1, across_body, other);
    EXPECT_EQ(weft_runtime_free(other), 0);
}

static int see_nothing(void *arg)
{
    EXPECT(!weft_local_get(&user));
    arrive(arg);
    return 0;
}

static void *spawn_from_thread(void *arg)
{
    atomic_int arrivals = 0;

    EXPECT(!weft_local_get(&user));
    EXPECT_EQ(weft_runtime_spawn(arg, "outside", see_nothing, &arrivals), 0);
    while (atomic_load(&arrivals) == 0)
        sched_yield();
    return NULL;
}

static int thread_body(void *arg)
{
    static struct value value = {.number = 1};
    pthread_t thread;
    (void)arg;

    EXPECT_EQ(weft_local_set(&user, &value), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, spawn_from_thread, weft_runtime_self()), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    return 0;
}

Test(local, a_fiber_that_a_plain_thread_starts_has_none)
{
    on_fibers(2, thread_body, NULL);
}

static int many_keys_body(void *arg)
{
    enum { KEYS = 50 };
    struct weft_local keys[KEYS];
    struct value values[KEYS] = {{0}};
    (void)arg;

    for (int i = 0; i < KEYS; i++) {
        keys[i] = (struct weft_local)WEFT_LOCAL(release_value);
        EXPECT_EQ(weft_local_set(&keys[i], &values[i]), 0);
    }
    for (int i = 0; i < KEYS; i++)
        EXPECT(weft_local_get(&keys[i]) == &values[i]);
    for (int i = 0; i < KEYS; i++) {
        EXPECT_EQ(atomic_load(&values[i].releases), 0);
        EXPECT_EQ(weft_local_set(&keys[i], NULL), 0);
        EXPECT_EQ(atomic_load(&values[i].releases), 1);
    }
    return 0;
}

Test(local, any_number_of_keys_may_have_values)
{
    on_fibers(1, many_keys_body, NULL);
}
