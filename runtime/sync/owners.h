/* SPDX-License-Identifier: MIT */
/* Who holds a primitive, for observe/: asked only while some fiber is known to wait for it, so that
 * it is still there.  Any thread.  NULL: nobody. */
#ifndef RUNTIME_SYNC_OWNERS_H
#define RUNTIME_SYNC_OWNERS_H

struct fiber;

const struct fiber *mutex_owner(const void *mutex);

/** The fiber that is inside to write; NULL also if a plain thread is, or readers are. */
const struct fiber *rwlock_writer(const void *rwlock);

/** The fiber that runs the function. */
const struct fiber *once_runner(const void *once);

/** The fiber that runs a task, NULL when it has ended; `task` may be NULL. */
const struct fiber *task_fiber(const void *task);

#endif
