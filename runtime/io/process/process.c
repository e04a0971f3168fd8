/* SPDX-License-Identifier: MIT */
/*
 * Child processes, watched by pidfd.
 *
 *   I1  The process is reaped at most once, under its lock, and only then may its pid become
 *       another's.  So whoever uses the number (kill_group) holds the lock and finds it not reaped.
 *   I2  Nothing but the calls that wait reaps, so a process whose wait was cancelled stays
 *       waitable.
 *   I3  Once its end has begun (`ending`), whoever reaps the leader kills what is left of its group
 *       first, while the group's number is still its own.
 *
 * For fibers, but where the header says otherwise.  The lock is a pthread mutex, held over system
 * calls that do not block and never across a suspension.  No SIGCHLD, no handler, no thread.
 * Starting is spawn.c, the conversation over the pipes process_talk.c.
 */
#include "io/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/process/spawn.h"
#include "weft/fiber.h"
#include "weft/scope.h"
#include "weft/time.h"

void weft_process_options_init(struct weft_process_options *options)
{
    *options = (struct weft_process_options){
        .stdin_fd = WEFT_PROCESS_NULL,
        .stdout_fd = WEFT_PROCESS_NULL,
        .stderr_fd = WEFT_PROCESS_NULL,
        .new_group = true,
        .cwd_fd = -1,
        .umask = (mode_t)-1,
        .uid = (uid_t)-1,
        .gid = (gid_t)-1,
        .cgroup_fd = -1,
    };
}

/* ---- starting ----------------------------------------------------------------------------- */

/* Not inlined, as all here that reads errno: see io/sys.h. */
static __attribute__((noinline)) int make_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
}

/* The child's end replaces *fd; the other becomes a stream. */
static int open_pipe(int target, int *fd, struct weft_stream **ret_stream)
{
    int fds[2];
    int r = make_pipe(fds);
    if (r < 0)
        return r;
    int ours = target == 0 ? 1 : 0;
    r = weft_stream_new(fds[ours], ret_stream);
    if (r < 0) {
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    *fd = fds[1 - ours];
    return 0;
}

/* The child's standard descriptors, of which those in `opened` are ours to close. */
struct stdio {
    int fds[3];
    bool opened[3];
};

static int open_stdio(struct weft_process *process, const struct weft_process_options *options,
                      struct stdio *stdio)
{
    *stdio = (struct stdio){{options->stdin_fd, options->stdout_fd, options->stderr_fd}, {false}};
    for (int i = 0; i < 3; i++) {
        if (stdio->fds[i] != WEFT_PROCESS_PIPE)
            continue;
        int r = open_pipe(i, &stdio->fds[i], &process->stdio[i]);
        if (r < 0)
            return r;
        stdio->opened[i] = true;
    }
    return 0;
}

static void close_stdio(const struct stdio *stdio)
{
    for (int i = 0; i < 3; i++)
        if (stdio->opened[i])
            close(stdio->fds[i]);
}

/* Wait for what a child says that shares no memory with us.  The pipe is the stream's now. */
static int read_report(int fd, struct spawn_report *report)
{
    struct weft_stream *stream;
    int r = weft_stream_new(fd, &stream);
    if (r < 0)
        return r;
    ssize_t n = weft_read(stream, report, sizeof(*report));
    weft_descriptor_release((struct weft_descriptor *)(void *)stream); /* the fd is spawned's */
    if (n < 0)
        return (int)n;
    return n == sizeof(*report) ? report->error : 0;
}

static int await_exec(const struct spawned *spawned, struct spawn_report *ret_report)
{
    struct spawn_report report = {.fault = WEFT_PROCESS_FAULT_OTHER};
    int r = read_report(spawned->report, &report);
    if (r < 0)
        *ret_report = report;
    return r;
}

/* Make a started child the process's; one that cannot be watched is not left behind. */
static int process_adopt(struct weft_process *process, struct spawned *spawned,
                         struct spawn_report *ret_report)
{
    int r = 0;
    if (spawned->report >= 0)
        r = await_exec(spawned, ret_report);
    if (r == 0)
        r = descriptor_adopt(spawned->pidfd, WATCH_PLAIN, &process->pidfd);
    if (r < 0) {
        spawn_discard(spawned);
        return r;
    }
    if (spawned->report >= 0)
        close(spawned->report);
    process->pid = spawned->pid;
    return 0;
}

static int process_start(const struct weft_process_options *options, struct weft_process *process,
                         struct spawn_report *ret_report)
{
    struct weft_process_options resolved = *options;
    struct spawned spawned;
    struct stdio stdio;
    int r = open_stdio(process, options, &stdio);
    if (r == 0) {
        resolved.stdin_fd = stdio.fds[0];
        resolved.stdout_fd = stdio.fds[1];
        resolved.stderr_fd = stdio.fds[2];
        r = spawn_program(&resolved, ret_report, &spawned);
    }
    close_stdio(&stdio);
    return r < 0 ? r : process_adopt(process, &spawned, ret_report);
}

static void close_streams(struct weft_process *process)
{
    for (int i = 0; i < 3; i++)
        weft_stream_free(process->stdio[i]);
}

static int process_new(const struct weft_process_options *options, struct spawn_report *ret_report,
                       struct weft_process **ret_process)
{
    if (!options->argv || !options->argv[0])
        return -EINVAL;
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    struct weft_process *process = calloc(1, sizeof(*process));
    if (!process)
        return -ENOMEM;
    process->has_group = options->new_session || (options->new_group && options->group <= 0);
    r = process_start(options, process, ret_report);
    if (r < 0) {
        close_streams(process);
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
    struct spawn_report report = {.fault = WEFT_PROCESS_FAULT_OTHER};
    int r = process_new(options, &report, ret_process);
    if (r < 0 && options->ret_fault)
        *options->ret_fault = report.fault;
    if (r < 0 && options->ret_fault_limit)
        *options->ret_fault_limit = report.limit;
    return r;
}

int weft_process_shell(const char *command, const struct weft_process_options *options,
                       struct weft_process **ret_process)
{
    const char *argv[] = {"/bin/sh", "-c", command, NULL};
    struct weft_process_options shell;
    if (options)
        shell = *options;
    else
        weft_process_options_init(&shell);
    shell.argv = argv;
    shell.program = NULL;
    return weft_process_spawn(&shell, ret_process);
}

pid_t weft_process_pid(const struct weft_process *process)
{
    return process->pid;
}

struct weft_stream *weft_process_stdin(const struct weft_process *process)
{
    return process->stdio[0];
}

struct weft_stream *weft_process_stdout(const struct weft_process *process)
{
    return process->stdio[1];
}

struct weft_stream *weft_process_stderr(const struct weft_process *process)
{
    return process->stdio[2];
}

void weft_process_close_stdin(struct weft_process *process)
{
    struct weft_stream *stream = process->stdio[0];
    process->stdio[0] = NULL;
    weft_stream_free(stream);
}

/* ---- waiting ------------------------------------------------------------------------------ */

static struct weft_process_status status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (struct weft_process_status){.exit_code = info->si_status, .signal = 0};
    return (struct weft_process_status){.exit_code = -1, .signal = info->si_status};
}

/* As waitid(2), of one that may not have ended: -EAGAIN then. */
static __attribute__((noinline)) int look_for_end(int pidfd, int flags, siginfo_t *info)
{
    info->si_pid = 0;
    if (waitid(P_PIDFD, (id_t)pidfd, info, WEXITED | WNOHANG | flags) < 0)
        return -errno;
    return info->si_pid == 0 ? -EAGAIN : 0;
}

/* Under the lock.  Returns: 0 reaped now; -EAGAIN it runs. */
static int process_try_reap(struct weft_process *process)
{
    int fd = weft_descriptor_fd(process->pidfd);
    siginfo_t info;
    if (process->ending) {
        int r = look_for_end(fd, WNOWAIT, &info);
        if (r < 0)
            return r;
        kill(-process->pid, SIGKILL); /* I3 */
    }
    int r = look_for_end(fd, 0, &info);
    if (r < 0)
        return r;
    process->status = status_of(&info);
    process->reaped = true;
    return 0;
}

int process_reap(struct weft_process *process, struct weft_process_status *ret_status)
{
    pthread_mutex_lock(&process->lock);
    int r = process->reaped ? 0 : process_try_reap(process);
    if (r == 0)
        *ret_status = process->status;
    pthread_mutex_unlock(&process->lock);
    return r;
}

/* With the side entered, which is left whatever is returned. */
static int wait_on(struct weft_process *process, struct weft_descriptor *pidfd,
                   uint64_t deadline_ns, struct weft_process_status *ret_status)
{
    int reaped;
    while ((reaped = process_reap(process, ret_status)) == -EAGAIN) {
        int r = descriptor_await(pidfd, WATCH_READ, deadline_ns);
        if (r < 0)
            return r;
    }
    descriptor_leave(pidfd, WATCH_READ);
    return reaped;
}

static __attribute__((noinline)) int duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -errno : copy;
}

/* Another fiber waits already: on a descriptor of our own. */
static int wait_beside(struct weft_process *process, uint64_t deadline_ns,
                       struct weft_process_status *ret_status)
{
    struct weft_descriptor *pidfd;
    int fd = duplicate(weft_descriptor_fd(process->pidfd));
    if (fd < 0)
        return fd;
    int r = descriptor_adopt(fd, WATCH_PLAIN, &pidfd);
    if (r < 0) {
        close(fd);
        return r;
    }
    r = descriptor_enter(pidfd, WATCH_READ);
    if (r == 0)
        r = wait_on(process, pidfd, deadline_ns, ret_status);
    weft_descriptor_free(pidfd);
    return r;
}

int weft_process_wait(struct weft_process *process, uint64_t deadline_ns,
                      struct weft_process_status *ret_status)
{
    int r = weft_check_cancel();
    if (r == 0)
        r = descriptor_enter(process->pidfd, WATCH_READ);
    if (r == -EBUSY)
        return wait_beside(process, deadline_ns, ret_status);
    if (r < 0)
        return r;
    return wait_on(process, process->pidfd, deadline_ns, ret_status);
}

/* ---- signals ------------------------------------------------------------------------------ */

static __attribute__((noinline)) int send_signal(int pidfd, int signal)
{
    return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int weft_process_kill(struct weft_process *process, int signal)
{
    return send_signal(weft_descriptor_fd(process->pidfd), signal);
}

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

/* To the group, where it has one.  That nobody is left is no error here. */
static int signal_all(struct weft_process *process, int signal)
{
    int r = process->has_group ? weft_process_kill_group(process, signal)
                               : weft_process_kill(process, signal);
    return r == -ESRCH ? 0 : r;
}

/* I3 */
void process_end_group(struct weft_process *process)
{
    pthread_mutex_lock(&process->lock);
    process->ending = process->has_group;
    pthread_mutex_unlock(&process->lock);
}

/* Block the thread until a process has ended that was sent SIGKILL. */
static int await_here(struct weft_process *process, struct weft_process_status *ret_status)
{
    struct pollfd poll_for = {.fd = weft_descriptor_fd(process->pidfd), .events = POLLIN};
    int r;
    while ((r = process_reap(process, ret_status)) == -EAGAIN)
        poll(&poll_for, 1, -1);
    return r;
}

/* Reap one that was sent SIGKILL: not for long, so that even a broken shield makes no zombie. */
static int await_killed(struct weft_process *process, struct weft_process_status *ret_status)
{
    struct weft_scope shield;
    weft_shield_enter(&shield);
    int r = weft_process_wait(process, WEFT_NO_DEADLINE, ret_status);
    weft_scope_leave(&shield);
    return r == 0 || r == -ECHILD ? r : await_here(process, ret_status);
}

int process_destroy(struct weft_process *process, struct weft_process_status *ret_status)
{
    struct weft_process_status status;
    process_end_group(process);
    int r = signal_all(process, SIGKILL);
    if (r == 0)
        r = await_killed(process, &status);
    if (r == 0 && ret_status)
        *ret_status = status;
    return r;
}

int weft_process_terminate(struct weft_process *process, uint64_t grace_ns,
                           struct weft_process_status *ret_status)
{
    struct weft_process_status status;
    int r = signal_all(process, SIGTERM);
    if (r < 0)
        return r;
    process_end_group(process);
    r = weft_process_wait(process, weft_deadline_after(grace_ns), &status);
    if (r < 0 && r != -ECHILD)
        return process_destroy(process, ret_status);
    if (r == 0 && ret_status)
        *ret_status = status;
    return r;
}

void weft_process_free(struct weft_process *process)
{
    if (!process)
        return;
    close_streams(process);
    weft_descriptor_free(process->pidfd);
    pthread_mutex_destroy(&process->lock);
    for (int i = 0; i < 2; i++)
        free(process->gathered[i].data);
    free(process);
}
