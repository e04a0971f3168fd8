/* SPDX-License-Identifier: MIT */
/* Starting a program: the part of weft/process.h that needs no fiber. */
#ifndef RUNTIME_IO_SPAWN_H
#define RUNTIME_IO_SPAWN_H

#include <sys/types.h>

#include "weft/process.h"

struct spawned {
    pid_t pid;
    int pidfd;
};

/** Any thread; blocks it until the child has called exec.  On failure there is no child, and
 * `ret_fault` (also on success, meaningless then) tells what failed.  Errors: weft_process_spawn's,
 * but for cancellation. */
int spawn_program(const struct weft_process_options *options, enum weft_process_fault *ret_fault,
                  struct spawned *ret_spawned);

#endif
