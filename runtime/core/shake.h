/* SPDX-License-Identifier: MIT */
/*
 * The schedule shaker: at places where an interleaving could matter, the thread pauses at random,
 * so that windows of a few instructions become wide enough for a stress test to fall into; and a
 * fiber whose wait has ended goes to the end of the queue once more.
 *
 * Only builds with a sanitizer have it (WITH_SHAKER, set by cmake/options.cmake), and only while
 * the environment variable WEFT_SHAKE is ONE_IN or ONE_IN:SEED: one in so many places is a pause (64
 * is a good start).  The threads roll dice that follow from the seed and from the order in which
 * they first come by: the same seed makes the same pauses again, as far as the kernel plays along.
 * Without a seed one is chosen, and said on stderr.  Elsewhere all this is nothing.
 */
#ifndef RUNTIME_CORE_SHAKE_H
#define RUNTIME_CORE_SHAKE_H

#include <stdbool.h>

#ifdef WITH_SHAKER
/** Perhaps pause.  Any thread and fiber.  Changes nothing of the runtime, suspends no fiber. */
void shake(void);

/** Whether a fiber should yield here.  Any fiber. */
bool shake_due(void);
#else
static inline void shake(void) {}
static inline bool shake_due(void)
{
    return false;
}
#endif

#endif
