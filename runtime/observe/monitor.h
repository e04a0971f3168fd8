/* SPDX-License-Identifier: MIT */
/*
 * The monitor: a thread that watches the workers of one runtime.  There is none unless the options
 * ask for one.
 *
 *   N1  It looks while some worker is awake, once per period, and sleeps while all are parked: a
 *       worker that comes back from its sleep wakes it (monitor_note_awake), and neither misses the
 *       other, as each stores its own state and then, behind a full barrier, reads the other's.
 *   N2  It only reads; what it decides per worker (monitor.c, struct watch) is kept apart from what
 *       it then does, which today is to report.
 */
#ifndef RUNTIME_OBSERVE_MONITOR_H
#define RUNTIME_OBSERVE_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

struct census;
struct monitor;
struct weft_runtime;

/** Start the thread: report fibers that run for `slow_ns`, and `deadlocks`.  The workers run.
 * Errors: -ENOMEM, -EAGAIN. */
int monitor_start(struct weft_runtime *runtime, uint64_t slow_ns, bool deadlocks);

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
