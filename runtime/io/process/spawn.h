/* SPDX-License-Identifier: MIT */
/* Starting a program: the part of weft/process.h that needs no fiber. */
#ifndef RUNTIME_IO_PROCESS_SPAWN_H
#define RUNTIME_IO_PROCESS_SPAWN_H

#include <sys/types.h>

#include "weft/process.h"

struct spawned {
    pid_t pid;
    int pidfd;
    int report; /* -1: it has called execve.  Else a pipe, non-blocking, which tells in a struct
                   spawn_report why it did not, or ends when it has; the caller's to close */
};

/* Why a child did not come to be the program. */
struct spawn_report {
    int error;                              /* -errno; 0: none */
    enum weft_process_fault fault;          /* at what */
    const struct weft_process_limit *limit; /* at which, for WEFT_PROCESS_FAULT_LIMIT */
};

/** Any thread.  `options` are checked, and hold no WEFT_PROCESS_PIPE any more.  Blocks the thread
 * until the child has called execve, unless it is to change its user.  On failure there is no
 * child, and `ret_report` (also on success, meaningless then) tells what failed; its error is not
 * set.
 * Errors: weft_process_spawn's, but for cancellation. */
int spawn_program(const struct weft_process_options *options, struct spawn_report *ret_report,
                  struct spawned *ret_spawned);

/** Kill and reap a child that nobody watches yet, and close what is known of it. */
void spawn_discard(const struct spawned *spawned);

#endif
