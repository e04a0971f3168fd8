/* SPDX-License-Identifier: MIT */
/*
 * Fibers that block their thread, and fibers that must stay on theirs.
 *
 * A worker whose fiber blocks the thread (a library that waits, a slow system call) or computes for
 * long serves nobody meanwhile.  A runtime finds that out by itself (`handoff_ns` of struct
 * weft_options): another thread takes the worker over, so that its other fibers, timers and
 * descriptors go on, and the fiber keeps its thread until its next call that suspends.  Announced,
 * it happens at once.  weft_offload is for calls of which there are many.
 *
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_BLOCKING_H
#define WEFT_BLOCKING_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What follows, up to weft_blocking_end, may block the thread: another one drives the worker at
 * once.  Regions nest; the outermost one counts.  Calls of Weft work inside as anywhere, but the
 * first that suspends ends the region's effect: the fiber has a worker again then.  A fiber that
 * ends inside ends the region.  Cancellation does not interrupt what blocks; a stop of the runtime
 * waits for it, up to twice the grace.
 * Context: any thread; on a plain one it does nothing.  Does not suspend.
 * Errors:  then no region has begun, and what blocks blocks the worker: -EAGAIN no thread left
 *          (`spare_threads` of struct weft_options), -EBUSY a fiber is pinned to this thread.
 */
int weft_blocking_begin(void);

/**
 * The region ends; the outermost one: the fiber waits for a worker.
 * Context: any thread; on a plain one it does nothing.
 * Errors:  -EINVAL no region has begun; or, the region being ended, the scope's: -ECANCELED,
 *          -ETIMEDOUT.
 */
int weft_blocking_end(void);

/**
 * From here on the fiber stays on the OS thread that it runs on now, up to weft_unpin: for
 * libraries that keep state in thread-locals across calls, or want one thread.  It is not stolen,
 * its worker takes it in turns with everything else that is ready there, and the worker stays with
 * the thread also when it is stuck.  Pins nest.  A fiber that ends is unpinned; what it spawns is
 * not pinned. Errors:  none but -EOVERFLOW, 65,535 pins deep.
 */
int weft_pin(void);

/** Errors: -EINVAL it is not pinned. */
int weft_unpin(void);

#ifdef __cplusplus
}
#endif
#endif
