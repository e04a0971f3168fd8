/* SPDX-License-Identifier: MIT */
/*
 * Looking at fibers that live on meanwhile.  One observer at a time, in the whole process.
 *
 *   O1  Control blocks are type-stable (core/stack.h), so every slot that was carved may be asked
 *       for its id at any time; 0 is nobody.
 *   O2  Between look_begin and look_end HOOK_PIN is set and every thread has passed a barrier after
 *       that.  look_at stores the fiber in `observe_pinned`, and behind a full barrier reads its
 *       id, then every worker's `current`.  A fiber that ends or is entered did its part of H1
 *       before: either it is seen here, or it sees the pin and waits (H2).
 *   O3  So while it is pinned, a fiber whose id is not 0 keeps its name, its group and the group's
 *       owner.  If its park word says WAITING, or if no worker runs it and the worker that ran it
 *       last is not in the middle of a switch (worker->after), and it is no stray (handoff.h), its
 *       registers are saved and its stack stands still.
 *   O4  A fiber that waits has not returned from its wait, so what it waits for is still there: it
 *       may be asked who owns it (wait_owner_of), but nothing else may be done to it.
 *   O5  Nothing is called back, and no memory is asked for, while HOOK_PIN is set.
 */
#ifndef RUNTIME_OBSERVE_LOOK_H
#define RUNTIME_OBSERVE_LOOK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "weft/dump.h"

struct code_map;
struct fiber;
struct weft_runtime;

enum { LOOK_NAME = 64 };

/* What was seen of one fiber. */
struct look {
    struct weft_fiber_info info; /* its name points to `name`, or nowhere */
    char name[LOOK_NAME];
    const struct fiber *fiber;
    const void *group; /* compared only */
};

/* Where an enumeration stands.  All zeroes: at the beginning. */
struct look_cursor {
    unsigned class;
    size_t index;
};

/* Who is being looked at (H2).  Atomic: seq_cst, see O2. */
extern _Atomic(struct fiber *) observe_pinned;

/** Become the observer.  Any thread; blocks it while another one is.  Errors: -ENOTSUP. */
int look_begin(void);
void look_end(void);

/** Look at one fiber, with its backtrace if there is a map (read lately).  Between look_begin and
 * look_end.  Returns: false: it is nobody, or not of this runtime. */
bool look_at(struct weft_runtime *runtime, struct fiber *fiber, const struct code_map *map,
             struct look *ret_look);

/** Add the backtrace of a fiber that runs, by a signal.  Any thread, but not between look_begin
 * and look_end: it takes as long as the fiber's thread takes to see it. */
void look_interrupt(struct weft_runtime *runtime, const struct code_map *map, struct look *look);

/** Look at up to `most` more fibers, from the cursor on.  Any thread, but no observer.
 * Returns: how many, 0 at the end.  Errors: -ENOTSUP. */
int look_more(struct weft_runtime *runtime, unsigned flags, struct look_cursor *cursor,
              struct look *ret_looks, int most);

#endif
