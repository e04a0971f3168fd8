/* SPDX-License-Identifier: MIT */
/* dns_options_test: what a resolver takes for servers, and which name it asks for first. */
#include "support/test.h"

#include "fake_dns.h"
#include "support/io.h"
#include "weft/dns.h"

Test(dns_options, servers_must_be_addresses)
{
    struct weft_resolver *resolver = NULL;
    static const char *const wrong[] = {"",       "example.org", "1.2.3.4.5", "127.0.0.1:x",
                                        "[::1",   "[::1]x",      "[::1]:",    "[::1]:65536",
                                        "::1%lo", "1.2.3.4:"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct weft_resolver_options options = {.servers = wrong[i]};
        int r = weft_resolver_new(&options, &resolver);
        cr_assert_eq(r, -EINVAL, "\"%s\": %d", wrong[i], r);
    }
    cr_assert_null(resolver);
    weft_resolver_free(NULL);
}

Test(dns_options, of_both_families_and_with_ports)
{
    static const char *const right[] = {"::1", "[::1]", "[::1]:53", "127.0.0.1, [::1]:5353",
                                        "127.0.0.1:65535"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        struct weft_resolver *resolver;
        struct weft_resolver_options options = {.servers = right[i]};
        int r = weft_resolver_new(&options, &resolver);
        cr_assert_eq(r, 0, "\"%s\": %d", right[i], r);
        weft_resolver_free(resolver);
    }
}

/* Resolve a name that any domain has; expect which one was asked for, and nothing beside it. */
static void expect_question(struct fake_dns *dns, unsigned ndots, const char *name,
                            const char *asked)
{
    struct weft_resolver *resolver;
    struct weft_address *addresses;
    struct weft_resolver_options options = {.servers = dns->servers,
                                            .search = "domain.test",
                                            .ndots = ndots,
                                            .no_hosts_file = true,
                                            .timeout_ns = 20 * WEFT_SECOND};
    int before = atomic_load(&dns->queries);
    EXPECT_EQ(weft_resolver_new(&options, &resolver), 0);
    EXPECT_EQ(weft_resolver_resolve(resolver, name, "80", AF_INET, soon(), &addresses), 1);
    EXPECT_EQ(atomic_load(&dns->queries) - before, 1);
    pthread_mutex_lock(&dns->lock);
    EXPECT(strcasecmp(dns->asked, asked) == 0);
    pthread_mutex_unlock(&dns->lock);
    weft_addresses_free(addresses);
    weft_resolver_free(resolver);
}

static int orders(void *arg)
{
    struct fake_dns dns;
    (void)arg;
    fake_dns_start(&dns);
    expect_question(&dns, 0, "four", "four.domain.test");
    expect_question(&dns, 0, "four.x", "four.x");
    expect_question(&dns, 2, "four.x", "four.x.domain.test");
    expect_question(&dns, 2, "four.x.y", "four.x.y");
    expect_question(&dns, 3, "four.x.y", "four.x.y.domain.test");
    expect_question(&dns, 99, "four.1.2.3.4.5.6.7.8.9.10.11.12.13.14",
                    "four.1.2.3.4.5.6.7.8.9.10.11.12.13.14.domain.test");
    fake_dns_stop(&dns);
    return 0;
}

Test(dns_options, a_name_with_fewer_dots_than_ndots_is_asked_for_in_the_domains_first)
{
    on_fibers_counting_fds(1, orders, NULL);
}
