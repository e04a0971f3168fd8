/* SPDX-License-Identifier: MIT */
/*
 * Child processes, watched by pidfd.
 *
 *   I1  The process is reaped at most once, under its lock, and only then may its pid become
 *       another's.  So whoever uses the number (kill_group) holds the lock and finds it not reaped.
 *   I2  Nothing but weft_process_wait reaps, so a process whose wait was cancelled stays waitable.
 *
 * For fibers.  The lock is a pthread mutex, held over system calls that do not block and never
 * across a suspension.  No SIGCHLD, no handler, no thread; no pipes either: see stream.c.
 */
#include "weft/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/descriptor.h"
#include "io/spawn.h"
#include "weft/fiber.h"

struct weft_process {
    struct weft_descriptor *pidfd;
    pid_t pid;      /* constant */
    bool has_group; /* constant: it leads its own process group */
    pthread_mutex_t lock;
    bool reaped;                       /* guarded by lock */
    struct weft_process_status status; /* guarded by lock; set when reaped */
};

void weft_process_options_init(struct weft_process_options *options)
{
    *options = (struct weft_process_options){
        .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .new_group = true};
}

/* A child that cannot be watched is not left behind. */
static void child_discard(const struct spawned *child)
{
    siginfo_t info;
    pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
    waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED);
    close(child->pidfd);
}

static int process_start(const struct weft_process_options *options, struct weft_process *process,
                         enum weft_process_fault *ret_fault)
{
    struct spawned child;
    int r = spawn_program(options, ret_fault, &child);
    if (r < 0)
        return r;
    r = descriptor_adopt(child.pidfd, WATCH_PLAIN, &process->pidfd);
    if (r < 0) {
        child_discard(&child);
        return r;
    }
    process->pid = child.pid;
    process->has_group = options->new_group || options->new_session;
    return 0;
}

static int process_new(const struct weft_process_options *options,
                       enum weft_process_fault *ret_fault, struct weft_process **ret_process)
{
    if (!options->argv || !options->argv[0])
        return -EINVAL;
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    struct weft_process *process = calloc(1, sizeof(*process));
    if (!process)
        return -ENOMEM;
    r = process_start(options, process, ret_fault);
    if (r < 0) {
        free(process);
        return r;
    }
    pthread_mutex_init(&process->lock, NULL);
    *ret_process = process;
    return 0;
}

int weft_process_spawn(const struct weft_process_options *options,
                       struct weft_process **ret_process)
{
    enum weft_process_fault fault = WEFT_PROCESS_FAULT_OTHER;
    int r = process_new(options, &fault, ret_process);
    if (r < 0 && options->ret_fault)
        *options->ret_fault = fault;
    return r;
}

pid_t weft_process_pid(const struct weft_process *process)
{
    return process->pid;
}

static struct weft_process_status status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (struct weft_process_status){.exit_code = info->si_status, .signal = 0};
    return (struct weft_process_status){.exit_code = -1, .signal = info->si_status};
}

/* Under the lock, and not inlined: see io/sys.h.  Returns: 0 reaped now; -EAGAIN it runs. */
static __attribute__((noinline)) int process_try_reap(struct weft_process *process)
{
    siginfo_t info = {0};
    int fd = weft_descriptor_fd(process->pidfd);
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) < 0)
        return -errno;
    if (info.si_pid == 0)
        return -EAGAIN;
    process->status = status_of(&info);
    process->reaped = true;
    return 0;
}

/* Returns: 0 it is reaped, now or before; -EAGAIN it runs; -ECHILD. */
static int process_reap(struct weft_process *process, struct weft_process_status *ret_status)
{
    pthread_mutex_lock(&process->lock);
    int r = process->reaped ? 0 : process_try_reap(process);
    if (r == 0)
        *ret_status = process->status;
    pthread_mutex_unlock(&process->lock);
    return r;
}

int weft_process_wait(struct weft_process *process, uint64_t deadline_ns,
                      struct weft_process_status *ret_status)
{
    struct weft_descriptor *pidfd = process->pidfd;
    int r = weft_check_cancel();
    if (r == 0)
        r = descriptor_enter(pidfd, WATCH_READ);
    if (r < 0)
        return r;
    int reaped;
    while ((reaped = process_reap(process, ret_status)) == -EAGAIN) {
        r = descriptor_await(pidfd, WATCH_READ, deadline_ns);
        if (r < 0)
            return r;
    }
    descriptor_leave(pidfd, WATCH_READ);
    return reaped;
}

/* Not inlined: see io/sys.h. */
static __attribute__((noinline)) int send_signal(int pidfd, int signal)
{
    return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int weft_process_kill(struct weft_process *process, int signal)
{
    return send_signal(weft_descriptor_fd(process->pidfd), signal);
}

/* Not inlined: see io/sys.h. */
static __attribute__((noinline)) int send_group(pid_t group, int signal)
{
    return kill(-group, signal) < 0 ? -errno : 0;
}

int weft_process_kill_group(struct weft_process *process, int signal)
{
    if (!process->has_group)
        return -EINVAL;
    pthread_mutex_lock(&process->lock);
    int r = process->reaped ? -ESRCH : send_group(process->pid, signal); /* I1 */
    pthread_mutex_unlock(&process->lock);
    return r;
}

void weft_process_free(struct weft_process *process)
{
    if (!process)
        return;
    weft_descriptor_free(process->pidfd);
    pthread_mutex_destroy(&process->lock);
    free(process);
}
