/* SPDX-License-Identifier: MIT */
/* The half of an asymmetric barrier that is paid by who runs it seldom. */
#ifndef RUNTIME_CORE_BARRIER_H
#define RUNTIME_CORE_BARRIER_H

/**
 * A full barrier on every thread of the process, by membarrier(2): what a thread did before, in its
 * own order, is seen by the caller afterwards; or the thread sees what the caller did before.  The
 * threads need no more than a compiler barrier of their own.
 * Any thread.  Errors: -ENOTSUP where the kernel has none (before 4.14, or filtered).
 */
int barrier_everywhere(void);

#endif
