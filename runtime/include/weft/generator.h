/* SPDX-License-Identifier: MIT */
/*
 * A generator: a fiber that produces items, one at a time, whenever somebody asks for the next.
 *
 *     static int count_up(struct weft_generator *generator, void *arg)
 *     {
 *         for (int i = 0; i < *(int *)arg; i++) {
 *             int r = weft_generator_yield(generator, &i);
 *             if (r < 0)
 *                 return r;                     // nobody wants more: clean up and go
 *         }
 *         return 0;
 *     }
 *
 *     weft_generator_new("count", count_up, &limit, sizeof(int), &generator);
 *     while ((r = weft_generator_next(generator, &item, WEFT_NO_DEADLINE)) > 0)
 *         use(item);
 *     weft_generator_free(generator);
 *
 * Between two asks the producer does not run, and it starts with the first; but after one that
 * timed out or was cancelled it goes on to its next item, which waits for the next ask.  Items are
 * passed from hand to hand: there is no queue (for that, take a channel).  Defaults of weft/weft.h
 * apply.
 */
#ifndef WEFT_GENERATOR_H
#define WEFT_GENERATOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_generator;

/** Items of `item_size` bytes, produced by fn(generator, arg).  The producer is a task
 * (weft/task.h) of the runtime of whoever asks first.  `name` is borrowed.  Context: any thread.
 * Never suspends. Errors: -EINVAL item_size is 0, -ENOMEM. */
int weft_generator_new(const char *name, int (*fn)(struct weft_generator *generator, void *arg),
                       void *arg, size_t item_size, struct weft_generator **ret_generator);

/**
 * Let the producer run to its next item, and copy that out, waiting until `deadline_ns` at most.
 * Returns: 1, or 0 at the end: the producer has returned 0 or more.
 * Errors:  what the producer failed with, once, then 0; -ETIMEDOUT, -ECANCELED: no item was lost;
 *          -EBUSY another fiber asks; -EDEADLK the producer itself; and, with the first ask,
 *          weft_task_new's.
 */
int weft_generator_next(struct weft_generator *generator, void *ret_item, uint64_t deadline_ns);

/**
 * For the producer, on its own fiber: give *item to who asks, and wait until the next is asked for.
 * Errors: -ECANCELED the generator is being freed, or the runtime stops; -ETIMEDOUT, -ECANCELED
 *         from a scope of the producer's own: an item that nobody has taken yet is taken back;
 *         -EPERM the caller is not the producer.
 */
int weft_generator_yield(struct weft_generator *generator, const void *item);

/** Cancel the producer if it has not ended, wait until it has cleaned up and returned, and free the
 * generator; nobody else may use it any more.  A failure of the producer that no
 * weft_generator_next returned is counted and reported as that of a task (weft/task.h).  NULL does
 * nothing. Context: a fiber other than the producer; any thread if it never was asked. */
void weft_generator_free(struct weft_generator *generator);

#ifdef __cplusplus
}
#endif
#endif
