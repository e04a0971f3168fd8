/* SPDX-License-Identifier: MIT */
/*
 * config_value: one value of the configuration, from text and back.
 *
 * I1  parse(text(v)) == v for every type.
 * I2  A refused value leaves the field as it was, and why says what was expected.
 * Pure functions on the caller's memory; any thread.
 */
#include "daemon/config_table.h"
#include "protocol/nearest.h"
#include "protocol/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    enum config_log_level level;
} levels[] = {
    {"error", CONFIG_LOG_ERROR}, {"warning", CONFIG_LOG_WARNING}, {"notice", CONFIG_LOG_NOTICE},
    {"info", CONFIG_LOG_INFO},   {"debug", CONFIG_LOG_DEBUG},
};
#define LEVELS (sizeof levels / sizeof levels[0])

static void *field(const struct config_key *key, void *base)
{
    return (char *)base + key->offset;
}

static const void *field_const(const struct config_key *key, const void *base)
{
    return (const char *)base + key->offset;
}

/* Digits of the given base and nothing else: strtoull alone takes signs and spaces. */
static int parse_digits(const char *text, int base, uint64_t *ret_value)
{
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, base);
    if (*end)
        return -EINVAL;
    if (errno)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

static uint64_t concurrency_auto(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 4;
    return 4 * (uint64_t)CPU_COUNT(&set);
}

static int parse_number(const struct config_key *key, const char *text, uint64_t *ret_value)
{
    switch (key->type) {
    case CONFIG_SIZE:
        return units_parse_size(text, ret_value);
    case CONFIG_DURATION:
        return units_parse_duration(text, ret_value);
    case CONFIG_MODE:
        return parse_digits(text, 8, ret_value);
    case CONFIG_CONCURRENCY:
        if (strcmp(text, "auto") != 0)
            return parse_digits(text, 10, ret_value);
        *ret_value = concurrency_auto();
        return 0;
    default:
        return parse_digits(text, 10, ret_value);
    }
}

static void format_number(const struct config_key *key, uint64_t value, char text[UNITS_TEXT_MAX])
{
    switch (key->type) {
    case CONFIG_SIZE:
        units_format_size(value, text);
        break;
    case CONFIG_DURATION:
        units_format_duration(value, text);
        break;
    case CONFIG_MODE:
        snprintf(text, UNITS_TEXT_MAX, "%04" PRIo64, value);
        break;
    default:
        snprintf(text, UNITS_TEXT_MAX, "%" PRIu64, value);
    }
}

static const char *expected(enum config_type type)
{
    switch (type) {
    case CONFIG_SIZE:
        return "not a size, such as 4096, 64K or 1.5G";
    case CONFIG_DURATION:
        return "not a duration, such as 30, 1.5s or 10m";
    case CONFIG_MODE:
        return "not an octal mode, such as 0660";
    case CONFIG_CONCURRENCY:
        return "not a whole number, nor \"auto\"";
    default:
        return "not a whole number";
    }
}

static bool is_wide(enum config_type type)
{
    return type == CONFIG_COUNT64 || type == CONFIG_SIZE || type == CONFIG_DURATION;
}

static int set_number(const struct config_key *key, const char *text, void *base, char *why)
{
    uint64_t value;
    int err = parse_number(key, text, &value);
    if (err == -EINVAL) {
        snprintf(why, CONFIG_WHY_MAX, "%s", expected(key->type));
        return -EINVAL;
    }
    if (err || value < key->min || value > key->max) {
        char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
        format_number(key, key->min, low);
        format_number(key, key->max, high);
        snprintf(why, CONFIG_WHY_MAX, "must be from %s to %s", low, high);
        return -EINVAL;
    }
    if (is_wide(key->type))
        *(uint64_t *)field(key, base) = value;
    else
        *(uint32_t *)field(key, base) = (uint32_t)value;
    return 0;
}

static int set_string(const struct config_key *key, const char *text, void *base)
{
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    char **slot = field(key, base);
    free(*slot);
    *slot = copy;
    return 0;
}

static int set_level(const struct config_key *key, const char *text, void *base, char *why)
{
    struct nearest nearest;
    nearest_init(&nearest, text);
    for (size_t i = 0; i < LEVELS; i++) {
        nearest_offer(&nearest, levels[i].name);
        if (strcmp(levels[i].name, text) != 0)
            continue;
        *(enum config_log_level *)field(key, base) = levels[i].level;
        return 0;
    }
    snprintf(why, CONFIG_WHY_MAX, "must be error, warning, notice, info or debug%s%s%s",
             nearest.best ? " (did you mean '" : "", nearest.best ? nearest.best : "",
             nearest.best ? "'?)" : "");
    return -EINVAL;
}

static const char *const wishes[] = {
    [CONFIG_AUTO] = "auto", [CONFIG_YES] = "yes", [CONFIG_NO] = "no"};

static int set_wish(const struct config_key *key, const char *text, void *base, char *why)
{
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        if (strcasecmp(text, wishes[i]) != 0)
            continue;
        *(enum config_wish *)field(key, base) = (enum config_wish)i;
        return 0;
    }
    snprintf(why, CONFIG_WHY_MAX, "must be auto, yes or no");
    return -EINVAL;
}

static int set_switch(const struct config_key *key, const char *text, void *base, char *why)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false",
                                                                                "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        bool is_yes = strcasecmp(text, yes[i]) == 0;
        if (!is_yes && strcasecmp(text, no[i]) != 0)
            continue;
        *(bool *)field(key, base) = is_yes;
        return 0;
    }
    snprintf(why, CONFIG_WHY_MAX, "must be yes or no");
    return -EINVAL;
}

static int set_integer(const struct config_key *key, const char *text, void *base, char *why)
{
    uint64_t value;
    bool below = text[0] == '-';
    int err = parse_digits(text + below, 10, &value);
    if (err || value > key->max) {
        snprintf(why, CONFIG_WHY_MAX, "must be a whole number from -%" PRIu64 " to %" PRIu64,
                 key->max, key->max);
        return -EINVAL;
    }
    *(int32_t *)field(key, base) = below ? -(int32_t)value : (int32_t)value;
    return 0;
}

/* One of two words. */
static int set_either(const struct config_key *key, const char *text, const char *no,
                      const char *yes, void *base, char *why)
{
    bool is_yes = strcmp(text, yes) == 0;
    if (!is_yes && strcmp(text, no) != 0) {
        snprintf(why, CONFIG_WHY_MAX, "must be %s or %s", no, yes);
        return -EINVAL;
    }
    *(bool *)field(key, base) = is_yes;
    return 0;
}

static int set_rate(const struct config_key *key, const char *text, void *base, char *why)
{
    int err = units_parse_rate(text, field(key, base));
    if (err == -ERANGE)
        snprintf(why, CONFIG_WHY_MAX, "must be from 1/d to 1000000/s; none for no limit");
    else if (err)
        snprintf(why, CONFIG_WHY_MAX, "not a rate, such as 10/s, 100/m, 5/h or none");
    return err ? -EINVAL : 0;
}

/* Between words.  All white space, as inih takes all of it off the ends of a value: a word that began
 * with some would be another one once it is printed and read again. */
#define BETWEEN " \t\r\v\f,"

/* The words lie behind the array, in one block. */
static int set_words(const struct config_key *key, const char *text, void *base)
{
    size_t most = strlen(text) / 2 + 2;
    char **words = malloc(most * sizeof *words + strlen(text) + 1);
    if (!words)
        return -ENOMEM;
    char *copy = strcpy((char *)(words + most), text);
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(copy, BETWEEN, &rest); word; word = strtok_r(NULL, BETWEEN, &rest))
        words[count++] = word;
    words[count] = NULL;
    char ***slot = field(key, base);
    free(*slot);
    *slot = words;
    return 0;
}

static int set_group(const struct config_key *key, const char *text,
                     struct program_options *options, char *why)
{
    int group = program_group_find(key->name);
    if (text[0])
        return program_parse_group(group, text, options, why);
    options->groups[group] = 0;
    return 0;
}

/* Empty: not given. */
static int set_program(const struct config_key *key, const char *text, void *base, char *why)
{
    struct program_options *options = field(key, base);
    bool given = text[0] != '\0';
    _Static_assert(CONFIG_WHY_MAX >= PROGRAM_WHY_MAX, "why has room");
    switch (key->type) {
    case CONFIG_UMASK:
        options->has_umask &= given;
        return given ? program_parse_umask(text, options, why) : 0;
    case CONFIG_NICE:
        options->has_nice &= given;
        return given ? program_parse_nice(text, options, why) : 0;
    case CONFIG_IONICE:
        options->ionice = given ? options->ionice : 0;
        return given ? program_parse_ionice(text, options, why) : 0;
    case CONFIG_GROUP:
        return set_group(key, text, options, why);
    default:
        return program_parse_limits(text, options, why);
    }
}

int config_value_parse(const struct config_key *key, const char *text, void *base,
                       char why[static CONFIG_WHY_MAX])
{
    switch (key->type) {
    case CONFIG_STRING:
        return set_string(key, text, base);
    case CONFIG_WORDS:
        return set_words(key, text, base);
    case CONFIG_LEVEL:
        return set_level(key, text, base, why);
    case CONFIG_WISH:
        return set_wish(key, text, base, why);
    case CONFIG_SWITCH:
        return set_switch(key, text, base, why);
    case CONFIG_INT32:
        return set_integer(key, text, base, why);
    case CONFIG_ON_CRASH:
        return set_either(key, text, "requeue", "fail", base, why);
    case CONFIG_KEEP:
        return set_either(key, text, "head", "tail", base, why);
    case CONFIG_RATE:
        return set_rate(key, text, base, why);
    case CONFIG_UMASK:
    case CONFIG_NICE:
    case CONFIG_IONICE:
    case CONFIG_LIMITS:
    case CONFIG_GROUP:
        return set_program(key, text, base, why);
    default:
        return set_number(key, text, base, why);
    }
}

/* No words: a comma, as nothing at all would be the default. */
static char *words_text(const struct config_key *key, char *const *words)
{
    if (!words[0])
        return strdup(*key->default_text ? "," : "");
    size_t size = 1;
    for (size_t i = 0; words[i]; i++)
        size += strlen(words[i]) + 1;
    char *text = malloc(size);
    if (!text)
        return NULL;
    char *end = text;
    for (size_t i = 0; words[i]; i++)
        end += sprintf(end, "%s%s", i ? " " : "", words[i]);
    *end = '\0';
    return text;
}

static const char *level_text(enum config_log_level level)
{
    for (size_t i = 0; i < LEVELS; i++) {
        if (levels[i].level == level)
            return levels[i].name;
    }
    return "info";
}

static const char *group_text(const struct config_key *key, const struct program_options *options,
                              char text[static PROGRAM_TEXT_MAX])
{
    int group = program_group_find(key->name);
    return program_group_text(group, options->groups[group], text);
}

char *config_value_text(const struct config_key *key, const void *base)
{
    const void *value = field_const(key, base);
    char text[PROGRAM_TEXT_MAX];
    switch (key->type) {
    case CONFIG_STRING:
        return strdup(*(char *const *)value);
    case CONFIG_WORDS:
        return words_text(key, *(char **const *)value);
    case CONFIG_LEVEL:
        return strdup(level_text(*(const enum config_log_level *)value));
    case CONFIG_WISH:
        return strdup(wishes[*(const enum config_wish *)value]);
    case CONFIG_SWITCH:
        return strdup(*(const bool *)value ? "yes" : "no");
    case CONFIG_ON_CRASH:
        return strdup(*(const bool *)value ? "fail" : "requeue");
    case CONFIG_KEEP:
        return strdup(*(const bool *)value ? "tail" : "head");
    case CONFIG_INT32:
        snprintf(text, sizeof text, "%" PRId32, *(const int32_t *)value);
        return strdup(text);
    case CONFIG_RATE:
        return strdup(units_format_rate(*(const struct units_rate *)value, text));
    case CONFIG_UMASK:
        return strdup(program_umask_text(value, text));
    case CONFIG_NICE:
        return strdup(program_nice_text(value, text));
    case CONFIG_IONICE:
        return strdup(program_ionice_text(value, text));
    case CONFIG_LIMITS:
        return program_limits_text(value);
    case CONFIG_GROUP:
        return strdup(group_text(key, value, text));
    default:
        format_number(key, is_wide(key->type) ? *(const uint64_t *)value : *(const uint32_t *)value,
                      text);
        return strdup(text);
    }
}

void config_value_destroy(const struct config_key *key, void *base)
{
    if (key->type != CONFIG_STRING && key->type != CONFIG_WORDS)
        return;
    void **slot = field(key, base);
    free(*slot);
    *slot = NULL;
}
