/* SPDX-License-Identifier: MIT */
/*
 * The trace's rings.  Each worker has one, and one more takes what plain threads do.
 *
 *   R1  A ring is written by its worker's thread (the shared one under its lock); `head` counts the
 *       records ever written.  Record h lies in slot h mod capacity.
 *   R2  A reader copies, and then looks at `head` again: what lies a capacity behind it, or is
 *       being overwritten at the moment, is dropped.  All words are atomic, so nothing is
 *       undefined.  R3 A worker says that it writes (`busy`) before it reads which ring it has.
 *       Who takes the ring away waits until it says so no more; then the ring may be freed.
 */
#ifndef RUNTIME_OBSERVE_TRACE_H
#define RUNTIME_OBSERVE_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/hooks.h"

struct fiber;
struct worker;
struct weft_runtime;

enum trace_kind {
    TRACE_SPAWN, /* `fiber` was started by `other` */
    TRACE_IN,    /* the worker enters `fiber`; detail: 1 for the first time */
    TRACE_OUT,   /* the worker leaves `fiber`; detail: enum leave_reason, text: what it waits for */
    TRACE_END,   /* `fiber` ends */
    TRACE_READY, /* `fiber` was made ready by `other` (0: the loop, a plain thread) */
    TRACE_STEAL, /* the worker took `other` fibers, `fiber` first, from the worker `detail` */
    TRACE_POLL,  /* the loop was polled from time_ns to `other` */
    TRACE_PARK,  /* the worker slept in its loop from time_ns to `other` */
    TRACE_MARK   /* text and `other` are the user's */
};

enum { TRACE_TEXT = 32, TRACE_WORDS = 8 };

struct trace_record {
    uint64_t time_ns;
    uint32_t kind;
    uint32_t detail;
    uint64_t fiber; /* ids */
    uint64_t other;
    char text[TRACE_TEXT];
};

/* A record and where it was made. */
struct trace_event {
    struct trace_record record;
    unsigned worker; /* the number of workers: by a plain thread */
};

/* What was recorded, a copy. */
struct trace_copy {
    struct trace_event *events; /* in the order of time; the caller frees them */
    size_t count;
    unsigned workers;
};

/* The hooks' part.  On the worker's thread, while its runtime records or has just stopped. */
void trace_switch(struct worker *worker, struct fiber *from, struct fiber *to,
                  enum leave_reason reason);
void trace_end(struct worker *worker, uint64_t id);
void trace_ready(struct worker *worker, struct fiber *fiber);
void trace_spawned_outside(struct fiber *fiber);
void trace_stolen(struct worker *worker, struct worker *victim, struct fiber *fiber,
                  unsigned taken);
void trace_polled(struct worker *worker, uint64_t start_ns, bool parked);

/** Copy what was recorded.  Any thread.  Errors: -ENODATA, -ENOMEM. */
int trace_copy(struct weft_runtime *runtime, struct trace_copy *ret_copy);

/** The runtime is being freed: nobody records any more. */
void trace_free(struct weft_runtime *runtime);

#endif
