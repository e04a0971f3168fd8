/* SPDX-License-Identifier: MIT */
/* Values to text, and values of values, while an allocation fails: the whole or nothing. */
#include "support/test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "support/json_failing.h"

/* Names and texts on both sides of each growth of the buffer. */
static json_t *long_object(void)
{
    json_t *object = json_object();
    for (int i = 0; i < 100; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s%d", i % 40,
                 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr", i);
        object = json_memory_set(object, name, json_pack("[s, i]", "a \"text\"\n", i));
    }
    return object;
}

Test(json_memory, a_dump_is_whole_or_there_is_none)
{
    bool has_failed = true;
    json_failing_init();
    json_t *object = long_object();
    char *whole = json_dumps(object, JSON_COMPACT);
    cr_assert_gt(strlen(whole), 2000);
    for (size_t nth = 1; has_failed; nth++) {
        json_failing = nth;
        char *text = json_memory_dumps(object, JSON_COMPACT);
        has_failed = json_failing_end();
        cr_assert_eq(!text, has_failed);
        cr_assert(!text || strcmp(text, whole) == 0, "allocation %zu failed: %s", nth, text);
        free(text);
    }
    free(whole);
    json_decref(object);
}

Test(json_memory, a_dump_of_what_is_no_text_is_none)
{
    json_t *latin1 = json_pack("[s, o]", "a", json_stringn_nocheck("b\0\xe4", 3));
    cr_assert_null(json_memory_dumps(latin1, JSON_ENCODE_ANY));
    cr_assert_null(json_memory_dumps(NULL, JSON_ENCODE_ANY));
    cr_assert_eq(json_memory_dump_refusal(latin1), -EINVAL);
    json_t *object = json_pack("{s:[i, {s:s#}]}", "a", 1, "b", "c\0d", 3);
    cr_assert_eq(json_memory_dump_refusal(object), -ENOMEM);
    cr_assert_eq(json_object_set_new_nocheck(object, "\xe4", json_null()), 0);
    cr_assert_eq(json_memory_dump_refusal(object), -EINVAL);
    json_decref(object);
    json_decref(latin1);
}

Test(json_memory, text_is_read_whole_or_not_at_all)
{
    bool has_failed = true;
    json_failing_init();
    json_t *whole = json_memory_value("{\"a\":[1,\"b\",null],\"c\":\"0123456789012345678\"}");
    cr_assert_eq(json_object_size(whole), 2);
    for (size_t nth = 1; has_failed; nth++) {
        json_failing = nth;
        json_t *json = json_memory_value("{\"a\":[1,\"b\",null],\"c\":\"0123456789012345678\"}");
        has_failed = json_failing_end();
        cr_assert_eq(!json, has_failed);
        cr_assert(!json || json_equal(json, whole), "allocation %zu failed", nth);
        json_decref(json);
    }
    json_decref(whole);
    cr_assert_null(json_memory_value("{"));
}

Test(json_memory, a_chain_that_lost_a_value_is_nothing)
{
    json_t *list = json_memory_append(json_array(), json_integer(1));
    cr_assert_eq(json_array_size(list), 1);
    list = json_memory_append(list, NULL);
    cr_assert_null(list);
    cr_assert_null(json_memory_append(list, json_integer(2)));
    json_t *object = json_memory_set(json_object(), "a", json_integer(1));
    cr_assert_eq(json_object_size(object), 1);
    object = json_memory_set(object, "b", NULL);
    cr_assert_null(object);
    cr_assert_null(json_memory_set(object, "c", json_integer(2)));
}

Test(json_memory, a_text_is_refused_for_what_it_is_or_for_memory)
{
    json_failing_init();
    cr_assert_eq(json_memory_refusal("\xff"), -EILSEQ);
    cr_assert_eq(json_memory_refusal("a\xed\xa0\x80"), -EILSEQ); /* a surrogate */
    cr_assert_eq(json_memory_refusal("\xc3\xa4"), -ENOMEM);
    json_failing = 1;
    cr_assert_eq(json_memory_refusal("\xc3\xa4"), -ENOMEM);
    json_failing = 1;
    cr_assert_eq(json_memory_refusal("\xff"), -EILSEQ);
    json_failing = 0;
}
