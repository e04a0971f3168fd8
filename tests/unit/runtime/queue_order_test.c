/* SPDX-License-Identifier: MIT */
/* The orders of a queue, and what it does with its memory: runtime/sync/store.c. */
#include "support/test.h"

#include <string.h>

#include "support/fibers.h"

enum { UNTOUCHED = 77 };

struct job {
    int64_t priority;
    int number;
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

Test(queue_order, fifo_keeps_the_order_while_it_fills_and_empties)
{
    struct weft_queue *queue = queue_of_ints(0, WEFT_QUEUE_FIFO);
    int in = 0, out = 0;

    for (int round = 1; round < 60; round++) {
        for (int i = 0; i < round * 7 % 50; i++, in++)
            cr_assert_eq(weft_queue_try_put(queue, &in), 0);
        for (int i = 0; i < round * 11 % 50 && out < in; i++, out++)
            cr_assert_eq(got(queue), out);
    }
    while (out < in)
        cr_assert_eq(got(queue), out++);
    cr_assert(weft_queue_empty(queue));
    weft_queue_free(queue);
}

Test(queue_order, lifo_gives_the_last_one_first)
{
    struct weft_queue *queue = queue_of_ints(0, WEFT_QUEUE_LIFO);

    for (int i = 0; i < 100; i++)
        cr_assert_eq(weft_queue_try_put(queue, &i), 0);
    for (int i = 99; i >= 50; i--)
        cr_assert_eq(got(queue), i);
    for (int i = 50; i < 80; i++)
        cr_assert_eq(weft_queue_try_put(queue, &i), 0);
    for (int i = 79; i >= 0; i--)
        cr_assert_eq(got(queue), i);
    cr_assert_eq(got(queue), -EAGAIN);
    weft_queue_free(queue);
}

static void put_job(struct weft_queue *queue, int64_t priority, int number)
{
    struct job job = {priority, number};

    EXPECT_EQ(weft_queue_try_put(queue, &job), 0);
}

Test(queue_order, priority_gives_the_least_first_and_equals_in_their_order)
{
    struct weft_queue *queue;
    struct job job, before = {INT64_MIN, -1};
    unsigned chance = 1;

    cr_assert_eq(weft_queue_new(sizeof(struct job), 0, WEFT_QUEUE_PRIORITY, &queue), 0);
    for (int i = 0; i < 3000; i++) {
        chance = chance * 1103515245 + 12345;
        put_job(queue, (int64_t)(chance >> 16) % 50 - 25, i);
    }
    put_job(queue, INT64_MAX, 3000);
    put_job(queue, INT64_MIN, 3001);
    cr_assert_eq(weft_queue_try_get(queue, &job), 0);
    cr_assert_eq(job.number, 3001);
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(weft_queue_try_get(queue, &job), 0);
        cr_assert(job.priority > before.priority ||
                  (job.priority == before.priority && job.number > before.number));
        before = job;
    }
    cr_assert_eq(weft_queue_try_get(queue, &job), 0);
    cr_assert_eq(job.number, 3000);
    cr_assert_eq(weft_queue_try_get(queue, &job), -EAGAIN);
    weft_queue_free(queue);
}

Test(queue_order, priority_stays_stable_while_items_come_and_go)
{
    enum { LEVELS = 3 };
    struct weft_queue *queue;
    int put[LEVELS] = {0}, next[LEVELS] = {0};
    unsigned chance = 7;
    struct job job;

    cr_assert_eq(weft_queue_new(sizeof(struct job), 0, WEFT_QUEUE_PRIORITY, &queue), 0);
    for (int i = 0; i < 5000; i++) {
        chance = chance * 1103515245 + 12345;
        unsigned level = (chance >> 16) % LEVELS;
        if ((chance >> 24) % 2 == 0)
            put_job(queue, level, put[level]++);
        else if (weft_queue_try_get(queue, &job) == 0) {
            cr_assert_eq(job.number, next[job.priority]++);
            for (int higher = 0; higher < job.priority; higher++)
                cr_assert_eq(next[higher], put[higher]);
        }
    }
    weft_queue_free(queue);
}

Test(queue_order, items_of_any_size_are_copied_whole)
{
    static const size_t sizes[] = {8, 9, 16, 100, 4096};

    for (int order = WEFT_QUEUE_FIFO; order <= WEFT_QUEUE_PRIORITY; order++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            unsigned char in[4096], out[4096];
            struct weft_queue *queue;
            size_t size = sizes[i];

            for (size_t j = 0; j < size; j++)
                in[j] = (unsigned char)(j * 31 + i);
            memset(out, 0xee, sizeof(out));
            cr_assert_eq(weft_queue_new(size, 2, (enum weft_queue_order)order, &queue), 0);
            cr_assert_eq(weft_queue_try_put(queue, in), 0);
            cr_assert_eq(weft_queue_try_put(queue, in), 0);
            cr_assert_eq(weft_queue_try_get(queue, out), 0);
            cr_assert_eq(memcmp(in, out, size), 0);
            cr_assert(size == sizeof(out) || out[size] == 0xee, "wrote beyond the item");
            cr_assert_eq(weft_queue_try_get(queue, out), 0);
            cr_assert_eq(memcmp(in, out, size), 0);
            weft_queue_free(queue);
        }
    }
}
