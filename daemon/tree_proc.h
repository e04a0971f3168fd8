/* SPDX-License-Identifier: MIT */
/* What /proc tells about processes.  Private to the tree files and their tests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A growing list of pids; all zeroes is an empty one. */
struct tree_pids {
    pid_t *pids;
    size_t count, capacity;
};

int tree_pids_add(struct tree_pids *list, pid_t pid); /* Errors: -ENOMEM */
void tree_pids_destroy(struct tree_pids *list);

/* One process at one moment. */
struct tree_stat {
    pid_t pid, parent, group, session;
    char state;       /* of its first thread: R S D T t Z X I */
    unsigned threads; /* alive */
    bool exiting;     /* its first thread is: its memory, so its environment, may be gone */
    uint64_t started; /* clock ticks since boot: with the pid it names the process for good */
};

/* Errors: -ESRCH there is none. */
int tree_stat_read(pid_t pid, struct tree_stat *ret_stat);

/* It runs no more, and waits to be reaped at most.  (A first thread that ended while others go on
 * is a zombie too, of a process that lives.) */
bool tree_stat_is_dead(const struct tree_stat *stat);

/* It cannot fork until it is continued or returns from the kernel. */
bool tree_stat_is_still(const struct tree_stat *stat);

/* Add the children of all threads of pid, dead ones included.  One that comes or goes meanwhile may
 * be missed: scan again.  Errors: -ESRCH, -ENOMEM. */
int tree_children(pid_t pid, struct tree_pids *list);

/* The children of pid's first thread only: to a subreaper orphans come there. */
int tree_first_children(pid_t pid, struct tree_pids *list);

/* Add every process there is.  Errors: -ENOMEM, and opendir(3)'s. */
int tree_everybody(struct tree_pids *list);

/* Does the environment that the process was started with hold all of these ("NAME=value")?
 * Returns: 1 it does; 0 it does not, or may not be read.
 * Errors:  -EAGAIN it is in the middle of execve(2), and has none to be read. */
int tree_environ_has(pid_t pid, const char *const *marks, size_t count);

/* A pidfd of exactly this process.  Errors: -ESRCH it is gone, and pidfd_open(2)'s. */
int tree_pidfd_open(const struct tree_stat *stat);
