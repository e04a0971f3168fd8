/* SPDX-License-Identifier: MIT */
/* Datagrams: UDP and Unix.  One fiber may receive while another sends.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_DATAGRAM_H
#define WEFT_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "weft/address.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weft_datagram;

/* How a socket is made; all zeroes are the defaults. */
struct weft_datagram_options {
    mode_t mode;           /* of a Unix socket's file, whatever the umask; 0: 0600 */
    bool reuse_port;       /* UDP: several sockets share the port; the kernel spreads */
    bool reuse_address;    /* UDP: several may bind it, as receivers of one multicast group do */
    bool v6_only;          /* "::" does not take IPv4 */
    bool broadcast;        /* may send to broadcast addresses */
    size_t receive_buffer; /* bytes; 0: the kernel's choice */
    size_t send_buffer;    /* as receive_buffer */
};

/** A socket bound to `local` (port 0: any), which talks to everybody.  `options` may be NULL.
 * Never suspends.  Errors: -EAFNOSUPPORT no address, and socket(2)'s, bind(2)'s. */
int weft_datagram_bind(const struct weft_address *local,
                       const struct weft_datagram_options *options,
                       struct weft_datagram **ret_datagram);

/** A socket that talks to `remote` only, from `local` (NULL: any; a Unix one gets an abstract name,
 * so that it can be answered).  `options` may be NULL.  Never suspends.
 * Errors: as weft_datagram_bind, and connect(2)'s. */
int weft_datagram_connect(const struct weft_address *remote, const struct weft_address *local,
                          const struct weft_datagram_options *options,
                          struct weft_datagram **ret_datagram);

/** Take over a datagram socket.  Never suspends.
 * Ownership: the datagram owns fd; on failure the caller keeps it.
 * Errors: -ENOTSOCK, -EPROTOTYPE not a datagram socket, and weft_descriptor_new's. */
int weft_datagram_new(int fd, struct weft_datagram **ret_datagram);

/** Close.  Fibers that wait on it get -EBADF.  A socket file stays.  Never suspends.  NULL does
 * nothing. */
void weft_datagram_free(struct weft_datagram *datagram);

/** The descriptor's number, borrowed. */
int weft_datagram_fd(const struct weft_datagram *datagram);

/** Where it is bound, and to whom it is connected.  Never suspends.  Errors: -ENOTCONN. */
int weft_datagram_local_address(struct weft_datagram *datagram, struct weft_address *ret_address);
int weft_datagram_remote_address(struct weft_datagram *datagram, struct weft_address *ret_address);

/**
 * Send one datagram, whole or not at all, suspending while there is no room for it.  `to` is NULL
 * on a connected socket.
 * Returns: 0.
 * Errors:  -EMSGSIZE too large, -EDESTADDRREQ no address, -ECONNREFUSED nobody is there (UDP,
 *          connected: an earlier datagram was refused, and this one was not sent; Unix: its
 *          receiver is gone), -EACCES broadcast was not asked for, -EBUSY another fiber sends,
 *          -ECANCELED, -ETIMEDOUT, and sendto(2)'s.
 */
int weft_datagram_send(struct weft_datagram *datagram, const struct weft_address *to,
                       const void *data, size_t size);

/**
 * Receive one datagram, of which `size` bytes fit.  `ret_from` (may be NULL) tells who sent it,
 * `ret_whole` (may be NULL) how long it was: more than size means that the rest was cut off.
 * Returns: bytes in `buffer`; 0 is an empty datagram.
 * Errors:  -ECONNREFUSED (UDP, connected) a datagram we sent was refused: nobody is there; the
 *          socket goes on.  -EBUSY another fiber receives, -ECANCELED, -ETIMEDOUT, recvmsg(2)'s.
 */
ssize_t weft_datagram_recv(struct weft_datagram *datagram, void *buffer, size_t size,
                           struct weft_address *ret_from, size_t *ret_whole);

/** Receive what is sent to the multicast address `group`, by the interface of that index
 * (if_nametoindex(3); 0: the kernel picks), or no more.  Never suspends.
 * Errors: -EINVAL not multicast, -ENODEV, -EADDRINUSE joined already, -EADDRNOTAVAIL not joined. */
int weft_datagram_join(struct weft_datagram *datagram, const struct weft_address *group,
                       unsigned interface);
int weft_datagram_leave(struct weft_datagram *datagram, const struct weft_address *group,
                        unsigned interface);

/** How what it sends to multicast groups goes: by which interface (0: the kernel picks), over how
 * many hops (1: not beyond the network), and whether this host's own members get it (`loop`).
 * Never suspends.  Errors: -EINVAL hops beyond 255, -ENODEV. */
int weft_datagram_set_multicast(struct weft_datagram *datagram, unsigned interface, unsigned hops,
                                bool loop);

#ifdef __cplusplus
}
#endif
#endif
