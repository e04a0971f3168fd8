/* SPDX-License-Identifier: MIT */
/*
 * Calls in processes of their own, for code that may crash, leak or never return: whatever it does
 * costs that one call.  Defaults of weft/weft.h apply.
 *
 * A worker process is this program, executed anew (/proc/self/exe): before its main() is reached,
 * the library takes over, waits for calls, and leaves when the pool does.  So there is no fork() of
 * a process with threads, and a worker has none of the parent's memory.  Constructors of the
 * program's files and of its shared libraries have run, main() has not: a function must not rely on
 * what main() sets up.  It runs on the worker's only thread, not on a fiber; it may start a
 * runtime.
 *
 * All functions are for fibers of one runtime but where they say otherwise.
 */
#ifndef WEFT_POOL_H
#define WEFT_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "weft/process.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weft_pool;

/* Where a function's output goes.  It carries its own function, so that a shared object that is
 * called by name need not be linked with anything.  Made by the library only. */
struct weft_pool_output {
    int (*write)(struct weft_pool_output *output, const void *data, size_t size);
};

/* What runs in a worker.  It gets the call's input, and says its output by weft_pool_write. */
#define WEFT_POOL_FUNCTION(name)                                                                   \
    int name(const void *input, size_t size, struct weft_pool_output *output)

/** Append to the output of the call.  In a worker, until the function returns.  Errors: -ENOMEM,
 * -EMSGSIZE more than the pool's reply_limit. */
static inline int weft_pool_write(struct weft_pool_output *output, const void *data, size_t size)
{
    return output->write(output, data, size);
}

struct weft_pool_options {
    unsigned processes;    /* most at once; 0: one per CPU of the affinity mask */
    unsigned calls;        /* after so many a process is replaced; 0: never */
    uint64_t memory_limit; /* address space of a process in bytes (RLIMIT_AS); 0: the parent's */
    uint64_t cpu_limit_ns; /* CPU time of one call (SIGXCPU ends the process); 0: no limit */
    size_t reply_limit;    /* most bytes of output of one call; 0: 64 MiB */
    int (*init)(void);     /* NULL, or called in each process before its first call; a negative
                              result ends it and is what the call gets that needed it */
    const char *program;   /* the program to execute; NULL: this one.  Another one must use
                              pools itself, so that it knows how to be a worker, and its functions
                              are called by symbol only */
    const struct weft_process_options *process; /* NULL: stdout and stderr inherited, no descriptor
                               else.  Its environment, user, cgroup, limits... are the workers';
                               argv, stdin, fds, group and fault do not count.  Borrowed, with all
                               that it points to, until weft_pool_free */
};

/* What a call brought back: `data` is the caller's to free(3), and never NULL. */
struct weft_pool_reply {
    int result; /* the function's */
    void *data;
    size_t size;
};

struct weft_pool_stats {
    unsigned processes; /* alive */
    unsigned idle;      /* of them: without a call */
    uint64_t calls;     /* that a process was given */
    uint64_t started;   /* processes */
    uint64_t died;      /* of themselves: crash, exit, limit */
    uint64_t killed;    /* for a deadline, a cancel, or an answer that made no sense */
};

/** All zeroes: the defaults above.  Any thread. */
void weft_pool_options_init(struct weft_pool_options *options);

/** A pool that has no process yet.  `options` may be NULL.  Any thread; never suspends.
 * Errors: -EINVAL a init function with another program, -ENOMEM. */
int weft_pool_new(const struct weft_pool_options *options, struct weft_pool **ret_pool);

/**
 * Call a function in a worker process, waiting for a free one, `deadline_ns` at most in all.
 * `fn` is a function of this program or of a shared object that is loaded; the worker loads the
 * same.  `ret_death` (may be NULL) is set when the process ended in the call, or was killed.
 * Errors: -ECHILD the process ended: it crashed, exited, or met a limit (SIGXCPU; most programs
 *         crash without memory);
 *         -ETIMEDOUT, -ECANCELED: not called, or the process was killed and reaped;
 *         -EMSGSIZE more output than the pool's limit; -EPROTO the process said nonsense, or closed
 *         its socket, and was killed; -ENOENT the worker does not find the function; -EINVAL fn is
 *         in no loaded object, or the pool has another program; -EAGAIN no further fiber or
 *         process; -ENOMEM here or there; init's result; weft_process_spawn's.
 */
int weft_pool_call(struct weft_pool *pool, WEFT_POOL_FUNCTION((*fn)), const void *input,
                   size_t size, uint64_t deadline_ns, struct weft_pool_reply *ret_reply,
                   struct weft_process_status *ret_death);

/**
 * The same by name: `symbol` of the shared object at the path `object`, which the worker loads
 * (dlopen) and keeps.  `object` NULL: of the worker's program itself, if it exports its symbols
 * (-rdynamic).  Nothing of it is loaded into the calling process.
 * Errors: as weft_pool_call; -ENOENT there is no such object or symbol.
 */
int weft_pool_call_symbol(struct weft_pool *pool, const char *object, const char *symbol,
                          const void *input, size_t size, uint64_t deadline_ns,
                          struct weft_pool_reply *ret_reply, struct weft_process_status *ret_death);

/** Any thread.  Never suspends. */
void weft_pool_stats(struct weft_pool *pool, struct weft_pool_stats *ret_stats);

/** Kill and reap its processes.  No call may be under way.  Waits without regard to cancellation,
 * for no longer than a process needs to die of SIGKILL.  NULL does nothing. */
void weft_pool_free(struct weft_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
