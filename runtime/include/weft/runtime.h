/* SPDX-License-Identifier: MIT */
/* A runtime: N workers, each an OS thread with its own libev loop and ready queues.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_RUNTIME_H
#define WEFT_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_report;
struct weft_runtime;

/** Who reads and writes files.  Nothing but the speed differs. */
enum weft_file_backend {
    WEFT_FILE_AUTO,   /* io_uring; where it is refused, threads */
    WEFT_FILE_URING,  /* io_uring, or the runtime does not start */
    WEFT_FILE_OFFLOAD /* threads */
};

struct weft_options {
    unsigned workers;         /* 0: one per CPU of the affinity mask */
    size_t stack_size;        /* bytes: 64 KiB, 256 KiB (0: default) or 1 MiB; rounded up to one */
    size_t max_fibers;        /* alive at once, 0: as many as there is memory for */
    unsigned offload_threads; /* most threads of the offload pool; 0: 64 */
    uint64_t grace_ns;        /* how long a stop waits before it breaks shields; 0: 10 s */
    bool handle_signals;      /* SIGINT and SIGTERM stop the runtime (weft_run's default: true) */
    bool debug;               /* watch for mistakes and report them, as WEFT_DEBUG=1 in the
                                 environment does: slow fibers (100 ms unless slow_fiber_ns says
                                 otherwise), deadlocks, results that nobody asked for */
    uint64_t slow_fiber_ns;   /* report a fiber that runs so long without returning to the
                                 scheduler; 0: no such report, but for `debug` */
    void (*report)(const struct weft_report *report, void *arg); /* weft/report.h; called on any
                                 thread, one call at a time; must not free the runtime, and must not
                                 suspend.  NULL: the text goes to standard error */
    void *report_arg;
    enum weft_file_backend file_backend; /* who reads and writes files */
    unsigned file_threads;               /* most threads for files; 0: 4 a CPU, and at least 8 */
    uint64_t handoff_ns; /* when a fiber has kept its worker for so long, and something else waits
                            for it, another thread drives the worker on (weft/blocking.h);
                            0: 10 ms; WEFT_HANDOFF_NEVER */
    unsigned spare_threads; /* most threads for that, beyond one per worker; 0: 64 */
};

/** For `handoff_ns`: only weft_blocking_begin hands a worker over. */
#define WEFT_HANDOFF_NEVER UINT64_MAX

/** Fill `options` with the defaults.  Context: any thread. */
void weft_options_init(struct weft_options *options);

/**
 * Run fn(arg) as the main fiber of a new runtime, stop the runtime when it returns, and close it.
 * With `handle_signals`, SIGINT or SIGTERM cancels the main fiber and all others (a second signal
 * breaks shields at once) and both are blocked in the calling thread for the call.
 * Context: a plain thread, not a fiber; blocks it.  `options` may be NULL.
 * Returns: fn's result.
 * Errors:  -EINVAL on a fiber or bad options, -ENOMEM, -EAGAIN (no thread), io_uring_setup(2)'s
 *          (-EPERM, -ENOSYS) where io_uring is insisted on but refused, -ENOTSUP where the
 *          kernel enforces shadow stacks, -ETIMEDOUT when fibers did not end within twice the
 *          grace after the stop began: their threads still run, and the process should exit.
 */
int weft_run(const struct weft_options *options, int (*fn)(void *), void *arg);

/**
 * Start a runtime: its workers wait for fibers.  `options` may be NULL.
 * Context: any thread.  Ownership: the caller's, until weft_runtime_free.
 * Errors: as weft_run.
 */
int weft_runtime_new(const struct weft_options *options, struct weft_runtime **ret_runtime);

/**
 * Start fn(arg) on a new fiber that the runtime itself owns: nobody joins it, and a negative
 * result is dropped.  `name` is borrowed until the fiber ends.
 * Context: any thread; suspends only when called on a fiber.
 * Errors:  -ENOMEM no stack, -EAGAIN at the fiber limit, -ESHUTDOWN the runtime is stopping.
 */
int weft_runtime_spawn(struct weft_runtime *runtime, const char *name, int (*fn)(void *),
                       void *arg);

/**
 * Begin an orderly stop: refuse new fibers, cancel all, and after `grace_ns` break shields.
 * Returns at once; calling it again shortens the grace to nothing.  Context: any thread.
 */
void weft_runtime_stop(struct weft_runtime *runtime);

/**
 * Stop (if not stopped yet), wait until every fiber has ended, end the workers, free everything.
 * Context: a plain thread, not a fiber of this runtime; blocks it.  NULL does nothing.
 * Errors:  -ETIMEDOUT as weft_run; the runtime is then leaked on purpose.  -EDEADLK on a fiber of
 *          this runtime.
 */
int weft_runtime_free(struct weft_runtime *runtime);

/**
 * Run fn(arg) on a fiber of the runtime, and block the calling thread until it has returned;
 * *ret_result (may be NULL) gets what it returned.  When the runtime stops, the fiber is cancelled
 * like all others, and this returns when it has ended.
 * Context: a plain thread.
 * Errors:  -EDEADLK on a fiber (of any runtime); weft_runtime_spawn's: then fn did not run.
 */
int weft_runtime_call(struct weft_runtime *runtime, const char *name, int (*fn)(void *), void *arg,
                      int *ret_result);

/**
 * Block the calling thread until somebody has stopped the runtime and its last fiber has ended; the
 * runtime is still to be freed then.  With `handle_signals`, SIGINT and SIGTERM stop it, as in
 * weft_run; one that comes before this call does so too if it is blocked in every thread (block it
 * in main before weft_runtime_new), else what it does otherwise.
 * Context: a plain thread; one at a time, and nobody frees the runtime meanwhile.
 * Errors:  -ETIMEDOUT as weft_run, -EDEADLK on a fiber, -EMFILE, -ENOMEM.
 */
int weft_runtime_wait(struct weft_runtime *runtime);

/** The runtime of the calling fiber, or NULL on a plain thread.  Context: any thread. */
struct weft_runtime *weft_runtime_self(void);

#ifdef __cplusplus
}
#endif
#endif
