/* SPDX-License-Identifier: MIT */
/* Runtimes: starting, stopping, and weft_run.  The order of the stop stands in runtime.h. */
#include "core/runtime.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/hooks.h"
#include "core/offload.h"
#include "core/overflow.h"
#include "core/ring.h"
#include "observe/monitor.h"
#include "observe/trace.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum {
    WORKERS_MAX = 1024,
    FILE_THREADS_PER_CPU = 4,
    FILE_THREADS_LEAST = 8,
    SPARE_THREADS_DEFAULT = 64,
    STRAYS_UNANNOUNCED = 4, /* more than there are workers: they may all compute */
};

static const uint64_t GRACE_DEFAULT_NS = 10 * WEFT_SECOND;
static const uint64_t SLOW_FIBER_DEFAULT_NS = 100 * WEFT_MILLISECOND; /* in debug mode */
static const uint64_t HANDOFF_DEFAULT_NS = 10 * WEFT_MILLISECOND;

void weft_options_init(struct weft_options *options)
{
    *options = (struct weft_options){.handle_signals = true};
}

/* --- starting */

static unsigned cpus_allowed(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int stack_class_for(size_t size, enum stack_class *ret_class)
{
    if (size == 0) {
        *ret_class = STACK_256K;
        return 0;
    }
    for (unsigned class = 0; class < STACK_CLASSES; class ++) {
        if (size <= (size_t)1 << stack_shift(class)) {
            *ret_class = (enum stack_class) class;
            return 0;
        }
    }
    return -EINVAL;
}

/* Where the kernel keeps a shadow stack, a switch of stacks would be a fault at the next return. */
static int refuse_shadow_stack(void)
{
#ifdef __x86_64__
    enum { ARCH_SHSTK_STATUS = 0x5005 };
    unsigned long features = 0;

    if (syscall(SYS_arch_prctl, ARCH_SHSTK_STATUS, &features) == 0 && (features & 1))
        return -ENOTSUP;
#endif
    return 0;
}

static int init_threads(struct weft_runtime *runtime, const struct weft_options *options)
{
    unsigned spare = options->spare_threads ? options->spare_threads : SPARE_THREADS_DEFAULT;

    runtime->threads.unannounced_max = runtime->workers + STRAYS_UNANNOUNCED;
    return threads_init(&runtime->threads, runtime, spare);
}

static int init_workers(struct weft_runtime *runtime)
{
    size_t size = (runtime->workers + 1) * sizeof(*runtime->worker);
    struct worker *stray;

    runtime->worker = aligned_alloc(CACHE_LINE, size);
    if (!runtime->worker)
        return -ENOMEM;
    memset(runtime->worker, 0, size);
    stray = &runtime->worker[runtime->workers];
    stray->runtime = runtime;
    stray->is_stray = true;
    for (unsigned i = 0; i < runtime->workers; i++) {
        int r = worker_init(&runtime->worker[i], runtime, i);

        runtime->workers_made = i + 1;
        if (r < 0)
            return r;
        runtime->worker[i].thread = &runtime->threads.first[i];
        runtime->threads.first[i].worker = &runtime->worker[i];
    }
    return 0;
}

/* Files have a pool of their own.  It is kept small: then its threads go from one job to the next
 * without a sleep in between, which costs more than most of the jobs. */
static unsigned file_threads(const struct weft_options *options)
{
    unsigned by_cpus = FILE_THREADS_PER_CPU * cpus_allowed();

    if (options->file_threads)
        return options->file_threads;
    return by_cpus > FILE_THREADS_LEAST ? by_cpus : FILE_THREADS_LEAST;
}

static int init_pools(struct weft_runtime *runtime, const struct weft_options *options)
{
    struct weft_executor_options pool;
    int r;

    weft_executor_options_init(&pool);
    pool.threads = options->offload_threads;
    r = offload_pool_new(&pool, &runtime->offload);
    if (r < 0)
        return r;
    pool.threads = file_threads(options);
    pool.name = "weft-files";
    return offload_pool_new(&pool, &runtime->files);
}

static int start_monitor(struct weft_runtime *runtime, const struct weft_options *options)
{
    struct monitor_tasks tasks = {
        .deadlocks = runtime->reporter.debug,
        .slow_ns = options->slow_fiber_ns,
        .handoff_ns = options->handoff_ns ? options->handoff_ns : HANDOFF_DEFAULT_NS,
    };

    if (tasks.deadlocks && tasks.slow_ns == 0)
        tasks.slow_ns = SLOW_FIBER_DEFAULT_NS;
    if (tasks.slow_ns == 0 && tasks.handoff_ns == WEFT_HANDOFF_NEVER)
        return 0;
    return monitor_start(runtime, &tasks);
}

static int runtime_init(struct weft_runtime *runtime, const struct weft_options *options)
{
    int r = stack_class_for(options->stack_size, &runtime->stack_class);

    if (r < 0 || options->workers > WORKERS_MAX || options->file_backend > WEFT_FILE_OFFLOAD)
        return -EINVAL;
    if (options->file_backend == WEFT_FILE_URING)
        r = ring_probe();
    if (r < 0)
        return r;
    runtime->workers = options->workers ? options->workers : cpus_allowed();
    runtime->grace_ns = options->grace_ns ? options->grace_ns : GRACE_DEFAULT_NS;
    runtime->max_fibers = options->max_fibers;
    runtime->handle_signals = options->handle_signals;
    runtime->file_backend = options->file_backend;
    group_init(&runtime->root, runtime, NULL, NULL);
    scope_init_root(&runtime->root.scope);
    pthread_mutex_init(&runtime->lock, NULL);
    reporter_init(runtime, options);
    runtime->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (runtime->event_fd < 0)
        return -errno;
    r = init_pools(runtime, options);
    if (r == 0)
        r = idle_init(&runtime->idle, runtime->workers);
    if (r == 0)
        r = init_threads(runtime, options);
    if (r == 0)
        r = init_workers(runtime);
    if (r == 0)
        r = threads_start(&runtime->threads);
    if (r == 0)
        r = start_monitor(runtime, options);
    return r;
}

/* --- stopping */

static void runtime_signal_event(struct weft_runtime *runtime)
{
    uint64_t one = 1;
    ssize_t ignored = write(runtime->event_fd, &one, sizeof(one));

    (void)ignored;
}

void runtime_drained(struct weft_runtime *runtime)
{
    atomic_store_explicit(&runtime->ended, true, memory_order_seq_cst);
    for (unsigned i = 0; i < runtime->threads.started; i++)
        ev_async_send(runtime->worker[i].loop, &runtime->worker[i].wake);
    pthread_mutex_lock(&runtime->lock);
    runtime->drained = true;
    runtime_signal_event(runtime);
    pthread_mutex_unlock(&runtime->lock);
}

static void runtime_cancel(struct weft_runtime *runtime, bool breaking)
{
    struct wait_batch batch = {0};

    scope_cancel(&runtime->root.scope, -ECANCELED, breaking, &batch);
    wait_batch_wake(&batch);
}

/* Close the root group: the last child to end, or this call, finds it drained. */
static void runtime_close_root(struct weft_runtime *runtime)
{
    int64_t before =
        atomic_fetch_add_explicit(&runtime->root.balance, GROUP_JOINING, memory_order_acq_rel);

    if (before == 0)
        runtime_drained(runtime);
}

void weft_runtime_stop(struct weft_runtime *runtime)
{
    unsigned stops;

    pthread_mutex_lock(&runtime->lock);
    stops = runtime->stops++;
    if (stops == 0)
        runtime->stop_ns = weft_now_ns();
    runtime_signal_event(runtime); /* whoever waits has a grace to watch now */
    pthread_mutex_unlock(&runtime->lock);
    atomic_store_explicit(&runtime->stopping, true, memory_order_relaxed);
    if (stops == 0) {
        runtime_cancel(runtime, false);
        runtime_close_root(runtime);
    } else if (stops == 1) {
        runtime_cancel(runtime, true);
    }
}

static void runtime_destroy(struct weft_runtime *runtime)
{
    if (runtime->threads.started > 0 && !atomic_load(&runtime->ended))
        runtime_drained(runtime); /* a start that failed halfway: no fiber ran yet */
    monitor_stop(atomic_load(&runtime->monitor));
    if (runtime->threads.first)
        threads_stop(&runtime->threads);
    handles_forget_runtime(runtime);
    offload_pool_free(runtime->files);
    offload_pool_free(runtime->offload);
    while (atomic_load_explicit(&runtime->visitors, memory_order_acquire) > 0)
        sched_yield();
    for (unsigned i = 0; i < runtime->workers_made; i++)
        worker_destroy(&runtime->worker[i]);
    monitor_free(atomic_load(&runtime->monitor));
    trace_free(runtime);
    reporter_destroy(runtime);
    idle_destroy(&runtime->idle);
    if (runtime->event_fd >= 0)
        close(runtime->event_fd);
    pthread_mutex_destroy(&runtime->lock);
    threads_destroy(&runtime->threads);
    free(runtime->worker);
    free(runtime);
}

int weft_runtime_new(const struct weft_options *options, struct weft_runtime **ret_runtime)
{
    struct weft_options defaults;
    struct weft_runtime *runtime;
    int r;

    if (!options) {
        weft_options_init(&defaults);
        options = &defaults;
    }
    r = refuse_shadow_stack();
    if (r == 0)
        r = stack_region_init();
    if (r < 0)
        return r;
    runtime = aligned_alloc(CACHE_LINE, sizeof(*runtime));
    if (!runtime)
        return -ENOMEM;
    memset(runtime, 0, sizeof(*runtime));
    runtime->event_fd = -1;
    overflow_install();
    r = runtime_init(runtime, options);
    if (r < 0) {
        runtime_destroy(runtime);
        return r;
    }
    *ret_runtime = runtime;
    return 0;
}

int weft_runtime_spawn(struct weft_runtime *runtime, const char *name, int (*fn)(void *), void *arg)
{
    struct group *root = &runtime->root;
    /* Count the fiber before asking whether the root is closed: either this sees the bit, or the
     * close sees the count.  sched_spawn counts it once more, so this count is given back. */
    int64_t before = atomic_fetch_add_explicit(&root->balance, 1, memory_order_acq_rel);
    int r = before & GROUP_JOINING ? -ESHUTDOWN : sched_spawn(root, name, fn, arg);

    group_child_ended(root, NULL);
    return r;
}

struct weft_runtime *weft_runtime_self(void)
{
    struct worker *worker = worker_self();

    return worker ? worker->runtime : NULL;
}

/* --- waiting for the end */

/* Milliseconds until the grace (or twice the grace) is over; -1: no stop has begun.  Breaks the
 * shields when the first is over. */
static int runtime_watch_grace(struct weft_runtime *runtime, bool *ret_given_up)
{
    uint64_t now, end;
    bool breaking;

    pthread_mutex_lock(&runtime->lock);
    now = weft_now_ns(); /* under the lock: not before a stop that begins meanwhile */
    if (runtime->stops == 0) {
        pthread_mutex_unlock(&runtime->lock);
        return -1;
    }
    breaking = runtime->stops == 1 && now - runtime->stop_ns >= runtime->grace_ns;
    if (breaking)
        runtime->stops = 2;
    end = runtime->stop_ns + (runtime->stops > 1 ? 2 : 1) * runtime->grace_ns;
    pthread_mutex_unlock(&runtime->lock);
    if (breaking)
        runtime_cancel(runtime, true);
    *ret_given_up = now >= end;
    return now >= end ? 0 : (int)((end - now) / WEFT_MILLISECOND) + 1;
}

static bool runtime_is_drained(struct weft_runtime *runtime)
{
    uint64_t count_read;
    ssize_t ignored = read(runtime->event_fd, &count_read, sizeof(count_read));
    bool drained;

    (void)ignored;
    pthread_mutex_lock(&runtime->lock);
    drained = runtime->drained;
    pthread_mutex_unlock(&runtime->lock);
    return drained;
}

_Atomic(signal_hook *) runtime_signal_hook;

/* A signal that stops the runtime, unless it is handled. */
static void runtime_read_signal(struct weft_runtime *runtime, int signal_fd)
{
    signal_hook *hook = atomic_load_explicit(&runtime_signal_hook, memory_order_acquire);
    struct signalfd_siginfo info;

    if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (!hook || !hook((int)info.ssi_signo))
        weft_runtime_stop(runtime);
}

/* Block the calling thread until the last fiber has ended.  `signal_fd` (or -1): what stops the
 * runtime. */
static int runtime_wait(struct weft_runtime *runtime, int signal_fd)
{
    struct pollfd fds[2] = {{.fd = runtime->event_fd, .events = POLLIN},
                            {.fd = signal_fd, .events = POLLIN}};

    while (!runtime_is_drained(runtime)) {
        bool given_up = false;
        int timeout_ms = runtime_watch_grace(runtime, &given_up);

        if (given_up)
            return -ETIMEDOUT;
        poll(fds, 2, timeout_ms);
        if (fds[1].revents & POLLIN)
            runtime_read_signal(runtime, signal_fd);
    }
    return 0;
}

static int runtime_finish(struct weft_runtime *runtime, int signal_fd)
{
    int r = runtime_wait(runtime, signal_fd);

    if (r == 0)
        runtime_destroy(runtime);
    return r;
}

/* While signals stop a runtime: they are blocked in the calling thread, and read from `fd`. */
struct stop_signals {
    int fd;
    sigset_t before;
};

static int stop_signals_begin(struct stop_signals *signals)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, &signals->before);
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd >= 0)
        return 0;
    int r = -errno;
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
    return r;
}

static void stop_signals_end(struct stop_signals *signals)
{
    close(signals->fd);
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}

int weft_runtime_wait(struct weft_runtime *runtime)
{
    struct stop_signals signals;
    int r;

    if (weft_on_fiber())
        return -EDEADLK;
    if (!runtime->handle_signals)
        return runtime_wait(runtime, -1);
    r = stop_signals_begin(&signals);
    if (r < 0)
        return r;
    r = runtime_wait(runtime, signals.fd);
    stop_signals_end(&signals);
    return r;
}

int weft_runtime_free(struct weft_runtime *runtime)
{
    bool stopped;

    if (!runtime)
        return 0;
    if (weft_runtime_self() == runtime)
        return -EDEADLK;
    pthread_mutex_lock(&runtime->lock);
    stopped = runtime->stops > 0;
    pthread_mutex_unlock(&runtime->lock);
    if (!stopped)
        weft_runtime_stop(runtime);
    return runtime_finish(runtime, -1);
}

/* --- weft_run */

struct main_call {
    struct weft_runtime *runtime;
    int (*fn)(void *);
    void *arg;
    int result; /* written by the main fiber, read after the threads were joined */
};

static int main_fiber(void *arg)
{
    struct main_call *call = arg;

    call->result = call->fn(call->arg);
    weft_runtime_stop(call->runtime);
    return 0;
}

static int run_with(const struct weft_options *options, struct main_call *call, int signal_fd)
{
    int ended;
    int r = weft_runtime_new(options, &call->runtime);

    if (r < 0)
        return r;
    r = weft_runtime_spawn(call->runtime, "main", main_fiber, call);
    if (r < 0)
        weft_runtime_stop(call->runtime);
    ended = runtime_finish(call->runtime, signal_fd);
    if (ended < 0)
        return ended;
    return r < 0 ? r : call->result;
}

int weft_run(const struct weft_options *options, int (*fn)(void *), void *arg)
{
    struct main_call call = {.fn = fn, .arg = arg};
    struct stop_signals signals;
    int r;

    if (weft_on_fiber())
        return -EINVAL;
    if (options && !options->handle_signals)
        return run_with(options, &call, -1);
    r = stop_signals_begin(&signals);
    if (r < 0)
        return r;
    r = run_with(options, &call, signals.fd);
    stop_signals_end(&signals);
    return r;
}
