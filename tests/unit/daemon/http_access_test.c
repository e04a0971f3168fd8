/* SPDX-License-Identifier: MIT */
/* http_access: whom HTTP is for, by what a request says. */
#include "daemon/http_access.h"

#include "protocol/error.h"
#include "support/test.h"

#include <string.h>

#define TOKEN "0123456789abcdef0123456789abcdef"
#define RIGHT "Bearer " TOKEN

static struct http_access access_of_tcp;
static struct rpc_error error;

static void set_token(void)
{
    cr_assert_eq(config_token_digest(TOKEN, strlen(TOKEN), access_of_tcp.digest), 0);
}

static unsigned ask(const char *host, const char *origin, const char *authorization)
{
    const struct http_claims claims = {host, origin, authorization};
    error = (struct rpc_error){0};
    unsigned status = http_access_check(&access_of_tcp, &claims, &error);
    cr_assert_eq(error.code, status ? RPC_PERMISSION_DENIED : RPC_OK);
    cr_assert_null(strstr(error.message, TOKEN));
    return status;
}

Test(http_access, names_of_loopback_are_served, .init = set_token)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.1:8080", "127.3.2.1:1",
                                        "localhost", "LocalHost:80",   "[::1]",
                                        "[::1]:8080"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        cr_assert_eq(ask(hosts[i], NULL, RIGHT), 0, "%s", hosts[i]);
}

Test(http_access, other_hosts_are_refused_whatever_the_token, .init = set_token)
{
    static const char *const hosts[] = {"",
                                        "evil.example",
                                        "evil.example:8080",
                                        "localhost.evil.example",
                                        "localhost:80.evil.example",
                                        "127.0.0.1.evil.example",
                                        "128.0.0.1",
                                        "0.0.0.0:8080",
                                        "[::2]",
                                        "[::1].evil.example",
                                        "127.0.0.1:80@evil.example",
                                        "127.000000000000000000000000000000.0.1"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        cr_assert_eq(ask(hosts[i], NULL, RIGHT), 403, "%s", hosts[i]);
    cr_assert_eq(ask(NULL, NULL, RIGHT), 403);
}

Test(http_access, page_is_served_only_by_its_own_origin, .init = set_token)
{
    cr_assert_eq(ask("localhost:8080", "http://localhost:8080", RIGHT), 0);
    cr_assert_eq(ask("localhost:8080", "http://localhost:3000", RIGHT), 403);
    cr_assert_eq(ask("localhost:8080", "http://127.0.0.1:8080", RIGHT), 403);
    cr_assert_eq(ask("localhost:8080", "https://localhost:8080", RIGHT), 403);
    cr_assert_eq(ask("localhost:8080", "http://evil.example", RIGHT), 403);
    cr_assert_eq(ask("localhost:8080", "null", RIGHT), 403);
    cr_assert_eq(ask("localhost:8080", "", RIGHT), 403);
}

Test(http_access, each_request_needs_the_token, .init = set_token)
{
    static const char *const wrong[] = {"Bearer ",
                                        "Bearer",
                                        TOKEN,
                                        "Basic " TOKEN,
                                        "Bearer " TOKEN "0",
                                        "Bearer 0123456789abcdef0123456789abcde",
                                        "Bearer 0123456789abcdef0123456789abcdeg"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_eq(ask("localhost", NULL, wrong[i]), 401, "%s", wrong[i]);
    cr_assert_eq(ask("localhost", NULL, NULL), 401);
    cr_assert_eq(ask("localhost", NULL, "bearer " TOKEN), 0);
}

Test(http_access, unix_socket_is_for_everybody_but_pages)
{
    struct http_claims claims = {.host = "weft"};
    cr_assert_eq(http_access_check(NULL, &claims, &error), 0);
    claims.host = NULL;
    cr_assert_eq(http_access_check(NULL, &claims, &error), 0);
    claims.origin = "http://weft";
    cr_assert_eq(http_access_check(NULL, &claims, &error), 403);
}
