/* SPDX-License-Identifier: MIT */
/*
 * program: how a program is run beside what it is: umask, priorities, resource limits and limits of
 * its control group, as a job asks for them and as [exec] gives them.  Texts and JSON in, numbers of
 * the kernel out, and back.  Pure; any thread.  Applying them is run_program.c's and run_group.c's.
 */
#pragma once

#include "protocol/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

enum { PROGRAM_NICE_MIN = -20, PROGRAM_NICE_MAX = 19 };

/* What bounds all processes of an attempt together, by the controllers of its control group. */
enum program_group {
    PROGRAM_MEMORY_MAX, /* bytes */
    PROGRAM_TASKS_MAX,  /* processes and threads */
    PROGRAM_CPU_QUOTA,  /* thousandths of a percent of one CPU */
    PROGRAM_GROUPS
};
#define PROGRAM_NO_LIMIT UINT64_MAX /* "infinity" */

struct program_options {
    bool has_umask, has_nice;
    uint32_t umask;
    int32_t nice;                       /* the niceness itself, not what is added */
    int32_t ionice;                     /* class << 13 | level; 0: not given */
    uint32_t limits_set;                /* bit r: limits[r] is given */
    struct rlimit limits[RLIM_NLIMITS]; /* by RLIMIT_... */
    uint64_t groups[PROGRAM_GROUPS];    /* 0: not given; or PROGRAM_NO_LIMIT */
};

/* Room for any value as text, but for all limits at once. */
#define PROGRAM_TEXT_MAX 112
/* Room for why a text is refused: "is not …", "must be …". */
#define PROGRAM_WHY_MAX 160

/* Each reads one text into its field.  Errors: -EINVAL, with why; the field is unchanged. */

/* "0027": octal. */
int program_parse_umask(const char *text, struct program_options *options,
                        char why[static PROGRAM_WHY_MAX]);
/* "10". */
int program_parse_nice(const char *text, struct program_options *options,
                       char why[static PROGRAM_WHY_MAX]);
/* "idle", "best-effort:7", "realtime"; without a level it is 4. */
int program_parse_ionice(const char *text, struct program_options *options,
                         char why[static PROGRAM_WHY_MAX]);
/* "nofile=1024 core=0:infinity": names as systemd has them without Limit, in small letters; soft
 * and hard, or one for both; sizes and durations with their units. */
int program_parse_limits(const char *text, struct program_options *options,
                         char why[static PROGRAM_WHY_MAX]);
/* "64M", "100", "150%"; or infinity. */
int program_parse_group(enum program_group group, const char *text, struct program_options *options,
                        char why[static PROGRAM_WHY_MAX]);

/* What the parsers read; "" for what is not given.  Return buffer. */
char *program_umask_text(const struct program_options *options,
                         char buffer[static PROGRAM_TEXT_MAX]);
char *program_nice_text(const struct program_options *options,
                        char buffer[static PROGRAM_TEXT_MAX]);
char *program_ionice_text(const struct program_options *options,
                          char buffer[static PROGRAM_TEXT_MAX]);
char *program_group_text(enum program_group group, uint64_t value,
                         char buffer[static PROGRAM_TEXT_MAX]);
/* malloc'ed; NULL: out of memory. */
char *program_limits_text(const struct program_options *options);

/* "nofile"; NULL for a number that is no limit. */
const char *program_limit_name(int resource);
/* "1024:4096". */
char *program_limit_text(int resource, const struct rlimit *limit,
                         char buffer[static PROGRAM_TEXT_MAX]);

/* "memory_max", as a job and [exec] have it. */
const char *program_group_name(enum program_group group);
/* Errors: -ENOENT there is none of that name. */
int program_group_find(const char *name);

/* ---- JSON: the members umask, nice, ionice, limits and those of groups of a job --------------- */

/* After params_check() of a table in which umask and ionice are strings, nice an integer within its
 * bounds, limits an object, and those of groups a number or text.  *ret_options is NULL if none of
 * them is there, else the caller's to free(3).  Errors: -EINVAL with *error, -ENOMEM. */
int program_options_from_json(const json_t *job, struct program_options **ret_options,
                              struct rpc_error *error);

/* NULL: nothing.  Errors: -ENOMEM. */
int program_options_to_json(const struct program_options *options, json_t *job);

/* program_group.c's share of the two.  Errors: -EINVAL with *error; non-zero: out of memory. */
int program_groups_from_json(const json_t *job, struct program_options *options,
                             struct rpc_error *error);
int program_groups_to_json(const struct program_options *options, json_t *job);
