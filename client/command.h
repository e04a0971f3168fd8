/* SPDX-License-Identifier: MIT */
/*
 * command: one call of the `weft` command: its verb, its arguments, its connection, where it
 * prints.  A verb is a row of a table (verbs.c) and a function in a verb_….c.
 */
#pragma once

#include "client/arguments.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <weft/client.h>

/* How weft ends; `run` ends with its job's status instead. */
enum command_status {
    COMMAND_OK = 0,
    COMMAND_FAILED = 1, /* a job did not succeed, or weftd refused the request */
    COMMAND_USAGE = 2,
    COMMAND_UNREACHABLE = 3, /* no weftd, or it went away */
    COMMAND_SIGNAL = 128     /* + the signal */
};

struct command;

#define VERB_TABLES_MAX 4

struct verb {
    const char *name;
    const char *usage;   /* what follows the name: "[options] ID..." */
    const char *summary; /* one line */
    const char *details; /* further lines, each ending in a newline, or NULL */
    const char *example;
    const struct option_spec *options[VERB_TABLES_MAX + 1]; /* NULL behind the last */
    bool stops_at_word; /* its words are another program's command line */
    size_t words_min, words_max;
    int (*run)(struct command *command); /* returns the exit status */
};

extern const struct verb verbs[];
extern const size_t verbs_count;

struct command {
    const struct verb *verb;
    struct arguments arguments;
    FILE *in, *out, *err;
    struct weft_client *client; /* NULL until command_connect() */
    bool json;                  /* --json: print what weftd answered, one value a line */
    bool unprinted;             /* there was no memory to print something */
};

/* The whole command.  Prints to out and err only.  Returns the exit status. */
int command_main(int argc, char **argv, FILE *in, FILE *out, FILE *err);

/* ---- for verbs; each prints what went wrong and returns the exit status, COMMAND_OK if good -- */

int command_connect(struct command *command);

/* Connect if need be, call, print a refusal.  Takes over params.  NULL: out of memory, so nothing is
 * asked; without params some methods do something else than with them. */
int command_call(struct command *command, const char *method, json_t *params, json_t **ret_result);

/* The same of a method without params. */
int command_ask(struct command *command, const char *method, json_t **ret_result);

/* As command_call() without printing: -errno, -EREMOTEIO with error filled.  Must be connected. */
int command_try(struct command *command, const char *method, json_t *params, json_t **ret_result,
                struct weft_client_error *error);

/* Print what command_try() or a function of client.h returned; the status for it. */
int command_explain(struct command *command, int err, const struct weft_client_error *error);

/* "weft: ..." on err; returns status. */
int command_fail(struct command *command, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "weft VERB: ..." and where the help is; returns COMMAND_USAGE. */
int command_misuse(struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- arguments ---- */

/* All words as job ids; the one word "-" reads them from standard input.  malloc'ed. */
int command_ids(struct command *command, int64_t **ret_ids, size_t *ret_count);
int command_id(struct command *command, const char *word, int64_t *ret_id);

/* As a list of JSON.  NULL: out of memory. */
json_t *command_id_list(const int64_t *ids, size_t count);

/* A number of an option; untouched if the option was not given. */
int command_number(struct command *command, const char *option, int64_t min, int64_t max,
                   int64_t *ret_number);

/* Check a duration; *ret_text is borrowed, untouched if the option was not given. */
int command_duration(struct command *command, const char *option, const char **ret_text);

/* "a,b" as a list of strings.  NULL: not UTF-8, or out of memory. */
json_t *command_split(const char *text);

/* Put a value, which is taken over, into an object of the request.  NULL: out of memory; what was
 * asked for must never be left out of what is sent. */
int command_put(struct command *command, json_t *object, const char *member, json_t *value);

/* The same of a text, or of what was made of it: NULL if it is not UTF-8, too. */
int command_put_text(struct command *command, json_t *object, const char *member, const char *text);
int command_put_made(struct command *command, json_t *object, const char *member, const char *text,
                     json_t *value);

/* ---- printing ---- */

/* What there is no memory for is complained of; then the command does not end with 0. */
void command_print_json(struct command *command, const json_t *value);

/* Columns of the terminal; 0: out is none, nothing is cut. */
size_t command_width(const struct command *command);

/* Write out what is buffered.  False: nobody reads it any more, stop. */
bool command_flush(struct command *command);
