/* SPDX-License-Identifier: MIT */
/* A module's table as JSON and back. */
#include "daemon/module_host.h"

#include "support/test.h"

#include <string.h>
#include <weft/module.h>

#include "support/json_failing.h"

static const char *const choices[] = {"a", "b", NULL};

static const struct weft_param params[] = {
    {.name = "one", .type = WEFT_PARAM_TEXT, .required = true, .choices = choices},
    {.name = "two", .type = WEFT_PARAM_INTEGER, .min = 1, .max = 5},
};

static const struct weft_handler handlers[] = {
    {.name = "test.one", .summary = "the one", .params = params, .params_count = 2},
    {.name = "test.two"},
};

static const struct weft_module module = WEFT_MODULE_INIT("test", "1.5", handlers);

Test(module_describe, a_table_comes_back_as_it_was)
{
    const struct weft_module *back;
    json_t *json = module_describe(&module);
    cr_assert_eq(module_from_description(json, &back), 0);
    cr_assert_str_eq(back->name, "test");
    cr_assert_str_eq(back->version, "1.5");
    cr_assert_eq(back->handlers_count, 2);
    cr_assert_str_eq(back->handlers[0].summary, "the one");
    cr_assert_eq(back->handlers[0].params_count, 2);
    cr_assert_str_eq(back->handlers[0].params[0].choices[1], "b");
    cr_assert_null(back->handlers[0].params[0].choices[2]);
    cr_assert(back->handlers[0].params[0].required);
    cr_assert_eq(back->handlers[0].params[1].max, 5);
    cr_assert_str_eq(back->handlers[1].name, "test.two");
    cr_assert_null(back->handlers[1].summary);
    cr_assert_null(back->handlers[1].params);
    json_decref(json);
}

Test(module_describe, a_table_is_described_whole_or_not_at_all)
{
    bool has_failed = true;
    json_failing_init();
    json_t *whole = module_describe(&module);
    for (size_t nth = 1; has_failed; nth++) {
        json_failing = nth;
        json_t *json = module_describe(&module);
        has_failed = json_failing_end();
        cr_assert(!json == has_failed && (!json || json_equal(json, whole)),
                  "allocation %zu failed", nth);
        json_decref(json);
    }
    json_decref(whole);
}
