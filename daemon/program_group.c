/* SPDX-License-Identifier: MIT */
/*
 * program_group: memory_max, tasks_max and cpu_quota, which bound all processes of an attempt
 * together.  They have the names of systemd's directives, and its units.
 *
 * I1  parse(text(v)) == v for each of them.
 * I2  What is taken here the kernel takes too, where the controller is there: the bounds are its own.
 */
#include "daemon/program.h"

#include "protocol/params.h"
#include "protocol/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PERCENT UINT64_C(1000) /* of PROGRAM_CPU_QUOTA */

static int parse_count(const char *text, uint64_t *ret_value);
static int parse_quota(const char *text, uint64_t *ret_value);
static char *format_count(uint64_t value, char text[static UNITS_TEXT_MAX]);
static char *format_quota(uint64_t value, char text[static UNITS_TEXT_MAX]);

static const struct group_row {
    const char *name;
    const char *expected;
    int (*parse)(const char *text, uint64_t *ret_value);
    char *(*format)(uint64_t value, char text[static UNITS_TEXT_MAX]);
    uint64_t min, max;
} rows[PROGRAM_GROUPS] = {
    /* a page, which is what the kernel counts; the largest number that it can keep so */
    [PROGRAM_MEMORY_MAX] = {"memory_max", "is not a size from 4K on (64M), or infinity",
                            units_parse_size, units_format_size, 4096, INT64_MAX},
    /* PID_MAX_LIMIT */
    [PROGRAM_TASKS_MAX] = {"tasks_max",
                           "is not a whole number of processes and threads from 1 to 4194304, or "
                           "infinity",
                           parse_count, format_count, 1, 4194304},
    /* of a period of 100 ms, of which a quota has at least 1 ms */
    [PROGRAM_CPU_QUOTA] = {"cpu_quota",
                           "is not a percentage of one CPU from 1% to 1000000% (150%), or infinity",
                           parse_quota, format_quota, PERCENT, 1000000 * PERCENT},
};

/* At most 15 digits, so that a thousand times as much fits.  Returns behind them; NULL: there is
 * none, or too many. */
static const char *take_digits(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t size = strspn(text, "0123456789");
    if (size == 0 || size > 15)
        return NULL;
    for (size_t i = 0; i < size; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    *ret_value = value;
    return text + size;
}

/* What is behind the point: ".5" is 500. */
static const char *take_thousandths(const char *text, uint64_t *ret_value)
{
    uint64_t value;
    const char *end = take_digits(text, &value);
    if (!end || end - text > 3)
        return NULL;
    for (long size = end - text; size < 3; size++)
        value *= 10;
    *ret_value = value;
    return end;
}

static int parse_count(const char *text, uint64_t *ret_value)
{
    const char *end = take_digits(text, ret_value);
    return end && *end == '\0' ? 0 : -EINVAL;
}

/* "150%", "12.5%", "150": the sign may be left out. */
static int parse_quota(const char *text, uint64_t *ret_value)
{
    uint64_t whole = 0, part = 0;
    const char *end = take_digits(text, &whole);
    if (end && *end == '.')
        end = take_thousandths(end + 1, &part);
    if (!end || strcmp(*end == '%' ? end + 1 : end, "") != 0)
        return -EINVAL;
    *ret_value = whole * PERCENT + part;
    return 0;
}

static char *format_count(uint64_t value, char text[static UNITS_TEXT_MAX])
{
    snprintf(text, UNITS_TEXT_MAX, "%" PRIu64, value);
    return text;
}

static char *format_quota(uint64_t value, char text[static UNITS_TEXT_MAX])
{
    int size =
        snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 ".%03" PRIu64, value / PERCENT, value % PERCENT);
    while (text[size - 1] == '0')
        size--;
    if (text[size - 1] == '.')
        size--;
    snprintf(text + size, UNITS_TEXT_MAX - (size_t)size, "%%");
    return text;
}

const char *program_group_name(enum program_group group)
{
    return rows[group].name;
}

int program_group_find(const char *name)
{
    for (int i = 0; i < PROGRAM_GROUPS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return i;
    return -ENOENT;
}

int program_parse_group(enum program_group group, const char *text, struct program_options *options,
                        char why[static PROGRAM_WHY_MAX])
{
    const struct group_row *row = &rows[group];
    uint64_t value = PROGRAM_NO_LIMIT;
    bool none = strcmp(text, "infinity") == 0;
    if (!none && (row->parse(text, &value) < 0 || value < row->min || value > row->max)) {
        snprintf(why, PROGRAM_WHY_MAX, "%s", row->expected);
        return -EINVAL;
    }
    options->groups[group] = value;
    return 0;
}

char *program_group_text(enum program_group group, uint64_t value,
                         char buffer[static PROGRAM_TEXT_MAX])
{
    char text[UNITS_TEXT_MAX] = "";
    if (value == PROGRAM_NO_LIMIT)
        snprintf(text, sizeof text, "infinity");
    else if (value > 0)
        rows[group].format(value, text);
    snprintf(buffer, PROGRAM_TEXT_MAX, "%s", text);
    return buffer;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* As text: a number is bytes, a count or percent.  One with a NUL in it is "", which is none. */
static const char *word_of(const json_t *value, char buffer[static UNITS_TEXT_MAX])
{
    const char *text = json_string_value(value);
    buffer[0] = '\0';
    if (text)
        return strlen(text) == json_string_length(value) ? text : "";
    if (json_is_integer(value))
        snprintf(buffer, UNITS_TEXT_MAX, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value) && json_real_value(value) < 1e9)
        snprintf(buffer, UNITS_TEXT_MAX, "%.3f", json_real_value(value));
    return buffer;
}

int program_groups_from_json(const json_t *job, struct program_options *options,
                             struct rpc_error *error)
{
    char why[PROGRAM_WHY_MAX], number[UNITS_TEXT_MAX];
    for (int i = 0; i < PROGRAM_GROUPS; i++) {
        const json_t *value = params_get(job, rows[i].name);
        if (!value || program_parse_group(i, word_of(value, number), options, why) == 0)
            continue;
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, rows[i].name, NULL,
                                   "parameter \"%s\" %s", rows[i].name, why);
    }
    return 0;
}

int program_groups_to_json(const struct program_options *options, json_t *job)
{
    char text[PROGRAM_TEXT_MAX];
    int rc = 0;
    for (int i = 0; i < PROGRAM_GROUPS; i++) {
        uint64_t value = options->groups[i];
        bool count = i == PROGRAM_TASKS_MAX && value != PROGRAM_NO_LIMIT;
        if (value > 0)
            rc |= json_object_set_new(job, rows[i].name,
                                      count ? json_integer((json_int_t)value)
                                            : json_string(program_group_text(i, value, text)));
    }
    return rc;
}
