/* SPDX-License-Identifier: MIT */
/* job_request: job.submit's parameters from the command line. */
#pragma once

#include "client/command.h"

/* --queue --name --tag --priority --delay --at --timeout --timeout-total --retries --on-crash, for every job. */
extern const struct option_spec job_options[];
/* --env --cwd --stdin --stdin-file --umask --nice --ionice --limit, those of its control group and
 * --output-keep, for a program. */
extern const struct option_spec program_options[];

/* Each prints what is wrong and returns the exit status; *ret_job is a new reference. */

/* The job_options that were given, and nothing else. */
int job_request_options(struct command *command, json_t **ret_job);

/* A program: options and argv from the words. */
int job_request_program(struct command *command, json_t **ret_job);

/* A call: options, handler and arguments from the words. */
int job_request_call(struct command *command, json_t **ret_job);
