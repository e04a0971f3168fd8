/* SPDX-License-Identifier: MIT */
/* Groups: the counts, the join, and the public calls.  The invariants stand in group.h. */
#include "core/group.h"

#include <errno.h>

#include "core/fiber.h"
#include "core/park.h"
#include "core/runtime.h"
#include "core/sched.h"
#include "core/stack.h"
#include "core/worker.h"
#include "weft/group.h"
#include "weft/time.h"

_Static_assert(sizeof(struct group) <= sizeof(struct weft_group), "weft_group is too small");
_Static_assert(_Alignof(struct group) <= _Alignof(struct weft_group), "weft_group alignment");

void group_init(struct group *group, struct weft_runtime *runtime, struct scope *parent,
                struct fiber *owner)
{
    scope_init(&group->scope, parent, owner, WEFT_NO_DEADLINE, false);
    group->runtime = runtime;
    group->local = 0;
    atomic_init(&group->balance, 0);
    atomic_init(&group->error, 0);
}

void group_note_failure(struct group *group, int result)
{
    struct wait_batch batch = {0};
    int none = 0;

    if (!group->scope.owner)
        return;
    if ((result == -ECANCELED || result == -ETIMEDOUT) &&
        atomic_load_explicit(&group->scope.cancelled, memory_order_relaxed))
        return; /* a consequence, not a cause */
    if (!atomic_compare_exchange_strong_explicit(&group->error, &none, result, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    scope_cancel(&group->scope, -ECANCELED, false, &batch);
    wait_batch_wake(&batch);
}

void group_child_ended(struct group *group, struct worker *worker)
{
    struct fiber *owner = group->scope.owner;
    struct weft_runtime *runtime = group->runtime;
    struct wait_batch batch = {0};
    int64_t before = atomic_fetch_sub_explicit(&group->balance, 1, memory_order_acq_rel);

    shake();
    if (likely(before != GROUP_JOINING + 1))
        return; /* G4 */
    if (owner)
        park_claim(owner, PARK_EVENT, &batch);
    else
        runtime_drained(runtime);
    wait_batch_wake_on(worker, &batch);
}

void weft_group_init(struct weft_group *public)
{
    struct group *group = (struct group *)public;
    struct fiber *self = fiber_self();

    CHECK(self);
    group_init(group, fiber_worker(self)->runtime,
               atomic_load_explicit(&self->scope, memory_order_relaxed), self);
    atomic_store_explicit(&self->scope, &group->scope, memory_order_release); /* S3 */
}

int weft_group_spawn(struct weft_group *public, const char *name, int (*fn)(void *), void *arg)
{
    struct group *group = (struct group *)public;

    return sched_spawn(group, name, fn, arg);
}

void weft_group_cancel(struct weft_group *public)
{
    struct wait_batch batch = {0};

    scope_cancel(&((struct group *)public)->scope, -ECANCELED, false, &batch);
    wait_batch_wake(&batch);
}

/* Wait for the children that are left (G3). */
static NOINLINE void group_wait(struct group *group)
{
    struct waiter waiter;
    int64_t local = group->local;
    int64_t before;

    wait_prepare_shielded(&waiter);
    wait_describe(&waiter, "group", group);
    before =
        atomic_fetch_add_explicit(&group->balance, local + GROUP_JOINING, memory_order_acq_rel);
    if (before + local == 0)
        wait_abandon(&waiter);
    else
        wait_suspend(&waiter, WEFT_NO_DEADLINE);
}

int weft_group_join(struct weft_group *public)
{
    struct group *group = (struct group *)public;
    struct fiber *self = fiber_self();
    int error;

    CHECK(self && atomic_load_explicit(&self->scope, memory_order_relaxed) == &group->scope);
    if (group->local + atomic_load_explicit(&group->balance, memory_order_acquire) != 0)
        group_wait(group);
    scope_unlink(&group->scope);
    atomic_store_explicit(&self->scope, group->scope.parent, memory_order_release);
    error = atomic_load_explicit(&group->error, memory_order_relaxed);
    if (error)
        return error;
    return atomic_load_explicit(&group->scope.cancelled, memory_order_relaxed);
}
