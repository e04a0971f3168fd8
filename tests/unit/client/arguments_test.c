/* SPDX-License-Identifier: MIT */
#include "client/arguments.h"
#include "support/test.h"

#include <errno.h>
#include <string.h>

static const struct option_spec own[] = {
    {"queue", 'q', "NAME", "a queue"},
    {"env", 'e', "NAME=VALUE", "a variable"},
    {"follow", 'f', NULL, "go on"},
    {0},
};
static const struct option_spec common[] = {{"json", 0, NULL, "JSON"}, {0}};
static const struct option_spec *const tables[] = {own, common, NULL};

static char error[ARGUMENTS_ERROR_MAX];

#define PARSE(ret, stop, ...)                                                                      \
    arguments_parse(ret, (char *[]){__VA_ARGS__},                                                  \
                    sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), tables, stop, error)

Test(arguments, values_come_attached_or_as_the_next_word)
{
    struct arguments arguments;
    cr_assert_eq(PARSE(&arguments, false, "--queue", "a", "--env=X=1", "-e", "Y=2", "-eZ=", "17"),
                 0);
    cr_assert_str_eq(arguments_value(&arguments, "queue"), "a");
    cr_assert_str_eq(arguments_value_at(&arguments, "env", 0), "X=1");
    cr_assert_str_eq(arguments_value_at(&arguments, "env", 1), "Y=2");
    cr_assert_str_eq(arguments_value_at(&arguments, "env", 2), "Z=");
    cr_assert_null(arguments_value_at(&arguments, "env", 3));
    cr_assert_str_eq(arguments_value(&arguments, "env"), "Z=", "the last one counts");
    cr_assert_eq(arguments.words_count, 1);
    cr_assert_str_eq(arguments.words[0], "17");
    cr_assert(!arguments_has(&arguments, "json"));
    arguments_destroy(&arguments);
}

Test(arguments, options_may_stand_behind_words)
{
    struct arguments arguments;
    cr_assert_eq(PARSE(&arguments, false, "1", "--json", "2", "-f", "-"), 0);
    cr_assert(arguments_has(&arguments, "json"));
    cr_assert(arguments_has(&arguments, "follow"));
    cr_assert_null(arguments_value(&arguments, "follow"));
    cr_assert_eq(arguments.words_count, 3);
    cr_assert_str_eq(arguments.words[2], "-");
    arguments_destroy(&arguments);
}

Test(arguments, the_first_word_ends_the_options_of_a_program)
{
    struct arguments arguments;
    cr_assert_eq(PARSE(&arguments, true, "-f", "ls", "--json", "--", "-x"), 0);
    cr_assert(!arguments_has(&arguments, "json"));
    cr_assert_eq(arguments.words_count, 4);
    cr_assert_str_eq(arguments.words[1], "--json");
    cr_assert_str_eq(arguments.words[2], "--");
    arguments_destroy(&arguments);
}

Test(arguments, two_dashes_end_the_options)
{
    struct arguments arguments;
    cr_assert_eq(PARSE(&arguments, true, "--json", "--", "--follow", "--"), 0);
    cr_assert(!arguments_has(&arguments, "follow"));
    cr_assert_eq(arguments.words_count, 2);
    cr_assert_str_eq(arguments.words[0], "--follow");
    cr_assert_str_eq(arguments.words[1], "--");
    arguments_destroy(&arguments);
}

Test(arguments, mistakes_are_named)
{
    struct arguments arguments;
    cr_assert_eq(PARSE(&arguments, false, "--qeue", "a"), -EINVAL);
    cr_assert_str_eq(error, "unknown option --qeue; did you mean --queue?");
    cr_assert_eq(PARSE(&arguments, false, "--jsno=1"), -EINVAL);
    cr_assert_str_eq(error, "unknown option --jsno; did you mean --json?");
    cr_assert_eq(PARSE(&arguments, false, "--zebra"), -EINVAL);
    cr_assert_str_eq(error, "unknown option --zebra");
    cr_assert_eq(PARSE(&arguments, false, "-z"), -EINVAL);
    cr_assert_str_eq(error, "unknown option -z");
    cr_assert_eq(PARSE(&arguments, false, "--queue"), -EINVAL);
    cr_assert_str_eq(error, "option --queue needs a value: --queue NAME");
    cr_assert_eq(PARSE(&arguments, false, "--json=yes"), -EINVAL);
    cr_assert_str_eq(error, "option --json takes no value");
    cr_assert_eq(PARSE(&arguments, false, "-fx"), -EINVAL);
    cr_assert_str_eq(error, "option -f takes no value");
    cr_assert_eq(PARSE(&arguments, false, "--que=a"), -EINVAL, "no abbreviations");
}

Test(arguments, a_very_long_option_is_refused_whole)
{
    struct arguments arguments;
    char word[5000];
    memset(word, '-', 2);
    memset(word + 2, 'a', sizeof word - 3);
    word[sizeof word - 1] = '\0';
    cr_assert_eq(PARSE(&arguments, false, word), -EINVAL);
    cr_assert(strlen(error) < ARGUMENTS_ERROR_MAX);
}

Test(arguments, none_is_fine)
{
    struct arguments arguments;
    cr_assert_eq(arguments_parse(&arguments, NULL, 0, tables, false, error), 0);
    cr_assert_eq(arguments.words_count, 0);
    arguments_destroy(&arguments);
}
