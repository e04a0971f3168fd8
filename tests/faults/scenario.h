/* SPDX-License-Identifier: MIT */
/*
 * What uses libweft while calls fail in it (sweep.c).
 *
 * A scenario is the main fiber of a runtime of its own.  It does something of each that its name
 * says, checks by EXPECT what succeeds, returns the first error that it meets, and leaves nothing
 * behind.
 */
#pragma once
#include <errno.h>

#include "support/fibers.h"
#include "weft/cleanup.h"

struct scenario {
    const char *name;
    int (*play)(void *unused);
    int (*prepare)(void); /* NULL, or called once before, without faults */
    bool vague; /* a library below does not always say what it lacked: any error will do */
};

extern const struct scenario core_scenarios[], io_scenarios[], net_scenarios[]; /* name NULL ends */

/* Return the error of a call that has one. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        long long tried = (call);                                                                  \
        if (tried < 0)                                                                             \
            return (int)tried;                                                                     \
    } while (0)

static inline uint64_t in_time(void)
{
    return weft_deadline_after(20 * WEFT_SECOND);
}
