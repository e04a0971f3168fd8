/* SPDX-License-Identifier: MIT */
/*
 * Resolvers: a copy of the options, shared by whoever asks through them.
 *
 *   I1  Constant once made, so any number of fibers may ask at once.
 *   I2  Its servers were checked when it was made: a question does not fail for them later.
 *
 * Any thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/dns/query.h"

/* A copy without blanks, which c-ares does not take. */
static char *copy_list(const char *list)
{
    char *copy = malloc(strlen(list) + 1), *to = copy;
    if (!copy)
        return NULL;
    for (; *list; list++)
        if (*list != ' ' && *list != '\t')
            *to++ = *list;
    *to = '\0';
    return copy;
}

/* Cut `search` into domains; empty ones are left out. */
static int split_domains(struct weft_resolver *resolver)
{
    size_t most = 1;
    for (const char *p = resolver->search; *p; p++)
        most += *p == ',';
    resolver->domains = calloc(most, sizeof(char *));
    if (!resolver->domains)
        return -ENOMEM;
    char *rest = resolver->search, *domain;
    while ((domain = strsep(&rest, ",")))
        if (*domain)
            resolver->domains[resolver->domain_count++] = domain;
    return 0;
}

static int copy_options(struct weft_resolver *resolver, const struct weft_resolver_options *options)
{
    resolver->options = *options;
    if (options->servers && !(resolver->servers = copy_list(options->servers)))
        return -ENOMEM;
    if (options->search && !(resolver->search = copy_list(options->search)))
        return -ENOMEM;
    return options->search ? split_domains(resolver) : 0;
}

/* A host, or a host and a port; cuts `text`. */
static bool server_valid(char *text)
{
    struct weft_address address;
    char *host = text, *port = NULL, *colon = strchr(text, ':');
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        port = end[1] ? end + 2 : NULL;
        *end = '\0';
        host++;
    } else if (colon && !strchr(colon + 1, ':')) {
        *colon = '\0';
        port = colon + 1;
    }
    if (strchr(host, '%') || weft_address_inet(host, 0, &address) < 0)
        return false;
    size_t digits = port ? strspn(port, "0123456789") : 0;
    return !port ||
           (digits > 0 && digits <= 5 && port[digits] == '\0' && strtoul(port, NULL, 10) <= 65535);
}

/* I2: c-ares leaves out what it does not understand. */
static int check_servers(const struct weft_resolver *resolver)
{
    char *copy = resolver->servers ? strdup(resolver->servers) : NULL;
    if (!resolver->servers)
        return 0;
    if (!copy)
        return -ENOMEM;
    char *rest = copy, *server;
    bool valid = true;
    while (valid && (server = strsep(&rest, ",")))
        valid = server_valid(server);
    free(copy);
    return valid ? 0 : -EINVAL;
}

int weft_resolver_new(const struct weft_resolver_options *options,
                      struct weft_resolver **ret_resolver)
{
    struct weft_resolver *resolver = calloc(1, sizeof(*resolver));
    if (!resolver)
        return -ENOMEM;
    int r = copy_options(resolver, options);
    if (r == 0)
        r = check_servers(resolver);
    if (r < 0) {
        weft_resolver_free(resolver);
        return r;
    }
    *ret_resolver = resolver;
    return 0;
}

void weft_resolver_free(struct weft_resolver *resolver)
{
    if (!resolver)
        return;
    free(resolver->servers);
    free(resolver->search);
    free(resolver->domains);
    free(resolver);
}
