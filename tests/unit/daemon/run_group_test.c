/* SPDX-License-Identifier: MIT */
/* Limits of an attempt's control group.  Folders with plain files stand for groups whose controllers
 * this machine may not have; what is not there is refused for real, and what is, tried. */
#include "run_support.h"

#include <fcntl.h>

/* ---- a group of plain files ------------------------------------------------------------------ */

struct stage {
    char folder[64];
    struct runner runner;
    struct run_settings settings;
    struct program_options asked;
    struct job_spec spec;
    struct run_request request;
    struct run_attempt attempt;
    struct run_outcome outcome;
};

static const char *in_stage(const struct stage *stage, const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", stage->folder, name);
    return path;
}

static void write_file(const struct stage *stage, const char *name, const char *text)
{
    FILE *file = fopen(in_stage(stage, name), "we");
    cr_assert(file != NULL && fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
}

static void expect_file(const struct stage *stage, const char *name, const char *text)
{
    char got[128] = "";
    FILE *file = fopen(in_stage(stage, name), "re");
    cr_assert_not_null(file);
    got[fread(got, 1, sizeof got - 1, file)] = '\0';
    fclose(file);
    cr_assert_str_eq(got, text, "%s: %s", name, got);
}

static const char *const leaf_files[] = {"memory.max", "memory.swap.max", "memory.oom.group",
                                         "pids.max",   "cpu.max",         "memory.events"};

/* A leaf job-7-1 in a group that offers these controllers. */
static void stage_init(struct stage *stage, const char *controllers)
{
    *stage = (struct stage){.folder = "/tmp/weft-group-XXXXXX"};
    cr_assert_not_null(mkdtemp(stage->folder));
    write_file(stage, "cgroup.controllers", controllers);
    write_file(stage, "cgroup.subtree_control", "");
    cr_assert_eq(mkdir(in_stage(stage, "job-7-1"), 0755), 0);
    for (size_t i = 0; i < sizeof leaf_files / sizeof leaf_files[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "job-7-1/%s", leaf_files[i]);
        write_file(stage, name, "");
    }
    int fd = open(stage->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cgroups_open_fd(fd, &stage->runner.cgroups);
    stage->spec.program = &stage->asked;
    stage->request = (struct run_request){.spec = &stage->spec, .id = 7, .attempt = 1};
    stage->attempt.runner = &stage->runner;
    stage->attempt.settings = &stage->settings;
    stage->attempt.request = &stage->request;
    cgroup_leaf_make(&stage->runner.cgroups, 7, 1, &stage->attempt.tree.leaf);
    cr_assert_geq(stage->attempt.tree.leaf.fd, 0);
    run_outcome_init(&stage->outcome);
}

static void stage_destroy(struct stage *stage)
{
    close(stage->attempt.tree.leaf.fd);
    cgroups_close(&stage->runner.cgroups);
    run_outcome_destroy(&stage->outcome);
    remove_tree(stage->folder);
}

static void expect_refused(struct stage *stage, bool other_user, int rc, const char *why)
{
    cr_assert_eq(run_group_apply(&stage->attempt, other_user, &stage->outcome), rc);
    cr_assert_not_null(stage->outcome.error);
    cr_assert(strstr(stage->outcome.error, why), "%s", stage->outcome.error);
    run_outcome_destroy(&stage->outcome);
}

/* ---- limits ---------------------------------------------------------------------------------- */

#define MEBIBYTES(n) (UINT64_C(n) << 20)

Test(run_group, what_a_job_asks_for_is_written_as_the_kernel_reads_it)
{
    struct stage stage;
    stage_init(&stage, "cpuset cpu io memory pids\n");
    stage.asked.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(64);
    stage.asked.groups[PROGRAM_TASKS_MAX] = 12;
    stage.asked.groups[PROGRAM_CPU_QUOTA] = 150000;
    cr_assert_eq(run_group_apply(&stage.attempt, false, &stage.outcome), 0);
    expect_file(&stage, "job-7-1/memory.max", "67108864");
    expect_file(&stage, "job-7-1/memory.swap.max", "0");
    expect_file(&stage, "job-7-1/memory.oom.group", "1");
    expect_file(&stage, "job-7-1/pids.max", "12");
    expect_file(&stage, "job-7-1/cpu.max", "150000 100000");
    cr_assert_null(stage.outcome.error);
    stage_destroy(&stage);
}

Test(run_group, what_exec_gives_holds_unless_the_job_asks)
{
    struct stage stage;
    stage_init(&stage, "cpu memory pids\n");
    stage.settings.program.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(8);
    stage.settings.program.groups[PROGRAM_TASKS_MAX] = 5;
    stage.settings.program.groups[PROGRAM_CPU_QUOTA] = PROGRAM_NO_LIMIT;
    stage.asked.groups[PROGRAM_TASKS_MAX] = PROGRAM_NO_LIMIT;
    cr_assert_eq(run_group_apply(&stage.attempt, false, &stage.outcome), 0);
    expect_file(&stage, "job-7-1/memory.max", "8388608");
    expect_file(&stage, "job-7-1/pids.max", "");
    expect_file(&stage, "job-7-1/cpu.max", "");
    stage_destroy(&stage);
}

Test(run_group, of_another_user_nobody_gets_more_than_exec_gives)
{
    struct stage stage;
    stage_init(&stage, "cpu memory pids\n");
    stage.settings.program.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(8);
    stage.asked.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(8) + 4096;
    expect_refused(&stage, true, -EPERM,
                   "cannot set memory_max=8196K: only root may have more than the 8M");
    stage.asked.groups[PROGRAM_MEMORY_MAX] = PROGRAM_NO_LIMIT;
    expect_refused(&stage, true, -EPERM, "cannot set memory_max=infinity: only root");
    expect_file(&stage, "job-7-1/memory.max", "");
    stage.asked.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(8);
    stage.asked.groups[PROGRAM_CPU_QUOTA] = 200000; /* of which nothing is given */
    cr_assert_eq(run_group_apply(&stage.attempt, true, &stage.outcome), 0);
    expect_file(&stage, "job-7-1/memory.max", "8388608");
    expect_file(&stage, "job-7-1/cpu.max", "200000 100000");
    stage_destroy(&stage);
}

Test(run_group, calls_have_none_of_it)
{
    struct stage stage;
    stage_init(&stage, "cpu memory pids\n");
    stage.settings.program.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(8);
    stage.spec.call = "echo";
    cr_assert_eq(run_group_apply(&stage.attempt, false, &stage.outcome), 0);
    expect_file(&stage, "job-7-1/memory.max", "");
    stage_destroy(&stage);
}

/* ---- what is not there ----------------------------------------------------------------------- */

Test(run_group, each_controller_is_turned_on_for_itself)
{
    struct stage stage;
    char why[CGROUP_WHY_MAX] = "";
    stage_init(&stage, "cpuset memory_not memory\n");
    expect_file(&stage, "cgroup.subtree_control", "+memory");
    cr_assert(cgroups_have(&stage.runner.cgroups, CGROUP_MEMORY, why));
    cr_assert_str_eq(why, "");
    cr_assert_not(cgroups_have(&stage.runner.cgroups, CGROUP_CPU, why));
    cr_assert(strstr(why, "no controller \"cpu\": delegate it (Delegate=yes"), "%s", why);
    stage_destroy(&stage);
}

Test(run_group, a_limit_without_its_controller_is_refused_only_if_a_job_asks)
{
    struct stage stage;
    stage_init(&stage, "memory\n");
    stage.settings.program.groups[PROGRAM_TASKS_MAX] = 5;
    cr_assert_eq(run_group_apply(&stage.attempt, false, &stage.outcome), 0);
    expect_file(&stage, "job-7-1/pids.max", "");
    run_group_check(&stage.runner, &stage.settings.program);
    stage.asked.groups[PROGRAM_TASKS_MAX] = 4;
    expect_refused(&stage, false, -ENOTSUP,
                   "cannot set tasks_max=4: weftd's control group has no controller \"pids\"");
    stage_destroy(&stage);
}

Test(run_group, what_cannot_be_turned_on_or_written_says_why)
{
    struct stage stage;
    stage_init(&stage, "memory pids\n");
    stage.asked.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(1);
    stage.runner.cgroups.lacks[CGROUP_MEMORY] = -EBUSY;
    expect_refused(&stage, false, -ENOTSUP,
                   "\"memory\" could not be turned on in weftd's control "
                   "group: Device or resource busy");
    stage.runner.cgroups.lacks[CGROUP_MEMORY] = -ENOSYS;
    expect_refused(&stage, false, -ENOTSUP, "this machine's control groups have no controller");
    stage.runner.cgroups.lacks[CGROUP_MEMORY] = 0;
    cr_assert_eq(unlink(in_stage(&stage, "job-7-1/memory.max")), 0);
    expect_refused(&stage, false, -ENOENT, "cannot set memory_max=1M: No such file or directory");
    stage.settings.program.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(1);
    stage.asked.groups[PROGRAM_MEMORY_MAX] = 0;
    cr_assert_eq(run_group_apply(&stage.attempt, false, &stage.outcome), 0);
    stage_destroy(&stage);
}

Test(run_group, without_groups_there_are_no_limits)
{
    struct cgroups cgroups = {.fd = -1};
    char why[CGROUP_WHY_MAX] = "";
    cr_assert_not(cgroups_have(&cgroups, CGROUP_PIDS, why));
    cr_assert(strstr(why, "exec.cgroups"), "%s", why);
}

/* ---- the end for want of memory -------------------------------------------------------------- */

static void expect_end(struct stage *stage, int signal, const char *events, const char *said)
{
    write_file(stage, "job-7-1/memory.events", events);
    stage->outcome.term_signal = signal;
    run_outcome_fail(&stage->outcome, "%s",
                     signal ? "killed by signal 9 (SIGKILL)" : "exit status 1");
    run_group_explain(&stage->attempt, &stage->outcome);
    cr_assert_str_eq(stage->outcome.error, said, "%s", stage->outcome.error);
    run_outcome_destroy(&stage->outcome);
}

Test(run_group, who_was_killed_for_its_memory_says_so)
{
    struct stage stage;
    stage_init(&stage, "memory\n");
    stage.asked.groups[PROGRAM_MEMORY_MAX] = MEBIBYTES(64);
    cr_assert_eq(run_group_apply(&stage.attempt, false, &stage.outcome), 0);
    expect_end(&stage, SIGKILL, "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 1\n",
               "killed at its limit of memory (memory_max 64M)");
    expect_end(
        &stage, 0, "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n",
        "exit status 1; processes of it were killed at its limit of memory (memory_max 64M)");
    expect_end(&stage, SIGKILL, "low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n",
               "killed for want of memory: the machine or weftd had none left");
    expect_end(&stage, SIGKILL, "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n",
               "killed by signal 9 (SIGKILL)");
    expect_end(&stage, 0, "", "exit status 1");
    write_file(&stage, "job-7-1/memory.events", "oom 1\noom_kill 1\n");
    run_group_explain(&stage.attempt, &stage.outcome);
    cr_assert_null(stage.outcome.error, "it succeeded all the same");
    stage_destroy(&stage);
}

/* ---- for real -------------------------------------------------------------------------------- */

static char base[256]; /* a group of this test's alone */

static bool make_base(void)
{
    static const char *const mounts[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0] && !base[0]; i++) {
        snprintf(base, sizeof base, "%s/cgroup.procs", mounts[i]);
        bool writable = access(base, W_OK) == 0;
        snprintf(base, sizeof base, "%s/weft-limits-%d", mounts[i], (int)getpid());
        if (!writable || mkdir(base, 0755) < 0)
            base[0] = '\0';
    }
    return base[0] != '\0';
}

/* Either the kernel bounds it, or the attempt fails before the program starts. */
static int ask_for_real(struct world *world)
{
    struct program_options asked = {.groups = {MEBIBYTES(32), 50, 50000}};
    struct trial trial = {.world = world, .id = 9, .program = &asked, .script = "tail /dev/zero"};
    char why[CGROUP_WHY_MAX];
    cgroups_open_fd(open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), &world->runner->cgroups);
    bool all = true;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        all = all && cgroups_have(&world->runner->cgroups, i, why);
    run_trial(&trial);
    EXPECT_EQ(trial.rc, all ? 0 : -ENOTSUP);
    expect_error(&trial, all ? "killed at its limit of memory (memory_max 32M)" : "no controller");
    run_outcome_destroy(&trial.outcome);
    EXPECT_EQ(rmdir(base), 0); /* nobody is left, nor a leaf */
    return 0;
}

Test(run_group, limits_hold_or_the_program_does_not_start)
{
    if (!make_base()) {
        fputs("no group of version 2 may be made here: not tested\n", stderr);
        return;
    }
    in_world(2, "", ask_for_real);
}
