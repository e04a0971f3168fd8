/* SPDX-License-Identifier: MIT */
/*
 * Fiber-local values: a fiber starts with all values of the fiber that spawned it (in a group, as a
 * task, into a runtime, as a generator's producer), and what it sets from then on is seen by itself
 * and by those that it spawns afterwards, not by its parent or its siblings.
 *
 *     static struct weft_local request_id = WEFT_LOCAL(free);
 *
 *     weft_local_set(&request_id, strdup("4711"));   // in the fiber that accepts the request
 *     weft_local_get(&request_id);                   // in any that works on it
 *
 * A value lives at least until its fiber has ended, so it is on the heap or static, never a
 * variable of the fiber's own functions (unless it is taken away before).  Fibers that plain
 * threads start, and the threads of weft_offload, have no values. Defaults of weft/weft.h apply.
 */
#ifndef WEFT_LOCAL_H
#define WEFT_LOCAL_H

#ifdef __cplusplus
extern "C" {
#endif

/* A key.  Static, or otherwise there for as long as any fiber has a value for it.  Only its address
 * counts, and the callback. */
struct weft_local {
    void (*release)(void *value); /* NULL, or called once for each value that was set, when no
                                     fiber has it any more; by whichever fiber lost it last, and
                                     must not suspend nor set values */
};

/** The initializer of a key. */
#define WEFT_LOCAL(release_function)                                                               \
    {                                                                                              \
        release_function                                                                           \
    }

/** The calling fiber's value; NULL if it has none, or on a plain thread.  Borrowed: it is there
 * until the fiber sets another or ends.  Context: any thread.  Never suspends. */
void *weft_local_get(const struct weft_local *key);

/** Give the calling fiber this value instead of the one it has; NULL: none.  Never suspends.
 * Ownership: release's, from now on; on failure the caller's.  Errors: -ENOMEM. */
int weft_local_set(const struct weft_local *key, void *value);

#ifdef __cplusplus
}
#endif
#endif
