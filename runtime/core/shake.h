/* SPDX-License-Identifier: MIT */
/*
 * The schedule shaker: at places where an interleaving could matter, the thread pauses at random,
 * so that windows of a few instructions become wide enough for a stress test to fall into.
 *
 * Only builds with a sanitizer have it (WITH_SHAKER, set by cmake/options.cmake), and only while
 * the environment variable WEFT_SHAKE is a number: one in so many places is a pause (64 is a good
 * start).  Elsewhere shake() is nothing.  It changes no state of the runtime, may be called by any
 * thread and fiber, and never suspends a fiber.
 */
#ifndef RUNTIME_CORE_SHAKE_H
#define RUNTIME_CORE_SHAKE_H

#ifdef WITH_SHAKER
void shake(void);
#else
static inline void shake(void) {}
#endif

#endif
