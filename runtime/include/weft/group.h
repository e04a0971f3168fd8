/* SPDX-License-Identifier: MIT */
/* A group owns fibers: leaving it joins them, the first failure cancels the rest and is the
 * group's result.  Groups nest as scopes do: the fiber that opened a group is inside its scope
 * until it joins it.  Defaults of weft/weft.h apply. */
#ifndef WEFT_GROUP_H
#define WEFT_GROUP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; its content is private. */
struct weft_group {
    uint64_t opaque[24];
};

/** Open a group owned by the calling fiber, and enter its scope.  Never suspends. */
void weft_group_init(struct weft_group *group);

/**
 * Start fn(arg) on a new fiber of the group.  The child runs at once on this worker and the
 * caller's continuation becomes stealable (work-first); called from a plain thread, or for a group
 * of another runtime, the child is queued.  `name` is borrowed until the fiber ends.
 * Context:   any thread, while the group is open.
 * Ownership: the group owns the fiber.
 * Errors:    -EAGAIN at the fiber limit, -ENOMEM no stack, -ESHUTDOWN the runtime is stopping.
 */
int weft_group_spawn(struct weft_group *group, const char *name, int (*fn)(void *), void *arg);

/** Cancel the group's fibers and its owner's waits inside it.  Context: any thread, while the
 * group is open.  Never suspends. */
void weft_group_cancel(struct weft_group *group);

/**
 * Wait until every fiber of the group has ended, and leave the group's scope.  Only the fiber that
 * opened the group.  Cancellation reaches the children, never the join itself.
 * Returns: 0; the first negative result of a child; or -ECANCELED / -ETIMEDOUT when the group was
 *          cancelled before any child failed.
 */
int weft_group_join(struct weft_group *group);

#ifdef __cplusplus
}
#endif
#endif
