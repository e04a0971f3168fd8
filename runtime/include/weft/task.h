/* SPDX-License-Identifier: MIT */
/*
 * A task: a fiber with a handle.  It is bounded by its runtime only, not by the scopes and groups
 * of the fiber that started it: it goes on when those are cancelled or left.  Anybody who has the
 * handle may cancel it, and any number of fibers may join it.  Where fibers are to end before their
 * creator goes on, use a group (weft/group.h), which nobody can forget to join.
 *
 * The handle lives until weft_task_free or weft_task_detach, also beyond the task's end and the
 * runtime's.  A failure that nobody asked for, and a handle that is still there when the runtime
 * ends and was never joined, are counted (`unjoined` in weft/stats.h) and reported in debug mode.
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_TASK_H
#define WEFT_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_runtime;
struct weft_task;

/** What weft_tasks_wait waits for. */
enum weft_wait {
    WEFT_WAIT_ALL,        /* that all have ended */
    WEFT_WAIT_FIRST_DONE, /* that one has ended */
    WEFT_WAIT_FIRST_ERROR /* that one has ended with a negative result, or all have ended */
};

/**
 * Start fn(arg) as a task of the caller's runtime.  It runs at once on this worker, and the
 * caller's continuation becomes stealable.  `name` is borrowed until the task has ended and the
 * handle is gone.
 * Ownership: the caller's, until weft_task_free or weft_task_detach.
 * Errors:    -EAGAIN at the fiber limit, -ENOMEM, -ESHUTDOWN the runtime is stopping.
 */
int weft_task_new(const char *name, int (*fn)(void *), void *arg, struct weft_task **ret_task);

/** As weft_task_new, as a task of `runtime`.  Context: any thread; on a plain one the task is
 * queued, and the call does not suspend. */
int weft_runtime_task(struct weft_runtime *runtime, const char *name, int (*fn)(void *), void *arg,
                      struct weft_task **ret_task);

/**
 * Wait until the task has ended, `deadline_ns` at most; *ret_result (may be NULL) gets what its fn
 * returned.  Any number of fibers may join, at any time, again and again.  A join that fails leaves
 * the task as it is: cancelling who joins does not cancel what it joins.
 * Errors: -ETIMEDOUT, -ECANCELED; -EDEADLK the task itself calls.
 */
int weft_task_join(struct weft_task *task, uint64_t deadline_ns, int *ret_result);

/** Cancel all that the task does: from now on its suspending calls return -ECANCELED, those inside
 * shields excepted.  It ends when its fn returns.  Context: any thread, also the task itself.
 * Never suspends.  A second call does nothing, nor does one after the end. */
void weft_task_cancel(struct weft_task *task);

/** Give the handle up; the task goes on by itself.  Nobody else may use it any more, nor still be
 * inside a join.  NULL does nothing.  Context: any thread.  Never suspends. */
void weft_task_detach(struct weft_task *task);

/** Cancel the task, wait for its end without regard to cancellation, and free the handle; nobody
 * else may use it any more, nor still be inside a join.  NULL does nothing.
 * Context: a fiber other than the task's own; any thread if the task has ended.  Never suspends if
 * it has. */
void weft_task_free(struct weft_task *task);

/** Whether it has ended.  Context: any thread.  Never suspends. */
bool weft_task_done(struct weft_task *task);

/** What its fn returned, without waiting.  Context: any thread.  Never suspends.
 * Errors: -EAGAIN it has not ended. */
int weft_task_result(struct weft_task *task, int *ret_result);

/** The name it was given.  Borrowed.  Context: any thread.  Never suspends. */
const char *weft_task_name(const struct weft_task *task);

/** The task whose fiber the caller is, borrowed until its fn returns; NULL on any other fiber (also
 * on one that a task has spawned) or thread.  Context: any thread.  Never suspends. */
struct weft_task *weft_task_self(void);

/**
 * Wait for what `mode` says of `count` tasks, `deadline_ns` at most.  NULLs among them are skipped.
 * weft_task_done tells which have ended, after an error too.
 * Returns: how many of them have ended.
 * Errors:  -ETIMEDOUT, -ECANCELED, -ENOMEM; the tasks go on.  -EDEADLK the caller is among them.
 */
int weft_tasks_wait(struct weft_task *const *tasks, size_t count, enum weft_wait mode,
                    uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif
#endif
