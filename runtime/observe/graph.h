/* SPDX-License-Identifier: MIT */
/* Who waits for whom. */
#ifndef RUNTIME_OBSERVE_GRAPH_H
#define RUNTIME_OBSERVE_GRAPH_H

#include "observe/census.h"
#include "observe/text.h"

/** Find a circle of fibers that wait for each other: for what the next one holds, or for its end.
 * Adds "a [0.1] -> b [0.2] -> a [0.1]", or nothing where there is none.  The census must be of one
 * moment.  Errors: -ENOMEM. */
int graph_describe_circle(struct text *text, const struct census *census);

#endif
