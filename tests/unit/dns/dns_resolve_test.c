/* SPDX-License-Identifier: MIT */
/* Names to addresses and back, against a server that answers as each test wants. */
#include "support/test.h"

#include <sys/resource.h>

#include "fake_dns.h"
#include "support/io.h"
#include "weft/dns.h"

/* A resolver that knows only the fake server, and is patient, so that only "silent" names take
 * time: on a machine under load an answer must not come too late. */
static struct weft_resolver *resolver_make(const struct fake_dns *dns,
                                           struct weft_resolver_options options)
{
    struct weft_resolver *resolver;
    options.servers = dns->servers;
    options.no_hosts_file = true;
    if (!options.search)
        options.search = "";
    if (!options.timeout_ns)
        options.timeout_ns = 20 * WEFT_SECOND;
    EXPECT_EQ(weft_resolver_new(&options, &resolver), 0);
    return resolver;
}

static int with_server(int (*body)(struct fake_dns *))
{
    struct fake_dns dns;
    fake_dns_start(&dns);
    int r = body(&dns);
    fake_dns_stop(&dns);
    return r;
}

/* Expect these addresses, in any order, with port 80. */
static void expect_addresses(struct weft_resolver *resolver, const char *name, int family,
                             const char *first, const char *second)
{
    struct weft_address *addresses;
    int count = weft_resolver_resolve(resolver, name, "80", family, soon(), &addresses);
    char text[2][WEFT_ADDRESS_TEXT] = {"", ""};
    if (count < 0)
        fprintf(stderr, "%s: %s\n", name, strerror(-count));
    EXPECT_EQ(count, second ? 2 : 1);
    for (int i = 0; i < count; i++)
        EXPECT(weft_address_text(&addresses[i], text[i], sizeof(text[i])) > 0);
    bool turned = strcmp(text[0], first) != 0;
    if (strcmp(text[turned], first) != 0 || strcmp(text[!turned], second ? second : "") != 0)
        fprintf(stderr, "%s: %s %s\n", name, text[0], text[1]);
    EXPECT_EQ(strcmp(text[turned], first), 0);
    EXPECT_EQ(strcmp(text[!turned], second ? second : ""), 0);
    weft_addresses_free(addresses);
}

static void expect_error(struct weft_resolver *resolver, const char *name, int error)
{
    struct weft_address *addresses = NULL;
    int r = weft_resolver_resolve(resolver, name, "80", AF_UNSPEC, soon(), &addresses);
    if (r != error)
        fprintf(stderr, "%s:\n", name);
    EXPECT_EQ(r, error);
    EXPECT(addresses == NULL);
}

static int answers(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){0});
    expect_addresses(resolver, "good.test", AF_UNSPEC, "127.0.0.1:80", "[::1]:80");
    expect_addresses(resolver, "GOOD.test.", AF_INET, "127.0.0.1:80", NULL);
    expect_addresses(resolver, "good.test", AF_INET6, "[::1]:80", NULL);
    expect_addresses(resolver, "four.test", AF_UNSPEC, "127.0.0.4:80", NULL);
    expect_addresses(resolver, "alias.test", AF_INET, "127.0.0.7:80", NULL);
    expect_addresses(resolver, "alias.test", AF_UNSPEC, "127.0.0.7:80", NULL);
    EXPECT_EQ(atomic_load(&dns->tcp_queries), 0);
    weft_resolver_free(resolver);
    return 0;
}

static int answers_main(void *arg)
{
    (void)arg;
    return with_server(answers);
}

Test(dns_resolve, a_name_has_addresses_of_both_families)
{
    on_fibers_counting_fds(1, answers_main, NULL);
    on_fibers_counting_fds(2, answers_main, NULL);
}

static int errors(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){.tries = 1});
    struct weft_address *addresses = NULL;
    expect_error(resolver, "missing.test", -ENOENT);
    expect_error(resolver, "nodata.test", -ENODATA);
    expect_error(resolver, "servfail.test", -EREMOTEIO);
    expect_error(resolver, "refused.test", -EREMOTEIO);
    expect_error(resolver, "malformed.test", -EBADMSG);
    EXPECT_EQ(weft_resolver_resolve(resolver, "four.test", NULL, AF_INET6, soon(), &addresses),
              -ENODATA);
    weft_resolver_free(resolver);
    return 0;
}

static int errors_main(void *arg)
{
    (void)arg;
    return with_server(errors);
}

Test(dns_resolve, each_way_to_fail_has_its_error)
{
    on_fibers_counting_fds(1, errors_main, NULL);
}

static int wrong_questions(void *arg)
{
    struct weft_address *addresses = NULL;
    char name[400];
    (void)arg;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    EXPECT_EQ(weft_resolve("", "80", AF_UNSPEC, soon(), &addresses), -EINVAL);
    EXPECT_EQ(weft_resolve(name, "80", AF_UNSPEC, soon(), &addresses), -EINVAL);
    name[100] = '\0'; /* a label has 63 bytes at most */
    EXPECT_EQ(weft_resolve(name, "80", AF_UNSPEC, soon(), &addresses), -EINVAL);
    EXPECT_EQ(weft_resolve("127.0.0.1", "65536", AF_UNSPEC, soon(), &addresses), -EINVAL);
    EXPECT_EQ(weft_resolve("127.0.0.1", "no-such-service", AF_UNSPEC, soon(), &addresses), -EINVAL);
    EXPECT_EQ(weft_resolve("127.0.0.1", "80", AF_UNIX, soon(), &addresses), -EAFNOSUPPORT);
    EXPECT_EQ(weft_resolve("127.0.0.1", "80", AF_INET6, soon(), &addresses), -ENODATA);
    EXPECT(addresses == NULL);
    weft_addresses_free(NULL);
    return 0;
}

Test(dns_resolve, questions_that_make_no_sense_are_refused)
{
    on_fibers_counting_fds(1, wrong_questions, NULL);
}

static int numeric(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){0});
    struct weft_address *addresses;
    expect_addresses(resolver, "192.0.2.1", AF_UNSPEC, "192.0.2.1:80", NULL);
    expect_addresses(resolver, "2001:db8::1", AF_INET6, "[2001:db8::1]:80", NULL);
    EXPECT_EQ(weft_resolver_resolve(resolver, "::1", NULL, AF_UNSPEC, soon(), &addresses), 1);
    EXPECT_EQ(weft_address_port(&addresses[0]), 0);
    weft_addresses_free(addresses);
    EXPECT_EQ(atomic_load(&dns->queries), 0);
    weft_resolver_free(resolver);
    return 0;
}

static int numeric_main(void *arg)
{
    (void)arg;
    return with_server(numeric);
}

Test(dns_resolve, a_numeric_address_asks_nobody)
{
    on_fibers_counting_fds(1, numeric_main, NULL);
}

static int service_name(void *arg)
{
    struct weft_address *addresses;
    (void)arg;
    int r = weft_resolve("127.0.0.1", "domain", AF_UNSPEC, soon(), &addresses);
    if (access("/etc/services", R_OK) < 0) { /* a bare container has none */
        EXPECT_EQ(r, -EINVAL);
        return 0;
    }
    EXPECT_EQ(r, 1);
    EXPECT_EQ(weft_address_port(&addresses[0]), 53);
    weft_addresses_free(addresses);
    return 0;
}

Test(dns_resolve, services_have_names)
{
    on_fibers_counting_fds(1, service_name, NULL);
}

/* ---- slow, short, big ----------------------------------------------------------------------- */

static int slow(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(
        dns, (struct weft_resolver_options){.timeout_ns = 10 * WEFT_MILLISECOND, .tries = 2});
    expect_error(resolver, "silent.test", -ETIMEDOUT);
    while (atomic_load(&dns->queries) < 4) /* two tries of two families */
        EXPECT_EQ(weft_yield(), 0);
    expect_error(resolver, "wrongid.test", -ETIMEDOUT);
    weft_resolver_free(resolver);

    resolver = resolver_make(
        dns, (struct weft_resolver_options){.timeout_ns = 50 * WEFT_MILLISECOND, .tries = 8});
    expect_addresses(resolver, "once.test", AF_UNSPEC, "127.0.0.4:80", NULL);
    EXPECT(atomic_load(&dns->dropped) >= 2);
    weft_resolver_free(resolver);
    return 0;
}

static int slow_main(void *arg)
{
    (void)arg;
    return with_server(slow);
}

Test(dns_resolve, a_server_that_does_not_answer_is_asked_again_and_then_given_up)
{
    on_fibers_counting_fds(1, slow_main, NULL);
}

static int deadline(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){0});
    struct weft_address *addresses = NULL;
    struct weft_scope scope;
    uint64_t end = weft_deadline_after(20 * WEFT_MILLISECOND);
    EXPECT_EQ(weft_resolver_resolve(resolver, "silent.test", NULL, AF_UNSPEC, end, &addresses),
              -ETIMEDOUT);
    EXPECT(weft_now_ns() >= end);
    weft_scope_enter(&scope, weft_deadline_after(20 * WEFT_MILLISECOND));
    EXPECT_EQ(weft_resolver_resolve(resolver, "silent.test", NULL, AF_UNSPEC, soon(), &addresses),
              -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT(addresses == NULL);
    weft_resolver_free(resolver);
    return 0;
}

static int deadline_main(void *arg)
{
    (void)arg;
    return with_server(deadline);
}

Test(dns_resolve, the_callers_deadline_ends_it)
{
    on_fibers_counting_fds(1, deadline_main, NULL);
}

struct ask {
    struct weft_resolver *resolver;
    const char *name;
    int result, name_result;
};

static int ask_main(void *arg)
{
    struct ask *ask = arg;
    struct weft_address *addresses, address;
    char name[WEFT_HOST_NAME];
    ask->result =
        weft_resolver_resolve(ask->resolver, ask->name, "80", AF_UNSPEC, soon(), &addresses);
    if (ask->result > 0)
        weft_addresses_free(addresses);
    EXPECT_EQ(weft_address_inet("127.0.0.9", 0, &address), 0);
    ask->name_result = weft_resolver_name(ask->resolver, &address, soon(), name, sizeof(name));
    return 0;
}

static int cancel(struct fake_dns *dns)
{
    struct ask ask = {.resolver = resolver_make(dns, (struct weft_resolver_options){0}),
                      .name = "silent.test"};
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "ask", ask_main, &ask), 0);
    while (atomic_load(&dns->queries) < 2)
        EXPECT_EQ(weft_yield(), 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(ask.result, -ECANCELED);
    EXPECT_EQ(ask.name_result, -ECANCELED);
    weft_resolver_free(ask.resolver);
    return 0;
}

static int cancel_main(void *arg)
{
    (void)arg;
    return with_server(cancel);
}

Test(dns_resolve, a_cancel_ends_it_at_once)
{
    on_fibers_counting_fds(1, cancel_main, NULL);
}

static int big(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){0});
    struct weft_address *addresses;
    EXPECT_EQ(weft_resolver_resolve(resolver, "big.test", "80", AF_INET, soon(), &addresses), 50);
    EXPECT(atomic_load(&dns->tcp_queries) >= 1);
    weft_addresses_free(addresses);
    weft_resolver_free(resolver);
    resolver = resolver_make(dns, (struct weft_resolver_options){.use_tcp = true});
    int before = atomic_load(&dns->queries), by_tcp = atomic_load(&dns->tcp_queries);
    expect_addresses(resolver, "four.test", AF_INET, "127.0.0.4:80", NULL);
    EXPECT_EQ(atomic_load(&dns->queries) - before, 1);
    EXPECT_EQ(atomic_load(&dns->tcp_queries) - by_tcp, 1);
    weft_resolver_free(resolver);
    return 0;
}

static int big_main(void *arg)
{
    (void)arg;
    return with_server(big);
}

Test(dns_resolve, an_answer_too_big_for_udp_comes_by_tcp)
{
    on_fibers_counting_fds(1, big_main, NULL);
}

/* ---- search, hosts, servers ----------------------------------------------------------------- */

static int search(struct fake_dns *dns)
{
    struct weft_resolver *resolver =
        resolver_make(dns, (struct weft_resolver_options){.search = "nx.test, good.test"});
    /* "four" is in any domain, so the first one is it. */
    expect_addresses(resolver, "four", AF_INET, "127.0.0.4:80", NULL);
    expect_error(resolver, "missing", -ENOENT);
    weft_resolver_free(resolver);
    resolver = resolver_make(dns, (struct weft_resolver_options){0});
    int before = atomic_load(&dns->queries);
    expect_error(resolver, "missing", -ENOENT);
    EXPECT_EQ(atomic_load(&dns->queries) - before, 2); /* no domain was tried */
    weft_resolver_free(resolver);
    return 0;
}

static int search_main(void *arg)
{
    (void)arg;
    return with_server(search);
}

Test(dns_resolve, short_names_are_searched_for_in_the_domains)
{
    on_fibers_counting_fds(1, search_main, NULL);
}

static int hosts(struct fake_dns *dns)
{
    char path[] = "/tmp/weft-hosts-XXXXXX", name[WEFT_HOST_NAME];
    static const char text[] = "127.0.0.33 of-hosts.test alias-of-hosts\n::33 of-hosts.test\n";
    struct weft_resolver_options options = {.servers = dns->servers, .search = ""};
    struct weft_resolver *resolver;
    struct weft_address address;
    int fd = mkostemp(path, O_CLOEXEC);
    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
    close(fd);
    setenv("CARES_HOSTS", path, 1);
    EXPECT_EQ(weft_resolver_new(&options, &resolver), 0);
    expect_addresses(resolver, "of-hosts.test", AF_UNSPEC, "127.0.0.33:80", "[::33]:80");
    expect_addresses(resolver, "alias-of-hosts", AF_INET, "127.0.0.33:80", NULL);
    EXPECT_EQ(atomic_load(&dns->queries), 0);
    unsetenv("CARES_HOSTS");
    unlink(path);
    /* The real file has this one on any system. */
    EXPECT_EQ(weft_address_inet("127.0.0.1", 0, &address), 0);
    EXPECT(weft_resolver_name(resolver, &address, soon(), name, sizeof(name)) > 0);
    EXPECT_EQ(atomic_load(&dns->queries), 0);
    weft_resolver_free(resolver);
    return 0;
}

static int hosts_main(void *arg)
{
    (void)arg;
    return with_server(hosts);
}

Test(dns_resolve, the_hosts_file_comes_first)
{
    on_fibers_counting_fds(1, hosts_main, NULL);
}

static int local_host(void *arg)
{
    struct weft_address *addresses;
    (void)arg;
    int count = weft_resolve("localhost", "80", AF_INET, soon(), &addresses);
    EXPECT(count >= 1);
    weft_addresses_free(addresses);
    return 0;
}

Test(dns_resolve, the_systems_resolver_knows_localhost)
{
    on_fibers_counting_fds(1, local_host, NULL);
}

static int reverse(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){0});
    struct weft_address address, nothing = {0};
    char name[WEFT_HOST_NAME], small[4] = "abc";
    EXPECT_EQ(weft_address_inet("127.0.0.9", 7, &address), 0);
    EXPECT_EQ(weft_resolver_name(resolver, &address, soon(), name, sizeof(name)), 9);
    EXPECT_EQ(strcmp(name, "nine.test"), 0);
    EXPECT_EQ(weft_resolver_name(resolver, &address, soon(), small, sizeof(small)), -ENOSPC);
    EXPECT_EQ(strcmp(small, "abc"), 0);
    EXPECT_EQ(weft_address_inet("127.0.0.8", 0, &address), 0);
    EXPECT_EQ(weft_resolver_name(resolver, &address, soon(), name, sizeof(name)), -ENOENT);
    EXPECT_EQ(weft_address_inet("2001:db8::8", 0, &address), 0);
    EXPECT_EQ(weft_resolver_name(resolver, &address, soon(), name, sizeof(name)), -ENOENT);
    EXPECT_EQ(weft_resolve_name(&nothing, soon(), name, sizeof(name)), -EAFNOSUPPORT);
    weft_resolver_free(resolver);
    return 0;
}

static int reverse_main(void *arg)
{
    (void)arg;
    return with_server(reverse);
}

Test(dns_resolve, an_address_has_a_name)
{
    on_fibers_counting_fds(1, reverse_main, NULL);
}

static int nobody_listens(void *arg)
{
    struct weft_resolver_options options = {.search = "", .no_hosts_file = true, .tries = 1};
    struct weft_resolver *resolver;
    struct fake_dns dns;
    (void)arg;
    fake_dns_start(&dns); /* for a port that nobody has afterwards */
    fake_dns_stop(&dns);
    options.servers = dns.servers;
    EXPECT_EQ(weft_resolver_new(&options, &resolver), 0);
    expect_error(resolver, "good.test", -ECONNREFUSED);
    weft_resolver_free(resolver);
    return 0;
}

Test(dns_resolve, a_server_that_is_not_there)
{
    on_fibers_counting_fds(1, nobody_listens, NULL);
}

static int second_server(struct fake_dns *dns)
{
    struct weft_resolver_options options = {.search = "", .no_hosts_file = true};
    struct weft_resolver *resolver;
    struct fake_dns gone;
    char servers[160];
    fake_dns_start(&gone);
    fake_dns_stop(&gone);
    snprintf(servers, sizeof(servers), "%s, %s", gone.servers, dns->servers);
    options.servers = servers;
    EXPECT_EQ(weft_resolver_new(&options, &resolver), 0);
    memset(servers, 'x', sizeof(servers)); /* the resolver has its own copy */
    expect_addresses(resolver, "good.test", AF_UNSPEC, "127.0.0.1:80", "[::1]:80");
    weft_resolver_free(resolver);
    return 0;
}

static int second_server_main(void *arg)
{
    (void)arg;
    return with_server(second_server);
}

Test(dns_resolve, the_next_server_is_asked_when_one_is_not_there)
{
    on_fibers_counting_fds(1, second_server_main, NULL);
}

static int fillers[1000], filler_count;

/* Every number below it is taken: holes are filled, with descriptors that stay. */
static int highest_fd(void)
{
    int highest = 0, fd;
    for (int i = 0; i < 1000; i++)
        if (fcntl(i, F_GETFD) >= 0)
            highest = i;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0 && fd < highest)
        fillers[filler_count++] = fd;
    close(fd);
    return highest;
}

/* With so many descriptors more than there are, and then as before. */
static int with_descriptors(int more, struct weft_resolver *resolver)
{
    struct weft_address *addresses = NULL;
    struct rlimit before, limit;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)highest_fd() + 1 + (rlim_t)more;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int r = weft_resolver_resolve(resolver, "good.test", "80", AF_UNSPEC, soon(), &addresses);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT(addresses == NULL);
    return r;
}

static int no_descriptors(struct fake_dns *dns)
{
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){0});
    EXPECT_EQ(with_descriptors(0, resolver), -EMFILE); /* for the private epoll set */
    EXPECT_EQ(with_descriptors(1, resolver), -EMFILE); /* for c-ares's socket */
    expect_addresses(resolver, "good.test", AF_UNSPEC, "127.0.0.1:80", "[::1]:80");
    weft_resolver_free(resolver);
    while (filler_count > 0)
        close(fillers[--filler_count]);
    return 0;
}

static int no_descriptors_main(void *arg)
{
    (void)arg;
    return with_server(no_descriptors);
}

Test(dns_resolve, without_descriptors_it_says_so_and_goes_on_later)
{
    on_fibers_counting_fds(1, no_descriptors_main, NULL);
}

Test(dns_resolve, errors_have_words)
{
    cr_assert_str_eq(weft_resolve_error(-ENOENT), "no such name");
    cr_assert_str_eq(weft_resolve_error(-ETIMEDOUT), "Connection timed out");
    cr_assert_str_eq(weft_resolve_error(-99999), "an unknown error");
    static const int errors[] = {-ENODATA, -EREMOTEIO, -EBADMSG, -EINVAL};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        cr_assert_str_neq(weft_resolve_error(errors[i]), strerror(-errors[i]));
}

static int many(struct fake_dns *dns)
{
    enum { COUNT = 50 };
    struct weft_resolver *resolver = resolver_make(dns, (struct weft_resolver_options){0});
    struct ask asks[COUNT];
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < COUNT; i++) {
        asks[i] = (struct ask){.resolver = resolver, .name = i % 2 ? "good.test" : "missing.test"};
        EXPECT_EQ(weft_group_spawn(&group, "ask", ask_main, &asks[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < COUNT; i++) {
        EXPECT_EQ(asks[i].result, i % 2 ? 2 : -ENOENT);
        EXPECT_EQ(asks[i].name_result, 9);
    }
    weft_resolver_free(resolver);
    return 0;
}

static int many_main(void *arg)
{
    (void)arg;
    return with_server(many);
}

Test(dns_resolve, many_fibers_ask_one_resolver)
{
    on_fibers_counting_fds(2, many_main, NULL);
}
