/* SPDX-License-Identifier: MIT */
/*
 * run_stop: nobody is left.
 *
 * The end of a tree is the same whether the root ended by itself or somebody wants it to: whoever
 * is left gets SIGTERM (and SIGCONT, so that stopped ones see it), then kill_grace for all of them,
 * then SIGKILL.  It is over when two scans in a row find nobody: between two an orphan that was
 * being handed over during the first has arrived.  A scan during which orphans died or were in
 * execve does not count, because a process that lives just long enough to start the next is dead
 * when it is looked at; after RESTLESS_MAX of those, each with other processes or after a wait, they
 * are taken for another job's.
 *
 * I8  Everything here is shielded, and ends early only when the runtime's stop breaks shields.
 * I9  The root is not reaped here: its pid, session and group are its own all the while.
 * I10 attempt->grace is cancelled only while it is entered; in_grace says so under runner->lock.
 */
#include "daemon/run_impl.h"

#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define ROUND_NS     WEFT_SECOND             /* who does not die is looked at so often */
#define SHORTAGE_NS  (10 * WEFT_MILLISECOND) /* no descriptor or no memory: try again */
#define LEFTOVERS_NS (10 * WEFT_SECOND)
#define ORPHANS_NS   (2 * WEFT_SECOND)
#define UNSETTLED_NS (10 * WEFT_MILLISECOND) /* an exit or an execve that is held up */

enum { RESTLESS_MAX = 1000 };

/* ---- calls that block for a while ------------------------------------------------------------ */

static int scan_main(void *tree)
{
    return tree_scan(tree);
}

static int kill_main(void *tree)
{
    return tree_kill(tree);
}

struct signalling {
    struct run_tree *tree;
    int signal;
};

static int signal_main(void *arg)
{
    struct signalling *signalling = arg;
    return tree_signal_outside(signalling->tree, signalling->signal);
}

/* ---- waiting for somebody's end -------------------------------------------------------------- */

static __attribute__((noinline)) bool has_ended(int pidfd)
{
    struct pollfd poll_for = {.fd = pidfd, .events = POLLIN};
    return poll(&poll_for, 1, 0) > 0;
}

int run_await_end(struct weft_descriptor *pidfd, uint64_t deadline_ns)
{
    while (!has_ended(weft_descriptor_fd(pidfd))) {
        int rc = weft_descriptor_wait_readable(pidfd, deadline_ns);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Errors: -ETIMEDOUT, -ECANCELED; a shortage is waited out a little and is none. */
static int await_member(const struct tree_stat *member, uint64_t deadline_ns)
{
    struct weft_descriptor *pidfd;
    int fd = tree_pidfd_open(member);
    if (fd == -ESRCH)
        return 0;
    if (fd < 0)
        return weft_sleep(SHORTAGE_NS);
    if (weft_descriptor_new(fd, &pidfd) < 0) {
        close(fd);
        return weft_sleep(SHORTAGE_NS);
    }
    int rc = run_await_end(pidfd, deadline_ns);
    weft_descriptor_free(pidfd);
    return rc;
}

static int await_members(const struct run_tree *tree, uint64_t deadline_ns)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tree->count; i++)
        rc = await_member(&tree->members[i], deadline_ns);
    return rc;
}

/* ---- who is left ----------------------------------------------------------------------------- */

/* After a scan that found nobody: whether that proves it.  If not, what makes it none has had its
 * time.  Errors: weft_check_cancel()'s. */
static int is_proof(const struct run_tree *tree, int *restless)
{
    if (!tree->restless || (*restless)++ >= RESTLESS_MAX)
        return 1;
    if (tree->unsettled.pid)
        (void)await_member(&tree->unsettled, weft_deadline_after(UNSETTLED_NS));
    return weft_check_cancel();
}

/* Returns: how many; 0: nobody, and that is proved (or RESTLESS_MAX scans could not).
 * Errors: tree_scan()'s, weft_check_cancel()'s. */
static int find_members(struct run_tree *tree)
{
    int found, proof = 0, restless = 0;
    do
        found = run_offload(scan_main, tree);
    while (found == 0 && (proof = is_proof(tree, &restless)) == 0);
    return proof < 0 ? proof : found;
}

/* ---- SIGKILL --------------------------------------------------------------------------------- */

/* Adds to *killed.  Errors: -ETIMEDOUT, -ECANCELED (I8). */
static int kill_tree(struct run_tree *tree, uint64_t deadline_ns, size_t *killed)
{
    int rc = 0, restless = 0;
    for (int nobody = 0; nobody < 2 && rc != -ECANCELED;) {
        int found = run_offload(kill_main, tree);
        if (found == 0) {
            rc = is_proof(tree, &restless);
            nobody = rc > 0 ? nobody + 1 : 0;
            continue;
        }
        nobody = 0;
        if (weft_now_ns() >= deadline_ns)
            return -ETIMEDOUT;
        if (found < 0) {
            rc = weft_sleep(SHORTAGE_NS);
            continue;
        }
        *killed += (size_t)found;
        rc = await_members(tree, weft_deadline_after(ROUND_NS));
    }
    return rc == -ECANCELED ? rc : 0;
}

static void kill_rest(struct run_attempt *attempt)
{
    size_t killed = 0;
    int rc = kill_tree(&attempt->tree, WEFT_NO_DEADLINE, &killed);
    if (killed > 0)
        atomic_fetch_add(&attempt->runner->killed, 1);
    if (rc < 0)
        log_warning("job %" PRIu64 ": processes may be left: no time to wait for their end",
                    attempt->request->id);
    else if (attempt->tree.denied > 0)
        log_warning("job %" PRIu64 ": processes are left that changed their user",
                    attempt->request->id);
}

/* ---- SIGTERM and the grace ------------------------------------------------------------------- */

static void signal_tree(struct run_attempt *attempt, int signal)
{
    struct signalling outside = {.tree = &attempt->tree, .signal = signal};
    (void)weft_process_kill_group(attempt->process, signal);
    (void)run_offload(signal_main, &outside); /* whoever was missed meets SIGKILL */
}

/* Returns false when there is no grace to be had. */
static bool enter_grace(struct run_attempt *attempt)
{
    struct runner *runner = attempt->runner;
    uint64_t deadline_ns = weft_deadline_after(attempt->settings->kill_grace);
    pthread_mutex_lock(&runner->lock);
    bool granted = !atomic_load(&runner->hurried) && attempt->settings->kill_grace > 0;
    if (granted) {
        weft_scope_enter(&attempt->grace, deadline_ns);
        attempt->in_grace = true;
    }
    pthread_mutex_unlock(&runner->lock);
    return granted;
}

static void leave_grace(struct run_attempt *attempt)
{
    pthread_mutex_lock(&attempt->runner->lock);
    attempt->in_grace = false; /* I10 */
    weft_scope_leave(&attempt->grace);
    pthread_mutex_unlock(&attempt->runner->lock);
}

/* Wait for one after the other, until nobody is left or the grace is over. */
static void await_grace(struct run_attempt *attempt)
{
    struct run_tree *tree = &attempt->tree;
    if (!enter_grace(attempt))
        return;
    int found = (int)tree->count;
    while (found > 0) {
        if (await_member(&tree->members[0], WEFT_NO_DEADLINE) < 0)
            break;
        found = find_members(tree);
    }
    leave_grace(attempt);
}

/* ---- both ------------------------------------------------------------------------------------ */

/* A program that ended and left nobody, as most do, told by one short read. */
static bool is_alone(struct run_attempt *attempt)
{
    struct tree_pids orphans = {0};
    bool alone = has_ended(weft_descriptor_fd(attempt->ended)) &&
                 cgroup_leaf_is_empty(&attempt->tree.leaf) &&
                 tree_roots_orphans(&attempt->runner->roots, &orphans) == 0 && orphans.count == 0;
    tree_pids_destroy(&orphans);
    return alone;
}

void run_stop(struct run_attempt *attempt)
{
    struct weft_scope shield;
    run_freeze_end(attempt);
    if (is_alone(attempt))
        return;
    weft_shield_enter(&shield);
    if (find_members(&attempt->tree) != 0) {
        signal_tree(attempt, SIGTERM);
        signal_tree(attempt, SIGCONT);
        run_thaw(attempt);
        await_grace(attempt);
    }
    kill_rest(attempt);
    weft_scope_leave(&shield);
}

/* Destroys the tree.  Returns: how many. */
static int kill_shielded(struct run_tree *tree, uint64_t within_ns)
{
    struct weft_scope shield;
    size_t killed = 0;
    weft_shield_enter(&shield);
    int rc = kill_tree(tree, weft_deadline_after(within_ns), &killed);
    weft_scope_leave(&shield);
    tree_destroy(tree);
    return rc < 0 ? rc : (int)killed;
}

static int kill_leaves_main(void *arg)
{
    const struct runner *runner = arg;
    return cgroups_kill_leftovers(&runner->cgroups, LEFTOVERS_NS);
}

int runner_kill_leftovers(struct runner *runner)
{
    struct run_tree tree;
    int leaves = run_offload(kill_leaves_main, runner);
    tree_init_leftovers(&tree, runner->instance);
    int killed = kill_shielded(&tree, LEFTOVERS_NS);
    return killed < 0 ? killed : killed + leaves;
}

int runner_kill_orphans(struct runner *runner)
{
    struct run_tree tree;
    tree_init_orphans(&tree, &runner->roots);
    return kill_shielded(&tree, ORPHANS_NS);
}
