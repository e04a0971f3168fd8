/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>

#include "support/fibers.h"

enum { WAITERS = 3, UNTOUCHED = 77 };

struct world {
    struct weft_queue *queue;
    atomic_int arrivals;
};

struct place {
    struct world *world;
    int number, received, result;
};

static struct weft_queue *queue_of_ints(size_t maxsize, enum weft_queue_order order)
{
    struct weft_queue *queue;

    EXPECT_EQ(weft_queue_new(sizeof(int), maxsize, order, &queue), 0);
    return queue;
}

static int got(struct weft_queue *queue)
{
    int item = UNTOUCHED;
    int r = weft_queue_try_get(queue, &item);

    EXPECT(r == 0 || item == UNTOUCHED);
    return r == 0 ? item : r;
}

Test(queue, new_refuses_what_cannot_be)
{
    struct weft_queue *queue = NULL;

    cr_assert_eq(weft_queue_new(0, 1, WEFT_QUEUE_FIFO, &queue), -EINVAL);
    cr_assert_eq(weft_queue_new(4, 1, WEFT_QUEUE_PRIORITY, &queue), -EINVAL);
    cr_assert_eq(weft_queue_new(4, 1, (enum weft_queue_order)3, &queue), -EINVAL);
    cr_assert_eq(weft_queue_new(SIZE_MAX, 1, WEFT_QUEUE_FIFO, &queue), -ENOMEM);
    cr_assert_eq(weft_queue_new(SIZE_MAX / 8, 1, WEFT_QUEUE_FIFO, &queue), -ENOMEM);
    cr_assert_eq(weft_queue_new(8, SIZE_MAX / 4, WEFT_QUEUE_FIFO, &queue), -ENOMEM);
    cr_assert_null(queue);
    weft_queue_free(NULL);
}

Test(queue, maxsize_bounds_it)
{
    for (size_t maxsize = 1; maxsize < 100; maxsize += 31) {
        struct weft_queue *queue = queue_of_ints(maxsize, WEFT_QUEUE_FIFO);
        int item = 0;

        cr_assert(weft_queue_empty(queue));
        for (size_t i = 0; i < maxsize; i++) {
            cr_assert_not(weft_queue_full(queue));
            cr_assert_eq(weft_queue_try_put(queue, &item), 0);
            cr_assert_not(weft_queue_empty(queue));
            cr_assert_eq(weft_queue_length(queue), i + 1);
        }
        cr_assert(weft_queue_full(queue));
        cr_assert_eq(weft_queue_try_put(queue, &item), -EAGAIN);
        cr_assert_eq(got(queue), 0);
        cr_assert_not(weft_queue_full(queue));
        weft_queue_free(queue);
    }
}

Test(queue, without_maxsize_it_grows)
{
    struct weft_queue *queue = queue_of_ints(0, WEFT_QUEUE_FIFO);

    for (int i = 0; i < 10000; i++)
        cr_assert_eq(weft_queue_try_put(queue, &i), 0);
    cr_assert_not(weft_queue_full(queue));
    cr_assert_eq(weft_queue_length(queue), 10000);
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(got(queue), i);
    cr_assert_eq(got(queue), -EAGAIN);
    weft_queue_free(queue);
}

Test(queue, task_done_is_refused_when_all_is_done)
{
    struct weft_queue *queue = queue_of_ints(0, WEFT_QUEUE_FIFO);
    int item = 1;

    cr_assert_eq(weft_queue_task_done(queue), -EINVAL);
    cr_assert_eq(weft_queue_try_put(queue, &item), 0);
    cr_assert_eq(got(queue), 1);
    cr_assert_eq(weft_queue_task_done(queue), 0);
    cr_assert_eq(weft_queue_task_done(queue), -EINVAL);
    weft_queue_free(queue);
}

Test(queue, after_a_shutdown_what_is_left_can_be_got)
{
    struct weft_queue *queue = queue_of_ints(0, WEFT_QUEUE_FIFO);
    int item = 1;

    cr_assert_eq(weft_queue_try_put(queue, &item), 0);
    weft_queue_shutdown(queue, false);
    weft_queue_shutdown(queue, false);
    cr_assert_eq(weft_queue_try_put(queue, &item), -EPIPE);
    cr_assert_eq(got(queue), 1);
    cr_assert_eq(got(queue), -EPIPE);
    cr_assert_eq(weft_queue_task_done(queue), 0);
    weft_queue_free(queue);
}

Test(queue, an_immediate_shutdown_throws_away_what_is_left)
{
    for (int order = WEFT_QUEUE_FIFO; order <= WEFT_QUEUE_LIFO; order++) {
        struct weft_queue *queue = queue_of_ints(3, (enum weft_queue_order)order);
        int item = 1;

        for (int i = 0; i < 3; i++)
            cr_assert_eq(weft_queue_try_put(queue, &item), 0);
        cr_assert_eq(got(queue), 1);
        weft_queue_shutdown(queue, false);
        weft_queue_shutdown(queue, true);
        cr_assert(weft_queue_empty(queue));
        cr_assert_eq(got(queue), -EPIPE);
        cr_assert_eq(weft_queue_task_done(queue), 0); /* that which was got */
        cr_assert_eq(weft_queue_task_done(queue), -EINVAL);
        weft_queue_free(queue);
    }
}

Test(queue, an_immediate_shutdown_bears_with_too_many_task_done)
{
    struct weft_queue *queue = queue_of_ints(0, WEFT_QUEUE_FIFO);
    int item = 1;

    cr_assert_eq(weft_queue_try_put(queue, &item), 0);
    cr_assert_eq(weft_queue_try_put(queue, &item), 0);
    cr_assert_eq(weft_queue_task_done(queue), 0); /* of an item that nobody has got */
    weft_queue_shutdown(queue, true);
    cr_assert_eq(weft_queue_task_done(queue), -EINVAL);
    weft_queue_free(queue);
}

static int get_one(void *arg)
{
    struct place *place = arg;

    place->received = UNTOUCHED;
    arrive(&place->world->arrivals);
    place->result = weft_queue_get(place->world->queue, &place->received, WEFT_NO_DEADLINE);
    return 0;
}

static int put_one(void *arg)
{
    struct place *place = arg;

    arrive(&place->world->arrivals);
    place->result = weft_queue_put(place->world->queue, &place->number, WEFT_NO_DEADLINE);
    return 0;
}

static int join_once(void *arg)
{
    struct place *place = arg;

    arrive(&place->world->arrivals);
    place->result = weft_queue_join(place->world->queue, WEFT_NO_DEADLINE);
    return 0;
}

static void spawn_places(struct weft_group *group, struct world *world, struct place *places,
                         int (*fn)(void *))
{
    weft_group_init(group);
    for (int i = 0; i < WAITERS; i++) {
        int before = atomic_load(&world->arrivals);

        places[i] = (struct place){world, i, UNTOUCHED, 1};
        EXPECT_EQ(weft_group_spawn(group, "waiter", fn, &places[i]), 0);
        await_arrivals(&world->arrivals, before + 1);
    }
}

static int getters_body(void *arg)
{
    struct world world = {.queue = queue_of_ints(0, WEFT_QUEUE_LIFO)};
    struct place places[WAITERS];
    struct weft_group group;
    (void)arg;

    spawn_places(&group, &world, places, get_one);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(weft_queue_put(world.queue, &i, WEFT_NO_DEADLINE), 0);
        EXPECT(weft_queue_empty(world.queue)); /* handed over */
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(places[i].result, 0);
        EXPECT_EQ(places[i].received, i);
        EXPECT_EQ(weft_queue_task_done(world.queue), 0); /* they count */
    }
    EXPECT_EQ(weft_queue_task_done(world.queue), -EINVAL);
    weft_queue_free(world.queue);
    return 0;
}

Test(queue, waiting_getters_get_items_first_come_first_served)
{
    on_fibers(1, getters_body, NULL);
}

static int putters_body(void *arg)
{
    struct world world = {.queue = queue_of_ints(1, WEFT_QUEUE_FIFO)};
    struct place places[WAITERS];
    struct weft_group group;
    int item = 9;
    (void)arg;

    EXPECT_EQ(weft_queue_put(world.queue, &item, WEFT_NO_DEADLINE), 0);
    spawn_places(&group, &world, places, put_one);
    EXPECT_EQ(weft_queue_get(world.queue, &item, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(item, 9);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT(weft_queue_full(world.queue)); /* refilled at once */
        EXPECT_EQ(weft_queue_get(world.queue, &item, 0), 0);
        EXPECT_EQ(item, i);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(places[i].result, 0);
    for (int i = 0; i <= WAITERS; i++)
        EXPECT_EQ(weft_queue_task_done(world.queue), 0); /* they count as any other */
    EXPECT_EQ(weft_queue_task_done(world.queue), -EINVAL);
    weft_queue_free(world.queue);
    return 0;
}

Test(queue, waiting_putters_are_served_first_come_first_served)
{
    on_fibers(1, putters_body, NULL);
}

static int deadline_body(void *arg)
{
    struct weft_queue *queue = queue_of_ints(1, WEFT_QUEUE_FIFO);
    int item = UNTOUCHED;
    (void)arg;

    EXPECT_EQ(weft_queue_get(queue, &item, 0), -ETIMEDOUT);
    EXPECT_EQ(weft_queue_get(queue, &item, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(item, UNTOUCHED);
    EXPECT_EQ(weft_queue_join(queue, 0), 0); /* nothing was ever put */
    EXPECT_EQ(weft_queue_put(queue, &item, 0), 0);
    EXPECT_EQ(weft_queue_put(queue, &item, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(weft_queue_length(queue), 1);
    EXPECT_EQ(weft_queue_join(queue, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(weft_queue_task_done(queue), 0);
    EXPECT_EQ(weft_queue_join(queue, 0), 0);
    EXPECT_EQ(weft_queue_task_done(queue), -EINVAL); /* what was not put does not count */
    weft_queue_free(queue);
    return 0;
}

Test(queue, a_deadline_ends_a_wait_and_nothing_has_moved)
{
    on_fibers(1, deadline_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct weft_queue *queue = queue_of_ints(2, WEFT_QUEUE_FIFO);
    struct weft_scope scope;
    int item = 1;
    (void)arg;

    EXPECT_EQ(weft_queue_put(queue, &item, WEFT_NO_DEADLINE), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_queue_put(queue, &item, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_queue_get(queue, &item, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_queue_join(queue, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_queue_length(queue), 1);
    weft_queue_free(queue);
    return 0;
}

Test(queue, the_waiting_calls_are_refused_in_a_cancelled_scope)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static int cancel_getters_body(void *arg)
{
    struct world world = {.queue = queue_of_ints(0, WEFT_QUEUE_FIFO)};
    struct place places[WAITERS];
    struct weft_group group;
    int item = 9;
    (void)arg;

    spawn_places(&group, &world, places, get_one);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_queue_try_put(world.queue, &item), 0); /* they stand there still */
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < WAITERS; i++) {
        EXPECT_EQ(places[i].result, -ECANCELED);
        EXPECT_EQ(places[i].received, UNTOUCHED);
    }
    EXPECT_EQ(got(world.queue), 9);
    weft_queue_free(world.queue);
    return 0;
}

Test(queue, an_item_is_not_lost_to_a_cancelled_getter)
{
    on_fibers(1, cancel_getters_body, NULL);
}

static int cancel_putters_body(void *arg)
{
    struct world world = {.queue = queue_of_ints(1, WEFT_QUEUE_FIFO)};
    struct place places[WAITERS];
    struct weft_group group;
    int item = 9;
    (void)arg;

    EXPECT_EQ(weft_queue_try_put(world.queue, &item), 0);
    spawn_places(&group, &world, places, put_one);
    weft_group_cancel(&group);
    EXPECT_EQ(got(world.queue), 9);
    EXPECT_EQ(got(world.queue), -EAGAIN); /* none of theirs came */
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(places[i].result, -ECANCELED);
    EXPECT_EQ(weft_queue_task_done(world.queue), 0);
    EXPECT_EQ(weft_queue_task_done(world.queue), -EINVAL);
    weft_queue_free(world.queue);
    return 0;
}

Test(queue, a_cancelled_putter_has_not_put)
{
    on_fibers(1, cancel_putters_body, NULL);
}

static int join_body(void *arg)
{
    struct world world = {.queue = queue_of_ints(0, WEFT_QUEUE_FIFO)};
    struct place places[WAITERS];
    struct weft_group group;
    int item = 9;
    (void)arg;

    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_queue_try_put(world.queue, &item), 0);
    spawn_places(&group, &world, places, join_once);
    EXPECT_EQ(got(world.queue), 9);
    EXPECT_EQ(got(world.queue), 9);
    EXPECT_EQ(weft_queue_task_done(world.queue), 0);
    EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(places[0].result, 1); /* empty is not done */
    EXPECT_EQ(weft_queue_task_done(world.queue), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(places[i].result, 0);
    weft_queue_free(world.queue);
    return 0;
}

Test(queue, join_waits_until_all_work_is_done)
{
    on_fibers(1, join_body, NULL);
}

static int cancel_join_body(void *arg)
{
    struct world world = {.queue = queue_of_ints(0, WEFT_QUEUE_FIFO)};
    struct place places[WAITERS];
    struct weft_group group;
    int item = 9;
    (void)arg;

    EXPECT_EQ(weft_queue_try_put(world.queue, &item), 0);
    spawn_places(&group, &world, places, join_once);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(places[0].result, -ECANCELED);
    EXPECT_EQ(weft_queue_length(world.queue), 1);
    weft_queue_free(world.queue);
    return 0;
}

Test(queue, a_cancel_ends_join)
{
    on_fibers(1, cancel_join_body, NULL);
}

static int shutdown_body(void *arg)
{
    struct world world = {.queue = queue_of_ints(1, WEFT_QUEUE_FIFO)};
    struct place getting[WAITERS], putting[WAITERS], joining[WAITERS];
    struct weft_group group;
    bool immediate = *(bool *)arg;
    int item = 9;

    spawn_places(&group, &world, getting, get_one);
    weft_queue_shutdown(world.queue, immediate);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(getting[i].result, -EPIPE);
    weft_queue_free(world.queue);

    world = (struct world){.queue = queue_of_ints(1, WEFT_QUEUE_FIFO)};
    EXPECT_EQ(weft_queue_try_put(world.queue, &item), 0);
    struct weft_group outer;
    spawn_places(&outer, &world, joining, join_once);
    spawn_places(&group, &world, putting, put_one);
    weft_queue_shutdown(world.queue, immediate);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(putting[i].result, -EPIPE);
    if (!immediate) { /* what is left is still to be done */
        EXPECT_EQ(joining[0].result, 1);
        EXPECT_EQ(weft_queue_get(world.queue, &item, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(weft_queue_task_done(world.queue), 0);
    }
    EXPECT_EQ(weft_group_join(&outer), 0);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(joining[i].result, 0);
    EXPECT_EQ(weft_queue_get(world.queue, &item, WEFT_NO_DEADLINE), -EPIPE);
    EXPECT_EQ(weft_queue_put(world.queue, &item, WEFT_NO_DEADLINE), -EPIPE);
    weft_queue_free(world.queue);
    return 0;
}

Test(queue, shutdown_ends_the_waits)
{
    bool ways[] = {false, true};

    for (int i = 0; i < 2; i++)
        on_fibers(1, shutdown_body, &ways[i]);
}

static void *put_from_thread(void *arg)
{
    for (int i = 0; i < 500; i++)
        while (weft_queue_try_put(arg, &i) == -EAGAIN)
            sched_yield();
    weft_queue_shutdown(arg, false);
    return NULL;
}

static int thread_body(void *arg)
{
    struct weft_queue *queue = queue_of_ints(*(size_t *)arg, WEFT_QUEUE_FIFO);
    pthread_t thread;
    int item;

    EXPECT_EQ(pthread_create(&thread, NULL, put_from_thread, queue), 0);
    for (int i = 0; i < 500; i++) {
        EXPECT_EQ(weft_queue_get(queue, &item, WEFT_NO_DEADLINE), 0);
        EXPECT_EQ(item, i);
        EXPECT_EQ(weft_queue_task_done(queue), 0);
    }
    EXPECT_EQ(weft_queue_get(queue, &item, WEFT_NO_DEADLINE), -EPIPE);
    EXPECT_EQ(weft_queue_join(queue, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_queue_free(queue);
    return 0;
}

Test(queue, a_plain_thread_may_put)
{
    size_t sizes[] = {0, 1, 40};

    for (int i = 0; i < 3; i++)
        on_fibers(1, thread_body, &sizes[i]);
}
