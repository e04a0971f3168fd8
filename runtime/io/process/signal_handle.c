/* SPDX-License-Identifier: MIT */
/*
 * Signals that start a function on a fiber.
 *
 * A signal comes here by two ways: through a sigaction(2) handler, on whatever thread does not
 * block it; or through a signalfd, when all threads do and it stays pending.  Each handled signal
 * has one fiber that waits for both (an epoll set) and makes the calls, one after the other.
 *
 *   I1  The table's lock guards who handles what.  It is never held across a suspension.
 *   I2  The sigaction handler only writes to an eventfd.  It says that it is about to
 *       (`forwarding`) before it reads the number, and the one who closes the eventfd takes the
 *       number away first and then waits until nobody is about to: so nobody writes to another's
 *       descriptor.
 *   I3  Whoever sets `ending` has taken the handler out of the table and given the disposition
 *       back; this happens once.
 *   I4  A handler is freed by the fiber that waits for its end in unhandle, else by its own.
 *
 * For fibers.  Dispositions are the process's, so a signal has one handler in the process.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/runtime.h"
#include "io/descriptor.h"
#include "io/sys.h"
#include "weft/event.h"
#include "weft/signal.h"

enum { SIGNALS = 65 };

struct handler {
    int signal;                   /* constant */
    struct weft_runtime *runtime; /* constant */
    int (*fn)(void *);            /* guarded by lock */
    void *arg;                    /* guarded by lock */
    bool settled;                 /* it has a fiber; guarded by lock */
    bool ending;                  /* guarded by lock (I3) */
    bool awaited;                 /* somebody waits for `ended` and frees it; guarded by lock */
    struct fiber *fiber;          /* guarded by lock; compared only */
    struct weft_event ended;      /* the fiber does not touch it any more */
    struct sigaction before;      /* guarded by lock */
    int signal_fd, event_fd;
    struct weft_descriptor *both; /* an epoll set of those two */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handler *handlers[SIGNALS]; /* guarded by lock */
static atomic_int forward_to[SIGNALS];    /* an eventfd + 1; 0: none.  seq_cst (I2) */
static atomic_uint forwarding[SIGNALS];   /* seq_cst (I2) */

/* ---- the sigaction handler ------------------------------------------------------------------ */

/* Any thread, async-signal-safe.  Returns: whether somebody handles it. */
static bool forward(int signal)
{
    uint64_t one = 1;

    atomic_fetch_add(&forwarding[signal], 1);
    int fd = atomic_load(&forward_to[signal]) - 1;
    if (fd >= 0) {
        ssize_t ignored = write(fd, &one, sizeof(one)); /* it is full only at 2^64 */
        (void)ignored;
    }
    atomic_fetch_sub(&forwarding[signal], 1);
    return fd >= 0;
}

static void on_signal(int signal)
{
    int saved = errno;

    forward(signal);
    errno = saved;
}

/* Under the lock. */
static __attribute__((noinline)) int take_disposition(struct handler *handler)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};

    sigfillset(&action.sa_mask);
    atomic_store(&forward_to[handler->signal], handler->event_fd + 1);
    if (sigaction(handler->signal, &action, &handler->before) == 0)
        return 0;
    atomic_store(&forward_to[handler->signal], 0);
    return -errno;
}

/* Under the lock. */
static void give_disposition_back(struct handler *handler)
{
    sigaction(handler->signal, &handler->before, NULL);
    atomic_store(&forward_to[handler->signal], 0);
}

/* ---- a handler ---------------------------------------------------------------------------- */

static __attribute__((noinline)) int add_to(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The three descriptors, -1 where there is none; the set is not adopted yet. */
static __attribute__((noinline)) int open_fds(struct handler *handler, int *ret_set)
{
    sigset_t one;

    sigemptyset(&one);
    sigaddset(&one, handler->signal);
    handler->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (handler->event_fd < 0)
        return -errno;
    handler->signal_fd = signalfd(-1, &one, SFD_CLOEXEC | SFD_NONBLOCK);
    if (handler->signal_fd < 0)
        return -errno;
    *ret_set = epoll_create1(EPOLL_CLOEXEC);
    if (*ret_set < 0)
        return -errno;
    int r = add_to(*ret_set, handler->event_fd);
    return r < 0 ? r : add_to(*ret_set, handler->signal_fd);
}

static void handler_free(struct handler *handler)
{
    weft_descriptor_free(handler->both);
    if (handler->signal_fd >= 0)
        close(handler->signal_fd);
    if (handler->event_fd >= 0)
        close(handler->event_fd);
    free(handler);
}

static int handler_new(int signal, int (*fn)(void *), void *arg, struct handler **ret_handler)
{
    struct handler *handler = calloc(1, sizeof(*handler));
    int set = -1;

    if (!handler)
        return -ENOMEM;
    *handler = (struct handler){.signal = signal,
                                .runtime = weft_runtime_self(),
                                .fn = fn,
                                .arg = arg,
                                .signal_fd = -1,
                                .event_fd = -1};
    int r = open_fds(handler, &set);
    if (r == 0)
        r = descriptor_adopt(set, WATCH_PLAIN, &handler->both);
    if (r < 0) {
        if (set >= 0)
            close(set);
        handler_free(handler);
        return r;
    }
    *ret_handler = handler;
    return 0;
}

/* I3.  Under the lock. */
static void handler_begin_end(struct handler *handler)
{
    handler->ending = true;
    handlers[handler->signal] = NULL;
    give_disposition_back(handler);
}

/* I2 */
static void await_forwarders(int signal)
{
    while (atomic_load(&forwarding[signal]) > 0)
        sched_yield();
}

/* ---- its fiber ---------------------------------------------------------------------------- */

/* How often the signal has come since the last look. */
static uint64_t handler_collect(const struct handler *handler)
{
    struct signalfd_siginfo info;
    uint64_t forwarded = 0;

    if (sys_read(handler->event_fd, &forwarded, sizeof(forwarded)) < 0)
        forwarded = 0;
    while (sys_read(handler->signal_fd, &info, sizeof(info)) == sizeof(info))
        forwarded++;
    return forwarded;
}

/* What to call now; NULL: the handling ends. */
static int (*handler_function(struct handler *handler, void **ret_arg))(void *)
{
    pthread_mutex_lock(&lock);
    int (*fn)(void *) = handler->ending ? NULL : handler->fn;
    *ret_arg = handler->arg;
    pthread_mutex_unlock(&lock);
    return fn;
}

/* Make the calls that are due.  Returns: false when the handling ends. */
static bool handler_call(struct handler *handler, uint64_t times)
{
    void *arg;
    int (*fn)(void *) = handler_function(handler, &arg);

    for (; fn && times > 0; times--) {
        (void)fn(arg);
        fn = handler_function(handler, &arg);
    }
    return fn != NULL;
}

/* I4 */
static void handler_end(struct handler *handler)
{
    pthread_mutex_lock(&lock);
    if (!handler->ending)
        handler_begin_end(handler);
    bool awaited = handler->awaited;
    pthread_mutex_unlock(&lock);
    await_forwarders(handler->signal);
    if (awaited)
        weft_event_set(&handler->ended);
    else
        handler_free(handler);
}

static int handler_main(void *arg)
{
    struct handler *handler = arg;

    pthread_mutex_lock(&lock);
    handler->fiber = fiber_self();
    pthread_mutex_unlock(&lock);
    while (handler_call(handler, handler_collect(handler)))
        if (weft_descriptor_wait_readable(handler->both, WEFT_NO_DEADLINE) < 0)
            break; /* the runtime stops */
    handler_end(handler);
    return 0;
}

/* ---- the calls ---------------------------------------------------------------------------- */

static bool signal_can_be_handled(int signal)
{
    static const int never[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE,
                                SIGILL,  SIGTRAP, SIGABRT, SIGSYS};

    if (signal < 1 || signal >= SIGNALS || (signal > SIGSYS && signal < SIGRTMIN))
        return false;
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
        if (signal == never[i])
            return false;
    return true;
}

/* Give a handler that is there another function.  Under the lock.  Returns: 1 there is none. */
static int handler_replace(int signal, int (*fn)(void *), void *arg)
{
    struct handler *handler = handlers[signal];

    if (!handler)
        return 1;
    if (!handler->settled || handler->runtime != weft_runtime_self())
        return -EBUSY;
    handler->fn = fn;
    handler->arg = arg;
    return 0;
}

/* Put a new one into the table.  Returns: 0; 1 one was there, and was replaced. */
static int handler_enter(struct handler *handler)
{
    pthread_mutex_lock(&lock);
    int r = handler_replace(handler->signal, handler->fn, handler->arg);
    if (r == 1) {
        r = take_disposition(handler);
        if (r == 0)
            handlers[handler->signal] = handler;
    } else if (r == 0) {
        r = 1;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

static int handler_start(struct handler *handler)
{
    int signal = handler->signal;
    int r = weft_runtime_spawn(handler->runtime, "signal handler", handler_main, handler);

    pthread_mutex_lock(&lock);
    if (r < 0)
        handler_begin_end(handler);
    else if (handlers[signal] == handler) /* else the runtime stops, and it is gone already */
        handler->settled = true;
    pthread_mutex_unlock(&lock);
    if (r == 0)
        return 0;
    await_forwarders(signal);
    handler_free(handler);
    return r;
}

int weft_signal_handle(int signal, int (*fn)(void *), void *arg)
{
    struct handler *handler;

    if (!signal_can_be_handled(signal))
        return -EINVAL;
    pthread_mutex_lock(&lock);
    int r = handler_replace(signal, fn, arg);
    pthread_mutex_unlock(&lock);
    if (r <= 0)
        return r;
    r = handler_new(signal, fn, arg, &handler);
    if (r < 0)
        return r;
    atomic_store_explicit(&runtime_signal_hook, forward, memory_order_release);
    r = handler_enter(handler);
    if (r != 0) {
        handler_free(handler);
        return r < 0 ? r : 0;
    }
    return handler_start(handler);
}

/* Returns: 1 the handling has begun to end, and the caller waits for it. */
static int handler_take_out(int signal, struct handler **ret_handler)
{
    struct handler *handler = handlers[signal];

    if (!handler || !handler->settled || handler->runtime != weft_runtime_self())
        return -ENOENT;
    handler_begin_end(handler);
    handler->awaited = handler->fiber != fiber_self();
    *ret_handler = handler;
    return handler->awaited;
}

static void wake(const struct handler *handler)
{
    uint64_t one = 1;

    (void)sys_write(handler->event_fd, &one, sizeof(one));
}

int weft_signal_unhandle(int signal)
{
    struct handler *handler;

    if (!signal_can_be_handled(signal))
        return -ENOENT;
    pthread_mutex_lock(&lock);
    int r = handler_take_out(signal, &handler);
    pthread_mutex_unlock(&lock);
    if (r <= 0)
        return r;
    wake(handler);
    weft_event_wait_shielded(&handler->ended);
    handler_free(handler);
    return 0;
}
