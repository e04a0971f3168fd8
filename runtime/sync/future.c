/* SPDX-License-Identifier: MIT */
/*
 * The future: not done, then done for ever; those who wait for that, and what is called then.
 *
 *   I1  Everything about the outcome is written before `state` is stored, once, under the lock; so
 *       whoever sees a state other than PENDING may read it without the lock.
 *   I2  Whoever makes it done claims all waiters and takes all callbacks in that same section: so
 *       later nobody waits, and each callback is called once, or taken back, never both.
 *   I3  Whoever uses a future has a reference for the length of the call, so that neither the one
 *       who makes it done nor those who wait care who is the last to leave.  The one who runs the
 *       callbacks takes another, for a callback may give away the caller's.
 *
 * Waiting is for fibers, all else for any thread.  It does not know who will make it done, nor what
 * a result is.
 */
#include "weft/future.h"

#include <errno.h>
#include <stdlib.h>

#include "sync/waitq.h"

enum state { PENDING, RESULT, ERROR, CANCELLED };

struct callback {
    struct callback *next;
    void (*call)(struct weft_future *future, void *arg);
    void *arg;
};

struct weft_future {
    atomic_uint refs; /* atomic: acq_rel by whoever drops it */
    atomic_int state; /* enum state; atomic: release under lock, pairs with future_state */
    int error;        /* I1 */
    void *result;     /* I1 */
    struct spin lock;
    struct waitq waiters;        /* guarded by lock */
    struct callback *first;      /* in the order in which they were added; guarded by lock */
    struct callback **last_next; /* where the next one goes; guarded by lock */
};

int weft_future_new(struct weft_future **ret_future)
{
    struct weft_future *future = calloc(1, sizeof(*future));

    if (!future)
        return -ENOMEM;
    atomic_init(&future->refs, 1);
    future->last_next = &future->first;
    *ret_future = future;
    return 0;
}

struct weft_future *weft_future_ref(struct weft_future *future)
{
    atomic_fetch_add_explicit(&future->refs, 1, memory_order_relaxed);
    return future;
}

static void free_callbacks(struct callback *first)
{
    struct callback *next;

    for (struct callback *callback = first; callback; callback = next) {
        next = callback->next;
        free(callback);
    }
}

void weft_future_unref(struct weft_future *future)
{
    if (!future || atomic_fetch_sub_explicit(&future->refs, 1, memory_order_acq_rel) != 1)
        return;
    CHECK(waitq_empty(&future->waiters));
    free_callbacks(future->first);
    free(future);
}

static enum state future_state(struct weft_future *future)
{
    return (enum state)atomic_load_explicit(&future->state, memory_order_acquire);
}

static void run_callbacks(struct weft_future *future, struct callback *first)
{
    if (!first)
        return;
    weft_future_ref(future); /* I3 */
    for (struct callback *callback = first; callback; callback = callback->next)
        callback->call(future, callback->arg);
    free_callbacks(first);
    weft_future_unref(future);
}

static int future_finish(struct weft_future *future, enum state state, void *result, int error)
{
    struct wait_batch batch = {0};
    struct callback *callbacks;

    spin_lock(&future->lock);
    if (future_state(future) != PENDING) {
        spin_unlock(&future->lock);
        return -EALREADY;
    }
    future->result = result;
    future->error = error;
    atomic_store_explicit(&future->state, state, memory_order_release);
    waitq_claim_all(&future->waiters, 0, &batch);
    callbacks = future->first;
    future->first = NULL;
    future->last_next = &future->first;
    spin_unlock(&future->lock);
    waitq_wake(&batch);
    run_callbacks(future, callbacks);
    return 0;
}

int weft_future_set_result(struct weft_future *future, void *result)
{
    return future_finish(future, RESULT, result, 0);
}

int weft_future_set_error(struct weft_future *future, int error)
{
    if (error >= 0)
        return -EINVAL;
    return future_finish(future, ERROR, NULL, error);
}

int weft_future_cancel(struct weft_future *future)
{
    return future_finish(future, CANCELLED, NULL, -ECANCELED);
}

int weft_future_result(struct weft_future *future, void **ret_result)
{
    switch (future_state(future)) {
    case PENDING:
        return -EAGAIN;
    case RESULT:
        if (ret_result)
            *ret_result = future->result;
        return 0;
    default:
        return future->error;
    }
}

bool weft_future_done(struct weft_future *future)
{
    return future_state(future) != PENDING;
}

bool weft_future_cancelled(struct weft_future *future)
{
    return future_state(future) == CANCELLED;
}

static int future_suspend(struct weft_future *future, uint64_t deadline_ns)
{
    struct waiter waiter;
    int r;

    spin_lock(&future->lock);
    if (future_state(future) != PENDING) {
        spin_unlock(&future->lock);
        return 0;
    }
    r = waitq_join(&future->waiters, &waiter, NULL, WAITQ_CANCELLABLE);
    spin_unlock(&future->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "future", future);
    return waitq_suspend(&waiter, &future->lock, deadline_ns);
}

int weft_future_wait(struct weft_future *future, uint64_t deadline_ns, void **ret_result)
{
    int r = waitq_check();

    if (r < 0)
        return r;
    if (future_state(future) == PENDING) {
        r = future_suspend(future, deadline_ns);
        if (r < 0)
            return r;
    }
    return weft_future_result(future, ret_result);
}

int weft_future_add_done_callback(struct weft_future *future,
                                  void (*callback)(struct weft_future *future, void *arg),
                                  void *arg)
{
    struct callback *added = malloc(sizeof(*added));
    bool pending;

    if (!added)
        return -ENOMEM;
    *added = (struct callback){.call = callback, .arg = arg};
    spin_lock(&future->lock);
    pending = future_state(future) == PENDING;
    if (pending) {
        *future->last_next = added;
        future->last_next = &added->next;
    }
    spin_unlock(&future->lock);
    if (!pending)
        run_callbacks(future, added);
    return 0;
}

size_t weft_future_remove_done_callback(struct weft_future *future,
                                        void (*callback)(struct weft_future *future, void *arg),
                                        void *arg)
{
    struct callback *removed = NULL, *found;
    size_t count = 0;

    spin_lock(&future->lock);
    future->last_next = &future->first;
    while ((found = *future->last_next)) {
        if (found->call != callback || found->arg != arg) {
            future->last_next = &found->next;
            continue;
        }
        *future->last_next = found->next;
        found->next = removed;
        removed = found;
        count++;
    }
    spin_unlock(&future->lock);
    free_callbacks(removed);
    return count;
}
