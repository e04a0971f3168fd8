/* SPDX-License-Identifier: MIT */
#include "protocol/error.h"
#include "support/test.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

Test(error, every_code_has_one_row_a_name_and_a_text)
{
    size_t count;
    const struct rpc_code_info *table = rpc_code_table(&count);
    cr_assert(count >= 17, "only %zu rows", count);
    for (size_t i = 0; i < count; i++) {
        cr_assert(rpc_code_info(table[i].code) == &table[i], "%s twice", table[i].name);
        cr_assert(strspn(table[i].name, "abcdefghijklmnopqrstuvwxyz_") == strlen(table[i].name),
                  "name %s", table[i].name);
        cr_assert(strlen(table[i].text) > 10 && strlen(table[i].text) < RPC_MESSAGE_MAX, "text");
        for (size_t j = 0; j < i; j++)
            cr_assert(strcmp(table[i].name, table[j].name) != 0, "%s twice", table[i].name);
    }
}

Test(error, numbers_that_clients_rely_on_stay)
{
    cr_assert_eq(RPC_PARSE_ERROR, -32700);
    cr_assert_eq(RPC_INVALID_REQUEST, -32600);
    cr_assert_eq(RPC_METHOD_NOT_FOUND, -32601);
    cr_assert_eq(RPC_INVALID_PARAMS, -32602);
    cr_assert_eq(RPC_INTERNAL_ERROR, -32603);
    cr_assert_eq(RPC_BUSY, -32000);
    cr_assert_eq(RPC_NO_SUCH_JOB, -32001);
    cr_assert_eq(RPC_CONFLICT, -32011);
    cr_assert(strcmp(rpc_code_info(-32004)->name, "line_too_long") == 0, "row of -32004");
}

Test(error, unknown_code_gets_the_row_of_internal_error)
{
    cr_assert_eq(rpc_code_info(12345)->code, RPC_INTERNAL_ERROR);
}

Test(error, without_a_format_the_text_of_the_table_is_taken)
{
    struct rpc_error error;
    cr_assert_eq(rpc_error_set(&error, RPC_BUSY, NULL), -EINVAL);
    cr_assert_eq(error.code, RPC_BUSY);
    cr_assert(strcmp(error.message, rpc_code_info(RPC_BUSY)->text) == 0, "%s", error.message);
    cr_assert(error.param[0] == '\0' && error.nearest[0] == '\0', "no param");
    rpc_error_set_param(&error, RPC_CONFLICT, "key", NULL, NULL);
    cr_assert(strcmp(error.message, rpc_code_info(RPC_CONFLICT)->text) == 0, "%s", error.message);
    cr_assert(strcmp(error.param, "key") == 0, "%s", error.param);
}

Test(error, long_text_is_cut_at_a_whole_character)
{
    for (size_t shift = 0; shift < 4; shift++) {
        struct rpc_error error;
        char text[4096] = "";
        memset(text, 'x', shift);
        for (size_t at = shift; at + 4 < sizeof(text); at += 3)
            memcpy(text + at, "\xe2\x82\xac", 4);
        rpc_error_set_param(&error, RPC_BUSY, text, text, "%s", text);
        cr_assert(strlen(error.message) < RPC_MESSAGE_MAX, "fits");
        cr_assert(strcmp(error.message + strlen(error.message) - 3, "...") == 0, "shows the cut");
        cr_assert(strchr(error.message, '?') == NULL, "no character was broken");
        cr_assert(strchr(error.param, '?') == NULL && strlen(error.param) < RPC_PARAM_MAX, "param");
        json_decref(json_string(error.message));
    }
}

Test(error, text_that_just_fits_is_not_cut)
{
    struct rpc_error error;
    char text[RPC_MESSAGE_MAX + 1] = "";
    memset(text, 'x', RPC_MESSAGE_MAX - 1);
    rpc_error_set(&error, RPC_BUSY, "%s", text);
    cr_assert(strcmp(error.message, text) == 0, "all of it");
    text[RPC_MESSAGE_MAX - 1] = 'x';
    rpc_error_set(&error, RPC_BUSY, "%s", text);
    cr_assert_eq(strlen(error.message), RPC_MESSAGE_MAX - 1);
    cr_assert(strcmp(error.message + RPC_MESSAGE_MAX - 4, "...") == 0, "cut");
}

static void expect_scrubbed(const char *text, const char *expected)
{
    struct rpc_error error;
    rpc_error_set(&error, RPC_BUSY, "%s", text);
    cr_assert(strcmp(error.message, expected) == 0, "got %s, expected %s", error.message, expected);
    json_t *json = json_string(error.message);
    cr_assert(json != NULL, "jansson agrees that it is UTF-8");
    json_decref(json);
}

Test(error, bytes_that_are_not_utf8_become_question_marks)
{
    expect_scrubbed("a\xff"
                    "b",
                    "a?b");
    expect_scrubbed("\xc0\xaf", "??");           /* overlong */
    expect_scrubbed("\xe0\x80\x80", "???");      /* overlong */
    expect_scrubbed("\xf0\x80\x80\x80", "????"); /* overlong */
    expect_scrubbed("\xed\xa0\x80", "???");      /* surrogate */
    expect_scrubbed("\xf4\x90\x80\x80", "????"); /* beyond U+10FFFF */
    expect_scrubbed("\xe2\x82", "??");           /* cut short */
    expect_scrubbed("\xe2\x82\xac\xf0\x9f\x99\x82\xc3\xa9", "\xe2\x82\xac\xf0\x9f\x99\x82\xc3\xa9");
}

/* Every two-byte start, against jansson's own idea of UTF-8. */
Test(error, scrubbed_text_is_always_utf8)
{
    for (unsigned first = 1; first < 256; first++) {
        for (unsigned second = 1; second < 256; second++) {
            char text[] = {(char)first, (char)second, (char)0x80, (char)0xbf, 'x', '\0'};
            struct rpc_error error;
            rpc_error_set(&error, RPC_BUSY, "%s", text);
            json_t *scrubbed = json_string(error.message), *raw = json_string(text);
            cr_assert(scrubbed != NULL, "%02x %02x", first, second);
            cr_assert_eq(raw != NULL, strcmp(text, error.message) == 0);
            json_decref(scrubbed);
            json_decref(raw);
        }
    }
}
