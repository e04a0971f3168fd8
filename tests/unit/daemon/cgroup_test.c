/* SPDX-License-Identifier: MIT */
/* Control groups: leaves of attempts, and what no other way of looking finds. */
#include "run_support.h"

#include <fcntl.h>
#include <stdlib.h>

static char base[256]; /* a group of this test's alone; "": there is none to be had */

static void find_base(void)
{
    static const char *const mounts[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0] && !base[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/cgroup.procs", mounts[i]);
        if (access(path, W_OK) < 0)
            continue;
        snprintf(base, sizeof base, "%s/weft-test-%d", mounts[i], (int)getpid());
        if (mkdir(base, 0755) < 0)
            base[0] = '\0';
    }
}

static bool open_base(struct cgroups *ret_cgroups)
{
    find_base();
    if (!base[0]) {
        fputs("no group of version 2 may be made here: not tested\n", stderr);
        return false;
    }
    cgroups_open_fd(open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret_cgroups);
    cr_assert_geq(ret_cgroups->fd, 0);
    return true;
}

static void remove_base(void)
{
    cr_assert_eq(rmdir(base), 0, "%s is not empty: %s", base, strerror(errno));
}

static bool is_there(const char *leaf)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", base, leaf);
    return access(path, F_OK) == 0;
}

/* ---- leaves ---------------------------------------------------------------------------------- */

static pid_t start_sleeper(const struct cgroup_leaf *leaf)
{
    pid_t pid = fork();
    if (pid == 0) {
        int fd = openat(leaf->fd, "cgroup.procs", O_WRONLY);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    cr_assert_gt(pid, 0);
    while (!cgroup_leaf_has(leaf, pid))
        cr_assert_eq(kill(pid, 0), 0);
    return pid;
}

static void expect_killed(pid_t pid)
{
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

Test(cgroup, a_leaf_knows_who_is_in_it_and_kills_them)
{
    struct cgroups cgroups;
    struct cgroup_leaf leaf, other;
    struct tree_pids pids = {0};
    if (!open_base(&cgroups))
        return;
    cgroup_leaf_make(&cgroups, 7, 2, &leaf);
    cgroup_leaf_make(&cgroups, 7, 22, &other);
    cr_assert(is_there("job-7-2"));
    cr_assert(cgroup_leaf_is_empty(&leaf));
    pid_t pid = start_sleeper(&leaf);
    cr_assert_not(cgroup_leaf_is_empty(&leaf));
    cr_assert_not(cgroup_leaf_has(&other, pid));
    cr_assert_not(cgroup_leaf_has(&leaf, getpid()));
    cr_assert_eq(cgroup_leaf_pids(&leaf, &pids), 0);
    cr_assert_eq(pids.count, 1);
    cr_assert_eq(pids.pids[0], pid);
    tree_pids_destroy(&pids);
    cgroup_leaf_kill(&leaf);
    expect_killed(pid);
    cgroup_leaf_remove(&cgroups, &leaf);
    cgroup_leaf_remove(&cgroups, &other);
    cr_assert_not(is_there("job-7-2"));
    cgroups_close(&cgroups);
    remove_base();
}

Test(cgroup, leaves_of_an_earlier_life_are_killed_and_removed)
{
    struct cgroups cgroups;
    struct cgroup_leaf leaf, empty;
    if (!open_base(&cgroups))
        return;
    cgroup_leaf_make(&cgroups, 1, 1, &leaf);
    cgroup_leaf_make(&cgroups, 2, 1, &empty);
    pid_t pid = start_sleeper(&leaf);
    close(leaf.fd); /* that life is over */
    close(empty.fd);
    cr_assert_eq(cgroups_kill_leftovers(&cgroups, 60 * WEFT_SECOND), 1);
    expect_killed(pid);
    cr_assert_not(is_there("job-1-1"));
    cr_assert_not(is_there("job-2-1"));
    cr_assert_eq(cgroups_kill_leftovers(&cgroups, 60 * WEFT_SECOND), 0);
    cgroups_close(&cgroups);
    remove_base();
}

Test(cgroup, without_groups_a_leaf_is_none)
{
    struct cgroups cgroups = {.fd = -1};
    struct cgroup_leaf leaf;
    struct tree_pids pids = {0};
    cgroup_leaf_make(&cgroups, 1, 1, &leaf);
    cr_assert_eq(leaf.fd, -1);
    cr_assert(cgroup_leaf_is_empty(&leaf));
    cr_assert_eq(cgroup_leaf_pids(&leaf, &pids), 0);
    cr_assert_eq(pids.count, 0);
    cgroup_leaf_kill(&leaf);
    cgroup_leaf_remove(&cgroups, &leaf);
    cr_assert_eq(cgroups_kill_leftovers(&cgroups, 0), 0);
}

/* ---- attempts -------------------------------------------------------------------------------- */

/* Left its session, lost its parent, wiped its environment. */
static int run_escape(struct world *world)
{
    struct trial trial = {
        .world = world,
        .id = 5,
        .script =
            "(env -i setsid sh -c 'echo $$ >$0.new; mv $0.new $0; exec sleep 1000' $DIR/pid &)\n"
            "until [ -e $DIR/pid ]; do sleep 0.01; done; sed -n 's/^0::.*\\///p' "
            "/proc/self/cgroup"};
    EXPECT(open_base(&world->runner->cgroups));
    run_trial(&trial);
    EXPECT_EQ(trial.rc, 0);
    EXPECT_EQ(trial.outcome.exit_code, 0);
    expect_gone(number_in(world, "pid"));
    expect_output(&trial, OUTPUT_STDOUT, "job-5-1\n");
    EXPECT(!is_there("job-5-1"));
    run_outcome_destroy(&trial.outcome);
    EXPECT_EQ(rmdir(base), 0);
    return 0;
}

Test(cgroup, nobody_of_an_attempt_escapes)
{
    find_base();
    if (!base[0])
        return;
    cr_assert_eq(rmdir(base), 0);
    base[0] = '\0';
    in_world(2, "", run_escape);
}

/* As root it may make groups of its own. */
static int run_with_groups(struct world *world)
{
    char variable[320];
    EXPECT(open_base(&world->runner->cgroups));
    snprintf(variable, sizeof variable, "BASE=%s", base);
    struct trial trial = {
        .world = world,
        .id = 6,
        .variable = variable,
        .script = "inner=$BASE/job-6-1/a/b; mkdir -p $inner\n"
                  "(env -i setsid sh -c 'echo $$ >$1/cgroup.procs; echo $$ >$0.new; mv $0.new $0; "
                  "exec sleep 1000' $DIR/pid $inner &)\n"
                  "until [ -e $DIR/pid ]; do sleep 0.01; done"};
    run_trial(&trial);
    EXPECT_EQ(trial.rc, 0);
    EXPECT_EQ(trial.outcome.exit_code, 0);
    expect_gone(number_in(world, "pid"));
    EXPECT(!is_there("job-6-1"));
    run_outcome_destroy(&trial.outcome);
    EXPECT_EQ(rmdir(base), 0);
    return 0;
}

Test(cgroup, groups_that_a_program_made_go_with_it)
{
    find_base();
    if (!base[0])
        return;
    cr_assert_eq(rmdir(base), 0);
    base[0] = '\0';
    in_world(2, "", run_with_groups);
}
