/* SPDX-License-Identifier: MIT */
/*
 * tree: the processes of one attempt, found and signalled.  Private to the run files.
 *
 * tree_roots  who is a root, so that orphans can be reaped and roots cannot.
 * run_tree    the processes that hang on one root, as of the last scan.
 *
 * Everything here may block for a short while (it reads /proc): call it by weft_offload, or from a
 * fiber where that cannot be.  Nothing here suspends.
 */
#pragma once

#include "daemon/cgroup.h"
#include "daemon/tree_proc.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- roots ----------------------------------------------------------------------------------- */

enum { TREE_BUCKETS = 256 };

struct tree_root {
    struct tree_root *next; /* guarded by tree_roots.lock */
    pid_t pid;              /* constant while registered */
};

struct tree_roots {
    /* Held for reading across a spawn and its registration, for writing while orphans are reaped:
     * so a child that is no registered root is an orphan.  Taken before lock. */
    pthread_rwlock_t spawning;
    pthread_mutex_t lock;                    /* a leaf */
    struct tree_root *buckets[TREE_BUCKETS]; /* by pid; guarded by lock */
    atomic_uint_fast64_t reaped;             /* orphans */
};

void tree_roots_init(struct tree_roots *roots);
void tree_roots_destroy(struct tree_roots *roots); /* no root may be left */

/* Around a spawn: nothing between the two may suspend.  root->pid 0: there is no child. */
void tree_roots_begin(struct tree_roots *roots);
void tree_roots_end(struct tree_roots *roots, struct tree_root *root);

/* Once it was reaped by whoever owns it. */
void tree_roots_remove(struct tree_roots *roots, struct tree_root *root);

/* Add the orphans, dead ones included, the latest last.  Errors: -ENOMEM. */
int tree_roots_orphans(struct tree_roots *roots, struct tree_pids *orphans);

/* Reap the orphans that have ended. */
void tree_roots_reap(struct tree_roots *roots);

/* ---- trees ----------------------------------------------------------------------------------- */

enum { TREE_MARKS = 3, TREE_MARK_SIZE = 64 };

struct run_tree {
    struct tree_roots *roots;
    pid_t root; /* its session's and group's number too: not reaped while the tree is in use;
                 * 0: a tree of left-overs, or with roots of orphans */
    char marks[TREE_MARKS][TREE_MARK_SIZE]; /* what the environment of an orphan must hold */
    size_t marks_count;
    struct cgroup_leaf leaf;   /* its control group; none (fd -1): it has to be found by the rest */
    struct tree_stat *members; /* who lived at the last scan, parents before children */
    size_t count, capacity;
    bool freezing; /* members are stopped as soon as they are found */
    bool restless; /* the last scan met dead orphans, which may have left children that it did
                      * not meet, or one of which it could not tell: that nobody was found is no
                      * proof */
    struct tree_stat unsettled; /* the last of those that only exits or is in execve; pid 0: none */
    uint64_t denied;            /* signals that were not permitted (somebody changed its user) */
};

/* The tree of a root. */
void tree_init(struct run_tree *tree, struct tree_roots *roots, pid_t root, const char *instance,
               uint64_t id, uint32_t attempt);

/* All processes of this instance that are not below this process, and what is below them. */
void tree_init_leftovers(struct run_tree *tree, const char *instance);

/* All orphans, whosever they were, and what is below them.  No root may be left. */
void tree_init_orphans(struct run_tree *tree, struct tree_roots *roots);

void tree_destroy(struct run_tree *tree);

/* Find who lives, and reap orphans that do not.
 * Returns: how many.  Errors: -ENOMEM, opendir(3)'s. */
int tree_scan(struct run_tree *tree);

/* Signal those of the last scan that are not in the root's own group (which is signalled as one,
 * by weft_process_kill_group).  Errors: -EMFILE and the like: try again later. */
int tree_signal_outside(struct run_tree *tree, int signal);

/**
 * Scan, stop all so that nobody forks any more, and kill them.
 * Returns: how many were found and sent SIGKILL; 0: nobody is left.  Errors: of scan and signal.
 */
int tree_kill(struct run_tree *tree);
