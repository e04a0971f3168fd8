/* SPDX-License-Identifier: MIT */
/*
 * Calls at the same time: gather, gather_all, timeout, and completions.  All are made of groups, so
 * that none leaves a fiber behind.
 *
 *   I1  A call's result is written by its fiber before that is uncounted in the group, and read
 *       after the join, or after the completions' lock.
 *   I2  Completions hold a call from its end until it is given: in a list linked through the calls
 *       themselves, so that nothing has to be allocated.
 *   I3  Only the owner of the completions asks for the next, so at most one waits, and only while
 *       a call is under way: the end of a call either hands it to the one who waits, or lists it.
 *
 * All functions are for fibers.
 */
#include "weft/gather.h"

#include <errno.h>

#include "sync/waitq.h"
#include "weft/fiber.h"
#include "weft/group.h"
#include "weft/scope.h"

/* The private part of a call. */
struct call_link {
    struct completions *completions; /* that wait for its end */
    struct weft_call *next;          /* that has ended after it; guarded by completions->lock */
};

struct completions {
    struct weft_group group;
    struct spin lock;
    size_t left;                    /* calls not given yet; guarded by lock */
    struct weft_call *first, *last; /* that have ended; guarded by lock */
    struct waitq waiters;           /* guarded by lock; the slot: where the call goes */
};

_Static_assert(sizeof(struct completions) <= sizeof(struct weft_completions),
               "public one too small");
_Static_assert(_Alignof(struct completions) <= _Alignof(struct weft_completions), "less aligned");
_Static_assert(sizeof(struct call_link) <= sizeof(((struct weft_call *)0)->opaque), "too small");

static struct completions *completions_of(struct weft_completions *completions)
{
    return (struct completions *)(void *)completions;
}

static struct call_link *call_link(struct weft_call *call)
{
    return (struct call_link *)(void *)call->opaque;
}

/* --- gather */

static int call_or_fail(void *arg)
{
    struct weft_call *call = arg;

    return call->result = call->fn(call->arg);
}

static int call_and_keep(void *arg)
{
    struct weft_call *call = arg;

    call->result = call->fn(call->arg);
    return 0;
}

static void set_results(struct weft_call *calls, size_t count, int result)
{
    for (size_t i = 0; i < count; i++)
        calls[i].result = result;
}

int weft_gather(struct weft_call *calls, size_t count)
{
    struct weft_group group;
    int joined, r = waitq_check();

    set_results(calls, count, -ECANCELED);
    if (r < 0)
        return r;
    weft_group_init(&group);
    /* The caller is inside the group's scope, so it is told of the first failure. */
    for (size_t i = 0; i < count && r == 0 && weft_check_cancel() == 0; i++)
        r = weft_group_spawn(&group, calls[i].name, call_or_fail, &calls[i]);
    if (r < 0)
        weft_group_cancel(&group);
    joined = weft_group_join(&group);
    return r < 0 ? r : joined;
}

int weft_gather_all(struct weft_call *calls, size_t count)
{
    struct weft_group group;
    int r = waitq_check();

    set_results(calls, count, -ECANCELED);
    if (r < 0)
        return r;
    weft_group_init(&group);
    for (size_t i = 0; i < count && weft_check_cancel() == 0; i++) {
        r = weft_group_spawn(&group, calls[i].name, call_and_keep, &calls[i]);
        if (r < 0)
            calls[i].result = r;
    }
    return weft_group_join(&group);
}

/* --- timeout */

static bool gave_up(int result)
{
    return result == -ECANCELED || result == -ETIMEDOUT;
}

int weft_timeout(uint64_t deadline_ns, int (*fn)(void *), void *arg, int *ret_result)
{
    struct weft_scope scope;
    int result, left, r = waitq_check();

    if (r < 0)
        return r;
    weft_scope_enter(&scope, deadline_ns);
    result = fn(arg);
    left = weft_scope_leave(&scope);
    if (gave_up(result)) {
        r = left < 0 ? left : weft_check_cancel();
        if (r < 0)
            return r;
    }
    if (ret_result)
        *ret_result = result;
    return 0;
}

/* --- completions */

static void completions_append(struct completions *completions, struct weft_call *call)
{
    call_link(call)->next = NULL;
    if (completions->last)
        call_link(completions->last)->next = call;
    else
        completions->first = call;
    completions->last = call;
}

static int call_and_tell(void *arg)
{
    struct weft_call *call = arg;
    struct completions *completions = call_link(call)->completions;
    struct wait_batch batch = {0};
    struct waiter waiter;

    call->result = call->fn(call->arg);
    spin_lock(&completions->lock);
    if (waitq_claim_first(&completions->waiters, &waiter, &batch)) {
        *(struct weft_call **)waiter.slot = call;
        completions->left--;
    } else {
        completions_append(completions, call);
    }
    spin_unlock(&completions->lock);
    waitq_wake(&batch);
    return 0;
}

int weft_completions_init(struct weft_completions *public, struct weft_call *calls, size_t count)
{
    struct completions *completions = completions_of(public);
    int r = waitq_check();

    if (r < 0)
        return r;
    *public = (struct weft_completions){0};
    completions->left = count;
    weft_group_init(&completions->group);
    for (size_t i = 0; i < count && r == 0; i++) {
        calls[i].result = -ECANCELED;
        call_link(&calls[i])->completions = completions;
        r = weft_group_spawn(&completions->group, calls[i].name, call_and_tell, &calls[i]);
    }
    if (r < 0)
        weft_completions_destroy(public);
    return r;
}

/* Under the lock.  Returns: 1, 0 at the end.  Errors: -EAGAIN none has ended yet. */
static int completions_take(struct completions *completions, struct weft_call **ret_call)
{
    struct weft_call *call = completions->first;

    if (completions->left == 0)
        return 0;
    if (!call)
        return -EAGAIN;
    completions->first = call_link(call)->next;
    if (!completions->first)
        completions->last = NULL;
    completions->left--;
    *ret_call = call;
    return 1;
}

int weft_completions_next(struct weft_completions *public, uint64_t deadline_ns,
                          struct weft_call **ret_call)
{
    struct completions *completions = completions_of(public);
    struct waiter waiter;
    int r = waitq_check();

    if (r < 0)
        return r;
    spin_lock(&completions->lock);
    r = completions_take(completions, ret_call);
    if (r != -EAGAIN) {
        spin_unlock(&completions->lock);
        return r;
    }
    r = waitq_join(&completions->waiters, &waiter, ret_call, WAITQ_CANCELLABLE);
    spin_unlock(&completions->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "completions", public);
    r = waitq_suspend(&waiter, &completions->lock, deadline_ns);
    return r < 0 ? r : 1;
}

void weft_completions_destroy(struct weft_completions *public)
{
    struct completions *completions = completions_of(public);

    weft_group_cancel(&completions->group);
    weft_group_join(&completions->group);
}
