/* SPDX-License-Identifier: MIT */
/* The inside of weft/address.h, and socket addresses from text.  Pure functions. */
#ifndef RUNTIME_IO_NET_ADDRESS_H
#define RUNTIME_IO_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "weft/address.h"

/* What a struct weft_address holds; size 0: no address. */
struct address {
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t size;
};

/** A Unix socket's path; '@' first: abstract.  Errors: -EINVAL empty, -ENAMETOOLONG. */
int address_unix(const char *path, struct address *ret_address);

/** A numeric IPv4 or IPv6 address.  Errors: -EINVAL, -ENODEV no such interface. */
int address_inet(const char *text, uint16_t port, struct address *ret_address);

static inline const struct address *address_of(const struct weft_address *address)
{
    return (const struct address *)(const void *)address;
}

static inline void address_publish(const struct address *address, struct weft_address *ret_address)
{
    memset(ret_address, 0, sizeof(*ret_address));
    memcpy(ret_address, address, sizeof(*address));
}

#endif
