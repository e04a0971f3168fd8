/* SPDX-License-Identifier: MIT */
/* Parameters and units from any bytes: what the check lets pass is what the table says, looked at
 * in another way; what it refuses can be answered; whatever a unit reads it writes and reads again.
 * Input: the JSON of params. */
#include "fuzz.h"
#include "protocol/jsonrpc.h"
#include "protocol/nearest.h"
#include "protocol/params.h"
#include "protocol/units.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const char *const choices[] = {"requeue", "fail", NULL};

static const struct param_spec table[] = {
    {.name = "s", .types = PARAM_STRING, .length_min = 1, .length_max = 8},
    {.name = "c", .types = PARAM_STRING, .choices = choices},
    {.name = "i", .types = PARAM_INT, .min = -1000, .max = 1000},
    {.name = "n", .types = PARAM_NUMBER, .min = -1, .max = 1},
    {.name = "b", .types = PARAM_BOOL},
    {.name = "o", .types = PARAM_OBJECT, .length_max = 2},
    {.name = "a", .types = PARAM_ARRAY, .length_max = 2},
    {.name = "ss", .types = PARAM_STRINGS, .length_min = 1},
    {.name = "ii", .types = PARAM_INTS, .min = 1, .max = INT64_MAX},
    {.name = "m", .types = PARAM_STRING_MAP},
    {.name = "d", .types = PARAM_DURATION, .max = 1000000000},
    {.name = "z", .types = PARAM_SIZE, .min = 1, .max = 1 << 20},
    {.name = "u", .types = PARAM_INT | PARAM_STRING | PARAM_NULL},
    {.name = "any", .types = PARAM_ANY},
};

static void check_items(const json_t *params)
{
    size_t index;
    const char *name;
    json_t *item;
    json_array_foreach(params_get(params, "ss"), index, item) HOLDS(json_is_string(item));
    json_array_foreach(params_get(params, "ii"), index, item) HOLDS(json_integer_value(item) >= 1);
    json_object_foreach(params_get(params, "m"), name, item) HOLDS(json_is_string(item));
}

static void check_scalars(const json_t *params)
{
    const char *text = params_string(params, "s", "x"),
               *choice = params_string(params, "c", "fail");
    HOLDS(strlen(text) >= 1 && strlen(text) <= 8);
    HOLDS(strcmp(choice, "fail") == 0 || strcmp(choice, "requeue") == 0);
    HOLDS(llabs(params_int(params, "i", 0)) <= 1000);
    HOLDS(params_number(params, "n", 0) >= -1 && params_number(params, "n", 0) <= 1);
    HOLDS(params_duration_ns(params, "d", 0) <= 1000000000);
    HOLDS(params_size(params, "z", 1) >= 1 && params_size(params, "z", 1) <= 1 << 20);
    HOLDS(json_object_size(params_get(params, "o")) <= 2);
    HOLDS(json_array_size(params_get(params, "a")) <= 2);
    HOLDS(!params_has(params, "b") || json_is_boolean(params_get(params, "b")));
    HOLDS(!params_has(params, "ss") || json_array_size(params_get(params, "ss")) >= 1);
}

static void check_passed(const json_t *params)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)params, name, value)
    {
        size_t i = 0;
        while (i < PARAMS_COUNT(table) && strcmp(table[i].name, name) != 0)
            i++;
        HOLDS(i < PARAMS_COUNT(table));
    }
    check_scalars(params);
    check_items(params);
}

static void check_refused(const struct rpc_error *error)
{
    json_t *json = jsonrpc_error_json(error);
    HOLDS(error->code == RPC_INVALID_PARAMS && json != NULL);
    char *text = json_dumps(json, 0);
    HOLDS(text != NULL);
    free(text);
    json_decref(json);
}

static void check_units(const char *text)
{
    char shown[UNITS_TEXT_MAX];
    uint64_t value, back;
    if (units_parse_duration(text, &value) == 0) {
        HOLDS(units_parse_duration(units_format_duration(value, shown), &back) == 0);
        HOLDS(back == value);
    }
    if (units_parse_size(text, &value) == 0) {
        HOLDS(units_parse_size(units_format_size(value, shown), &back) == 0);
        HOLDS(back == value);
    }
}

static void check_nearest(const char *text)
{
    struct nearest nearest;
    nearest_init(&nearest, text);
    nearest_offer(&nearest, "priority");
    if (nearest.best != NULL)
        HOLDS(nearest_distance("priority", text) == nearest.distance);
    HOLDS(nearest_distance(text, text) == (strlen(text) > NEAREST_NAME_MAX ? SIZE_MAX : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rpc_error error;
    json_t *params;
    char *text = strndup((const char *)data, size);
    HOLDS(text != NULL);
    check_units(text);
    check_nearest(text);
    free(text);
    if (jsonrpc_parse_value((const char *)data, size, &params, &error) < 0)
        return 0;
    if (params_check(params, table, PARAMS_COUNT(table), &error) == 0)
        check_passed(params);
    else
        check_refused(&error);
    json_decref(params);
    return 0;
}
