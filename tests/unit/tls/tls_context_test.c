/* SPDX-License-Identifier: MIT */
/* What a context is made of: files, names, protocols, versions; and reading the files again. */
#include "support/test.h"

#include "tls_support.h"

/* ---- making contexts ------------------------------------------------------------------------ */

static void expect_no_context(enum weft_tls_role role, const struct weft_tls_options *options,
                              int error, const char *text)
{
    struct weft_tls_context *context = NULL;
    struct weft_tls_why why = {0};
    int r = weft_tls_context_new(role, options, &why, &context);
    if (r != error)
        fprintf(stderr, "it says: %s\n", why.text);
    EXPECT_EQ(r, error);
    if (!strstr(why.text, text))
        fprintf(stderr, "expected \"%s\" in: %s\n", text, why.text);
    EXPECT(strstr(why.text, text) != NULL);
    EXPECT_EQ(weft_tls_context_new(role, options, NULL, &context), error);
    EXPECT(context == NULL);
}

Test(tls_context, options_that_do_not_go_together_are_refused)
{
    struct weft_tls_certificate nothing = {0};
    static const char *const empty_name[] = {"", NULL};
    struct weft_tls_options options = {0};
    expect_no_context((enum weft_tls_role)7, &options, -EINVAL, "role");
    expect_no_context(WEFT_TLS_SERVER, &options, -EINVAL, "needs a certificate");
    expect_no_context(WEFT_TLS_SERVER, NULL, -EINVAL, "needs a certificate");
    options.certificates = &nothing;
    options.certificate_count = 1;
    expect_no_context(WEFT_TLS_SERVER, &options, -EINVAL, "without a chain");
    options.client_auth = WEFT_TLS_AUTH_REQUIRED;
    expect_no_context(WEFT_TLS_SERVER, &options, -EINVAL, "CA");
    expect_no_context(WEFT_TLS_CLIENT, &options, -EINVAL, "server's");
    options = (struct weft_tls_options){.insecure_believe_any_server = true, .ca_pem = "x"};
    expect_no_context(WEFT_TLS_CLIENT, &options, -EINVAL, "believes any");
    options = (struct weft_tls_options){.min_version = WEFT_TLS_1_3, .max_version = WEFT_TLS_1_2};
    expect_no_context(WEFT_TLS_CLIENT, &options, -EINVAL, "above max_version");
    options = (struct weft_tls_options){.min_version = (enum weft_tls_version)9};
    expect_no_context(WEFT_TLS_CLIENT, &options, -EINVAL, "version");
    options = (struct weft_tls_options){.alpn = empty_name};
    expect_no_context(WEFT_TLS_CLIENT, &options, -EINVAL, "1 to 255");
    options = (struct weft_tls_options){.alpn_required = true};
    expect_no_context(WEFT_TLS_CLIENT, &options, -EINVAL, "no name given");
    options = (struct weft_tls_options){.ciphers = "NO-SUCH-CIPHER"};
    expect_no_context(WEFT_TLS_CLIENT, &options, -EINVAL, "ciphers: ");
}

Test(tls_context, a_file_that_cannot_be_used_is_named)
{
    struct folder folder = folder_make();
    struct identity one = identity_make(&(struct identity_options){.name = "one"}, NULL);
    struct identity other = identity_make(&(struct identity_options){.name = "other"}, NULL);
    struct weft_tls_certificate certificate = {.chain_file = folder_file(&folder, "none.pem")};
    struct weft_tls_options options = {.certificates = &certificate, .certificate_count = 1};
    expect_no_context(WEFT_TLS_SERVER, &options, -ENOENT, "none.pem: No such file");
    certificate.chain_file = folder_write(&folder, "bad.pem", "this is no certificate\n");
    expect_no_context(WEFT_TLS_SERVER, &options, -EBADMSG, "bad.pem: ");
    certificate.chain_file = folder_write(&folder, "chain.pem", one.chain_pem);
    expect_no_context(WEFT_TLS_SERVER, &options, -EBADMSG, "chain.pem: no private key");
    certificate.key_file = folder_write(&folder, "key.pem", other.key_pem);
    expect_no_context(WEFT_TLS_SERVER, &options, -EKEYREJECTED, "key.pem: key values mismatch");
    certificate.key_file = folder.path;
    expect_no_context(WEFT_TLS_SERVER, &options, -EISDIR, folder.path);
    options = (struct weft_tls_options){.ca_file = folder_file(&folder, "bad.pem")};
    expect_no_context(WEFT_TLS_CLIENT, &options, -EBADMSG, "bad.pem: ");
    options.ca_file = folder_file(&folder, "none.pem");
    expect_no_context(WEFT_TLS_CLIENT, &options, -ENOENT, "none.pem: ");
    options = (struct weft_tls_options){.crl_file = folder_file(&folder, "none.pem")};
    expect_no_context(WEFT_TLS_CLIENT, &options, -ENOENT, "none.pem: ");
    identity_destroy(&one);
    identity_destroy(&other);
    folder_remove(&folder, (const char *const[]){"bad.pem", "chain.pem", "key.pem", NULL});
}

Test(tls_context, a_key_may_have_a_password_and_nobody_is_prompted)
{
    struct identity identity = identity_make(&(struct identity_options){.name = "one"}, NULL);
    char *key = encrypted_key(&identity, "secret");
    struct weft_tls_certificate certificate = {.chain_pem = identity.chain_pem, .key_pem = key};
    struct weft_tls_options options = {.certificates = &certificate, .certificate_count = 1};
    expect_no_context(WEFT_TLS_SERVER, &options, -EKEYREJECTED, "needs a password");
    certificate.key_password = "wrong";
    expect_no_context(WEFT_TLS_SERVER, &options, -EKEYREJECTED, "(memory): not the key's");
    certificate.key_password = "secret";
    weft_tls_context_unref(tls_context_make(WEFT_TLS_SERVER, &options));
    free(key);
    identity_destroy(&identity);
}

Test(tls_context, references_are_counted)
{
    struct weft_tls_context *context = tls_context_make(WEFT_TLS_CLIENT, NULL);
    EXPECT(weft_tls_context_ref(context) == context);
    weft_tls_context_unref(context);
    weft_tls_context_unref(context);
    weft_tls_context_unref(NULL);
}

static int cancelled(void *arg)
{
    struct weft_tls_context *context = NULL;
    struct weft_scope scope;
    (void)arg;
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_tls_context_new(WEFT_TLS_CLIENT, NULL, NULL, &context), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(context == NULL);
    context = tls_context_make(WEFT_TLS_CLIENT, NULL);
    weft_scope_enter(&scope, weft_now_ns());
    EXPECT_EQ(weft_tls_context_reload(context, NULL), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_tls_context_unref(context);
    return 0;
}

Test(tls_context, a_cancelled_fiber_makes_none)
{
    on_fibers_counting_fds(1, cancelled, NULL);
}

/* ---- names ---------------------------------------------------------------------------------- */

static void expect_subject(const struct world *world, const char *hostname, const char *subject)
{
    struct ends ends;
    struct weft_tls_peer peer;
    ends_open(&ends, world, hostname);
    EXPECT_EQ(ends.client_result, 0);
    EXPECT_EQ(ends.server_result, 0);
    EXPECT_EQ(weft_tls_peer(ends.client, &peer), 0);
    if (strcmp(peer.subject, subject) != 0)
        fprintf(stderr, "%s: expected %s, got %s\n", hostname, subject, peer.subject);
    EXPECT_EQ(strcmp(peer.subject, subject), 0);
    ends_close(&ends);
}

static int several_names(void *arg)
{
    struct world world;
    struct ends ends;
    (void)arg;
    world_init(&world);
    struct identity second = identity_make(
        &(struct identity_options){.name = "second", .names = "DNS:second.test, DNS:*.wild.test"},
        &world.authority);
    struct weft_tls_certificate certificates[] = {
        world.certificate, {.chain_pem = second.chain_pem, .key_pem = second.key_pem}};
    world.server_options.certificates = certificates;
    world.server_options.certificate_count = 2;
    world_open(&world);
    expect_subject(&world, "good.test", "CN=server");
    expect_subject(&world, "second.test", "CN=second");
    expect_subject(&world, "any.wild.test", "CN=second");
    expect_subject(&world, "127.0.0.1", "CN=server"); /* an address is no name to choose by */
    ends_open(&ends, &world, "other.test");           /* the first one is shown */
    EXPECT_EQ(ends.client_result, -EKEYREJECTED);
    ends_close(&ends);
    world_close(&world);
    world.server_options.refuse_unknown_names = true;
    world_open(&world);
    expect_subject(&world, "second.test", "CN=second");
    ends_open(&ends, &world, "other.test");
    EXPECT_EQ(ends.client_result, -ECONNABORTED);
    EXPECT(strstr(weft_tls_error(ends.client), "unrecognized name") != NULL);
    EXPECT_EQ(ends.server_result, -EPROTO);
    ends_close(&ends);
    identity_destroy(&second);
    world_destroy(&world);
    return 0;
}

Test(tls_context, of_several_certificates_the_name_that_is_asked_for_chooses)
{
    on_fibers_counting_fds(1, several_names, NULL);
}

/* ---- application protocols ------------------------------------------------------------------ */

static void expect_protocol(struct world *world, const char *const *client,
                            const char *const *server, int client_result, int server_result,
                            const char *protocol)
{
    struct ends ends;
    struct weft_tls_info info;
    world->client_options.alpn = client;
    world->server_options.alpn = server;
    world_open(world);
    ends_open(&ends, world, "good.test");
    EXPECT_EQ(ends.client_result, client_result);
    EXPECT_EQ(ends.server_result, server_result);
    if (client_result == 0) {
        EXPECT_EQ(weft_tls_info(ends.client, &info), 0);
        EXPECT_EQ(info.alpn != NULL, protocol != NULL);
        EXPECT(!protocol || strcmp(info.alpn, protocol) == 0);
    }
    if (server_result == 0) {
        EXPECT_EQ(weft_tls_info(ends.server, &info), 0);
        EXPECT_EQ(info.alpn != NULL, protocol != NULL);
        EXPECT(!protocol || strcmp(info.alpn, protocol) == 0);
    }
    ends_close(&ends);
    world_close(world);
}

static int protocols(void *arg)
{
    static const char *const one_two[] = {"one", "two", NULL},
                             *const two_one[] = {"two", "one", NULL},
                             *const three[] = {"three", NULL};
    struct world world;
    (void)arg;
    world_init(&world);
    expect_protocol(&world, one_two, two_one, 0, 0, "two"); /* the server prefers */
    expect_protocol(&world, two_one, one_two, 0, 0, "one");
    expect_protocol(&world, NULL, one_two, 0, 0, NULL);
    expect_protocol(&world, one_two, NULL, 0, 0, NULL);
    expect_protocol(&world, three, one_two, -ENOPROTOOPT, -ENOPROTOOPT, NULL);
    world.client_options.alpn_required = true;
    expect_protocol(&world, three, three, 0, 0, "three");
    expect_protocol(&world, three, NULL, -ENOPROTOOPT, 0, NULL);
    world.client_options.alpn_required = false;
    world.server_options.alpn_required = true;
    expect_protocol(&world, NULL, three, 0, -ENOPROTOOPT, NULL);
    world_destroy(&world);
    return 0;
}

Test(tls_context, the_ends_agree_on_a_protocol_or_on_none)
{
    on_fibers_counting_fds(1, protocols, NULL);
}

/* ---- versions ------------------------------------------------------------------------------- */

static void expect_version(struct world *world, enum weft_tls_version least,
                           enum weft_tls_version most, const char *version)
{
    struct ends ends;
    struct weft_tls_info info;
    world->client_options.min_version = least;
    world->client_options.max_version = most;
    world_open(world);
    ends_open(&ends, world, "good.test");
    EXPECT_EQ(ends.client_result, version ? 0 : -ECONNABORTED);
    EXPECT_EQ(ends.server_result, version ? 0 : -EPROTO);
    if (version) {
        EXPECT_EQ(weft_tls_info(ends.client, &info), 0);
        EXPECT_EQ(strcmp(info.version, version), 0);
        EXPECT(strlen(info.cipher) > 5);
        EXPECT_EQ(weft_tls_info(ends.server, &info), 0);
        EXPECT_EQ(strcmp(info.version, version), 0);
    } else {
        EXPECT_EQ(weft_tls_info(ends.client, &info), -ENOTCONN);
        EXPECT(strstr(weft_tls_error(ends.client), "protocol version") != NULL);
    }
    ends_close(&ends);
    world_close(world);
}

static int versions(void *arg)
{
    struct world world;
    (void)arg;
    world_init(&world);
    expect_version(&world, WEFT_TLS_VERSION_DEFAULT, WEFT_TLS_VERSION_DEFAULT, "TLSv1.3");
    expect_version(&world, WEFT_TLS_1_2, WEFT_TLS_1_2, "TLSv1.2");
    expect_version(&world, WEFT_TLS_1_3, WEFT_TLS_1_3, "TLSv1.3");
    world.client_options.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
    expect_version(&world, WEFT_TLS_1_2, WEFT_TLS_1_2, "TLSv1.2");
    world.server_options.min_version = WEFT_TLS_1_3;
    expect_version(&world, WEFT_TLS_1_2, WEFT_TLS_1_2, NULL);
    world_destroy(&world);
    return 0;
}

Test(tls_context, both_versions_work_and_the_newest_is_preferred)
{
    on_fibers_counting_fds(1, versions, NULL);
}

/* ---- reloading ------------------------------------------------------------------------------ */

static int reload(void *arg)
{
    struct world world;
    struct ends before, after;
    struct folder folder = folder_make();
    struct weft_tls_peer peer;
    struct weft_tls_why why;
    char buffer[8];
    (void)arg;
    world_init(&world);
    struct identity fresh = identity_make(
        &(struct identity_options){.name = "fresh", .names = "DNS:good.test"}, &world.authority);
    world.certificate = (struct weft_tls_certificate){
        .chain_file = folder_write(&folder, "chain.pem", world.server.chain_pem),
        .key_file = folder_write(&folder, "key.pem", world.server.key_pem)};
    world_open(&world);
    ends_open_well(&before, &world);

    folder_write(&folder, "chain.pem", fresh.chain_pem); /* its key is not there yet */
    EXPECT_EQ(weft_tls_context_reload(world.server_context, &why), -EKEYREJECTED);
    EXPECT(strstr(why.text, "key.pem: ") != NULL);
    expect_subject(&world, "good.test", "CN=server");
    folder_write(&folder, "key.pem", fresh.key_pem);
    EXPECT_EQ(weft_tls_context_reload(world.server_context, NULL), 0);
    ends_open_well(&after, &world);
    EXPECT_EQ(weft_tls_peer(after.client, &peer), 0);
    EXPECT_EQ(strcmp(peer.subject, "CN=fresh"), 0);

    EXPECT_EQ(weft_write(before.server, "still", 5, NULL), 0);
    EXPECT_EQ(weft_read(before.client, buffer, sizeof(buffer)), 5);
    EXPECT_EQ(weft_tls_peer(before.client, &peer), 0);
    EXPECT_EQ(strcmp(peer.subject, "CN=server"), 0);
    world_close(&world); /* streams have references of their own */
    EXPECT_EQ(weft_write(after.client, "here", 4, NULL), 0);
    EXPECT_EQ(weft_read(after.server, buffer, sizeof(buffer)), 4);
    ends_close(&before);
    ends_close(&after);
    identity_destroy(&fresh);
    folder_remove(&folder, (const char *const[]){"chain.pem", "key.pem", NULL});
    world_destroy(&world);
    return 0;
}

Test(tls_context, a_reload_changes_later_connections_and_leaves_the_others_alone)
{
    on_fibers_counting_fds(1, reload, NULL);
}

/* Handshakes on one side, reloads on the other. */
struct storm {
    const struct world *world;
    atomic_bool over;
};

static int reload_on_and_on(void *arg)
{
    struct storm *storm = arg;
    while (!atomic_load(&storm->over)) {
        EXPECT_EQ(weft_tls_context_reload(storm->world->server_context, NULL), 0);
        EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

static int reload_storm(void *arg)
{
    struct world world;
    struct storm storm = {.world = &world};
    struct weft_group group;
    struct ends ends;
    (void)arg;
    world_init(&world);
    world_open(&world);
    weft_group_init(&group);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_group_spawn(&group, "reload", reload_on_and_on, &storm), 0);
    for (int i = 0; i < 20; i++) {
        ends_open_well(&ends, &world);
        ends_close(&ends);
    }
    atomic_store(&storm.over, true);
    EXPECT_EQ(weft_group_join(&group), 0);
    world_destroy(&world);
    return 0;
}

Test(tls_context, reloads_race_with_handshakes)
{
    on_fibers_counting_fds(2, reload_storm, NULL);
}
