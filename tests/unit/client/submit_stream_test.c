/* SPDX-License-Identifier: MIT */
/* submit_stream: thousands of jobs through a few lines, ids in order, every refusal named. */
#include "fake_server.h"

#define HELLO "{\"limits\":{\"line_max\":%zu,\"jobs\":100000}}"

struct gathered {
    long long id;
    size_t count; /* jobs in it */
};

static size_t jobs_of(const json_t *request)
{
    return json_array_size(json_object_get(json_object_get(request, "params"), "jobs"));
}

/* Answer to one chunk; ids go on from fake->count. */
static void answer(int fd, long long id, size_t first, size_t count)
{
    fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{\"results\":[", id);
    for (size_t i = 0; i < count; i++)
        fake_say(fd, "%s{\"id\":%zu}", i ? "," : "", first + i);
    fake_say(fd, "]}}\n");
}

/* Says hello, gathers 4 chunks at a time (or what there is) and answers them last first. */
static void serve_backwards(struct fake *fake, FILE *from, int fd)
{
    struct gathered held[4];
    size_t count = 0, next = 1;
    json_t *request = fake_read(fake, from);
    fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":" HELLO "}\n", fake_id(request),
             fake->count);
    while ((request = fake_read(fake, from))) {
        held[count++] = (struct gathered){fake_id(request), jobs_of(request)};
        bool is_last = held[count - 1].count < held[0].count; /* a chunk that is not full */
        if (count < 4 && !is_last)
            continue;
        size_t end = next;
        for (size_t i = 0; i < count; i++)
            end += held[i].count;
        next = end;
        while (count-- > 0) {
            end -= held[count].count;
            answer(fd, held[count].id, end, held[count].count);
        }
        count = 0;
    }
}

static char *lines(size_t count, const char *format)
{
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    for (size_t i = 0; i < count; i++)
        fprintf(to, format, i);
    fclose(to);
    return text;
}

static void expect_ids(const char *out, size_t count)
{
    char *end;
    for (size_t i = 1; i <= count; i++) {
        cr_assert_eq(strtoul(out, &end, 10), i, "line %zu: %.20s", i, out);
        cr_assert_eq(*end, '\n');
        out = end + 1;
    }
    cr_assert_eq(*out, '\0', "no more than that: %.20s", out);
}

Test(submit_stream, ten_thousand_calls_come_back_in_order, .timeout = 60)
{
    char *text = lines(10000, "{\"n\": %zu}\n");
    struct fake fake = {.serve = serve_backwards, .count = 1 << 20};
    struct ran ran = FAKE_FEED(&fake, text, "call", "--from", "-", "echo", "--queue", "q");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    expect_ids(ran.out, 10000);
    cr_assert_eq(fake_count(&fake, "job.submit_many"), 10, "1,024 jobs a chunk");
    const json_t *jobs =
        json_object_get(json_object_get(json_array_get(fake.requests, 10), "params"), "jobs");
    json_t *expected =
        json_pack("{s:s, s:s, s:{s:i}}", "call", "echo", "queue", "q", "args", "n", 9999);
    cr_assert(json_equal(json_array_get(jobs, json_array_size(jobs) - 1), expected));
    json_decref(expected);
    ran_free(&ran);
    fake_free(&fake);
    free(text);
}

Test(submit_stream, no_request_is_longer_than_weftd_takes, .timeout = 60)
{
    char *text = lines(300, "{\"argv\":[\"echo\",\"%0200zu\"]}\n");
    struct fake fake = {.serve = serve_backwards, .count = 4096};
    struct ran ran = FAKE_FEED(&fake, text, "submit", "--from", "-");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    expect_ids(ran.out, 300);
    size_t i;
    json_t *request;
    json_array_foreach(fake.requests, i, request)
    {
        size_t size = json_dumpb(request, NULL, 0, JSON_COMPACT);
        cr_assert(size <= 4096, "request %zu has %zu bytes", i, size);
        cr_assert(i == 0 || i + 1 == json_array_size(fake.requests) || size > 4096 - 256 - 256,
                  "request %zu has only %zu bytes", i, size);
    }
    ran_free(&ran);
    fake_free(&fake);
    free(text);
}

/* hello, then the canned answer to each chunk. */
static struct ran feed(struct fake *fake, const char *input, const char *flag)
{
    return FAKE_FEED(fake, input, "submit", "--from", "-", flag);
}

#define SMALL_HELLO                                                                                \
    {                                                                                              \
        "hello", "\"result\":{\"limits\":{\"line_max\":1048576,\"jobs\":2}}"                       \
    }

Test(submit_stream, lines_that_are_wrong_are_named_and_the_others_go)
{
    static const struct canned canned[] = {
        SMALL_HELLO,
        {"job.submit_many", "\"result\":{\"results\":[{\"id\":1},{\"error\":{\"code\":-32003,"
                            "\"message\":\"there is no handler 'eco'\"}}]}"},
        {"job.submit_many", "\"result\":{\"results\":[{\"id\":2}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = feed(&fake,
                          "{\"argv\":[\"a\"]}\n\n{broken\n[1]\n  \n{\"call\":\"eco\"}\n"
                          "{\"argv\":[\"b\"]}",
                          "--name=x");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert_str_eq(ran.out, "1\n2\n");
    cr_assert(has(ran.err, "standard input:3: "), "%s", ran.err);
    cr_assert(has(ran.err, "standard input:4: each line must be a JSON object"), "%s", ran.err);
    cr_assert(has(ran.err, "standard input:6: there is no handler 'eco'"), "%s", ran.err);
    ran_free(&ran);
    char *params = fake_params(&fake, "job.submit_many", 0);
    cr_assert_str_eq(params, "{\"jobs\":[{\"argv\":[\"a\"],\"name\":\"x\"},"
                             "{\"call\":\"eco\",\"name\":\"x\"}]}");
    free(params);
    fake_free(&fake);
}

Test(submit_stream, json_gives_a_value_per_line)
{
    static const struct canned canned[] = {
        SMALL_HELLO,
        {"job.submit_many", "\"result\":{\"results\":[{\"id\":1},{\"error\":{\"code\":-32003,"
                            "\"message\":\"no\"}}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = feed(&fake, "{}\n\n{}\n", "--json");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert_str_eq(ran.out, "{\"id\":1,\"line\":1}\n"
                              "{\"error\":{\"code\":-32003,\"message\":\"no\"},\"line\":3}\n");
    ran_free(&ran);
    fake_free(&fake);
}

Test(submit_stream, what_was_acknowledged_is_printed_though_a_chunk_is_refused)
{
    static const struct canned canned[] = {
        SMALL_HELLO,
        {"job.submit_many", "\"result\":{\"results\":[{\"id\":1},{\"id\":2}]}"},
        {"job.submit_many", "\"error\":{\"code\":-32006,\"message\":\"the disk is full\"}"},
        {"job.submit_many", "\"result\":{\"results\":[{\"id\":3}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = feed(&fake, "{}\n{}\n{}\n{}\n{}\n", "--queue=q");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert_str_eq(ran.out, "1\n2\n3\n");
    cr_assert(has(ran.err, "lines 3 to 4 were refused"), "%s", ran.err);
    cr_assert(has(ran.err, "the disk is full"), "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
}

/* Acknowledges one chunk and dies. */
static void serve_one(struct fake *fake, FILE *from, int fd)
{
    json_t *request = fake_read(fake, from);
    fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{\"limits\":{\"jobs\":2}}}\n",
             fake_id(request));
    request = fake_read(fake, from);
    answer(fd, fake_id(request), 1, jobs_of(request));
}

Test(submit_stream, a_daemon_that_dies_leaves_no_doubt_about_what_it_took)
{
    struct fake fake = {.serve = serve_one};
    struct ran ran = feed(&fake, "{}\n{}\n{}\n{}\n{}\n", "--queue=q");
    cr_assert_eq(ran.status, COMMAND_UNREACHABLE, "%s", ran.err);
    cr_assert_str_eq(ran.out, "1\n2\n");
    cr_assert(has(ran.err, "from line 3 on nothing was acknowledged"), "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
}

Test(submit_stream, a_wrong_number_of_results_is_not_believed)
{
    static const struct canned canned[] = {
        SMALL_HELLO, {"job.submit_many", "\"result\":{\"results\":[{\"id\":1}]}"}, {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = feed(&fake, "{}\n{}\n", "--queue=q");
    cr_assert_eq(ran.status, COMMAND_UNREACHABLE);
    cr_assert_str_eq(ran.out, "");
    ran_free(&ran);
    fake_free(&fake);
}

Test(submit_stream, a_job_too_large_or_too_deep_is_refused_here)
{
    static const struct canned canned[] = {
        {"hello", "\"result\":{\"limits\":{\"line_max\":1000}}"},
        {"job.submit_many", "\"result\":{\"results\":[{\"id\":1}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    char *large = lines(1, "{\"argv\":[\"%01000zu\"]}\n");
    char *deep = lines(29, "{\"a\":");
    char *input;
    cr_assert(asprintf(&input, "%s%s1%.29s\n{\"argv\":[\"a\"]}\n", large, deep,
                       "}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}") > 0);
    struct ran ran = feed(&fake, input, "--queue=q");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert_str_eq(ran.out, "1\n");
    cr_assert(has(ran.err, ":1: the job is too large"), "%s", ran.err);
    cr_assert(has(ran.err, ":2: nested too deeply"), "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
    free(input);
    free(large);
    free(deep);
}

Test(submit_stream, no_lines_are_no_jobs)
{
    static const struct canned canned[] = {SMALL_HELLO, {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = feed(&fake, "\n \n", "--queue=q");
    cr_assert_eq(ran.status, COMMAND_OK, "%s", ran.err);
    cr_assert_str_eq(ran.out, "");
    ran_free(&ran);
    fake_free(&fake);
    ran = RUN("", "submit", "--from", "/nowhere/jobs");
    cr_assert_eq(ran.status, COMMAND_FAILED);
    cr_assert(has(ran.err, "/nowhere/jobs: No such file"), "%s", ran.err);
    ran_free(&ran);
}
