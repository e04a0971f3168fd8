/* SPDX-License-Identifier: MIT */
#include "core/timer.h"

#include <errno.h>
#include <stdlib.h>

#include "support/fibers.h"
#include "support/test.h"

/* The heap alone: timers whose fiber is a control block that nobody waits with. */
#include "core/fiber.h"

enum { MANY = 3000 };

static struct fiber idle_fiber;
static struct timer many[MANY];

static uint64_t deadline_of(unsigned i)
{
    return 1000 + (uint64_t)i * 2654435761u % 100000;
}

Test(timer, heap_yields_the_earliest_first)
{
    struct timers timers;
    struct wait_batch batch = {0};
    uint64_t last = 0;

    timers_init(&timers);
    cr_assert_eq(timers_next(&timers), UINT64_MAX);
    for (unsigned i = 0; i < MANY; i++) {
        many[i].fiber = &idle_fiber;
        timer_add(&timers, &many[i], deadline_of(i));
    }
    for (unsigned left = MANY; left > 0;) {
        uint64_t next = timers_next(&timers);
        unsigned expired = timers_expire(&timers, next, &batch);

        cr_assert(next > last && expired > 0);
        last = next;
        left -= expired;
    }
    cr_assert_eq(timers_next(&timers), UINT64_MAX);
    timers_destroy(&timers);
}

#ifndef WEFT_TEST_MINI /* a sanitizer has a realloc of its own */

static bool without_memory;

void *__libc_realloc(void *block, size_t size);

/* In place of libc's, for the whole program. */
void *realloc(void *block, size_t size)
{
    return without_memory ? NULL : __libc_realloc(block, size);
}

Test(timer, what_there_is_no_memory_for_expires_in_its_time_all_the_same)
{
    struct timers timers;
    struct wait_batch batch = {0};

    timers_init(&timers);
    for (unsigned i = 0; i < 200; i++) {
        many[i] = (struct timer){.fiber = &idle_fiber, .index = TIMER_IDLE};
        without_memory = i < 20 || i > 150; /* so some are in the heap, and more behind it */
        timer_add(&timers, &many[i], 1000 + i * 10);
    }
    without_memory = false;
    cr_assert_eq(timers_armed(&timers), 200u);
    for (unsigned i = 0; i < 200; i += 2)
        timer_remove(&many[i]);
    cr_assert_eq(timers_armed(&timers), 100u);
    for (unsigned i = 1; i < 200; i += 2) {
        cr_assert_eq(timers_next(&timers), 1000 + i * 10);
        cr_assert_eq(timers_expire(&timers, 1000 + i * 10 - 1, &batch), 0u);
        cr_assert_eq(timers_expire(&timers, 1000 + i * 10, &batch), 1u);
    }
    cr_assert_eq(timers_next(&timers), UINT64_MAX);
    timer_remove(&many[1]); /* is out: nothing happens */
    timers_destroy(&timers);
}

#endif

Test(timer, removal_from_anywhere_keeps_the_order)
{
    struct timers timers;
    struct wait_batch batch = {0};
    unsigned left = 0;

    timers_init(&timers);
    for (unsigned i = 0; i < MANY; i++) {
        many[i].fiber = &idle_fiber;
        timer_add(&timers, &many[i], deadline_of(i));
    }
    for (unsigned i = 0; i < MANY; i++)
        if (i % 3)
            timer_remove(&many[i]);
        else
            left++;
    timer_remove(&many[1]); /* a second removal does nothing */
    for (uint64_t last = 0; left > 0;) {
        uint64_t next = timers_next(&timers);

        cr_assert(next > last);
        last = next;
        left -= timers_expire(&timers, next, &batch);
    }
    cr_assert_eq(timers.count, 0);
    timers_destroy(&timers);
}

Test(timer, nothing_expires_before_its_deadline)
{
    struct timers timers;
    struct wait_batch batch = {0};

    timers_init(&timers);
    many[0].fiber = &idle_fiber;
    timer_add(&timers, &many[0], 500);
    cr_assert_eq(timers_expire(&timers, 499, &batch), 0);
    cr_assert_eq(timers_expire(&timers, 500, &batch), 1);
    timers_destroy(&timers);
}

static int order[3], order_count;
static uint64_t first_ns, step_ns; /* the earliest deadline, and from each to the next */
static bool in_time;               /* all began before that */

static int sleep_and_note(void *arg)
{
    int place = (int)(intptr_t)arg;
    uint64_t until = first_ns + (uint64_t)place * step_ns;

    in_time = in_time && weft_now_ns() < first_ns;
    EXPECT_EQ(weft_sleep_until(until), 0);
    EXPECT(weft_now_ns() >= until);
    order[order_count++] = place;
    return 0;
}

/* On a busy machine the last may begin after the first has woken: then with more time. */
static int sleep_three(void *arg)
{
    struct weft_group group;

    (void)arg;
    for (step_ns = 10 * WEFT_MILLISECOND; !in_time; step_ns *= 2) {
        in_time = true;
        order_count = 0;
        first_ns = weft_deadline_after(step_ns);
        weft_group_init(&group);
        weft_group_spawn(&group, "late", sleep_and_note, (void *)2);
        weft_group_spawn(&group, "early", sleep_and_note, (void *)0);
        weft_group_spawn(&group, "middle", sleep_and_note, (void *)1);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    EXPECT(order[0] == 0 && order[1] == 1 && order[2] == 2);
    return 0;
}

Test(timer, sleepers_wake_in_order_and_never_early)
{
    on_fibers(1, sleep_three, NULL);
}

static int sleep_until_the_past(void *arg)
{
    (void)arg;
    EXPECT_EQ(weft_sleep_until(1), 0);
    EXPECT_EQ(weft_sleep(0), 0);
    return 0;
}

Test(timer, a_deadline_in_the_past_returns_at_once)
{
    on_fibers(1, sleep_until_the_past, NULL);
}

Test(timer, deadline_after_saturates)
{
    cr_assert(weft_deadline_after(UINT64_MAX) == WEFT_NO_DEADLINE);
    cr_assert(weft_deadline_after(UINT64_MAX - 5) == WEFT_NO_DEADLINE);
}
