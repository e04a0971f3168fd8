/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <string.h>

#include "support/fibers.h"

struct world {
    struct weft_generator *generator;
    struct weft_event event;
    struct weft_scope scope;
    atomic_int arrivals;
    int limit;    /* items to produce */
    int produced; /* items that were begun */
    int result;   /* what the producer returns */
    int yielded;  /* what its last yield returned */
    bool started, cleaned_up;
};

static int count_up(struct weft_generator *generator, void *arg)
{
    struct world *world = arg;
    int r = 0;

    world->started = true;
    for (int i = 0; i < world->limit && r == 0; i++) {
        world->produced++;
        r = world->yielded = weft_generator_yield(generator, &i);
    }
    world->cleaned_up = true;
    return r < 0 ? r : world->result;
}

static struct weft_generator *new_counter(struct world *world)
{
    EXPECT_EQ(weft_generator_new("count", count_up, world, sizeof(int), &world->generator), 0);
    return world->generator;
}

static int next(struct weft_generator *generator, int *ret_item)
{
    return weft_generator_next(generator, ret_item, WEFT_NO_DEADLINE);
}

Test(generator, can_be_made_and_freed_without_a_fiber)
{
    struct weft_generator *generator = NULL;

    cr_assert_eq(weft_generator_new("count", count_up, NULL, 0, &generator), -EINVAL);
    cr_assert_null(generator);
    cr_assert_eq(weft_generator_new("count", count_up, NULL, 8, &generator), 0);
    weft_generator_free(generator);
    weft_generator_free(NULL);
}

static int all_items_body(void *arg)
{
    struct world world = {.limit = 100, .result = 5};
    struct weft_generator *generator = new_counter(&world);
    int item = -1;
    (void)arg;

    EXPECT(!world.started);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(next(generator, &item), 1);
        EXPECT_EQ(item, i);
        EXPECT_EQ(world.produced, i + 1); /* it does not run ahead */
    }
    EXPECT(!world.cleaned_up);
    EXPECT_EQ(next(generator, &item), 0);
    EXPECT(world.cleaned_up);
    EXPECT_EQ(next(generator, &item), 0);
    EXPECT_EQ(item, 99);
    weft_generator_free(generator);
    return 0;
}

Test(generator, gives_its_items_one_by_one_as_they_are_asked_for)
{
    on_fibers(1, all_items_body, NULL);
    on_fibers(3, all_items_body, NULL);
}

static int empty_body(void *arg)
{
    struct world world = {.limit = 0};
    struct weft_generator *generator = new_counter(&world);
    int item = -1;
    (void)arg;

    EXPECT_EQ(next(generator, &item), 0);
    EXPECT_EQ(item, -1);
    weft_generator_free(generator);
    return 0;
}

Test(generator, may_end_without_any_item)
{
    on_fibers(1, empty_body, NULL);
}

static uint64_t count_unjoined(void)
{
    struct weft_runtime_stats stats;

    weft_stats_runtime(weft_runtime_self(), &stats);
    return stats.unjoined;
}

static int failure_body(void *arg)
{
    struct world world = {.limit = 2, .result = -EIO};
    struct weft_generator *generator = new_counter(&world);
    int item = -1;
    (void)arg;

    EXPECT_EQ(next(generator, &item), 1);
    EXPECT_EQ(next(generator, &item), 1);
    EXPECT_EQ(next(generator, &item), -EIO);
    EXPECT_EQ(next(generator, &item), 0);
    EXPECT_EQ(item, 1);
    weft_generator_free(generator);
    EXPECT_EQ(count_unjoined(), 0);
    return 0;
}

Test(generator, a_failure_of_the_producer_is_told_once)
{
    on_fibers(1, failure_body, NULL);
    on_fibers(2, failure_body, NULL);
}

/* It fails while nobody waits for an item, and nobody asks for another one. */
static int fail_later(struct weft_generator *generator, void *arg)
{
    int item = 1, r = weft_generator_yield(generator, &item);
    EXPECT_EQ(r, -ECANCELED);
    return *(int *)arg;
}

static int unasked_body(void *arg)
{
    int results[] = {-EIO, -ECANCELED, 0}, item;
    struct weft_generator *generator;
    (void)arg;

    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(weft_generator_new("later", fail_later, &results[i], sizeof(int), &generator), 0);
        EXPECT_EQ(next(generator, &item), 1);
        weft_generator_free(generator);
        EXPECT_EQ(count_unjoined(), 1); /* the first one's, which is not the echo of a cancel */
    }
    return 0;
}

Test(generator, a_failure_that_nobody_was_told_counts_as_unjoined)
{
    on_fibers(1, unasked_body, NULL);
    on_fibers(2, unasked_body, NULL);
}

static int early_free_body(void *arg)
{
    struct world world = {.limit = 100};
    struct weft_generator *generator = new_counter(&world);
    struct weft_scope scope;
    int item = -1;
    (void)arg;

    EXPECT_EQ(next(generator, &item), 1);
    EXPECT_EQ(next(generator, &item), 1);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope); /* which the free does not regard */
    weft_generator_free(generator);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(world.cleaned_up);
    EXPECT_EQ(world.yielded, -ECANCELED);
    EXPECT_EQ(world.produced, 2);
    return 0;
}

Test(generator, free_before_the_end_lets_the_producer_clean_up)
{
    on_fibers(1, early_free_body, NULL);
    on_fibers(2, early_free_body, NULL);
}

static int wait_in_producer(struct weft_generator *generator, void *arg)
{
    struct world *world = arg;
    int item = 7, r;

    arrive(&world->arrivals);
    r = weft_event_wait(&world->event, WEFT_NO_DEADLINE);
    if (r == 0)
        r = weft_generator_yield(generator, &item);
    world->cleaned_up = true;
    return r;
}

static int free_while_running_body(void *arg)
{
    struct world world = {0};
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("waiter", wait_in_producer, &world, sizeof(int), &world.generator),
              0);
    EXPECT_EQ(weft_generator_next(world.generator, &item, 0), -ETIMEDOUT);
    EXPECT_EQ(atomic_load(&world.arrivals), 1);
    weft_generator_free(world.generator);
    EXPECT(world.cleaned_up);
    return 0;
}

Test(generator, free_cancels_a_producer_that_waits_for_something_else)
{
    on_fibers(1, free_while_running_body, NULL);
}

static int insist(struct weft_generator *generator, void *arg)
{
    struct world *world = arg;
    struct weft_scope shield;
    int item = 1, r = weft_generator_yield(generator, &item);

    EXPECT_EQ(r, -ECANCELED);
    EXPECT_EQ(weft_generator_yield(generator, &item), -ECANCELED);
    weft_shield_enter(&shield);
    EXPECT_EQ(weft_sleep(1), 0);
    EXPECT_EQ(weft_generator_yield(generator, &item), -ECANCELED); /* nobody would ever ask */
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    world->cleaned_up = true;
    return 0;
}

static int insist_body(void *arg)
{
    struct world world = {0};
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("insistent", insist, &world, sizeof(int), &world.generator), 0);
    EXPECT_EQ(next(world.generator, &item), 1);
    weft_generator_free(world.generator);
    EXPECT(world.cleaned_up);
    return 0;
}

Test(generator, a_producer_that_goes_on_yielding_cannot_hold_up_the_free)
{
    on_fibers(1, insist_body, NULL);
}

static int timed_out_next_body(void *arg)
{
    struct world world = {0};
    struct weft_scope scope;
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("waiter", wait_in_producer, &world, sizeof(int), &world.generator),
              0);
    EXPECT_EQ(weft_generator_next(world.generator, &item, weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(next(world.generator, &item), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(item, -1);
    weft_event_set(&world.event);
    EXPECT_EQ(next(world.generator, &item), 1); /* the item was not lost */
    EXPECT_EQ(item, 7);
    EXPECT_EQ(next(world.generator, &item), 0);
    weft_generator_free(world.generator);
    return 0;
}

Test(generator, a_next_that_fails_loses_no_item)
{
    on_fibers(1, timed_out_next_body, NULL);
    on_fibers(2, timed_out_next_body, NULL);
}

static int ask_and_be_cancelled(void *arg)
{
    struct world *world = arg;
    int item = -1;

    EXPECT_EQ(next(world->generator, &item), -ECANCELED);
    EXPECT_EQ(item, -1);
    return 0;
}

static int ask_too(void *arg)
{
    struct world *world = arg;
    int item = -1;

    EXPECT_EQ(next(world->generator, &item), -EBUSY);
    return 0;
}

static int busy_body(void *arg)
{
    struct world world = {0};
    struct weft_group group, second;
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("waiter", wait_in_producer, &world, sizeof(int), &world.generator),
              0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "first", ask_and_be_cancelled, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_group_init(&second);
    EXPECT_EQ(weft_group_spawn(&second, "second", ask_too, &world), 0);
    EXPECT_EQ(weft_group_join(&second), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    weft_event_set(&world.event);
    EXPECT_EQ(next(world.generator, &item), 1);
    weft_generator_free(world.generator);
    return 0;
}

Test(generator, one_fiber_at_a_time_may_ask)
{
    on_fibers(1, busy_body, NULL);
}

static int ask_itself(struct weft_generator *generator, void *arg)
{
    int item = 3;
    (void)arg;

    EXPECT_EQ(next(generator, &item), -EDEADLK);
    return weft_generator_yield(generator, &item);
}

static int misuse_body(void *arg)
{
    struct world world = {0};
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("selfish", ask_itself, NULL, sizeof(int), &world.generator), 0);
    EXPECT_EQ(weft_generator_yield(world.generator, &item), -EPERM);
    EXPECT_EQ(next(world.generator, &item), 1);
    EXPECT_EQ(item, 3);
    EXPECT_EQ(weft_generator_yield(world.generator, &item), -EPERM);
    weft_generator_free(world.generator);
    return 0;
}

Test(generator, only_the_producer_yields_and_it_must_not_ask)
{
    on_fibers(1, misuse_body, NULL);
}

/* Yields one item in a scope of its own, which ends, and then another. */
static int yield_in_scope(struct weft_generator *generator, void *arg)
{
    struct world *world = arg;
    int first = 1, second = 2;

    EXPECT_EQ(weft_event_wait(&world->event, WEFT_NO_DEADLINE), 0);
    weft_scope_enter(&world->scope, WEFT_NO_DEADLINE);
    arrive(&world->arrivals);
    EXPECT_EQ(weft_generator_yield(generator, &first), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&world->scope), -ECANCELED);
    arrive(&world->arrivals);
    return weft_generator_yield(generator, &second);
}

static int taken_body(void *arg)
{
    struct world world = {0};
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("fickle", yield_in_scope, &world, sizeof(int), &world.generator),
              0);
    weft_event_set(&world.event);
    EXPECT_EQ(next(world.generator, &item), 1);
    EXPECT_EQ(item, 1);
    weft_scope_cancel(&world.scope); /* while it waits to be asked for more */
    await_arrivals(&world.arrivals, 2);
    EXPECT_EQ(next(world.generator, &item), 1);
    EXPECT_EQ(item, 2);
    weft_generator_free(world.generator);
    return 0;
}

Test(generator, a_scope_of_the_producers_own_may_end_its_yield)
{
    on_fibers(1, taken_body, NULL);
}

static int offered_body(void *arg)
{
    struct world world = {0};
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("fickle", yield_in_scope, &world, sizeof(int), &world.generator),
              0);
    EXPECT_EQ(weft_generator_next(world.generator, &item, 0), -ETIMEDOUT);
    weft_event_set(&world.event);
    await_arrivals(&world.arrivals, 1);
    weft_scope_cancel(&world.scope); /* while its item is on offer */
    await_arrivals(&world.arrivals, 2);
    EXPECT_EQ(next(world.generator, &item), 1);
    EXPECT_EQ(item, 2); /* the first was taken back */
    weft_generator_free(world.generator);
    return 0;
}

Test(generator, an_item_that_nobody_took_is_taken_back_when_the_yield_fails)
{
    on_fibers(1, offered_body, NULL);
}

struct big {
    char text[1000];
    int number;
};

static int produce_big(struct weft_generator *generator, void *arg)
{
    struct big big;
    (void)arg;

    for (int i = 0;; i++) {
        memset(&big, 'a' + i % 26, sizeof(big));
        big.number = i;
        int r = weft_generator_yield(generator, &big);
        if (r < 0)
            return r;
    }
}

static int big_body(void *arg)
{
    struct weft_generator *generator;
    struct big big;
    (void)arg;

    EXPECT_EQ(weft_generator_new("big", produce_big, NULL, sizeof(big), &generator), 0);
    for (int i = 0; i < 50; i++) {
        EXPECT_EQ(weft_generator_next(generator, &big, WEFT_NO_DEADLINE), 1);
        EXPECT_EQ(big.number, i);
        EXPECT_EQ(big.text[999], 'a' + i % 26);
    }
    weft_generator_free(generator);
    return 0;
}

Test(generator, items_have_any_size)
{
    on_fibers(2, big_body, NULL);
}

/* A pipeline: a generator that asks another one. */
static int double_up(struct weft_generator *generator, void *arg)
{
    int item, r;

    while ((r = next(arg, &item)) > 0) {
        item *= 2;
        r = weft_generator_yield(generator, &item);
        if (r < 0)
            return r;
    }
    return r;
}

static int pipeline_body(void *arg)
{
    struct world world = {.limit = 1000};
    struct weft_generator *doubled;
    int item = -1;
    (void)arg;

    EXPECT_EQ(weft_generator_new("double", double_up, new_counter(&world), sizeof(int), &doubled),
              0);
    for (int i = 0; i < 1000; i++) {
        EXPECT_EQ(next(doubled, &item), 1);
        EXPECT_EQ(item, 2 * i);
    }
    EXPECT_EQ(next(doubled, &item), 0);
    weft_generator_free(doubled);
    weft_generator_free(world.generator);
    return 0;
}

Test(generator, generators_may_be_chained)
{
    on_fibers(1, pipeline_body, NULL);
    on_fibers(2, pipeline_body, NULL);
}

/* Asked by another fiber each time, on several workers. */
static int ask_once(void *arg)
{
    struct world *world = arg;
    int item = -1;

    EXPECT_EQ(next(world->generator, &item), 1);
    return item;
}

static int pass_on_body(void *arg)
{
    struct world world = {.limit = 300};
    struct weft_generator *generator = new_counter(&world);
    int result = 0;
    (void)arg;

    for (int i = 0; i < 200; i++) {
        struct weft_task *task;

        EXPECT_EQ(weft_task_new("asker", ask_once, &world, &task), 0);
        EXPECT_EQ(weft_task_join(task, WEFT_NO_DEADLINE, &result), 0);
        EXPECT_EQ(result, i);
        weft_task_free(task);
    }
    weft_generator_free(generator);
    return 0;
}

Test(generator, may_be_asked_by_another_fiber_each_time)
{
    on_fibers(3, pass_on_body, NULL);
}

static int take_some_turns(void *arg)
{
    struct world *world = arg;

    for (int i = 0; i < 10; i++)
        EXPECT_EQ(weft_yield(), 0);
    world->cleaned_up = true;
    return 0;
}

static int fair_body(void *arg)
{
    struct world world = {.limit = 100000000};
    struct weft_generator *generator = new_counter(&world);
    struct weft_group group;
    int item;
    (void)arg;

    /* Those that are ready get their turn though two fibers hand over to each other for ever. */
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "other", take_some_turns, &world), 0);
    while (!world.cleaned_up)
        EXPECT_EQ(next(generator, &item), 1);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_generator_free(generator);
    return 0;
}

Test(generator, handing_over_starves_nobody)
{
    on_fibers(1, fair_body, NULL);
}

static int stop_body(void *arg)
{
    struct world *world = arg;
    int item;

    EXPECT_EQ(next(new_counter(world), &item), 1);
    weft_runtime_stop(weft_runtime_self());
    weft_generator_free(world->generator); /* the producer has been cancelled already */
    EXPECT(world->cleaned_up);
    EXPECT_EQ(weft_generator_new("late", count_up, world, sizeof(int), &world->generator), 0);
    EXPECT_EQ(next(world->generator, &item), -ECANCELED);
    struct weft_scope shield;
    weft_shield_enter(&shield);
    EXPECT_EQ(next(world->generator, &item), -ESHUTDOWN);
    EXPECT_EQ(next(world->generator, &item), -ESHUTDOWN);
    EXPECT_EQ(weft_scope_leave(&shield), 0);
    weft_generator_free(world->generator);
    return 0;
}

Test(generator, the_runtimes_stop_ends_the_producer_and_starts_no_other)
{
    struct world world = {.limit = 10};

    on_fibers(1, stop_body, &world);
}
