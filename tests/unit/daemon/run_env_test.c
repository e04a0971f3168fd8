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

static void expect_merged(const char *const *const lists[RUN_ENV_LISTS], const char *expected)
{
    const char **env;
    cr_assert_eq(run_env_merge(lists, &env), 0);
    cr_assert_str_eq(joined(env), expected);
    free(env);
}

Test(run_env, an_earlier_list_wins)
{
    const char *own[] = {"WEFT_JOB_ID=1", "WEFT_ATTEMPT=2", NULL};
    const char *job[] = {"HOME=/job", "WEFT_JOB_ID=9", "NEW=1", NULL};
    const char *user[] = {"HOME=/home/u", "USER=u", "NEW=2", NULL};
    const char *allowed[] = {"PATH=/bin", "HOME=/", "TZ=UTC", "USER=root", NULL};
    expect_merged((const char *const *const[]){own, job, user, allowed},
                  "WEFT_JOB_ID=1,WEFT_ATTEMPT=2,HOME=/job,NEW=1,USER=u,PATH=/bin,TZ=UTC,");
    expect_merged((const char *const *const[]){own, job, NULL, allowed},
                  "WEFT_JOB_ID=1,WEFT_ATTEMPT=2,HOME=/job,NEW=1,PATH=/bin,TZ=UTC,USER=root,");
    expect_merged((const char *const *const[]){own, NULL, user, NULL},
                  "WEFT_JOB_ID=1,WEFT_ATTEMPT=2,HOME=/home/u,USER=u,NEW=2,");
    expect_merged((const char *const *const[]){own, NULL, NULL, NULL},
                  "WEFT_JOB_ID=1,WEFT_ATTEMPT=2,");
}
