/* SPDX-License-Identifier: MIT */
/* All fibers of a runtime, looked at one after the other. */
#ifndef RUNTIME_OBSERVE_CENSUS_H
#define RUNTIME_OBSERVE_CENSUS_H

#include "observe/look.h"

struct census {
    struct look *looks; /* sorted by id */
    size_t count, capacity;
};

/** Look at all of them.  `census` is all zeroes before; census_free it in any case.  Any thread.
 * Errors: -ENOMEM, -ENOTSUP. */
int census_take(struct census *census, struct weft_runtime *runtime, unsigned flags);
void census_free(struct census *census);

/** The one with that id, or NULL. */
struct look *census_find(const struct census *census, uint64_t id);

#endif
