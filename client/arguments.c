/* SPDX-License-Identifier: MIT */
/*
 * arguments: see arguments.h.
 *
 * I1  given and words have room for all of argv from the start, so nothing grows while parsing.
 * Pure: looks at nothing but its arguments.
 */
#include "client/arguments.h"

#include "protocol/nearest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parse {
    struct arguments arguments;
    char **argv;
    size_t count;
    size_t next; /* index of the first word not looked at */
    const struct option_spec *const *tables;
    char *error;
};

#define FAIL(parse, ...) (snprintf((parse)->error, ARGUMENTS_ERROR_MAX, __VA_ARGS__), -EINVAL)

static const struct option_spec *find(const struct parse *parse, const char *name, size_t size)
{
    for (size_t i = 0; parse->tables[i]; i++) {
        for (const struct option_spec *at = parse->tables[i]; at->name; at++) {
            if (strncmp(at->name, name, size) == 0 && at->name[size] == '\0')
                return at;
        }
    }
    return NULL;
}

static const struct option_spec *find_letter(const struct parse *parse, char letter)
{
    for (size_t i = 0; parse->tables[i]; i++) {
        for (const struct option_spec *at = parse->tables[i]; at->name; at++) {
            if (at->letter == letter)
                return at;
        }
    }
    return NULL;
}

static int refuse_name(struct parse *parse, const char *name, size_t size)
{
    char word[NEAREST_NAME_MAX + 1];
    struct nearest nearest;
    snprintf(word, sizeof word, "%.*s", (int)(size < NEAREST_NAME_MAX ? size : NEAREST_NAME_MAX),
             name);
    nearest_init(&nearest, word);
    for (size_t i = 0; parse->tables[i]; i++) {
        for (const struct option_spec *at = parse->tables[i]; at->name; at++)
            nearest_offer(&nearest, at->name);
    }
    if (nearest.best)
        return FAIL(parse, "unknown option --%s; did you mean --%s?", word, nearest.best);
    return FAIL(parse, "unknown option --%s", word);
}

static void add(struct parse *parse, const struct option_spec *option, const char *value)
{
    struct arguments *arguments = &parse->arguments;
    arguments->given[arguments->given_count++] = (struct argument){option, value};
}

/* The option at hand, with attached as its value, or else the next word where it takes one. */
static int take_option(struct parse *parse, const struct option_spec *option, const char *attached)
{
    if (!option->value && attached)
        return FAIL(parse, "option --%s takes no value", option->name);
    if (option->value && !attached && parse->next == parse->count)
        return FAIL(parse, "option --%s needs a value: --%s %s", option->name, option->name,
                    option->value);
    if (option->value && !attached)
        attached = parse->argv[parse->next++];
    add(parse, option, attached);
    return 0;
}

static int take_long(struct parse *parse, const char *name)
{
    size_t size = strcspn(name, "=");
    const struct option_spec *option = find(parse, name, size);
    if (!option)
        return refuse_name(parse, name, size);
    return take_option(parse, option, name[size] == '=' ? name + size + 1 : NULL);
}

static int take_short(struct parse *parse, const char *letters)
{
    const struct option_spec *option = find_letter(parse, letters[0]);
    if (!option)
        return FAIL(parse, "unknown option -%c", letters[0]);
    if (letters[1] && !option->value)
        return FAIL(parse, "option -%c takes no value", letters[0]);
    return take_option(parse, option, letters[1] ? letters + 1 : NULL);
}

static void take_words(struct parse *parse)
{
    struct arguments *arguments = &parse->arguments;
    while (parse->next < parse->count)
        arguments->words[arguments->words_count++] = parse->argv[parse->next++];
}

static int take(struct parse *parse, bool stop_at_word)
{
    const char *word = parse->argv[parse->next];
    if (word[0] != '-' || word[1] == '\0') {
        struct arguments *arguments = &parse->arguments;
        if (stop_at_word)
            take_words(parse);
        else
            arguments->words[arguments->words_count++] = parse->argv[parse->next++];
        return 0;
    }
    parse->next++;
    if (strcmp(word, "--") == 0) {
        take_words(parse);
        return 0;
    }
    return word[1] == '-' ? take_long(parse, word + 2) : take_short(parse, word + 1);
}

int arguments_parse(struct arguments *ret_arguments, char **argv, size_t count,
                    const struct option_spec *const *tables, bool stop_at_word,
                    char error[static ARGUMENTS_ERROR_MAX])
{
    struct parse parse = {.argv = argv, .count = count, .tables = tables, .error = error};
    parse.arguments.given = calloc(count + 1, sizeof *parse.arguments.given);
    parse.arguments.words = calloc(count + 1, sizeof *parse.arguments.words);
    int err = parse.arguments.given && parse.arguments.words ? 0 : -ENOMEM;
    while (!err && parse.next < count)
        err = take(&parse, stop_at_word);
    if (err) {
        arguments_destroy(&parse.arguments);
        return err;
    }
    *ret_arguments = parse.arguments;
    return 0;
}

void arguments_destroy(struct arguments *arguments)
{
    free(arguments->given);
    free(arguments->words);
    *arguments = (struct arguments){0};
}

static const struct argument *at(const struct arguments *arguments, const char *name, size_t index)
{
    for (size_t i = 0; i < arguments->given_count; i++) {
        if (strcmp(arguments->given[i].option->name, name) == 0 && index-- == 0)
            return &arguments->given[i];
    }
    return NULL;
}

bool arguments_has(const struct arguments *arguments, const char *name)
{
    return at(arguments, name, 0) != NULL;
}

const char *arguments_value(const struct arguments *arguments, const char *name)
{
    const char *value = NULL, *next;
    for (size_t i = 0; (next = arguments_value_at(arguments, name, i)); i++)
        value = next;
    return value;
}

const char *arguments_value_at(const struct arguments *arguments, const char *name, size_t index)
{
    const struct argument *found = at(arguments, name, index);
    return found ? found->value : NULL;
}
