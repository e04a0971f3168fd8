/* SPDX-License-Identifier: MIT */
/* Whatever a program starts, however it hides: nobody is left. */
#include "run_support.h"

/* Scripts run until their folder is gone, so that a test that fails leaves nobody for long. */
#define IMPATIENT "[exec]\nkill_grace = 50ms\n"

/* Runs the script until each of the files holds a pid, stops it, and expects these gone. */
static void stop_and_expect_gone(struct world *world, const char *script, const char *const *names)
{
    struct trial trial = {.world = world, .id = 5, .script = script};
    struct weft_group group;
    weft_group_init(&group);
    begin_trial(&group, &trial);
    for (int i = 0; names[i]; i++)
        await_number(world, names[i]);
    weft_scope_cancel(&trial.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(trial.rc, -ECANCELED);
    for (int i = 0; names[i]; i++)
        expect_gone(number_in(world, names[i]));
    run_outcome_destroy(&trial.outcome);
}

static int stop_setsid(struct world *world)
{
    const char *names[] = {"root", "child", "grandchild", NULL};
    stop_and_expect_gone(world,
                         "sh -c 'setsid sh -c \"echo \\$\\$ > $DIR/grandchild; exec sleep 1000\" & "
                         "echo $$ > $DIR/child; wait' & "
                         "echo $$ > $DIR/root; wait",
                         names);
    return 0;
}

Test(run_stop, ends_a_grandchild_that_called_setsid)
{
    in_world(2, "", stop_setsid);
}

static int stop_daemon(struct world *world)
{
    const char *names[] = {"daemon", "worker", NULL};
    stop_and_expect_gone(world,
                         "(setsid sh -c 'trap \"\" TERM; echo $$ > $DIR/daemon; "
                         "env -i sleep 1000 & echo $! > $DIR/worker; wait; sleep 1000' &); "
                         "sleep 1000",
                         names);
    return 0;
}

Test(run_stop, ends_a_double_forked_daemon_and_its_child_without_environment)
{
    in_world(2, IMPATIENT, stop_daemon);
}

static int stop_bare(struct world *world)
{
    const char *names[] = {"bare", NULL};
    stop_and_expect_gone(
        world, "(env -i sh -c 'trap \"\" TERM; echo $$ > '$DIR'/bare; sleep 1000' &); sleep 1000",
        names);
    return 0;
}

Test(run_stop, ends_an_orphan_without_environment_by_its_session)
{
    in_world(2, IMPATIENT, stop_bare);
}

static int stop_frozen(struct world *world)
{
    const char *names[] = {"frozen", NULL};
    stop_and_expect_gone(
        world, "setsid sh -c 'trap \"\" TERM; echo $$ > $DIR/frozen; kill -STOP $$; sleep 1000'",
        names);
    return 0;
}

Test(run_stop, ends_a_stopped_process)
{
    in_world(2, IMPATIENT, stop_frozen);
}

/* Each generation starts the next in a new session and ends, a few milliseconds later. */
static const char *const chain =
    "cat > $DIR/link << 'END'\n"
    "#!/bin/sh\n"
    "trap '' TERM\n"
    "[ $1 -lt 3000 ] && [ -d $DIR ] || exit 0\n"
    "echo $1 > $DIR/generation.new && mv $DIR/generation.new $DIR/generation\n"
    "(setsid $DIR/link $(($1 + 1)) &)\n"
    "END\n"
    "chmod +x $DIR/link; $DIR/link 1; sleep 1000";

static int stop_chain(struct world *world)
{
    const char *names[] = {"generation", NULL};
    struct trial trial = {.world = world, .id = 5, .script = chain};
    struct weft_group group;
    weft_group_init(&group);
    begin_trial(&group, &trial);
    await_number(world, names[0]);
    weft_scope_cancel(&trial.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(trial.rc, -ECANCELED);
    long last = number_in(world, "generation");
    EXPECT(last < 3000); /* it did not end by itself; in_world() sees that it has ended */
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_stop, ends_a_chain_that_forks_while_it_is_killed)
{
    in_world(2, IMPATIENT, stop_chain);
}

/* The same as fast as it can be done: no generation lives for more than a fork and an exit. */
static int stop_fast_chain(struct world *world)
{
    const char *names[] = {"begun", NULL};
    struct trial trial = {.world = world, .id = 5};
    struct weft_group group;
    trial.script =
        "perl -MPOSIX -e 'sub note { open F, \">$ENV{DIR}/$_[0]\"; print F \"1\\n\"; close F } "
        "$SIG{TERM} = \"IGNORE\"; for (1 .. 300000) { "
        "note(\"begun\") if $_ == 100; exit if fork; setsid(); }; note(\"last\")' & "
        "sleep 1000";
    weft_group_init(&group);
    begin_trial(&group, &trial);
    await_number(world, names[0]);
    weft_scope_cancel(&trial.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(trial.rc, -ECANCELED);
    EXPECT_EQ(number_in(world, "last"), 0); /* it did not end by itself */
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_stop, ends_a_chain_that_forks_as_fast_as_it_can)
{
    in_world(2, IMPATIENT, stop_fast_chain);
}

static int stop_crowd(struct world *world)
{
    const char *names[] = {"all", NULL};
    stop_and_expect_gone(world,
                         "trap '' TERM; i=0; while [ $i -lt 60 ]; do i=$((i + 1)); "
                         "setsid sh -c 'trap \"\" TERM; while [ -d $DIR ]; do sleep 0.05; done' & "
                         "done; echo $$ > $DIR/all; wait",
                         names);
    return 0;
}

Test(run_stop, ends_many_that_keep_forking)
{
    in_world(2, IMPATIENT, stop_crowd);
}

/* ---- a root that ends by itself -------------------------------------------------------------- */

static int leave_behind(struct world *world)
{
    struct trial trial = {.world = world, .id = 5};
    trial.script = "(setsid sh -c 'echo $$ > $DIR/left; echo late; exec sleep 1000' &); "
                   "while ! [ -s $DIR/left ]; do sleep 0.01; done; echo done; exit 2";
    run_trial(&trial);
    expect_exit(&trial, 2); /* the root's, whoever was killed then */
    expect_gone(number_in(world, "left"));
    char *text = output_of(&trial, OUTPUT_STDOUT, NULL);
    EXPECT(strstr(text, "done\n") != NULL);
    free(text);
    run_outcome_destroy(&trial.outcome);
    struct runner_stats stats;
    runner_stats(world->runner, &stats);
    EXPECT(stats.orphans >= 1);
    EXPECT_EQ(stats.killed, 0); /* SIGTERM was enough */
    return 0;
}

Test(run_stop, ends_what_a_root_left_behind)
{
    in_world(2, "", leave_behind);
}

/* One that is in execve nearly all the time, when its environment cannot be told: it gets SIGTERM
 * and the grace as everybody does. */
static int leave_changing(struct world *world)
{
    struct runner_stats stats;
    for (int i = 0; i < 20; i++) {
        struct trial trial = {.world = world, .id = 5 + (uint64_t)i};
        trial.script = "printf '#!/bin/sh\\n[ -d $DIR ] && exec $0\\n' > $DIR/again; "
                       "chmod +x $DIR/again; rm -f $DIR/left; "
                       "(setsid sh -c 'echo $$ > $DIR/left; exec $DIR/again' &); "
                       "while ! [ -s $DIR/left ]; do sleep 0.01; done";
        run_trial(&trial);
        expect_exit(&trial, 0);
        expect_gone(number_in(world, "left"));
        run_outcome_destroy(&trial.outcome);
    }
    runner_stats(world->runner, &stats);
    EXPECT_EQ(stats.killed, 0);
    return 0;
}

Test(run_stop, gives_time_to_who_is_in_execve)
{
    in_world(2, "", leave_changing);
}

static int hold_pipe(struct world *world)
{
    struct trial trial = {.world = world, .id = 5};
    struct weft_group group;
    int fds[2];
    char path[64];
    raw_pipe(fds);
    trial.script = "echo $$ > $DIR/ready; read line < $DIR/go; echo out; exit 0";
    EXPECT_EQ(mkfifo(in_folder(world, "go"), 0600), 0);
    weft_group_init(&group);
    begin_trial(&group, &trial);
    snprintf(path, sizeof(path), "/proc/%ld/fd/1", await_number(world, "ready"));
    int stranger = open(path, O_WRONLY | O_CLOEXEC); /* outside the tree: this process */
    int go = open(in_folder(world, "go"), O_RDWR | O_CLOEXEC);
    EXPECT(stranger >= 0);
    EXPECT_EQ(write(go, "\n", 1), 1);
    EXPECT_EQ(weft_group_join(&group), 0); /* though the pipe has no end */
    expect_exit(&trial, 0);
    expect_output(&trial, OUTPUT_STDOUT, "out\n");
    close(go);
    close(stranger);
    close(fds[0]);
    close(fds[1]);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_stop, does_not_wait_for_strangers_that_hold_the_pipe)
{
    in_world(2, "", hold_pipe);
}

static int leave_dead(struct world *world)
{
    struct trial trial = {.world = world, .id = 5, .script = "(true &); (true &); exit 0"};
    run_trial(&trial);
    expect_exit(&trial, 0);
    run_outcome_destroy(&trial.outcome);
    return 0; /* and in_world() looks for zombies */
}

Test(run_stop, leaves_no_zombies)
{
    in_world(2, "", leave_dead);
}

static int sweep(struct world *world)
{
    struct trial trial = {.world = world, .id = 5, .script = "(true &); (true &); sleep 1000"};
    struct weft_group group;
    struct runner_stats stats;
    uint64_t deadline_ns = soon();
    world->runner->sweep_ns = WEFT_MILLISECOND;
    weft_group_init(&group);
    begin_trial(&group, &trial);
    do {
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_yield(), 0);
        runner_stats(world->runner, &stats);
    } while (stats.orphans < 2);
    EXPECT_EQ(stats.live, 1);
    weft_scope_cancel(&trial.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_stop, reaps_orphans_while_their_root_runs)
{
    in_world(2, "", sweep);
}

/* Two jobs with the same program: stopping one leaves the other's orphans alone. */
static int stop_one(struct world *world)
{
    struct trial trials[2] = {{.world = world, .id = 1}, {.world = world, .id = 2}};
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < 2; i++) {
        trials[i].script = "(setsid sh -c 'echo $$ > $DIR/orphan.$WEFT_JOB_ID; "
                           "exec sleep 1000' &); sleep 1000";
        begin_trial(&group, &trials[i]);
    }
    long first = await_number(world, "orphan.1"), second = await_number(world, "orphan.2");
    uint64_t deadline_ns = soon();
    weft_scope_cancel(&trials[0].scope);
    while (kill((pid_t)first, 0) == 0) {
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    }
    EXPECT_EQ(kill((pid_t)second, 0), 0);
    weft_scope_cancel(&trials[1].scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    expect_gone(second);
    EXPECT_EQ(trials[0].rc, -ECANCELED);
    EXPECT_EQ(trials[1].rc, -ECANCELED);
    run_outcome_destroy(&trials[0].outcome);
    run_outcome_destroy(&trials[1].outcome);
    return 0;
}

Test(run_stop, leaves_other_jobs_alone)
{
    in_world(2, "", stop_one);
}

/* ---- an earlier life ------------------------------------------------------------------------- */

static int kill_leftovers(struct world *world)
{
    long marked = await_number(world, "marked"), bare = await_number(world, "bare");
    long other = await_number(world, "other");
    EXPECT(runner_kill_leftovers(world->runner) >= 2); /* who is slow to die is counted again */
    EXPECT_EQ(runner_kill_leftovers(world->runner), 0);
    EXPECT_EQ(kill((pid_t)other, 0), 0);
    EXPECT_EQ(kill((pid_t)other, SIGKILL), 0);
    struct tree_stat stat; /* whose zombies they are is not our affair */
    EXPECT(tree_stat_read((pid_t)marked, &stat) < 0 || tree_stat_is_dead(&stat));
    EXPECT(tree_stat_read((pid_t)bare, &stat) < 0 || tree_stat_is_dead(&stat));
    return 0;
}

/* Not our descendants: their parents ended before this process became a subreaper. */
Test(run_stop, kills_what_an_earlier_life_left)
{
    struct world world;
    char command[1024];
    world_init(&world, "", kill_leftovers);
    snprintf(command, sizeof(command),
             "export DIR=%s; (WEFT_INSTANCE=%s setsid sh -c 'echo $$ > $DIR/marked; "
             "env -i sleep 1000 & echo $! > $DIR/bare; wait' &); "
             "(WEFT_INSTANCE=another%s setsid sh -c 'echo $$ > $DIR/other; exec sleep 1000' &)",
             world.folder, world.instance, world.instance);
    EXPECT_EQ(system(command), 0);
    world_run(&world, 2);
}
