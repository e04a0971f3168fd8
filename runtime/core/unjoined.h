/* SPDX-License-Identifier: MIT */
/*
 * Results that nobody asked for: the handles of tasks, and what happened to those that were given
 * up, or are still there when their runtime ends.
 */
#ifndef RUNTIME_CORE_UNJOINED_H
#define RUNTIME_CORE_UNJOINED_H

#include <stdatomic.h>

#include "core/list.h"

struct weft_runtime;

/* What is embedded in a thing that has to be joined. */
struct handle {
    struct list link;             /* guarded by its shard's lock */
    struct weft_runtime *runtime; /* NULL once that has ended; guarded by its shard's lock */
    const char *name;             /* borrowed, as long as it is linked; constant */
    atomic_bool taken;            /* atomic: relaxed; somebody asked for the result */
};

enum unjoined_kind {
    UNJOINED_FAILED,   /* it failed with `result`, and that is lost: the handle is gone */
    UNJOINED_FORGOTTEN /* the runtime has ended, and nobody joined it, detached or freed it */
};

/* Valid during the call of the hook. */
struct unjoined {
    enum unjoined_kind kind;
    const char *name; /* or NULL */
    int result;       /* UNJOINED_FAILED only */
};

/* For the observer (runtime->on_unjoined, NULL: nobody listens): called by any thread, also by
 * fibers, outside all locks.  Must not suspend.  Set before the first fiber. */
typedef void unjoined_hook(struct weft_runtime *runtime, const struct unjoined *unjoined);

/** The handle is there from now on.  Any thread. */
void handle_add(struct handle *handle, struct weft_runtime *runtime, const char *name);

/** It is given up.  `failed`: with this negative result, which is reported unless it was taken.
 * Any thread, also after the runtime's end. */
void handle_drop(struct handle *handle, bool failed, int result);

static inline void handle_take(struct handle *handle)
{
    atomic_store_explicit(&handle->taken, true, memory_order_relaxed);
}

static inline bool handle_taken(struct handle *handle)
{
    return atomic_load_explicit(&handle->taken, memory_order_relaxed);
}

/** Count it and tell the hook.  The runtime must not end meanwhile. */
void unjoined_note(struct weft_runtime *runtime, const struct unjoined *unjoined);

/** The runtime ends: no fiber of it is left.  Its handles become those of no runtime. */
void handles_forget_runtime(struct weft_runtime *runtime);

#endif
