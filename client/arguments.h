/* SPDX-License-Identifier: MIT */
/* arguments: a command line, parsed by tables.  "--name VALUE", "--name=VALUE", "-n VALUE";
 * "--" ends the options.  Everything is borrowed from argv. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct option_spec {
    const char *name;  /* without its dashes; NULL ends a table */
    char letter;       /* the short form, 0: none */
    const char *value; /* what it takes, for the help: "DURATION"; NULL: nothing */
    const char *help;
};

struct argument {
    const struct option_spec *option;
    const char *value; /* NULL for an option that takes none */
};

struct arguments {
    struct argument *given; /* in the order given */
    size_t given_count;
    char **words; /* what is no option */
    size_t words_count;
};

#define ARGUMENTS_ERROR_MAX 256

/* Parse count words of argv against the tables (NULL behind the last).  With stop_at_word the first
 * word ends the options, as the words are somebody else's command line.
 * Errors: -EINVAL with a sentence in error (an unknown option names the nearest), -ENOMEM. */
int arguments_parse(struct arguments *ret_arguments, char **argv, size_t count,
                    const struct option_spec *const *tables, bool stop_at_word,
                    char error[static ARGUMENTS_ERROR_MAX]);
void arguments_destroy(struct arguments *arguments);

bool arguments_has(const struct arguments *arguments, const char *name);

/* The last value given; NULL: the option was not. */
const char *arguments_value(const struct arguments *arguments, const char *name);

/* The index-th value of an option that may be repeated; NULL behind the last. */
const char *arguments_value_at(const struct arguments *arguments, const char *name, size_t index);
