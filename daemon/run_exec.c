/* SPDX-License-Identifier: MIT */
/*
 * run_exec: one attempt of a program.
 *
 * The program is started in a session of its own, with two pipes that two fibers read.  The run
 * waits for the root's end on a pidfd of its own, which reaps nothing.  As with systemd's services
 * the attempt ends when its root ends: what is left of the tree is ended (run_stop.c), then the
 * pipes are read to their end, which a process outside the tree that holds one can put off by
 * DRAIN_NS at most, and last the root is reaped.
 *
 * I11 A root is registered under the lock under which it is spawned, and stays so until it is
 *     reaped: nobody else reaps it (tree_roots.c).  The lock is not held over a suspension: a spawn
 *     as another user registers its child, and then waits for it.
 * I12 From the spawn on, every way out goes through finish().
 * I13 Long-lived roots may leave dead orphans behind: while programs run, one of them looks for
 *     such every sweep_ns.
 * I14 A cancel does not reach a spawn, so that what it returns is known: no program that could have
 *     begun is given up.  A user can hold up only the start of a child of their own, by a signal:
 *     it is given up and killed after START_NS, and it has no children yet.
 * I15 As root, weftd starts a program as its submitter or not at all.
 */
#include "daemon/run_impl.h"

#include "daemon/failpoint.h"
#include "daemon/job.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define DRAIN_NS WEFT_SECOND
#define START_NS (10 * WEFT_SECOND)

struct exec {
    struct run_attempt attempt;
    struct run_outcome *outcome;
    struct run_pump pumps[OUTPUT_STREAM_COUNT];
    size_t pumps_count; /* made */
    int fds[3];         /* the program's, -1: /dev/null, or handed over */
    struct run_program program;
    struct weft_group group;
};

/* ---- what the program reads and writes ------------------------------------------------------- */

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* A file in memory, opened again so that the program can only read it, from its beginning.  Not
 * inlined, as all here that reads errno: its address must not be kept across a suspension. */
static __attribute__((noinline)) int open_input(const char *data, size_t size)
{
    char path[32];
    int memory = memfd_create("weft-stdin", MFD_CLOEXEC);
    if (memory < 0)
        return -errno;
    int rc = write_all(memory, data, size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
    int fd = rc < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (rc == 0 && fd < 0)
        rc = -errno;
    close(memory);
    return rc < 0 ? rc : fd;
}

static void close_fds(struct exec *exec)
{
    for (int i = 0; i < 3; i++) {
        if (exec->fds[i] >= 0)
            close(exec->fds[i]);
        exec->fds[i] = -1;
    }
}

static enum output_keep keep_of(const struct run_attempt *attempt)
{
    enum job_keep keep = attempt->request->spec->output_keep;
    bool tail = keep == JOB_KEEP_DEFAULT ? attempt->settings->keeps_tail : keep == JOB_KEEP_TAIL;
    return tail ? OUTPUT_KEEP_TAIL : OUTPUT_KEEP_HEAD;
}

static int open_stream(struct exec *exec, enum output_stream stream)
{
    const struct run_request *request = exec->attempt.request;
    struct run_pump *pump = &exec->pumps[stream];
    const struct output_limit limit = {exec->attempt.settings->output_max, keep_of(&exec->attempt)};
    int rc = run_pump_init(pump, &exec->fds[1 + stream]);
    if (rc < 0)
        return rc;
    rc = output_open(exec->attempt.runner->outputs, request->id, request->attempt, stream, &limit,
                     &pump->output);
    if (rc < 0) {
        run_pump_destroy(pump);
        return rc;
    }
    exec->pumps_count++;
    return 0;
}

static int open_streams(struct exec *exec)
{
    const struct job_spec *spec = exec->attempt.request->spec;
    if (spec->stdin_data) {
        int fd = open_input(spec->stdin_data, spec->stdin_size);
        if (fd < 0)
            return fd;
        exec->fds[0] = fd;
    }
    int rc = open_stream(exec, OUTPUT_STDOUT);
    return rc < 0 ? rc : open_stream(exec, OUTPUT_STDERR);
}

static int start_pumps(struct exec *exec)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < exec->pumps_count; i++)
        rc = weft_group_spawn(&exec->group, "output", run_pump_main, &exec->pumps[i]);
    return rc;
}

/* Read what is left, for a bounded time. */
static void drain(struct exec *exec)
{
    uint64_t deadline_ns = weft_deadline_after(DRAIN_NS);
    for (size_t i = 0; i < exec->pumps_count; i++)
        if (weft_event_wait(&exec->pumps[i].end, deadline_ns) < 0)
            run_pump_abort(&exec->pumps[i]);
}

static void close_streams(struct exec *exec)
{
    for (size_t i = 0; i < exec->pumps_count; i++) {
        struct run_pump *pump = &exec->pumps[i];
        output_close(pump->output, &pump->summary);
        run_pump_destroy(pump);
        exec->outcome->output_dropped += pump->summary.dropped;
        if (pump->summary.err < 0 && pump->summary.dropped > 0)
            log_warning("job %" PRIu64 ": output is lost: %s", exec->attempt.request->id,
                        strerror(-pump->summary.err));
    }
}

/* ---- the start ------------------------------------------------------------------------------- */

static const char *working_folder(const struct run_attempt *attempt)
{
    const char *cwd = attempt->request->spec->cwd;
    return cwd ? cwd : attempt->settings->cwd;
}

/* Says what failed; returns rc. */
static int cannot_start(struct exec *exec, enum weft_process_fault fault, int rc)
{
    const struct run_request *request = exec->attempt.request;
    const char *program = request->spec->argv[0];
    if (rc == -ECANCELED || rc == -ETIMEDOUT)
        return rc;
    if (run_program_explain(&exec->program, &exec->attempt, fault, rc, exec->outcome))
        return rc;
    if (rc == -ETIME)
        run_outcome_fail(exec->outcome, "cannot start %s: somebody held its process up", program);
    else if (fault == WEFT_PROCESS_FAULT_CWD)
        run_outcome_fail(exec->outcome, "cannot enter the working directory %s: %s",
                         working_folder(&exec->attempt), strerror(-rc));
    else if (fault == WEFT_PROCESS_FAULT_USER)
        run_outcome_fail(exec->outcome, "cannot become user %u: %s", (unsigned)request->uid,
                         strerror(-rc));
    else if (fault == WEFT_PROCESS_FAULT_PROGRAM && rc == -ENOENT)
        run_outcome_fail(exec->outcome, "program not found: %s", program);
    else
        run_outcome_fail(exec->outcome, "cannot start %s: %s", program, strerror(-rc));
    return rc;
}

static void tell_programs(struct runner *runner, int live)
{
    if (live > 0)
        atomic_fetch_add(&runner->programs, 1);
    atomic_fetch_add(&runner->live, (unsigned)live);
}

static void link_attempt(struct run_attempt *attempt)
{
    struct runner *runner = attempt->runner;
    pthread_mutex_lock(&runner->lock);
    attempt->next = runner->attempts;
    attempt->link = &runner->attempts;
    if (attempt->next)
        attempt->next->link = &attempt->next;
    runner->attempts = attempt;
    run_freeze_locked(attempt);
    pthread_mutex_unlock(&runner->lock);
    tell_programs(runner, 1);
}

static void unlink_attempt(struct run_attempt *attempt)
{
    struct runner *runner = attempt->runner;
    pthread_mutex_lock(&runner->lock);
    *attempt->link = attempt->next;
    if (attempt->next)
        attempt->next->link = attempt->link;
    pthread_mutex_unlock(&runner->lock);
    tell_programs(runner, -1);
}

/* Called inside of the spawn. */
static void register_root(pid_t pid, void *arg)
{
    struct run_attempt *attempt = arg;
    attempt->root.pid = pid;
    tree_roots_end(&attempt->runner->roots, &attempt->root);
    failpoint(FAILPOINT_SPAWNED);
}

/* I14 */
static int spawn_bounded(struct run_attempt *attempt, const struct weft_process_options *options)
{
    struct weft_scope shield, bound;
    weft_shield_enter(&shield);
    weft_scope_enter(&bound, weft_deadline_after(START_NS));
    int rc = weft_process_spawn(options, &attempt->process);
    weft_scope_leave(&bound);
    weft_scope_leave(&shield);
    return rc == -ETIMEDOUT ? -ETIME : rc; /* not the attempt's own time */
}

/* I11 */
static int spawn(struct run_attempt *attempt, struct weft_process_options *options)
{
    struct tree_roots *roots = &attempt->runner->roots;
    options->on_start = register_root;
    options->on_start_arg = attempt;
    attempt->root.pid = 0;
    int rc = weft_check_cancel();
    if (rc < 0)
        return rc;
    tree_roots_begin(roots);
    rc = spawn_bounded(attempt, options);
    if (attempt->root.pid == 0)
        tree_roots_end(roots, &attempt->root); /* there was no child */
    else if (rc < 0)
        tree_roots_remove(roots, &attempt->root);
    attempt->tree.root = rc < 0 ? 0 : attempt->root.pid;
    return rc;
}

/* Errors: -EMFILE and the like. */
static __attribute__((noinline)) int watch_end(struct run_attempt *attempt)
{
    int fd = pidfd_open(attempt->root.pid, 0);
    if (fd < 0)
        return -errno;
    int rc = weft_descriptor_new(fd, &attempt->ended);
    if (rc < 0)
        close(fd);
    return rc;
}

static void reap(struct run_attempt *attempt, struct run_outcome *outcome)
{
    struct weft_process_status status;
    struct weft_scope shield;
    failpoint(FAILPOINT_REAP);
    weft_shield_enter(&shield);
    int rc = weft_process_wait(attempt->process, WEFT_NO_DEADLINE, &status);
    weft_scope_leave(&shield);
    failpoint(FAILPOINT_REAPED);
    tree_roots_remove(&attempt->runner->roots, &attempt->root);
    weft_process_free(attempt->process);
    if (rc < 0)
        return;
    if (status.signal) {
        outcome->term_signal = status.signal;
        const char *name = sigabbrev_np(status.signal);
        run_outcome_fail(outcome, "killed by signal %d (SIG%s)", status.signal, name ? name : "?");
        return;
    }
    outcome->exit_code = status.exit_code;
    if (status.exit_code)
        run_outcome_fail(outcome, "exit status %d", status.exit_code);
}

/* One that cannot be watched is not left to run. */
static void discard(struct run_attempt *attempt)
{
    struct run_outcome unseen;
    run_outcome_init(&unseen);
    (void)weft_process_kill_group(attempt->process, SIGKILL);
    reap(attempt, &unseen);
    run_outcome_destroy(&unseen);
}

static int spawn_as(struct exec *exec, const struct run_user *user, const char *const *env,
                    enum weft_process_fault *ret_fault)
{
    struct run_attempt *attempt = &exec->attempt;
    struct weft_process_options options;
    const struct weft_process_fd fds[] = {{.child = 3, .parent = attempt->request->reply_fd},
                                          {.child = 4, .parent = attempt->request->signal_fd}};
    weft_process_options_init(&options);
    options.argv = (const char *const *)attempt->request->spec->argv;
    options.envp = env;
    options.cwd = working_folder(attempt);
    options.stdin_fd = exec->fds[0];
    options.stdout_fd = exec->fds[1];
    options.stderr_fd = exec->fds[2];
    options.new_session = true;
    options.cgroup_fd = attempt->tree.leaf.fd;
    options.fds = fds;
    options.fds_count = fds[1].parent > 0 ? 2 : fds[0].parent > 0 ? 1 : 0;
    options.ret_fault = ret_fault;
    run_program_apply(&exec->program, attempt, user != NULL, &options);
    if (user) {
        options.uid = user->uid;
        options.gid = user->gid;
        options.groups = user->groups;
        options.groups_count = user->groups_count;
    }
    return spawn(attempt, &options);
}

/* user NULL: as weftd itself. */
static int start_as(struct exec *exec, const struct run_user *user)
{
    struct run_attempt *attempt = &exec->attempt;
    const struct run_tree *tree = &attempt->tree;
    const struct run_settings *settings = attempt->settings;
    const char *own[] = {tree->marks[0], tree->marks[1], tree->marks[2], settings->socket, NULL};
    const char *const *lists[RUN_ENV_LISTS] = {
        own, (const char *const *)attempt->request->spec->env,
        user ? (const char *const *)user->env : NULL, (const char *const *)settings->env};
    enum weft_process_fault fault = WEFT_PROCESS_FAULT_OTHER;
    const char **env;
    int rc = run_group_apply(attempt, user != NULL, exec->outcome);
    if (rc < 0)
        return rc;
    rc = run_env_merge(lists, &env);
    if (rc < 0)
        return cannot_start(exec, fault, rc);
    rc = spawn_as(exec, user, env, &fault);
    free(env);
    return rc < 0 ? cannot_start(exec, fault, rc) : 0;
}

/* I15 */
static int start_as_submitter(struct exec *exec)
{
    const struct run_request *request = exec->attempt.request;
    struct run_user user = {0};
    if (geteuid() != 0 || request->uid == 0)
        return start_as(exec, NULL);
    int rc = run_user_find(request->uid, &user);
    if (rc == -ESRCH)
        run_outcome_fail(exec->outcome, "its submitter is unknown here: there is no user %u",
                         (unsigned)request->uid);
    else if (rc < 0)
        run_outcome_fail(exec->outcome, "cannot look up its submitter, user %u: %s",
                         (unsigned)request->uid, strerror(-rc));
    else
        rc = start_as(exec, &user);
    run_user_destroy(&user);
    return rc;
}

static int start(struct exec *exec)
{
    struct run_attempt *attempt = &exec->attempt;
    int rc = start_as_submitter(exec);
    if (rc < 0)
        return rc;
    rc = watch_end(attempt);
    if (rc < 0) {
        discard(attempt);
        return cannot_start(exec, WEFT_PROCESS_FAULT_OTHER, rc);
    }
    link_attempt(attempt);
    return 0;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* I13: whoever comes first in each period. */
static void sweep(struct runner *runner)
{
    uint_fast64_t last_ns = atomic_load(&runner->swept_ns);
    uint64_t now_ns = weft_now_ns();
    if (now_ns - last_ns < runner->sweep_ns / 2 ||
        !atomic_compare_exchange_strong(&runner->swept_ns, &last_ns, now_ns))
        return;
    tree_roots_reap(&runner->roots);
}

/* Returns 0: the root has ended; that a cancel came too then does not count. */
static int await_root(struct run_attempt *attempt)
{
    for (;;) {
        int rc = run_await_end(attempt->ended, weft_deadline_after(attempt->runner->sweep_ns));
        if (rc == 0)
            return 0;
        int cause = weft_check_cancel();
        if (cause < 0)
            return cause;
        if (rc != -ETIMEDOUT)
            return rc;
        sweep(attempt->runner);
    }
}

/* I12 */
static void finish(struct exec *exec)
{
    struct weft_scope shield;
    weft_shield_enter(&shield);
    run_stop(&exec->attempt);
    drain(exec);
    reap(&exec->attempt, exec->outcome);
    run_group_explain(&exec->attempt, exec->outcome);
    weft_descriptor_free(exec->attempt.ended);
    unlink_attempt(&exec->attempt);
    weft_scope_leave(&shield);
}

/* With the streams open. */
static int run(struct exec *exec)
{
    weft_group_init(&exec->group);
    int rc = start_pumps(exec);
    if (rc == 0)
        rc = start(exec);
    else
        cannot_start(exec, WEFT_PROCESS_FAULT_OTHER, rc);
    close_fds(exec); /* so that the pumps see the end */
    if (rc == 0) {
        rc = await_root(&exec->attempt);
        if (rc == 0)
            failpoint(FAILPOINT_EXITED);
        finish(exec);
    }
    (void)weft_group_join(&exec->group); /* pumps never fail, and a cancel came to us already */
    return rc;
}

int run_exec(struct runner *runner, const struct run_request *request,
             struct run_outcome *ret_outcome)
{
    struct exec exec = {.outcome = ret_outcome, .fds = {-1, -1, -1}};
    struct run_attempt *attempt = &exec.attempt;
    attempt->runner = runner;
    attempt->request = request;
    attempt->settings = run_settings_get(runner);
    tree_init(&attempt->tree, &runner->roots, 0, runner->instance, request->id, request->attempt);
    int rc = open_streams(&exec);
    cgroup_leaf_make(&runner->cgroups, request->id, request->attempt, &attempt->tree.leaf);
    if (rc == 0)
        rc = run(&exec);
    else
        cannot_start(&exec, WEFT_PROCESS_FAULT_OTHER, rc);
    close_fds(&exec);
    close_streams(&exec);
    cgroup_leaf_remove(&runner->cgroups, &attempt->tree.leaf);
    tree_destroy(&attempt->tree);
    run_settings_put(attempt->settings);
    return rc;
}
