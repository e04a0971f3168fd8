/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <errno.h>
#include <stdlib.h>

#include "io/http/text.h"

Test(http_text, tokens_have_no_blanks_or_separators)
{
    cr_assert(text_is_token("X-Own_1.~!#$%&'*+^`|"));
    static const char *const bad[] = {"", "a b", "a:", "a\n", "(a)", "\xc3\xa9", "a\"", "a/b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_not(text_is_token(bad[i]));
    cr_assert_not(text_is_token(NULL));
}

Test(http_text, values_have_no_control_characters)
{
    cr_assert(text_is_value(""));
    cr_assert(text_is_value("a\tb \xc3\xa9 \"x\""));
    cr_assert_not(text_is_value("a\r"));
    cr_assert_not(text_is_value("a\nb"));
    cr_assert_not(text_is_value("\x7f"));
    cr_assert_not(text_is_value(NULL));
}

Test(http_text, urls_are_complete_and_of_http)
{
    cr_assert(text_is_url("http://a/"));
    cr_assert(text_is_url("https://a.example:1/b?c"));
    cr_assert_not(text_is_url("a.example"));
    cr_assert_not(text_is_url("/a"));
    cr_assert_not(text_is_url("ftp://a/"));
    cr_assert_not(text_is_url(""));
}

Test(http_text, fields_are_percent_encoded)
{
    struct weft_http_field fields[] = {{"a b", "c&d=e"}, {"", ""}, {"\xff", "~-._+"}};
    char *text = text_encode(fields, 3, true);
    cr_assert_str_eq(text, "a+b=c%26d%3De&=&%FF=~-._%2B");
    free(text);
    text = text_encode(fields, 1, false);
    cr_assert_str_eq(text, "a%20b=c%26d%3De");
    free(text);
    text = text_encode(NULL, 0, false);
    cr_assert_str_eq(text, "");
    free(text);
}

Test(http_text, headers_that_the_body_sets_are_refused)
{
    struct weft_http_field good[] = {{"A", "b"}, {"C", ""}};
    struct weft_http_field bad[] = {{"content-length", "1"}, {"Transfer-encoding", "x"}};
    cr_assert_eq(text_check_headers(good, 2), 0);
    cr_assert_eq(text_check_headers(&bad[0], 1), -EINVAL);
    cr_assert_eq(text_check_headers(&bad[1], 1), -EINVAL);
    cr_assert_eq(text_check_headers(NULL, 0), 0);
}
