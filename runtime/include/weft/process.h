/* SPDX-License-Identifier: MIT */
/* Child processes by pidfd: no SIGCHLD handler is installed.  Defaults of weft/weft.h apply. */
#ifndef WEFT_PROCESS_H
#define WEFT_PROCESS_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weft_process;

/* What a child's standard descriptor is, where it is not a descriptor of the parent's. */
enum {
    WEFT_PROCESS_NULL = -1,    /* /dev/null */
    WEFT_PROCESS_INHERIT = -2, /* what the parent has under this number */
    WEFT_PROCESS_PIPE = -3,    /* a pipe, whose other end is the parent's stream */
    WEFT_PROCESS_STDOUT = -4   /* stderr only: where stdout goes */
};

/* What a spawn failed at. */
enum weft_process_fault {
    WEFT_PROCESS_FAULT_OTHER,    /* memory, descriptors, options */
    WEFT_PROCESS_FAULT_CWD,      /* the working directory */
    WEFT_PROCESS_FAULT_PROGRAM,  /* finding or executing the program */
    WEFT_PROCESS_FAULT_FORK,     /* the kernel made no process: limits, memory */
    WEFT_PROCESS_FAULT_STDIO,    /* a descriptor that the child was to have */
    WEFT_PROCESS_FAULT_GROUP,    /* its session or process group */
    WEFT_PROCESS_FAULT_PRIORITY, /* nice, ionice */
    WEFT_PROCESS_FAULT_LIMIT,    /* a resource limit */
    WEFT_PROCESS_FAULT_USER,     /* uid, gid, supplementary groups */
    WEFT_PROCESS_FAULT_CGROUP,   /* entering the control group */
    WEFT_PROCESS_FAULT_STDIN     /* opening stdin_path */
};

/* One more descriptor for the child. */
struct weft_process_fd {
    int child;  /* the number that it has there, 0 to 65535; over one of the standard three: this
                   one counts */
    int parent; /* borrowed */
};

struct weft_process_limit {
    int resource; /* RLIMIT_... */
    struct rlimit limit;
};

struct weft_process_options {
    const char *const *argv; /* NULL-terminated; argv[0] without a slash: looked up in PATH of envp
                                (none there: /bin:/usr/bin) */
    const char *const *envp; /* NULL-terminated; NULL: the parent's environment */
    const char *cwd;         /* NULL: the parent's.  Entered as the child's user */
    int stdin_fd;            /* borrowed, or WEFT_PROCESS_NULL and the like */
    int stdout_fd;           /* the same */
    int stderr_fd;           /* the same */
    bool new_group;          /* its own process group, so that it can be killed as one */
    bool new_session;        /* its own session (implies its own group) */
    enum weft_process_fault *ret_fault; /* NULL, or set when the spawn fails */

    const char *program;               /* what is executed, if not argv[0]; looked up likewise */
    int cwd_fd;                        /* a directory, where cwd begins; -1: the parent's */
    const struct weft_process_fd *fds; /* further descriptors */
    size_t fds_count;
    const struct weft_process_limit *limits; /* all others: the parent's */
    size_t limits_count;
    pid_t group;         /* the process group to join; 0: none (new_group decides) */
    mode_t umask;        /* (mode_t)-1: the parent's */
    int nice;            /* added to the parent's niceness */
    int ionice;          /* class << 13 | level, as ioprio_set(2) has it; 0: the parent's */
    uid_t uid;           /* (uid_t)-1: the parent's */
    gid_t gid;           /* (gid_t)-1: the parent's */
    const gid_t *groups; /* supplementary groups; NULL: none if uid or gid is given, else the
                            parent's */
    size_t groups_count;
    int cgroup_fd;    /* the folder of a version 2 control group to start in; -1: the parent's */
    int death_signal; /* sent to the child when the *thread* that started it ends, so at the
                         latest with the runtime; 0: none */
    bool no_new_privileges;                 /* neither it nor its children gain any by execve(2) */
    const sigset_t *signal_mask;            /* blocked in the child; NULL: none */
    void (*on_start)(pid_t pid, void *arg); /* NULL, or called once if there is a child, before the
                                               spawn suspends for the first time; also for one that
                                               then fails, and is reaped when the spawn returns */
    void *on_start_arg;

    const char *stdin_path; /* a file to be its stdin, opened to read in its working directory and
                               as its user; NULL: stdin_fd.  A FIFO that nobody writes is not waited
                               for: it is at its end */
    /* The same three once more, set after the change of the user and so with that user's rights:
     * what a user asks for, where `limits`, `nice` and `ionice` are what they are given. */
    const struct weft_process_limit *user_limits;
    size_t user_limits_count;
    int user_nice;
    int user_ionice;
    const struct weft_process_limit **ret_fault_limit; /* NULL, or set when the spawn fails at
                                                          WEFT_PROCESS_FAULT_LIMIT: at which */
};

/** How a process ended. */
struct weft_process_status {
    int exit_code; /* 0–255, or -1 when a signal ended it */
    int signal;    /* 0, or the signal that ended it */
};

/* What was read from a pipe: `data` is the caller's to free(3), followed by a 0 byte, and never
 * NULL. */
struct weft_process_output {
    char *data;
    size_t size;
};

/** Standard descriptors /dev/null, its own group, everything else inherited. */
void weft_process_options_init(struct weft_process_options *options);

/**
 * Start a program.  The child gets default signal dispositions, and no descriptor but 0, 1, 2 and
 * those that `fds` names.  Holds the worker's thread until the child has called execve(2), as
 * vfork(2) does, and does not suspend.  With uid, gid or groups it copies the address space instead
 * (a child under another user must not share it) and suspends meanwhile.
 * SIGCHLD must not be ignored, nor reaped by wait(-1) elsewhere in the process.
 * Errors: -EINVAL empty argv or bad options, -ENOENT / -EACCES program (or cwd) not found or not
 *         executable, -ENOTDIR, -ENOEXEC, -E2BIG and the like from execve(2), -EAGAIN no process
 *         may be made, -ENOMEM, -EMFILE, -EBADF, -EPERM and the like from what `ret_fault` names;
 *         -ECANCELED, -ETIMEDOUT.  Then there is no child, and nothing is left of it.
 */
int weft_process_spawn(const struct weft_process_options *options,
                       struct weft_process **ret_process);

/** Start `/bin/sh -c command`; argv and program of `options` do not count.  `options` may be NULL:
 * the defaults.  Errors: as weft_process_spawn. */
int weft_process_shell(const char *command, const struct weft_process_options *options,
                       struct weft_process **ret_process);

/** Its number.  Any thread. */
pid_t weft_process_pid(const struct weft_process *process);

/** The parent's ends of the pipes: to write to its stdin, to read from its stdout and stderr.
 * Borrowed.  NULL where no pipe was asked for, or after close_stdin. */
struct weft_stream *weft_process_stdin(const struct weft_process *process);
struct weft_stream *weft_process_stdout(const struct weft_process *process);
struct weft_stream *weft_process_stderr(const struct weft_process *process);

/** Close the pipe to its stdin: it reads the end of the file.  Nobody may use the stream any more.
 * Never suspends.  Without a pipe it does nothing. */
void weft_process_close_stdin(struct weft_process *process);

/** Wait until it has ended, and reap it.  Again after it was reaped: the same status.  Several
 * fibers may wait; each but the first takes one descriptor meanwhile.
 * Errors: -ECANCELED, -ETIMEDOUT: it goes on running and can be waited for again; -ECHILD somebody
 *         else reaped it; -EMFILE. */
int weft_process_wait(struct weft_process *process, uint64_t deadline_ns,
                      struct weft_process_status *ret_status);

/**
 * Write `input` to its stdin and close it, read its stdout and stderr to their ends, all at once,
 * and wait for its end.  Each only where there is a pipe: else the output is empty (`ret_out` and
 * `ret_err` may be NULL) and a non-empty input is -EINVAL.  That it does not read all of its input
 * is no error.
 * Nothing is lost on an error: it goes on running, what was read is kept, and a further call with
 * the same input goes on.
 * Errors: -EMSGSIZE more than `limit` bytes came on one of the pipes; -ECANCELED, -ETIMEDOUT,
 *         -ENOMEM, -EAGAIN no further fiber, -EBUSY another fiber is at it or uses the streams;
 *         read(2)'s, weft_process_wait's.
 */
int weft_process_communicate(struct weft_process *process, const void *input, size_t input_size,
                             size_t limit, uint64_t deadline_ns,
                             struct weft_process_output *ret_out,
                             struct weft_process_output *ret_err,
                             struct weft_process_status *ret_status);

/** Spawn, communicate and free: one call from start to end.  stdin, stdout and stderr that are
 * WEFT_PROCESS_NULL become pipes where `input_size`, `ret_out`, `ret_err` ask for one.  On an error
 * the process is killed (its group, where it has its own) and reaped.
 * Errors: as weft_process_spawn and weft_process_communicate. */
int weft_process_run(const struct weft_process_options *options, const void *input,
                     size_t input_size, size_t limit, uint64_t deadline_ns,
                     struct weft_process_output *ret_out, struct weft_process_output *ret_err,
                     struct weft_process_status *ret_status);

/** Signal the process (never a recycled pid).  Any thread.  Never suspends.
 * Errors: -ESRCH it was reaped, -EPERM. */
int weft_process_kill(struct weft_process *process, int signal);

/** Signal its process group.  Any thread.  Never suspends.  Errors: -ESRCH nobody is left in it or
 * the leader was reaped, -EINVAL it was not started with its own group. */
int weft_process_kill_group(struct weft_process *process, int signal);

/**
 * End it: SIGTERM to its group (to it alone where it has none of its own), and when it has ended
 * or `grace_ns` is over, SIGKILL to whoever is left there; then reap it.  `ret_status` may be NULL.
 * A cancellation shortens the grace to nothing and is not reported: after a return of 0 the process
 * is gone.
 * Errors: -EPERM it runs as somebody else, -ECHILD somebody else reaped it.
 */
int weft_process_terminate(struct weft_process *process, uint64_t grace_ns,
                           struct weft_process_status *ret_status);

/** Forget it and close its pipes; nobody may use it any more.  One that still runs is left to run,
 * and reaped by nobody: wait first.  Never suspends.  NULL does nothing. */
void weft_process_free(struct weft_process *process);

#ifdef __cplusplus
}
#endif
#endif
