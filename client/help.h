/* SPDX-License-Identifier: MIT */
/* help: what `weft --help` and `weft VERB --help` print, from the tables. */
#pragma once

#include "client/command.h"

/* Options of every verb. */
extern const struct option_spec common_options[];

void help_all(FILE *to);
void help_verb(FILE *to, const struct verb *verb);

/* NULL if there is none. */
const struct verb *verb_find(const char *name);
/* The verb that was perhaps meant, or NULL. */
const char *verb_nearest(const char *name);
