/* SPDX-License-Identifier: MIT */
/*
 * Calls from plain threads: a fiber does the work while the thread waits on a semaphore of its own
 * stack.
 *
 *   I1  The fiber's last touch of the call is sem_post, and the thread does not return before it:
 *       a thread that was let go by it may destroy the semaphore at once (POSIX says so of the
 *       object, glibc keeps it since 2.21).
 *   I2  The fiber ends whatever happens, as all fibers of a runtime that is stopped do; so the
 *       thread waits without a limit, and needs no way to give up.
 */
#include <errno.h>
#include <semaphore.h>

#include "core/local.h"
#include "core/sched.h"
#include "core/stack.h"
#include "weft/runtime.h"

struct call {
    int (*fn)(void *);
    void *arg;
    int result; /* written before the post, read after the wait */
    sem_t done;
};

static int call_main(void *arg)
{
    struct call *call = arg;

    call->result = call->fn(call->arg);
    locals_drop(&fiber_self()->locals); /* they may refer to what is the caller's */
    sched_resign(fiber_self());         /* and so may the name */
    sem_post(&call->done);
    return 0;
}

int weft_runtime_call(struct weft_runtime *runtime, const char *name, int (*fn)(void *), void *arg,
                      int *ret_result)
{
    struct call call = {.fn = fn, .arg = arg};
    int r;

    if (fiber_self())
        return -EDEADLK;
    sem_init(&call.done, 0, 0);
    r = weft_runtime_spawn(runtime, name, call_main, &call);
    if (r == 0)
        while (sem_wait(&call.done) < 0) /* EINTR: a signal handler ran */
            ;
    sem_destroy(&call.done);
    if (r == 0 && ret_result)
        *ret_result = call.result;
    return r;
}
