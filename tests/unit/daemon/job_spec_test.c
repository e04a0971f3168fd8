/* SPDX-License-Identifier: MIT */
/* What job.submit accepts, refuses, and keeps. */
#include "daemon/job.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct job_spec *parse(const char *text)
{
    struct job_spec *spec = NULL;
    struct rpc_error error = {0};
    json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
    cr_assert_not_null(json, "%s", text);
    int rc = job_spec_from_json(json, &spec, &error);
    json_decref(json);
    cr_assert_eq(rc, 0, "%s: %s", text, error.message);
    return spec;
}

Test(job_spec, a_program_has_defaults)
{
    struct job_spec *spec = parse("{\"argv\":[\"date\",\"-u\"]}");
    cr_assert_str_eq(spec->argv[0], "date");
    cr_assert_str_eq(spec->argv[1], "-u");
    cr_assert_null(spec->argv[2]);
    cr_assert_str_eq(spec->queue, "default");
    cr_assert_null(spec->call);
    cr_assert_null(spec->args);
    cr_assert_null(spec->env);
    cr_assert_null(spec->cwd);
    cr_assert_null(spec->stdin_data);
    cr_assert_eq(spec->timeout_ns, 0);
    cr_assert_eq(spec->on_crash, JOB_CRASH_REQUEUE);
    job_spec_free(spec);
}

#define EVERYTHING                                                                                 \
    "{\"name\":\"me\",\"argv\":[\"a\",\"\"],\"env\":{\"A\":\"1\",\"B\":\"x=y\"},\"cwd\":\"/tmp\"," \
    "\"stdin\":\"n\\u0000l\",\"queue\":\"q\",\"tags\":[\"x\",\"y\"],"                              \
    "\"priority\":-3,\"retries\":4,\"delay\":\"1m30s\",\"timeout\":\"1.5s\",\"on_crash\":"         \
    "\"fail\"}"

Test(job_spec, everything_is_read)
{
    struct job_spec *spec = parse(EVERYTHING);
    cr_assert_str_eq(spec->argv[1], "");
    cr_assert_str_eq(spec->env[0], "A=1");
    cr_assert_str_eq(spec->env[1], "B=x=y");
    cr_assert_null(spec->env[2]);
    cr_assert_eq(spec->stdin_size, 3);
    cr_assert_arr_eq(spec->stdin_data, "n\0l", 3);
    cr_assert_str_eq(spec->queue, "q");
    cr_assert_str_eq(spec->name, "me");
    cr_assert_str_eq(spec->tags[1], "y");
    cr_assert_eq(spec->priority, -3);
    cr_assert_eq(spec->retries, 4);
    cr_assert_eq(spec->delay_ns, UINT64_C(90000000000));
    cr_assert_eq(spec->timeout_ns, UINT64_C(1500000000));
    cr_assert_eq(spec->on_crash, JOB_CRASH_FAIL);
    job_spec_free(spec);
    job_spec_free(NULL);
}

static void round_trip(const char *text)
{
    struct job_spec *spec = parse(text), *again;
    struct rpc_error error = {0};
    char *first, *second;
    cr_assert_eq(job_spec_to_text(spec, &first), 0);
    cr_assert_eq(job_spec_from_text(first, &again, &error), 0, "%s", error.message);
    cr_assert_eq(job_spec_to_text(again, &second), 0);
    cr_assert_str_eq(first, second);
    free(first);
    free(second);
    job_spec_free(spec);
    job_spec_free(again);
}

Test(job_spec, text_and_spec_are_the_same)
{
    struct job_spec *spec = parse(EVERYTHING);
    char *text;
    cr_assert_eq(job_spec_to_text(spec, &text), 0);
    cr_assert_str_eq(text, EVERYTHING);
    free(text);
    job_spec_free(spec);
    round_trip("{\"argv\":[\"x\"]}");
    round_trip("{\"call\":\"echo\"}");
    round_trip("{\"call\":\"echo\",\"args\":{\"b\":[1,2.5,null],\"a\":{\"\":\"\\u0000\"}}}");
    round_trip("{\"argv\":[\"x\"],\"env\":{},\"tags\":[],\"stdin\":\"\",\"delay\":0.25}");
    round_trip("{\"argv\":[\"x\"],\"durable\":false}");
    round_trip("{\"argv\":[\"x\"],\"keep\":\"0s\"}");
    round_trip("{\"argv\":[\"x\"],\"keep\":\"1h30m\"}");
    round_trip("{\"argv\":[\"x\"],\"start_at\":1795933800.123456789}");
    round_trip("{\"argv\":[\"x\"],\"stdin_file\":\"/a\",\"umask\":\"7\",\"nice\":-1,"
               "\"ionice\":\"idle\",\"limits\":{\"core\":\"0:infinity\"}}");
    round_trip("{\"argv\":[\"x\"],\"memory_max\":\"64M\"}");
    round_trip("{\"argv\":[\"x\"],\"tasks_max\":12,\"cpu_quota\":150.25}");
    round_trip("{\"argv\":[\"x\"],\"output_keep\":\"head\"}");
    round_trip("{\"argv\":[\"x\"],\"output_keep\":\"tail\"}");
}

Test(job_spec, a_start_is_kept_to_the_nanosecond)
{
    struct job_spec *spec =
        parse("{\"argv\":[\"x\"],\"start_at\":\"2026-11-29T07:30:00.000000001+01:00\"}");
    char *text;
    cr_assert_eq(spec->start_at, INT64_C(1795933800000000001));
    cr_assert_eq(job_spec_to_text(spec, &text), 0);
    cr_assert_str_eq(text, "{\"argv\":[\"x\"],\"start_at\":\"2026-11-29T06:30:00.000000001Z\"}");
    free(text);
    job_spec_free(spec);
}

static void expect_name(const char *text, const char *expected)
{
    size_t size;
    const char *name = job_spec_text_name(text, &size);
    cr_assert_eq(name != NULL, expected != NULL, "%s", text);
    cr_assert_eq(size, expected ? strlen(expected) : 0, "%s: %zu", text, size);
    cr_assert(!expected || memcmp(name, expected, size) == 0, "%s", text);
}

Test(job_spec, name_is_found_in_the_text_without_parsing_it)
{
    struct job_spec *spec =
        parse("{\"argv\":[\"\\\"name\\\":\"],\"name\":\"a \\\"b\\\\\\u0007 \u00e4\"}");
    char *text;
    cr_assert_eq(job_spec_to_text(spec, &text), 0);
    expect_name(text, "\"a \\\"b\\\\\\u0007 \u00e4\"");
    free(text);
    job_spec_free(spec);
    expect_name("{\"argv\":[\"x\"],\"env\":{\"name\":\"y\"}}", NULL);
    expect_name("{\"name\":\"cut", NULL);
    expect_name("{\"name\":\"cut\\", NULL);
    expect_name(NULL, NULL);
}

Test(job_spec, defaults_are_left_out_of_the_text)
{
    struct job_spec *spec = parse("{\"call\":\"echo\",\"args\":{},\"queue\":\"default\","
                                  "\"priority\":0,\"retries\":0,\"timeout\":0,"
                                  "\"on_crash\":\"requeue\",\"durable\":true}");
    char *text;
    cr_assert_eq(job_spec_to_text(spec, &text), 0);
    cr_assert_str_eq(text, "{\"call\":\"echo\"}");
    free(text);
    job_spec_free(spec);
}

static void refuse(const char *text, int code, const char *param, const char *part)
{
    struct job_spec *spec = NULL;
    struct rpc_error error = {0};
    json_t *json = json_loads(text, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    cr_assert_not_null(json, "%s", text);
    cr_assert_eq(job_spec_from_json(json, &spec, &error), -EINVAL, "%s", text);
    cr_assert_null(spec);
    cr_assert_eq(error.code, code, "%s: %d %s", text, error.code, error.message);
    cr_assert_str_eq(error.param, param, "%s: %s", text, error.param);
    cr_assert_not_null(strstr(error.message, part), "%s: %s", text, error.message);
    json_decref(json);
}

Test(job_spec, what_is_wrong_is_refused_by_name)
{
    const int bad = RPC_INVALID_PARAMS;
    refuse("{}", bad, "argv", "needs");
    refuse("[]", bad, "", "object");
    refuse("{\"argv\":[\"x\"],\"call\":\"echo\"}", bad, "call", "not both");
    refuse("{\"argv\":[]}", bad, "argv", "the least is 1");
    refuse("{\"argv\":[\"\"]}", bad, "argv", "empty");
    refuse("{\"argv\":\"x\"}", bad, "argv", "array of strings");
    refuse("{\"argv\":[1]}", bad, "argv[0]", "string");
    refuse("{\"argv\":[\"x\\u0000\"]}", bad, "argv", "NUL");
    refuse("{\"argv\":[\"x\"],\"env\":{\"A\":\"\\u0000\"}}", bad, "env", "NUL");
    refuse("{\"argv\":[\"x\"],\"env\":{\"A=B\":\"\"}}", bad, "env", "A=B");
    refuse("{\"argv\":[\"x\"],\"env\":{\"\":\"\"}}", bad, "env", "variable");
    refuse("{\"argv\":[\"x\"],\"cwd\":\"tmp\"}", bad, "cwd", "absolute");
    refuse("{\"argv\":[\"x\"],\"cwd\":\"/t\\u0000\"}", bad, "cwd", "NUL");
    refuse("{\"argv\":[\"x\"],\"args\":{}}", bad, "args", "call");
    refuse("{\"call\":\"echo\",\"env\":{}}", bad, "env", "argv");
    refuse("{\"call\":\"echo\",\"stdin\":\"\"}", bad, "stdin", "argv");
    refuse("{\"call\":\"echo\",\"cwd\":\"/\"}", bad, "cwd", "argv");
    refuse("{\"call\":\"echo\",\"args\":[]}", bad, "args", "object");
    refuse("{\"argv\":[\"x\"],\"retries\":-1}", bad, "retries", "range");
    refuse("{\"argv\":[\"x\"],\"retries\":1001}", bad, "retries", "range");
    refuse("{\"argv\":[\"x\"],\"retries\":1.5}", bad, "retries", "integer");
    refuse("{\"argv\":[\"x\"],\"priority\":1000001}", bad, "priority", "range");
    refuse("{\"argv\":[\"x\"],\"delay\":-1}", bad, "delay", "duration");
    refuse("{\"argv\":[\"x\"],\"start_at\":\"6 pm\"}", bad, "start_at", "zone");
    refuse("{\"argv\":[\"x\"],\"start_at\":1,\"delay\":0}", bad, "start_at", "give one");
    refuse("{\"argv\":[\"x\"],\"timeout\":\"soon\"}", bad, "timeout", "duration");
    refuse("{\"argv\":[\"x\"],\"timeout\":1e300}", bad, "timeout", "too large");
    refuse("{\"argv\":[\"x\"],\"delay\":\"200000d\"}", bad, "delay", "range");
    refuse("{\"argv\":[\"x\"],\"on_crash\":\"explode\"}", bad, "on_crash", "requeue");
    refuse("{\"argv\":[\"x\"],\"queue\":\"\"}", bad, "queue", "least");
    refuse("{\"argv\":[\"x\"],\"queue\":null}", bad, "queue", "string");
    refuse("{\"argv\":[\"x\"],\"piority\":1}", bad, "piority", "priority");
    refuse("{\"argv\":[\"x\"],\"after\":[]}", bad, "after", "least");
    refuse("{\"argv\":[\"x\"],\"after\":7}", bad, "after", "array");
    refuse("{\"argv\":[\"x\"],\"after\":[0]}", bad, "after[0]", "range");
    refuse("{\"argv\":[\"x\"],\"after\":{\"when\":\"ok\"}}", bad, "after.ids", "ids");
    refuse("{\"argv\":[\"x\"],\"after\":{\"ids\":[1],\"when\":\"never\"}}", bad, "after.when",
           "end");
    refuse("{\"argv\":[\"x\"],\"after\":{\"id\":[1]}}", bad, "after.id", "ids");
    refuse("{\"argv\":[\"x\"],\"key\":\"\"}", bad, "key", "least");
    refuse("{\"argv\":[\"x\"],\"key\":\"a\\u0000b\"}", bad, "key", "NUL");
    refuse("{\"argv\":[\"x\"],\"durable\":0}", bad, "durable", "true or false");
    refuse("{\"argv\":[\"x\"],\"durable\":false,\"keep\":1}", bad, "keep", "durable jobs");
    refuse("{\"argv\":[\"x\"],\"keep\":-1}", bad, "keep", "keep");
    refuse("{\"argv\":[\"x\"],\"stdin_file\":\"a\"}", bad, "stdin_file", "absolute");
    refuse("{\"argv\":[\"x\"],\"stdin_file\":\"/a\",\"stdin\":\"\"}", bad, "stdin_file",
           "give one");
    refuse("{\"argv\":[\"x\"],\"nice\":20}", bad, "nice", "range");
    refuse("{\"argv\":[\"x\"],\"umask\":\"9\"}", bad, "umask", "octal");
    refuse("{\"argv\":[\"x\"],\"ionice\":\"x\"}", bad, "ionice", "idle");
    refuse("{\"argv\":[\"x\"],\"limits\":{\"cores\":0}}", bad, "limits", "core");
    refuse("{\"argv\":[\"x\"],\"output_keep\":\"middle\"}", bad, "output_keep", "tail");
    refuse("{\"argv\":[\"x\"],\"memory_max\":1.5}", bad, "memory_max", "integer");
    refuse("{\"argv\":[\"x\"],\"memory_max\":\"1\"}", bad, "memory_max", "size from 4K");
    refuse("{\"argv\":[\"x\"],\"tasks_max\":0}", bad, "tasks_max", "from 1");
    refuse("{\"argv\":[\"x\"],\"cpu_quota\":\"1/2\"}", bad, "cpu_quota", "percentage");
    refuse("{\"argv\":[\"x\"],\"cpu_qouta\":1}", bad, "cpu_qouta", "cpu_quota");
    static const char *const of_programs[] = {"stdin_file", "umask",     "nice",
                                              "ionice",     "limits",    "memory_max",
                                              "tasks_max",  "cpu_quota", "output_keep"};
    static const char *const values[] = {"\"/a\"", "\"7\"", "1",      "\"idle\"", "{}",
                                         "\"1M\"", "1",     "\"5%\"", "\"tail\""};
    for (size_t i = 0; i < sizeof of_programs / sizeof of_programs[0]; i++) {
        char text[96];
        snprintf(text, sizeof text, "{\"call\":\"echo\",\"%s\":%s}", of_programs[i], values[i]);
        refuse(text, bad, of_programs[i], "belongs to \"argv\"");
    }
    refuse("{\"call\":\"ehco\"}", RPC_NO_SUCH_HANDLER, "call", "ehco");
}

static void check_after(const char *text, size_t count, bool any_end)
{
    struct job_spec *spec = parse(text), *again = NULL;
    struct rpc_error error;
    char *stored;
    cr_assert_eq(job_spec_to_text(spec, &stored), 0);
    cr_assert_eq(job_spec_from_text(stored, &again, &error), 0);
    cr_assert_eq(again->after_count, count);
    cr_assert_eq(again->after_any_end, any_end);
    cr_assert_eq(again->after[count - 1], spec->after[count - 1]);
    cr_assert_eq(spec->after[0], 7);
    free(stored);
    job_spec_free(spec);
    job_spec_free(again);
}

Test(job_spec, after_is_a_list_or_says_when)
{
    check_after("{\"argv\":[\"x\"],\"after\":[7,9007199254740991]}", 2, false);
    check_after("{\"argv\":[\"x\"],\"after\":{\"ids\":[7]}}", 1, false);
    check_after("{\"argv\":[\"x\"],\"after\":{\"ids\":[7,8,9],\"when\":\"ok\"}}", 3, false);
    check_after("{\"argv\":[\"x\"],\"after\":{\"ids\":[7],\"when\":\"end\"}}", 1, true);
}

Test(job_spec, a_stored_text_that_cannot_be_read_says_so)
{
    struct job_spec *spec = NULL;
    struct rpc_error error = {0};
    cr_assert_eq(job_spec_from_text("{\"argv\":", &spec, &error), -EINVAL);
    cr_assert_eq(error.code, RPC_INTERNAL_ERROR);
    cr_assert_eq(job_spec_from_text("", &spec, &error), -EINVAL);
    cr_assert_eq(job_spec_from_text("{\"argv\":[\"a\"],\"argv\":[\"b\"]}", &spec, &error), -EINVAL);
    cr_assert_null(spec);
}
