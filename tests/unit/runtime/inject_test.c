/* SPDX-License-Identifier: MIT */
#include "core/inject.h"

#include "core/fiber.h"
#include "support/test.h"

static struct fiber fibers[8];

Test(inject, take_from_empty_returns_null)
{
    struct inject inject = {0};
    size_t count = 77;

    cr_assert_null(inject_take(&inject, 5, &count));
    cr_assert_eq(count, 77);
}

Test(inject, lists_come_out_in_order_and_in_the_size_asked_for)
{
    struct inject inject = {0};
    struct fiber *fiber;
    size_t count = 0;

    fibers[0].next = &fibers[1];
    inject_push(&inject, &fibers[0], &fibers[1], 2);
    inject_push(&inject, &fibers[2], &fibers[2], 1);
    cr_assert_eq(inject_length(&inject), 3);
    fiber = inject_take(&inject, 2, &count);
    cr_assert_eq(fiber, &fibers[0]);
    cr_assert_eq(fiber->next, &fibers[1]);
    cr_assert_null(fibers[1].next);
    cr_assert_eq(count, 2);
    cr_assert_eq(inject_take(&inject, 9, &count), &fibers[2]);
    cr_assert_eq(count, 1);
    cr_assert_eq(inject_length(&inject), 0);
    inject_push(&inject, &fibers[3], &fibers[3], 1);
    cr_assert_eq(inject_take(&inject, 1, &count), &fibers[3]);
}
