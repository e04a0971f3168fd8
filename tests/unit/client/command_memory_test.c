/* SPDX-License-Identifier: MIT */
/* command: what weft asks of weftd when memory is short: what was asked for, or nothing.  In each run
 * another allocation of jansson, which makes the requests, fails. */
#include "fake_server.h"

#include "protocol/json_memory.h"

static _Thread_local size_t failing; /* the failing-th allocation from now on; 0: none */

static void *allocate(size_t size)
{
    return failing > 0 && --failing == 0 ? NULL : malloc(size);
}

#define QUEUES "\"result\":{\"queues\":[]}"
#define IDS    "\"result\":{\"results\":[{\"id\":5},{\"id\":6}]}"
#define ENDED  "\"result\":{\"id\":5,\"state\":\"succeeded\",\"attempt\":1,\"exit_code\":0}"

static const struct canned answers[] = {
    {"hello", "\"result\":{\"limits\":{}}", NULL},
    {"queue.pause", QUEUES, NULL},
    {"queue.resume", QUEUES, NULL},
    {"queue.set", QUEUES, NULL},
    {"queue.purge", "\"result\":{\"queue\":\"q\",\"cancelled\":0}", NULL},
    {"daemon.drain", "\"result\":{\"drained\":false}", NULL},
    {"daemon.backup", "\"result\":{\"path\":\"/p\"}", NULL},
    /* the answer and the first event */
    {"events.subscribe", "\"result\":{}}\n{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{}",
     NULL},
    {"job.submit", "\"result\":{\"id\":5}", NULL},
    {"job.submit_many", IDS, NULL},
    {"job.cancel", IDS, NULL},
    {"job.wait", "\"result\":{\"jobs\":[{\"id\":5,\"state\":\"succeeded\"}]}", NULL},
    {"job.list", "\"result\":{\"jobs\":[]}", NULL},
    {"job.explain", "\"result\":{\"id\":5,\"reason\":\"it runs\"}", NULL},
    {"job.logs", "\"result\":{\"data\":\"\",\"encoding\":\"utf-8\",\"next\":0,\"eof\":true}", NULL},
    {"job.get", ENDED, NULL},
    {0},
};

static const json_t *params_of(const json_t *request)
{
    return json_object_get(request, "params");
}

static const json_t *jobs_of(const json_t *request)
{
    return json_object_get(params_of(request), "jobs");
}

static bool has_job(const json_t *jobs, const json_t *wanted)
{
    size_t i;
    json_t *job;
    json_array_foreach(jobs, i, job)
    {
        if (json_equal(job, wanted))
            return true;
    }
    return false;
}

/* Lines of a file of jobs may be refused, and are named then; the others are sent as they are. */
static bool is_part_of(const json_t *whole, const json_t *request)
{
    size_t i;
    json_t *job;
    const json_t *params = params_of(request);
    if (strcmp(fake_method(whole), fake_method(request)) != 0)
        return false;
    if (strcmp(fake_method(whole), "job.submit_many") != 0)
        return params ? json_equal(params_of(whole), params) : !params_of(whole);
    json_array_foreach(jobs_of(request), i, job)
    {
        if (!has_job(jobs_of(whole), job))
            return false;
    }
    return true;
}

static bool was_wanted(const json_t *requests, const json_t *request)
{
    size_t i;
    json_t *whole;
    json_array_foreach(requests, i, whole)
    {
        if (is_part_of(whole, request))
            return true;
    }
    return false;
}

static size_t count_jobs(const json_t *requests)
{
    size_t i, count = 0;
    json_t *request;
    json_array_foreach(requests, i, request) count += json_array_size(jobs_of(request));
    return count;
}

static void expect_asked(const struct fake *fake, const struct fake *all, const struct ran *ran,
                         size_t nth)
{
    size_t i;
    json_t *request;
    json_array_foreach(fake->requests, i, request)
    {
        char *text = json_dumps(request, JSON_COMPACT);
        cr_assert(was_wanted(all->requests, request), "allocation %zu failed: %s", nth, text);
        free(text);
    }
    if (json_array_size(fake->requests) < json_array_size(all->requests) ||
        count_jobs(fake->requests) < count_jobs(all->requests))
        cr_assert_neq(ran->status, 0, "allocation %zu failed: not all was asked", nth);
}

static void expect_said(const struct ran *ran, const struct ran *whole, size_t nth)
{
    bool is_whole = strcmp(ran->out, whole->out) == 0;
    cr_assert(is_whole || ran->status != 0, "allocation %zu failed: %s", nth, ran->out);
    cr_assert(!has(ran->err, "UTF-8"), "allocation %zu failed: %s", nth, ran->err);
}

static void sweep(const char *input, const char *const *words)
{
    struct fake all = {.canned = answers};
    json_memory_watch(allocate);
    struct ran whole = fake_run(&all, input, words), ran;
    cr_assert_eq(whole.status, 0, "%s %s: %s", words[0], words[1], whole.err);
    for (size_t nth = 1, left = 0; left == 0; nth++) {
        struct fake fake = {.canned = answers};
        fake_start(&fake);
        setenv("WEFT_SOCKET", fake.path, 1);
        failing = nth;
        ran = run_words(input, words);
        left = failing;
        failing = 0;
        fake_stop(&fake);
        expect_asked(&fake, &all, &ran, nth);
        expect_said(&ran, &whole, nth);
        ran_free(&ran);
        fake_free(&fake);
    }
    ran_free(&whole);
    fake_free(&all);
}

#define SWEEP(...) sweep("", (const char *const[]){__VA_ARGS__, NULL})

Test(command_memory, a_queue_is_the_one_that_was_named)
{
    SWEEP("queue", "pause", "--all");
    SWEEP("queue", "resume");
    SWEEP("queue", "pause", "a", "b", "--freeze");
    SWEEP("queue", "set", "q", "--reset");
    SWEEP("queue", "purge", "q", "--state", "queued,delayed");
}

Test(command_memory, the_daemon_is_told_what_was_said)
{
    SWEEP("drain", "--undo");
    SWEEP("drain", "--timeout", "10s");
    SWEEP("backup", "name");
}

Test(command_memory, jobs_are_those_that_were_named)
{
    SWEEP("cancel", "5", "6", "7");
    SWEEP("wait", "--timeout", "10s", "5", "6");
    SWEEP("events", "--limit", "1", "5", "6");
    SWEEP("list", "--state", "queued,running", "--queue", "q");
    SWEEP("show", "5", "6");
    SWEEP("explain", "5");
    SWEEP("logs", "--follow", "5");
}

Test(command_memory, answers_are_printed_whole)
{
    SWEEP("list", "--json");
    SWEEP("show", "--json", "5");
    SWEEP("queue", "pause", "--json", "q");
    SWEEP("explain", "--json", "5");
    SWEEP("drain", "--json");
    SWEEP("submit", "--json", "true");
    SWEEP("wait", "--json", "5");
}

Test(command_memory, a_job_is_as_it_was_described)
{
    SWEEP("submit", "--tag", "a", "--env", "A=b", "--limit", "nofile=3", "--after-any", "3,4",
          "--cwd", "/", "true", "--", "a", "b");
    SWEEP("call", "--wait", "--retries", "3", "handler", "{\"a\":[1,2]}");
}

Test(command_memory, many_jobs_are_as_they_were_described)
{
    static const char *const submit[] = {"submit", "--queue", "q", "--from", "-", NULL};
    static const char *const call[] = {"call", "--queue", "q", "--from", "-", "h", NULL};
    sweep("{\"argv\":[\"a\"]}\n{\"argv\":[\"b\"],\"name\":\"c\"}\n", submit);
    sweep("{\"argv\":[\"a\"]}\n{\"argv\":[\"b\"],\"name\":\"c\"}\n", call);
}
