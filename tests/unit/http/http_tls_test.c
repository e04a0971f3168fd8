/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/web.h"
#include "unit/tls/certificates.h"
#include "weft/tls.h"

/* The certificates of a test, and the files in which libcurl wants them. */
struct trust {
    struct folder folder;
    struct identity authority, server, client;
    char ca_file[128], certificate_file[128], key_file[128], locked_file[128];
};

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    EXPECT(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void trust_init(struct trust *trust, const struct identity_options *server)
{
    trust->folder = folder_make();
    trust->authority =
        identity_make(&(struct identity_options){.name = "Test CA", .authority = true}, NULL);
    trust->server = identity_make(server, &trust->authority);
    trust->client =
        identity_make(&(struct identity_options){.name = "a client"}, &trust->authority);
    snprintf(trust->ca_file, 128, "%s/ca.pem", trust->folder.path);
    snprintf(trust->certificate_file, 128, "%s/client.pem", trust->folder.path);
    snprintf(trust->key_file, 128, "%s/key.pem", trust->folder.path);
    snprintf(trust->locked_file, 128, "%s/locked.pem", trust->folder.path);
    write_text(trust->ca_file, trust->authority.chain_pem);
    write_text(trust->certificate_file, trust->client.chain_pem);
    write_text(trust->key_file, trust->client.key_pem);
    char *locked = encrypted_key(&trust->client, "open sesame");
    write_text(trust->locked_file, locked);
    free(locked);
}

static void trust_destroy(struct trust *trust)
{
    unlink(trust->ca_file);
    unlink(trust->certificate_file);
    unlink(trust->key_file);
    unlink(trust->locked_file);
    EXPECT_EQ(rmdir(trust->folder.path), 0);
    identity_destroy(&trust->authority);
    identity_destroy(&trust->server);
    identity_destroy(&trust->client);
}

/* ---- a server over TLS ------------------------------------------------------------------ */

struct secure_case {
    struct trust *trust;
    enum weft_tls_client_auth client_auth;
    const struct weft_http_session_options *options;
    void (*fn)(struct web *web);
};

static int secure(struct weft_stream *stream, void *context)
{
    return weft_tls_server(stream, context, soon());
}

static struct weft_tls_context *server_context(const struct secure_case *test)
{
    struct weft_tls_certificate certificate = {.chain_pem = test->trust->server.chain_pem,
                                               .key_pem = test->trust->server.key_pem};
    struct weft_tls_options options = {
        .certificates = &certificate, .certificate_count = 1, .client_auth = test->client_auth};
    struct weft_tls_context *context;
    if (test->client_auth != WEFT_TLS_AUTH_NONE)
        options.ca_pem = test->trust->authority.chain_pem;
    EXPECT_EQ(weft_tls_context_new(WEFT_TLS_SERVER, &options, NULL, &context), 0);
    return context;
}

static int secure_main(void *arg)
{
    const struct secure_case *test = arg;
    struct weft_tls_context *context = server_context(test);
    struct web web;
    http_server_start(&web.server);
    web.server.secure_arg = context;
    web.server.secure = secure;
    EXPECT_EQ(weft_http_session_new(test->options, &web.session), 0);
    test->fn(&web);
    weft_http_session_free(web.session);
    http_server_stop(&web.server);
    weft_tls_context_unref(context);
    return 0;
}

static void on_secure_web(const struct secure_case *test)
{
    on_fibers_counting_fds(2, secure_main, (void *)(uintptr_t)test);
}

/* The URL of a path there, over TLS, by this name. */
static const char *secure_url(struct web *web, const char *host, const char *path)
{
    snprintf(web->server.url, sizeof(web->server.url), "https://%s:%u%s", host, web->server.port,
             path);
    return web->server.url;
}

static const struct identity_options good = {.name = "server",
                                             .names = "DNS:localhost, IP:127.0.0.1"};

/* ---- whom we believe -------------------------------------------------------------------- */

static void works(struct web *web)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (int i = 0; i < 6; i++) {
        struct weft_http_info info;
        struct weft_http_response *response = web_send(
            web, &(struct weft_http_request){.url = secure_url(web, hosts[i % 2], "/mirror"),
                                             .body = weft_http_bytes("over TLS", 8, NULL)});
        char *text = web_text(response);
        EXPECT(strcmp(text, "over TLS") == 0);
        free(text);
        weft_http_response_info(response, &info);
        EXPECT(info.reused == (i > 1) && (info.reused || info.secured_ns > info.connected_ns));
        weft_http_response_free(response);
    }
    struct weft_http_response *large = web_send(
        web, &(struct weft_http_request){.url = secure_url(web, "localhost", "/bytes/3000000")});
    EXPECT_EQ(web_read_pattern(large, 3000000), 0);
    weft_http_response_free(large);
}

Test(http_tls, a_server_that_our_authority_vouches_for_is_believed)
{
    struct trust trust;
    trust_init(&trust, &good);
    struct weft_http_session_options options = {.ca_file = trust.ca_file};
    on_secure_web(&(struct secure_case){.trust = &trust, .options = &options, .fn = works});
    trust_destroy(&trust);
}

static void refused(struct web *web)
{
    web_fails(web, &(struct weft_http_request){.url = secure_url(web, "127.0.0.1", "/echo")},
              -EKEYREJECTED, "127.0.0.1");
    EXPECT_EQ(atomic_load(&web->server.requests), 0);
}

static void expect_refused(const struct identity_options *server, bool own_authority)
{
    struct trust trust;
    trust_init(&trust, server);
    struct weft_http_session_options options = {.ca_file = own_authority ? trust.ca_file : NULL};
    on_secure_web(&(struct secure_case){.trust = &trust, .options = &options, .fn = refused});
    trust_destroy(&trust);
}

Test(http_tls, a_server_that_the_systems_authorities_do_not_know_is_refused)
{
    expect_refused(&good, false);
}

Test(http_tls, an_expired_certificate_is_refused)
{
    expect_refused(
        &(struct identity_options){
            .name = "server", .names = "IP:127.0.0.1", .from_day = -10, .to_day = -1},
        true);
}

Test(http_tls, a_certificate_for_another_host_is_refused)
{
    expect_refused(
        &(struct identity_options){.name = "127.0.0.1", .names = "DNS:other.test, IP:127.0.0.2"},
        true);
}

Test(http_tls, a_self_signed_certificate_is_refused)
{
    struct trust trust;
    trust_init(&trust, &good);
    identity_destroy(&trust.server);
    trust.server = identity_make(&good, NULL);
    struct weft_http_session_options options = {.ca_file = trust.ca_file};
    on_secure_web(&(struct secure_case){.trust = &trust, .options = &options, .fn = refused});
    trust_destroy(&trust);
}

static void works_once(struct web *web)
{
    free(web_fetch(web, &(struct weft_http_request){.url = secure_url(web, "127.0.0.1", "/echo")}));
}

Test(http_tls, any_server_is_believed_when_that_is_asked_for)
{
    struct trust trust;
    trust_init(&trust, &(struct identity_options){.name = "x", .from_day = -10, .to_day = -1});
    struct weft_http_session_options options = {.insecure_believe_any_server = true};
    on_secure_web(&(struct secure_case){.trust = &trust, .options = &options, .fn = works_once});
    trust_destroy(&trust);
}

/* ---- who we are ------------------------------------------------------------------------- */

static void without_certificate(struct web *web)
{
    struct weft_http_response *response;
    int r = weft_http_get(web->session, secure_url(web, "127.0.0.1", "/echo"), &response);
    EXPECT(r == -ECONNABORTED || r == -ECONNRESET || r == -EPIPE); /* the alert may be lost */
    EXPECT_EQ(atomic_load(&web->server.requests), 0);
}

Test(http_tls, a_client_certificate_is_shown_to_a_server_that_wants_one)
{
    struct trust trust;
    trust_init(&trust, &good);
    struct weft_http_session_options options = {.ca_file = trust.ca_file};
    struct secure_case test = {.trust = &trust,
                               .client_auth = WEFT_TLS_AUTH_REQUIRED,
                               .options = &options,
                               .fn = without_certificate};
    on_secure_web(&test);
    options.certificate_file = trust.certificate_file;
    options.key_file = trust.key_file;
    test.fn = works_once;
    on_secure_web(&test);
    options.key_file = trust.locked_file;
    options.key_password = "open sesame";
    on_secure_web(&test);
    trust_destroy(&trust);
}

static void no_key(struct web *web)
{
    web_fails(web, &(struct weft_http_request){.url = secure_url(web, "127.0.0.1", "/echo")},
              -ENOKEY, "");
}

Test(http_tls, files_that_are_of_no_use_are_said_to_be)
{
    struct trust trust;
    trust_init(&trust, &good);
    struct weft_http_session_options wrong[] = {
        {.ca_file = "/nonexistent/ca.pem"},
        {.ca_file = "/dev/null"},
        {.ca_file = trust.ca_file, .certificate_file = "/nonexistent/client.pem"},
        {.ca_file = trust.ca_file, .certificate_file = trust.certificate_file},
        {.ca_file = trust.ca_file,
         .certificate_file = trust.certificate_file,
         .key_file = trust.locked_file,
         .key_password = "wrong"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        on_secure_web(&(struct secure_case){.trust = &trust, .options = &wrong[i], .fn = no_key});
    trust_destroy(&trust);
}

/* ---- servers that are not what they seem ------------------------------------------------ */

static void not_tls(struct web *web)
{
    web_fails(web, &(struct weft_http_request){.url = secure_url(web, "127.0.0.1", "/echo")},
              -EPROTO, "127.0.0.1");
    web_works(web);
}

Test(http_tls, a_server_that_speaks_no_tls_is_a_protocol_error)
{
    struct weft_http_session_options options = {0};
    on_web(&options, not_tls);
}

/* It accepts, and says nothing. */
static int silent_body(void *arg)
{
    struct weft_http_session *session;
    struct weft_http_response *response;
    struct weft_listener *listener;
    struct weft_scope scope;
    char url[64];
    (void)arg;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", weft_listener_port(listener));
    EXPECT_EQ(weft_http_session_new(NULL, &session), 0);
    struct weft_http_why why;
    struct weft_http_request request = {
        .url = url, .connect_ns = 30 * WEFT_MILLISECOND, .why = &why};
    EXPECT_EQ(weft_http_send(session, &request, &response), -ETIMEDOUT);
    EXPECT(strstr(why.text, "127.0.0.1"));
    weft_scope_enter(&scope, weft_deadline_after(30 * WEFT_MILLISECOND));
    EXPECT_EQ(weft_http_get(session, url, &response), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_http_session_free(session);
    weft_listener_free(listener);
    return 0;
}

Test(http_tls, a_handshake_that_is_never_answered_ends_by_a_timeout_or_a_cancel)
{
    on_fibers_counting_fds(2, silent_body, NULL);
}

/* A write to a connection that the peer has reset must not raise SIGPIPE. */
static void reset_under_way(struct web *web)
{
    enum { SIZE = 20000000 };
    char *data = calloc(1, SIZE);
    for (int i = 0; i < 3; i++) {
        struct weft_http_response *response;
        struct weft_http_request request = {.url = secure_url(web, "127.0.0.1", "/reset"),
                                            .body = weft_http_bytes(data, SIZE, NULL)};
        int r = weft_http_send(web->session, &request, &response);
        EXPECT(r == -ECONNRESET || r == -EPIPE);
    }
    free(data);
}

Test(http_tls, a_reset_while_sending_is_an_error_and_no_signal)
{
    struct trust trust;
    trust_init(&trust, &good);
    struct weft_http_session_options options = {.ca_file = trust.ca_file};
    on_secure_web(
        &(struct secure_case){.trust = &trust, .options = &options, .fn = reset_under_way});
    trust_destroy(&trust);
}
