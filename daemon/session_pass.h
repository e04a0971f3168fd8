/* SPDX-License-Identifier: MIT */
/*
 * session_pass: the descriptor that a request passes with its reply, from the wait for its place
 * (session_output.h, I5) to where it is handed to the writer.  Private to session.c; one fiber's.
 */
#pragma once

#include "daemon/methods.h"
#include "daemon/session_output.h"

#include <stdbool.h>

struct session_pass {
    struct request_pass request; /* what the handler sees */
    struct session_output *output;
    bool has_place;
};

void session_pass_init(struct session_pass *pass, struct session_output *output);

/* Once the handler has returned, or was never called: what session_output_put() gets.  Without a reply
 * to go with the descriptor is closed. */
int session_pass_take(struct session_pass *pass, bool has_reply);
