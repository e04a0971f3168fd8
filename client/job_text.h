/* SPDX-License-Identifier: MIT */
/* job_text: a job of the wire (job.get's object) as people read it.  Pure; a member that is missing
 * or of another type counts as absent. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct command;

int64_t job_id(const json_t *job);
const char *job_string(const json_t *job, const char *member); /* never NULL: "" if absent */

bool job_has_ended(const json_t *job);
bool job_has_succeeded(const json_t *job);

/* What it runs, safe to show: a shell's command line, or a handler and its arguments. */
char *job_command(const json_t *job, char *buffer, size_t size);

/* Seconds: since it was submitted; that its last attempt ran or runs (negative: not started). */
double job_age(const json_t *job);
double job_run_time(const json_t *job);

/* The status that a program in its place would have: exit code, 128 + signal, 124 timed out. */
int job_exit_status(const json_t *job);

/* One sentence on err about a job that did not succeed: "job 17 failed: exit status 2". */
void job_complain(struct command *command, const json_t *job);

/* How far it is, "42 % copying", for a terminal; "" if it does not say.  Returns text. */
const char *job_progress(const json_t *job, char *text, size_t size);
