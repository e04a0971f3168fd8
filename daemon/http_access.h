/* SPDX-License-Identifier: MIT */
/*
 * http_access: who may speak HTTP, request by request.
 *
 * On the Unix socket the kernel says who is there, and no browser gets at it by itself; what comes
 * from a page of one all the same came through somebody's bridge, and is refused.  On TCP anybody
 * of the machine may connect, and every web page that its browsers show:
 *
 * I1  Host must be a name of loopback: a page whose name was made to point at 127.0.0.1 (DNS
 *     rebinding) has another.  Origin, where there is one, must be the page's own: http://HOST.
 * I2  Each request carries the token.  Comparing takes as long for a wrong one, whatever is wrong.
 *
 * Pure.
 */
#pragma once

#include "daemon/config.h"

struct rpc_error;

/* Of a connection over TCP. */
struct http_access {
    unsigned char digest[CONFIG_DIGEST_SIZE]; /* of the token */
};

/* What a request says, NULL where it does not. */
struct http_claims {
    const char *host, *origin, *authorization;
};

/* access NULL: the Unix socket.  Returns 0, or the status of the refusal with *error: 401, 403, or
 * 500 if there is no memory to say. */
unsigned http_access_check(const struct http_access *access, const struct http_claims *claims,
                           struct rpc_error *error);
