/* SPDX-License-Identifier: MIT */
/* The move of one item: into a buffer of ours, out of it, or straight from fiber to fiber. */
#ifndef RUNTIME_SYNC_ITEM_H
#define RUNTIME_SYNC_ITEM_H

#include <string.h>

#include "core/base.h"

/* Most items are a pointer or a number: let the compiler make that one move. */
static inline void item_copy(void *to, const void *from, size_t size)
{
    if (likely(size == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, size);
}

#endif
