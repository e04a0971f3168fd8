/* SPDX-License-Identifier: MIT */
/* The child's half of spawn.c: what it is to do, and how it is made. */
#ifndef RUNTIME_IO_PROCESS_SPAWN_CHILD_H
#define RUNTIME_IO_PROCESS_SPAWN_CHILD_H

#include <limits.h>
#include <stddef.h>

#include "io/process/spawn.h"

/* A descriptor of the child. */
struct child_fd {
    int child;     /* its number there */
    int source;    /* its number here; -1: /dev/null */
    bool optional; /* none of it where it is not open here */
};

/* Made by the parent.  The child works on it in place: it is its only writer until it has called
 * execve or ended, because then its parent waits, or has a copy of its own. */
struct child {
    const struct weft_process_options *options;
    const char *const *envp;
    const char *program; /* what to execute */
    const char *path;    /* where to look for it; NULL: nowhere */
    pid_t parent;
    int cwd_fd;           /* -1: none */
    int cgroup_fd;        /* of the control group to enter; -1: none, or it starts there */
    int report_fd;        /* -1: `report` is in the parent's memory too */
    int first_free;       /* above all numbers of fds[].child */
    bool changes_user;    /* uid, gid or groups */
    uint64_t signal_mask; /* in the kernel's form */
    struct spawn_report report;
    char candidate[PATH_MAX];
    size_t fds_count;
    struct child_fd fds[];
};

/* How a child is made: flags and ids of clone(2). */
struct child_clone {
    uint64_t flags; /* without the exit signal, which is SIGCHLD */
    int cgroup_fd;  /* -1: none; else clone3(2) is needed */
    void *stack;    /* of `stack_size` bytes, aligned to 16 */
    size_t stack_size;
};

/**
 * Make the child, which does what `child` says and does not return.  All signals must be blocked.
 * Returns: its number.  Errors: clone(2)'s; then *ret_pidfd is not set.
 */
pid_t child_start(const struct child_clone *how, struct child *child, int *ret_pidfd);

/** Set the calling thread's mask of blocked signals, glibc's own ones included.  1 << (n - 1) is
 * signal n. */
uint64_t child_block_signals(uint64_t mask);

#endif
