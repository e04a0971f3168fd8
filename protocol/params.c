/* SPDX-License-Identifier: MIT */
/* Parameters against a table.
 *
 * I1  What a getter returns for a checked parameter satisfies its row: checks and getters read a
 *     value through the same functions (duration_of, size_of).
 * I2  An error names one parameter, in the message and in data.param.
 * I3  Work is linear in the parameters for a table of fixed size; an unknown name costs one
 *     look for the nearest, then the check ends.
 *
 * Pure: any thread.  Rules between parameters (exactly one of argv and call) are the method's. */
#include "protocol/params.h"
#include "protocol/nearest.h"
#include "protocol/timestamp.h"
#include "protocol/units.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 64 /* bytes of a client's own text that a message repeats */

enum { PARAMS_MAX = 64 }; /* rows of a table */

/* What is being checked: the row, and the path that errors name ("argv[3]"). */
struct subject {
    const struct param_spec *spec;
    const char *path;
    struct rpc_error *error;
};

static int duration_of(const json_t *value, uint64_t *ret_ns)
{
    if (json_is_string(value))
        return units_parse_duration(json_string_value(value), ret_ns);
    if (json_is_real(value))
        return units_seconds_to_ns(json_real_value(value), ret_ns);
    uint64_t ns;
    if (json_integer_value(value) < 0)
        return -EINVAL;
    if (__builtin_mul_overflow((uint64_t)json_integer_value(value), UINT64_C(1000000000), &ns))
        return -ERANGE;
    *ret_ns = ns;
    return 0;
}

static int time_of(const json_t *value, int64_t *ret_ns)
{
    uint64_t ns;
    if (json_is_string(value))
        return timestamp_parse(json_string_value(value), ret_ns);
    int rc = duration_of(value, &ns);
    if (rc < 0 || ns > INT64_MAX)
        return rc < 0 ? rc : -ERANGE;
    *ret_ns = (int64_t)ns;
    return 0;
}

static int size_of(const json_t *value, uint64_t *ret_bytes)
{
    if (json_is_string(value))
        return units_parse_size(json_string_value(value), ret_bytes);
    if (json_integer_value(value) < 0)
        return -EINVAL;
    *ret_bytes = (uint64_t)json_integer_value(value);
    return 0;
}

/* What JSON brought, in words. */
static const char *got(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

static int refuse(const struct subject *subject, const char *expected, const char *found)
{
    return rpc_error_set_param(subject->error, RPC_INVALID_PARAMS, subject->path, NULL,
                               "parameter \"%.*s\": expected %s, got %s", SHOWN, subject->path,
                               expected, found);
}

static bool has_bounds(const struct param_spec *spec)
{
    return spec->min != 0 || spec->max != 0;
}

/* A bound that stands for "none" on its side is not worth a word. */
static int refuse_range(const struct subject *subject, const char *found, const char *min,
                        const char *max)
{
    const char *path = subject->path;
    if (subject->spec->max == INT64_MAX)
        return rpc_error_set_param(subject->error, RPC_INVALID_PARAMS, path, NULL,
                                   "parameter \"%.*s\": %s is out of range; the least is %s", SHOWN,
                                   path, found, min);
    return rpc_error_set_param(subject->error, RPC_INVALID_PARAMS, path, NULL,
                               "parameter \"%.*s\": %s is out of range; it goes from %s to %s",
                               SHOWN, path, found, min, max);
}

static int check_integer_range(int64_t value, const struct subject *subject)
{
    char found[UNITS_TEXT_MAX], min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    const struct param_spec *spec = subject->spec;
    if (!has_bounds(spec) || (value >= spec->min && value <= spec->max))
        return 0;
    snprintf(found, sizeof(found), "%" PRId64, value);
    snprintf(min, sizeof(min), "%" PRId64, spec->min);
    snprintf(max, sizeof(max), "%" PRId64, spec->max);
    return refuse_range(subject, found, min, max);
}

/* A duration or a size: bounds below 0 make no sense there and count as 0. */
static int check_unit_range(uint64_t value, const struct subject *subject,
                            char *(*format)(uint64_t, char *))
{
    char found[UNITS_TEXT_MAX], min_text[UNITS_TEXT_MAX], max_text[UNITS_TEXT_MAX];
    const struct param_spec *spec = subject->spec;
    uint64_t min = spec->min > 0 ? (uint64_t)spec->min : 0;
    uint64_t max = spec->max > 0 ? (uint64_t)spec->max : 0;
    if (!has_bounds(spec) || (value >= min && value <= max))
        return 0;
    return refuse_range(subject, format(value, found), format(min, min_text),
                        format(max, max_text));
}

static int check_length(size_t length, const char *what, const struct subject *subject)
{
    const struct param_spec *spec = subject->spec;
    if (length < spec->length_min)
        return rpc_error_set_param(subject->error, RPC_INVALID_PARAMS, subject->path, NULL,
                                   "parameter \"%.*s\" has %zu %s; the least is %zu", SHOWN,
                                   subject->path, length, what, spec->length_min);
    if (spec->length_max > 0 && length > spec->length_max)
        return rpc_error_set_param(subject->error, RPC_INVALID_PARAMS, subject->path, NULL,
                                   "parameter \"%.*s\" has %zu %s; the most is %zu", SHOWN,
                                   subject->path, length, what, spec->length_max);
    return 0;
}

/* "a, b, c", cut where the space ends. */
static void list_names(char *to, size_t size, const void *first, size_t stride, size_t count)
{
    size_t used = 0;
    to[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++) {
        const char *name = *(const char *const *)((const char *)first + i * stride);
        used += (size_t)snprintf(to + used, size - used, "%s%s", i ? ", " : "", name);
    }
}

static int check_choice(const char *value, const struct subject *subject)
{
    const char *const *choices = subject->spec->choices;
    struct nearest nearest;
    char names[RPC_MESSAGE_MAX];
    size_t count = 0;
    if (choices == NULL)
        return 0;
    nearest_init(&nearest, value);
    for (; choices[count] != NULL; count++) {
        if (strcmp(choices[count], value) == 0)
            return 0;
        nearest_offer(&nearest, choices[count]);
    }
    list_names(names, sizeof(names), choices, sizeof(choices[0]), count);
    return rpc_error_set_param(subject->error, RPC_INVALID_PARAMS, subject->path, nearest.best,
                               "parameter \"%.*s\": \"%.*s\" is not one of %s", SHOWN,
                               subject->path, SHOWN, value, names);
}

static int check_any(const json_t *value, const struct subject *subject)
{
    (void)value;
    (void)subject;
    return 0;
}

static int check_string(const json_t *value, const struct subject *subject)
{
    int rc = check_length(json_string_length(value), "bytes", subject);
    return rc < 0 ? rc : check_choice(json_string_value(value), subject);
}

static int check_int(const json_t *value, const struct subject *subject)
{
    return check_integer_range(json_integer_value(value), subject);
}

static int check_number(const json_t *value, const struct subject *subject)
{
    char found[UNITS_TEXT_MAX], min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    const struct param_spec *spec = subject->spec;
    if (json_is_integer(value))
        return check_int(value, subject);
    double number = json_real_value(value);
    if (!has_bounds(spec) || (number >= (double)spec->min && number <= (double)spec->max))
        return 0;
    snprintf(found, sizeof(found), "%.15g", number);
    snprintf(min, sizeof(min), "%" PRId64, spec->min);
    snprintf(max, sizeof(max), "%" PRId64, spec->max);
    return refuse_range(subject, found, min, max);
}

static int check_object(const json_t *value, const struct subject *subject)
{
    return check_length(json_object_size(value), "members", subject);
}

static int check_array(const json_t *value, const struct subject *subject)
{
    return check_length(json_array_size(value), "items", subject);
}

static struct subject item_subject(const struct subject *subject, size_t index, char *path,
                                   size_t size)
{
    snprintf(path, size, "%s[%zu]", subject->path, index);
    return (struct subject){subject->spec, path, subject->error};
}

static int check_strings(const json_t *value, const struct subject *subject)
{
    char path[RPC_PARAM_MAX];
    size_t index;
    json_t *item;
    int rc = check_array(value, subject);
    json_array_foreach(value, index, item)
    {
        if (rc < 0)
            return rc;
        if (json_is_string(item) && subject->spec->choices == NULL)
            continue;
        struct subject at = item_subject(subject, index, path, sizeof(path));
        rc = json_is_string(item) ? check_choice(json_string_value(item), &at)
                                  : refuse(&at, "a string", got(item));
    }
    return rc;
}

static int check_ints(const json_t *value, const struct subject *subject)
{
    char path[RPC_PARAM_MAX];
    size_t index;
    json_t *item;
    int rc = check_array(value, subject);
    json_array_foreach(value, index, item)
    {
        if (rc < 0)
            return rc;
        struct subject at = item_subject(subject, index, path, sizeof(path));
        rc = json_is_integer(item) ? check_int(item, &at) : refuse(&at, "an integer", got(item));
    }
    return rc;
}

static int check_string_map(const json_t *value, const struct subject *subject)
{
    char path[RPC_PARAM_MAX];
    const char *name;
    json_t *item;
    int rc = check_object(value, subject);
    if (rc < 0)
        return rc;
    json_object_foreach((json_t *)value, name, item)
    {
        if (json_is_string(item))
            continue;
        snprintf(path, sizeof(path), "%s.%s", subject->path, name);
        struct subject at = {subject->spec, path, subject->error};
        return refuse(&at, "a string", got(item));
    }
    return 0;
}

/* A text or number that is no duration or size: why not. */
static int refuse_unit(const json_t *value, int rc, const char *expected,
                       const struct subject *subject)
{
    char found[SHOWN + 16];
    if (json_is_string(value))
        snprintf(found, sizeof(found), "\"%.*s\"", SHOWN, json_string_value(value));
    else
        snprintf(found, sizeof(found), "%.15g", json_number_value(value));
    if (rc != -ERANGE)
        return refuse(subject, expected, found);
    return rpc_error_set_param(subject->error, RPC_INVALID_PARAMS, subject->path, NULL,
                               "parameter \"%.*s\": %s is too large", SHOWN, subject->path, found);
}

#define DURATION_TEXT "a duration (seconds, or text such as \"1.5s\" or \"10m\")"
#define SIZE_TEXT     "a size (bytes, or text such as \"64M\")"
#define TIME_TEXT                                                                                  \
    "a time (seconds since 1970, or text with its zone such as \"2026-11-29T06:30:00Z\")"

static int check_duration(const json_t *value, const struct subject *subject)
{
    uint64_t ns;
    int rc = duration_of(value, &ns);
    if (rc < 0)
        return refuse_unit(value, rc, DURATION_TEXT, subject);
    return check_unit_range(ns, subject, units_format_duration);
}

static int check_size(const json_t *value, const struct subject *subject)
{
    uint64_t bytes;
    int rc = size_of(value, &bytes);
    if (rc < 0)
        return refuse_unit(value, rc, SIZE_TEXT, subject);
    return check_unit_range(bytes, subject, units_format_size);
}

static int check_time(const json_t *value, const struct subject *subject)
{
    int64_t ns;
    int rc = time_of(value, &ns);
    if (rc == -ERANGE)
        return rpc_error_set_param(
            subject->error, RPC_INVALID_PARAMS, subject->path, NULL,
            "parameter \"%.*s\" is a time before 1970 or after 2262; numbers "
            "are seconds since 1970",
            SHOWN, subject->path);
    return rc < 0 ? refuse_unit(value, rc, TIME_TEXT, subject) : 0;
}

#define KIND(type) (1u << (type))

/* From the most general to the most particular: the first row that a spec allows and the JSON kind
 * can be is the one that decides. */
static const struct type_row {
    unsigned type;  /* enum param_type */
    unsigned kinds; /* KIND(json_type), or-ed */
    const char *expected;
    int (*check)(const json_t *value, const struct subject *subject);
} type_rows[] = {
    {PARAM_ANY, ~0u, "anything", check_any},
    {PARAM_STRING, KIND(JSON_STRING), "a string", check_string},
    {PARAM_INT, KIND(JSON_INTEGER), "an integer", check_int},
    {PARAM_NUMBER, KIND(JSON_INTEGER) | KIND(JSON_REAL), "a number", check_number},
    {PARAM_BOOL, KIND(JSON_TRUE) | KIND(JSON_FALSE), "true or false", check_any},
    {PARAM_NULL, KIND(JSON_NULL), "null", check_any},
    {PARAM_OBJECT, KIND(JSON_OBJECT), "an object", check_object},
    {PARAM_ARRAY, KIND(JSON_ARRAY), "an array", check_array},
    {PARAM_STRINGS, KIND(JSON_ARRAY), "an array of strings", check_strings},
    {PARAM_INTS, KIND(JSON_ARRAY), "an array of integers", check_ints},
    {PARAM_STRING_MAP, KIND(JSON_OBJECT), "an object whose values are strings", check_string_map},
    {PARAM_DURATION, KIND(JSON_STRING) | KIND(JSON_INTEGER) | KIND(JSON_REAL), DURATION_TEXT,
     check_duration},
    {PARAM_TIME, KIND(JSON_STRING) | KIND(JSON_INTEGER) | KIND(JSON_REAL), TIME_TEXT, check_time},
    {PARAM_SIZE, KIND(JSON_STRING) | KIND(JSON_INTEGER), SIZE_TEXT, check_size},
};

#define TYPE_ROWS (sizeof(type_rows) / sizeof(type_rows[0]))

static int refuse_type(const json_t *value, const struct subject *subject)
{
    char expected[RPC_MESSAGE_MAX] = "";
    size_t used = 0;
    for (size_t i = 0; i < TYPE_ROWS && used < sizeof(expected); i++)
        if (subject->spec->types & type_rows[i].type)
            used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
                                     used ? " or " : "", type_rows[i].expected);
    return refuse(subject, expected, got(value));
}

static int check_value(const json_t *value, const struct subject *subject)
{
    for (size_t i = 0; i < TYPE_ROWS; i++)
        if ((subject->spec->types & type_rows[i].type) &&
            (type_rows[i].kinds & KIND(json_typeof(value))))
            return type_rows[i].check(value, subject);
    return refuse_type(value, subject);
}

static int refuse_unknown(const char *name, const struct param_spec *specs, size_t count,
                          struct rpc_error *error)
{
    struct nearest nearest;
    char names[RPC_MESSAGE_MAX];
    if (count == 0)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, name, NULL,
                                   "unknown parameter \"%.*s\": this method takes none", SHOWN,
                                   name);
    nearest_init(&nearest, name);
    for (size_t i = 0; i < count; i++)
        nearest_offer(&nearest, specs[i].name);
    if (nearest.best != NULL)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, name, nearest.best,
                                   "unknown parameter \"%.*s\"; did you mean \"%s\"?", SHOWN, name,
                                   nearest.best);
    list_names(names, sizeof(names), &specs[0].name, sizeof(specs[0]), count);
    return rpc_error_set_param(error, RPC_INVALID_PARAMS, name, NULL,
                               "unknown parameter \"%.*s\"; there are: %s", SHOWN, name, names);
}

static int take_names(const json_t *params, const struct param_spec *specs, size_t count,
                      const json_t **ret_values, struct rpc_error *error)
{
    const char *name;
    json_t *value;
    for (size_t i = 0; i < count; i++)
        ret_values[i] = NULL;
    json_object_foreach((json_t *)params, name, value)
    {
        size_t i = 0;
        while (i < count && strcmp(specs[i].name, name) != 0)
            i++;
        if (i == count)
            return refuse_unknown(name, specs, count, error);
        ret_values[i] = value;
    }
    return 0;
}

static int check_one(const json_t *value, const struct param_spec *spec, struct rpc_error *error)
{
    struct subject subject = {spec, spec->name, error};
    if (value != NULL)
        return check_value(value, &subject);
    if (!spec->required)
        return 0;
    return rpc_error_set_param(error, RPC_INVALID_PARAMS, spec->name, NULL,
                               "parameter \"%s\" is missing and the method needs it", spec->name);
}

int params_take(const json_t *params, const struct param_spec *specs, size_t count,
                const json_t **ret_values, struct rpc_error *error)
{
    if (params != NULL && !json_is_object(params))
        return rpc_error_set(error, RPC_INVALID_PARAMS,
                             "parameters go by name: expected an object, got %s", got(params));
    int rc = take_names(params, specs, count, ret_values, error);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = check_one(ret_values[i], &specs[i], error);
    return rc;
}

int params_check(const json_t *params, const struct param_spec *specs, size_t count,
                 struct rpc_error *error)
{
    const json_t *values[PARAMS_MAX];
    assert(count <= PARAMS_MAX);
    return params_take(params, specs, count, values, error);
}

json_t *params_get(const json_t *params, const char *name)
{
    return json_object_get(params, name);
}

bool params_has(const json_t *params, const char *name)
{
    return params_get(params, name) != NULL;
}

const char *param_string(const json_t *value, const char *fallback)
{
    const char *text = json_string_value(value);
    return text ? text : fallback;
}

const char *params_string(const json_t *params, const char *name, const char *fallback)
{
    return param_string(params_get(params, name), fallback);
}

int64_t param_int(const json_t *value, int64_t fallback)
{
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

int64_t params_int(const json_t *params, const char *name, int64_t fallback)
{
    return param_int(params_get(params, name), fallback);
}

double param_number(const json_t *value, double fallback)
{
    return json_is_number(value) ? json_number_value(value) : fallback;
}

double params_number(const json_t *params, const char *name, double fallback)
{
    return param_number(params_get(params, name), fallback);
}

bool param_bool(const json_t *value, bool fallback)
{
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

bool params_bool(const json_t *params, const char *name, bool fallback)
{
    return param_bool(params_get(params, name), fallback);
}

uint64_t param_duration_ns(const json_t *value, uint64_t fallback_ns)
{
    uint64_t ns = fallback_ns;
    if (json_is_string(value) || json_is_number(value))
        (void)duration_of(value, &ns);
    return ns;
}

uint64_t params_duration_ns(const json_t *params, const char *name, uint64_t fallback_ns)
{
    return param_duration_ns(params_get(params, name), fallback_ns);
}

int64_t param_time_ns(const json_t *value, int64_t fallback_ns)
{
    int64_t ns = fallback_ns;
    if (json_is_string(value) || json_is_number(value))
        (void)time_of(value, &ns);
    return ns;
}

int64_t params_time_ns(const json_t *params, const char *name, int64_t fallback_ns)
{
    return param_time_ns(params_get(params, name), fallback_ns);
}

uint64_t param_size(const json_t *value, uint64_t fallback)
{
    uint64_t bytes = fallback;
    if (json_is_string(value) || json_is_integer(value))
        (void)size_of(value, &bytes);
    return bytes;
}

uint64_t params_size(const json_t *params, const char *name, uint64_t fallback)
{
    return param_size(params_get(params, name), fallback);
}
