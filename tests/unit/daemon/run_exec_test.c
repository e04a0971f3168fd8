/* SPDX-License-Identifier: MIT */
/* Programs: how they start, what they are given, what is kept of them, and how they end. */
#include "run_support.h"

#define DEFAULTS ""

/* Runs one script and leaves the outcome to the caller to destroy. */
static struct trial run_script(struct world *world, uint64_t id, const char *script)
{
    struct trial trial = {.world = world, .id = id, .script = script};
    run_trial(&trial);
    return trial;
}

/* ---- endings --------------------------------------------------------------------------------- */

static int see_endings(struct world *world)
{
    struct trial trial = run_script(world, 1, "exit 0");
    expect_exit(&trial, 0);
    EXPECT(trial.outcome.error == NULL);
    run_outcome_destroy(&trial.outcome);
    trial = run_script(world, 2, "exit 3");
    expect_exit(&trial, 3);
    expect_error(&trial, "exit status 3");
    run_outcome_destroy(&trial.outcome);
    trial = run_script(world, 3, "kill -KILL $$");
    EXPECT_EQ(trial.rc, 0);
    EXPECT_EQ(trial.outcome.exit_code, JOB_NO_EXIT);
    EXPECT_EQ(trial.outcome.term_signal, SIGKILL);
    expect_error(&trial, "signal 9 (SIGKILL)");
    run_outcome_destroy(&trial.outcome);
    struct runner_stats stats;
    runner_stats(world->runner, &stats);
    EXPECT_EQ(stats.programs, 3);
    EXPECT_EQ(stats.live, 0);
    EXPECT_EQ(stats.killed, 0);
    return 0;
}

Test(run_exec, tells_how_a_program_ended)
{
    in_world(2, DEFAULTS, see_endings);
}

static void expect_no_start(struct world *world, const char *program, const char *cwd, int rc,
                            const char *why)
{
    const char *argv[] = {program, NULL};
    struct trial trial = {.world = world, .id = 1, .argv = argv, .cwd = cwd};
    run_trial(&trial);
    EXPECT_EQ(trial.rc, rc);
    EXPECT_EQ(trial.outcome.exit_code, JOB_NO_EXIT);
    expect_error(&trial, why);
    run_outcome_destroy(&trial.outcome);
}

static void write_file(const struct world *world, const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(in_folder(world, name), "we");
    EXPECT(file != NULL);
    EXPECT(fputs(text, file) >= 0);
    EXPECT_EQ(fchmod(fileno(file), mode), 0);
    EXPECT_EQ(fclose(file), 0);
}

static int see_no_start(struct world *world)
{
    expect_no_start(world, "no-such-program", NULL, -ENOENT, "program not found: no-such-program");
    expect_no_start(world, "/no/such/program", NULL, -ENOENT, "/no/such/program");
    expect_no_start(world, "true", "/no/such/folder", -ENOENT,
                    "working directory /no/such/folder: No such file");
    expect_no_start(world, "true", "/etc/passwd", -ENOTDIR, "/etc/passwd: Not a directory");
    expect_no_start(world, "/etc/passwd", NULL, -EACCES, "/etc/passwd: Permission denied");
    expect_no_start(world, "/", NULL, -EACCES, "cannot start /");
    write_file(world, "garbage", "neither #! nor ELF\n", 0755);
    expect_no_start(world, in_folder(world, "garbage"), NULL, -ENOEXEC, "Exec format error");
    return 0;
}

Test(run_exec, says_why_a_program_cannot_start)
{
    in_world(1, DEFAULTS, see_no_start);
}

static int start_cancelled(struct world *world)
{
    struct weft_scope scope;
    struct trial trial = {.world = world, .id = 1, .script = "touch $DIR/ran"};
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    run_trial(&trial);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(trial.rc, -ECANCELED);
    EXPECT_EQ(access(in_folder(world, "ran"), F_OK), -1);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, starts_nothing_once_it_is_cancelled)
{
    in_world(1, DEFAULTS, start_cancelled);
}

/* ---- what it is given ------------------------------------------------------------------------ */

static int see_environment(struct world *world)
{
    struct trial trial = {.world = world,
                          .id = 17,
                          .variable = "LC_TIME=job's",
                          .script = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort"};
    char expected[512];
    run_trial(&trial);
    expect_exit(&trial, 0);
    snprintf(expected, sizeof(expected),
             "DIR=%s\nLC_ALL=C\nLC_TIME=job's\nPATH=/usr/bin:/bin\nWEFT_ATTEMPT=1\n"
             "WEFT_INSTANCE=%s\nWEFT_JOB_ID=17\nWEFT_SOCKET=%s\n",
             world->folder, world->instance, world->config->daemon.socket);
    expect_output(&trial, OUTPUT_STDOUT, expected);
    run_outcome_destroy(&trial.outcome);
    trial.variable = "WEFT_JOB_ID=18"; /* nobody passes for another */
    trial.script = "echo $WEFT_JOB_ID; pwd";
    trial.cwd = "/usr";
    run_trial(&trial);
    expect_output(&trial, OUTPUT_STDOUT, "17\n/usr\n");
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, gives_the_allowed_environment_and_the_jobs)
{
    clearenv();
    setenv("PATH", "/usr/bin:/bin", 1);
    setenv("LC_ALL", "C", 1);
    setenv("LC_TIME", "weftd's", 1);
    setenv("SECRET", "weftd's", 1);
    setenv("NOTIFY_SOCKET", "weftd's", 1);
    setenv("WEFT_ATTEMPT", "weftd's", 1);
    setenv("XDG_RUNTIME_DIR", "/tmp", 1);
    setenv("XDG_STATE_HOME", "/tmp", 1);
    in_world(1, "[exec]\nenv = PATH LC_*\n", see_environment);
}

enum { MEBIBYTE = 1 << 20 };

static int feed(struct world *world)
{
    struct trial trial = {.world = world, .id = 1, .script = "cat", .input_size = MEBIBYTE};
    size_t size;
    trial.input = malloc(MEBIBYTE);
    for (size_t i = 0; i < MEBIBYTE; i++)
        trial.input[i] = (char)(i * 31 + i / 251);
    run_trial(&trial);
    expect_exit(&trial, 0);
    char *output = output_of(&trial, OUTPUT_STDOUT, &size);
    EXPECT_EQ(size, MEBIBYTE);
    EXPECT(memcmp(output, trial.input, MEBIBYTE) == 0);
    free(output);
    run_outcome_destroy(&trial.outcome);
    trial.script = "exit 5"; /* that it is not read is nobody's fault */
    run_trial(&trial);
    expect_exit(&trial, 5);
    free(trial.input);
    run_outcome_destroy(&trial.outcome);
    trial = run_script(world, 2, "cat; echo end"); /* none: at its end at once */
    expect_exit(&trial, 0);
    expect_output(&trial, OUTPUT_STDOUT, "end\n");
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, feeds_a_mebibyte_of_input)
{
    in_world(2, DEFAULTS, feed);
}

static int see_session(struct world *world)
{
    struct trial trial = run_script(world, 1,
                                    "read -r pid name state parent group session rest "
                                    "< /proc/self/stat; test $$ = $group -a $$ = $session; "
                                    "echo $?; ls /proc/self/fd | wc -l");
    expect_exit(&trial, 0);
    expect_output(&trial, OUTPUT_STDOUT, "0\n4\n"); /* 0 1 2, and the folder that ls reads */
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, starts_a_session_with_three_descriptors)
{
    in_world(1, DEFAULTS, see_session);
}

/* ---- what is kept ---------------------------------------------------------------------------- */

static int see_output(struct world *world)
{
    struct trial trial = run_script(world, 1, "echo out; echo err >&2; printf more");
    expect_exit(&trial, 0);
    expect_output(&trial, OUTPUT_STDOUT, "out\nmore");
    expect_output(&trial, OUTPUT_STDERR, "err\n");
    EXPECT_EQ(trial.outcome.output_dropped, 0);
    run_outcome_destroy(&trial.outcome);
    trial = run_script(world, 1, "printf again"); /* the same attempt: the old files are gone */
    expect_output(&trial, OUTPUT_STDOUT, "again");
    expect_output(&trial, OUTPUT_STDERR, "");
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, keeps_both_streams_apart)
{
    in_world(2, DEFAULTS, see_output);
}

static int overflow(struct world *world)
{
    struct output_chunk chunk;
    struct trial trial = run_script(
        world, 1, "printf 0123456789; head -c 5000000 /dev/zero; echo small >&2; exit 7");
    expect_exit(&trial, 7);
    EXPECT_EQ(trial.outcome.output_dropped, 5000010 - 1000);
    EXPECT_EQ(output_read(world->outputs, 1, 1, OUTPUT_STDOUT, 0, 4096, &chunk), 0);
    EXPECT_EQ(chunk.size, 1000);
    EXPECT(chunk.at_end);
    EXPECT_EQ(chunk.dropped, 5000010 - 1000);
    EXPECT(memcmp(chunk.data, "0123456789\0\0", 12) == 0);
    free(chunk.data);
    expect_output(&trial, OUTPUT_STDERR, "small\n");
    run_outcome_destroy(&trial.outcome);
    trial = run_script(world, 1, "printf 0123456789"); /* and it is not said of the next */
    EXPECT_EQ(output_read(world->outputs, 1, 1, OUTPUT_STDOUT, 0, 4096, &chunk), 0);
    EXPECT_EQ(chunk.dropped, 0);
    free(chunk.data);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, drops_output_over_the_cap_and_never_blocks_the_program)
{
    in_world(2, "[exec]\noutput_max = 1000\n", overflow);
}

static int lose_output(struct world *world)
{
    write_file(world, "output/0", "in the way", 0600);
    struct trial trial = run_script(world, 1, "head -c 1000000 /dev/zero; exit 4");
    expect_exit(&trial, 4);
    EXPECT_EQ(trial.outcome.output_dropped, 1000000);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, goes_on_where_the_output_cannot_be_kept)
{
    in_world(1, DEFAULTS, lose_output);
}

/* ---- stopping -------------------------------------------------------------------------------- */

/* On a busy machine the time may be over before the program is started: then with more of it. */
static int time_out(struct world *world)
{
    struct trial trial = {.world = world, .id = 1, .script = "echo begun; exec sleep 1000"};
    int signal = JOB_NO_EXIT;
    for (uint64_t ns = 50 * WEFT_MILLISECOND; signal == JOB_NO_EXIT; ns *= 2) {
        EXPECT(ns < 60 * WEFT_SECOND);
        trial.timeout_ns = ns;
        run_trial(&trial);
        EXPECT_EQ(trial.rc, -ETIMEDOUT);
        signal = trial.outcome.term_signal;
        run_outcome_destroy(&trial.outcome);
    }
    EXPECT_EQ(signal, SIGTERM);
    return 0;
}

Test(run_exec, ends_a_program_at_its_timeout)
{
    in_world(2, DEFAULTS, time_out);
}

/* Runs the script until it has written a number into $DIR/ready, and cancels it. */
static struct trial cancel_script(struct world *world, const char *script)
{
    struct trial trial = {.world = world, .id = 9, .script = script};
    struct weft_group group;
    weft_group_init(&group);
    begin_trial(&group, &trial);
    await_number(world, "ready");
    weft_scope_cancel(&trial.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(trial.rc, -ECANCELED);
    return trial;
}

static int cancel_kindly(struct world *world)
{
    struct trial trial = cancel_script(
        world,
        "trap 'echo asked; exit 6' TERM; echo $$ > $DIR/ready; while :; do sleep 0.01; done");
    EXPECT_EQ(trial.outcome.exit_code, 6);
    expect_output(&trial, OUTPUT_STDOUT, "asked\n");
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, lets_a_cancelled_program_clean_up)
{
    in_world(2, DEFAULTS, cancel_kindly);
}

static int cancel_stopped(struct world *world)
{
    struct trial trial = cancel_script(
        world,
        "trap 'exit 6' TERM; (until grep -q 'State:.T' /proc/$$/status; do sleep 0.01; done; "
        "echo $$ > $DIR/ready) & kill -STOP $$; sleep 1000");
    EXPECT_EQ(trial.outcome.exit_code, 6);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, wakes_a_stopped_program_to_be_cancelled)
{
    in_world(2, DEFAULTS, cancel_stopped);
}

static int cancel_deaf(struct world *world)
{
    struct runner_stats stats;
    struct trial trial =
        cancel_script(world, "trap '' TERM; echo $$ > $DIR/ready; while :; do sleep 0.01; done");
    EXPECT_EQ(trial.outcome.term_signal, SIGKILL);
    expect_gone(number_in(world, "ready"));
    run_outcome_destroy(&trial.outcome);
    runner_stats(world->runner, &stats);
    EXPECT_EQ(stats.killed, 1);
    return 0;
}

Test(run_exec, kills_a_program_that_ignores_sigterm)
{
    in_world(2, "[exec]\nkill_grace = 50ms\n", cancel_deaf);
}

static int hurry(struct world *world)
{
    struct trial trial = {.world = world,
                          .id = 1,
                          .script = "trap 'echo 1 > $DIR/asked' TERM; echo $$ > $DIR/ready; "
                                    "while :; do sleep 0.01; done"};
    struct weft_group group;
    weft_group_init(&group);
    begin_trial(&group, &trial);
    await_number(world, "ready");
    weft_scope_cancel(&trial.scope);
    await_number(world, "asked"); /* so it is in its grace of an hour */
    runner_hurry(world->runner);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(trial.outcome.term_signal, SIGKILL);
    run_outcome_destroy(&trial.outcome);
    trial.script = "trap '' TERM; echo $$ > $DIR/again; while :; do sleep 0.01; done";
    weft_group_init(&group); /* and none is granted any more */
    begin_trial(&group, &trial);
    await_number(world, "again");
    weft_scope_cancel(&trial.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(trial.outcome.term_signal, SIGKILL);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, hurries_when_told_to)
{
    in_world(2, "[exec]\nkill_grace = 1h\n[daemon]\ngrace = 2h\n", hurry);
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { CROWD = 60 };

static int run_crowd(struct world *world)
{
    static struct trial trials[CROWD];
    struct weft_group group;
    char expected[32];
    weft_group_init(&group);
    for (uint64_t i = 0; i < CROWD; i++) {
        trials[i] = (struct trial){.world = world, .id = i + 1};
        trials[i].script = "(sleep 0.001 &) ; echo $WEFT_JOB_ID; exit $(($WEFT_JOB_ID % 100))";
        begin_trial(&group, &trials[i]);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < CROWD; i++) {
        expect_exit(&trials[i], i + 1);
        snprintf(expected, sizeof(expected), "%d\n", i + 1);
        expect_output(&trials[i], OUTPUT_STDOUT, expected);
        run_outcome_destroy(&trials[i].outcome);
    }
    return 0;
}

Test(run_exec, tells_many_programs_and_their_orphans_apart)
{
    in_world(4, DEFAULTS, run_crowd);
}

static int apply_settings(struct world *world)
{
    struct config *fresh;
    const char *text = "[exec]\noutput_max = 3\nenv = NOTHING\n";
    EXPECT_EQ(config_parse("fresh", text, strlen(text), NULL, &fresh), 0);
    struct run_settings *settings;
    EXPECT_EQ(run_settings_new(fresh, &settings), 0);
    runner_apply_settings(world->runner, settings);
    config_free(fresh);
    struct trial trial = run_script(world, 1, "printf '%s' \"12345${HOME-none}\"");
    expect_output(&trial, OUTPUT_STDOUT, "123");
    EXPECT_EQ(trial.outcome.output_dropped, 6);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_exec, takes_new_settings)
{
    in_world(1, DEFAULTS, apply_settings);
}
