/* SPDX-License-Identifier: MIT */
/* follow: logs and run, which print a job's output while it is written. */
#include "fake_server.h"

#define LOGS(text, next, eof)                                                                      \
    "\"result\":{\"data\":\"" text "\",\"encoding\":\"utf-8\",\"next\":" #next ",\"eof\":" #eof "}"
#define JOB(state, attempt, more)                                                                  \
    "\"result\":{\"id\":5,\"state\":\"" state "\",\"attempt\":" #attempt more "}"
#define TIMEOUT "\"error\":{\"code\":-32009,\"message\":\"the time ran out\"}"

/* ---- logs ---- */

Test(logs, reads_to_the_end_of_what_there_is)
{
    static const struct canned canned[] = {
        {"job.logs", LOGS("", 0, false)},         {"job.get", JOB("running", 1, "")},
        {"job.logs", LOGS("first\\n", 6, false)}, {"job.logs", LOGS("second", 12, false)},
        {"job.logs", LOGS("", 12, false)},        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "5"), 0, "first\nsecond", "");
    cr_assert_eq(fake_count(&fake, "job.wait"), 0, "it does not wait for more");
    char *params = fake_params(&fake, "job.logs", 2);
    cr_assert_str_eq(params, "{\"id\":5,\"limit\":65536,\"offset\":6,\"stream\":\"stdout\"}");
    free(params);
    fake_free(&fake);
}

Test(logs, bytes_that_are_no_text_come_through)
{
    static const struct canned canned[] = {
        {"job.get", JOB("succeeded", 1, "")},
        {"job.logs", LOGS("", 0, false)},
        {"job.logs", "\"result\":{\"data\":\"/wD+Cg==\",\"encoding\":\"base64\",\"next\":4,"
                     "\"eof\":true}"},
        {"job.logs", LOGS("", 4, true)},
        {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "logs", "--stderr", "5");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert_arr_eq(ran.out, "\xff\0\xfe\n", 5);
    ran_free(&ran);
    char *params = fake_params(&fake, "job.logs", 0);
    cr_assert(has(params, "\"stderr\""), "%s", params);
    free(params);
    fake_free(&fake);
}

Test(logs, nonsense_instead_of_data_is_no_output)
{
    static const struct canned canned[] = {
        {"job.get", JOB("succeeded", 1, "")},
        {"job.logs", LOGS("", 0, false)},
        {"job.logs", "\"result\":{\"data\":\"???\",\"encoding\":\"base64\",\"next\":4}"},
        {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "logs", "5");
    cr_assert_eq(ran.status, COMMAND_UNREACHABLE, "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
}

Test(logs, follow_waits_for_more_until_the_job_has_ended)
{
    static const struct canned canned[] = {{"job.logs", LOGS("", 0, false)},
                                           {"job.get", JOB("queued", 0, "")},
                                           {"job.wait", TIMEOUT},
                                           {"job.logs", LOGS("a", 1, false)},
                                           {"job.get", JOB("running", 1, "")},
                                           {"job.logs", LOGS("a", 1, false)},
                                           {"job.get", JOB("running", 1, "")},
                                           {"job.logs", LOGS("", 1, false)},
                                           {"job.get", JOB("running", 1, "")},
                                           {"job.wait", "\"result\":{\"jobs\":[]}"},
                                           {"job.logs", LOGS("b", 2, true)},
                                           {"job.get", JOB("succeeded", 1, "")},
                                           {"job.logs", LOGS("", 2, true)},
                                           {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 0, "ab", "");
    cr_assert_eq(fake_count(&fake, "job.wait"), 2);
    fake_free(&fake);
}

Test(logs, a_retry_is_announced_and_read_from_its_start)
{
    static const struct canned canned[] = {
        {"job.logs", LOGS("", 0, false)},     {"job.get", JOB("running", 1, "")},
        {"job.logs", LOGS("one", 3, false)},  {"job.get", JOB("running", 1, "")},
        {"job.logs", LOGS("", 3, false)},     {"job.get", JOB("running", 2, "")},
        {"job.logs", LOGS("two!", 4, false)}, {"job.get", JOB("succeeded", 2, "")},
        {"job.logs", LOGS("", 4, true)},      {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 0, "onetwo!", "weft: job 5: attempt 2\n");
    char *params = fake_params(&fake, "job.logs", 3);
    cr_assert(has(params, "\"offset\":0"), "%s", params);
    free(params);
    fake_free(&fake);
}

Test(logs, an_unknown_job_is_refused)
{
    static const struct canned canned[] = {
        {"job.logs", "\"error\":{\"code\":-32001,\"message\":\"there is no job 5\"}"}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "5"), 1, "", "weft: there is no job 5\n");
    fake_free(&fake);
}

Test(logs, that_weftd_stops_is_no_end_of_the_job)
{
    static const struct canned canned[] = {{"job.get", JOB("running", 1, "")},
                                           {"job.logs", LOGS("", 0, false)},
                                           {"job.wait", STOPPING},
                                           {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 3, "",
               "weft: weftd is stopping; run it again when weftd is back\n");
    fake_free(&fake);
}

/* ---- run: stdout and stderr are asked for in turn ---- */

#define SUBMITTED                                                                                  \
    {                                                                                              \
        "job.submit", "\"result\":{\"id\":5}"                                                      \
    }
#define STARTS                                                                                     \
    SUBMITTED, {"job.get", JOB("running", 1, "")}, {"job.logs", LOGS("", 0, false)},               \
    {                                                                                              \
        "job.logs", LOGS("", 0, false)                                                             \
    }

static const char *const run_true[] = {"run", "--cwd", "/", "--", "true", NULL};

Test(run, shows_both_streams_and_ends_with_the_jobs_status)
{
    static const struct canned canned[] = {STARTS,
                                           {"job.logs", LOGS("out\\n", 4, true)},
                                           {"job.logs", LOGS("err\\n", 4, true)},
                                           {"job.get", JOB("failed", 1, ",\"exit_code\":42")},
                                           {"job.logs", LOGS("", 4, true)},
                                           {0}};
    struct fake fake = {.canned = canned};
    expect_run(fake_run(&fake, "", run_true), 42, "out\n", "err\nweft: job 5 failed\n");
    fake_free(&fake);
}

Test(run, says_that_the_key_has_a_job_already)
{
    static const struct canned canned[] = {
        {"job.submit", "\"result\":{\"id\":5,\"existing\":true}"},
        {"job.logs", LOGS("out\\n", 4, true)},
        {"job.logs", LOGS("", 0, true)},
        {"job.get", JOB("succeeded", 0, ",\"exit_code\":0")},
        {"job.logs", LOGS("", 4, true)},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "run", "--key", "k", "true"), 0, "out\n",
               "weft: job 5 has this key already; this is what it does\n");
    fake_free(&fake);
}

static int status_of(const char *job)
{
    struct canned canned[] = {STARTS, {"job.logs", LOGS("", 0, true)}, {"job.get", job}, {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = fake_run(&fake, "", run_true);
    ran_free(&ran);
    fake_free(&fake);
    return ran.status;
}

Test(run, every_end_has_its_status)
{
    cr_assert_eq(status_of(JOB("succeeded", 1, ",\"exit_code\":0")), 0);
    cr_assert_eq(status_of(JOB("failed", 1, ",\"signal\":11")), 128 + 11);
    cr_assert_eq(status_of(JOB("dead", 1, ",\"exit_code\":7")), 7);
    cr_assert_eq(status_of(JOB("timed_out", 1, ",\"signal\":15")), 124);
    cr_assert_eq(status_of(JOB("failed", 1, ",\"error\":\"no such program\"")), 1);
    cr_assert_eq(status_of(JOB("cancelled", 1, "")), 1, "by somebody else");
}

/* Ctrl-C while the job is waited for: the answer to that wait never comes. */
static void interrupt(const char *method)
{
    if (strcmp(method, "job.wait") == 0)
        kill(getpid(), SIGINT);
}

Test(run, an_interrupt_cancels_the_job)
{
    static const struct canned canned[] = {STARTS,
                                           {"job.get", JOB("running", 1, "")},
                                           {"job.logs", LOGS("", 0, false)},
                                           {"job.logs", LOGS("", 0, false)},
                                           {"job.wait", NULL},
                                           {"job.cancel", "\"result\":{\"results\":[]}"},
                                           {"job.logs", LOGS("bye", 3, true)},
                                           {"job.logs", LOGS("", 0, true)},
                                           {"job.get", JOB("cancelled", 1, ",\"signal\":15")},
                                           {"job.logs", LOGS("", 3, true)},
                                           {"job.logs", LOGS("", 0, true)},
                                           {0}};
    struct fake fake = {.canned = canned, .seen = interrupt};
    expect_run(fake_run(&fake, "", run_true), 128 + SIGINT, "bye", "");
    char *params = fake_params(&fake, "job.cancel", 0);
    cr_assert_not_null(params);
    cr_assert_str_eq(params, "{\"ids\":[5]}");
    free(params);
    fake_free(&fake);
}

static void interrupt_twice(const char *method)
{
    if (strcmp(method, "job.wait") == 0 || strcmp(method, "job.cancel") == 0)
        kill(getpid(), SIGTERM);
}

Test(run, a_second_interrupt_stops_waiting)
{
    static const struct canned canned[] = {STARTS, {"job.wait", NULL}, {"job.cancel", NULL}, {0}};
    struct fake fake = {.canned = canned, .seen = interrupt_twice};
    expect_run(fake_run(&fake, "", run_true), 128 + SIGTERM, "",
               "weft: not waiting any more; weftd goes on cancelling job 5\n");
    fake_free(&fake);
}

static void interrupt_submit(const char *method)
{
    if (strcmp(method, "job.submit") == 0)
        kill(getpid(), SIGINT);
}

Test(run, an_interrupt_before_the_id_is_known_says_so)
{
    static const struct canned canned[] = {{"job.submit", NULL}, {0}};
    struct fake fake = {.canned = canned, .seen = interrupt_submit};
    struct ran ran = fake_run(&fake, "", run_true);
    cr_assert_eq(ran.status, 128 + SIGINT);
    cr_assert(has(ran.err, "before weftd acknowledged"), "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
}

Test(run, signals_are_given_back)
{
    sigset_t now;
    cr_assert_eq(status_of(JOB("succeeded", 1, "")), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    cr_assert(!sigismember(&now, SIGINT) && !sigismember(&now, SIGTERM));
}

Test(run, a_daemon_that_stops_keeps_the_job)
{
    static const struct canned canned[] = {
        STARTS, {"job.wait", "\"error\":{\"code\":-32007,\"message\":\"weftd is stopping\"}"}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(fake_run(&fake, "", run_true), COMMAND_UNREACHABLE, "",
               "weft: weftd is stopping; job 5 is kept and runs again when weftd does\n");
    fake_free(&fake);
}

Test(run, output_that_nobody_reads_cancels_the_job)
{
    static const struct canned canned[] = {STARTS,
                                           {"job.logs", LOGS("out", 3, false)},
                                           {"job.logs", LOGS("", 0, false)},
                                           {"job.cancel", "\"result\":{\"results\":[]}"},
                                           {0}};
    struct fake fake = {.canned = canned};
    char *argv[] = {(char *)"weft", (char *)"run", (char *)"yes", NULL}, *text;
    size_t size;
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    close(pipes[0]);
    signal(SIGPIPE, SIG_IGN);
    FILE *out = fdopen(pipes[1], "w"), *err = open_memstream(&text, &size);
    fake_start(&fake);
    setenv("WEFT_SOCKET", fake.path, 1);
    cr_assert_eq(command_main(3, argv, stdin, out, err), 128 + SIGPIPE);
    fake_stop(&fake);
    fclose(out);
    fclose(err);
    cr_assert_str_eq(text, "");
    cr_assert_eq(fake_count(&fake, "job.cancel"), 1);
    free(text);
    fake_free(&fake);
}
