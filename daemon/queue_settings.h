/* SPDX-License-Identifier: MIT */
/*
 * queue_settings: what an admin may set of a queue while weftd runs, over what the configuration
 * says, and its form on the wire and in the store.  Pure functions.
 */
#pragma once

#include "daemon/config.h"
#include "protocol/error.h"
#include "protocol/units.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct queue_settings {
    uint32_t concurrency;      /* most runs at once; 0: starts nothing */
    uint32_t concurrency_user; /* of these, most of one user; 0: no limit */
    bool paused;               /* starts nothing */
    bool drained;              /* takes no jobs; those that are there run */
    struct units_rate rate;    /* of starts; count 0: no limit */
    uint64_t max_waiting;      /* jobs that have not ended and do not run; 0: no limit */
};

/* Which of them, as bits. */
enum queue_setting {
    QUEUE_CONCURRENCY = 1 << 0,
    QUEUE_PAUSED = 1 << 1,
    QUEUE_RATE = 1 << 2,
    QUEUE_MAX_WAITING = 1 << 3,
    QUEUE_CONCURRENCY_USER = 1 << 4,
    QUEUE_DRAINED = 1 << 5,
};

/* What is set from now on, and what is given back to the configuration. */
struct queue_change {
    uint32_t given, reset; /* bits of enum queue_setting, none in both */
    struct queue_settings values;
};

/* Copy those of `which` from `from`. */
void queue_settings_put(struct queue_settings *to, const struct queue_settings *from,
                        uint32_t which);

/* What holds after `change`, if `live` held before; .reset is empty. */
void queue_change_put(struct queue_change *live, const struct queue_change *change);

/* Read {"queue": NAME, "concurrency": 3, "rate": "10/s", "max_waiting": null, …}: null gives a
 * setting back.  Also checks that params has nothing else.  *ret_name is borrowed from params.
 * Errors: -EINVAL with error. */
int queue_change_from_json(const json_t *params, const char **ret_name,
                           struct queue_change *ret_change, struct rpc_error *error);

/* Put those of `which` into an object under the wire's names.  Errors: -ENOMEM. */
int queue_settings_to_json(const struct queue_settings *settings, uint32_t which, json_t *object);

/* The stored form of what is set: the same object, as compact text; the caller frees it. */
int queue_change_to_text(const char *name, const struct queue_change *live, char **ret_text);
/* Errors: -EBADMSG it is not one, or names no queue of ours; -ENOMEM. */
int queue_change_from_text(const char *text, char ret_name[static QUEUE_NAME_MAX + 1],
                           struct queue_change *ret_live);
