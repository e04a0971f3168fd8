/* SPDX-License-Identifier: MIT */
/* job_match_test: daemon/job_match.c */
#include "daemon/job_match.h"

#include "daemon/job.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool text_matches(const char *name, const char *tag, const char *text)
{
    struct job_match match;
    cr_assert_eq(job_match_init(&match, name, tag), 0);
    bool matches = job_match_text(&match, text);
    job_match_destroy(&match);
    return matches;
}

/* What a client sends, as the store keeps it. */
static bool matches(const char *name, const char *tag, const char *params)
{
    struct job_spec *spec;
    struct rpc_error error = {0};
    char *text;
    cr_assert_eq(job_spec_from_text(params, &spec, &error), 0, "%s: %s", params, error.message);
    cr_assert_eq(job_spec_to_text(spec, &text), 0);
    bool result = text_matches(name, tag, text);
    free(text);
    job_spec_free(spec);
    return result;
}

Test(job_match, a_name_is_the_whole_or_begins_with_what_is_before_the_star)
{
    static const char job[] = "{\"argv\":[\"x\"],\"name\":\"nightly\"}";
    cr_assert(matches(NULL, NULL, job));
    cr_assert(matches("nightly", NULL, job));
    cr_assert(!matches("night", NULL, job));
    cr_assert(!matches("nightly2", NULL, job));
    cr_assert(matches("night*", NULL, job));
    cr_assert(matches("nightly*", NULL, job));
    cr_assert(!matches("nightly2*", NULL, job));
    cr_assert(!matches("Night*", NULL, job));
    cr_assert(matches("*", NULL, job), "whoever has a name");
    cr_assert(!matches("*", NULL, "{\"argv\":[\"x\"]}"));
    cr_assert(!matches("x", NULL, "{\"argv\":[\"x\"]}"));
}

Test(job_match, what_json_escapes_is_found_all_the_same)
{
    static const char job[] = "{\"argv\":[\"x\"],\"name\":\"a\\\"b\\\\c\\u0007\\u00e4\",\"tags\":"
                              "[\"t\\\"\\\\\",\"\\u00e4\"]}";
    cr_assert(matches("a\"b\\c\a\u00e4", NULL, job));
    cr_assert(matches("a\"b\\*", NULL, job));
    cr_assert(!matches("a\"b*c", NULL, job));
    cr_assert(matches(NULL, "t\"\\", job));
    cr_assert(matches(NULL, "\u00e4", job));
    cr_assert(!matches(NULL, "t", job));
}

Test(job_match, a_tag_is_one_of_the_job_s_own)
{
    static const char nested[] = "{\"call\":\"echo\",\"args\":{\"tags\":[\"a\"],\"x\":[{\"tags\":["
                                 "\"b\"]}]},\"tags\":[\"c\",\"d\"]}";
    cr_assert(matches(NULL, "c", nested));
    cr_assert(matches(NULL, "d", nested));
    cr_assert(!matches(NULL, "a", nested));
    cr_assert(!matches(NULL, "b", nested));
    cr_assert(!matches(NULL, "a", "{\"call\":\"echo\",\"args\":{\"tags\":[\"a\"]}}"));
    cr_assert(!matches(NULL, "a", "{\"argv\":[\"\\\"tags\\\":[\\\"a\\\"]\"]}"));
    cr_assert(
        matches(NULL, "a", "{\"argv\":[\"}]\",\"{\"],\"env\":{\"tags\":\"\"},\"tags\":[\"a\"]}"));
    cr_assert(!matches(NULL, "a", "{\"argv\":[\"x\"],\"tags\":[]}"));
    cr_assert(!matches(NULL, "", "{\"argv\":[\"x\"],\"tags\":[\"a\"]}"));
}

Test(job_match, both_must_hold)
{
    static const char job[] = "{\"argv\":[\"x\"],\"name\":\"n\",\"tags\":[\"a\"]}";
    cr_assert(matches("n", "a", job));
    cr_assert(!matches("n", "b", job));
    cr_assert(!matches("m", "a", job));
}

Test(job_match, a_spoilt_text_is_not_read_beyond_its_end)
{
    static const char whole[] =
        "{\"name\":\"n\",\"args\":{\"a\":[\"\\\\\"]},\"tags\":[\"a\",\"b\"]}";
    for (size_t size = 0; size < sizeof whole; size++) {
        char *cut = strndup(whole, size); /* on the heap, for the sanitizer */
        bool found = text_matches("n", "b", cut);
        cr_assert(!found || size > sizeof whole - 4, "%s", cut);
        text_matches("*", "zzz", cut);
        free(cut);
    }
    cr_assert(!text_matches("n", NULL, ""));
    cr_assert(!text_matches(NULL, "a", "\"tags\":[\"a\"]"));
}

Test(job_match, what_is_no_text_is_refused)
{
    struct job_match match;
    cr_assert_eq(job_match_init(&match, "\xff", NULL), -EINVAL);
    cr_assert_eq(job_match_init(&match, "n", "\xff"), -EINVAL);
    cr_assert_eq(job_match_init(&match, NULL, NULL), 0);
    cr_assert(job_match_any(&match));
}
