/* SPDX-License-Identifier: MIT */
/*
 * cgroup: a control group for each attempt, so that its processes are found and killed whatever they
 * did: left their session, lost their parent, wiped their environment, changed their user.
 *
 *   cgroups  the group that weftd was given (Delegate=yes): weftd in `weftd`, attempts beside it
 *   leaf     the group of one attempt, job-ID-ATTEMPT
 *
 * Version 2 of cgroups alone.  Blocking, for short (reads and writes of the kernel's memory), but for
 * cgroups_kill_leftovers(), which waits.  Any thread; one at a time for one leaf.  Private to the run
 * files.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/problem.h"
#include "daemon/tree_proc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroups {
    int fd; /* of the folder; -1: there is none, and every leaf is none */
};

struct cgroup_leaf {
    int fd; /* of the folder; -1: none */
    char name[48];
};

/**
 * Find the group of this process, and move it into `weftd` below.  AUTO takes only what was
 * delegated, as systemd marks it (the attribute user.delegate or trusted.delegate), and is content
 * without; YES takes what may be written to.
 * Context: before there are programs.
 * Errors:  with YES alone, with problem.
 */
int cgroups_open(enum config_wish wish, struct problem *problem, struct cgroups *ret_cgroups);
/* Take over a folder that is open, without a move. */
void cgroups_open_fd(int fd, struct cgroups *ret_cgroups);
void cgroups_close(struct cgroups *cgroups);

/* A fresh leaf; none, if there are no cgroups or the kernel refuses it (which is logged). */
void cgroup_leaf_make(const struct cgroups *cgroups, uint64_t id, uint32_t attempt,
                      struct cgroup_leaf *ret_leaf);

/* None is empty. */
bool cgroup_leaf_is_empty(const struct cgroup_leaf *leaf);

/* Add who is in it, or in groups that they made below it.  Errors: -ENOMEM; what went meanwhile is
 * none. */
int cgroup_leaf_pids(const struct cgroup_leaf *leaf, struct tree_pids *list);

/* Whether pid, whose stat was read before, is in it: a number that was used again since is not. */
bool cgroup_leaf_has(const struct cgroup_leaf *leaf, pid_t pid);

/* SIGKILL to all, at once: nobody gets away by forking. */
void cgroup_leaf_kill(const struct cgroup_leaf *leaf);

/* Remove it, with the groups below it; empty by now. */
void cgroup_leaf_remove(const struct cgroups *cgroups, struct cgroup_leaf *leaf);

/* Kill what is in leaves of an earlier life, wait for it at most within_ns, and remove them.
 * Returns: how many leaves somebody was in. */
int cgroups_kill_leftovers(const struct cgroups *cgroups, uint64_t within_ns);
