/* SPDX-License-Identifier: MIT */
/* Handlers by name, and what is said of a bad call. */
#include "daemon/job.h"
#include "daemon/module_host.h"
#include "daemon/native.h"
#include "daemon/native_call.h"
#include "daemon/run.h"

#include "protocol/error.h"
#include "protocol/jsonrpc.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/json_failing.h"

Test(native, finds_every_handler_that_it_lists)
{
    const struct native_handler *handler;
    size_t count = 0;
    for (; (handler = native_at(count)); count++)
        cr_assert_eq(native_find(handler->name), handler);
    cr_assert_eq(count, 8);
    cr_assert_null(native_find("no.such"));
    cr_assert_null(native_find(""));
    cr_assert_not_null(native_find("echo"));
    cr_assert_not_null(native_find("file.hash"));
}

static void expect_check(const char *name, const char *args, int code, const char *param,
                         const char *message)
{
    struct rpc_error error = {0};
    json_t *json = args ? json_loads(args, JSON_DECODE_ANY, NULL) : NULL;
    int rc = native_check(name, json, &error);
    json_decref(json);
    cr_assert_eq(rc, code == RPC_OK ? 0 : -EINVAL, "%s %s: %s", name, args, error.message);
    cr_assert_eq(error.code, code);
    cr_assert_str_eq(error.param, param);
    cr_assert(strstr(error.message, message), "%s", error.message);
}

Test(native, checks_names_and_arguments)
{
    expect_check("echo", "{\"any\": [1]}", RPC_OK, "", "");
    expect_check("echo", NULL, RPC_OK, "", "");
    expect_check("echo", "[1]", RPC_INVALID_PARAMS, "args", "must be an object");
    expect_check("sleep", "{\"seconds\": \"1.5s\"}", RPC_OK, "", "");
    expect_check("sleep", "{\"seconds\": 0.1}", RPC_OK, "", "");
    expect_check("sleep", "{}", RPC_INVALID_PARAMS, "args.seconds", "seconds");
    expect_check("sleep", "{\"seconds\": -1}", RPC_INVALID_PARAMS, "args.seconds", "sleep");
    expect_check("sleep", "{\"second\": 1}", RPC_INVALID_PARAMS, "args.second", "seconds");
    expect_check("file.copy", "{\"from\": \"/a\", \"to\": \"/b\"}", RPC_OK, "", "");
    expect_check("file.copy", "{\"from\": \"/a\", \"to\": \"b\"}", RPC_INVALID_PARAMS, "args.to",
                 "absolute path");
    expect_check("file.copy", "{\"from\": \"/a\"}", RPC_INVALID_PARAMS, "args.to", "to");
    expect_check("file.hash", "{\"path\": \"/a\", \"algorithm\": \"sha512\"}", RPC_OK, "", "");
    expect_check("file.hash", "{\"path\": \"/a\", \"algorithm\": \"md4\"}", RPC_INVALID_PARAMS,
                 "args.algorithm", "sha256");
    expect_check("file.read", "{\"path\": \"a\"}", RPC_INVALID_PARAMS, "args.path",
                 "absolute path");
    expect_check("file.read", "{\"path\": \"/a\", \"limit\": \"1M\"}", RPC_INVALID_PARAMS,
                 "args.limit", "limit");
    expect_check("file.write", "{\"path\": \"/a\", \"data\": \"\", \"append\": true}", RPC_OK, "",
                 "");
    expect_check("file.write", "{\"path\": \"/a\"}", RPC_INVALID_PARAMS, "args.data", "data");
    expect_check("file.hash", "{\"path\": \"\"}", RPC_INVALID_PARAMS, "args.path", "path");
}

Test(native, what_a_table_cannot_say_of_arguments_is_told_at_submit_too)
{
    expect_check("http.fetch", "{\"url\": \"HTTPS://user:word@[::1]:8443/a b?c#d\"}", RPC_OK, "",
                 "");
    expect_check("http.fetch", "{\"url\": \"ftp://host/\"}", RPC_INVALID_PARAMS, "args.url",
                 "http.fetch: parameter \"url\" cannot be fetched: neither http:// nor https://");
    expect_check("http.fetch", "{\"url\": \"file:///etc/passwd\"}", RPC_INVALID_PARAMS, "args.url",
                 "neither http:// nor https://");
    expect_check("http.fetch", "{\"url\": \"host/path\"}", RPC_INVALID_PARAMS, "args.url",
                 "malformed URL");
    expect_check("http.fetch", "{\"url\": \"http://\"}", RPC_INVALID_PARAMS, "args.url",
                 "malformed URL");
    expect_check("http.fetch", "{\"url\": \"http://host:99999/\"}", RPC_INVALID_PARAMS, "args.url",
                 "malformed URL");
    expect_check("http.fetch", "{\"url\": \"http://host\", \"method\": \"GET IT\"}",
                 RPC_INVALID_PARAMS, "args.method", "malformed method");
    expect_check("http.fetch", "{\"url\": \"http://host\", \"method\": \"HEAD\", \"body\": \"\"}",
                 RPC_INVALID_PARAMS, "args.method", "HEAD has no body");
    expect_check("http.fetch", "{\"url\": \"http://host\", \"headers\": {\"A\": \"1\\n2\"}}",
                 RPC_INVALID_PARAMS, "args.headers", "malformed header");
    expect_check("http.fetch", "{\"url\": \"http://host\", \"limit\": \"1M\"}", RPC_INVALID_PARAMS,
                 "args.limit", "at most 131072");
    expect_check("http.fetch", "{\"url\": \"http://host\", \"limit\": \"1M\", \"to\": \"/a/b\"}",
                 RPC_OK, "", "");
    expect_check("http.fetch", "{\"url\": \"http://host\", \"to\": \"/a/\"}", RPC_INVALID_PARAMS,
                 "args.to", "not a folder");
    expect_check("file.write", "{\"path\": \"/a\", \"data\": \"A\", \"encoding\": \"base64\"}",
                 RPC_INVALID_PARAMS, "args.data", "is not base64");
    expect_check("file.write", "{\"path\": \"/a/\", \"data\": \"A\"}", RPC_INVALID_PARAMS,
                 "args.path", "not a folder");
    expect_check("file.copy", "{\"from\": \"/a\", \"to\": \"/\"}", RPC_INVALID_PARAMS, "args.to",
                 "not a folder");
}

Test(native, names_the_nearest_handler)
{
    struct rpc_error error = {0};
    cr_assert_eq(native_check("file.hsh", NULL, &error), -EINVAL);
    cr_assert_eq(error.code, RPC_NO_SUCH_HANDLER);
    cr_assert_str_eq(error.nearest, "file.hash");
    cr_assert_eq(native_check("nothing.like.it", NULL, &error), -EINVAL);
    cr_assert_str_eq(error.nearest, "");
}

/* ---- results --------------------------------------------------------------------------------- */

/* before, so many arrays in each other, after.  The caller frees it. */
static char *nested(const char *before, size_t depth, const char *after)
{
    char *text = calloc(1, strlen(before) + 2 * depth + strlen(after) + 1);
    char *at = stpcpy(text, before);
    memset(at, '[', depth);
    memset(at + depth, ']', depth);
    strcpy(at + 2 * depth, after);
    return text;
}

static int set_nested(size_t depth)
{
    struct weft_attempt call = {0};
    char *text = nested("", depth, "");
    int rc = weft_result_json(&call, text, strlen(text));
    cr_assert_eq(call.err, rc);
    free(text);
    native_call_destroy(&call);
    return rc;
}

Test(native, result_that_no_stack_could_read_is_refused)
{
    cr_assert_eq(set_nested(JSONRPC_DEPTH_MAX), 0);
    cr_assert_eq(set_nested(JSONRPC_DEPTH_MAX + 1), -EINVAL);
    cr_assert_eq(set_nested(100000), -EINVAL);
}

static int read_nested(size_t depth)
{
    json_t *reply;
    int fd = module_reply_open();
    char *text = nested("{\"result\":", depth, "}");
    cr_assert_eq(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    int rc = module_reply_read(fd, &reply);
    if (rc == 0)
        json_decref(reply);
    free(text);
    close(fd);
    return rc;
}

Test(native, reply_of_a_module_nests_as_deep_as_a_result)
{
    cr_assert_eq(read_nested(JSONRPC_DEPTH_MAX), 0);
    cr_assert_eq(read_nested(JSONRPC_DEPTH_MAX + 1), -EPROTO);
    cr_assert_eq(read_nested(100000), -EPROTO);
}

static void expect_result(struct weft_attempt *call, const char *expected)
{
    char *text = json_dumps(call->result, JSON_COMPACT | JSON_SORT_KEYS);
    cr_assert_str_eq(text, expected);
    free(text);
}

Test(native, a_result_has_members_of_every_kind)
{
    struct weft_attempt call = {0};
    cr_assert_eq(weft_result_text(&call, "text", "\xc3\xa4"), 0);
    cr_assert_eq(weft_result_integer(&call, "integer", INT64_MIN), 0);
    cr_assert_eq(weft_result_number(&call, "number", 0.5), 0);
    cr_assert_eq(weft_result_boolean(&call, "yes", true), 0);
    cr_assert_eq(weft_result_append(&call, "empty", NULL), 0);
    cr_assert_eq(weft_result_append(&call, "list", "a"), 0);
    cr_assert_eq(weft_result_append(&call, "list", "b\xff"), 0);
    cr_assert_eq(weft_result_text_in(&call, "map", "key", "value"), 0);
    cr_assert_eq(weft_result_text_in(&call, "map", "key", "other"), 0);
    cr_assert_eq(call.err, 0);
    expect_result(&call, "{\"empty\":[],\"integer\":-9223372036854775808,\"list\":[\"a\",\"b?\"],"
                         "\"map\":{\"key\":\"other\"},\"number\":0.5,\"text\":\"\xc3\xa4\","
                         "\"yes\":true}");
    native_call_destroy(&call);
}

Test(native, what_a_result_cannot_hold_fails_the_call_by_its_first_error)
{
    struct weft_attempt call = {0};
    cr_assert_eq(weft_result_number(&call, "n", 0.0 / 0.0), -EDOM);
    cr_assert_eq(weft_result_number(&call, "n", 1.0 / 0.0), -EDOM);
    cr_assert_eq(weft_result_text(&call, "t", "\xff"), -EILSEQ);
    cr_assert_eq(weft_result_text(&call, "t", NULL), -EILSEQ);
    cr_assert_eq(weft_result_integer(&call, "fine", 1), 0);
    cr_assert_eq(call.err, -EDOM);
    expect_result(&call, "{\"fine\":1}");
    native_call_destroy(&call);
}

static int fill(struct weft_attempt *call)
{
    int rc = weft_result_text(call, "text", "\xc3\xa4");
    if (rc == 0)
        rc = weft_result_append(call, "list", "\xc3\xb6");
    if (rc == 0)
        rc = weft_result_text_in(call, "map", "key", "\xc3\xbc");
    return rc;
}

Test(native, a_handler_is_not_blamed_for_too_little_memory)
{
    bool has_failed = true;
    json_failing_init();
    for (size_t nth = 1; has_failed; nth++) {
        struct weft_attempt call = {0};
        json_failing = nth;
        int rc = fill(&call);
        has_failed = json_failing_end();
        cr_assert_eq(rc, has_failed ? -ENOMEM : 0, "allocation %zu failed: %d", nth, rc);
        cr_assert_eq(call.err, rc);
        if (rc == 0)
            expect_result(&call, "{\"list\":[\"\xc3\xb6\"],\"map\":{\"key\":\"\xc3\xbc\"},"
                                 "\"text\":\"\xc3\xa4\"}");
        native_call_destroy(&call);
    }
}

Test(native, a_member_that_is_no_list_is_not_appended_to)
{
    struct weft_attempt call = {0};
    cr_assert_eq(weft_result_text(&call, "name", "text"), 0);
    cr_assert_eq(weft_result_append(&call, "name", "x"), -EINVAL);
    cr_assert_eq(weft_result_text_in(&call, "name", "key", "x"), -EINVAL);
    cr_assert_eq(weft_result_append(&call, "name", NULL), -EINVAL);
    cr_assert_eq(call.err, -EINVAL);
    expect_result(&call, "{\"name\":\"text\"}");
    native_call_destroy(&call);
}

/* ---- arguments ------------------------------------------------------------------------------- */

Test(native, arguments_are_read_by_name_and_type)
{
    size_t size;
    struct weft_attempt call = {
        .args = json_loads("{\"n\":0.25,\"i\":7,\"b\":false,\"t\":\"x\"}", 0, NULL)};
    cr_assert(weft_arg_has(&call, "n"));
    cr_assert_not(weft_arg_has(&call, "m"));
    cr_assert_eq(weft_arg_number(&call, "n", 9), 0.25);
    cr_assert_eq(weft_arg_number(&call, "i", 9), 7);
    cr_assert_eq(weft_arg_number(&call, "t", 9), 9);
    cr_assert_eq(weft_arg_number(&call, "m", 9), 9);
    cr_assert_eq(weft_arg_integer(&call, "i", 9), 7);
    cr_assert_eq(weft_arg_boolean(&call, "b", true), false);
    cr_assert_str_eq(weft_arg_text(&call, "t", ""), "x");
    cr_assert_eq(strlen(weft_args_json(&call, &size)), size);
    json_decref((json_t *)call.args);
    native_call_destroy(&call);
    call = (struct weft_attempt){0};
    cr_assert_not(weft_arg_has(&call, "n"));
    cr_assert_str_eq(weft_args_json(&call, NULL), "{}");
    native_call_destroy(&call);
}

/* ---- progress -------------------------------------------------------------------------------- */

static void keep_said(void *arg, const struct run_progress *said)
{
    *(struct run_progress *)arg = *said;
}

static struct run_progress said_by(double fraction, const char *text)
{
    struct run_progress said = {0};
    struct run_request request = {.report = keep_said, .report_arg = &said};
    struct weft_attempt call = {.request = &request};
    weft_attempt_progress(&call, fraction, text ? "%s" : NULL, text);
    return said;
}

Test(native, progress_is_a_fraction_and_words)
{
    struct run_progress said = said_by(0.5, "half");
    cr_assert_eq(said.fraction, 0.5);
    cr_assert_str_eq(said.text, "half");
    cr_assert_eq(said_by(7, NULL).fraction, 1);
    cr_assert_str_eq(said_by(7, NULL).text, "");
    cr_assert_lt(said_by(-1, "x").fraction, 0);
    cr_assert_lt(said_by(0.0 / 0.0, "x").fraction, 0);
    struct weft_attempt unheard = {0};
    weft_attempt_progress(&unheard, 0.5, "nobody listens");
}

Test(native, long_words_are_cut_between_characters)
{
    char text[2 * RUN_PROGRESS_TEXT];
    for (size_t shift = 0; shift < 2; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "\xc3\xa4", 2);
        text[sizeof text - 2 + shift % 2] = '\0';
        struct run_progress said = said_by(0, text);
        json_t *json = json_string(said.text); /* which refuses what is no UTF-8 */
        cr_assert_not_null(json);
        cr_assert_geq(strlen(said.text), RUN_PROGRESS_TEXT - 2);
        json_decref(json);
    }
}

static int check_without_memory(struct weft_attempt *attempt)
{
    (void)attempt;
    return -ENOMEM;
}

static int never_run(struct weft_attempt *attempt)
{
    (void)attempt;
    abort();
}

/* The arguments may be right: the client is not to blame, and another attempt may do. */
Test(native, a_check_without_memory_says_nothing_of_the_arguments)
{
    const struct weft_handler handlers[] = {
        {"test.short", .run = never_run, .check = check_without_memory}};
    const struct weft_module module = WEFT_MODULE_INIT("test", "1", handlers);
    struct rpc_error error = {0};
    struct job_spec spec = {.call = (char *)"test.short"};
    struct run_request request = {.spec = &spec};
    struct run_outcome outcome;
    cr_assert_eq(native_add(&module, "/lib/test.so", NULL), 0);
    cr_assert_eq(native_check("test.short", NULL, &error), -ENOMEM);
    cr_assert_eq(error.code, RPC_INTERNAL_ERROR);
    cr_assert_str_eq(error.message, "out of memory");
    run_outcome_init(&outcome);
    cr_assert_eq(native_run(&request, &outcome), -ENOMEM);
    cr_assert_not(outcome.refused);
    cr_assert_str_eq(outcome.error, "out of memory");
    run_outcome_destroy(&outcome);
}
