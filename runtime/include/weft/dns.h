/* SPDX-License-Identifier: MIT */
/*
 * Names: resolving them, and connecting to them.  By c-ares; link weft-dns.
 * Defaults of weft/weft.h apply.
 *
 * Nothing is cached but by the name servers: each call reads /etc/resolv.conf (unless the resolver
 * has servers of its own) and /etc/hosts as they are then.
 *
 * Errors of a name:
 *  - -ENOENT: there is no such name;
 *  - -ENODATA: the name exists, but has no address of that family;
 *  - -EREMOTEIO: the name servers failed or refused to answer;
 *  - -ECONNREFUSED: nobody listens where the name servers should be;
 *  - -EBADMSG: their answer is malformed;
 *  - -ETIMEDOUT: they did not answer, or the deadline came first;
 *  - -EINVAL: the name or the service is malformed, or there is no such service.
 */
#ifndef WEFT_DNS_H
#define WEFT_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "weft/address.h"
#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Room for any host name and a terminator. */
#define WEFT_HOST_NAME 256

struct weft_resolver;

/* All zeroes: as the system's files say.  The environment has its say as with other programs:
 * RES_OPTIONS, LOCALDOMAIN, and CARES_HOSTS for another /etc/hosts. */
struct weft_resolver_options {
    const char *servers; /* "192.0.2.1, 192.0.2.2:5353, [2001:db8::1]:53"; NULL: resolv.conf's */
    const char
        *search; /* domains to try for short names, by commas; NULL: resolv.conf's; "" none */
    uint64_t
        timeout_ns; /* how long each server has, doubled with each try; 0: resolv.conf's or 5 s */
    unsigned tries; /* of each server; 0: resolv.conf's or 4 */
    unsigned ndots; /* names with so many dots are tried as they are first; 0: resolv.conf's */
    bool use_tcp;   /* never ask by UDP */
    bool no_hosts_file; /* never look into /etc/hosts */
};

/* ---- names ------------------------------------------------------------------------------ */

/**
 * Find the addresses of `name`: /etc/hosts, then the name servers, with the search domains of
 * /etc/resolv.conf.  A numeric address is its own answer, without a query.  `service` is a number
 * or a name of /etc/services; NULL leaves the port 0.  `family` is AF_INET, AF_INET6 or AF_UNSPEC
 * for both.  A cancel ends the query at once.
 * Returns: how many there are, at least one, the one to try first in front (RFC 6724).
 * Ownership: *ret_addresses is the caller's, to be freed by weft_addresses_free.
 * Errors: those at the top; -EAFNOSUPPORT another family, -EMFILE, -ENOMEM, -ECANCELED.
 */
int weft_resolve(const char *name, const char *service, int family, uint64_t deadline_ns,
                 struct weft_address **ret_addresses);

/** What an error of this header means, where strerror(3) would tell of files: "no such name".
 * Static text.  Context: any thread.  Never suspends. */
const char *weft_resolve_error(int error);

/** Context: any thread.  Never suspends.  NULL does nothing. */
void weft_addresses_free(struct weft_address *addresses);

/** Find the name of an address: /etc/hosts, then the name servers.  `size` of WEFT_HOST_NAME
 * suffices for any.  Returns: the name's length.  Errors: as weft_resolve; -ENOSPC it does not fit,
 * -EAFNOSUPPORT neither IPv4 nor IPv6. */
int weft_resolve_name(const struct weft_address *address, uint64_t deadline_ns, char *ret_name,
                      size_t size);

/* ---- connecting ------------------------------------------------------------------------- */

/**
 * Connect to `host`, a name or a numeric address, with TCP_NODELAY, as RFC 8305 (happy eyeballs)
 * has it.  IPv6 and IPv4 are asked for at once; connecting begins when IPv6 is answered, or IPv4
 * is and 50 ms have passed; a family that is answered later joins in.  The families take turns,
 * the next address when the one before has failed or after 250 ms; the first connection wins and
 * the others are given up.  (A short name that search domains apply to, and one that is not there
 * as it is written, are resolved as by weft_resolve first.)
 * Errors: weft_resolve's; where no address could be connected to, the first one's error of
 *         connect(2); -ETIMEDOUT, -ECANCELED.
 */
int weft_connect(const char *host, uint16_t port, uint64_t deadline_ns,
                 struct weft_stream **ret_stream);

/** As weft_connect, to any of `count` addresses, with `stagger_ns` between them (0: 250 ms).
 * Errors: -EINVAL count is 0, and as weft_connect. */
int weft_connect_any(const struct weft_address *addresses, size_t count, uint64_t stagger_ns,
                     uint64_t deadline_ns, struct weft_stream **ret_stream);

/* ---- resolvers of one's own ------------------------------------------------------------- */

/** Options that several calls share, and several fibers at once.  Context: any thread.  Never
 * suspends.  Errors: -EINVAL the servers are malformed, -ENOMEM. */
int weft_resolver_new(const struct weft_resolver_options *options,
                      struct weft_resolver **ret_resolver);

/** Nobody may use it any more.  NULL does nothing.  Context: any thread.  Never suspends. */
void weft_resolver_free(struct weft_resolver *resolver);

/** As weft_resolve, weft_resolve_name and weft_connect.  `resolver` may be NULL: the system's. */
int weft_resolver_resolve(struct weft_resolver *resolver, const char *name, const char *service,
                          int family, uint64_t deadline_ns, struct weft_address **ret_addresses);
int weft_resolver_name(struct weft_resolver *resolver, const struct weft_address *address,
                       uint64_t deadline_ns, char *ret_name, size_t size);
int weft_resolver_connect(struct weft_resolver *resolver, const char *host, uint16_t port,
                          uint64_t deadline_ns, struct weft_stream **ret_stream);

#ifdef __cplusplus
}
#endif
#endif
