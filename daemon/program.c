/* SPDX-License-Identifier: MIT */
/*
 * program: see program.h.
 *
 * I1  parse(text(v)) == v for each of them, within what its unit can express.
 * I2  What is refused here is wrong everywhere; what the kernel refuses of the rest (a hard limit
 *     that is raised, a niceness below the limit) is known only when a program is started.
 * The limits of control groups are in program_group.c.
 */
#include "daemon/program.h"

#include "protocol/nearest.h"
#include "protocol/params.h"
#include "protocol/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/ioprio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS      UINT64_C(1000000000)
#define MICROSECOND_NS UINT64_C(1000)

enum { UMASK_MAX = 0777, LEVEL_MAX = 7, LEVEL_DEFAULT = 4 };

/* How the number of a limit is written. */
enum limit_unit { LIMIT_COUNT, LIMIT_BYTES, LIMIT_SECONDS, LIMIT_MICROSECONDS };

static const struct limit_row {
    const char *name;
    enum limit_unit unit;
} limit_rows[RLIM_NLIMITS] = {
    [RLIMIT_AS] = {"as", LIMIT_BYTES},
    [RLIMIT_CORE] = {"core", LIMIT_BYTES},
    [RLIMIT_CPU] = {"cpu", LIMIT_SECONDS},
    [RLIMIT_DATA] = {"data", LIMIT_BYTES},
    [RLIMIT_FSIZE] = {"fsize", LIMIT_BYTES},
    [RLIMIT_LOCKS] = {"locks", LIMIT_COUNT},
    [RLIMIT_MEMLOCK] = {"memlock", LIMIT_BYTES},
    [RLIMIT_MSGQUEUE] = {"msgqueue", LIMIT_BYTES},
    [RLIMIT_NICE] = {"nice", LIMIT_COUNT},
    [RLIMIT_NOFILE] = {"nofile", LIMIT_COUNT},
    [RLIMIT_NPROC] = {"nproc", LIMIT_COUNT},
    [RLIMIT_RSS] = {"rss", LIMIT_BYTES},
    [RLIMIT_RTPRIO] = {"rtprio", LIMIT_COUNT},
    [RLIMIT_RTTIME] = {"rttime", LIMIT_MICROSECONDS},
    [RLIMIT_SIGPENDING] = {"sigpending", LIMIT_COUNT},
    [RLIMIT_STACK] = {"stack", LIMIT_BYTES},
};

static const struct {
    const char *name;
    int number;
} classes[] = {
    {"realtime", IOPRIO_CLASS_RT}, {"best-effort", IOPRIO_CLASS_BE}, {"idle", IOPRIO_CLASS_IDLE}};
#define CLASSES (sizeof classes / sizeof classes[0])

static int refuse(char *why, const char *text)
{
    snprintf(why, PROGRAM_WHY_MAX, "%s", text);
    return -EINVAL;
}

/* Digits and nothing else, no larger than max: strtoull alone takes signs and spaces. */
static int parse_digits(const char *text, int base, uint64_t max, uint64_t *ret_value)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, base);
    if (errno || *end || value > max)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

/* ---- umask and priorities -------------------------------------------------------------------- */

int program_parse_umask(const char *text, struct program_options *options,
                        char why[static PROGRAM_WHY_MAX])
{
    uint64_t value;
    if (parse_digits(text, 8, UMASK_MAX, &value) < 0)
        return refuse(why, "is not an octal mask from 0000 to 0777, such as 0027");
    options->has_umask = true;
    options->umask = (uint32_t)value;
    return 0;
}

char *program_umask_text(const struct program_options *options,
                         char buffer[static PROGRAM_TEXT_MAX])
{
    buffer[0] = '\0';
    if (options->has_umask)
        snprintf(buffer, PROGRAM_TEXT_MAX, "%04" PRIo32, options->umask);
    return buffer;
}

int program_parse_nice(const char *text, struct program_options *options,
                       char why[static PROGRAM_WHY_MAX])
{
    uint64_t value;
    bool below = *text == '-';
    if (parse_digits(text + below, 10, below ? -PROGRAM_NICE_MIN : PROGRAM_NICE_MAX, &value) < 0)
        return refuse(why, "is not a whole number from -20 to 19");
    options->has_nice = true;
    options->nice = below ? -(int32_t)value : (int32_t)value;
    return 0;
}

char *program_nice_text(const struct program_options *options, char buffer[static PROGRAM_TEXT_MAX])
{
    buffer[0] = '\0';
    if (options->has_nice)
        snprintf(buffer, PROGRAM_TEXT_MAX, "%" PRId32, options->nice);
    return buffer;
}

/* Returns 0: there is none of that name. */
static int class_of(const char *name, size_t length)
{
    for (size_t i = 0; i < CLASSES; i++)
        if (strlen(classes[i].name) == length && memcmp(classes[i].name, name, length) == 0)
            return classes[i].number;
    return 0;
}

int program_parse_ionice(const char *text, struct program_options *options,
                         char why[static PROGRAM_WHY_MAX])
{
    size_t length = strcspn(text, ":");
    uint64_t level = LEVEL_DEFAULT;
    int number = class_of(text, length);
    if (text[length] && parse_digits(text + length + 1, 10, LEVEL_MAX, &level) < 0)
        number = 0;
    if (number == 0)
        return refuse(why, "is not realtime, best-effort or idle, the first two perhaps with a "
                           "level from 0 (first) to 7: best-effort:7");
    if (number == IOPRIO_CLASS_IDLE)
        level = 0; /* it has none */
    options->ionice = IOPRIO_PRIO_VALUE(number, (int)level);
    return 0;
}

char *program_ionice_text(const struct program_options *options,
                          char buffer[static PROGRAM_TEXT_MAX])
{
    int number = IOPRIO_PRIO_CLASS(options->ionice);
    buffer[0] = '\0';
    for (size_t i = 0; i < CLASSES; i++) {
        if (classes[i].number == number && number == IOPRIO_CLASS_IDLE)
            snprintf(buffer, PROGRAM_TEXT_MAX, "%s", classes[i].name);
        else if (classes[i].number == number)
            snprintf(buffer, PROGRAM_TEXT_MAX, "%s:%d", classes[i].name,
                     (int)IOPRIO_PRIO_DATA(options->ionice));
    }
    return buffer;
}

/* ---- limits ---------------------------------------------------------------------------------- */

const char *program_limit_name(int resource)
{
    return resource >= 0 && resource < RLIM_NLIMITS ? limit_rows[resource].name : NULL;
}

static int find_limit(const char *name, size_t length, char *why)
{
    struct nearest nearest;
    char word[32];
    snprintf(word, sizeof word, "%.*s", (int)length, name);
    nearest_init(&nearest, word);
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        nearest_offer(&nearest, limit_rows[i].name);
        if (strcmp(limit_rows[i].name, word) == 0)
            return i;
    }
    snprintf(why, PROGRAM_WHY_MAX, "has no limit \"%s\"%s%s%s", word,
             nearest.best ? " (did you mean \"" : "", nearest.best ? nearest.best : "",
             nearest.best ? "\"?)" : "");
    return -EINVAL;
}

/* Time is rounded up: a program gets at least what was asked for. */
static int parse_time(const char *text, uint64_t unit_ns, uint64_t *ret_value)
{
    uint64_t ns;
    int rc = units_parse_duration(text, &ns);
    if (rc == 0)
        *ret_value = ns / unit_ns + (ns % unit_ns > 0);
    return rc;
}

static int parse_bound(enum limit_unit unit, const char *text, rlim_t *ret_bound)
{
    uint64_t value = 0;
    int rc = -EINVAL;
    if (strcmp(text, "infinity") == 0) {
        *ret_bound = RLIM_INFINITY;
        return 0;
    }
    switch (unit) {
    case LIMIT_COUNT:
        rc = parse_digits(text, 10, RLIM_INFINITY - 1, &value);
        break;
    case LIMIT_BYTES:
        rc = units_parse_size(text, &value);
        break;
    case LIMIT_SECONDS:
        rc = parse_time(text, SECOND_NS, &value);
        break;
    case LIMIT_MICROSECONDS:
        rc = parse_time(text, MICROSECOND_NS, &value);
        break;
    }
    if (rc == 0 && value != RLIM_INFINITY)
        *ret_bound = value;
    return rc == 0 && value != RLIM_INFINITY ? 0 : -EINVAL;
}

static int refuse_bound(int resource, char *why)
{
    static const char *const expected[] = {[LIMIT_COUNT] = "whole numbers",
                                           [LIMIT_BYTES] = "sizes (64M)",
                                           [LIMIT_SECONDS] = "durations (10m)",
                                           [LIMIT_MICROSECONDS] = "durations (200ms)"};
    const struct limit_row *row = &limit_rows[resource];
    snprintf(why, PROGRAM_WHY_MAX,
             "has a bad \"%s\": expected one for both limits, or SOFT:HARD, of %s or infinity",
             row->name, expected[row->unit]);
    return -EINVAL;
}

static int parse_limit(int resource, const char *text, struct program_options *options, char *why)
{
    char soft[PROGRAM_TEXT_MAX];
    struct rlimit limit;
    size_t length = strcspn(text, ":");
    const char *hard = text[length] ? text + length + 1 : soft;
    if (length >= sizeof soft)
        return refuse_bound(resource, why);
    snprintf(soft, sizeof soft, "%.*s", (int)length, text);
    if (parse_bound(limit_rows[resource].unit, soft, &limit.rlim_cur) < 0 ||
        parse_bound(limit_rows[resource].unit, hard, &limit.rlim_max) < 0)
        return refuse_bound(resource, why);
    if (limit.rlim_cur > limit.rlim_max) {
        snprintf(why, PROGRAM_WHY_MAX, "has a \"%s\" whose soft limit is above the hard one",
                 limit_rows[resource].name);
        return -EINVAL;
    }
    options->limits[resource] = limit;
    options->limits_set |= UINT32_C(1) << resource;
    return 0;
}

static int parse_word(const char *word, size_t length, struct program_options *options, char *why)
{
    char text[PROGRAM_TEXT_MAX];
    const char *equals = memchr(word, '=', length);
    if (!equals || length >= sizeof text)
        return refuse(why, "is not made of NAME=LIMIT and NAME=SOFT:HARD, such as nofile=1024");
    int resource = find_limit(word, (size_t)(equals - word), why);
    if (resource < 0)
        return resource;
    snprintf(text, sizeof text, "%.*s", (int)(word + length - equals - 1), equals + 1);
    return parse_limit(resource, text, options, why);
}

int program_parse_limits(const char *text, struct program_options *options,
                         char why[static PROGRAM_WHY_MAX])
{
    struct program_options read = *options;
    read.limits_set = 0;
    for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
        size_t length = strcspn(text, " \t");
        int rc = parse_word(text, length, &read, why);
        if (rc < 0)
            return rc;
        text += length;
    }
    *options = read;
    return 0;
}

static void format_bound(enum limit_unit unit, rlim_t bound, char text[static UNITS_TEXT_MAX])
{
    if (bound == RLIM_INFINITY)
        snprintf(text, UNITS_TEXT_MAX, "infinity");
    else if (unit == LIMIT_BYTES)
        units_format_size(bound, text);
    else if (unit == LIMIT_COUNT)
        snprintf(text, UNITS_TEXT_MAX, "%" PRIu64, (uint64_t)bound);
    else
        units_format_duration(bound * (unit == LIMIT_SECONDS ? SECOND_NS : MICROSECOND_NS), text);
}

char *program_limit_text(int resource, const struct rlimit *limit,
                         char buffer[static PROGRAM_TEXT_MAX])
{
    char soft[UNITS_TEXT_MAX], hard[UNITS_TEXT_MAX];
    format_bound(limit_rows[resource].unit, limit->rlim_cur, soft);
    format_bound(limit_rows[resource].unit, limit->rlim_max, hard);
    if (limit->rlim_cur == limit->rlim_max)
        snprintf(buffer, PROGRAM_TEXT_MAX, "%s", soft);
    else
        snprintf(buffer, PROGRAM_TEXT_MAX, "%s:%s", soft, hard);
    return buffer;
}

static bool is_set(const struct program_options *options, int resource)
{
    return options->limits_set >> resource & 1;
}

char *program_limits_text(const struct program_options *options)
{
    char one[PROGRAM_TEXT_MAX], *text = malloc(RLIM_NLIMITS * (PROGRAM_TEXT_MAX + 16));
    size_t size = 0;
    if (!text)
        return NULL;
    text[0] = '\0';
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (is_set(options, i))
            size += (size_t)sprintf(text + size, "%s%s=%s", size ? " " : "", limit_rows[i].name,
                                    program_limit_text(i, &options->limits[i], one));
    return text;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int refuse_param(struct rpc_error *error, const char *param, const char *why)
{
    return rpc_error_set_param(error, RPC_INVALID_PARAMS, param, NULL, "parameter \"%s\" %s", param,
                               why);
}

/* As text; a number is a count, bytes or seconds. */
static const char *limit_word(const json_t *value, char buffer[static UNITS_TEXT_MAX])
{
    if (json_is_string(value))
        return strlen(json_string_value(value)) == json_string_length(value)
                   ? json_string_value(value)
                   : "";
    if (!json_is_integer(value))
        return "";
    snprintf(buffer, UNITS_TEXT_MAX, "%lld", (long long)json_integer_value(value));
    return buffer;
}

static int read_limits(const json_t *limits, struct program_options *options, char *why)
{
    char number[UNITS_TEXT_MAX];
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)limits, name, value)
    {
        int resource = find_limit(name, strlen(name), why);
        if (resource < 0)
            return resource;
        int rc = parse_limit(resource, limit_word(value, number), options, why);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_all(const json_t *job, struct program_options *options, struct rpc_error *error)
{
    const char *umask = params_string(job, "umask", NULL);
    const char *ionice = params_string(job, "ionice", NULL);
    char why[PROGRAM_WHY_MAX];
    options->has_nice = params_has(job, "nice");
    options->nice = (int32_t)params_int(job, "nice", 0);
    if (umask && program_parse_umask(umask, options, why) < 0)
        return refuse_param(error, "umask", why);
    if (ionice && program_parse_ionice(ionice, options, why) < 0)
        return refuse_param(error, "ionice", why);
    if (read_limits(params_get(job, "limits"), options, why) < 0)
        return refuse_param(error, "limits", why);
    return program_groups_from_json(job, options, error);
}

int program_options_from_json(const json_t *job, struct program_options **ret_options,
                              struct rpc_error *error)
{
    static const char *const members[] = {"umask", "nice", "ionice", "limits"};
    bool any = false;
    for (size_t i = 0; i < PARAMS_COUNT(members); i++)
        any |= params_has(job, members[i]);
    for (int i = 0; i < PROGRAM_GROUPS; i++)
        any |= params_has(job, program_group_name(i));
    struct program_options *options = any ? calloc(1, sizeof(*options)) : NULL;
    if (any && !options) {
        rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory");
        return -ENOMEM;
    }
    int rc = any ? read_all(job, options, error) : 0;
    if (rc < 0) {
        free(options);
        return rc;
    }
    *ret_options = options;
    return 0;
}

static int put_text(json_t *job, const char *name, const char *text)
{
    return *text ? json_object_set_new(job, name, json_string(text)) : 0;
}

static int put_limits(json_t *job, const struct program_options *options)
{
    char text[PROGRAM_TEXT_MAX];
    if (options->limits_set == 0)
        return 0;
    json_t *limits = json_object();
    int rc = 0;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (is_set(options, i))
            rc |= put_text(limits, limit_rows[i].name,
                           program_limit_text(i, &options->limits[i], text));
    if (rc == 0)
        return json_object_set_new(job, "limits", limits);
    json_decref(limits);
    return rc;
}

int program_options_to_json(const struct program_options *options, json_t *job)
{
    char text[PROGRAM_TEXT_MAX];
    if (!options)
        return 0;
    int rc = put_text(job, "umask", program_umask_text(options, text));
    if (options->has_nice)
        rc |= json_object_set_new(job, "nice", json_integer(options->nice));
    rc |= put_text(job, "ionice", program_ionice_text(options, text));
    rc |= put_limits(job, options);
    rc |= program_groups_to_json(options, job);
    return rc ? -ENOMEM : 0;
}
