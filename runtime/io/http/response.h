/* SPDX-License-Identifier: MIT */
/*
 * The inside of a response.
 *
 *   R1  One fiber at a time is inside a call (`busy`); all plain fields are that fiber's.
 *   R2  `error` is set once, by response_fail, when the transfer is over; from then on the
 *       transfer is done, and nothing of it is used but its head.
 */
#ifndef RUNTIME_IO_HTTP_RESPONSE_H
#define RUNTIME_IO_HTTP_RESPONSE_H

#include "io/http/transfer.h"

struct weft_http_response {
    struct weft_http_session *session; /* a reference */
    struct http_plan plan;             /* of the hop that `transfer` is */
    struct http_transfer transfer;
    struct http_chunk *current; /* the block that is being read */
    uint64_t deadline_ns;       /* of the whole */
    unsigned redirects;         /* hops before this one */
    uint64_t waited_ns;         /* for the body, since it was last seen to be fast enough */
    uint64_t waited_from;       /* bytes of it that were there then */
    bool pumping;               /* there may be more of the request's body to send */
    int64_t pumped;             /* bytes of it that were read from its source */
    atomic_flag busy;           /* R1; atomic: acquire and release */
    bool ended;                 /* the end of the body was read */
    int error;                  /* R2 */
    struct weft_http_why why;
};

/** Send the plan's hop, and wait for its headers.  Errors: those of weft/http.h. */
int response_begin(struct weft_http_response *response);

/** Wait until one of `events` is so, or the transfer is done, sending the request's body meanwhile.
 * Returns: 1 one of them is so, 0 it is done, and went well.  Errors: those of weft/http.h. */
int response_await(struct weft_http_response *response, unsigned events);

/** The transfer is over with this error: abort it, and note why.  Returns: the error. */
int response_fail(struct weft_http_response *response, int error, const char *why);

/** In words: what weft_check_cancel returned. */
const char *why_ended(int r);

#endif
