/* SPDX-License-Identifier: MIT */
/* Addresses of sockets.  Pure functions: any thread, never suspends.
 * Defaults of weft/weft.h apply. */
#ifndef WEFT_ADDRESS_H
#define WEFT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Room for any address as text, with its port and a terminator. */
#define WEFT_ADDRESS_TEXT 128

/* Caller-owned, may be copied; all zeroes is no address.  Its content is private. */
struct weft_address {
    uint64_t opaque[17];
};

/** A numeric IPv4 or IPv6 address; an IPv6 one may name its interface ("fe80::1%eth0").
 * Errors: -EINVAL not numeric, -ENODEV no such interface. */
int weft_address_inet(const char *text, uint16_t port, struct weft_address *ret_address);

/** The path of a Unix socket; one that starts with '@' is abstract.
 * Errors: -EINVAL empty, -ENAMETOOLONG. */
int weft_address_unix(const char *path, struct weft_address *ret_address);

/** Of a socket address as the system gives it.  Errors: -EINVAL its size does not fit its family,
 * -EAFNOSUPPORT neither IPv4, IPv6 nor Unix. */
int weft_address_from(const struct sockaddr *from, socklen_t size,
                      struct weft_address *ret_address);

/** As system calls want it.  Borrowed from `address`. */
const struct sockaddr *weft_address_raw(const struct weft_address *address, socklen_t *ret_size);

/** AF_INET, AF_INET6 or AF_UNIX; AF_UNSPEC: no address. */
int weft_address_family(const struct weft_address *address);

/** Its port, host byte order; 0 where there is none. */
uint16_t weft_address_port(const struct weft_address *address);

void weft_address_set_port(struct weft_address *address, uint16_t port);

/** Whether both are the same, port included. */
bool weft_address_equal(const struct weft_address *one, const struct weft_address *other);

/** As text: "192.0.2.1:80", "[::1]:80", "/run/x.sock", "@name", "" for an unnamed Unix socket or no
 * address.  Returns: its length.  Errors: -ENOSPC; WEFT_ADDRESS_TEXT always suffices. */
int weft_address_text(const struct weft_address *address, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
