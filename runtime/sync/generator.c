/* SPDX-License-Identifier: MIT */
/*
 * The generator: a producer and who asks it for items, which switch to each other.
 *
 *   I1  The producer is one of: not started (no task), running, suspended in a yield (it stands in
 *       `producers`), ended.  Whoever asks stands in `consumers`, one at most.
 *   I2  A yield gives its item to who asks, or offers it: `offered` points to the item in the
 *       producer's memory, which is there as long as that is suspended.  So while something is
 *       offered, the producer is suspended and nobody waits for an item.
 *   I3  The claim is the commit, as in a channel: the item is copied after the claim of the
 *       consumer and before the unlock, and a claimed consumer settles before it looks (Q2).  An
 *       item that is offered is taken under the lock, or taken back by its producer, never both.
 *   I4  Who resumes the producer has taken the item that was offered.  After an ask that failed the
 *       producer runs on to its next yield, and offers.
 *   I5  Once `closing`, no yield suspends: the producer's clean-up cannot hang in one, not even
 *       inside a shield.
 *   I6  The producer's result is its task's, so a failure that nobody asked for is found where
 *       those of tasks are (core/unjoined.h): who was told of it has joined the task by the free.
 *
 * An item costs two switches and no queue: the consumer joins, claims the producer and hands its
 * worker over to it, and the producer does the same the other way round (wait_hand_over).
 *
 * It does not limit how long the producer runs, nor run it ahead of being asked.
 */
#include "weft/generator.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sync/waitq.h"
#include "weft/scope.h"
#include "weft/task.h"
#include "weft/time.h"

struct weft_generator {
    const char *name; /* constant */
    int (*fn)(struct weft_generator *generator, void *arg);
    void *arg;
    size_t item_size;
    _Atomic(struct fiber *) producer; /* the producer itself, while it lives; relaxed: each fiber
                                         only asks whether it is that one */
    struct spin lock;
    bool starting;          /* guarded by lock: the first ask makes the task */
    bool ended;             /* guarded by lock */
    bool closing;           /* guarded by lock */
    int error;              /* what the producer failed with, until somebody was told; lock */
    bool told;              /* somebody was told; guarded by lock */
    struct weft_task *task; /* NULL: not started; guarded by lock */
    const void *offered;    /* I2; guarded by lock */
    struct waitq consumers; /* guarded by lock; the slot: where the item goes */
    struct waitq producers; /* guarded by lock */
};

/* What a consumer is told when it was claimed: an item is there, or it has to look again. */
enum told { TOLD_ITEM, TOLD_END };

int weft_generator_new(const char *name, int (*fn)(struct weft_generator *generator, void *arg),
                       void *arg, size_t item_size, struct weft_generator **ret_generator)
{
    struct weft_generator *generator;

    if (item_size == 0)
        return -EINVAL;
    generator = calloc(1, sizeof(*generator));
    if (!generator)
        return -ENOMEM;
    generator->name = name;
    generator->fn = fn;
    generator->arg = arg;
    generator->item_size = item_size;
    *ret_generator = generator;
    return 0;
}

static bool is_producer(struct weft_generator *generator)
{
    return atomic_load_explicit(&generator->producer, memory_order_relaxed) == fiber_self();
}

/* --- the producer */

static int producer_main(void *arg)
{
    struct weft_generator *generator = arg;
    struct wait_batch batch = {0};
    int result;

    atomic_store_explicit(&generator->producer, fiber_self(), memory_order_relaxed);
    result = generator->fn(generator, generator->arg);
    atomic_store_explicit(&generator->producer, NULL, memory_order_relaxed);
    spin_lock(&generator->lock);
    generator->ended = true;
    generator->error = result < 0 ? result : 0;
    waitq_claim_all(&generator->consumers, TOLD_END, &batch);
    spin_unlock(&generator->lock);
    waitq_wake(&batch);
    return result; /* I6 */
}

/* Give the item to who asks, or offer it.  Under the lock. */
static void hand_out(struct weft_generator *generator, const void *item, struct wait_batch *batch)
{
    struct waiter consumer;

    if (waitq_claim_first(&generator->consumers, &consumer, batch))
        memcpy(consumer.slot, item, generator->item_size);
    else
        generator->offered = item;
}

int weft_generator_yield(struct weft_generator *generator, const void *item)
{
    struct wait_batch batch = {0};
    struct waiter waiter;
    int r;

    if (!is_producer(generator))
        return -EPERM;
    r = waitq_check();
    if (r < 0)
        return r;
    spin_lock(&generator->lock);
    r = generator->closing ? -ECANCELED
                           : waitq_join(&generator->producers, &waiter, NULL, WAITQ_CANCELLABLE);
    if (r == 0)
        hand_out(generator, item, &batch);
    spin_unlock(&generator->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "generator yield", generator);
    r = waitq_hand_over(&waiter, &generator->lock, WEFT_NO_DEADLINE, &batch);
    if (r < 0) {
        spin_lock(&generator->lock);
        generator->offered = NULL; /* taken back, if it was still there */
        spin_unlock(&generator->lock);
    }
    return r;
}

/* --- who asks */

/* Take what is there, under the lock.  Returns: 1 an item, 0 the end.  Errors: the producer's;
 * -EAGAIN: the producer has to run first. */
static int take(struct weft_generator *generator, void *ret_item)
{
    int r;

    if (generator->offered) {
        memcpy(ret_item, generator->offered, generator->item_size);
        generator->offered = NULL;
        return 1;
    }
    if (!generator->ended)
        return -EAGAIN;
    r = generator->error;
    generator->error = 0;
    generator->told |= r < 0;
    return r;
}

/* Start the producer, which runs up to its first yield or its first wait. */
static int start(struct weft_generator *generator)
{
    struct weft_task *task = NULL;
    int r = weft_task_new(generator->name, producer_main, generator, &task);

    spin_lock(&generator->lock);
    generator->task = task;
    generator->starting = false;
    spin_unlock(&generator->lock);
    return r;
}

/* Resume the producer if it is suspended, and wait for what it has to give.  With the lock, which
 * is dropped. */
static int ask(struct weft_generator *generator, void *ret_item, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    struct waiter waiter, producer;
    int r = waitq_join(&generator->consumers, &waiter, ret_item, WAITQ_CANCELLABLE);

    if (r == 0)
        waitq_claim_first(&generator->producers, &producer, &batch);
    spin_unlock(&generator->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "generator next", generator);
    r = waitq_hand_over(&waiter, &generator->lock, deadline_ns, &batch);
    if (r < 0)
        return r;
    if (r == TOLD_ITEM)
        return 1;
    spin_lock(&generator->lock);
    r = take(generator, ret_item);
    spin_unlock(&generator->lock);
    return r;
}

int weft_generator_next(struct weft_generator *generator, void *ret_item, uint64_t deadline_ns)
{
    bool begin;
    int r = waitq_check();

    if (r < 0)
        return r;
    if (is_producer(generator))
        return -EDEADLK;
    spin_lock(&generator->lock);
    if (generator->starting || !waitq_empty(&generator->consumers)) {
        spin_unlock(&generator->lock);
        return -EBUSY;
    }
    begin = !generator->task;
    if (begin) {
        generator->starting = true;
        spin_unlock(&generator->lock);
        r = start(generator);
        if (r < 0)
            return r;
        spin_lock(&generator->lock);
    }
    r = take(generator, ret_item);
    if (r == -EAGAIN)
        return ask(generator, ret_item, deadline_ns);
    spin_unlock(&generator->lock);
    return r;
}

/* I6.  The task has nothing left to do but to end. */
static void join_producer(struct weft_generator *generator)
{
    struct weft_scope shield;

    weft_shield_enter(&shield);
    weft_task_join(generator->task, WEFT_NO_DEADLINE, NULL);
    weft_scope_leave(&shield);
}

void weft_generator_free(struct weft_generator *generator)
{
    struct wait_batch batch = {0};

    if (!generator)
        return;
    if (generator->task) {
        CHECK(!is_producer(generator));
        spin_lock(&generator->lock);
        generator->closing = true;
        generator->offered = NULL;
        CHECK(waitq_empty(&generator->consumers));
        waitq_claim_all(&generator->producers, -ECANCELED, &batch);
        spin_unlock(&generator->lock);
        waitq_wake(&batch);
        if (generator->told)
            join_producer(generator);
        weft_task_free(generator->task);
    }
    free(generator);
}
