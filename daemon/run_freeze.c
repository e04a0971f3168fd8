/* SPDX-License-Identifier: MIT */
/*
 * run_freeze: programs that stand still.
 *
 * That one is to is a wish, which the caller of run_exec() makes and takes back at any time; whoever
 * walks over the programs, or starts one, brings its leaf to what is wished.
 *
 * I21 The wish is changed before runner_freeze() takes runner->lock, and read under it: either the
 *     walk meets the program, or the program, which is linked later, meets the wish.
 * I22 cgroup.freeze is written under runner->lock alone, and not before the spawn has returned: that
 *     waits for the child's execve, to which a frozen child never comes.
 * I23 Who is being ended is frozen no more.  It is thawed behind its SIGTERM, which is the first thing
 *     that it sees then, and has its grace.  SIGKILL, by signal or group, reaches it in any case.
 *
 * The lock is held over a write of a few microseconds for each program that changes.
 */
#include "daemon/run_impl.h"

#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* I22 */
static void write_locked(struct run_attempt *attempt, bool frozen)
{
    int rc = cgroup_leaf_freeze(&attempt->tree.leaf, frozen);
    if (rc == 0)
        attempt->frozen = frozen;
    else if (rc != -ENOTSUP) /* then it has none, which whoever wished is told */
        log_warning("job %" PRIu64 " cannot be %s: %s", attempt->request->id,
                    frozen ? "frozen" : "thawed", strerrordesc_np(-rc));
}

void run_freeze_locked(struct run_attempt *attempt)
{
    struct run_freeze *freeze = attempt->request->freeze;
    if (!freeze || attempt->ending || atomic_load(&freeze->wanted) == attempt->frozen)
        return;
    write_locked(attempt, !attempt->frozen);
    atomic_store(&freeze->done, attempt->frozen);
}

void runner_freeze(struct runner *runner)
{
    pthread_mutex_lock(&runner->lock); /* I21 */
    for (struct run_attempt *attempt = runner->attempts; attempt; attempt = attempt->next)
        run_freeze_locked(attempt);
    pthread_mutex_unlock(&runner->lock);
}

/* I23 */
void run_freeze_end(struct run_attempt *attempt)
{
    struct run_freeze *freeze = attempt->request->freeze;
    pthread_mutex_lock(&attempt->runner->lock);
    attempt->ending = true;
    if (freeze)
        atomic_store(&freeze->done, false);
    pthread_mutex_unlock(&attempt->runner->lock);
}

void run_thaw(struct run_attempt *attempt)
{
    pthread_mutex_lock(&attempt->runner->lock);
    if (attempt->frozen)
        write_locked(attempt, false);
    pthread_mutex_unlock(&attempt->runner->lock);
}
