/* SPDX-License-Identifier: MIT */
/*
 * Socket addresses from text and to it.  Any thread; no name service.
 *
 * An abstract name is its bytes without a terminator, so "@x" here is "@x" to every other program
 * that follows the same custom (systemd, socat, ss).
 */
#include "io/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/base.h"

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

/* "fe80::1%eth0": an IPv6 address and the interface it is to be reached by. */
static int inet_v6(const char *text, struct sockaddr_in6 *ret_v6)
{
    char number[INET6_ADDRSTRLEN];
    const char *zone = strchr(text, '%');
    size_t length = zone ? (size_t)(zone - text) : strlen(text);
    if (length >= sizeof(number))
        return -EINVAL;
    memcpy(number, text, length);
    number[length] = '\0';
    if (inet_pton(AF_INET6, number, &ret_v6->sin6_addr) != 1)
        return -EINVAL;
    ret_v6->sin6_scope_id = zone ? if_nametoindex(zone + 1) : 0;
    return zone && ret_v6->sin6_scope_id == 0 ? -ENODEV : 0;
}

int address_inet(const char *text, uint16_t port, struct address *ret_address)
{
    struct address address;
    memset(&address, 0, sizeof(address));
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        address.size = sizeof(address.v4);
    } else {
        int r = inet_v6(text, &address.v6);
        if (r < 0)
            return r;
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        address.size = sizeof(address.v6);
    }
    *ret_address = address;
    return 0;
}

/* ---- weft/address.h ---------------------------------------------------------------------- */

_Static_assert(sizeof(struct address) <= sizeof(struct weft_address), "too small in public");
_Static_assert(_Alignof(struct address) <= _Alignof(struct weft_address), "or less aligned");

int weft_address_inet(const char *text, uint16_t port, struct weft_address *ret_address)
{
    struct address address;
    int r = address_inet(text, port, &address);
    if (r == 0)
        address_publish(&address, ret_address);
    return r;
}

int weft_address_unix(const char *path, struct weft_address *ret_address)
{
    struct address address;
    int r = address_unix(path, &address);
    if (r == 0)
        address_publish(&address, ret_address);
    return r;
}

/* How large an address of this family may be, and must at least be. */
static int family_sizes(sa_family_t family, size_t *ret_least, size_t *ret_most)
{
    switch (family) {
    case AF_INET:
        *ret_least = *ret_most = sizeof(struct sockaddr_in);
        return 0;
    case AF_INET6:
        *ret_least = *ret_most = sizeof(struct sockaddr_in6);
        return 0;
    case AF_UNIX:
        *ret_least = offsetof(struct sockaddr_un, sun_path);
        *ret_most = sizeof(struct sockaddr_un);
        return 0;
    default:
        return -EAFNOSUPPORT;
    }
}

int weft_address_from(const struct sockaddr *from, socklen_t size, struct weft_address *ret_address)
{
    struct address address;
    size_t least, most;
    if (size < sizeof(sa_family_t))
        return -EINVAL;
    int r = family_sizes(from->sa_family, &least, &most);
    if (r < 0)
        return r;
    if (size < least || size > most)
        return -EINVAL;
    memset(&address, 0, sizeof(address));
    memcpy(&address, from, size);
    address.size = size;
    address_publish(&address, ret_address);
    return 0;
}

const struct sockaddr *weft_address_raw(const struct weft_address *public, socklen_t *ret_size)
{
    const struct address *address = address_of(public);
    *ret_size = address->size;
    return &address->any;
}

int weft_address_family(const struct weft_address *public)
{
    const struct address *address = address_of(public);
    return address->size ? address->any.sa_family : AF_UNSPEC;
}

uint16_t weft_address_port(const struct weft_address *public)
{
    const struct address *address = address_of(public);
    switch (weft_address_family(public)) {
    case AF_INET:
        return ntohs(address->v4.sin_port);
    case AF_INET6:
        return ntohs(address->v6.sin6_port);
    default:
        return 0;
    }
}

void weft_address_set_port(struct weft_address *public, uint16_t port)
{
    struct address *address = (struct address *)(void *)public;
    if (weft_address_family(public) == AF_INET)
        address->v4.sin_port = htons(port);
    else if (weft_address_family(public) == AF_INET6)
        address->v6.sin6_port = htons(port);
}

bool weft_address_equal(const struct weft_address *one, const struct weft_address *other)
{
    const struct address *left = address_of(one), *right = address_of(other);
    return left->size == right->size && memcmp(left, right, left->size) == 0;
}

static int text_local(const struct address *address, char *buffer, size_t size)
{
    const char *path = address->local.sun_path;
    size_t length = address->size - offsetof(struct sockaddr_un, sun_path);
    if (length == 0)
        return snprintf(buffer, size, "%s", "");
    if (path[0] == '\0')
        return snprintf(buffer, size, "@%.*s", (int)length - 1, path + 1);
    return snprintf(buffer, size, "%.*s", (int)length, path);
}

static int text_v6(const struct address *address, char *buffer, size_t size)
{
    char number[INET6_ADDRSTRLEN], zone[IF_NAMESIZE + 1] = "", name[IF_NAMESIZE];
    inet_ntop(AF_INET6, &address->v6.sin6_addr, number, sizeof(number));
    if (address->v6.sin6_scope_id && if_indextoname(address->v6.sin6_scope_id, name))
        snprintf(zone, sizeof(zone), "%%%s", name);
    return snprintf(buffer, size, "[%s%s]:%u", number, zone, ntohs(address->v6.sin6_port));
}

int weft_address_text(const struct weft_address *public, char *buffer, size_t size)
{
    const struct address *address = address_of(public);
    char number[INET_ADDRSTRLEN], text[WEFT_ADDRESS_TEXT] = "";
    int length = 0;
    switch (weft_address_family(public)) {
    case AF_INET:
        inet_ntop(AF_INET, &address->v4.sin_addr, number, sizeof(number));
        length = snprintf(text, sizeof(text), "%s:%u", number, ntohs(address->v4.sin_port));
        break;
    case AF_INET6:
        length = text_v6(address, text, sizeof(text));
        break;
    case AF_UNIX:
        length = text_local(address, text, sizeof(text));
        break;
    default:
        break;
    }
    CHECK(length >= 0 && (size_t)length < sizeof(text));
    if ((size_t)length >= size)
        return -ENOSPC;
    memcpy(buffer, text, (size_t)length + 1);
    return length;
}
