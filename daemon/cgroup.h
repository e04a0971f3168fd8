/* SPDX-License-Identifier: MIT */
/*
 * cgroup: a control group for each attempt, so that its processes are found and killed whatever they
 * did: left their session, lost their parent, wiped their environment, changed their user.
 *
 *   cgroups  the group that weftd was given (Delegate=yes): weftd in `weftd`, attempts beside it
 *   leaf     the group of one attempt, job-ID-ATTEMPT; what bounds it is set by files of the
 *            controllers that weftd was given, and turned on for leaves
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

enum cgroup_controller { CGROUP_CPU, CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CONTROLLERS };

/* Constant once open. */
struct cgroups {
    int fd; /* of the folder; -1: there is none, and every leaf is none */
    /* 0: leaves have the controller; -ENOSYS: this machine has not, -ENOENT: weftd was not given it;
     * any other: why it could not be turned on */
    int lacks[CGROUP_CONTROLLERS];
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
/* Take over a folder that is open, without a move; what controllers there are is turned on. */
void cgroups_open_fd(int fd, struct cgroups *ret_cgroups);
void cgroups_close(struct cgroups *cgroups);

#define CGROUP_WHY_MAX 192

/* Why leaves are without a controller and what would help, into why, for whoever wanted a limit.
 * Returns whether they have it; then why is untouched. */
bool cgroups_have(const struct cgroups *cgroups, enum cgroup_controller controller,
                  char why[static CGROUP_WHY_MAX]);

/* A fresh leaf; none, if there are no cgroups or the kernel refuses it (which is logged). */
void cgroup_leaf_make(const struct cgroups *cgroups, uint64_t id, uint32_t attempt,
                      struct cgroup_leaf *ret_leaf);

/* Write into a file of a controller.  Errors: -ENOTSUP there is no leaf; -ENOENT no such file; the
 * kernel's. */
int cgroup_leaf_set(const struct cgroup_leaf *leaf, const char *file, const char *text);

/* What became of those who wanted memory; all 0 where nobody counts. */
struct cgroup_memory_events {
    uint64_t oom; /* how often there was none left within the leaf's own limit */
    uint64_t
        oom_kill; /* processes that were killed, for that or because a group above or the machine
                        * had none */
};
void cgroup_leaf_memory_events(const struct cgroup_leaf *leaf,
                               struct cgroup_memory_events *ret_events);

/* None is empty. */
bool cgroup_leaf_is_empty(const struct cgroup_leaf *leaf);

/* Add who is in it, or in groups that they made below it.  Errors: -ENOMEM; what went meanwhile is
 * none. */
int cgroup_leaf_pids(const struct cgroup_leaf *leaf, struct tree_pids *list);

/* Whether pid, whose stat was read before, is in it: a number that was used again since is not. */
bool cgroup_leaf_has(const struct cgroup_leaf *leaf, pid_t pid);

/* SIGKILL to all, at once: nobody gets away by forking. */
void cgroup_leaf_kill(const struct cgroup_leaf *leaf);

/* Let all in it stand still, or go on; soon after, who starts there later too.  Standing still they
 * can be killed.  Errors: -ENOTSUP there is no leaf; the kernel's. */
int cgroup_leaf_freeze(const struct cgroup_leaf *leaf, bool frozen);

/* Remove it, with the groups below it; empty by now. */
void cgroup_leaf_remove(const struct cgroups *cgroups, struct cgroup_leaf *leaf);

/* Kill what is in leaves of an earlier life, wait for it at most within_ns, and remove them.
 * Returns: how many leaves somebody was in. */
int cgroups_kill_leftovers(const struct cgroups *cgroups, uint64_t within_ns);
