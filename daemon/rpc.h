/* SPDX-License-Identifier: MIT */
/*
 * rpc: one request of a message, carried out and put into words; and a whole message at once, for
 * those who have no connection to answer piece by piece (HTTP).  session.c uses the first part.
 */
#pragma once

#include "daemon/job.h"
#include "protocol/jsonrpc.h"

#include <stdint.h>

struct daemon_context;
struct engine_turn;
struct request_follow_up;
struct request_pass;
struct session_totals;

/* For whom. */
struct rpc_caller {
    struct daemon_context *context;
    const struct peer *peer;
    struct session_totals *totals;
    uint32_t max_in_flight; /* of one message, at once */
};

/* One request, and what came of it. */
struct rpc_call {
    json_t *id;  /* to answer with; borrowed from the message, NULL is null */
    bool wanted; /* a reply is due: not a notification */
    struct request_follow_up *follow_up; /* the caller's; NULL: there cannot be one */
    struct request_pass *pass;           /* likewise */
    json_t *result;
    struct rpc_error error;
    bool changed; /* request.changed of methods.h: its reply is the result or nothing */
};

/* Carry out the index-th request of the message.  turn->done is called when the
 * next one may start, perhaps more than once, perhaps never: the caller calls it again at the end. */
void rpc_call_run(struct rpc_call *call, const struct jsonrpc_message *message, size_t index,
                  const struct rpc_caller *caller, const struct engine_turn *turn);

/* Append its reply, if one is due.  A result that cannot be written as JSON (a string that is not
 * UTF-8) becomes an error.  Errors: -ENOMEM, the call has changed something and its result cannot be
 * told: then nobody must be told that it failed. */
int rpc_call_append(const struct rpc_call *call, struct jsonrpc_text *text,
                    struct session_totals *totals);

/* Append an error reply, and count it. */
int rpc_append_error(struct jsonrpc_text *text, const json_t *id, const struct rpc_error *error,
                     struct session_totals *totals);

void rpc_call_destroy(struct rpc_call *call);

/* Carry out a whole message, its requests at the same time and submits in their order, and append
 * the reply: one line, or nothing for notifications.  Suspends; all of it has ended when this
 * returns, also after a cancel.  Errors: -ENOMEM: there is no reply, though all of it was done. */
int rpc_answer(const struct jsonrpc_message *message, const struct rpc_caller *caller,
               struct jsonrpc_text *text);
