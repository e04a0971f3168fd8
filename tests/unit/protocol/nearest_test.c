/* SPDX-License-Identifier: MIT */
#include "protocol/nearest.h"
#include "support/test.h"

#include <stdint.h>
#include <string.h>

static const char *find(const char *word)
{
    static const char *const names[] = {"argv", "call",     "env",   "cwd",     "stdin",
                                        "name", "priority", "queue", "timeout", "retries"};
    struct nearest nearest;
    nearest_init(&nearest, word);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        nearest_offer(&nearest, names[i]);
    return nearest.best ? nearest.best : "(none)";
}

static void expect(const char *word, const char *expected)
{
    cr_assert(strcmp(find(word), expected) == 0, "%s: got %s, expected %s", word, find(word),
              expected);
}

Test(nearest, distance_counts_each_kind_of_edit_as_one)
{
    cr_assert_eq(nearest_distance("queue", "queue"), 0);
    cr_assert_eq(nearest_distance("queue", "quee"), 1);   /* delete */
    cr_assert_eq(nearest_distance("queue", "queuee"), 1); /* insert */
    cr_assert_eq(nearest_distance("queue", "quexe"), 1);  /* replace */
    cr_assert_eq(nearest_distance("queue", "qeuue"), 1);  /* swap */
    cr_assert_eq(nearest_distance("kitten", "sitting"), 3);
    cr_assert_eq(nearest_distance("", "abc"), 3);
    cr_assert_eq(nearest_distance("abc", ""), 3);
    cr_assert_eq(nearest_distance("ca", "abc"), 3); /* a swapped pair is not edited again */
}

Test(nearest, distance_is_symmetric)
{
    static const char *const words[] = {"", "a", "ab", "ba", "argv", "agrv", "queue", "retries"};
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++)
            cr_assert_eq(nearest_distance(words[i], words[j]),
                         nearest_distance(words[j], words[i]));
}

Test(nearest, typing_mistakes_find_their_name)
{
    expect("piority", "priority");
    expect("agrv", "argv");
    expect("arg", "argv");
    expect("time_out", "timeout");
    expect("Queue", "queue");
    expect("retrys", "retries");
}

Test(nearest, names_that_are_far_from_all_find_none)
{
    expect("command", "(none)");
    expect("x", "(none)");
    expect("", "(none)");
    expect("prio", "(none)");
}

Test(nearest, replacing_all_of_a_word_is_not_near)
{
    struct nearest nearest;
    nearest_init(&nearest, "a");
    nearest_offer(&nearest, "b");
    nearest_offer(&nearest, "");
    cr_assert(nearest.best == NULL, "got %s", nearest.best);
    nearest_init(&nearest, "");
    nearest_offer(&nearest, "b");
    cr_assert(nearest.best == NULL, "got %s", nearest.best);
}

Test(nearest, names_beyond_the_limit_are_not_compared)
{
    char longest[NEAREST_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[NEAREST_NAME_MAX] = '\0';
    cr_assert_eq(nearest_distance(longest, longest), 0);
    cr_assert_eq(nearest_distance(longest, ""), NEAREST_NAME_MAX);
    longest[NEAREST_NAME_MAX] = 'x';
    longest[NEAREST_NAME_MAX + 1] = '\0';
    cr_assert_eq(nearest_distance(longest, "x"), SIZE_MAX);
    cr_assert_eq(nearest_distance("x", longest), SIZE_MAX);
    expect(longest, "(none)");
}
