/* SPDX-License-Identifier: MIT */
/*
 * tree_roots: telling roots from orphans.
 *
 * weftd is a subreaper: whoever outlives its parent below a root becomes weftd's child, and must
 * be reaped by it.  A root must not: its status belongs to its struct weft_process.
 *
 * I1  Under the write lock of `spawning`, a child of this process that is not registered is an
 *     orphan, and stays one until it is reaped, under the same lock.  So a pid that is reaped here
 *     is neither a root nor recycled.
 * I2  Orphans come to the first thread of this process (the kernel gives them to the first of the
 *     group that lives), so its children alone are looked at.
 * I3  The write lock is taken only when there is somebody to reap: a job without orphans costs one
 *     short read of /proc.
 *
 * Any thread; the locks are held over system calls that do not wait, and over spawns as
 * far as these do not suspend (run_exec.c, I11).
 */
#include "daemon/tree.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

void tree_roots_init(struct tree_roots *roots)
{
    pthread_rwlockattr_t attributes;
    *roots = (struct tree_roots){0};
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&roots->spawning, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&roots->lock, NULL);
}

void tree_roots_destroy(struct tree_roots *roots)
{
    pthread_rwlock_destroy(&roots->spawning);
    pthread_mutex_destroy(&roots->lock);
}

static struct tree_root **bucket_locked(struct tree_roots *roots, pid_t pid)
{
    return &roots->buckets[(unsigned)pid % TREE_BUCKETS];
}

void tree_roots_begin(struct tree_roots *roots)
{
    pthread_rwlock_rdlock(&roots->spawning);
}

void tree_roots_end(struct tree_roots *roots, struct tree_root *root)
{
    if (root->pid) {
        pthread_mutex_lock(&roots->lock);
        struct tree_root **bucket = bucket_locked(roots, root->pid);
        root->next = *bucket;
        *bucket = root;
        pthread_mutex_unlock(&roots->lock);
    }
    pthread_rwlock_unlock(&roots->spawning);
}

void tree_roots_remove(struct tree_roots *roots, struct tree_root *root)
{
    pthread_mutex_lock(&roots->lock);
    struct tree_root **link = bucket_locked(roots, root->pid);
    while (*link != root)
        link = &(*link)->next;
    *link = root->next;
    pthread_mutex_unlock(&roots->lock);
}

static bool is_root(struct tree_roots *roots, pid_t pid)
{
    pthread_mutex_lock(&roots->lock);
    const struct tree_root *root = *bucket_locked(roots, pid);
    while (root && root->pid != pid)
        root = root->next;
    pthread_mutex_unlock(&roots->lock);
    return root != NULL;
}

/* Under the write lock (I1).  Not ours to wait for is no error: it may be gone. */
static void reap_if_dead(struct tree_roots *roots, pid_t pid)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == pid)
        atomic_fetch_add_explicit(&roots->reaped, 1, memory_order_relaxed);
}

void tree_roots_reap(struct tree_roots *roots)
{
    struct tree_pids children = {0};
    pthread_rwlock_wrlock(&roots->spawning);
    (void)tree_first_children(getpid(), &children); /* those that were listed will do */
    for (size_t i = 0; i < children.count; i++)
        if (!is_root(roots, children.pids[i]))
            reap_if_dead(roots, children.pids[i]);
    pthread_rwlock_unlock(&roots->spawning);
    tree_pids_destroy(&children);
}

int tree_roots_orphans(struct tree_roots *roots, struct tree_pids *orphans)
{
    struct tree_pids children = {0};
    int rc = tree_first_children(getpid(), &children);
    for (size_t i = 0; rc == 0 && i < children.count; i++)
        if (!is_root(roots, children.pids[i]))
            rc = tree_pids_add(orphans, children.pids[i]);
    tree_pids_destroy(&children);
    return rc;
}
