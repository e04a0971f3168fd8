/* SPDX-License-Identifier: MIT */
/* Who is believed, and what is said of those who are not. */
#include "support/test.h"

#include "tls_support.h"

/* A connection with the world as it is; then everything is released. */
static void expect_handshake(struct world *world, const char *hostname, int client, int server,
                             const char *text)
{
    struct ends ends;
    world_open(world);
    ends_open(&ends, world, hostname);
    EXPECT_EQ(ends.client_result, client);
    EXPECT_EQ(ends.server_result, server);
    const char *why = weft_tls_error(client < 0 ? ends.client : ends.server);
    if (text && !strstr(why, text))
        fprintf(stderr, "expected \"%s\" in: %s\n", text, why);
    EXPECT(!text || strstr(why, text) != NULL);
    EXPECT_EQ(why[0] == '\0', client == 0 && server == 0);
    ends_close(&ends);
    world_close(world);
}

static int good(void *arg)
{
    struct world world;
    (void)arg;
    world_init(&world);
    expect_handshake(&world, "good.test", 0, 0, NULL);
    expect_handshake(&world, "GOOD.test", 0, 0, NULL);
    expect_handshake(&world, "127.0.0.1", 0, 0, NULL);
    world_destroy(&world);
    return 0;
}

Test(tls_verify, a_server_with_a_good_certificate_is_believed)
{
    on_fibers_counting_fds(1, good, NULL);
    on_fibers_counting_fds(2, good, NULL);
}

static int wrong_host(void *arg)
{
    struct world world;
    (void)arg;
    world_init(&world);
    expect_handshake(&world, "evil.test", -EKEYREJECTED, -ECONNABORTED,
                     "for good.test, 127.0.0.1, not for evil.test");
    expect_handshake(&world, "127.0.0.2", -EKEYREJECTED, -ECONNABORTED, "not for 127.0.0.2");
    expect_handshake(&world, "::1", -EKEYREJECTED, -ECONNABORTED, "not for ::1");
    expect_handshake(&world, "a.good.test", -EKEYREJECTED, -ECONNABORTED, "not for a.good.test");
    expect_handshake(&world, "server", -EKEYREJECTED, -ECONNABORTED, "not for server");
    world_destroy(&world);
    return 0;
}

Test(tls_verify, a_certificate_for_another_name_is_refused)
{
    on_fibers_counting_fds(1, wrong_host, NULL);
}

static void expect_refused(struct world *world, const struct identity_options *options,
                           const struct identity *issuer, const char *text)
{
    struct identity identity = identity_make(options, issuer);
    world_serve(world, &identity);
    expect_handshake(world, "good.test", -EKEYREJECTED, -ECONNABORTED, text);
    identity_destroy(&identity);
}

static int bad_certificates(void *arg)
{
    struct world world;
    (void)arg;
    world_init(&world);
    struct identity_options options = {.name = "x", .names = "DNS:good.test"};
    expect_refused(&world, &options, NULL, "self-signed certificate: CN=x");
    options.from_day = -20;
    options.to_day = -10;
    expect_refused(&world, &options, &world.authority, "certificate has expired (2");
    options.from_day = 10;
    options.to_day = 20;
    expect_refused(&world, &options, &world.authority, "certificate is not yet valid (2");
    struct identity stranger =
        identity_make(&(struct identity_options){.name = "Stranger", .authority = true}, NULL);
    options = (struct identity_options){.name = "x", .names = "DNS:good.test"};
    expect_refused(&world, &options, &stranger, "unable to get local issuer certificate: CN=x");
    identity_destroy(&stranger);
    /* A certificate that is no authority's signs another. */
    expect_refused(&world, &options, &world.server, "");
    world_destroy(&world);
    return 0;
}

Test(tls_verify, expired_and_self_signed_and_the_like_are_refused_and_it_says_why)
{
    on_fibers_counting_fds(1, bad_certificates, NULL);
}

static int system_store(void *arg)
{
    struct world world;
    (void)arg;
    world_init(&world);
    world.client_options = (struct weft_tls_options){0};
    expect_handshake(&world, "good.test", -EKEYREJECTED, -ECONNABORTED,
                     "unable to get local issuer certificate");
    struct folder folder = folder_make();
    setenv("SSL_CERT_FILE", folder_write(&folder, "ca.pem", world.authority.chain_pem), 1);
    expect_handshake(&world, "good.test", 0, 0, NULL);
    unsetenv("SSL_CERT_FILE");
    folder_remove(&folder, (const char *const[]){"ca.pem", NULL});
    world_destroy(&world);
    return 0;
}

Test(tls_verify, without_a_ca_the_systems_store_decides)
{
    on_fibers_counting_fds(1, system_store, NULL);
}

static int sources_of_trust(void *arg)
{
    struct world world;
    struct folder folder = folder_make();
    char name[32];
    (void)arg;
    world_init(&world);
    world.client_options.ca_pem = NULL;
    world.client_options.ca_file = folder_write(&folder, "ca.pem", world.authority.chain_pem);
    expect_handshake(&world, "good.test", 0, 0, NULL);
    world.client_options.ca_file = NULL;
    world.client_options.ca_directory = folder.path;
    snprintf(
        name, sizeof(name), "%08lx.0",
        X509_NAME_hash_ex(X509_get_subject_name(world.authority.certificate), NULL, NULL, NULL));
    expect_handshake(&world, "good.test", -EKEYREJECTED, -ECONNABORTED, "issuer");
    folder_write(&folder, name, world.authority.chain_pem);
    expect_handshake(&world, "good.test", 0, 0, NULL);
    folder_remove(&folder, (const char *const[]){"ca.pem", name, NULL});
    world_destroy(&world);
    return 0;
}

Test(tls_verify, authorities_come_from_a_file_or_a_directory)
{
    on_fibers_counting_fds(1, sources_of_trust, NULL);
}

static int revoked(void *arg)
{
    struct world world;
    struct folder folder = folder_make();
    (void)arg;
    world_init(&world);
    char *others = revocation_pem(&world.authority, 77),
         *ours = revocation_pem(&world.authority, 1);
    world.client_options.crl_file = folder_write(&folder, "crl.pem", others);
    expect_handshake(&world, "good.test", 0, 0, NULL);
    folder_write(&folder, "crl.pem", ours);
    expect_handshake(&world, "good.test", -EKEYREJECTED, -ECONNABORTED, "certificate revoked");
    free(others);
    free(ours);
    folder_remove(&folder, (const char *const[]){"crl.pem", NULL});
    world_destroy(&world);
    return 0;
}

Test(tls_verify, a_revoked_certificate_is_refused)
{
    on_fibers_counting_fds(1, revoked, NULL);
}

static int insecure(void *arg)
{
    struct world world;
    struct ends ends;
    struct weft_tls_info info;
    (void)arg;
    world_init(&world);
    world.client_options = (struct weft_tls_options){.insecure_believe_any_server = true};
    expect_handshake(&world, "evil.test", 0, 0, NULL);
    world_open(&world);
    ends_open(&ends, &world, NULL);
    EXPECT_EQ(ends.client_result, 0);
    EXPECT_EQ(weft_tls_info(ends.client, &info), 0);
    EXPECT(!info.peer_verified);
    EXPECT(info.server_name == NULL);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_verify, only_who_asks_for_it_believes_any_server)
{
    on_fibers_counting_fds(1, insecure, NULL);
}

/* ---- clients with certificates -------------------------------------------------------------- */

static void expect_client(struct world *world, const struct identity *client, int server,
                          const char *text)
{
    struct weft_tls_certificate certificate = {0};
    if (client) {
        certificate.chain_pem = client->chain_pem;
        certificate.key_pem = client->key_pem;
    }
    world->client_options.certificates = client ? &certificate : NULL;
    world->client_options.certificate_count = client ? 1 : 0;
    expect_handshake(world, "good.test", 0, server, text);
}

static int client_certificates(void *arg)
{
    struct world world;
    (void)arg;
    world_init(&world);
    struct identity known =
        identity_make(&(struct identity_options){.name = "client"}, &world.authority);
    struct identity stranger = identity_make(&(struct identity_options){.name = "stranger"}, NULL);
    world.server_options.ca_pem = world.authority.chain_pem;
    world.server_options.client_auth = WEFT_TLS_AUTH_REQUIRED;
    expect_client(&world, &known, 0, NULL);
    expect_client(&world, NULL, -EKEYREJECTED, "did not return a certificate");
    expect_client(&world, &stranger, -EKEYREJECTED, "self-signed certificate: CN=stranger");
    world.server_options.client_auth = WEFT_TLS_AUTH_OPTIONAL;
    expect_client(&world, &known, 0, NULL);
    expect_client(&world, NULL, 0, NULL);
    expect_client(&world, &stranger, -EKEYREJECTED, "self-signed certificate: CN=stranger");
    identity_destroy(&known);
    identity_destroy(&stranger);
    world_destroy(&world);
    return 0;
}

Test(tls_verify, a_server_may_want_its_clients_certificates)
{
    on_fibers_counting_fds(1, client_certificates, NULL);
}

/* In TLS 1.3 the client is done before the server has looked; in 1.2 it is not. */
static int refused_client(void *arg)
{
    struct world world;
    struct ends ends;
    char byte;
    (void)arg;
    world_init(&world);
    world.server_options.ca_pem = world.authority.chain_pem;
    world.server_options.client_auth = WEFT_TLS_AUTH_REQUIRED;
    world_open(&world);
    ends_open(&ends, &world, "good.test");
    EXPECT_EQ(ends.client_result, 0);
    EXPECT_EQ(weft_read(ends.client, &byte, 1), -ECONNABORTED);
    EXPECT(strstr(weft_tls_error(ends.client), "the peer refused: ") != NULL);
    EXPECT(strstr(weft_tls_error(ends.client), "certificate required") != NULL);
    ends_close(&ends);
    world_close(&world);
    world.server_options.max_version = WEFT_TLS_1_2;
    world_open(&world);
    ends_open(&ends, &world, "good.test");
    EXPECT_EQ(ends.client_result, -ECONNABORTED);
    EXPECT_EQ(ends.server_result, -EKEYREJECTED);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_verify, a_refused_client_learns_it_at_its_first_read)
{
    on_fibers_counting_fds(1, refused_client, NULL);
}

static int peer_text(void *arg)
{
    struct world world;
    struct ends ends;
    struct weft_tls_peer peer;
    struct weft_tls_info info;
    unsigned char digest[32];
    (void)arg;
    world_init(&world);
    world_open(&world);
    ends_open_well(&ends, &world);
    EXPECT_EQ(weft_tls_peer(ends.client, &peer), 0);
    EXPECT_EQ(strcmp(peer.subject, "CN=server"), 0);
    EXPECT_EQ(strcmp(peer.issuer, "CN=Test CA"), 0);
    EXPECT_EQ(strcmp(peer.names, "good.test, 127.0.0.1"), 0);
    EXPECT_EQ(peer.not_after_s - peer.not_before_s, 366 * 86400);
    EXPECT_EQ(X509_digest(world.server.certificate, EVP_sha256(), digest, NULL), 1);
    EXPECT_EQ(memcmp(digest, peer.sha256, sizeof(digest)), 0);
    EXPECT_EQ(weft_tls_info(ends.client, &info), 0);
    EXPECT(info.peer_verified);
    EXPECT_EQ(weft_tls_peer(ends.server, &peer), -ENODATA);
    EXPECT_EQ(weft_tls_info(ends.server, &info), 0);
    EXPECT(!info.peer_verified);
    EXPECT_EQ(strcmp(info.server_name, "good.test"), 0);
    ends_close(&ends);
    world_destroy(&world);
    return 0;
}

Test(tls_verify, the_peers_certificate_can_be_read)
{
    on_fibers_counting_fds(1, peer_text, NULL);
}
