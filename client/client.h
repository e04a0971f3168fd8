/* SPDX-License-Identifier: MIT */
/*
 * client: one connection to weftd.  Requests go out as they are sent, replies come back in any
 * order and are picked by id; what has come for somebody else is kept.
 *
 * Blocking, for one thread at a time.  A connection that broke stays broken: close it.
 */
#pragma once

#include "protocol/error.h"

#include <jansson.h>
#include <stdint.h>

struct weft_client;

struct weft_reply {
    int64_t id;             /* of the request; 0: weftd could not tell which line was meant */
    json_t *result;         /* owned; NULL: see error */
    struct rpc_error error; /* code RPC_OK: none */
};

/* NULL result is fine; the struct may be used again. */
void weft_reply_destroy(struct weft_reply *reply);

/* Errors: -ENAMETOOLONG the path does not fit a socket address; connect(2)'s; -ENOMEM. */
int weft_client_open(const char *path, struct weft_client **ret_client);

/* Around a connected stream socket, which becomes the client's also on failure.  Errors:
 * -ENOMEM. */
int weft_client_open_fd(int fd, struct weft_client **ret_client);

void weft_client_close(struct weft_client *client); /* NULL is fine */

/* From now on a receive returns -EINTR as soon as fd (a signalfd, say) can be read; -1: no more. */
void weft_client_interrupt_on(struct weft_client *client, int fd);

/* Queue a request and write what the socket takes; the rest goes out during receives, so the caller
 * bounds what is in flight.  params is borrowed, NULL: none.
 * Errors: -ENOMEM, -EINVAL text that is not UTF-8.  A server that is gone shows at the receive. */
int weft_client_send(struct weft_client *client, const char *method, const json_t *params,
                     int64_t *ret_id);

/* The reply to request id (0: whichever is next).  A reply without an id is taken for any.
 * Returns: 0 with a result or with error.code set.
 * Errors:  -ECONNRESET the server is gone, -EBADMSG it spoke something else, -EINTR, -ENOMEM. */
int weft_client_receive(struct weft_client *client, int64_t id, struct weft_reply *ret_reply);

/* Keep the notifications that come from now on (a subscription's events) for weft_client_hear();
 * before, they are passed over.  Errors: -ENOMEM. */
int weft_client_listen(struct weft_client *client);

/* The next notification's params, waiting for it; the caller's.  Replies that come meanwhile are kept.
 * Errors: as weft_client_receive(). */
int weft_client_hear(struct weft_client *client, json_t **ret_params);

/* Send and receive.
 * Errors: as both, and -EREMOTEIO: the server refused, *error says why. */
int weft_client_call(struct weft_client *client, const char *method, const json_t *params,
                     json_t **ret_result, struct rpc_error *error);
