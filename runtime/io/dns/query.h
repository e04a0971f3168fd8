/* SPDX-License-Identifier: MIT */
/* One question to the name servers, on a c-ares channel of its own. */
#ifndef RUNTIME_IO_DNS_QUERY_H
#define RUNTIME_IO_DNS_QUERY_H

#include <ares.h>
#include <stdbool.h>

#include "io/dns/nest.h"
#include "weft/dns.h"

/* A copy of the options, its texts included.  Constant once made. */
struct weft_resolver {
    struct weft_resolver_options options;
    char *servers;
    char *search;   /* cut at its commas */
    char **domains; /* into `search` */
    int domain_count;
};

/* Lives on the stack of the fiber that asks. */
struct query {
    ares_channel channel;
    struct nest nest;
    bool over;    /* the answer's callback was called */
    int status;   /* what it was called with: ARES_... */
    int trouble;  /* our own error that came up inside c-ares, else 0 */
    void *answer; /* the callback's own */
};

/** Errors: -ENOMEM, -ENOENT a file of the system's cannot be read, and nest_open's. */
int query_open(struct query *query, const struct weft_resolver *resolver);

/** As query_open, to ask once more and be told what the first server says, be it an error. */
int query_open_frank(struct query *query, const struct weft_resolver *resolver);

/** Wait for the answer to what was asked on query->channel.  Returns: 0 the answer was good.
 * Errors: those of weft/dns.h; -ECANCELED. */
int query_await(struct query *query, uint64_t deadline_ns);

/** Ends what is still asked: its callback is called before this returns.  Never suspends. */
void query_close(struct query *query);

#endif
