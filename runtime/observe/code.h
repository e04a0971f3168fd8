/* SPDX-License-Identifier: MIT */
/* Where the code of this process is: to tell words on a stack that could be return addresses. */
#ifndef RUNTIME_OBSERVE_CODE_H
#define RUNTIME_OBSERVE_CODE_H

#include <stdbool.h>
#include <stdint.h>

enum { CODE_RANGES = 128 };

struct code_map {
    unsigned count;
    struct {
        uintptr_t low, high;
    } range[CODE_RANGES];
};

/** Ask the loader.  Any thread; it takes the loader's lock.  A module that is unloaded afterwards
 * makes the map stale: use it soon. */
void code_map_read(struct code_map *map);

/** Whether the address is in code, and behind a call.  Any thread, async-signal-safe. */
bool code_is_return(const struct code_map *map, uintptr_t address);

#endif
