/* SPDX-License-Identifier: MIT */
/*
 * Tasks: a fiber of the runtime's root group, in a scope that whoever has the handle may cancel,
 * and those who wait for its end.
 *
 *   I1  A task has two references: the handle's, and the fiber's, which that gives up last.  So
 *       neither needs to know whether the other is still there.
 *   I2  The scope is in the task, not on the fiber's stack, and so outlives the fiber: whoever has
 *       the handle may cancel it at any time after `started`, also while the fiber leaves it or
 *       when it has ended (S4 of core/scope.h).
 *   I3  A wait for several tasks stands in each task's list, with one waiter.  The end of a task
 *       takes the task's lock, then the wait's, and touches the wait only while the watch is
 *       linked.  The waiting fiber, once it goes on, takes the lock of every task of the wait and
 *       unlinks: only then the wait's memory goes away.  So it also returns only when the end of
 *       the task that woke it has left the section.
 *   I4  A wait is told of each of its tasks exactly once: by the task's end, or, if it had ended
 *       before, by the fiber that registers.
 *   I5  When `ended` is seen under the lock, the task's fiber has left the task's scope, and its
 *       fiber-local values are gone.
 *
 * Waiting is for fibers, all else for any thread.  It does not know what the fiber is called for
 * (the dump does), nor restart anything.
 */
#include "weft/task.h"

#include <errno.h>
#include <stdlib.h>

#include "core/fiber.h"
#include "core/local.h"
#include "core/runtime.h"
#include "core/sched.h"
#include "core/unjoined.h"
#include "sync/owners.h"
#include "sync/waitq.h"
#include "weft/runtime.h"
#include "weft/time.h"

struct weft_task {
    struct handle handle;         /* what the runtime knows of it until it is given up */
    int (*fn)(void *);            /* constant */
    void *arg;                    /* constant */
    const char *name;             /* constant; borrowed */
    struct weft_runtime *runtime; /* constant; there while the fiber is */
    atomic_uint refs;             /* I1; atomic: acq_rel by whoever drops it */
    struct spin lock;
    bool started;        /* the scope is there; guarded by lock */
    bool cancelled;      /* guarded by lock */
    bool detached;       /* guarded by lock */
    atomic_bool ended;   /* atomic: stored under lock with release, pairs with task_ended */
    int result;          /* guarded by lock; valid once it has ended */
    struct list watches; /* guarded by lock */
    struct scope scope;  /* I2 */
};

/* A wait for tasks, on the stack of the fiber that waits. */
struct tasks_wait {
    struct spin lock;
    enum weft_wait mode;
    size_t left;          /* tasks that have not ended, as far as it was told; guarded by lock */
    struct waiter waiter; /* claimed under lock */
};

/* Its place in the list of one task. */
struct watch {
    struct list link; /* guarded by the task's lock */
    struct tasks_wait *wait;
};

/* --- the life of a task */

static void task_unref(struct weft_task *task)
{
    if (atomic_fetch_sub_explicit(&task->refs, 1, memory_order_acq_rel) == 1)
        free(task);
}

static bool task_ended(struct weft_task *task)
{
    return atomic_load_explicit(&task->ended, memory_order_acquire);
}

/* A task of the wait has ended.  Under the task's lock, or before the wait is linked there. */
static void wait_note_end(struct tasks_wait *wait, int result, struct wait_batch *batch)
{
    bool first_will_do;

    spin_lock(&wait->lock);
    wait->left--;
    first_will_do =
        wait->mode == WEFT_WAIT_FIRST_DONE || (wait->mode == WEFT_WAIT_FIRST_ERROR && result < 0);
    if (wait->left == 0 || first_will_do)
        wait_claim(&wait->waiter, batch); /* in vain if it has been claimed already */
    spin_unlock(&wait->lock);
}

/* A failure that is not just the echo of a cancel. */
static bool is_failure(int result)
{
    return result < 0 && result != -ECANCELED;
}

/* Nobody can ask for its result any more. */
static void task_note_lost(struct weft_task *task, int result)
{
    struct unjoined lost = {UNJOINED_FAILED, task->name, result};

    if (is_failure(result) && !handle_taken(&task->handle))
        unjoined_note(task->runtime, &lost);
}

static void task_end(struct weft_task *task, int result)
{
    struct wait_batch batch = {0};
    struct list *node;
    bool detached;

    spin_lock(&task->lock);
    task->result = result;
    atomic_store_explicit(&task->ended, true, memory_order_release);
    detached = task->detached;
    while ((node = list_first(&task->watches))) {
        list_remove(node);
        wait_note_end(container_of(node, struct watch, link)->wait, result, &batch);
    }
    spin_unlock(&task->lock);
    wait_batch_wake(&batch);
    if (detached)
        task_note_lost(task, result);
}

/* Make the task's scope the fiber's, cancelled from the start if that has been asked for. */
static void task_enter(struct weft_task *task, struct fiber *self)
{
    scope_init(&task->scope, &self->base, self, WEFT_NO_DEADLINE, false);
    spin_lock(&task->lock);
    task->started = true;
    if (task->cancelled)
        atomic_store_explicit(&task->scope.cancelled, -ECANCELED, memory_order_relaxed);
    spin_unlock(&task->lock);
    atomic_store_explicit(&self->scope, &task->scope, memory_order_release);
}

static void task_leave(struct weft_task *task, struct fiber *self)
{
    /* Scopes and groups that fn entered were on its stack. */
    CHECK(atomic_load_explicit(&self->scope, memory_order_relaxed) == &task->scope);
    scope_unlink(&task->scope);
    atomic_store_explicit(&self->scope, &self->base, memory_order_release);
    locals_drop(&self->locals);
}

static int task_main(void *arg)
{
    struct weft_task *task = arg;
    struct fiber *self = fiber_self();
    int result;

    task_enter(task, self);
    result = task->fn(task->arg);
    task_leave(task, self);
    sched_resign(self); /* who joins may free its name */
    task_end(task, result);
    task_unref(task);
    return 0;
}

static struct weft_task *task_alloc(struct weft_runtime *runtime, const char *name,
                                    int (*fn)(void *), void *arg)
{
    struct weft_task *task = calloc(1, sizeof(*task));

    if (!task)
        return NULL;
    task->runtime = runtime;
    task->name = name;
    task->fn = fn;
    task->arg = arg;
    atomic_init(&task->refs, 2);
    list_init(&task->watches);
    return task;
}

int weft_runtime_task(struct weft_runtime *runtime, const char *name, int (*fn)(void *), void *arg,
                      struct weft_task **ret_task)
{
    struct weft_task *task = task_alloc(runtime, name, fn, arg);
    int r;

    if (!task)
        return -ENOMEM;
    handle_add(&task->handle, runtime, name);
    r = weft_runtime_spawn(runtime, name, task_main, task);
    if (r < 0) {
        handle_drop(&task->handle, false, 0);
        free(task);
        return r;
    }
    *ret_task = task;
    return 0;
}

int weft_task_new(const char *name, int (*fn)(void *), void *arg, struct weft_task **ret_task)
{
    struct weft_runtime *runtime = weft_runtime_self();

    CHECK(runtime);
    return weft_runtime_task(runtime, name, fn, arg, ret_task);
}

/* --- the handle */

void weft_task_cancel(struct weft_task *task)
{
    struct wait_batch batch = {0};
    bool strike;

    spin_lock(&task->lock);
    strike = task->started && !task->cancelled && !task_ended(task);
    task->cancelled = true;
    spin_unlock(&task->lock);
    if (!strike)
        return;
    scope_cancel(&task->scope, -ECANCELED, false, &batch); /* I2 */
    wait_batch_wake(&batch);
}

void weft_task_detach(struct weft_task *task)
{
    bool ended;

    if (!task)
        return;
    spin_lock(&task->lock);
    task->detached = true;
    ended = task_ended(task);
    spin_unlock(&task->lock);
    /* If it still runs, its end tells of a failure. */
    handle_drop(&task->handle, ended && is_failure(task->result), ended ? task->result : 0);
    task_unref(task);
}

bool weft_task_done(struct weft_task *task)
{
    return task_ended(task);
}

int weft_task_result(struct weft_task *task, int *ret_result)
{
    if (!task_ended(task))
        return -EAGAIN;
    handle_take(&task->handle);
    *ret_result = task->result;
    return 0;
}

const char *weft_task_name(const struct weft_task *task)
{
    return task->name;
}

struct weft_task *weft_task_self(void)
{
    struct fiber *self = fiber_self();

    return self && self->fn == task_main ? self->arg : NULL;
}

/* --- waiting */

/* Put the wait into the lists of all tasks; those that have ended count at once (I4). */
static void wait_register(struct tasks_wait *wait, struct weft_task *const *tasks, size_t count,
                          struct watch *watches, struct wait_batch *batch)
{
    for (size_t i = 0; i < count; i++) {
        struct weft_task *task = tasks[i];

        watches[i].wait = NULL;
        list_init(&watches[i].link);
        if (!task)
            continue;
        watches[i].wait = wait;
        spin_lock(&task->lock);
        if (task_ended(task))
            wait_note_end(wait, task->result, batch);
        else
            list_append(&task->watches, &watches[i].link);
        spin_unlock(&task->lock);
    }
}

static void wait_unregister(struct weft_task *const *tasks, size_t count, struct watch *watches)
{
    for (size_t i = 0; i < count; i++) {
        if (!tasks[i])
            continue;
        spin_lock(&tasks[i]->lock); /* I3: also where it is linked no more */
        if (list_linked(&watches[i].link))
            list_remove(&watches[i].link);
        spin_unlock(&tasks[i]->lock);
        watches[i].wait = NULL;
    }
}

/* Wait for `live` tasks of the `count`; the others are NULL. */
static int wait_for(struct weft_task *const *tasks, size_t count, size_t live,
                    struct watch *watches, enum weft_wait mode, uint64_t deadline_ns)
{
    struct tasks_wait wait = {.mode = mode, .left = live};
    struct wait_batch none = {0}; /* a claim of the caller itself, which is not suspended */
    int r = wait_prepare(&wait.waiter);

    if (r < 0)
        return r;
    wait_register(&wait, tasks, count, watches, &none);
    wait_describe(&wait.waiter, "task", count == 1 ? tasks[0] : NULL);
    r = wait_suspend(&wait.waiter, deadline_ns);
    wait_unregister(tasks, count, watches);
    return r;
}

static void wait_for_one_shielded(struct weft_task *task)
{
    struct tasks_wait wait = {.mode = WEFT_WAIT_ALL, .left = 1};
    struct wait_batch none = {0};
    struct watch watch;

    wait_prepare_shielded(&wait.waiter);
    wait_register(&wait, &task, 1, &watch, &none);
    wait_describe(&wait.waiter, "task", task);
    wait_suspend(&wait.waiter, WEFT_NO_DEADLINE);
    wait_unregister(&task, 1, &watch);
}

int weft_task_join(struct weft_task *task, uint64_t deadline_ns, int *ret_result)
{
    struct watch watch;
    int r = waitq_check();

    if (r < 0)
        return r;
    if (!task_ended(task)) {
        if (task == weft_task_self())
            return -EDEADLK;
        r = wait_for(&task, 1, 1, &watch, WEFT_WAIT_ALL, deadline_ns);
        if (r < 0)
            return r;
    }
    handle_take(&task->handle);
    if (ret_result)
        *ret_result = task->result;
    return 0;
}

void weft_task_free(struct weft_task *task)
{
    if (!task)
        return;
    if (!task_ended(task)) {
        CHECK(fiber_self() && task != weft_task_self()); /* it would wait for itself */
        weft_task_cancel(task);
        wait_for_one_shielded(task);
    }
    weft_task_detach(task);
}

/* --- waiting for several */

static int count_live(struct weft_task *const *tasks, size_t count, size_t *ret_live)
{
    struct weft_task *self = weft_task_self();
    size_t live = 0;

    for (size_t i = 0; i < count; i++) {
        if (tasks[i] && tasks[i] == self)
            return -EDEADLK;
        live += tasks[i] != NULL;
    }
    *ret_live = live;
    return 0;
}

static int count_ended(struct weft_task *const *tasks, size_t count)
{
    int ended = 0;

    for (size_t i = 0; i < count; i++)
        ended += tasks[i] && task_ended(tasks[i]);
    return ended;
}

int weft_tasks_wait(struct weft_task *const *tasks, size_t count, enum weft_wait mode,
                    uint64_t deadline_ns)
{
    enum { FEW = 16 };
    struct watch few[FEW], *watches = few;
    size_t live = 0;
    int r = waitq_check();

    if (r == 0)
        r = count_live(tasks, count, &live);
    if (r < 0 || live == 0)
        return r;
    if (count > FEW) {
        watches = calloc(count, sizeof(*watches));
        if (!watches)
            return -ENOMEM;
    }
    r = wait_for(tasks, count, live, watches, mode, deadline_ns);
    if (watches != few)
        free(watches);
    return r < 0 ? r : count_ended(tasks, count);
}

const struct fiber *task_fiber(const void *public)
{
    struct weft_task *task = (struct weft_task *)public;
    const struct fiber *fiber = NULL;

    if (!task)
        return NULL;
    spin_lock(&task->lock);
    if (task->started && !task_ended(task))
        fiber = task->scope.owner;
    spin_unlock(&task->lock);
    return fiber;
}
