/* SPDX-License-Identifier: MIT */
/*
 * problem: the sentence that goes with a -errno, for the operator.
 *
 * Two audiences, two structs, one rule: what a client did wrong or must know goes into a
 * `struct rpc_error` (protocol/error.h: job.h, engine.h, methods.h); what the operator must know
 * goes into a `struct problem` (store, configuration, sockets, start-up).  Both are filled on
 * failure and only then.  A problem's text is a whole clause without a full stop and names the
 * file or value at fault; whoever handles the error logs it, once.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>

struct problem {
    int err;        /* the same -errno as was returned; 0: nothing went wrong yet */
    char text[380]; /* UTF-8, cut to fit, never empty once err is set */
};

/* Fill problem (may be NULL) and return err, so that a failing path is one line:
 * `return problem_set(problem, -EINVAL, "argv is empty")`.  Any thread. */
__attribute__((format(printf, 3, 4))) static inline int
problem_set(struct problem *problem, int err, const char *format, ...)
{
    if (!problem)
        return err;
    va_list args;
    va_start(args, format);
    problem->err = err;
    vsnprintf(problem->text, sizeof problem->text, format, args);
    va_end(args);
    return err;
}
