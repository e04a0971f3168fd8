/* SPDX-License-Identifier: MIT */
#include "core/runq.h"

#include "core/fiber.h"
#include "support/test.h"

static struct fiber fibers[RUNQ_SLOTS + 1];

static void fill(struct runq *runq, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert(runq_push(runq, &fibers[i]));
}

Test(runq, pops_in_the_order_of_pushing)
{
    struct runq runq = {0};

    fill(&runq, 3);
    cr_assert_eq(runq_length(&runq), 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(runq_pop(&runq), &fibers[i]);
    cr_assert_null(runq_pop(&runq));
}

Test(runq, push_into_full_ring_is_refused)
{
    struct runq runq = {0};

    fill(&runq, RUNQ_SLOTS);
    cr_assert(!runq_push(&runq, &fibers[RUNQ_SLOTS]));
    cr_assert_eq(runq_pop(&runq), &fibers[0]);
    cr_assert(runq_push(&runq, &fibers[RUNQ_SLOTS]));
}

Test(runq, steal_takes_the_older_half_rounded_up)
{
    struct runq victim = {0}, mine = {0};
    unsigned count = 0;

    fill(&victim, 5);
    cr_assert_eq(runq_steal(&victim, &mine, &count), &fibers[0]);
    cr_assert_eq(count, 3);
    cr_assert_eq(runq_pop(&mine), &fibers[1]);
    cr_assert_eq(runq_pop(&mine), &fibers[2]);
    cr_assert_null(runq_pop(&mine));
    cr_assert_eq(runq_pop(&victim), &fibers[3]);
}

Test(runq, steal_from_empty_returns_null)
{
    struct runq victim = {0}, mine = {0};
    unsigned count = 77;

    cr_assert_null(runq_steal(&victim, &mine, &count));
    cr_assert_eq(count, 77);
}

Test(runq, take_half_empties_half_of_a_full_ring_only)
{
    struct runq runq = {0};
    struct fiber *half[RUNQ_SLOTS / 2];

    fill(&runq, RUNQ_SLOTS - 1);
    cr_assert_eq(runq_take_half(&runq, half), 0);
    cr_assert(runq_push(&runq, &fibers[RUNQ_SLOTS - 1]));
    cr_assert_eq(runq_take_half(&runq, half), RUNQ_SLOTS / 2);
    cr_assert_eq(half[0], &fibers[0]);
    cr_assert_eq(half[RUNQ_SLOTS / 2 - 1], &fibers[RUNQ_SLOTS / 2 - 1]);
    cr_assert_eq(runq_pop(&runq), &fibers[RUNQ_SLOTS / 2]);
}

Test(runq, indices_wrap_around)
{
    struct runq runq = {0};

    atomic_init(&runq.head, UINT32_MAX - 2);
    atomic_init(&runq.tail, UINT32_MAX - 2);
    fill(&runq, RUNQ_SLOTS);
    for (int i = 0; i < RUNQ_SLOTS; i++)
        cr_assert_eq(runq_pop(&runq), &fibers[i]);
    cr_assert_eq(runq_length(&runq), 0);
}
