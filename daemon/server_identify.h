/* SPDX-License-Identifier: MIT */
/* server_identify: who has connected.  Private to server.c. */
#pragma once

#include "daemon/session.h"

#include <stdbool.h>
#include <sys/types.h>

enum { SERVER_GROUP_MAX = 256 }; /* no name of a group is longer */

struct server_question {
    int fd;
    bool is_tcp; /* then it speaks for uid and gid: the token's */
    uid_t uid;
    gid_t gid;
    char admin_group[SERVER_GROUP_MAX]; /* "": nobody but root and weftd's user */
};

/* Suspends while the databases of users and groups are asked, if they are.  Fiber.
 * Errors: session_peer()'s, weft_offload()'s. */
int server_identify(const struct server_question *question, struct peer *ret_peer);
