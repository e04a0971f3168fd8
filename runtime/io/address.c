/* SPDX-License-Identifier: MIT */
/*
 * Socket addresses from text.  Any thread; no system call, no name service.
 *
 * An abstract name is its bytes without a terminator, so "@x" here is "@x" to every other program
 * that follows the same custom (systemd, socat, ss).
 */
#include "io/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

int address_unix(const char *path, struct address *ret_address)
{
    size_t length = strlen(path);
    bool abstract = path[0] == '@';
    if (length == 0 || (abstract && length == 1))
        return -EINVAL;
    if (length >= sizeof(ret_address->local.sun_path))
        return -ENAMETOOLONG;
    memset(ret_address, 0, sizeof(*ret_address));
    ret_address->local.sun_family = AF_UNIX;
    memcpy(ret_address->local.sun_path, path, length);
    ret_address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (abstract)
        ret_address->local.sun_path[0] = '\0';
    else
        ret_address->size++; /* the terminator */
    return 0;
}

int address_inet(const char *text, uint16_t port, struct address *ret_address)
{
    struct address address;
    memset(&address, 0, sizeof(address));
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        address.size = sizeof(address.v4);
    } else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        address.size = sizeof(address.v6);
    } else {
        return -EINVAL;
    }
    *ret_address = address;
    return 0;
}
