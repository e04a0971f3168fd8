/* SPDX-License-Identifier: MIT */
/*
 * From a name to addresses and back.
 *
 *   I1  A numeric address is answered here, without a channel: also one with an interface.
 *   I2  What c-ares hands to a callback is copied there; its own memory never leaves the callback.
 *   I3  A query is closed, which ends its callbacks, before anything they write to goes away.
 *
 * For fibers.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/dns/query.h"
#include "weft/fiber.h"
#include "weft/offload.h"

void weft_addresses_free(struct weft_address *addresses)
{
    free(addresses);
}

const char *weft_resolve_error(int error)
{
    switch (error) {
    case -ENOENT:
        return "no such name";
    case -ENODATA:
        return "the name has no address of that family";
    case -EREMOTEIO:
        return "the name servers failed or refused";
    case -EBADMSG:
        return "the name server's answer is malformed";
    case -EINVAL:
        return "not a name, or no such service";
    default:
        break;
    }
    const char *text = strerrordesc_np(-error);
    return text ? text : "an unknown error";
}

/* ---- services --------------------------------------------------------------------------- */

struct service {
    const char *name;
    uint16_t port;
};

/* May read files and load a library: on a plain thread. */
static int service_find(void *arg)
{
    struct service *service = arg;
    struct servent entry, *found = NULL;
    char buffer[4096];
    int error = getservbyname_r(service->name, "tcp", &entry, buffer, sizeof(buffer), &found);
    if (error == 0 && !found)
        error = getservbyname_r(service->name, "udp", &entry, buffer, sizeof(buffer), &found);
    if (error == ENOMEM)
        return -ENOMEM;
    if (error || !found)
        return -EINVAL;
    service->port = ntohs((uint16_t)found->s_port);
    return 0;
}

static int service_port(const char *name, uint16_t *ret_port)
{
    if (!name || name[0] == '\0') {
        *ret_port = 0;
        return 0;
    }
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*end == '\0' && name[0] >= '0' && name[0] <= '9') {
        *ret_port = (uint16_t)number;
        return number > UINT16_MAX ? -EINVAL : 0;
    }
    struct service service = {.name = name};
    int result = 0;
    int r = weft_offload(service_find, &service, &result);
    if (r == 0)
        r = result;
    if (r == 0)
        *ret_port = service.port;
    return r;
}

/* ---- addresses of a name ---------------------------------------------------------------- */

static int node_count(const struct ares_addrinfo *info)
{
    int count = 0;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next)
        count++;
    return count;
}

static void addresses_found(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct query *query = arg;
    struct address_list *list = query->answer;
    (void)timeouts;
    query->over = true;
    query->status = status;
    if (!info)
        return;
    if (status == ARES_SUCCESS &&
        (list->items = calloc((size_t)node_count(info) + 1, sizeof(*list->items))))
        for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next)
            if (weft_address_from(node->ai_addr, node->ai_addrlen, &list->items[list->count]) == 0)
                weft_address_set_port(&list->items[list->count++], list->port);
    ares_freeaddrinfo(info);
}

/* What is asked, of either kind. */
struct ask {
    void (*start)(struct query *query, const struct ask *ask);
    const char *name;
    int family;
    const struct sockaddr *address;
    void *answer;
};

static int ask_once(const struct ask *ask, struct weft_resolver *resolver,
                    int (*open)(struct query *, const struct weft_resolver *), uint64_t deadline_ns)
{
    struct query query;
    int r = open(&query, resolver);
    if (r < 0)
        return r;
    query.answer = ask->answer;
    ask->start(&query, ask);
    r = query_await(&query, deadline_ns);
    query_close(&query);
    return r;
}

/* Nobody there, or nobody who would answer? */
static int ask_servers(const struct ask *ask, struct weft_resolver *resolver, uint64_t deadline_ns)
{
    int r = ask_once(ask, resolver, query_open, deadline_ns);
    return r == -ECONNREFUSED ? ask_once(ask, resolver, query_open_frank, deadline_ns) : r;
}

void addresses_ask(struct query *query, const char *name, int family, struct address_list *list)
{
    struct ares_addrinfo_hints hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_ENVHOSTS};
    query->answer = list;
    ares_getaddrinfo(query->channel, name, NULL, &hints, addresses_found, query);
}

int addresses_result(const struct query *query)
{
    const struct address_list *list = query->answer;
    int r = query_result(query);
    if (r == 0 && !list->items)
        return -ENOMEM;
    return r == 0 && list->count == 0 ? -ENODATA : r;
}

static void ask_addresses(struct query *query, const struct ask *ask)
{
    addresses_ask(query, ask->name, ask->family, ask->answer);
}

static int resolve_by_query(struct weft_resolver *resolver, const char *name, int family,
                            uint64_t deadline_ns, struct address_list *list)
{
    struct ask ask = {.start = ask_addresses, .name = name, .family = family, .answer = list};
    int r = ask_servers(&ask, resolver, deadline_ns);
    if (r == 0 && !list->items)
        return -ENOMEM;
    return r == 0 && list->count == 0 ? -ENODATA : r;
}

static int resolve_numeric(const struct weft_address *address, int family,
                           struct address_list *list)
{
    if (family != AF_UNSPEC && weft_address_family(address) != family)
        return -ENODATA;
    list->items = malloc(sizeof(*list->items));
    if (!list->items)
        return -ENOMEM;
    list->items[0] = *address;
    list->count = 1;
    return 0;
}

int check_name(const char *name)
{
    size_t length = strlen(name);
    return length == 0 || length >= WEFT_HOST_NAME ? -EINVAL : 0;
}

static int check_question(const char *name, int family)
{
    if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    return check_name(name);
}

int weft_resolver_resolve(struct weft_resolver *resolver, const char *name, const char *service,
                          int family, uint64_t deadline_ns, struct weft_address **ret_addresses)
{
    struct address_list list = {0};
    struct weft_address numeric;
    int r = weft_check_cancel();
    if (r == 0)
        r = check_question(name, family);
    if (r == 0)
        r = service_port(service, &list.port);
    if (r < 0)
        return r;
    if (weft_address_inet(name, list.port, &numeric) == 0) /* I1 */
        r = resolve_numeric(&numeric, family, &list);
    else
        r = resolve_by_query(resolver, name, family, deadline_ns, &list);
    if (r < 0) {
        free(list.items);
        return r;
    }
    *ret_addresses = list.items;
    return list.count;
}

int weft_resolve(const char *name, const char *service, int family, uint64_t deadline_ns,
                 struct weft_address **ret_addresses)
{
    return weft_resolver_resolve(NULL, name, service, family, deadline_ns, ret_addresses);
}

/* ---- the name of an address ------------------------------------------------------------- */

struct host_name {
    char text[WEFT_HOST_NAME];
};

static void name_found(void *arg, int status, int timeouts, struct hostent *host)
{
    struct query *query = arg;
    struct host_name *name = query->answer;
    (void)timeouts;
    query->over = true;
    query->status = status;
    if (status != ARES_SUCCESS || !host)
        return;
    if (!host->h_name || strlen(host->h_name) >= sizeof(name->text))
        query->status = ARES_EBADRESP;
    else
        strcpy(name->text, host->h_name);
}

static void ask_name(struct query *query, const struct ask *ask)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)ask->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)ask->address;
    if (ask->address->sa_family == AF_INET)
        ares_gethostbyaddr(query->channel, &v4->sin_addr, sizeof(v4->sin_addr), AF_INET, name_found,
                           query);
    else
        ares_gethostbyaddr(query->channel, &v6->sin6_addr, sizeof(v6->sin6_addr), AF_INET6,
                           name_found, query);
}

int weft_resolver_name(struct weft_resolver *resolver, const struct weft_address *address,
                       uint64_t deadline_ns, char *ret_name, size_t size)
{
    struct host_name name = {0};
    int family = weft_address_family(address);
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    socklen_t raw_size;
    struct ask ask = {
        .start = ask_name, .address = weft_address_raw(address, &raw_size), .answer = &name};
    r = ask_servers(&ask, resolver, deadline_ns);
    if (r < 0)
        return r;
    size_t length = strlen(name.text);
    if (length >= size)
        return -ENOSPC;
    memcpy(ret_name, name.text, length + 1);
    return (int)length;
}

int weft_resolve_name(const struct weft_address *address, uint64_t deadline_ns, char *ret_name,
                      size_t size)
{
    return weft_resolver_name(NULL, address, deadline_ns, ret_name, size);
}
