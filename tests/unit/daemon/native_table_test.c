/* SPDX-License-Identifier: MIT */
/* The table of handlers: what modules may say, and what is said of those that make no sense. */
#include "daemon/native.h"

#include "daemon/problem.h"
#include "protocol/error.h"

#include "support/test.h"

#include <errno.h>
#include <string.h>

static int run(struct weft_attempt *attempt)
{
    (void)attempt;
    return 0;
}

static const char *const colours[] = {"red", "blue", NULL};

static const struct weft_param params[] = {
    {"path", WEFT_PARAM_PATH, true},
    {"count", WEFT_PARAM_INTEGER, .min = 1, .max = 9},
    {"colour", WEFT_PARAM_TEXT, .choices = colours},
    {"headers", WEFT_PARAM_TEXTS},
    {"any", WEFT_PARAM_ANY},
};

#define MODULE(table) WEFT_MODULE_INIT("test", "1", table)

static void expect_problem(const struct weft_module *module, int rc, const char *text)
{
    struct problem problem = {0};
    cr_assert_eq(native_add(module, "/lib/test.so", &problem), rc);
    cr_assert(strncmp(problem.text, "/lib/test.so: ", 14) == 0, "%s", problem.text);
    cr_assert(strstr(problem.text, text), "%s", problem.text);
}

Test(native_table, adds_what_a_module_has)
{
    const struct weft_handler handlers[] = {{"test.one", "a line", params, 5, run},
                                            {"test.two", .run = run}};
    const struct weft_module module = MODULE(handlers);
    struct problem problem = {0};
    cr_assert_eq(native_add(&module, "/lib/test.so", &problem), 0, "%s", problem.text);
    const struct native_handler *one = native_find("test.one");
    cr_assert_not_null(one);
    cr_assert_str_eq(one->summary, "a line");
    cr_assert_str_eq(one->module->name, "test");
    cr_assert_str_eq(one->module->origin, "/lib/test.so");
    cr_assert_not_null(native_find("test.two"));
    cr_assert_null(native_find("test.two")->summary);
}

static void expect_check(const char *args, const char *param)
{
    struct rpc_error error = {0};
    json_t *json = json_loads(args, 0, NULL);
    int rc = native_check("test.args", json, &error);
    json_decref(json);
    cr_assert_eq(rc, param ? -EINVAL : 0, "%s: %s", args, error.message);
    cr_assert_str_eq(error.param, param ? param : "");
}

Test(native_table, checks_arguments_as_the_module_says)
{
    const struct weft_handler handlers[] = {{"test.args", NULL, params, 5, run}};
    const struct weft_module module = MODULE(handlers);
    cr_assert_eq(native_add(&module, "/lib/test.so", NULL), 0);
    expect_check("{\"path\": \"/a\", \"count\": 9, \"colour\": \"red\", \"any\": [1]}", NULL);
    expect_check("{}", "args.path");
    expect_check("{\"path\": \"a\"}", "args.path");
    expect_check("{\"path\": \"/a\", \"count\": 10}", "args.count");
    expect_check("{\"path\": \"/a\", \"colour\": \"green\"}", "args.colour");
    expect_check("{\"path\": \"/a\", \"headers\": {\"a\": 1}}", "args.headers.a");
    expect_check("{\"path\": \"/a\", \"headers\": {\"a\": \"b\"}}", NULL);
}

Test(native_table, refuses_a_module_that_makes_no_sense)
{
    const struct weft_handler good[] = {{"test.good", .run = run}};
    struct weft_module module = MODULE(good);
    module.abi = 7;
    expect_problem(&module, -EINVAL, "version 7 of the module interface");
    module = (struct weft_module)MODULE(good);
    module.name = "a name";
    expect_problem(&module, -EINVAL, "the module's name");
    module = (struct weft_module)MODULE(good);
    module.handlers_count = 0;
    expect_problem(&module, -EINVAL, "has no handlers");
    module = (struct weft_module)MODULE(good);
    module.handler_size = 0;
    expect_problem(&module, -EINVAL, "so small");

    const struct weft_param odd[] = {{"x", 99}};
    const struct weft_handler bad[][1] = {
        {{NULL, .run = run}},
        {{"", .run = run}},
        {{"a b", .run = run}},
        {{"test.none"}},
        {{"test.odd", NULL, odd, 1, run}},
        {{"test.lost", NULL, NULL, 1, run}},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        module = (struct weft_module)MODULE(bad[i]);
        expect_problem(&module, -EINVAL, "handler 1 of module \"test\" is malformed");
    }
    cr_assert_null(native_find("test.good"));
}

Test(native_table, adds_nothing_of_a_module_with_a_name_that_is_taken)
{
    const struct weft_handler handlers[] = {{"test.new", .run = run}, {"echo", .run = run}};
    const struct weft_handler twice[] = {{"test.new", .run = run}, {"test.new", .run = run}};
    const struct weft_module module = MODULE(handlers), other = MODULE(twice);
    expect_problem(&module, -EEXIST, "handler \"echo\" is there already, from weftd");
    cr_assert_null(native_find("test.new"));
    expect_problem(&other, -EEXIST, "handler \"test.new\" is there already, from /lib/test.so");
    cr_assert_null(native_find("test.new"));
}

/* As a header that has grown would have it. */
struct larger_handler {
    struct weft_handler handler;
    void *new_field;
};

Test(native_table, takes_structs_of_other_sizes)
{
    const struct larger_handler handlers[] = {{{"test.big", .run = run}, "x"},
                                              {{"test.big2", .run = run}, "y"}};
    const struct weft_module module = {WEFT_MODULE_ABI,
                                       sizeof(struct weft_param),
                                       sizeof(struct larger_handler),
                                       "test",
                                       NULL,
                                       &handlers[0].handler,
                                       2};
    cr_assert_eq(native_add(&module, "/lib/test.so", NULL), 0);
    cr_assert_not_null(native_find("test.big2"));
    cr_assert_null(native_find("test.big2")->module->version);

    /* an older one: `choices` is not there, and what lies behind is the next parameter */
    struct {
        char bytes[2][offsetof(struct weft_param, choices)];
    } older;
    memcpy(older.bytes[0], &params[2], sizeof(older.bytes[0]));
    memcpy(older.bytes[1], &params[1], sizeof(older.bytes[1]));
    const struct weft_handler old[] = {
        {"test.old", NULL, (const struct weft_param *)(const void *)&older, 2, run}};
    struct weft_module old_module = MODULE(old);
    old_module.param_size = sizeof(older.bytes[0]);
    cr_assert_eq(native_add(&old_module, "/lib/test.so", NULL), 0);
    cr_assert_str_eq(native_find("test.old")->params[0].name, "colour");
    cr_assert_null(native_find("test.old")->params[0].choices);
    cr_assert_str_eq(native_find("test.old")->params[1].name, "count");
}
