/* SPDX-License-Identifier: MIT */
/* submit_stream: many jobs from a file, one JSON value a line, through pipelined
 * job.submit_many. */
#pragma once

#include "client/command.h"

/* Submit what --from names and print the ids in the order of the lines.  handler NULL: each line is
 * a whole job; else it is the arguments of a call of handler.  The job options that were given are
 * the defaults of every line.  Returns the exit status: COMMAND_FAILED if any line was refused. */
int submit_stream(struct command *command, const char *handler);
