/* SPDX-License-Identifier: MIT */
/* As whom a program runs, where weftd is root. */
#include "run_support.h"

#include <pwd.h>

enum { NO_USER = 4000000 };

/* ---- the database ---------------------------------------------------------------------------- */

static bool has_group(const struct run_user *user, gid_t gid)
{
    for (size_t i = 0; i < user->groups_count; i++)
        if (user->groups[i] == gid)
            return true;
    return false;
}

static int look_up(void *arg)
{
    struct run_user user;
    (void)arg;
    EXPECT_EQ(run_user_find(0, &user), 0);
    EXPECT_EQ(user.uid, 0);
    EXPECT_EQ(user.gid, 0);
    EXPECT(has_group(&user, 0));
    EXPECT(strcmp(user.env[0], "HOME=/root") == 0);
    EXPECT(strcmp(user.env[1], "LOGNAME=root") == 0);
    EXPECT(strncmp(user.env[2], "SHELL=/", 7) == 0);
    EXPECT(strcmp(user.env[3], "USER=root") == 0);
    EXPECT(user.env[4] == NULL);
    run_user_destroy(&user);
    run_user_destroy(&user);
    EXPECT_EQ(run_user_find(NO_USER, &user), -ESRCH);
    return 0;
}

Test(run_user, is_found_with_its_groups_and_variables)
{
    on_fibers_counting_fds(1, look_up, NULL);
}

/* ---- programs -------------------------------------------------------------------------------- */

/* Nobody is in every user database. */
static struct passwd nobody(void)
{
    struct passwd *entry = getpwnam("nobody");
    EXPECT(entry != NULL && entry->pw_uid != 0);
    return *entry;
}

static int be_nobody(struct world *world)
{
    struct passwd user = nobody();
    char expected[512];
    struct trial trial = {.world = world,
                          .id = 1,
                          .uid = user.pw_uid,
                          .variable = "LOGNAME=job's",
                          .input = "in\n",
                          .input_size = 3,
                          .script = "id -u; id -ru; id -g; id -G; echo $HOME $LOGNAME $USER; cat; "
                                    "pwd; ls $DIR; kill -0 $PPID"};
    run_trial(&trial);
    snprintf(expected, sizeof(expected), "%u\n%u\n%u\n%u\n%s job's nobody\nin\n/\n", user.pw_uid,
             user.pw_uid, user.pw_gid, user.pw_gid, user.pw_dir);
    expect_output(&trial, OUTPUT_STDOUT, expected);
    expect_exit(&trial, 1); /* kill's: it may not even ask about weftd */
    run_outcome_destroy(&trial.outcome);
    trial.cwd = world->folder;
    run_trial(&trial);
    EXPECT_EQ(trial.rc, -EACCES);
    expect_error(&trial, "cannot enter the working directory /tmp/weft-run-");
    run_outcome_destroy(&trial.outcome);
    trial.cwd = NULL;
    trial.argv = (const char *const[]){"no-such-program", NULL};
    trial.variable = "PATH=/usr/bin:/bin"; /* folders that may be entered */
    run_trial(&trial);
    EXPECT_EQ(trial.rc, -ENOENT);
    expect_error(&trial, "program not found: no-such-program");
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_user, a_program_of_roots_weftd_runs_as_its_submitter)
{
    if (geteuid() == 0)
        in_world(2, "", be_nobody);
}

static int be_unknown(struct world *world)
{
    struct trial trial = {.world = world, .id = 1, .uid = NO_USER, .script = "touch $DIR/ran"};
    run_trial(&trial);
    if (geteuid() == 0) {
        EXPECT_EQ(trial.rc, -ESRCH);
        expect_error(&trial, "there is no user 4000000");
        EXPECT_EQ(access(in_folder(world, "ran"), F_OK), -1);
    } else {
        expect_exit(&trial, 0); /* as ourselves, whoever submitted it */
    }
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_user, without_a_user_nothing_runs)
{
    in_world(1, "", be_unknown);
}

static int stop_nobody(struct world *world)
{
    struct weft_group group;
    struct trial trial = {.world = world,
                          .id = 1,
                          .uid = nobody().pw_uid,
                          .script = "trap '' TERM; setsid sleep 1000 & echo $! >$DIR/far; "
                                    "echo $$ >$DIR/root; wait"};
    EXPECT_EQ(chmod(world->folder, 0777), 0);
    weft_group_init(&group);
    begin_trial(&group, &trial);
    long root = await_number(world, "root"), far = await_number(world, "far");
    weft_scope_cancel(&trial.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(trial.rc, -ECANCELED);
    expect_gone(root);
    expect_gone(far);
    run_outcome_destroy(&trial.outcome);
    return 0;
}

Test(run_user, another_users_tree_is_ended_whole)
{
    if (geteuid() == 0)
        in_world(2, "[exec]\nkill_grace = 10ms\n", stop_nobody);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int call_as_nobody(struct world *world)
{
    struct job_spec spec = {.call = "echo", .args = json_object()};
    struct run_request request = {.spec = &spec, .id = 1, .attempt = 1, .uid = NO_USER};
    struct run_outcome outcome;
    run_outcome_init(&outcome);
    int rc = run_native(world->runner, &request, &outcome);
    if (geteuid() == 0) {
        EXPECT_EQ(rc, -EPERM);
        EXPECT(outcome.result == NULL);
        EXPECT(strstr(outcome.error, "only root may call it") != NULL);
    } else {
        EXPECT_EQ(rc, 0);
    }
    run_outcome_destroy(&outcome);
    json_decref(spec.args);
    return 0;
}

Test(run_user, roots_weftd_calls_no_handler_for_others)
{
    in_world(1, "", call_as_nobody);
}
