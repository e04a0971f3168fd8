/* SPDX-License-Identifier: MIT */
/*
 * tree: finding and killing the processes of one attempt.
 *
 * Who belongs to it: the root; orphans (children of this process that are no root) that are in the
 * root's session or group, or whose initial environment names instance, job and attempt; and
 * whoever descends from those.
 *
 * I1  A process is signalled by a pidfd behind which its start time was found again, or as part of
 *     a group while a member of that group is held stopped, so that the group's number is its own.
 *     The root's session is its own from the start, so no group of a member holds a stranger.
 * I2  Killing stops first: a stopped process forks nothing, so what a scan then finds is complete
 *     but for orphans that appeared during it.  Whoever kills repeats until a scan finds nobody.
 * I3  Members that may not be signalled (setuid) are counted, not waited for.
 * I4  An orphan that is dead, exits, or dies while it is looked at may have been one of ours that
 *     started another just before; one in the middle of execve may be one of ours.  Such a scan is
 *     restless, and proves nothing by finding nobody.  An exit and an execve can be held up by
 *     whoever has the processor, so the next scan waits for one that is under way (unsettled).
 *
 * I5  With a control group of its own, whoever is in that belongs to it too, and is killed by it,
 *     whatever else it is.
 *
 * Not found, where there are no control groups: an orphan that left the session and wiped or
 * overwrote its environment.  It lives until weftd stops (tree_init_orphans).  Blocking; any thread,
 * one at a time for one tree.
 */
#include "daemon/tree.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

enum { FREEZE_ROUNDS = 64, FREEZE_PAUSE_NS = 200 * 1000 };

void tree_init(struct run_tree *tree, struct tree_roots *roots, pid_t root, const char *instance,
               uint64_t id, uint32_t attempt)
{
    *tree = (struct run_tree){
        .roots = roots, .root = root, .marks_count = TREE_MARKS, .leaf = {.fd = -1}};
    snprintf(tree->marks[0], TREE_MARK_SIZE, "WEFT_JOB_ID=%" PRIu64, id);
    snprintf(tree->marks[1], TREE_MARK_SIZE, "WEFT_ATTEMPT=%" PRIu32, attempt);
    snprintf(tree->marks[2], TREE_MARK_SIZE, "WEFT_INSTANCE=%s", instance);
}

void tree_init_leftovers(struct run_tree *tree, const char *instance)
{
    *tree = (struct run_tree){.marks_count = 1, .leaf = {.fd = -1}};
    snprintf(tree->marks[0], TREE_MARK_SIZE, "WEFT_INSTANCE=%s", instance);
}

void tree_init_orphans(struct run_tree *tree, struct tree_roots *roots)
{
    *tree = (struct run_tree){.roots = roots, .leaf = {.fd = -1}};
}

void tree_destroy(struct run_tree *tree)
{
    free(tree->members);
    tree->members = NULL;
    tree->count = tree->capacity = 0;
}

/* ---- one process ----------------------------------------------------------------------------- */

/* Errors: -EPERM, and those of pidfd_open(2).  That it is gone is none. */
static int signal_one(const struct tree_stat *member, int signal)
{
    int fd = tree_pidfd_open(member);
    if (fd < 0)
        return fd == -ESRCH ? 0 : fd;
    int rc = pidfd_send_signal(fd, signal, NULL, 0) < 0 ? -errno : 0;
    close(fd);
    return rc == -ESRCH ? 0 : rc;
}

/* ---- who is there ---------------------------------------------------------------------------- */

static bool is_member(const struct run_tree *tree, pid_t pid)
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->members[i].pid == pid)
            return true;
    return false;
}

static int add_member(struct run_tree *tree, const struct tree_stat *stat)
{
    if (tree->count == tree->capacity) {
        size_t capacity = tree->capacity ? 2 * tree->capacity : 16;
        struct tree_stat *members = realloc(tree->members, capacity * sizeof(*members));
        if (!members)
            return -ENOMEM;
        tree->members = members;
        tree->capacity = capacity;
    }
    if (tree->freezing && stat->state != 'T')
        (void)signal_one(stat, SIGSTOP); /* stop_moving() will see whether it took effect */
    tree->members[tree->count++] = *stat;
    return 0;
}

static bool read_living(pid_t pid, struct tree_stat *ret_stat)
{
    return tree_stat_read(pid, ret_stat) == 0 && !tree_stat_is_dead(ret_stat);
}

/* Unless it is dead, there already, or this process. */
static int add_pid(struct run_tree *tree, pid_t pid)
{
    struct tree_stat stat;
    if (pid == getpid() || is_member(tree, pid) || !read_living(pid, &stat))
        return 0;
    return add_member(tree, &stat);
}

/* I4 */
static bool has_marks(struct run_tree *tree, pid_t pid)
{
    const char *marks[TREE_MARKS];
    for (size_t i = 0; i < tree->marks_count; i++)
        marks[i] = tree->marks[i];
    int rc = tree_environ_has(pid, marks, tree->marks_count);
    if (rc != -EAGAIN)
        return rc > 0;
    tree->restless = true;
    (void)tree_stat_read(pid, &tree->unsettled);
    return false;
}

/* Roots get sessions of their own, and nobody comes back from there into ours: an orphan in our
 * session was never a job's, but of whoever became weftd by exec. */
static bool is_ours(struct run_tree *tree, const struct tree_stat *orphan)
{
    if (!tree->root)
        return orphan->session != getsid(0);
    return orphan->session == tree->root || orphan->group == tree->root ||
           has_marks(tree, orphan->pid);
}

/* I4; one that exits may have no environment any more. */
static int add_orphan(struct run_tree *tree, pid_t pid)
{
    struct tree_stat orphan;
    if (!read_living(pid, &orphan)) {
        tree->restless = true;
        return 0;
    }
    if (is_ours(tree, &orphan))
        return add_member(tree, &orphan);
    bool lives = read_living(pid, &orphan);
    if (lives && !orphan.exiting)
        return 0;
    tree->restless = true;
    if (lives)
        tree->unsettled = orphan;
    return 0;
}

/* The latest first: one of a chain, each of which starts the next and ends, may live yet. */
static int add_orphans(struct run_tree *tree)
{
    struct tree_pids orphans = {0};
    int rc = tree_roots_orphans(tree->roots, &orphans);
    for (size_t i = orphans.count; rc == 0 && i > 0; i--)
        rc = add_orphan(tree, orphans.pids[i - 1]);
    tree_pids_destroy(&orphans);
    return rc;
}

/* By the kernel's own list of them; one that has left it for another group is found as above. */
static int add_leaf(struct run_tree *tree)
{
    struct tree_pids pids = {0};
    struct tree_stat stat;
    int rc = cgroup_leaf_pids(&tree->leaf, &pids);
    for (size_t i = 0; rc == 0 && i < pids.count; i++)
        if (!is_member(tree, pids.pids[i]) && read_living(pids.pids[i], &stat) &&
            cgroup_leaf_has(&tree->leaf, stat.pid))
            rc = add_member(tree, &stat);
    tree_pids_destroy(&pids);
    return rc;
}

static bool is_below_us(pid_t pid)
{
    struct tree_stat stat;
    while (pid > 1 && pid != getpid()) {
        if (tree_stat_read(pid, &stat) < 0)
            return false;
        pid = stat.parent;
    }
    return pid == getpid();
}

static int add_leftovers(struct run_tree *tree)
{
    struct tree_pids all = {0};
    int rc = tree_everybody(&all);
    for (size_t i = 0; rc == 0 && i < all.count; i++)
        if (has_marks(tree, all.pids[i]) && !is_below_us(all.pids[i]))
            rc = add_pid(tree, all.pids[i]);
    tree_pids_destroy(&all);
    return rc;
}

/* Members' children, which become members, and so on. */
static int add_descendants(struct run_tree *tree)
{
    struct tree_pids children = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tree->count; i++) {
        children.count = 0;
        if (tree_children(tree->members[i].pid, &children) == -ENOMEM)
            rc = -ENOMEM;
        for (size_t j = 0; rc == 0 && j < children.count; j++)
            rc = add_pid(tree, children.pids[j]);
    }
    tree_pids_destroy(&children);
    return rc;
}

/* Returns: how many.  Leaves the dead to be reaped later: the living are in a hurry. */
static int scan(struct run_tree *tree)
{
    tree->count = 0;
    tree->restless = false;
    tree->unsettled.pid = 0;
    int rc = tree->root ? add_pid(tree, tree->root) : 0;
    if (rc == 0)
        rc = tree->roots ? add_orphans(tree) : add_leftovers(tree);
    if (rc == 0)
        rc = add_leaf(tree);
    if (rc == 0)
        rc = add_descendants(tree);
    return rc < 0 ? rc : (int)tree->count;
}

static void reap(struct run_tree *tree)
{
    if (tree->restless && tree->roots)
        tree_roots_reap(tree->roots);
}

int tree_scan(struct run_tree *tree)
{
    int rc = scan(tree);
    reap(tree);
    return rc;
}

/* ---- signals --------------------------------------------------------------------------------- */

/* I1: only of a stopped member, and never our own group. */
static void signal_group_of(const struct run_tree *tree, const struct tree_stat *member, int signal)
{
    if (tree->root && member->state == 'T' && member->group > 1 && member->group != getpgrp())
        (void)kill(-member->group, signal);
}

/* I3 */
static int signal_member(struct run_tree *tree, const struct tree_stat *member, int signal)
{
    int rc = signal_one(member, signal);
    if (rc != -EPERM)
        return rc;
    tree->denied++;
    return 0;
}

int tree_signal_outside(struct run_tree *tree, int signal)
{
    int rc = 0;
    for (size_t i = 0; i < tree->count; i++) {
        if (tree->members[i].group == tree->root)
            continue;
        int r = signal_member(tree, &tree->members[i], signal);
        rc = r < 0 ? r : rc;
    }
    return rc;
}

/* Returns: how many were not still yet. */
static int stop_moving(struct run_tree *tree)
{
    int moving = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const struct tree_stat *member = &tree->members[i];
        signal_group_of(tree, member, SIGSTOP);
        if (member->state == 'T')
            continue;
        int rc = signal_one(member, SIGSTOP);
        if (rc == 0 && !tree_stat_is_still(member))
            moving++;
    }
    return moving;
}

/* Somebody who changes user by exec cannot be stopped, so the rounds are bounded. */
static int freeze(struct run_tree *tree)
{
    const struct timespec pause = {.tv_nsec = FREEZE_PAUSE_NS};
    for (int round = 0;; round++) {
        int rc = scan(tree);
        if (rc <= 0)
            return rc;
        if (stop_moving(tree) == 0 || round == FREEZE_ROUNDS)
            return rc;
        nanosleep(&pause, NULL);
    }
}

int tree_kill(struct run_tree *tree)
{
    int failed = 0, killed = 0;
    cgroup_leaf_kill(&tree->leaf);
    tree->freezing = true;
    int rc = freeze(tree);
    tree->freezing = false;
    tree->denied = 0;
    for (size_t i = 0; rc > 0 && i < tree->count; i++) {
        const struct tree_stat *member = &tree->members[i];
        uint64_t denied = tree->denied;
        signal_group_of(tree, member, SIGKILL);
        int r = signal_member(tree, member, SIGKILL);
        failed = r < 0 ? r : failed;
        killed += r == 0 && tree->denied == denied;
    }
    reap(tree);
    if (rc < 0)
        return rc;
    return failed < 0 ? failed : killed;
}
