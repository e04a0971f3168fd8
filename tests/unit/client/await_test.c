/* SPDX-License-Identifier: MIT */
/* await: the bar's line.  That it is drawn and wiped: tests/integration/modules_load_test.py. */
#include "client/await.h"

#include "support/test.h"

#include <string.h>

static void expect_line(const char *job, size_t columns, const char *expected)
{
    char text[256];
    json_t *json = json_loads(job, 0, NULL);
    cr_assert_not_null(json);
    cr_assert_str_eq(await_line(json, columns, text, sizeof(text)), expected);
    json_decref(json);
}

Test(await, a_job_that_says_how_far_it_is_has_a_bar)
{
    expect_line("{\"id\":7,\"progress\":{\"fraction\":0.5,\"text\":\"half\"}}", 79,
                "job 7: [##########----------] 50 % half");
    expect_line("{\"id\":7,\"progress\":{\"fraction\":0}}", 79,
                "job 7: [--------------------] 0 %");
    expect_line("{\"id\":7,\"progress\":{\"fraction\":0.999}}", 79,
                "job 7: [###################-] 100 %");
    expect_line("{\"id\":7,\"progress\":{\"fraction\":1}}", 79,
                "job 7: [####################] 100 %");
}

Test(await, without_a_fraction_there_are_words_alone)
{
    expect_line("{\"id\":7,\"progress\":{\"text\":\"12 bytes\"}}", 79, "job 7: 12 bytes");
    expect_line("{\"id\":7,\"progress\":{}}", 79, "");
    expect_line("{\"id\":7}", 79, "");
}

Test(await, the_line_is_cut_at_a_character_and_steers_no_terminal)
{
    expect_line("{\"id\":7,\"progress\":{\"text\":\"\u00e4\u00e4\u00e4\"}}", 9,
                "job 7: \u00e4\u00e4");
    expect_line("{\"id\":7,\"progress\":{\"text\":\"a\\u001b[2J\\n\"}}", 79, "job 7: a\\x1b[2J\\n");
    expect_line("{\"id\":7,\"progress\":{\"text\":\"a\"}}", 0, "");
}
