/* SPDX-License-Identifier: MIT */
/* The inside of weft/process.h, shared by process.c and process_talk.c. */
#ifndef RUNTIME_IO_PROCESS_PROCESS_H
#define RUNTIME_IO_PROCESS_PROCESS_H

#include <pthread.h>

#include "io/descriptor.h"
#include "weft/process.h"

/* What communicate has read from a pipe so far.  Of whoever is `talking`. */
struct process_gathered {
    char *data; /* of capacity + 1 bytes; NULL: nothing yet */
    size_t size, capacity;
};

struct weft_process {
    struct weft_descriptor *pidfd;
    pid_t pid;      /* constant */
    bool has_group; /* constant: it leads its own process group */
    pthread_mutex_t lock;
    bool reaped;                       /* guarded by lock */
    bool ending;                       /* guarded by lock: its group is to end with it */
    struct weft_process_status status; /* guarded by lock; set when reaped */
    struct weft_stream *stdio[3];      /* our ends of the pipes; NULL: none */
    bool talking;                      /* guarded by lock: a fiber is in communicate */
    size_t written;                    /* bytes of communicate's input; of whoever is talking */
    struct process_gathered gathered[2];
};

/** From now on, when it has ended, whoever is left of its group is killed, before it is reaped. */
void process_end_group(struct weft_process *process);

/** SIGKILL to it and its group, and reap it, whatever is cancelled.  `ret_status` may be NULL.
 * Errors: -EPERM, -ECHILD. */
int process_destroy(struct weft_process *process, struct weft_process_status *ret_status);

/** 0: it has been reaped, now or before.  Never suspends.  Errors: -EAGAIN it runs, -ECHILD. */
int process_reap(struct weft_process *process, struct weft_process_status *ret_status);

#endif
