/* SPDX-License-Identifier: MIT */
/* command: what weft says and how it ends when no verb's own work is at stake. */
#include "client/help.h"
#include "fake_server.h"

#include <limits.h>

static void expect(struct ran ran, int status, const char *in_out, const char *in_err)
{
    cr_assert_eq(ran.status, status, "status %d; %s", ran.status, ran.err);
    cr_assert(has(ran.out, in_out), "out: %s", ran.out);
    cr_assert(has(ran.err, in_err), "err: %s", ran.err);
    if (status != COMMAND_OK)
        cr_assert_str_eq(ran.out, "", "complaints go to stderr only");
    ran_free(&ran);
}

/* A connection would fail with status 3: so status 2 proves that none was tried. */
static void no_daemon(void)
{
    setenv("WEFT_SOCKET", "/nowhere/weft.sock", 1);
}

Test(command, wrong_usage_is_status_2_and_needs_no_daemon, .init = no_daemon)
{
    expect(RUN("", NULL), 2, "", "usage: weft VERB");
    expect(RUN("", "sumbit"), 2, "", "there is no verb 'sumbit'; did you mean 'submit'?");
    expect(RUN("", "zebra"), 2, "", "weft --help lists");
    expect(RUN("", "help", "lst"), 2, "", "did you mean 'list'?");
    expect(RUN("", "list", "--limt", "5"), 2, "", "unknown option --limt; did you mean --limit?");
    expect(RUN("", "list", "--limit", "0"), 2, "", "not between 1 and");
    expect(RUN("", "list", "--limit", "x"), 2, "", "'x' is not a whole number");
    expect(RUN("", "list", "all"), 2, "", "'all' is one argument too many");
    expect(RUN("", "show"), 2, "", "an argument is missing");
    expect(RUN("", "show", "1x"), 2, "", "'1x' is no job id");
    expect(RUN("", "wait", "0"), 2, "", "'0' is no job id");
    expect(RUN("", "cancel", "-5"), 2, "", "unknown option -5");
    expect(RUN("", "wait", "--timeout", "soon", "1"), 2, "", "'soon' is not a duration");
    expect(RUN("", "submit"), 2, "", "which program?");
    expect(RUN("", "run"), 2, "", "an argument is missing");
    expect(RUN("", "call"), 2, "", "which handler?");
    expect(RUN("", "call", "echo", "{"), 2, "", "not JSON");
    expect(RUN("", "call", "echo", "[1]"), 2, "", "must be a JSON object");
    expect(RUN("", "submit", "--retries", "2.5", "true"), 2, "", "--retries: '2.5'");
    expect(RUN("", "submit", "--delay", "1x", "true"), 2, "", "--delay: '1x'");
    expect(RUN("", "submit", "--at", "18:00", "true"), 2, "", "--at: '18:00' is no time");
    expect(RUN("", "submit", "--at", "2026-11-29T18:00:00", "true"), 2, "", "is no time");
    expect(RUN("", "submit", "--env", "NO_SUCH_VARIABLE_HERE", "true"), 2, "", "no variable");
    expect(RUN("", "submit", "--limit", "nofile", "true"), 2, "", "--limit: 'nofile' is not NAME=");
    expect(RUN("", "submit", "--nice", "x", "true"), 2, "", "--nice: 'x'");
    expect(RUN("", "submit", "--from", "-", "--nice", "1"), 2, "", "--nice cannot be combined");
    expect(RUN("", "submit", "--from", "-", "true"), 2, "", "cannot be combined");
    expect(RUN("", "submit", "--from", "-", "--cwd", "/"), 2, "", "--cwd cannot be combined");
    expect(RUN("", "submit", "a\xff"), 2, "", "not UTF-8");
}

Test(command, no_daemon_is_status_3_and_says_where_it_looked, .init = no_daemon)
{
    expect(RUN("", "ping"), 3, "",
           "cannot reach weftd at /nowhere/weft.sock: No such file or directory");
    expect(RUN("", "ping"), 3, "", "start it");
    expect(RUN("", "--socket", "/else/where", "ping"), 3, "", "at /else/where:");
    unsetenv("WEFT_SOCKET");
    setenv("XDG_RUNTIME_DIR", "/nowhere/user", 1);
    expect(RUN("", "list"), 3, "", "at /nowhere/user/weft/weft.sock:");
    char path[300];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    expect(RUN("", "ping", "--socket", path), 3, "", "107 bytes");
    expect(RUN("", "ping", "--socket", "/"), 3, "", "cannot reach weftd at /:");
}

Test(command, every_verb_has_help_with_an_example, .init = no_daemon)
{
    for (size_t i = 0; i < verbs_count; i++) {
        char usage[64], example[64];
        snprintf(usage, sizeof usage, "usage: weft %s", verbs[i].name);
        snprintf(example, sizeof example, "weft %s", verbs[i].name);
        expect(RUN("", verbs[i].name, "--help"), 0, usage, "");
        expect(RUN("", "help", verbs[i].name), 0, "\nexample:\n", "");
        cr_assert(has(verbs[i].example, example), "%s", verbs[i].name);
        expect(RUN("", "--help"), 0, verbs[i].summary, "");
    }
    expect(RUN("", "-h"), 0, "Exit status", "");
    expect(RUN("", "--version"), 0, "weft " WEFT_VERSION, "");
}

Test(command, every_verb_takes_the_common_options)
{
    for (size_t i = 0; i < verbs_count; i++) {
        size_t last = 0;
        while (verbs[i].options[last + 1])
            last++;
        cr_assert_eq(verbs[i].options[last], common_options, "%s", verbs[i].name);
    }
}

Test(command, options_may_stand_before_the_verb)
{
    static const struct canned canned[] = {{"ping", "\"result\":\"pong\""}, {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "--json", "ping");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert_str_eq(ran.out, "\"pong\"\n");
    ran_free(&ran);
    fake_free(&fake);
}

Test(command, a_refusal_is_status_1_with_the_daemons_words)
{
    static const struct canned canned[] = {
        {"job.get", "\"error\":{\"code\":-32001,\"message\":\"there is no job 17\"}"}, {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "show", "17");
    expect(ran, 1, "", "weft: there is no job 17\n");
    fake_free(&fake);
}

static void serve_nothing(struct fake *fake, FILE *from, int fd)
{
    (void)fd;
    fake_read(fake, from);
}

Test(command, a_daemon_that_goes_away_is_status_3)
{
    struct fake fake = {.serve = serve_nothing};
    expect(FAKE_RUN(&fake, "ping"), 3, "", "closed the connection before it answered");
    fake_free(&fake);
}

static void serve_http(struct fake *fake, FILE *from, int fd)
{
    fake_read(fake, from);
    fake_say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

Test(command, another_protocol_is_status_3)
{
    struct fake fake = {.serve = serve_http};
    expect(FAKE_RUN(&fake, "ping"), 3, "", "does not speak");
    fake_free(&fake);
}

/* weft with its standard output at fd. */
static int run_into(struct fake *fake, int fd, char **ret_err)
{
    char *argv[] = {(char *)"weft", (char *)"list", NULL};
    size_t size;
    FILE *out = fdopen(fd, "w"), *err = open_memstream(ret_err, &size);
    signal(SIGPIPE, SIG_IGN);
    fake_start(fake);
    setenv("WEFT_SOCKET", fake->path, 1);
    int status = command_main(2, argv, stdin, out, err);
    fake_stop(fake);
    fclose(out);
    fclose(err);
    return status;
}

static const struct canned one_job[] = {
    {"job.list", "\"result\":{\"jobs\":[{\"id\":1,\"queue\":\"default\",\"state\":\"queued\"}],"
                 "\"next\":null}"},
    {0}};

Test(command, a_closed_pipe_ends_it_quietly)
{
    struct fake fake = {.canned = one_job};
    char *err;
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    close(pipes[0]);
    cr_assert_eq(run_into(&fake, pipes[1], &err), COMMAND_SIGNAL + SIGPIPE);
    cr_assert_str_eq(err, "");
    free(err);
    fake_free(&fake);
}

Test(command, a_full_disk_is_said)
{
    struct fake fake = {.canned = one_job};
    char *err;
    FILE *full = fopen("/dev/full", "w");
    cr_assert_not_null(full);
    int status = run_into(&fake, dup(fileno(full)), &err);
    fclose(full);
    cr_assert_eq(status, COMMAND_FAILED);
    cr_assert(has(err, "could not be written"), "%s", err);
    free(err);
    fake_free(&fake);
}
