/* SPDX-License-Identifier: MIT */
/* verbs: for each what it asks of weftd, what it prints and how it ends. */
#include "fake_server.h"

#include <limits.h>

static const struct canned submitted[] = {{"job.submit", "\"result\":{\"id\":17}"}, {0}};

/* ---- submit and call ---- */

Test(submit, prints_the_id_and_nothing_else)
{
    struct fake fake = {.canned = submitted};
    cr_assert_eq(chdir("/"), 0);
    expect_run(FAKE_RUN(&fake, "submit", "--", "ls", "-l", "--json"), 0, "17\n", "");
    expect_params(&fake, "job.submit", 0, "{\"argv\":[\"ls\",\"-l\",\"--json\"],\"cwd\":\"/\"}");
    fake_free(&fake);
}

Test(submit, sends_every_option)
{
    struct fake fake = {.canned = submitted};
    setenv("PASSED_ON", "a=b", 1);
    static const char *const words[] = {"submit",    "--queue", "q",           "--name=n",
                                        "--tag",     "a",       "--tag",       "b",
                                        "-p",        "-5",      "--delay",     "1.5s",
                                        "--timeout", "10m",     "--retries=3", "--on-crash=fail",
                                        NULL};
    /* in two halves, as the table of words is short */
    expect_run(fake_run(&fake, "", words), 2, "",
               "weft submit: which program?\n"
               "usage: weft submit [options] -- PROGRAM ARG... "
               "| [options] --from FILE\n"
               "weft submit --help says more\n");
    fake_free(&fake);
    static const char *const first[] = {"submit",
                                        "-qq",
                                        "--name=n",
                                        "--tag",
                                        "a",
                                        "--tag=b",
                                        "-p",
                                        "-5",
                                        "--delay=1.5s",
                                        "--timeout=10m",
                                        "--retries=3",
                                        "--on-crash=fail",
                                        "-C/",
                                        "true",
                                        NULL};
    fake = (struct fake){.canned = submitted};
    expect_run(fake_run(&fake, "", first), 0, "17\n", "");
    expect_params(&fake, "job.submit", 0,
                  "{\"argv\":[\"true\"],\"cwd\":\"/\",\"delay\":\"1.5s\",\"name\":\"n\","
                  "\"on_crash\":\"fail\",\"priority\":-5,\"queue\":\"q\",\"retries\":3,"
                  "\"tags\":[\"a\",\"b\"],\"timeout\":\"10m\"}");
    fake_free(&fake);
    fake = (struct fake){.canned = submitted};
    expect_run(FAKE_FEED(&fake, "some\ninput", "submit", "-e", "X=1=2", "-e", "PASSED_ON", "-e",
                         "EMPTY=", "--cwd=/", "--stdin", "-", "cat"),
               0, "17\n", "");
    expect_params(&fake, "job.submit", 0,
                  "{\"argv\":[\"cat\"],\"cwd\":\"/\",\"env\":{\"EMPTY\":\"\",\"PASSED_ON\":\"a=b\","
                  "\"X\":\"1=2\"},\"stdin\":\"some\\ninput\"}");
    fake_free(&fake);
}

Test(submit, a_relative_folder_is_of_the_caller)
{
    struct fake fake = {.canned = submitted};
    cr_assert_eq(chdir("/usr"), 0);
    expect_run(FAKE_RUN(&fake, "submit", "--cwd", "lib", "true"), 0, "17\n", "");
    expect_params(&fake, "job.submit", 0, "{\"argv\":[\"true\"],\"cwd\":\"/usr/lib\"}");
    fake_free(&fake);
}

Test(submit, input_that_cannot_be_sent_is_refused_here)
{
    setenv("WEFT_SOCKET", "/nowhere", 1);
    struct ran ran = RUN("\xff\xfe", "submit", "--stdin", "-", "cat");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert(has(ran.err, "not UTF-8"), "%s", ran.err);
    ran_free(&ran);
    ran = RUN("", "submit", "--stdin", "/nowhere/file", "cat");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert(has(ran.err, "/nowhere/file: No such file"), "%s", ran.err);
    ran_free(&ran);
    ran = RUN("", "submit", "--stdin", "/dev/zero", "cat");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert(has(ran.err, "larger than 1 MiB"), "%s", ran.err);
    ran_free(&ran);
}

Test(submit, json_prints_the_answer)
{
    struct fake fake = {.canned = submitted};
    expect_run(FAKE_RUN(&fake, "submit", "--json", "true"), 0, "{\"id\":17}\n", "");
    fake_free(&fake);
}

Test(call, sends_handler_and_arguments)
{
    struct fake fake = {.canned = submitted};
    expect_run(FAKE_RUN(&fake, "call", "echo", "{\"b\": [1, null]}", "--queue", "q"), 0, "17\n",
               "");
    expect_params(&fake, "job.submit", 0,
                  "{\"args\":{\"b\":[1,null]},\"call\":\"echo\",\"queue\":\"q\"}");
    fake_free(&fake);
    fake = (struct fake){.canned = submitted};
    expect_run(FAKE_RUN(&fake, "call", "echo"), 0, "17\n", "");
    expect_params(&fake, "job.submit", 0, "{\"call\":\"echo\"}");
    fake_free(&fake);
}

/* ---- list ---- */

static const struct canned pages[] = {
    {"job.list", "\"result\":{\"jobs\":[{\"id\":9,\"name\":\"n\\u001b[2J\",\"queue\":\"q\","
                 "\"state\":\"succeeded\",\"attempt\":1,\"submitted_at\":1,\"started_at\":10,"
                 "\"finished_at\":22.5,\"argv\":[\"sh\",\"-c\",\"it's\"]},{\"id\":8,"
                 "\"queue\":\"q\",\"state\":\"failed\",\"attempt\":2,\"call\":\"echo\","
                 "\"args\":{\"a\":1}}],\"next\":8}"},
    {"job.list", "\"result\":{\"jobs\":[{\"id\":7,\"queue\":\"q\",\"state\":\"queued\","
                 "\"attempt\":0}],\"next\":null}"},
    {0}};

Test(list, prints_a_table_that_cannot_steer_the_terminal)
{
    struct fake fake = {.canned = pages};
    struct ran ran =
        FAKE_RUN(&fake, "list", "--state", "failed,queued", "--queue", "q", "--limit", "2");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert(has(ran.out, "ID  NAME      QUEUE  STATE      TRY"), "%s", ran.out);
    cr_assert(has(ran.out, " 9  n\\x1b[2J  q      succeeded    1"), "%s", ran.out);
    cr_assert(has(ran.out, "   12s  sh -c 'it'\\''s'\n"), "%s", ran.out);
    cr_assert(has(ran.out, " 8  -         q      failed       2 "), "%s", ran.out);
    cr_assert(has(ran.out, "  -     -  echo {\"a\":1}\n"), "%s", ran.out);
    cr_assert_str_eq(ran.err, "more: weft list --before 8, or --all\n");
    ran_free(&ran);
    cr_assert_eq(fake_count(&fake, "job.list"), 1);
    expect_params(&fake, "job.list", 0,
                  "{\"limit\":2,\"queue\":[\"q\"],\"state\":[\"failed\",\"queued\"]}");
    fake_free(&fake);
}

Test(list, all_follows_the_pages_to_the_end)
{
    struct fake fake = {.canned = pages};
    struct ran ran = FAKE_RUN(&fake, "list", "--all", "--json");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    const char *nine = strstr(ran.out, "{\"id\":9,"), *eight = strstr(ran.out, "\n{\"id\":8,");
    const char *seven = strstr(ran.out, "\n{\"id\":7,");
    cr_assert(nine == ran.out && nine < eight && eight < seven, "%s", ran.out);
    cr_assert_str_eq(ran.err, "");
    ran_free(&ran);
    expect_params(&fake, "job.list", 0, "{\"limit\":500}");
    expect_params(&fake, "job.list", 1, "{\"before\":8,\"limit\":500}");
    fake_free(&fake);
}

Test(list, the_limit_counts_over_pages)
{
    struct fake fake = {.canned = pages};
    struct ran ran = FAKE_RUN(&fake, "list", "--limit", "3", "--before", "10");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert_str_eq(ran.err, "");
    ran_free(&ran);
    expect_params(&fake, "job.list", 0, "{\"before\":10,\"limit\":3}");
    expect_params(&fake, "job.list", 1, "{\"before\":8,\"limit\":1}");
    cr_assert_eq(fake_count(&fake, "job.list"), 2);
    fake_free(&fake);
}

#define EMPTY_PAGE(next) "\"result\":{\"jobs\":[],\"next\":" next "}"

static const struct canned sparse_pages[] = {
    {"job.list", EMPTY_PAGE("90")},
    {"job.list", "\"result\":{\"jobs\":[{\"id\":83,\"name\":\"short\",\"queue\":\"q\","
                 "\"state\":\"failed\",\"attempt\":1,\"call\":\"echo\"}],\"next\":80}"},
    {"job.list", EMPTY_PAGE("70")},
    {"job.list", "\"result\":{\"jobs\":[{\"id\":7,\"queue\":\"q\",\"state\":\"dead\","
                 "\"attempt\":1,\"call\":\"echo\"},{\"id\":6,\"name\":\"a longer name\","
                 "\"queue\":\"q\",\"state\":\"dead\",\"attempt\":1,\"call\":\"echo\"}],"
                 "\"next\":null}"},
    {0}};

Test(list, many_pages_are_one_table)
{
    struct fake fake = {.canned = sparse_pages};
    expect_run(FAKE_RUN(&fake, "list", "--all"), 0,
               "ID  NAME   QUEUE  STATE   TRY  AGE  TIME  COMMAND\n"
               "83  short  q      failed    1    -     -  echo\n"
               " 7  -      q      dead      1    -     -  echo\n"
               " 6  a longer name  q      dead      1    -     -  echo\n",
               "");
    fake_free(&fake);
}

static const struct canned no_jobs[] = {
    {"job.list", EMPTY_PAGE("90")}, {"job.list", EMPTY_PAGE("null")}, {0}};

Test(list, without_a_job_there_is_the_heading_alone)
{
    struct fake fake = {.canned = no_jobs};
    expect_run(FAKE_RUN(&fake, "list"), 0, "ID  NAME  QUEUE  STATE  TRY  AGE  TIME  COMMAND\n", "");
    fake_free(&fake);
}

/* ---- show ---- */

Test(show, prints_a_line_per_member_also_of_those_it_does_not_know)
{
    static const struct canned canned[] = {
        {"job.get", "\"result\":{\"id\":3,\"state\":\"failed\",\"argv\":[\"a b\"],\"exit_code\":2,"
                    "\"started_at\":100,\"finished_at\":101.5,\"error\":\"bad\\nline\","
                    "\"tags\":[\"x\"],\"brand_new\":{\"y\":1}}"},
        {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "show", "3");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert(has(ran.out, "id            3\n"), "%s", ran.out);
    cr_assert(has(ran.out, "command       'a b'\n"), "%s", ran.out);
    cr_assert(has(ran.out, "exit_code     2\n"), "%s", ran.out);
    cr_assert(has(ran.out, "error         bad\\nline\n"), "%s", ran.out);
    cr_assert(has(ran.out, "tags          [\"x\"]\n"), "%s", ran.out);
    cr_assert(has(ran.out, "brand_new     {\"y\": 1}\n"), "%s", ran.out);
    cr_assert(has(ran.out, "time          1.5s\n"), "%s", ran.out);
    ran_free(&ran);
    fake_free(&fake);
}

Test(show, goes_on_after_an_id_that_does_not_exist)
{
    static const struct canned canned[] = {
        {"job.get", "\"error\":{\"code\":-32001,\"message\":\"there is no job 1\"}"},
        {"job.get", "\"result\":{\"id\":2}"},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "show", "--json", "1", "2"), 1, "{\"id\":2}\n",
               "weft: there is no job 1\n");
    fake_free(&fake);
}

/* ---- wait and cancel ---- */

Test(wait, ends_with_0_if_all_succeeded)
{
    static const struct canned canned[] = {
        {"job.wait", "\"result\":{\"jobs\":[{\"id\":1,\"state\":\"succeeded\"},"
                     "{\"id\":2,\"state\":\"succeeded\"}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_FEED(&fake, " 1\n2 ", "wait", "-", "--timeout", "1m"), 0, "", "");
    expect_params(&fake, "job.wait", 0, "{\"ids\":[1,2],\"timeout\":\"1m\"}");
    fake_free(&fake);
}

Test(wait, ends_with_1_and_names_each_that_did_not)
{
    static const struct canned canned[] = {
        {"job.wait", "\"result\":{\"jobs\":[{\"id\":1,\"state\":\"succeeded\"},{\"id\":2,"
                     "\"state\":\"failed\",\"error\":\"exit status 2\"},{\"id\":3,"
                     "\"state\":\"dead\"},{\"id\":4,\"state\":\"cancelled\"}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "wait", "1", "2", "3", "4"), 1, "",
               "weft: job 2 failed: exit status 2\nweft: job 3 is dead\nweft: job 4 cancelled\n");
    fake_free(&fake);
}

Test(wait, a_timeout_is_a_failure)
{
    static const struct canned canned[] = {
        {"job.wait", "\"error\":{\"code\":-32009,\"message\":\"the time ran out\"}"}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "wait", "1", "--timeout", "0"), 1, "", "weft: the time ran out\n");
    fake_free(&fake);
}

Test(wait, that_weftd_stops_is_no_failure_of_a_job)
{
    static const struct canned canned[] = {{"job.wait", STOPPING}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "wait", "1", "2"), 3, "",
               "weft: weftd is stopping; run it again when weftd is back\n");
    fake_free(&fake);
}

Test(wait, no_ids_at_all_are_done)
{
    setenv("WEFT_SOCKET", "/nowhere", 1);
    expect_run(RUN(" \n", "wait", "-"), 0, "", "");
    struct ran ran = RUN("1 two", "wait", "-");
    cr_assert_eq(ran.status, COMMAND_USAGE);
    ran_free(&ran);
}

/* Answers each job.wait with as many succeeded jobs as it has ids, but the last chunk with one
 * that failed. */
static void serve_waits(struct fake *fake, FILE *from, int fd)
{
    json_t *request;
    while ((request = fake_read(fake, from))) {
        size_t count = json_array_size(json_object_get(json_object_get(request, "params"), "ids"));
        fake->count += count;
        fake_say(fd,
                 "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{\"jobs\":[{\"id\":%zu,"
                 "\"state\":\"%s\"}]}}\n",
                 fake_id(request), fake->count, count == 10000 ? "succeeded" : "failed");
    }
}

Test(wait, many_ids_go_in_chunks)
{
    char *ids = NULL;
    size_t size;
    FILE *to = open_memstream(&ids, &size);
    for (int i = 1; i <= 25000; i++)
        fprintf(to, "%d\n", i);
    fclose(to);
    struct fake fake = {.serve = serve_waits};
    expect_run(FAKE_FEED(&fake, ids, "wait", "-"), 1, "", "weft: job 25000 failed\n");
    cr_assert_eq(fake_count(&fake, "job.wait"), 3);
    cr_assert_eq(fake.count, 25000);
    fake_free(&fake);
    free(ids);
}

Test(cancel, prints_how_each_ended)
{
    static const struct canned canned[] = {
        {"job.cancel", "\"result\":{\"results\":[{\"id\":1,\"state\":\"cancelled\"},{\"id\":2,"
                       "\"state\":\"succeeded\"}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "cancel", "1", "2"), 0, "1 cancelled\n2 succeeded\n", "");
    expect_params(&fake, "job.cancel", 0, "{\"ids\":[1,2]}");
    fake_free(&fake);
}

Test(cancel, an_id_that_does_not_exist_is_a_failure)
{
    static const struct canned canned[] = {
        {"job.cancel", "\"result\":{\"results\":[{\"id\":1,\"error\":{\"code\":-32001,"
                       "\"message\":\"there is no job 1\"}},{\"id\":2,\"state\":\"cancelled\"}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "cancel", "1", "2"), 1, "2 cancelled\n",
               "weft: there is no job 1\n");
    fake_free(&fake);
}

/* ---- events ---- */

/* What the fake says behind its answer: three records. */
#define EVENT(params) "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":" params "}"
#define FIRST                                                                                      \
    "{\"seq\":8,\"time\":1.5,\"id\":17,\"name\":\"a\\u001Bb\",\"state\":\"queued\","               \
    "\"cause\":\"submit\",\"attempt\":0}"
#define LOST "{\"seq\":11,\"gap\":{\"from\":9,\"to\":11}}"
#define LAST                                                                                       \
    "{\"seq\":12,\"time\":3.0,\"id\":17,\"before\":\"running\",\"state\":\"failed\","              \
    "\"cause\":\"failure\",\"attempt\":2,\"exit_code\":3,\"error\":\"exit status\\n3\"}"

static const struct canned subscribed[] = {
    {"events.subscribe", "\"result\":{\"epoch\":3,\"last\":7}}\n" EVENT(FIRST) "\n" EVENT(
                             LOST) "\n"
                                   "{\"jsonrpc\":\"2.0\",\"method\":\"event\","
                                   "\"params\":" LAST}, /* the fake closes it */
    {0}};

Test(events, are_printed_as_they_come_and_cannot_steer_the_terminal)
{
    struct fake fake = {.canned = subscribed};
    setenv("TZ", "UTC", 1);
    expect_run(FAKE_RUN(&fake, "events", "--limit", "3"), 0,
               "1970-01-01 00:00:01  job 17 a\\x1bb: new -> queued (submit)\n"
               "1970-01-01 00:00:03  job 17: running -> failed (failure, attempt 2): "
               "exit status\\n3\n",
               "weft: events 9 to 11 are lost: weft list shows how the jobs are\n");
    expect_params(&fake, "events.subscribe", 0, "{}");
    fake_free(&fake);
}

Test(events, json_is_the_reply_and_the_records_as_they_came)
{
    struct fake fake = {.canned = subscribed};
    expect_run(FAKE_RUN(&fake, "events", "--json", "-l3", "--since", "0", "--epoch=2", "-q", "x",
                        "17", "18"),
               0, "{\"epoch\":3,\"last\":7}\n" FIRST "\n" LOST "\n" LAST "\n", "");
    expect_params(&fake, "events.subscribe", 0,
                  "{\"epoch\":2,\"ids\":[17,18],\"queue\":\"x\",\"since\":0}");
    fake_free(&fake);
}

Test(events, of_another_epoch_are_said_to_be_other_ones)
{
    struct fake fake = {.canned = subscribed};
    struct ran ran = FAKE_RUN(&fake, "events", "--limit=1", "--since=5", "--epoch=2");
    cr_assert_eq(ran.status, 0);
    cr_assert(has(ran.err, "epoch 2 is another life of weftd, this is its 3"), "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
    fake = (struct fake){.canned = subscribed};
    ran = FAKE_RUN(&fake, "events", "--limit=1", "--since=5", "--epoch=3");
    cr_assert_str_eq(ran.err, "");
    ran_free(&ran);
    fake_free(&fake);
}

static void expect_refused_events(const char *option, const char *value)
{
    struct fake fake = {.canned = subscribed};
    struct ran ran = FAKE_RUN(&fake, "events", option, value);
    cr_assert_eq(ran.status, 2);
    cr_assert_eq(fake_count(&fake, "events.subscribe"), 0);
    ran_free(&ran);
    fake_free(&fake);
}

Test(events, bad_numbers_are_refused_before_weftd_is_asked)
{
    expect_refused_events("--since", "-1");
    expect_refused_events("--json", "seventeen");
}

/* ---- retry and explain ---- */

Test(retry, prints_what_became_of_each)
{
    static const struct canned canned[] = {
        {"job.retry", "\"result\":{\"results\":[{\"id\":1,\"state\":\"queued\"},{\"id\":2,"
                      "\"error\":{\"code\":-32011,\"message\":\"job 2 is running\"}}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_FEED(&fake, "1 2\n", "retry", "-"), 1, "1 queued\n",
               "weft: job 2 is running\n");
    expect_params(&fake, "job.retry", 0, "{\"ids\":[1,2]}");
    fake_free(&fake);
}

static const struct canned explained[] = {
    {"job.explain", "\"result\":{\"id\":7,\"state\":\"queued\",\"reason\":\"all 8 slots\\u001b[2J "
                    "are taken\",\"ahead\":3}"},
    {0}};

Test(explain, prints_the_reason_that_cannot_steer_the_terminal)
{
    struct fake fake = {.canned = explained};
    expect_run(FAKE_RUN(&fake, "explain", "7"), 0,
               "job 7 (queued): all 8 slots\\x1b[2J are taken\n", "");
    expect_params(&fake, "job.explain", 0, "{\"id\":7}");
    fake_free(&fake);
}

Test(explain, json_is_the_answer_as_it_came)
{
    struct fake fake = {.canned = explained};
    expect_run(FAKE_RUN(&fake, "explain", "--json", "7"), 0,
               "{\"id\":7,\"state\":\"queued\",\"reason\":\"all 8 slots\\u001B[2J are taken\","
               "\"ahead\":3}\n",
               "");
    fake_free(&fake);
}

Test(explain, takes_one_id_and_says_what_is_refused)
{
    static const struct canned canned[] = {
        {"job.explain", "\"error\":{\"code\":-32001,\"message\":\"there is no job 1\"}"}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "explain", "1"), 1, "", "weft: there is no job 1\n");
    fake_free(&fake);
    setenv("WEFT_SOCKET", "/nowhere", 1);
    struct ran ran = RUN("", "explain", "1", "2");
    cr_assert_eq(ran.status, COMMAND_USAGE);
    ran_free(&ran);
    ran = RUN("", "explain", "one");
    cr_assert_eq(ran.status, COMMAND_USAGE);
    ran_free(&ran);
}

/* ---- stats, reload, ping ---- */

static const struct canned stats[] = {
    {"daemon.stats",
     "\"result\":{\"version\":\"0.1.0\",\"drained\":true,\"pid\":12,\"uptime\":75.5,\"workers\":[{"
     "\"turns\":100,"
     "\"steals\":5,\"stolen\":9,\"parks\":2,\"wakes\":3,\"polls\":4,\"longest_turn\":0.0015},"
     "{\"turns\":70,\"steals\":6}],\"jobs\":{\"queued\":3,\"timed_out\":1},"
     "\"store\":{\"commits\":8,\"file_bytes\":2048,\"failed\":true},"
     "\"memory\":{\"allocator\":\"jemalloc\",\"rss\":1048576}}"},
    {0}};

Test(stats, shows_workers_jobs_store_and_memory)
{
    struct fake fake = {.canned = stats};
    struct ran ran = FAKE_RUN(&fake, "stats");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert(has(ran.out, "weftd 0.1.0, pid 12, up 1m15s\n"), "%s", ran.out);
    cr_assert(has(ran.out, "WORKER  TURNS  SPAWNED  STEALS  STOLEN  PARKS  WAKES  POLLS  EVENTS  "
                           "HANDOFFS  LONGEST\n     0    100        0       5       9      2      3"
                           "      4       0         0    1.5ms\n     1     70        0       6"),
              "%s", ran.out);
    cr_assert(has(ran.out, "jobs     queued 3, timed out 1\n"), "%s", ran.out);
    cr_assert(has(ran.out, "store    commits 8, file 2.0 KiB\n"), "%s", ran.out);
    cr_assert(has(ran.out, "memory   jemalloc, resident 1.0 MiB\n"), "%s", ran.out);
    cr_assert(has(ran.out, "The store has FAILED"), "%s", ran.out);
    cr_assert(has(ran.out, "weftd is drained: it starts no jobs"), "%s", ran.out);
    ran_free(&ran);
    fake_free(&fake);
}

Test(stats, json_is_the_answer_as_it_came)
{
    struct fake fake = {.canned = stats};
    struct ran ran = FAKE_RUN(&fake, "stats", "--json");
    json_t *got = json_loads(ran.out, 0, NULL);
    json_t *given = json_loads(strchr(stats[0].answer, '{'), 0, NULL);
    cr_assert_not_null(got);
    cr_assert(json_equal(got, given), "%s", ran.out);
    json_decref(got);
    json_decref(given);
    ran_free(&ran);
    fake_free(&fake);
}

Test(reload, says_what_changed_and_what_did_not)
{
    static const struct canned canned[] = {
        {"daemon.reload", "\"result\":{\"changed\":2,\"restart\":[\"daemon.socket\"]}"}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "reload", "--wait"), 0,
               "reloaded: 2 settings changed\na restart is needed for: daemon.socket\n", "");
    fake_free(&fake);
}

Test(drain, says_what_still_runs_and_waits_if_asked_to)
{
    static const struct canned canned[] = {
        {"daemon.drain", "\"result\":{\"drained\":true,\"running\":2}"},
        {"daemon.drain", "\"result\":{\"drained\":false,\"running\":0}"},
        {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "drain"), 0, "drained: 2 jobs still run, no others are started\n",
               "");
    expect_params(&fake, "daemon.drain", 0, "{}");
    fake_free(&fake);
    fake = (struct fake){.canned = canned + 1};
    expect_run(FAKE_RUN(&fake, "drain", "--undo"), 0, "jobs are started again\n", "");
    expect_params(&fake, "daemon.drain", 0, "{\"undo\":true}");
    fake_free(&fake);
    fake = (struct fake){.canned = canned};
    ran_free(&(struct ran[]){FAKE_RUN(&fake, "drain", "--timeout", "5m")}[0]);
    expect_params(&fake, "daemon.drain", 0, "{\"timeout\":\"5m\",\"wait\":true}");
    fake_free(&fake);
}

Test(reload, a_bad_file_is_a_failure)
{
    static const struct canned canned[] = {
        {"daemon.reload", "\"error\":{\"code\":-32012,\"message\":\"weftd.conf:3: bad\"}"}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "reload"), 1, "", "weft: weftd.conf:3: bad\n");
    fake_free(&fake);
}

Test(backup, prints_the_path_and_asks_for_the_name)
{
    static const struct canned canned[] = {
        {"daemon.backup", "\"result\":{\"path\":\"/s/backup/a.db\",\"bytes\":4096}"}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "backup", "a.db"), 0, "/s/backup/a.db\n", "");
    expect_params(&fake, "daemon.backup", 0, "{\"name\":\"a.db\"}");
    fake_free(&fake);
}

Test(ping, says_how_long_it_took)
{
    static const struct canned canned[] = {{"ping", "\"result\":\"pong\""}, {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "ping");
    double ms = -1;
    cr_assert_eq(ran.status, 0);
    /* NOLINTNEXTLINE(cert-err34-c): a number that we printed */
    cr_assert_eq(sscanf(ran.out, "weftd answered in %lf ms", &ms), 1, "%s", ran.out);
    cr_assert(ms >= 0);
    ran_free(&ran);
    fake_free(&fake);
}
