/* SPDX-License-Identifier: MIT */
/*
 * What the run files share; nobody else includes this.
 *   run.c         the runner: settings, statistics, hurry; outcomes
 *   run_env.c     the environment of a program
 *   run_pump.c    a pipe of a program into an output file
 *   run_exec.c    one attempt of a program
 *   run_stop.c    the end of its processes, and of an earlier life's
 *   run_user.c    whom a program runs as
 *   run_program.c its umask, priorities and limits
 *   run_group.c   the limits of its control group
 *   run_freeze.c  programs that stand still
 *   run_native.c  one call of a handler (in native.c's terms)
 *   run_module.c  the same in a process of its own
 */
#pragma once

#include "daemon/output.h"
#include "daemon/program.h"
#include "daemon/run.h"
#include "daemon/tree.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <weft/weft.h>

/* What a program run takes from the configuration; immutable. */
struct run_settings {
    atomic_uint references;
    char **env; /* "NAME=value" of the allow-list, NULL-terminated */
    char *cwd;
    char *socket;                   /* "WEFT_SOCKET=path" */
    struct program_options program; /* what every program gets */
    uint64_t output_max;
    bool keeps_tail;
    uint64_t kill_grace;
    uint64_t module_memory;
};

struct run_attempt;

#define RUN_SWEEP_NS (5 * WEFT_SECOND)

struct runner {
    struct output_store *outputs; /* borrowed */
    char instance[64];
    struct tree_roots roots;
    struct cgroups cgroups;        /* constant */
    pthread_mutex_t lock;          /* a leaf; never held over a suspension */
    struct run_settings *settings; /* guarded by lock; a run holds a reference of its own */
    struct run_attempt *attempts;  /* guarded by lock: the programs that run */
    atomic_bool hurried;
    atomic_uint_fast64_t programs, calls, killed; /* struct runner_stats */
    atomic_uint live;
    struct weft_process_limit limits[1]; /* of programs; constant once one runs */
    size_t limits_count;
    uint64_t sweep_ns;             /* constant: run_exec.c, I13 */
    atomic_uint_fast64_t swept_ns; /* when dead orphans were last looked for */
};

struct run_settings *run_settings_get(struct runner *runner);

/* fn(arg) on a thread of the pool; where that cannot be, here.  For clean-up: shielded. */
int run_offload(int (*fn)(void *), void *arg);

/* outcome->error = the text, of which the error before may be a part; without memory that stays. */
void run_outcome_fail(struct run_outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- run_module.c ---- */

/* Call a handler of a module that is apart.  Returns: as run_native(). */
struct native_handler;
int run_module(struct runner *runner, const struct native_handler *handler,
               const struct run_request *request, struct run_outcome *ret_outcome);

/* ---- run_env.c ---- */

/* The variables of `names` (a trailing * matches any rest) that are set in `from`, each once; one
 * block and its pointers, free with free(*ret_env).  Errors: -ENOMEM. */
int run_env_allowed(char *const *names, char *const *from, char ***ret_env);

enum { RUN_ENV_LISTS = 4 };

/* One environment from lists of "NAME=value" (NULL: none), of which an earlier one wins.  The names
 * of lists[1], the job's, are unique among themselves.  Free with free(*ret_env), the strings are
 * borrowed.  Errors: -ENOMEM. */
int run_env_merge(const char *const *const lists[RUN_ENV_LISTS], const char ***ret_env);

/* ---- run_user.c ---- */

/* Whom a program runs as. */
struct run_user {
    uid_t uid;
    gid_t gid;     /* the user's own group */
    gid_t *groups; /* all that the user is in */
    size_t groups_count;
    char *env[5]; /* HOME, LOGNAME, SHELL and USER, NULL-terminated */
};

/* By the machine's user database, which may be on the network: on a thread of the pool.
 * Errors: -ESRCH there is no such user; -ENOMEM; those of the database. */
int run_user_find(uid_t uid, struct run_user *ret_user);
void run_user_destroy(struct run_user *user); /* all zeroes is fine */

/* ---- run_program.c ---- */

/* What the spawn's options point to. */
struct run_program {
    struct weft_process_limit given[RLIM_NLIMITS], asked[RLIM_NLIMITS];
    const struct weft_process_limit *failed; /* set by a spawn that fails at one */
};

/* Umask, priorities, limits and input of an attempt into `options`, which points into *program
 * afterwards.  other_user: it runs as somebody else than weftd. */
void run_program_apply(struct run_program *program, const struct run_attempt *attempt,
                       bool other_user, struct weft_process_options *options);

/* If the spawn failed at one of these, outcome->error says at which and why.  Returns whether. */
bool run_program_explain(const struct run_program *program, const struct run_attempt *attempt,
                         enum weft_process_fault fault, int rc, struct run_outcome *outcome);

/* ---- run_group.c ---- */

/* The limits of the attempt's leaf, before somebody is in it.  other_user: it runs as somebody else
 * than weftd.
 * Errors: one that the job asks for cannot be set; outcome->error says which, why and what helps. */
int run_group_apply(struct run_attempt *attempt, bool other_user, struct run_outcome *outcome);

/* After the root's end, if it was no success: outcome->error says so where memory was what was
 * lacking. */
void run_group_explain(const struct run_attempt *attempt, struct run_outcome *outcome);

/* Warn of what [exec] gives that cannot be held. */
void run_group_check(const struct runner *runner, const struct program_options *given);

/* ---- run_freeze.c ---- */

/* Freeze or thaw one that runs, if that is wanted.  Under runner->lock. */
void run_freeze_locked(struct run_attempt *attempt);

/* It is being ended: it is frozen no more, and stands still until run_thaw() at most. */
void run_freeze_end(struct run_attempt *attempt);
void run_thaw(struct run_attempt *attempt);

/* ---- run_pump.c ---- */

/**
 * Reads one pipe to its end on a fiber of its own and appends to a file.  A cancel of its group
 * does not reach it: what a program wrote before it was stopped is kept.
 */
struct run_pump {
    struct weft_stream *stream;
    struct output *output;
    struct output_summary summary; /* once joined */
    pthread_mutex_t lock;
    struct weft_scope scope;
    bool open;             /* scope is entered; guarded by lock */
    bool aborted;          /* guarded by lock */
    struct weft_event end; /* it reads no more */
};

/* Makes the pipe; *ret_fd is the end for the program, the caller's to close. */
int run_pump_init(struct run_pump *pump, int *ret_fd);
int run_pump_main(void *pump);                /* the fiber; needs pump->output */
void run_pump_abort(struct run_pump *pump);   /* read what is there, no more.  Any fiber */
void run_pump_destroy(struct run_pump *pump); /* no fiber may be in it */

/* ---- run_stop.c ---- */

/* A program that runs. */
struct run_attempt {
    struct runner *runner;
    struct run_settings *settings;
    const struct run_request *request;
    struct weft_process *process;
    struct tree_root root;
    struct weft_descriptor *ended; /* a pidfd of the root: readable when it has ended, which
                                    * reaps nothing, so that its numbers stay its own */
    struct run_tree tree;
    uint64_t memory_max;              /* that its leaf was given; 0: none */
    struct run_attempt *next, **link; /* guarded by runner->lock */
    struct weft_scope grace;
    bool in_grace; /* grace is entered; guarded by runner->lock */
    bool frozen;   /* its leaf is; guarded by runner->lock */
    bool ending;   /* run_stop() has begun; guarded by runner->lock */
};

/* End whatever is left of the tree: SIGTERM, the grace, SIGKILL; returns when a scan finds nobody,
 * or when the runtime's stop breaks shields.  The root is left to be reaped.  Shielded. */
void run_stop(struct run_attempt *attempt);

/* Wait until the process behind a pidfd has ended.  Errors: weft_descriptor_wait_readable's. */
int run_await_end(struct weft_descriptor *pidfd, uint64_t deadline_ns);
