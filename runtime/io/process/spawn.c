/* SPDX-License-Identifier: MIT */
/*
 * Starting a program: the parent's half.  The child's is spawn_child.c.
 *
 * The child is made as vfork(2) makes one, but on a stack of its own: it shares the memory until
 * it has called execve, no page table is copied, and this thread is suspended by the kernel until
 * then.
 *
 *   I1  The kernel makes the pidfd together with the child: running out of descriptors is noticed
 *       before there is a child, and its number cannot have become another's.
 *   I2  All signals are blocked from before the child exists until it has its own dispositions.
 *   I3  A child that is to run as another user shares no memory with us: that user could stop it
 *       half-way, and the change would take this process's dumpable flag with it.  It has a copy,
 *       this thread does not wait for it, and it reports on a pipe.
 *   I4  A child that could not become the program is reaped here.
 *
 * Any thread; nothing here suspends a fiber.
 */
#include "io/process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base.h"
#include "io/process/spawn_child.h"

#define DEFAULT_PATH "/bin:/usr/bin"

enum { STACK_BYTES = 16384, STACK_ALIGN = 16, LAST_FD = 65535, SIGNAL_LAST = 64 };

struct spawn {
    const struct weft_process_options *options;
    struct child *child;
    void *stack;        /* the child's */
    int report_pipe[2]; /* -1: none */
};

/* ---- what the child is to do -------------------------------------------------------------- */

static bool signal_valid(int number)
{
    return number >= 0 && number <= SIGNAL_LAST;
}

static bool stdio_valid(int fd, int least)
{
    return fd >= least && fd <= INT_MAX && fd != WEFT_PROCESS_PIPE;
}

static bool options_valid(const struct weft_process_options *options)
{
    for (size_t i = 0; i < options->fds_count; i++) {
        const struct weft_process_fd *fd = &options->fds[i];
        if (fd->child < 0 || fd->child > LAST_FD || fd->parent < 0)
            return false;
    }
    return stdio_valid(options->stdin_fd, WEFT_PROCESS_INHERIT) &&
           stdio_valid(options->stdout_fd, WEFT_PROCESS_INHERIT) &&
           stdio_valid(options->stderr_fd, WEFT_PROCESS_STDOUT) &&
           signal_valid(options->death_signal) && options->group >= 0;
}

static const char *search_path(const char *const *envp)
{
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return DEFAULT_PATH;
}

static struct child_fd stdio_of(int target, int fd)
{
    if (fd == WEFT_PROCESS_INHERIT)
        return (struct child_fd){.child = target, .source = target, .optional = true};
    return (struct child_fd){.child = target, .source = fd}; /* or WEFT_PROCESS_NULL */
}

static void set_fds(struct child *child, const struct weft_process_options *options)
{
    child->fds[0] = stdio_of(0, options->stdin_fd);
    child->fds[1] = stdio_of(1, options->stdout_fd);
    child->fds[2] = stdio_of(2, options->stderr_fd);
    if (options->stderr_fd == WEFT_PROCESS_STDOUT) {
        child->fds[2].source = child->fds[1].source;
        child->fds[2].optional = child->fds[1].optional;
    }
    child->fds_count = 3 + options->fds_count;
    child->first_free = 3;
    for (size_t i = 0; i < options->fds_count; i++) {
        const struct weft_process_fd *fd = &options->fds[i];
        child->fds[3 + i] = (struct child_fd){.child = fd->child, .source = fd->parent};
        if (fd->child >= child->first_free)
            child->first_free = fd->child + 1;
    }
}

/* The kernel's form. */
static uint64_t mask_of(const sigset_t *set)
{
    uint64_t mask = 0;

    for (int number = 1; set && number <= SIGNAL_LAST; number++)
        if (sigismember(set, number) == 1)
            mask |= UINT64_C(1) << (number - 1);
    return mask;
}

static void child_init(struct child *child, const struct weft_process_options *options)
{
    const char *program = options->program ? options->program : options->argv[0];

    child->options = options;
    child->envp = options->envp ? options->envp : (const char *const *)environ;
    child->program = program;
    child->path = NULL;
    if (program[0] && !strchr(program, '/'))
        child->path = search_path(child->envp);
    child->parent = getpid();
    child->cwd_fd = options->cwd_fd;
    child->cgroup_fd = -1;
    child->report_fd = -1;
    child->changes_user =
        options->uid != (uid_t)-1 || options->gid != (gid_t)-1 || options->groups != NULL;
    child->signal_mask = mask_of(options->signal_mask);
    child->report = (struct spawn_report){0};
    set_fds(child, options);
}

/* ---- making it ---------------------------------------------------------------------------- */

static void reap(int pidfd)
{
    siginfo_t info;

    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
}

void spawn_discard(const struct spawned *spawned)
{
    pidfd_send_signal(spawned->pidfd, SIGKILL, NULL, 0);
    reap(spawned->pidfd);
    close(spawned->pidfd);
    if (spawned->report >= 0)
        close(spawned->report);
}

static enum weft_process_fault fault_of_clone(const struct spawn *spawn, int error)
{
    if (error == -EMFILE || error == -ENFILE)
        return WEFT_PROCESS_FAULT_OTHER; /* I1 */
    if (error == -EAGAIN || error == -ENOMEM || spawn->options->cgroup_fd < 0)
        return WEFT_PROCESS_FAULT_FORK;
    return WEFT_PROCESS_FAULT_CGROUP;
}

/* I2.  Returns: its number, or clone(2)'s error. */
static pid_t start_child(struct spawn *spawn, int *ret_pidfd)
{
    struct child_clone how = {.flags = CLONE_PIDFD,
                              .cgroup_fd = spawn->options->cgroup_fd,
                              .stack = spawn->stack,
                              .stack_size = STACK_BYTES};
    if (!spawn->child->changes_user)
        how.flags |= CLONE_VM | CLONE_VFORK; /* I3 */
    uint64_t before = child_block_signals(UINT64_MAX);
    pid_t pid = child_start(&how, spawn->child, ret_pidfd);
    if (how.cgroup_fd >= 0 && (pid == -ENOSYS || pid == -EPERM)) { /* seccomp filters refuse it */
        spawn->child->cgroup_fd = how.cgroup_fd;
        how.cgroup_fd = -1;
        pid = child_start(&how, spawn->child, ret_pidfd);
    }
    child_block_signals(before);
    return pid;
}

static int run_child(struct spawn *spawn, struct spawn_report *ret_report,
                     struct spawned *ret_spawned)
{
    const struct spawn_report *report = &spawn->child->report;
    struct spawned spawned = {.report = spawn->report_pipe[0]};
    spawned.pid = start_child(spawn, &spawned.pidfd);
    if (spawned.pid < 0) {
        ret_report->fault = fault_of_clone(spawn, spawned.pid);
        return spawned.pid;
    }
    if (spawn->options->on_start)
        spawn->options->on_start(spawned.pid, spawn->options->on_start_arg);
    if (report->error < 0) { /* I4 */
        *ret_report = *report;
        reap(spawned.pidfd);
        close(spawned.pidfd);
        return report->error;
    }
    spawn->report_pipe[0] = -1;
    *ret_spawned = spawned;
    return 0;
}

/* The memory for it, and the pipe of one that shares none. */
static int prepare(struct spawn *spawn)
{
    const struct weft_process_options *options = spawn->options;
    size_t fds = (3 + options->fds_count) * sizeof(struct child_fd);
    spawn->child = malloc(sizeof(*spawn->child) + fds);
    spawn->stack = aligned_alloc(STACK_ALIGN, STACK_BYTES);
    if (!spawn->child || !spawn->stack)
        return -ENOMEM;
    child_init(spawn->child, options);
    if (!spawn->child->changes_user)
        return 0;
    if (pipe2(spawn->report_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    spawn->child->report_fd = spawn->report_pipe[1];
    return 0;
}

static void release(struct spawn *spawn)
{
    for (int i = 0; i < 2; i++)
        if (spawn->report_pipe[i] >= 0)
            close(spawn->report_pipe[i]);
    free(spawn->stack);
    free(spawn->child);
}

int spawn_program(const struct weft_process_options *options, struct spawn_report *ret_report,
                  struct spawned *ret_spawned)
{
    struct spawn spawn = {.options = options, .report_pipe = {-1, -1}};
    *ret_report = (struct spawn_report){.fault = WEFT_PROCESS_FAULT_OTHER};
    if (!options_valid(options))
        return -EINVAL;
    int r = prepare(&spawn);
    if (r == 0)
        r = run_child(&spawn, ret_report, ret_spawned);
    release(&spawn);
    return r;
}
