/* SPDX-License-Identifier: MIT */
#include "core/deque.h"

#include "core/fiber.h"
#include "support/test.h"

static struct fiber fibers[2000];

Test(deque, pop_from_empty_returns_null)
{
    struct deque deque;

    cr_assert_eq(deque_init(&deque, false), 0);
    cr_assert_null(deque_pop(&deque));
    cr_assert(deque_empty(&deque));
    deque_destroy(&deque);
}

Test(deque, steal_from_empty_returns_null)
{
    struct deque deque;

    cr_assert_eq(deque_init(&deque, false), 0);
    cr_assert_null(deque_steal(&deque));
    deque_destroy(&deque);
}

Test(deque, owner_pops_the_newest_and_thief_steals_the_oldest)
{
    struct deque deque;

    cr_assert_eq(deque_init(&deque, false), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(deque_push(&deque, &fibers[i]), 0);
    cr_assert_eq(deque_pop(&deque), &fibers[3]);
    cr_assert_eq(deque_steal(&deque), &fibers[0]);
    cr_assert_eq(deque_steal(&deque), &fibers[1]);
    cr_assert_eq(deque_pop(&deque), &fibers[2]);
    cr_assert_null(deque_pop(&deque));
    cr_assert(deque_empty(&deque));
    deque_destroy(&deque);
}

Test(deque, last_element_goes_to_one_side_only)
{
    struct deque deque;

    cr_assert_eq(deque_init(&deque, false), 0);
    deque_push(&deque, &fibers[0]);
    cr_assert_eq(deque_steal(&deque), &fibers[0]);
    cr_assert_null(deque_pop(&deque));
    deque_push(&deque, &fibers[1]);
    cr_assert_eq(deque_pop(&deque), &fibers[1]);
    cr_assert_null(deque_steal(&deque));
    deque_destroy(&deque);
}

Test(deque, grows_beyond_its_first_ring_and_keeps_the_order)
{
    struct deque deque;

    cr_assert_eq(deque_init(&deque, false), 0);
    for (int i = 0; i < 100; i++) { /* so that top is not at a ring's beginning */
        deque_push(&deque, &fibers[i]);
        cr_assert_eq(deque_steal(&deque), &fibers[i]);
    }
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(deque_push(&deque, &fibers[i]), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(deque_steal(&deque), &fibers[i]);
    for (int i = 1999; i >= 1000; i--)
        cr_assert_eq(deque_pop(&deque), &fibers[i]);
    cr_assert(deque_empty(&deque));
    deque_destroy(&deque);
}
