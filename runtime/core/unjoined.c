/* SPDX-License-Identifier: MIT */
/*
 * The handles of all runtimes of the process, in shards, so that those who make tasks on different
 * workers seldom meet.
 *
 *   I1  A handle outlives its runtime or the other way round; which of the two is found out under
 *       the lock of the handle's shard, where the end of a runtime looks through all of them.
 *   I2  Who reports on behalf of a runtime that may be ending is a visitor of it, and became so
 *       under that lock: the runtime's end waits for its visitors after it has been there (I1).
 *   I3  The hook is called outside the locks, and the name may go with the handle: so what is told
 *       of a handle that is still there is a copy.
 *
 * It does not know what a task is.
 */
#include "core/unjoined.h"

#include <string.h>

#include "core/runtime.h"
#include "core/spin.h"

enum { SHARDS = 16, NAME_MAX_TOLD = 64 };

static struct shard {
    _Alignas(CACHE_LINE) struct spin lock;
    struct list handles; /* guarded by lock; all zeroes: empty */
} shards[SHARDS];

static struct shard *shard_of(const struct handle *handle)
{
    return &shards[((uintptr_t)handle >> 6) * UINT64_C(0x9E3779B97F4A7C15) >> 60];
}

void unjoined_note(struct weft_runtime *runtime, const struct unjoined *unjoined)
{
    atomic_fetch_add_explicit(&runtime->unjoined, 1, memory_order_relaxed);
    if (runtime->on_unjoined)
        runtime->on_unjoined(runtime, unjoined);
}

void handle_add(struct handle *handle, struct weft_runtime *runtime, const char *name)
{
    struct shard *shard = shard_of(handle);

    handle->runtime = runtime;
    handle->name = name;
    atomic_init(&handle->taken, false);
    spin_lock(&shard->lock);
    if (!shard->handles.next)
        list_init(&shard->handles);
    list_append(&shard->handles, &handle->link);
    spin_unlock(&shard->lock);
}

void handle_drop(struct handle *handle, bool failed, int result)
{
    struct shard *shard = shard_of(handle);
    struct weft_runtime *runtime = NULL;

    spin_lock(&shard->lock);
    if (handle->runtime) {
        list_remove(&handle->link);
        if (failed && !handle_taken(handle)) {
            runtime = handle->runtime;
            atomic_fetch_add_explicit(&runtime->visitors, 1, memory_order_relaxed); /* I2 */
        }
    }
    spin_unlock(&shard->lock);
    if (!runtime)
        return;
    unjoined_note(runtime, &(struct unjoined){UNJOINED_FAILED, handle->name, result});
    atomic_fetch_sub_explicit(&runtime->visitors, 1, memory_order_release);
}

/* Unlink one handle of the runtime that nobody asked for, and all before it that somebody did.
 * Returns: whether there was one; its name is copied. */
static bool shard_forget_one(struct shard *shard, struct weft_runtime *runtime,
                             struct unjoined *ret_unjoined, char ret_name[NAME_MAX_TOLD])
{
    struct list *next;

    for (struct list *node = shard->handles.next; node && node != &shard->handles; node = next) {
        struct handle *handle = container_of(node, struct handle, link);

        next = node->next;
        if (handle->runtime != runtime)
            continue;
        list_remove(node);
        handle->runtime = NULL;
        if (handle_taken(handle))
            continue;
        strncpy(ret_name, handle->name ? handle->name : "", NAME_MAX_TOLD - 1);
        ret_name[NAME_MAX_TOLD - 1] = '\0';
        *ret_unjoined = (struct unjoined){UNJOINED_FORGOTTEN, handle->name ? ret_name : NULL, 0};
        return true;
    }
    return false;
}

void handles_forget_runtime(struct weft_runtime *runtime)
{
    char name[NAME_MAX_TOLD];
    struct unjoined unjoined;
    bool found;

    for (struct shard *shard = shards; shard < shards + SHARDS; shard++) {
        do {
            spin_lock(&shard->lock);
            found = shard_forget_one(shard, runtime, &unjoined, name);
            spin_unlock(&shard->lock);
            if (found)
                unjoined_note(runtime, &unjoined); /* I3 */
        } while (found);
    }
}
