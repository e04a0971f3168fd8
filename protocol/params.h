/* SPDX-License-Identifier: MIT */
/* Parameters of a method, checked against a table.  After params_check() the getters below cannot
 * fail: what they return is of the type and within the bounds that the table says. */
#pragma once

#include "protocol/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Types; a parameter may allow several: PARAM_INT | PARAM_STRING. */
enum param_type {
    PARAM_STRING = 1 << 0,
    PARAM_INT = 1 << 1,
    PARAM_NUMBER = 1 << 2, /* integer or real */
    PARAM_BOOL = 1 << 3,
    PARAM_NULL = 1 << 4,
    PARAM_OBJECT = 1 << 5,
    PARAM_ARRAY = 1 << 6,      /* of anything */
    PARAM_STRINGS = 1 << 7,    /* array of strings */
    PARAM_INTS = 1 << 8,       /* array of integers */
    PARAM_STRING_MAP = 1 << 9, /* object whose values are strings */
    PARAM_DURATION = 1 << 10,  /* seconds as a number, or text: units.h */
    PARAM_SIZE = 1 << 11,      /* bytes as an integer, or text: units.h */
    PARAM_ANY = 1 << 12,
    PARAM_TIME = 1 << 13, /* seconds since 1970 as a number, or text: timestamp.h */
};

struct param_spec {
    const char *name;
    unsigned types; /* enum param_type, or-ed */
    bool required;
    /* Bounds of the number: an int or a number, each item of PARAM_INTS, nanoseconds of a duration,
     * bytes of a size.  Both 0: none. */
    int64_t min, max;
    /* Bounds of the length: bytes of a string, items of an array or a map.  length_max 0: none. */
    size_t length_min, length_max;
    /* The only values that a string (or each of PARAM_STRINGS) may have; NULL-terminated. */
    const char *const *choices;
};

#define PARAMS_COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Check params (NULL: none were given) against the table of count rows.  Says what is wrong with
 * the first parameter at fault: unknown (with the nearest valid name), missing, of the wrong type
 * (what was expected, what was got), out of bounds.  JSON null is a value of its own: it is not the
 * same as leaving a parameter out.
 * Errors: -EINVAL with *error filled (invalid_params; param "env.PATH" or "argv[3]" for an item).
 */
int params_check(const json_t *params, const struct param_spec *specs, size_t count,
                 struct rpc_error *error);

/* The same, and the value of each row into ret_values, count of them; NULL where it is absent.  For
 * whoever asks for many of a long table: no name is looked up twice. */
int params_take(const json_t *params, const struct param_spec *specs, size_t count,
                const json_t **ret_values, struct rpc_error *error);

/* Value of a checked parameter; fallback where it is absent (or of another of its types). */
bool params_has(const json_t *params, const char *name);
const char *params_string(const json_t *params, const char *name, const char *fallback);
int64_t params_int(const json_t *params, const char *name, int64_t fallback);
double params_number(const json_t *params, const char *name, double fallback);
bool params_bool(const json_t *params, const char *name, bool fallback);
uint64_t params_duration_ns(const json_t *params, const char *name, uint64_t fallback_ns);
/* Nanoseconds since 1970. */
int64_t params_time_ns(const json_t *params, const char *name, int64_t fallback_ns);
uint64_t params_size(const json_t *params, const char *name, uint64_t fallback);
/* Array or object (or any other value): borrowed, NULL where absent. */
json_t *params_get(const json_t *params, const char *name);

/* The same of a value that was taken. */
const char *param_string(const json_t *value, const char *fallback);
int64_t param_int(const json_t *value, int64_t fallback);
double param_number(const json_t *value, double fallback);
bool param_bool(const json_t *value, bool fallback);
uint64_t param_duration_ns(const json_t *value, uint64_t fallback_ns);
int64_t param_time_ns(const json_t *value, int64_t fallback_ns);
uint64_t param_size(const json_t *value, uint64_t fallback);
