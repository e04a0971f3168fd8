/* SPDX-License-Identifier: MIT */
/* http_access: see http_access.h. */
#include "daemon/http_access.h"

#include "protocol/error.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#define SCHEME "http://"
#define BEARER "Bearer "

/* "" or ":PORT".  Which port does not matter: it may be that of a tunnel. */
static bool is_port(const char *text)
{
    if (!*text)
        return true;
    if (*text++ != ':')
        return false;
    while (isdigit((unsigned char)*text))
        text++;
    return !*text;
}

static bool is_loopback_v4(const char *host)
{
    char address[INET_ADDRSTRLEN];
    struct in_addr parsed;
    size_t size = strcspn(host, ":");
    if (size >= sizeof address)
        return false;
    memcpy(address, host, size);
    address[size] = '\0';
    return inet_pton(AF_INET, address, &parsed) == 1 && ntohl(parsed.s_addr) >> 24 == 127 &&
           is_port(host + size);
}

static bool is_loopback(const char *host)
{
    static const char *const names[] = {"localhost", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i]);
        if (strncasecmp(host, names[i], size) == 0 && is_port(host + size))
            return true;
    }
    return is_loopback_v4(host);
}

/* I1 */
static bool is_own_page(const char *origin, const char *host)
{
    size_t size = strlen(SCHEME);
    return strncasecmp(origin, SCHEME, size) == 0 && strcasecmp(origin + size, host) == 0;
}

/* I2: both are digests, so neither length nor content is told by the time that it takes.
 * Errors: -EACCES; -ENOMEM. */
static int check_token(const struct http_access *access, const char *authorization)
{
    unsigned char digest[CONFIG_DIGEST_SIZE];
    size_t size = strlen(BEARER);
    if (!authorization || strncasecmp(authorization, BEARER, size) != 0)
        return -EACCES;
    const char *token = authorization + size;
    int rc = config_token_digest(token, strlen(token), digest);
    if (rc < 0)
        return rc;
    return CRYPTO_memcmp(digest, access->digest, sizeof digest) == 0 ? 0 : -EACCES;
}

static unsigned refuse_origin(const char *origin, struct rpc_error *error)
{
    rpc_error_set(error, RPC_PERMISSION_DENIED, "requests of the web page %.100s are not served",
                  origin);
    return 403;
}

unsigned http_access_check(const struct http_access *access, const struct http_claims *claims,
                           struct rpc_error *error)
{
    if (!access)
        return claims->origin ? refuse_origin(claims->origin, error) : 0;
    if (!claims->host || !is_loopback(claims->host)) {
        rpc_error_set(error, RPC_PERMISSION_DENIED,
                      "Host must be 127.0.0.1, [::1] or localhost, not '%.100s'",
                      claims->host ? claims->host : "");
        return 403;
    }
    if (claims->origin && !is_own_page(claims->origin, claims->host))
        return refuse_origin(claims->origin, error);
    int rc = check_token(access, claims->authorization);
    if (rc == 0)
        return 0;
    if (rc == -ENOMEM) {
        rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory");
        return 500;
    }
    rpc_error_set(error, RPC_PERMISSION_DENIED,
                  "each request needs 'Authorization: Bearer TOKEN' with the token of "
                  "http.token_file");
    return 401;
}
