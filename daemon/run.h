/* SPDX-License-Identifier: MIT */
/*
 * run: one attempt of one job, from start to nothing left of it.
 *
 * The engine calls run_exec() or run_native() on the job's own fiber, inside a scope that carries
 * the timeout and through which cancel and shutdown arrive.  A runner knows nothing of states,
 * retries or the store: it reports what happened, the engine decides what that means.
 *
 * I1  When run_exec() returns, by whatever way, no process of the attempt is left that the runner
 *     can find, and no fiber or descriptor of it: clean-up is shielded and comes before the return.
 * I2  Stopping a program: SIGTERM to its process group and every found descendant, kill_grace,
 *     then SIGKILL to the whole tree, rescanned until a scan finds nobody.  What a root that ended
 *     by itself left behind is ended the same way.
 * I3  The tree of an attempt = descendants of its root by parent, and children of weftd (it is a
 *     subreaper, orphans come to it) that are in the root's session or whose initial environment
 *     names this instance, job and attempt, and *their* descendants.  So setsid and double forks
 *     are found; an orphan that left the session and also wiped its environment is not, until a
 *     cgroup leaf per job closes that (the hook is struct run_tree, private to tree.c).
 * I4  Processes are signalled by pidfd, opened and then checked again (start time), or by a group
 *     that a member is held in, never by a pid that may have been recycled.
 * I5  Orphans are reaped (waitid on their pid) after each run, at each stop and every few seconds
 *     while programs run, never a root: a root's status belongs to its struct weft_process.  Roots
 *     are registered before they can be seen.
 * When the root ends by itself the attempt has ended, as a systemd service does: descendants that
 * live on are ended (I1: a job is its tree), and the output pipes are read to their end, for a
 * second at most where a process outside the tree holds one.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct config;
struct job_spec;
struct output_store;
struct problem;
struct runner;

#define RUN_PROGRESS_TEXT 208 /* bytes, with the NUL */

/* How far a call is, as its handler says. */
struct run_progress {
    double fraction; /* 0 to 1; negative: not known */
    char text[RUN_PROGRESS_TEXT];
};

/* Whether a program is to stand still, and does; run_freeze.c.  Neither orders anything else: what
 * was wished is met through the runner's lock (I21 there), and whoever shows `done` shows a moment. */
struct run_freeze {
    atomic_bool wanted; /* written by the caller, who then calls runner_freeze(); read there */
    atomic_bool done;   /* written by the runner, under its lock; read by whoever shows it */
};

/* What to run.  Everything is borrowed for the call. */
struct run_request {
    const struct job_spec *spec;
    uint64_t id;
    uint32_t attempt;
    uid_t uid; /* the submitter, as whom a program runs if weftd is root */
    gid_t gid;
    int reply_fd;  /* what a program has as its descriptor 3; 0: nothing */
    int signal_fd; /* and as its descriptor 4 */
    /* A handler has said how far it is.  Any thread, until the call returns; never suspends.  NULL:
     * nobody wants to know. */
    void (*report)(void *report_arg, const struct run_progress *said);
    void *report_arg;
    struct run_freeze *freeze; /* NULL: nobody will want it */
};

/* What happened.  The strings are malloc'ed, NULL if unset; run_outcome_destroy() frees them. */
struct run_outcome {
    int exit_code;   /* of a program that exited, else JOB_NO_EXIT (-1) */
    int term_signal; /* that ended it, else JOB_NO_EXIT (-1) */
    char *result;    /* JSON text of a call's result */
    char *error;     /* why it did not succeed: "exit status 3", "program not found: foo", … */
    bool crashed;    /* the process of a call ended in it */
    bool refused;    /* a handler's failure that another attempt cannot mend */
    uint64_t output_dropped; /* bytes of output over the cap, or lost to an error of the file */
};

void run_outcome_init(struct run_outcome *outcome);
void run_outcome_destroy(struct run_outcome *outcome);

/**
 * Make the process a subreaper and prepare the folders.  instance: 32 hex digits of the store.
 * Context: main fiber, once per process.   Errors: of the output folder, with problem.
 */
int runner_new(const struct config *config, struct output_store *outputs, const char *instance,
               struct problem *problem, struct runner **ret_runner);
/* What programs get as their limit on descriptors; else weftd's own, which may have been raised.
 * Before the first run. */
void runner_limit_descriptors(struct runner *runner, const struct rlimit *limit);

void runner_free(struct runner *runner); /* no run may be under way */

/* Kill what an earlier life of this state folder left running (WEFT_INSTANCE in its environment
 * and not our descendant), and wait until it is gone.  Before recovery requeues anything.  Returns
 * the number killed.  Errors: -ETIMEDOUT somebody did not die (uninterruptible). */
int runner_kill_leftovers(struct runner *runner);

/* Kill who hid from the end of its own job so well that only its being our child is left of it
 * (tree.c).  When the last run has ended, before weftd does.  Returns and errors: the same. */
int runner_kill_orphans(struct runner *runner);

/**
 * Run a program; as root, as its submitter (run_user.c).  Environment: the allow-list of exec.env,
 * then HOME, LOGNAME, SHELL and USER of that submitter, then the job's env, then WEFT_JOB_ID,
 * WEFT_ATTEMPT, WEFT_INSTANCE, WEFT_SOCKET (these last win).  stdin from a memfd, or /dev/null.
 * Returns: 0       it ended by itself; success is exit_code == 0, outcome says which.
 * Errors:  -ECANCELED, -ETIMEDOUT: the scope stopped it, and the tree is gone (outcome may carry
 *          how the root ended); any other: it never started, outcome.error says why (program not
 *          found, cwd missing, …) and the attempt failed.
 * ret_outcome is initialised by the caller and filled on every way.
 */
int run_exec(struct runner *runner, const struct run_request *request,
             struct run_outcome *ret_outcome);

/* Call a native handler on this fiber.  Same returns; success is 0 with outcome.result set; a
 * handler's own failure is its -errno with outcome.error. */
int run_native(struct runner *runner, const struct run_request *request,
               struct run_outcome *ret_outcome);

/* From now on no stop waits for its grace; stops under way go on to SIGKILL at once.  Any fiber. */
void runner_hurry(struct runner *runner);

/* Freeze and thaw programs as their run_freeze says, by their control groups: without one, and within
 * weftd, a run goes on.  Does not suspend: a write for each that changes.  Any thread. */
void runner_freeze(struct runner *runner);

/* New exec settings, for runs that start from now on: made first, as only that can fail (-ENOMEM), and
 * then taken over; or put away by run_settings_put().  Any fiber. */
struct run_settings;
int run_settings_new(const struct config *config, struct run_settings **ret_settings);
void run_settings_put(struct run_settings *settings);
void runner_apply_settings(struct runner *runner, struct run_settings *settings);

struct runner_stats {
    uint64_t programs; /* started, in total */
    uint64_t calls;
    uint64_t killed;  /* stops that needed SIGKILL */
    uint64_t orphans; /* reaped */
    uint32_t live;    /* roots now */
};
void runner_stats(struct runner *runner, struct runner_stats *ret_stats);
