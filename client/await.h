/* SPDX-License-Identifier: MIT */
/* await: wait for one job; where standard output is a terminal, and the job says how far it is, with a
 * bar.  Without a terminal, or with --json, nothing is shown, and one request waits. */
#pragma once

#include "client/command.h"

#define AWAIT_FOR_EVER UINT64_MAX

/* Whether a bar can be shown at all. */
bool await_is_shown(const struct command *command);

/* Must be connected.  *ret_job: the job as it ended, a new reference.
 * Errors: -EREMOTEIO with error filled (a timeout's too), -ENOMEM, and the connection's. */
int await_job(struct command *command, int64_t id, uint64_t timeout_ns, json_t **ret_job,
              struct weft_client_error *error);

/* The bar's line of a job, without colours, cut to so many columns; "" if the job says nothing of
 * how far it is.  Returns text.  Pure. */
const char *await_line(const json_t *job, size_t columns, char *text, size_t size);

/* As command_explain(), of what was asked again and again or waited long: that weftd stops meanwhile
 * is no end of a job. */
int await_explain(struct command *command, int err, const struct weft_client_error *error);
