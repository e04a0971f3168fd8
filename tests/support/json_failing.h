/* SPDX-License-Identifier: MIT */
/* For tests in which an allocation of jansson's fails, in each run another: short of memory, the
 * product may refuse, but must not say something else.  One thread at a time. */
#pragma once

#include "protocol/json_memory.h"

#include <stdbool.h>
#include <stdlib.h>

static size_t json_failing; /* the json_failing-th allocation from now on fails; 0: none */

static void *json_allocate(size_t size)
{
    return json_failing > 0 && --json_failing == 0 ? NULL : malloc(size);
}

/* Before there is JSON. */
static inline void json_failing_init(void)
{
    json_memory_watch(json_allocate);
}

/* No more of them fail.  Returns whether one had. */
static inline bool json_failing_end(void)
{
    bool has_failed = json_failing == 0;
    json_failing = 0;
    return has_failed;
}
