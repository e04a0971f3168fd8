/* SPDX-License-Identifier: MIT */
#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"
#include "support/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(const char *line, struct jsonrpc_message *message, struct rpc_error *error)
{
    return jsonrpc_parse(line, strlen(line), message, error);
}

/* The line as a whole is refused with this code, and its message holds the text. */
static void refused(const char *line, int code, const char *text)
{
    struct jsonrpc_message message = {.count = 77};
    struct rpc_error error = {0};
    cr_assert_eq(parse(line, &message, &error), -EINVAL);
    cr_assert(error.code == code, "%s: code %d, not %d", line, error.code, code);
    cr_assert(strstr(error.message, text) != NULL, "%s: %s", line, error.message);
    cr_assert_eq(message.count, 77);
}

/* The one request of the line is refused; the reply would carry this id. */
static void request_refused(const char *line, const char *id, const char *text)
{
    struct jsonrpc_message message;
    struct jsonrpc_request request;
    struct jsonrpc_text reply = {0};
    struct rpc_error error = {0};
    char head[128];
    cr_assert_eq(parse(line, &message, &error), 0);
    cr_assert_eq(jsonrpc_request_at(&message, 0, &request, &error), -EINVAL);
    cr_assert(error.code == RPC_INVALID_REQUEST, "%s: code %d", line, error.code);
    cr_assert(strstr(error.message, text) != NULL, "%s: %s", line, error.message);
    cr_assert(request.method == NULL && request.params == NULL, "only the id is told");
    cr_assert_eq(jsonrpc_append_error(&reply, request.id, &error), 0);
    snprintf(head, sizeof(head), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":-32600,", id);
    cr_assert(strncmp(reply.data, head, strlen(head)) == 0, "%.*s", (int)reply.size, reply.data);
    jsonrpc_text_destroy(&reply);
    jsonrpc_message_destroy(&message);
}

/* The one request of the line is good; what an echo of its id and parameters would say. */
static void accepted(const char *line, const char *method, const char *echo)
{
    struct jsonrpc_message message;
    struct jsonrpc_request request;
    struct jsonrpc_text reply = {0};
    struct rpc_error error = {0};
    int rc = parse(line, &message, &error);
    cr_assert(rc == 0, "%s: %s", line, error.message);
    cr_assert(!message.is_batch && message.count == 1, "one request");
    rc = jsonrpc_request_at(&message, 0, &request, &error);
    cr_assert(rc == 0, "%s: %s", line, error.message);
    cr_assert(strcmp(request.method, method) == 0, "%s", request.method);
    cr_assert_eq(jsonrpc_append_result(&reply, request.id, request.params), 0);
    cr_assert(reply.size == strlen(echo) && memcmp(reply.data, echo, reply.size) == 0, "%.*s",
              (int)reply.size, reply.data);
    jsonrpc_text_destroy(&reply);
    jsonrpc_message_destroy(&message);
}

Test(jsonrpc, request_of_the_design_is_read)
{
    accepted(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"job.submit\",\"params\":{\"argv\":[\"date\"]}}",
        "job.submit", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"argv\":[\"date\"]}}\n");
    accepted(" { \"method\" : \"ping\" , \"id\" : \"a\\nb\" , \"jsonrpc\" : \"2.0\" } ", "ping",
             "{\"jsonrpc\":\"2.0\",\"id\":\"a\\nb\",\"result\":null}\n");
    accepted("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"m\",\"params\":[1,2]}", "m",
             "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":[1,2]}\n");
}

Test(jsonrpc, ids_up_to_2_to_the_53_are_kept_exactly)
{
    accepted("{\"jsonrpc\":\"2.0\",\"id\":9007199254740991,\"method\":\"m\"}", "m",
             "{\"jsonrpc\":\"2.0\",\"id\":9007199254740991,\"result\":null}\n");
    accepted("{\"jsonrpc\":\"2.0\",\"id\":-9007199254740991,\"method\":\"m\"}", "m",
             "{\"jsonrpc\":\"2.0\",\"id\":-9007199254740991,\"result\":null}\n");
}

Test(jsonrpc, ids_of_other_kinds_are_refused_and_answered_with_null)
{
    static const char *const ids[] = {"9007199254740992",
                                      "-9007199254740992",
                                      "9223372036854775807",
                                      "1.5",
                                      "1.0",
                                      "true",
                                      "[]",
                                      "{}"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char line[128];
        snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"m\"}", ids[i]);
        request_refused(line, "null", "\"id\"");
    }
}

Test(jsonrpc, request_without_an_id_is_a_notification)
{
    struct jsonrpc_message message;
    struct jsonrpc_request request;
    struct rpc_error error;
    cr_assert_eq(parse("{\"jsonrpc\":\"2.0\",\"method\":\"m\"}", &message, &error), 0);
    cr_assert_eq(jsonrpc_request_at(&message, 0, &request, &error), 0);
    cr_assert(request.id == NULL, "no id, no reply");
    jsonrpc_message_destroy(&message);
}

Test(jsonrpc, what_is_not_json_is_a_parse_error)
{
    static const char *const lines[] = {"",
                                        "   ",
                                        "hello",
                                        "{",
                                        "{\"a\":}",
                                        "[1,]",
                                        "{\"a\":1,}",
                                        "{'a':1}",
                                        "{\"a\" 1}",
                                        "\"open",
                                        "[1] [2]",
                                        "{}x",
                                        "nul",
                                        "01",
                                        "+1",
                                        "1.",
                                        "[1}",
                                        "{]",
                                        "}",
                                        "]]]]",
                                        "\"\\x\"",
                                        "\"\\u12\"",
                                        "\"\\ud800\"",
                                        "NaN",
                                        "\"tab\there\"",
                                        "\xef\xbb\xbf{}"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        refused(lines[i], RPC_PARSE_ERROR, "not valid JSON at byte");
}

Test(jsonrpc, bytes_that_are_not_utf8_are_a_parse_error)
{
    refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", RPC_PARSE_ERROR, "0xff");
    refused("\"\xc0\xaf\"", RPC_PARSE_ERROR, "not valid JSON");
    refused("\"\xed\xa0\x80\"", RPC_PARSE_ERROR, "not valid JSON");
}

Test(jsonrpc, nul_bytes_are_a_parse_error)
{
    static const char *const lines[] = {"{\"a\0b\":1}", "{}\0", "\0{}", "\"a\0b\""};
    static const size_t sizes[] = {9, 3, 3, 5};
    for (size_t i = 0; i < 4; i++) {
        struct jsonrpc_message message;
        struct rpc_error error = {0};
        cr_assert_eq(jsonrpc_parse(lines[i], sizes[i], &message, &error), -EINVAL);
        cr_assert_eq(error.code, RPC_PARSE_ERROR);
    }
    refused("{\"a\":\"x\\u0000y\"}", RPC_PARSE_ERROR, "not valid JSON");
}

Test(jsonrpc, huge_numbers_are_a_parse_error)
{
    refused("[92233720368547758070]", RPC_PARSE_ERROR, "too big integer");
    refused("[-92233720368547758070]", RPC_PARSE_ERROR, "too big negative integer");
    refused("[1e400]", RPC_PARSE_ERROR, "real number overflow");
    char line[4000];
    memset(line, '9', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    refused(line, RPC_PARSE_ERROR, "too big integer");
}

Test(jsonrpc, duplicate_names_are_a_parse_error)
{
    refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"m\"}", RPC_PARSE_ERROR,
            "duplicate object key");
    refused("{\"params\":{\"x\":{\"a\":1,\"\\u0061\":2}}}", RPC_PARSE_ERROR,
            "duplicate object key");
}

/* `depth` arrays around nothing, inside the parameters of a request or bare. */
static char *nested(size_t depth)
{
    char *text = calloc(1, 2 * depth + 1);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return text;
}

Test(jsonrpc, depth_is_limited_before_the_parser_sees_it)
{
    struct jsonrpc_message message;
    struct rpc_error error;
    char *text = nested(JSONRPC_DEPTH_MAX);
    cr_assert_eq(parse(text, &message, &error), 0);
    jsonrpc_message_destroy(&message);
    free(text);
    static const size_t depths[] = {JSONRPC_DEPTH_MAX + 1, 100, 500000};
    for (size_t i = 0; i < 3; i++) {
        text = nested(depths[i]);
        refused(text, RPC_TOO_DEEP, "32 levels");
        text[depths[i]] = '\0'; /* never closed: too deep all the same */
        refused(text, RPC_TOO_DEEP, "32 levels");
        free(text);
    }
}

static size_t depth(const char *text)
{
    return jsonrpc_depth(text, strlen(text), 32);
}

Test(jsonrpc, brackets_inside_strings_do_not_count)
{
    cr_assert_eq(depth(""), 0);
    cr_assert_eq(depth("{\"a\":[1,{\"b\":[]}]}"), 4);
    cr_assert_eq(depth("[\"[[[[{{{{\"]"), 1);
    cr_assert_eq(depth("[\"\\\"[[[[\"]"), 1);
    cr_assert_eq(depth("[\"\\\\\",[\"[\"]]"), 2);
    cr_assert_eq(depth("\"[[[["), 0);
    cr_assert_eq(depth("\"\\"), 0);
    cr_assert_eq(depth("]]]][[["), 3);
    cr_assert_eq(jsonrpc_depth("[[[[[[", 6, 2), 3); /* stops one beyond the limit */
}

Test(jsonrpc, scalars_are_invalid_requests)
{
    refused("1", RPC_INVALID_REQUEST, "not a JSON-RPC 2.0 request");
    refused("\"ping\"", RPC_INVALID_REQUEST, "not a JSON-RPC 2.0 request");
    refused("null", RPC_INVALID_REQUEST, "not a JSON-RPC 2.0 request");
}

Test(jsonrpc, invalid_requests_are_answered_with_their_id)
{
    request_refused("{}", "null", "\"jsonrpc\" is missing");
    request_refused("{\"id\":7,\"method\":\"m\"}", "7", "\"jsonrpc\" is missing");
    request_refused("{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"m\"}", "7", "not \"2.0\"");
    request_refused("{\"jsonrpc\":2.0,\"id\":7,\"method\":\"m\"}", "7", "not \"2.0\"");
    request_refused("{\"jsonrpc\":\"2.0\",\"id\":\"x\"}", "\"x\"", "\"method\" is missing");
    request_refused("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":1}", "7", "\"method\" is not a name");
    request_refused("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\"}", "7", "not a name");
    request_refused("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"params\":1}", "7", "params");
    request_refused("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"params\":null}", "7",
                    "params");
    request_refused("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":\"x\"}", "null", "params");
    request_refused("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"argv\":[]}", "7",
                    "no member \"argv\"");
}

Test(jsonrpc, batch_is_an_array_of_requests)
{
    struct jsonrpc_message message;
    struct jsonrpc_request request;
    struct rpc_error error = {0};
    const char *line = "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}, 5, {\"id\":2},"
                       "{\"jsonrpc\":\"2.0\",\"method\":\"b\",\"params\":{}}, []]";
    cr_assert_eq(parse(line, &message, &error), 0);
    cr_assert(message.is_batch && message.count == 5, "five of them");
    cr_assert_eq(jsonrpc_request_at(&message, 0, &request, &error), 0);
    cr_assert(strcmp(request.method, "a") == 0 && json_integer_value(request.id) == 1, "first");
    cr_assert_eq(jsonrpc_request_at(&message, 1, &request, &error), -EINVAL);
    cr_assert(error.code == RPC_INVALID_REQUEST && request.id == NULL, "second");
    cr_assert_eq(jsonrpc_request_at(&message, 2, &request, &error), -EINVAL);
    cr_assert_eq(json_integer_value(request.id), 2);
    cr_assert_eq(jsonrpc_request_at(&message, 3, &request, &error), 0);
    cr_assert(request.id == NULL && json_is_object(request.params), "fourth");
    cr_assert_eq(jsonrpc_request_at(&message, 4, &request, &error), -EINVAL);
    cr_assert_eq(jsonrpc_request_at(&message, 5, &request, &error), -EINVAL);
    jsonrpc_message_destroy(&message);
}

Test(jsonrpc, empty_and_over_long_batches_are_refused)
{
    refused("[]", RPC_INVALID_REQUEST, "the batch is empty");
    char *line = malloc(2 * (JSONRPC_BATCH_MAX + 1) + 2), *at = line;
    for (int i = 0; i <= JSONRPC_BATCH_MAX; i++)
        at = stpcpy(at, i ? ",1" : "[1");
    strcpy(at, "]");
    refused(line, RPC_INVALID_REQUEST, "1025 requests");
    strcpy(at - 2, "]");
    struct jsonrpc_message message;
    struct rpc_error error;
    cr_assert_eq(parse(line, &message, &error), 0);
    cr_assert_eq(message.count, JSONRPC_BATCH_MAX);
    jsonrpc_message_destroy(&message);
    free(line);
}

/* No cut of a good line may be read as a good line, or crash. */
Test(jsonrpc, line_cut_anywhere_is_a_parse_error)
{
    const char *line =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\\u20acb\",\"params\":{\"x\":[1,"
        "-2.5e3,true,null,\"\xe2\x82\xac\"]}}";
    for (size_t size = 0; size < strlen(line); size++) {
        struct jsonrpc_message message;
        struct rpc_error error = {0};
        cr_assert_eq(jsonrpc_parse(line, size, &message, &error), -EINVAL);
        cr_assert_eq(error.code, RPC_PARSE_ERROR);
        json_t *text = json_string(error.message);
        cr_assert(text != NULL, "cut at %zu: the message is not UTF-8", size);
        json_decref(text);
    }
}

Test(jsonrpc, values_are_read_under_the_same_rules)
{
    struct rpc_error error = {0};
    json_t *value = NULL;
    cr_assert_eq(jsonrpc_parse_value("\"x\"", 3, &value, &error), 0);
    cr_assert(strcmp(json_string_value(value), "x") == 0, "a scalar is fine");
    json_decref(value);
    value = NULL;
    cr_assert_eq(jsonrpc_parse_value("{\"a\":1,\"a\":1}", 13, &value, &error), -EINVAL);
    cr_assert_eq(error.code, RPC_PARSE_ERROR);
    char *text = nested(100);
    cr_assert_eq(jsonrpc_parse_value(text, strlen(text), &value, &error), -EINVAL);
    cr_assert_eq(error.code, RPC_TOO_DEEP);
    cr_assert(value == NULL, "untouched on failure");
    free(text);
}

static long allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void *malloc_that_fails_once(size_t size)
{
    return allocations_left-- == 0 ? NULL : malloc(size);
}

/* Whether it was refused, as it must be if something was. */
static bool lacks_memory(const char *line, struct jsonrpc_message *message)
{
    struct rpc_error error = {.code = RPC_OK};
    int rc = parse(line, message, &error);
    if (rc == 0)
        return false;
    cr_assert_eq(rc, -ENOMEM, "%s", error.message);
    cr_assert_eq(error.code, RPC_INTERNAL_ERROR);
    return true;
}

/* Every allocation of jansson's fails in turn, alone or with all after it: always that, never a crash,
 * a leak, a word about the text, or a string without the bytes that its lexer had no room for. */
static void lack_memory_in(const char *line)
{
    void *(*const failing[])(size_t) = {failing_malloc, malloc_that_fails_once};
    for (size_t i = 0; i < 2; i++) {
        struct jsonrpc_message message;
        long n = 0;
        json_memory_watch(failing[i]);
        for (allocations_left = 0; lacks_memory(line, &message); allocations_left = ++n)
            ;
        json_memory_watch(malloc);
        cr_assert_gt(n, 10);
        cr_assert_geq(allocations_left, 0, "number %ld was refused, and that was passed over", n);
        cr_assert_eq(message.count, 1);
        jsonrpc_message_destroy(&message);
    }
}

Test(jsonrpc, out_of_memory_is_refused_wherever_it_strikes)
{
    struct jsonrpc_message message;
    struct rpc_error error;
    lack_memory_in("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"m\",\"params\":{\"x\":[1,"
                   "-2.5,\"\\u20ac\",{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,"
                   "\"h\":8,\"i\":9}]}}");
    json_memory_watch(failing_malloc);
    allocations_left = 100;
    cr_assert_eq(parse("{\"a\" 1}", &message, &error), -EINVAL, "%s", error.message);
    json_memory_watch(malloc);
}

#ifdef WEFT_TEST_MINI
enum { STRIDE = 5 }; /* of 16 and its doubles */
#else
enum { STRIDE = 1 };
#endif

/* The room for a token is doubled when it is full, by any of its bytes: its last quote too. */
Test(jsonrpc, out_of_memory_is_refused_in_strings_of_every_length)
{
    char line[512], text[200];
    for (size_t length = 0; length < sizeof text - 1; length += STRIDE) {
        memset(text, 'x', length);
        text[length] = '\0';
        snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", text);
        lack_memory_in(line);
    }
}

/* More than the load keeps in mind at its beginning. */
Test(jsonrpc, out_of_memory_is_refused_in_long_lines)
{
    char line[4096] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[";
    for (int i = 0; i < 200; i++)
        strcat(line, "\"x\",{\"a\":[]},");
    lack_memory_in(strcat(line, "0]}"));
}

Test(jsonrpc, destroy_takes_null_and_what_was_destroyed)
{
    struct jsonrpc_message message;
    struct rpc_error error;
    cr_assert_eq(parse("{}", &message, &error), 0);
    jsonrpc_message_destroy(&message);
    jsonrpc_message_destroy(&message);
    jsonrpc_message_destroy(NULL);
    jsonrpc_reply_destroy(NULL);
    jsonrpc_text_destroy(NULL);
}
