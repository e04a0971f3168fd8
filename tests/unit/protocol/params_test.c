/* SPDX-License-Identifier: MIT */
#include "protocol/jsonrpc.h"
#include "protocol/params.h"
#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define S INT64_C(1000000000)

static const char *const on_crash[] = {"requeue", "fail", NULL};
static const char *const colours[] = {"red", "green", NULL};

static const struct param_spec table[] = {
    {.name = "argv", .types = PARAM_STRINGS, .length_min = 1, .length_max = 4},
    {.name = "args", .types = PARAM_OBJECT},
    {.name = "env", .types = PARAM_STRING_MAP, .length_max = 2},
    {.name = "name", .types = PARAM_STRING, .length_min = 1, .length_max = 8},
    {.name = "priority", .types = PARAM_INT, .min = -1000, .max = 1000},
    {.name = "ratio", .types = PARAM_NUMBER, .min = 0, .max = 1},
    {.name = "durable", .types = PARAM_BOOL},
    {.name = "ids", .types = PARAM_INTS, .min = 1, .max = INT64_MAX, .length_min = 1},
    {.name = "jobs", .types = PARAM_ARRAY, .length_max = 3},
    {.name = "timeout", .types = PARAM_DURATION, .min = 0, .max = 3600 * S},
    {.name = "limit", .types = PARAM_SIZE, .min = 1, .max = 1 << 20},
    {.name = "delay", .types = PARAM_DURATION},
    {.name = "on_crash", .types = PARAM_STRING, .choices = on_crash},
    {.name = "colours", .types = PARAM_STRINGS, .choices = colours},
    {.name = "after", .types = PARAM_INT | PARAM_STRING | PARAM_NULL},
    {.name = "data", .types = PARAM_ANY},
    {.name = "count", .types = PARAM_INT},
    {.name = "start", .types = PARAM_TIME},
};

static json_t *json(const char *text)
{
    struct rpc_error error;
    json_t *value = NULL;
    int rc = jsonrpc_parse_value(text, strlen(text), &value, &error);
    cr_assert(rc == 0, "%s: %s", text, error.message);
    return value;
}

static int check(const char *text, struct rpc_error *error)
{
    json_t *params = json(text);
    int rc = params_check(params, table, PARAMS_COUNT(table), error);
    json_decref(params);
    return rc;
}

static void good(const char *text)
{
    struct rpc_error error = {.code = 77};
    int rc = check(text, &error);
    cr_assert(rc == 0, "%s: %s", text, error.message);
    cr_assert_eq(error.code, 77);
}

static void bad(const char *text, const char *param, const char *message)
{
    struct rpc_error error = {0};
    cr_assert(check(text, &error) == -EINVAL, "%s was taken", text);
    cr_assert_eq(error.code, RPC_INVALID_PARAMS);
    cr_assert(strcmp(error.param, param) == 0, "%s: param %s", text, error.param);
    cr_assert(strstr(error.message, message) != NULL, "%s: %s", text, error.message);
}

Test(params, every_type_is_taken)
{
    good("{}");
    good("{\"argv\":[\"date\",\"\"],\"args\":{\"any\":[1]},\"env\":{\"A\":\"b\",\"C\":\"\"}}");
    good("{\"name\":\"x\",\"priority\":-1000,\"ratio\":0.5,\"durable\":false,\"ids\":[1,2,3]}");
    good("{\"jobs\":[1,\"x\",{}],\"timeout\":\"1h\",\"limit\":\"1M\",\"on_crash\":\"fail\"}");
    good("{\"colours\":[\"red\",\"green\",\"red\"]}");
    good("{\"after\":1}");
    good("{\"after\":\"x\"}");
    good("{\"after\":null}");
    good("{\"data\":{\"x\":[null]}}");
    good("{\"ratio\":1,\"timeout\":1.5,\"limit\":4096}");
    good("{\"count\":-9223372036854775808}");
}

Test(params, no_parameters_are_an_empty_object)
{
    struct rpc_error error;
    cr_assert_eq(params_check(NULL, table, PARAMS_COUNT(table), &error), 0);
    cr_assert_eq(params_check(NULL, NULL, 0, &error), 0);
}

Test(params, positions_are_refused)
{
    bad("[1]", "", "expected an object, got an array");
}

Test(params, unknown_name_is_refused_with_the_nearest)
{
    struct rpc_error error;
    bad("{\"agrv\":[\"date\"]}", "agrv", "unknown parameter \"agrv\"; did you mean \"argv\"?");
    cr_assert_eq(check("{\"piority\":1}", &error), -EINVAL);
    cr_assert(strcmp(error.nearest, "priority") == 0, "%s", error.nearest);
    bad("{\"command\":1}", "command", "there are: argv, args, env");
    bad("{\"\":1}", "", "unknown parameter \"\"");
}

Test(params, unknown_name_where_none_are_taken_says_so)
{
    struct rpc_error error;
    json_t *params = json("{\"x\":1}");
    cr_assert_eq(params_check(params, NULL, 0, &error), -EINVAL);
    cr_assert(strstr(error.message, "takes none") != NULL, "%s", error.message);
    json_decref(params);
}

Test(params, missing_parameter_is_named)
{
    static const struct param_spec needs[] = {{.name = "id", .types = PARAM_INT, .required = true}};
    struct rpc_error error;
    cr_assert_eq(params_check(NULL, needs, 1, &error), -EINVAL);
    cr_assert(strcmp(error.param, "id") == 0, "%s", error.param);
    cr_assert(strstr(error.message, "\"id\" is missing") != NULL, "%s", error.message);
}

Test(params, wrong_type_says_what_was_expected_and_got)
{
    bad("{\"argv\":\"date\"}", "argv", "expected an array of strings, got a string");
    bad("{\"args\":[]}", "args", "expected an object, got an array");
    bad("{\"name\":1}", "name", "expected a string, got an integer");
    bad("{\"priority\":\"1\"}", "priority", "expected an integer, got a string");
    bad("{\"priority\":1.0}", "priority", "expected an integer, got a real number");
    bad("{\"ratio\":true}", "ratio", "expected a number, got true");
    bad("{\"durable\":null}", "durable", "expected true or false, got null");
    bad("{\"timeout\":[]}", "timeout", "expected a duration");
    bad("{\"limit\":1.5}", "limit", "expected a size");
    bad("{\"after\":{}}", "after", "expected a string or an integer or null, got an object");
    bad("{\"ids\":7}", "ids", "expected an array of integers, got an integer");
}

Test(params, item_at_fault_is_named)
{
    bad("{\"argv\":[\"a\",\"b\",3]}", "argv[2]", "\"argv[2]\": expected a string, got an integer");
    bad("{\"ids\":[1,\"2\"]}", "ids[1]", "expected an integer, got a string");
    bad("{\"ids\":[1,0]}", "ids[1]", "0 is out of range; the least is 1");
    bad("{\"env\":{\"PATH\":5}}", "env.PATH", "\"env.PATH\": expected a string");
    bad("{\"colours\":[\"red\",\"gren\"]}", "colours[1]", "\"gren\" is not one of red, green");
    bad("{\"colours\":[\"red\",1]}", "colours[1]", "expected a string, got an integer");
}

Test(params, numbers_out_of_bounds_are_refused)
{
    bad("{\"priority\":1001}", "priority", "1001 is out of range; it goes from -1000 to 1000");
    bad("{\"priority\":-1001}", "priority", "-1001 is out of range");
    bad("{\"ratio\":1.5}", "ratio", "1.5 is out of range; it goes from 0 to 1");
    bad("{\"ratio\":-1}", "ratio", "-1 is out of range");
    bad("{\"ratio\":2}", "ratio", "2 is out of range");
}

Test(params, lengths_out_of_bounds_are_refused)
{
    bad("{\"argv\":[]}", "argv", "has 0 items; the least is 1");
    bad("{\"argv\":[\"\",\"\",\"\",\"\",\"\"]}", "argv", "has 5 items; the most is 4");
    bad("{\"name\":\"\"}", "name", "has 0 bytes; the least is 1");
    bad("{\"name\":\"123456789\"}", "name", "has 9 bytes; the most is 8");
    bad("{\"env\":{\"A\":\"\",\"B\":\"\",\"C\":\"\"}}", "env", "has 3 members; the most is 2");
    bad("{\"ids\":[]}", "ids", "the least is 1");
    bad("{\"jobs\":[1,2,3,4]}", "jobs", "the most is 3");
}

Test(params, choices_are_listed_and_the_nearest_told)
{
    struct rpc_error error;
    bad("{\"on_crash\":\"retry\"}", "on_crash", "\"retry\" is not one of requeue, fail");
    cr_assert_eq(check("{\"on_crash\":\"requeu\"}", &error), -EINVAL);
    cr_assert(strcmp(error.nearest, "requeue") == 0, "%s", error.nearest);
}

Test(params, durations_and_sizes_are_checked_exactly)
{
    good("{\"timeout\":3600}");
    good("{\"timeout\":\"60m\"}");
    good("{\"timeout\":0}");
    bad("{\"timeout\":3601}", "timeout", "1h1s is out of range; it goes from 0s to 1h");
    bad("{\"timeout\":3600.5}", "timeout", "out of range");
    bad("{\"timeout\":\"1 hour\"}", "timeout", "got \"1 hour\"");
    bad("{\"timeout\":-1}", "timeout", "got -1");
    bad("{\"timeout\":-0.5}", "timeout", "got -0.5");
    bad("{\"delay\":18446744074}", "delay", "too large");
    bad("{\"delay\":1e300}", "delay", "too large");
    bad("{\"delay\":\"99999999999999999999w\"}", "delay", "too large");
    good("{\"delay\":18446744073}");
    bad("{\"limit\":0}", "limit", "0 is out of range; it goes from 1 to 1M");
    bad("{\"limit\":\"2M\"}", "limit", "2M is out of range");
    bad("{\"limit\":-5}", "limit", "got -5");
    bad("{\"limit\":\"much\"}", "limit", "expected a size");
}

Test(params, long_and_strange_names_make_good_errors)
{
    char *text = malloc(100000);
    char *at = stpcpy(text, "{\"");
    for (int i = 0; i < 20000; i++)
        at = stpcpy(at, "\xe2\x82\xac");
    strcpy(at, "\":1}");
    struct rpc_error error = {0};
    cr_assert_eq(check(text, &error), -EINVAL);
    json_t *message = json_string(error.message), *param = json_string(error.param);
    cr_assert(message != NULL && param != NULL, "both can be sent");
    json_decref(message);
    json_decref(param);
    free(text);
}

Test(params, a_time_is_a_number_or_a_text_with_its_zone)
{
    good("{\"start\":0}");
    good("{\"start\":1795953600.25}");
    good("{\"start\":\"2026-11-29T12:00:00Z\"}");
    bad("{\"start\":\"2026-11-29T12:00:00\"}", "start", "with its zone");
    bad("{\"start\":\"tomorrow\"}", "start", "got \"tomorrow\"");
    bad("{\"start\":-1}", "start", "got -1");
    bad("{\"start\":true}", "start", "got true");
    bad("{\"start\":1795953600000}", "start", "seconds since 1970"); /* milliseconds */
    bad("{\"start\":\"1969-12-31T23:59:59Z\"}", "start", "before 1970");
    json_t *params = json("{\"start\":\"1970-01-01T01:00:01.5+01:00\",\"ratio\":2.25}");
    cr_assert_eq(params_time_ns(params, "start", 0), 3 * S / 2);
    cr_assert_eq(params_time_ns(params, "ratio", 0), 9 * S / 4);
    cr_assert_eq(params_time_ns(params, "none", -7), -7);
    json_decref(params);
}

Test(params, getters_read_what_was_checked)
{
    json_t *params = json("{\"name\":\"x\",\"priority\":-5,\"ratio\":1,\"durable\":true,"
                          "\"timeout\":\"1.5s\",\"delay\":2,\"limit\":\"4K\",\"argv\":[\"a\"]}");
    struct rpc_error error;
    cr_assert_eq(params_check(params, table, PARAMS_COUNT(table), &error), 0);
    cr_assert(strcmp(params_string(params, "name", ""), "x") == 0, "name");
    cr_assert_eq(params_int(params, "priority", 0), -5);
    cr_assert(params_number(params, "ratio", 0) == 1.0, "ratio");
    cr_assert(params_bool(params, "durable", false), "durable");
    cr_assert_eq(params_duration_ns(params, "timeout", 0), 3 * S / 2);
    cr_assert_eq(params_duration_ns(params, "delay", 0), 2 * S);
    cr_assert_eq(params_size(params, "limit", 0), 4096);
    cr_assert_eq(json_array_size(params_get(params, "argv")), 1);
    cr_assert(params_has(params, "argv") && !params_has(params, "env"), "has");
    json_decref(params);
}

Test(params, getters_fall_back_where_nothing_is)
{
    json_t *empty = json_object();
    const json_t *none[] = {NULL, empty};
    for (size_t i = 0; i < 2; i++) {
        cr_assert(strcmp(params_string(none[i], "x", "y"), "y") == 0, "string");
        cr_assert_eq(params_int(none[i], "x", 7), 7);
        cr_assert(params_number(none[i], "x", 0.5) == 0.5, "number");
        cr_assert(params_bool(none[i], "x", true), "bool");
        cr_assert_eq(params_duration_ns(none[i], "x", 7), 7);
        cr_assert_eq(params_size(none[i], "x", 7), 7);
        cr_assert(params_get(none[i], "x") == NULL, "get");
    }
    json_decref(empty);
}

Test(params, null_of_another_allowed_type_reads_as_the_fallback)
{
    json_t *params = json("{\"after\":null}");
    cr_assert_eq(params_int(params, "after", 7), 7);
    cr_assert(params_string(params, "after", NULL) == NULL, "no string");
    cr_assert(params_has(params, "after"), "it was given");
    json_decref(params);
}
