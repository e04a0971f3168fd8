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

/** As query_open, without search domains: the name as it is, or nothing. */
int query_open_whole(struct query *query, const struct weft_resolver *resolver);

/** How many dots a name needs to be asked as it is first. */
int query_ndots(const struct query *query);

/** Wait for the answer to what was asked on query->channel.  Returns: 0 the answer was good.
 * Errors: those of weft/dns.h; -ECANCELED. */
int query_await(struct query *query, uint64_t deadline_ns);

/* For who waits for several things at once: the query's nest is one descriptor to another nest. */

/** When query_step must be called, whatever happens. */
uint64_t query_next_ns(const struct query *query);
/** Look at what has come, and whether a timeout has.  Never suspends. */
void query_step(struct query *query);
/** Once query->over or query->trouble: as query_await. */
int query_result(const struct query *query);

/** Ends what is still asked: its callback is called before this returns.  Never suspends. */
void query_close(struct query *query);

/* ---- addresses.c ------------------------------------------------------------------------ */

struct address_list {
    uint16_t port;
    int count;
    struct weft_address *items; /* NULL, and count not 0: no memory */
};

/** Ask for the addresses of `name` on an open query; they will be in `list`, which the caller frees
 * with weft_addresses_free.  Never suspends; it may be over at once. */
void addresses_ask(struct query *query, const char *name, int family, struct address_list *list);

/** What was asked so is over: -ENODATA, -ENOMEM too. */
int addresses_result(const struct query *query);

/** Whether it may be a host's name.  Errors: -EINVAL. */
int check_name(const char *name);

#endif
