/* SPDX-License-Identifier: MIT */
#include "protocol/jsonrpc.h"
#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void holds(const struct jsonrpc_text *text, const char *expected)
{
    cr_assert(text->size == strlen(expected) && memcmp(text->data, expected, text->size) == 0,
              "got %.*s", (int)text->size, text->data);
}

Test(jsonrpc_text, messages_are_one_compact_line_each)
{
    struct jsonrpc_text text = {0};
    json_t *id = json_integer(5), *value = json_pack("{s:[i,s]}", "a", 1, "x\ny");
    cr_assert_eq(jsonrpc_append_result(&text, id, value), 0);
    cr_assert_eq(jsonrpc_append_request(&text, id, "job.get", value), 0);
    cr_assert_eq(jsonrpc_append_request(&text, id, "ping", NULL), 0);
    cr_assert_eq(jsonrpc_append_notification(&text, "event", value), 0);
    holds(&text,
          "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"a\":[1,\"x\\ny\"]}}\n"
          "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"job.get\",\"params\":{\"a\":[1,\"x\\ny\"]}}\n"
          "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"ping\"}\n"
          "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"a\":[1,\"x\\ny\"]}}\n");
    text.size = 0;
    cr_assert_eq(jsonrpc_append_result(&text, NULL, NULL), 0);
    holds(&text, "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":null}\n");
    json_decref(id);
    json_decref(value);
    jsonrpc_text_destroy(&text);
}

Test(jsonrpc_text, errors_carry_fields_for_programs)
{
    struct jsonrpc_text text = {0};
    struct rpc_error error;
    rpc_error_set(&error, RPC_SHUTTING_DOWN, "stopping \"now\"");
    cr_assert_eq(jsonrpc_append_error(&text, NULL, &error), 0);
    holds(&text, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32007,\"message\":"
                 "\"stopping \\\"now\\\"\",\"data\":{\"name\":\"shutting_down\"}}}\n");
    text.size = 0;
    rpc_error_set_param(&error, RPC_INVALID_PARAMS, "agrv", "argv", "unknown");
    cr_assert_eq(jsonrpc_append_error(&text, NULL, &error), 0);
    holds(&text, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32602,\"message\":"
                 "\"unknown\",\"data\":{\"name\":\"invalid_params\",\"param\":\"agrv\","
                 "\"nearest\":\"argv\"}}}\n");
    jsonrpc_text_destroy(&text);
}

Test(jsonrpc_text, error_with_any_bytes_in_it_can_be_sent)
{
    struct jsonrpc_text text = {0};
    struct rpc_error error;
    rpc_error_set_param(&error, RPC_NO_SUCH_QUEUE, "\xff", "\xc0", "no queue \xfe\x01");
    cr_assert_eq(jsonrpc_append_error(&text, NULL, &error), 0);
    cr_assert(memmem(text.data, text.size, "no queue ?\\u0001", 16) != NULL, "scrubbed");
    jsonrpc_text_destroy(&text);
}

Test(jsonrpc_text, what_cannot_be_written_leaves_the_text_as_it_was)
{
    struct jsonrpc_text text = {0};
    json_t *bad = json_array();
    json_array_append_new(bad, json_string_nocheck("fine"));
    json_array_append_new(bad, json_string_nocheck("\xff"));
    cr_assert_eq(jsonrpc_append_result(&text, NULL, bad), -EINVAL);
    cr_assert_eq(text.size, 0);
    cr_assert_eq(jsonrpc_append_notification(&text, "ok", NULL), 0);
    size_t size = text.size;
    cr_assert_eq(jsonrpc_append_notification(&text, "\xff", NULL), -EINVAL);
    cr_assert_eq(jsonrpc_append_request(&text, bad, "m", NULL), -EINVAL);
    cr_assert_eq(text.size, size);
    cr_assert_eq(jsonrpc_batch_open(&text), 0);
    cr_assert_eq(jsonrpc_append_result(&text, NULL, bad), -EINVAL);
    cr_assert(!text.has_items, "a failed item is no item");
    cr_assert_eq(jsonrpc_append_result(&text, NULL, NULL), 0);
    cr_assert_eq(jsonrpc_append_result(&text, NULL, bad), -EINVAL);
    cr_assert_eq(jsonrpc_batch_close(&text), 0);
    holds(&text, "{\"jsonrpc\":\"2.0\",\"method\":\"ok\"}\n"
                 "[{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":null}]\n");
    json_decref(bad);
    jsonrpc_text_destroy(&text);
}

static long allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

Test(jsonrpc_text, out_of_memory_leaves_the_text_as_it_was)
{
    struct jsonrpc_text text = {0};
    struct rpc_error error;
    int rc = -ENOMEM;
    rpc_error_set_param(&error, RPC_INVALID_PARAMS, "agrv", "argv", "unknown");
    cr_assert_eq(jsonrpc_append_notification(&text, "ok", NULL), 0);
    size_t size = text.size;
    json_set_alloc_funcs(failing_malloc, free);
    for (long n = 0; rc < 0; n++) {
        cr_assert_eq(text.size, size);
        allocations_left = n;
        rc = jsonrpc_append_error(&text, NULL, &error);
    }
    json_set_alloc_funcs(malloc, free);
    cr_assert(memmem(text.data, text.size, "agrv", 4) != NULL, "whole at last");
    jsonrpc_text_destroy(&text);
}

Test(jsonrpc_text, batch_of_replies_is_one_line)
{
    struct jsonrpc_text text = {0};
    json_t *one = json_integer(1), *two = json_integer(2);
    cr_assert_eq(jsonrpc_batch_close(&text), -EINVAL);
    cr_assert_eq(jsonrpc_batch_open(&text), 0);
    cr_assert_eq(jsonrpc_batch_open(&text), -EINVAL);
    cr_assert_eq(jsonrpc_append_result(&text, one, NULL), 0);
    cr_assert_eq(jsonrpc_append_result(&text, two, NULL), 0);
    cr_assert_eq(jsonrpc_batch_close(&text), 0);
    holds(&text, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null},"
                 "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":null}]\n");
    text.size = 0;
    cr_assert_eq(jsonrpc_batch_open(&text), 0);
    cr_assert_eq(jsonrpc_batch_close(&text), 0);
    holds(&text, "");
    json_decref(one);
    json_decref(two);
    jsonrpc_text_destroy(&text);
}

Test(jsonrpc_text, large_results_are_written_whole)
{
    struct jsonrpc_text text = {0};
    struct jsonrpc_reply reply;
    char *body = malloc((3 << 20) + 1);
    memset(body, 'x', 3 << 20);
    body[3 << 20] = '\0';
    json_t *id = json_string("i"), *value = json_string(body);
    cr_assert_eq(jsonrpc_append_result(&text, id, value), 0);
    cr_assert_eq(jsonrpc_parse_reply(text.data, text.size, &reply), 0);
    cr_assert(json_equal(reply.result, value) && json_equal(reply.id, id), "the same came back");
    jsonrpc_reply_destroy(&reply);
    jsonrpc_text_destroy(&text);
    json_decref(id);
    json_decref(value);
    free(body);
}

static int parse_reply(const char *line, struct jsonrpc_reply *reply)
{
    return jsonrpc_parse_reply(line, strlen(line), reply);
}

Test(jsonrpc_text, replies_are_read_back)
{
    struct jsonrpc_reply reply;
    cr_assert_eq(parse_reply("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":null,\"new\":1}", &reply),
                 0);
    cr_assert(json_integer_value(reply.id) == 3 && json_is_null(reply.result), "a result");
    cr_assert(reply.code == 0 && reply.method == NULL && reply.message == NULL, "and only that");
    jsonrpc_reply_destroy(&reply);
    cr_assert_eq(parse_reply("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,"
                             "\"message\":\"m\",\"data\":{\"name\":\"n\"}}}",
                             &reply),
                 0);
    cr_assert(json_is_null(reply.id) && reply.code == -32700 && reply.result == NULL, "an error");
    cr_assert(strcmp(reply.message, "m") == 0 && json_is_object(reply.data), "its fields");
    jsonrpc_reply_destroy(&reply);
    cr_assert_eq(parse_reply("{\"jsonrpc\":\"2.0\",\"method\":\"e\",\"params\":{}}", &reply), 0);
    cr_assert(reply.id == NULL && strcmp(reply.method, "e") == 0 && reply.params, "notification");
    jsonrpc_reply_destroy(&reply);
}

Test(jsonrpc_text, what_is_no_reply_is_refused)
{
    static const char *const lines[] = {
        "",
        "x",
        "1",
        "[]",
        "{}",
        "{\"jsonrpc\":\"2.0\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"result\":1}",
        "{\"id\":1,\"result\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"result\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1,\"error\":{\"code\":1,\"message\":\"\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":null}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"message\":\"m\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":\"1\",\"message\":\"m\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":99999999999,\"message\":\"m\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"result\":1}"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct jsonrpc_reply reply = {.code = 77};
        cr_assert(parse_reply(lines[i], &reply) == -EBADMSG, "%s", lines[i]);
        cr_assert_eq(reply.code, 77);
    }
}
