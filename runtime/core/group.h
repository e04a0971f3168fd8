/* SPDX-License-Identifier: MIT */
/*
 * Groups: counting children without an atomic where none is needed.
 *
 *   G1  outstanding children = local + balance.  `local` is touched only by whoever holds the
 *       owner's execution: the owner itself, or a child that has just popped the owner's
 *       continuation from the deque.  `balance` is atomic and may be negative on its own.
 *   G2  A child that its owner spawned is counted in `local`.  When it ends and the continuation it
 *       pops is that of its spawner, nobody else can reach `local`, and it is uncounted there: the
 *       fork-join fast path.  Any other end is subtracted from `balance`.
 *   G3  The join folds `local` into `balance` together with the bit JOINING, after it prepared its
 *       wait; the child that brings the sum to JOINING exactly wakes the owner.  Before the fold a
 *       passage through zero means nothing.
 *   G4  A child does not touch the group after its subtraction, unless it is the last (then the
 *       owner is parked until that child claims it).
 */
#ifndef RUNTIME_CORE_GROUP_H
#define RUNTIME_CORE_GROUP_H

#include "core/scope.h"

struct weft_runtime;
struct worker;

#define GROUP_JOINING (INT64_C(1) << 62)

struct group {
    struct scope scope;
    struct weft_runtime *runtime; /* constant */
    int64_t local;                /* G1 */
    atomic_int_fast64_t balance;  /* atomic: acq_rel, a child's end before the join's return */
    atomic_int error;             /* atomic: the first negative result, set once by CAS */
};

/** Make a group whose owner is `owner` (NULL: the runtime's root, which nobody joins). */
void group_init(struct group *group, struct weft_runtime *runtime, struct scope *parent,
                struct fiber *owner);

void group_note_failure(struct group *group, int result);

/** A child ended with this result; any failure cancels the group.  Still counted afterwards. */
static inline void group_note_result(struct group *group, int result)
{
    if (unlikely(result < 0))
        group_note_failure(group, result);
}

/** Uncount a child by `balance`, and wake the owner if it was the last (G3).  `worker`: the
 * caller's own, or NULL, if the group is a runtime's root. */
void group_child_ended(struct group *group, struct worker *worker);

#endif
