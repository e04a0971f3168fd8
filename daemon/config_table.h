/* SPDX-License-Identifier: MIT */
/*
 * config_table: the one table of keys, and how their values are read and written.  Private to the
 * config files and their test.
 */
#pragma once

#include "daemon/config.h"

/* How a value is written, and which C type stands behind the offset. */
enum config_type {
    CONFIG_COUNT32,     /* uint32_t: decimal */
    CONFIG_COUNT64,     /* uint64_t: decimal */
    CONFIG_INT32,       /* int32_t: decimal, from -max to max */
    CONFIG_SIZE,        /* uint64_t: bytes with units.h's suffixes */
    CONFIG_DURATION,    /* uint64_t: nanoseconds with units.h's suffixes */
    CONFIG_MODE,        /* uint32_t: octal */
    CONFIG_CONCURRENCY, /* uint32_t: decimal, or "auto": 4 x CPUs */
    CONFIG_SWITCH,      /* bool: yes or no */
    CONFIG_WISH,        /* enum config_wish: auto, yes or no */
    CONFIG_ON_CRASH,    /* bool: fail or requeue */
    CONFIG_KEEP,        /* bool: tail or head */
    CONFIG_RATE,        /* struct units_rate: 10/s, 100/m, none */
    CONFIG_STRING,      /* char *: one word or path, may be empty */
    CONFIG_WORDS,       /* char **: words with spaces between, NULL-terminated */
    CONFIG_LEVEL,       /* enum config_log_level: its name */
    CONFIG_UMASK,       /* in struct program_options, as the following: 0027; empty: not given */
    CONFIG_NICE,        /* -20 to 19 */
    CONFIG_IONICE,      /* idle, best-effort:7, realtime */
    CONFIG_LIMITS,      /* nofile=1024 core=0:infinity */
    CONFIG_GROUP,       /* of the key's name: memory_max, tasks_max, cpu_quota */
};

struct config_key {
    const char *section; /* "queue" stands for every [queue NAME] */
    const char *name;
    enum config_type type;
    size_t offset;            /* in struct config, or in struct config_queue */
    const char *default_text; /* as it would stand in the file */
    uint64_t min, max;        /* of a number, in its base unit */
    bool live;                /* a reload applies it */
};

extern const struct config_key config_keys[];
extern const size_t config_keys_count;

/* NULL if there is none. */
const struct config_key *config_key_find(const char *section, const char *name);

/* Room for why a value is refused. */
#define CONFIG_WHY_MAX 160

/* Read text into the field at base + key->offset; what stood there is freed.
 * Errors: -EINVAL with why filled, -ENOMEM; the field is unchanged. */
int config_value_parse(const struct config_key *key, const char *text, void *base,
                       char why[static CONFIG_WHY_MAX]);

/* The value as it would stand in the file, malloc'ed.  NULL: out of memory. */
char *config_value_text(const struct config_key *key, const void *base);

/* Free what the field owns. */
void config_value_destroy(const struct config_key *key, void *base);

/* Set every field of a section (of a queue: section "queue") to its default.  Errors: -ENOMEM. */
int config_section_defaults(const char *section, void *base);

/* The queue of that name, made with the defaults if it is not there.  Errors: -ENOMEM. */
int config_queue_get(struct config *config, const char *name, struct config_queue **ret_queue);

/* A config with every key at its default, not finished.  Errors: -ENOMEM. */
int config_new_defaults(struct config **ret_config);

/* Read one text over config.  Errors: -EINVAL, -ENOMEM, with problem. */
int config_read_text(struct config *config, const char *name, const char *text, size_t size,
                     struct problem *problem);

/* Fill in paths that depend on who runs us, make them absolute, and check values against each
 * other.  Errors: -EINVAL, -ENAMETOOLONG, -ENOMEM, with problem. */
int config_finish(struct config *config, const struct config_overrides *overrides,
                  struct problem *problem);

/* The names of all sections, for the nearest one; NULL behind the last. */
const char *config_section_at(size_t index);

/* config_http.c: the address, the token and its user.  Errors: -EINVAL and those of the file. */
int config_finish_http(struct config *config, struct problem *problem);
