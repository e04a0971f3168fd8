/* SPDX-License-Identifier: MIT */
/* Umask, priorities and limits as texts and in JSON. */
#include "daemon/program.h"

#include "support/test.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <stdlib.h>
#include <string.h>

static bool are_same(const struct program_options *a, const struct program_options *b)
{
    bool same = a->has_umask == b->has_umask && a->has_nice == b->has_nice &&
                a->umask == b->umask && a->nice == b->nice && a->ionice == b->ionice &&
                a->limits_set == b->limits_set;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        same = same && a->limits[i].rlim_cur == b->limits[i].rlim_cur &&
               a->limits[i].rlim_max == b->limits[i].rlim_max;
    for (int i = 0; i < PROGRAM_GROUPS; i++)
        same = same && a->groups[i] == b->groups[i];
    return same;
}

typedef int parse_fn(const char *text, struct program_options *options, char *why);
typedef char *text_fn(const struct program_options *options, char *buffer);

static void expect_read(parse_fn *parse, text_fn *format, const char *text, const char *again)
{
    struct program_options options = {0}, same = {0};
    char why[PROGRAM_WHY_MAX] = "", buffer[PROGRAM_TEXT_MAX];
    cr_assert_str_eq(format(&options, buffer), "");
    cr_assert_eq(parse(text, &options, why), 0, "%s: %s", text, why);
    cr_assert_str_eq(format(&options, buffer), again);
    cr_assert_eq(parse(again, &same, why), 0, "%s: %s", again, why);
    cr_assert(are_same(&options, &same), "%s", text);
}

static void expect_refused(parse_fn *parse, const char *text, const char *part)
{
    struct program_options options = {.has_umask = true, .umask = 1, .ionice = 2, .nice = 3};
    struct program_options before = options;
    char why[PROGRAM_WHY_MAX] = "";
    cr_assert_eq(parse(text, &options, why), -EINVAL, "'%s'", text);
    cr_assert(strstr(why, part), "'%s': %s", text, why);
    cr_assert(are_same(&options, &before), "'%s'", text);
}

Test(program, umask_is_octal)
{
    expect_read(program_parse_umask, program_umask_text, "0", "0000");
    expect_read(program_parse_umask, program_umask_text, "777", "0777");
    expect_read(program_parse_umask, program_umask_text, "0027", "0027");
    const char *const wrong[] = {"", "8", "1000", "-1", " 7", "7 ", "u=rwx"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect_refused(program_parse_umask, wrong[i], "octal");
}

Test(program, nice_is_from_minus_20_to_19)
{
    expect_read(program_parse_nice, program_nice_text, "-20", "-20");
    expect_read(program_parse_nice, program_nice_text, "0", "0");
    expect_read(program_parse_nice, program_nice_text, "19", "19");
    const char *const wrong[] = {"", "20", "-21", "+1", "1.5", "-", "--1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect_refused(program_parse_nice, wrong[i], "from -20 to 19");
}

Test(program, ionice_is_a_class_and_a_level)
{
    struct program_options options = {0};
    char why[PROGRAM_WHY_MAX];
    expect_read(program_parse_ionice, program_ionice_text, "idle", "idle");
    expect_read(program_parse_ionice, program_ionice_text, "best-effort", "best-effort:4");
    expect_read(program_parse_ionice, program_ionice_text, "best-effort:0", "best-effort:0");
    expect_read(program_parse_ionice, program_ionice_text, "realtime:7", "realtime:7");
    cr_assert_eq(program_parse_ionice("best-effort:7", &options, why), 0);
    cr_assert_eq(options.ionice, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7));
    const char *const wrong[] = {"", "none", "idl", "idle:8", "realtime:", "best-effort:-1", ":1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect_refused(program_parse_ionice, wrong[i], "realtime, best-effort or idle");
}

static void expect_limits(const char *text, const char *again)
{
    struct program_options options = {0}, same = {0};
    char why[PROGRAM_WHY_MAX] = "";
    cr_assert_eq(program_parse_limits(text, &options, why), 0, "%s: %s", text, why);
    char *read = program_limits_text(&options);
    cr_assert_str_eq(read, again);
    cr_assert_eq(program_parse_limits(read, &same, why), 0, "%s: %s", read, why);
    cr_assert(are_same(&options, &same), "%s", text);
    free(read);
}

Test(program, limits_have_names_units_and_two_bounds)
{
    struct program_options options = {0};
    char why[PROGRAM_WHY_MAX];
    expect_limits("", "");
    expect_limits("nofile=1024", "nofile=1024");
    expect_limits("  core=0:infinity\tnofile=1:2 ", "core=0:infinity nofile=1:2");
    expect_limits("cpu=1.5s", "cpu=2s");
    expect_limits("cpu=90", "cpu=1m30s");
    expect_limits("rttime=200ms:1s", "rttime=200ms:1s");
    expect_limits("as=2G fsize=64K stack=infinity", "fsize=64K stack=infinity as=2G");
    expect_limits("nofile=1 nofile=2", "nofile=2");
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        char word[PROGRAM_TEXT_MAX];
        snprintf(word, sizeof word, "%s=infinity", program_limit_name(i));
        expect_limits(word, word);
    }
    cr_assert_null(program_limit_name(RLIM_NLIMITS));
    cr_assert_null(program_limit_name(-1));
    cr_assert_eq(program_parse_limits("cpu=2m:1h nice=30", &options, why), 0);
    cr_assert_eq(options.limits[RLIMIT_CPU].rlim_cur, 120);
    cr_assert_eq(options.limits[RLIMIT_CPU].rlim_max, 3600);
    cr_assert_eq(options.limits_set, 1u << RLIMIT_CPU | 1u << RLIMIT_NICE);
}

Test(program, wrong_limits_are_refused_and_nothing_is_taken)
{
    expect_refused(program_parse_limits, "nofile", "NAME=LIMIT");
    expect_refused(program_parse_limits, "nofil=1", "did you mean \"nofile\"?");
    expect_refused(program_parse_limits, "LimitNOFILE=1", "no limit \"LimitNOFILE\"");
    expect_refused(program_parse_limits, "core=0 nofile=64K", "whole numbers");
    expect_refused(program_parse_limits, "nofile=", "bad \"nofile\"");
    expect_refused(program_parse_limits, "nofile=1:", "bad \"nofile\"");
    expect_refused(program_parse_limits, "nofile=1:2:3", "bad \"nofile\"");
    expect_refused(program_parse_limits, "nofile=-1", "bad \"nofile\"");
    expect_refused(program_parse_limits, "nofile=18446744073709551615", "bad \"nofile\"");
    expect_refused(program_parse_limits, "cpu=64M", "durations");
    expect_refused(program_parse_limits, "as=1s", "sizes");
    expect_refused(program_parse_limits, "core=2:1", "soft limit is above the hard one");
    expect_refused(program_parse_limits, "core=infinity:1", "soft limit is above the hard one");
}

static void expect_group(enum program_group group, const char *text, uint64_t value,
                         const char *again)
{
    struct program_options options = {0}, same = {0};
    char why[PROGRAM_WHY_MAX] = "", buffer[PROGRAM_TEXT_MAX];
    cr_assert_eq(program_parse_group(group, text, &options, why), 0, "%s: %s", text, why);
    cr_assert_eq(options.groups[group], value, "%s", text);
    cr_assert_str_eq(program_group_text(group, value, buffer), again);
    cr_assert_eq(program_parse_group(group, again, &same, why), 0, "%s: %s", again, why);
    cr_assert(are_same(&options, &same), "%s", text);
}

Test(program, limits_of_groups_have_units_of_their_own)
{
    char buffer[PROGRAM_TEXT_MAX];
    expect_group(PROGRAM_MEMORY_MAX, "64M", 64 << 20, "64M");
    expect_group(PROGRAM_MEMORY_MAX, "4096", 4096, "4K");
    expect_group(PROGRAM_MEMORY_MAX, "9223372036854775807", INT64_MAX, "9223372036854775807");
    expect_group(PROGRAM_TASKS_MAX, "1", 1, "1");
    expect_group(PROGRAM_TASKS_MAX, "4194304", 4194304, "4194304");
    expect_group(PROGRAM_CPU_QUOTA, "150%", 150000, "150%");
    expect_group(PROGRAM_CPU_QUOTA, "1", 1000, "1%");
    expect_group(PROGRAM_CPU_QUOTA, "12.5%", 12500, "12.5%");
    expect_group(PROGRAM_CPU_QUOTA, "33.003", 33003, "33.003%");
    expect_group(PROGRAM_CPU_QUOTA, "1000000%", 1000000000, "1000000%");
    for (int i = 0; i < PROGRAM_GROUPS; i++) {
        expect_group(i, "infinity", PROGRAM_NO_LIMIT, "infinity");
        cr_assert_str_eq(program_group_text(i, 0, buffer), "");
        cr_assert_eq(program_group_find(program_group_name(i)), i);
    }
    cr_assert_eq(program_group_find("memory"), -ENOENT);
}

static void refuse_group(enum program_group group, const char *text, const char *part)
{
    struct program_options options = {.groups = {1, 2, 3}}, before = options;
    char why[PROGRAM_WHY_MAX] = "";
    cr_assert_eq(program_parse_group(group, text, &options, why), -EINVAL, "'%s'", text);
    cr_assert(strstr(why, part), "'%s': %s", text, why);
    cr_assert(are_same(&options, &before), "'%s'", text);
}

Test(program, wrong_limits_of_groups_are_refused)
{
    const char *const sizes[] = {"",     "0",  "4095", "9223372036854775808",
                                 "64MM", "-1", "50%",  "inf"};
    const char *const counts[] = {"", "0", "4194305", "1.5", "64K", "-1", "10%", " 1"};
    const char *const quotas[] = {"",      "0%",    "0.999%", "1000000.001%",
                                  "-1",    "1.%",   ".5",     "1.0001",
                                  "150%%", "150 %", "1e2",    "9999999999999999%"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        refuse_group(PROGRAM_MEMORY_MAX, sizes[i], "size from 4K");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        refuse_group(PROGRAM_TASKS_MAX, counts[i], "from 1 to 4194304");
    for (size_t i = 0; i < sizeof quotas / sizeof quotas[0]; i++)
        refuse_group(PROGRAM_CPU_QUOTA, quotas[i], "percentage of one CPU");
}

static struct program_options *from_json(const char *text, int expected, const char *part)
{
    struct program_options *options = NULL;
    struct rpc_error error = {0};
    json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
    cr_assert_not_null(json);
    int rc = program_options_from_json(json, &options, &error);
    json_decref(json);
    cr_assert_eq(rc, expected, "%s: %s", text, error.message);
    if (part)
        cr_assert(strstr(error.message, part), "%s: %s", text, error.message);
    return options;
}

static void expect_json(const char *text, const char *again)
{
    struct program_options *options = from_json(text, 0, NULL);
    json_t *json = json_object();
    cr_assert_eq(program_options_to_json(options, json), 0);
    char *written = json_dumps(json, JSON_COMPACT);
    cr_assert_str_eq(written, again);
    free(written);
    json_decref(json);
    free(options);
}

Test(program, members_of_a_job_are_read_and_written)
{
    cr_assert_null(from_json("{\"argv\":[\"x\"]}", 0, NULL));
    expect_json("{}", "{}");
    expect_json("{\"limits\":{}}", "{}");
    expect_json("{\"nice\":0}", "{\"nice\":0}");
    expect_json("{\"umask\":\"27\",\"nice\":-5,\"ionice\":\"idle\",\"limits\":{\"nofile\":1024,"
                "\"as\":1073741824,\"cpu\":\"90:infinity\"}}",
                "{\"umask\":\"0027\",\"nice\":-5,\"ionice\":\"idle\",\"limits\":"
                "{\"cpu\":\"1m30s:infinity\",\"nofile\":\"1024\",\"as\":\"1G\"}}");
    expect_json("{\"memory_max\":65536,\"tasks_max\":7,\"cpu_quota\":150}",
                "{\"memory_max\":\"64K\",\"tasks_max\":7,\"cpu_quota\":\"150%\"}");
    expect_json("{\"memory_max\":\"infinity\",\"tasks_max\":\"infinity\",\"cpu_quota\":12.5}",
                "{\"memory_max\":\"infinity\",\"tasks_max\":\"infinity\",\"cpu_quota\":\"12.5%\"}");
    from_json("{\"memory_max\":0}", -EINVAL, "\"memory_max\" is not a size");
    from_json("{\"memory_max\":\"1G\\u0000\"}", -EINVAL, "\"memory_max\" is not a size");
    from_json("{\"tasks_max\":-1}", -EINVAL, "\"tasks_max\" is not a whole number");
    from_json("{\"cpu_quota\":1e300}", -EINVAL, "\"cpu_quota\" is not a percentage");
    from_json("{\"cpu_quota\":0.5}", -EINVAL, "\"cpu_quota\" is not a percentage");
    from_json("{\"umask\":\"x\"}", -EINVAL, "\"umask\" is not an octal");
    from_json("{\"ionice\":\"x\"}", -EINVAL, "\"ionice\" is not realtime");
    from_json("{\"limits\":{\"corr\":1}}", -EINVAL, "\"core\"");
    from_json("{\"limits\":{\"core\":true}}", -EINVAL, "\"limits\" has a bad \"core\"");
    from_json("{\"limits\":{\"core\":1.5}}", -EINVAL, "bad \"core\"");
    from_json("{\"limits\":{\"core\":-1}}", -EINVAL, "bad \"core\"");
    from_json("{\"limits\":{\"core\":\"1\\u0000\"}}", -EINVAL, "bad \"core\"");
}
