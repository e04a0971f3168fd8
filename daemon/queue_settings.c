/* SPDX-License-Identifier: MIT */
/*
 * queue_settings: see queue_settings.h.
 *
 * I1  `settings` gives each bit its name on the wire; a name has one row in params_of_set.
 * I2  The stored form is what queue.set would take to bring it about, so one function reads both.
 */
#include "daemon/queue_settings.h"

#include "protocol/json_memory.h"
#include "protocol/params.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONCURRENCY_MAX 1000000 /* as in config_table.c */
#define WAITING_MAX     (INT64_C(1) << 32)

static const struct param_spec params_of_set[] = {
    {"queue", PARAM_STRING, .required = true, .length_min = 1, .length_max = QUEUE_NAME_MAX},
    {"concurrency", PARAM_INT | PARAM_NULL, .min = 0, .max = CONCURRENCY_MAX},
    {"concurrency_user", PARAM_INT | PARAM_NULL, .min = 0, .max = CONCURRENCY_MAX},
    {"paused", PARAM_BOOL | PARAM_NULL},
    {"drained", PARAM_BOOL | PARAM_NULL},
    {"rate", PARAM_STRING | PARAM_NULL},
    {"max_waiting", PARAM_INT | PARAM_NULL, .min = 0, .max = WAITING_MAX},
};

/* ---- one setting ----------------------------------------------------------------------------- */

static int read_rate(const json_t *params, struct queue_settings *values, struct rpc_error *error)
{
    const char *text = params_string(params, "rate", "none");
    int rc = units_parse_rate(text, &values->rate);
    if (rc == -ERANGE)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, "rate", NULL,
                                   "rate must be from 1/d to 1000000/s; \"none\" for no limit");
    if (rc < 0)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, "rate", NULL,
                                   "rate: \"%.40s\" is not a rate such as \"10/s\", \"100/m\", "
                                   "\"5/h\" or \"none\"",
                                   text);
    return 0;
}

static json_t *rate_json(struct units_rate rate)
{
    char text[UNITS_TEXT_MAX];
    return rate.count ? json_string(units_format_rate(rate, text)) : json_string("none");
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct {
    enum queue_setting bit;
    const char *name;
} settings[] = {
    {QUEUE_CONCURRENCY, "concurrency"},
    {QUEUE_CONCURRENCY_USER, "concurrency_user"},
    {QUEUE_PAUSED, "paused"},
    {QUEUE_DRAINED, "drained"},
    {QUEUE_RATE, "rate"},
    {QUEUE_MAX_WAITING, "max_waiting"},
};
#define SETTINGS (sizeof settings / sizeof settings[0])

void queue_settings_put(struct queue_settings *to, const struct queue_settings *from,
                        uint32_t which)
{
    if (which & QUEUE_CONCURRENCY)
        to->concurrency = from->concurrency;
    if (which & QUEUE_CONCURRENCY_USER)
        to->concurrency_user = from->concurrency_user;
    if (which & QUEUE_PAUSED)
        to->paused = from->paused;
    if (which & QUEUE_DRAINED)
        to->drained = from->drained;
    if (which & QUEUE_RATE)
        to->rate = from->rate;
    if (which & QUEUE_MAX_WAITING)
        to->max_waiting = from->max_waiting;
}

void queue_change_put(struct queue_change *live, const struct queue_change *change)
{
    live->given = (live->given & ~change->reset) | change->given;
    queue_settings_put(&live->values, &change->values, change->given);
}

int queue_change_from_json(const json_t *params, const char **ret_name,
                           struct queue_change *ret_change, struct rpc_error *error)
{
    struct queue_change change = {0};
    int rc = params_check(params, params_of_set, PARAMS_COUNT(params_of_set), error);
    if (rc == 0)
        rc = read_rate(params, &change.values, error);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < SETTINGS; i++) {
        const json_t *value = params_get(params, settings[i].name);
        if (value)
            *(json_is_null(value) ? &change.reset : &change.given) |= settings[i].bit;
    }
    change.values.concurrency = (uint32_t)params_int(params, "concurrency", 0);
    change.values.concurrency_user = (uint32_t)params_int(params, "concurrency_user", 0);
    change.values.paused = params_bool(params, "paused", false);
    change.values.drained = params_bool(params, "drained", false);
    change.values.max_waiting = (uint64_t)params_int(params, "max_waiting", 0);
    *ret_name = params_string(params, "queue", "");
    *ret_change = change;
    return 0;
}

static json_t *value_json(const struct queue_settings *values, enum queue_setting bit)
{
    switch (bit) {
    case QUEUE_CONCURRENCY:
        return json_integer(values->concurrency);
    case QUEUE_CONCURRENCY_USER:
        return json_integer(values->concurrency_user);
    case QUEUE_PAUSED:
        return json_boolean(values->paused);
    case QUEUE_DRAINED:
        return json_boolean(values->drained);
    case QUEUE_RATE:
        return rate_json(values->rate);
    case QUEUE_MAX_WAITING:
        return json_integer((json_int_t)values->max_waiting);
    }
    return NULL;
}

int queue_settings_to_json(const struct queue_settings *values, uint32_t which, json_t *object)
{
    int rc = 0;
    for (size_t i = 0; i < SETTINGS; i++)
        if (which & settings[i].bit)
            rc |=
                json_object_set_new(object, settings[i].name, value_json(values, settings[i].bit));
    return rc ? -ENOMEM : 0;
}

/* ---- the stored form ------------------------------------------------------------------------- */

int queue_change_to_text(const char *name, const struct queue_change *live, char **ret_text)
{
    json_t *object = json_pack("{s:s}", "queue", name);
    int rc = object ? queue_settings_to_json(&live->values, live->given, object) : -ENOMEM;
    char *text = rc == 0 ? json_memory_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text)
        return -ENOMEM;
    *ret_text = text;
    return 0;
}

int queue_change_from_text(const char *text, char ret_name[static QUEUE_NAME_MAX + 1],
                           struct queue_change *ret_live)
{
    struct rpc_error error;
    struct queue_change live;
    const char *name;
    json_t *object;
    int rc = json_memory_load(text, strlen(text), JSON_REJECT_DUPLICATES, NULL, &object);
    if (rc < 0)
        return rc == -ENOMEM ? rc : -EBADMSG;
    rc = queue_change_from_json(object, &name, &live, &error) < 0 ? -EBADMSG : 0;
    if (rc == 0) {
        strcpy(ret_name, name);
        *ret_live = live;
    }
    json_decref(object);
    return rc;
}
