/* SPDX-License-Identifier: MIT */
#include "daemon/run_impl.h"

#include "support/test.h"

#include <stdlib.h>
#include <string.h>

/* The list with commas between. */
static const char *joined(const char *const *list)
{
    static char text[512];
    text[0] = '\0';
    for (; *list; list++)
        strcat(strcat(text, *list), ",");
    return text;
}

static void expect_allowed(const char *const *names, const char *const *from, const char *expected)
{
    char **env;
    cr_assert_eq(run_env_allowed((char *const *)names, (char *const *)from, &env), 0);
    cr_assert_str_eq(joined((const char *const *)env), expected);
    free(env);
}

Test(run_env, passes_what_is_named_and_nothing_else)
{
    const char *from[] = {"PATH=/bin", "PATHS=x", "LC_ALL=C",    "LC_=y", "SECRET=1",
                          "EMPTY=",    "broken",  "PATH=/again", NULL};
    expect_allowed((const char *[]){"PATH", "LC_*", NULL}, from, "PATH=/bin,LC_ALL=C,LC_=y,");
    expect_allowed((const char *[]){"EMPTY", "broken", "NONE", NULL}, from, "EMPTY=,");
    expect_allowed((const char *[]){NULL}, from, "");
    expect_allowed((const char *[]){"*", NULL}, from,
                   "PATH=/bin,PATHS=x,LC_ALL=C,LC_=y,SECRET=1,EMPTY=,");
}

Test(run_env, lets_the_job_win_and_weft_last)
{
    const char *allowed[] = {"PATH=/bin", "HOME=/", "TZ=UTC", NULL};
    const char *job[] = {"HOME=/job", "WEFT_JOB_ID=9", "NEW=1", NULL};
    const char *last[] = {"WEFT_JOB_ID=1", "WEFT_ATTEMPT=2", NULL};
    const char **env;
    cr_assert_eq(run_env_merge((char *const *)allowed, (char *const *)job, last, &env), 0);
    cr_assert_str_eq(joined(env), "WEFT_JOB_ID=1,WEFT_ATTEMPT=2,HOME=/job,NEW=1,PATH=/bin,TZ=UTC,");
    free(env);
    cr_assert_eq(run_env_merge(NULL, NULL, last, &env), 0);
    cr_assert_str_eq(joined(env), "WEFT_JOB_ID=1,WEFT_ATTEMPT=2,");
    free(env);
}
