/* SPDX-License-Identifier: MIT */
/*
 * failpoint: named places where weftd kills itself, for the crash oracle.
 *
 * WEFT_FAILPOINT=NAME:N in weftd's environment: SIGKILL at the Nth time that NAME is passed.  It is
 * in every build, so that what is tested is what is shipped: a place costs one load and a compare.
 * Without the variable nothing is armed; with it, whoever could set it could as well have killed
 * weftd.
 */
#pragma once

#include "daemon/problem.h"

enum failpoint {
    FAILPOINT_NONE,
    FAILPOINT_WRITE,     /* a batch is about to be written */
    FAILPOINT_COMMIT,    /* … is written, not committed */
    FAILPOINT_COMMITTED, /* … is on disk, nobody has been told */
    FAILPOINT_FOLDED,    /* the log was folded back */
    FAILPOINT_REPLY,     /* a reply is made, not sent */
    FAILPOINT_REPLIED,   /* … is sent, as far as the socket takes it */
    FAILPOINT_START,     /* an attempt is taken, the store not told */
    FAILPOINT_STARTED,   /* … the store is told, where that is awaited it is on disk */
    FAILPOINT_SPAWNED,   /* its program is there */
    FAILPOINT_EXITED,    /* … has ended, what it started may live */
    FAILPOINT_REAP,      /* … is about to be reaped, what it started is ended */
    FAILPOINT_REAPED,    /* … is not any more, nobody knows its status */
    FAILPOINT_RAN,       /* it is over, nobody has been told */
    FAILPOINT_ENDED,     /* its end is on disk, no client has been told */
    FAILPOINT_FORGOTTEN, /* rows are deleted, their output is there */
    FAILPOINT_COUNT
};

/* Constant once there are threads. */
extern enum failpoint failpoint_armed;

/* Arm what the environment says, and take it out of there.  main, before there are threads.
 * Errors: -EINVAL with problem. */
int failpoint_arm(struct problem *problem);

void failpoint_reach(void); /* the armed one.  Any thread */

static inline void failpoint(enum failpoint at)
{
    if (__builtin_expect(failpoint_armed == at, 0))
        failpoint_reach();
}
