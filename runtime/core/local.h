/* SPDX-License-Identifier: MIT */
/*
 * The set of fiber-local values of a fiber.  A set never changes once it is made, so that a fiber
 * and those that it spawns share it by reference; setting a value makes another set.  A fiber
 * without values has no set (NULL), which is all that a spawn looks at then.
 */
#ifndef RUNTIME_CORE_LOCAL_H
#define RUNTIME_CORE_LOCAL_H

#include "core/base.h"

struct locals;

struct locals *locals_ref_shared(struct locals *locals);
void locals_unref_shared(struct locals *locals);

/** What a fiber gets that is spawned by one with this set. */
static inline struct locals *locals_ref(struct locals *locals)
{
    return unlikely(locals) ? locals_ref_shared(locals) : NULL;
}

/** The fiber needs its set no more.  Calls the release callbacks of values that go with it. */
static inline void locals_drop(struct locals **own)
{
    struct locals *locals = *own;

    if (likely(!locals))
        return;
    *own = NULL;
    locals_unref_shared(locals);
}

#endif
