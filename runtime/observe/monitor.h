/* SPDX-License-Identifier: MIT */
/*
 * The monitor: a thread that watches the workers of one runtime.  Each runtime has one, unless its
 * options leave it nothing to do.
 *
 *   N1  It looks while some worker is awake, once per period, and sleeps while all are parked: a
 *       worker that comes back from its sleep wakes it (monitor_note_awake), and neither misses the
 *       other, as each stores its own state and then, behind a full barrier, reads the other's.
 *   N2  What it decides per worker (monitor.c, struct watch) is kept apart from what it then does:
 *       to have the worker handed over (core/handoff.h), or to report.
 */
#ifndef RUNTIME_OBSERVE_MONITOR_H
#define RUNTIME_OBSERVE_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

struct census;
struct monitor;
struct weft_runtime;

/* What it is to do. */
struct monitor_tasks {
    uint64_t slow_ns;    /* report fibers that run for so long; 0: none */
    uint64_t handoff_ns; /* take workers from such as run for so long; WEFT_HANDOFF_NEVER */
    bool deadlocks;      /* report them */
};

/** Start the thread.  The workers run.  Errors: -ENOMEM, -EAGAIN. */
int monitor_start(struct weft_runtime *runtime, const struct monitor_tasks *tasks);

/** End and join the thread; the workers' threads are still there.  NULL does nothing. */
void monitor_stop(struct monitor *monitor);

/** The workers' threads are gone.  NULL does nothing. */
void monitor_free(struct monitor *monitor);

/** A worker is no longer parked.  On its thread. */
void monitor_note_awake(struct monitor *monitor);

/**
 * Whether the runtime looks deadlocked now: one look of I3 (monitor.c).  `census` is as for
 * census_take, and holds who waits.  *ret_moves is the same the next time if nothing has moved
 * since.  Any thread.
 */
bool monitor_sees_deadlock(struct weft_runtime *runtime, struct census *census,
                           uint64_t *ret_moves);

#endif
