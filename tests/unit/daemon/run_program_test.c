/* SPDX-License-Identifier: MIT */
/* What of umask, priorities, limits and input comes to a program, from [exec] and from its job. */
#include "run_support.h"

#include <pwd.h>

#define SAY "umask; nice; ionice | cut -d: -f1; ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc"

/* One attempt of a script with these limits and the like. */
static struct trial ask(struct world *world, uid_t uid, struct program_options *program,
                        const char *script)
{
    struct trial trial = {
        .world = world, .id = 1, .uid = uid, .script = script, .program = program};
    run_trial(&trial);
    return trial;
}

static void expect_said(struct world *world, uid_t uid, struct program_options *program,
                        const char *said)
{
    struct trial trial = ask(world, uid, program, SAY);
    expect_exit(&trial, 0);
    expect_output(&trial, OUTPUT_STDOUT, said);
    run_outcome_destroy(&trial.outcome);
}

static void expect_failed(struct world *world, uid_t uid, struct program_options *program, int rc,
                          const char *why)
{
    struct trial trial = ask(world, uid, program, "touch $DIR/ran");
    EXPECT_EQ(trial.rc, rc);
    expect_error(&trial, why);
    EXPECT_EQ(access(in_folder(world, "ran"), F_OK), -1);
    run_outcome_destroy(&trial.outcome);
}

static struct program_options options_of(const char *limits, int nice)
{
    struct program_options options = {.has_nice = nice != 0, .nice = nice};
    char why[PROGRAM_WHY_MAX];
    EXPECT_EQ(program_parse_limits(limits, &options, why), 0);
    return options;
}

#define GIVEN                                                                                      \
    "[exec]\numask = 0077\nnice = 3\nionice = best-effort:6\nlimits = nofile=64:128 core=0\n"

static uid_t nobody(void)
{
    struct passwd *entry = getpwnam("nobody");
    EXPECT(entry != NULL && entry->pw_uid != 0);
    return entry->pw_uid;
}

static int see_what_a_job_gets(struct world *world)
{
    struct program_options asked = options_of("nofile=32:100", 5);
    asked.has_umask = true;
    asked.umask = 027;
    asked.ionice = 3 << 13; /* idle */
    expect_said(world, 0, NULL, "0077\n3\nbest-effort\n64\n128\n0\n0\n");
    expect_said(world, 0, &asked, "0027\n5\nidle\n32\n100\n0\n0\n");
    if (geteuid() == 0) {
        expect_said(world, nobody(), NULL, "0077\n3\nbest-effort\n64\n128\n0\n0\n");
        expect_said(world, nobody(), &asked, "0027\n5\nidle\n32\n100\n0\n0\n");
    }
    return 0;
}

Test(run_program, a_job_gets_what_exec_gives_and_what_it_asks_for)
{
    in_world(2, GIVEN, see_what_a_job_gets);
}

/* Of root's weftd: what a user may not have is refused by the kernel, which root is not. */
static int see_what_a_user_may_not(struct world *world)
{
    struct program_options more = options_of("core=0 nofile=64:129", 0);
    struct program_options sooner = options_of("", 2);
    struct program_options first = {.ionice = 1 << 13 | 4};
    expect_failed(world, nobody(), &more, -EPERM,
                  "cannot set limit nofile=64:129: Operation not permitted; only root");
    expect_failed(world, nobody(), &sooner, -EACCES,
                  "cannot set niceness 2: Permission denied; only root");
    expect_failed(world, nobody(), &first, -EPERM,
                  "cannot set the I/O priority realtime:4: Operation not permitted");
    expect_said(world, 0, &more, "0077\n3\nbest-effort\n64\n129\n0\n0\n");
    return 0;
}

Test(run_program, nobody_gets_more_than_is_given)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NICE, &none);
    if (geteuid() == 0)
        in_world(2, GIVEN, see_what_a_user_may_not);
}

static int see_what_the_kernel_refuses(struct world *world)
{
    struct program_options many = options_of("nofile=1:18446744073709551614", 0);
    expect_failed(world, 0, &many, -EPERM, "cannot set limit nofile=1:18446744073709551614");
    return 0;
}

Test(run_program, what_the_kernel_refuses_is_named)
{
    in_world(1, "", see_what_the_kernel_refuses);
}

/* ---- input ----------------------------------------------------------------------------------- */

static void write_input(const struct world *world, mode_t mode)
{
    FILE *file = fopen(in_folder(world, "input"), "we");
    EXPECT(file != NULL && fputs("from a file\n", file) >= 0);
    EXPECT_EQ(fchmod(fileno(file), mode), 0);
    EXPECT_EQ(fclose(file), 0);
}

static int read_file(struct world *world)
{
    struct trial trial = {.world = world, .id = 1, .script = "cat"};
    trial.input_file = in_folder(world, "input");
    run_trial(&trial);
    EXPECT_EQ(trial.rc, -ENOENT);
    expect_error(&trial, "cannot open its input /tmp/weft-run-");
    run_outcome_destroy(&trial.outcome);
    write_input(world, 0600);
    run_trial(&trial);
    expect_output(&trial, OUTPUT_STDOUT, "from a file\n");
    run_outcome_destroy(&trial.outcome);
    if (geteuid() == 0) {
        EXPECT_EQ(chmod(world->folder, 0755), 0);
        trial.uid = nobody();
        run_trial(&trial);
        EXPECT_EQ(trial.rc, -EACCES);
        expect_error(&trial, "/input: Permission denied");
        run_outcome_destroy(&trial.outcome);
    }
    return 0;
}

Test(run_program, a_file_is_read_with_the_rights_of_the_program)
{
    in_world(1, "", read_file);
}
