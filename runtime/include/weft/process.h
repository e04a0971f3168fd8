/* SPDX-License-Identifier: MIT */
/* Child processes by pidfd: no SIGCHLD handler is installed.  Defaults of weft/weft.h apply. */
#ifndef WEFT_PROCESS_H
#define WEFT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_process;

/** What a spawn failed at. */
enum weft_process_fault {
    WEFT_PROCESS_FAULT_OTHER,  /* resources, options */
    WEFT_PROCESS_FAULT_CWD,    /* the working directory */
    WEFT_PROCESS_FAULT_PROGRAM /* finding or executing the program */
};

struct weft_process_options {
    const char *const *argv; /* NULL-terminated; argv[0] without a slash: looked up in PATH of envp
                                (none there: /bin:/usr/bin) */
    const char *const *envp; /* NULL-terminated; NULL: the parent's environment */
    const char *cwd;         /* NULL: the parent's */
    int stdin_fd;            /* borrowed; -1: /dev/null */
    int stdout_fd;           /* borrowed; -1: /dev/null */
    int stderr_fd;           /* borrowed; -1: /dev/null */
    bool new_group;          /* its own process group, so that it can be killed as one */
    bool new_session;        /* its own session (implies its own group) */
    enum weft_process_fault *ret_fault; /* NULL, or set when the spawn fails */
};

/** How a process ended. */
struct weft_process_status {
    int exit_code; /* 0–255, or -1 when a signal ended it */
    int signal;    /* 0, or the signal that ended it */
};

/** All fds -1, its own group, everything else inherited. */
void weft_process_options_init(struct weft_process_options *options);

/**
 * Start a program.  The child gets default signal dispositions, an empty signal mask, and no
 * descriptor but 0, 1 and 2.  Never suspends; holds the worker until the child has called exec.
 * SIGCHLD must not be ignored, nor reaped by wait(-1) elsewhere in the process.
 * Errors: -EINVAL empty argv, -ENOENT / -EACCES program (or cwd) not found or not executable,
 *         -ENOTDIR, -ENOEXEC, -E2BIG and the like from execve(2), -EAGAIN, -ENOMEM, -EMFILE;
 *         -ECANCELED, -ETIMEDOUT.  Then there is no child.
 */
int weft_process_spawn(const struct weft_process_options *options,
                       struct weft_process **ret_process);

pid_t weft_process_pid(const struct weft_process *process);

/** Wait until it has ended, and reap it.  Again after it was reaped: the same status.
 * Errors: -ECANCELED, -ETIMEDOUT: it goes on running and can be waited for again; -EBUSY another
 *         fiber waits for it; -ECHILD somebody else reaped it. */
int weft_process_wait(struct weft_process *process, uint64_t deadline_ns,
                      struct weft_process_status *ret_status);

/** Signal the process (never a recycled pid).  Never suspends.  Errors: -ESRCH it was reaped. */
int weft_process_kill(struct weft_process *process, int signal);

/** Signal its process group.  Never suspends.  Errors: -ESRCH nobody is left in it or the leader
 * was reaped, -EINVAL it was not started with its own group. */
int weft_process_kill_group(struct weft_process *process, int signal);

/** Forget it; nobody may use it any more.  One that still runs is left to run, and reaped by
 * nobody: wait first.  Never suspends.  NULL does nothing. */
void weft_process_free(struct weft_process *process);

#ifdef __cplusplus
}
#endif
#endif
