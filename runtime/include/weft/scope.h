/* SPDX-License-Identifier: MIT */
/* Scopes bound what a fiber does inside them, by a deadline or a cancel; shields hold an outer
 * cancellation off for clean-up.  Scopes nest: the last one entered is the first to be left, by
 * the fiber that entered it, before it ends: a fiber that ends inside one aborts the program.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_SCOPE_H
#define WEFT_SCOPE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; its content is private. */
struct weft_scope {
    uint64_t opaque[16];
};

/** Enter a scope that expires at `deadline_ns` (WEFT_NO_DEADLINE: never).  Never suspends. */
void weft_scope_enter(struct weft_scope *scope, uint64_t deadline_ns);

/** Enter a shield: cancellation and deadlines from outside do not reach inside it; until it is
 * left, or the runtime's stop has used up its grace.  Never suspends. */
void weft_shield_enter(struct weft_scope *scope);

/**
 * Leave the innermost scope or shield.  Never suspends.
 * Returns: 0, -ETIMEDOUT when its own deadline expired, -ECANCELED when it was cancelled.
 */
int weft_scope_leave(struct weft_scope *scope);

/** Cancel all that runs inside the scope.  Context: any thread, while the scope is entered (the
 * caller keeps it from being left meanwhile).  Never suspends; a second call does nothing. */
void weft_scope_cancel(struct weft_scope *scope);

#ifdef __cplusplus
}
#endif
#endif
