/* SPDX-License-Identifier: MIT */
/* Socket addresses from text.  Pure functions. */
#ifndef RUNTIME_IO_ADDRESS_H
#define RUNTIME_IO_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

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

/** A numeric IPv4 or IPv6 address.  Errors: -EINVAL. */
int address_inet(const char *text, uint16_t port, struct address *ret_address);

#endif
