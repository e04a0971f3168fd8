/* SPDX-License-Identifier: MIT */
/*
 * Reading certificates, keys and trust into OpenSSL's contexts.
 *
 *   I1  OpenSSL never asks on the terminal: a password comes from the options, or there is none.
 *   I2  Each failure is told by an errno and a text that begins with the file's name.
 *   I3  A certificate of several is one SSL_CTX; only its certificate is used of it
 *       (SSL_set_SSL_CTX), versions, trust and protocols are the first one's.
 *
 * Runs on a plain thread (weft_offload) and blocks there; the callbacks for names and protocols run
 * in handshakes, on fibers, and neither block nor suspend.
 */
#include "io/tls/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/sys.h"

struct load {
    const struct settings *settings;
    struct weft_tls_why *why;
};

/* ---- failures --------------------------------------------------------------------------- */

static int errno_of_load(unsigned long error)
{
    int library = ERR_GET_LIB(error), reason = ERR_GET_REASON(error);
    if (ERR_SYSTEM_ERROR(error))
        return -reason;
    if (reason == ERR_R_MALLOC_FAILURE)
        return -ENOMEM;
    if (library == ERR_LIB_X509 &&
        (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH))
        return -EKEYREJECTED;
    return -EBADMSG;
}

static const char *source_name(const char *file)
{
    return file ? file : "(memory)";
}

/* Say what OpenSSL complained of first: that is the cause. */
static int load_failed(const struct load *load, const char *what)
{
    unsigned long error = ERR_peek_error();
    const char *reason = ERR_SYSTEM_ERROR(error) ? strerrordesc_np(ERR_GET_REASON(error))
                                                 : ERR_reason_error_string(error);
    int r = error ? errno_of_load(error) : -EBADMSG;
    snprintf(load->why->text, sizeof(load->why->text), "%s: %s", what,
             reason ? reason : "not what it should be");
    ERR_clear_error();
    return r;
}

static int load_failed_as(const struct load *load, int error, const char *what, const char *why)
{
    snprintf(load->why->text, sizeof(load->why->text), "%s: %s", what, why);
    ERR_clear_error();
    return error;
}

static int copy_file(int fd, BIO *to)
{
    char buffer[4096];
    ssize_t n;
    while ((n = sys_read(fd, buffer, sizeof(buffer))) > 0)
        if (BIO_write(to, buffer, (int)n) != n)
            return -ENOMEM;
    return (int)n;
}

/* Not by OpenSSL's own file BIO: what goes wrong in it is told too late, and as something else. */
static int read_file(const char *file, BIO *to)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = copy_file(fd, to);
    close(fd);
    return r;
}

static int open_source(const struct load *load, const char *file, const char *pem, BIO **ret_bio)
{
    BIO *bio = file ? BIO_new(BIO_s_mem()) : BIO_new_mem_buf(pem, -1);
    if (!bio)
        return -ENOMEM;
    int r = file ? read_file(file, bio) : 0;
    if (r < 0) {
        BIO_free(bio);
        return load_failed_as(load, r, file, strerrordesc_np(-r));
    }
    *ret_bio = bio;
    return 0;
}

/* PEM_read ends with "no start line" at the end of a file. */
static bool at_end_of_pem(void)
{
    unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
        return false;
    ERR_clear_error();
    return true;
}

/* ---- who we are ------------------------------------------------------------------------- */

/* What a key's password callback is given. */
struct password {
    const char *text; /* NULL: none */
    bool asked;
};

/* I1 */
static int give_password(char *buffer, int size, int writing, void *arg)
{
    struct password *password = arg;
    (void)writing;
    if (!password)
        return -1;
    password->asked = true;
    size_t length = password->text ? strlen(password->text) : 0;
    if (length == 0 || length > (size_t)size)
        return -1;
    memcpy(buffer, password->text, length);
    return (int)length;
}

static bool read_chain(BIO *bio, SSL_CTX *context)
{
    X509 *leaf = PEM_read_bio_X509_AUX(bio, NULL, give_password, NULL);
    bool ok = leaf && SSL_CTX_use_certificate(context, leaf) == 1;
    X509_free(leaf);
    while (ok) {
        X509 *next = PEM_read_bio_X509(bio, NULL, give_password, NULL);
        if (!next)
            return at_end_of_pem();
        ok = SSL_CTX_add0_chain_cert(context, next) == 1;
        if (!ok)
            X509_free(next);
    }
    return false;
}

static int load_key(const struct load *load, const char *file, const char *pem,
                    const char *password_text, SSL_CTX *context)
{
    struct password password = {.text = password_text};
    BIO *bio = NULL;
    int r = open_source(load, file, pem, &bio);
    if (r < 0)
        return r;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, &password);
    BIO_free(bio);
    if (!key && password.asked)
        return load_failed_as(load, -EKEYREJECTED, source_name(file),
                              password_text ? "not the key's password" : "needs a password");
    if (!key)
        return load_failed_as(load, -EBADMSG, source_name(file), "no private key");
    bool ok = SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    return ok ? 0 : load_failed(load, source_name(file));
}

static int load_chain(const struct load *load, const char *file, const char *pem, SSL_CTX *context)
{
    BIO *bio = NULL;
    int r = open_source(load, file, pem, &bio);
    if (r < 0)
        return r;
    if (!read_chain(bio, context))
        r = load_failed(load, source_name(file));
    BIO_free(bio);
    return r;
}

static int load_identity(const struct load *load, const struct weft_tls_certificate *certificate,
                         SSL_CTX *context)
{
    int r = load_chain(load, certificate->chain_file, certificate->chain_pem, context);
    if (r < 0)
        return r;
    bool own_key = certificate->key_file || certificate->key_pem;
    return load_key(load, own_key ? certificate->key_file : certificate->chain_file,
                    own_key ? certificate->key_pem : certificate->chain_pem,
                    certificate->key_password, context);
}

/* ---- whom we trust ---------------------------------------------------------------------- */

/* A server also tells its clients the names of the CAs that it takes certificates of. */
static bool read_authorities(BIO *bio, SSL_CTX *context)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    for (unsigned count = 0;; count++) {
        X509 *authority = PEM_read_bio_X509_AUX(bio, NULL, give_password, NULL);
        if (!authority)
            return count > 0 && at_end_of_pem();
        bool ok = X509_STORE_add_cert(store, authority) == 1 &&
                  SSL_CTX_add_client_CA(context, authority) == 1;
        X509_free(authority);
        if (!ok)
            return false;
    }
}

static int load_authorities(const struct load *load, const char *file, const char *pem,
                            SSL_CTX *context)
{
    BIO *bio = NULL;
    int r = open_source(load, file, pem, &bio);
    if (r < 0)
        return r;
    if (!read_authorities(bio, context))
        r = load_failed(load, source_name(file));
    BIO_free(bio);
    return r;
}

static int load_revocations(const struct load *load, const char *file, SSL_CTX *context)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (!lookup || X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) < 1 ||
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1)
        return load_failed(load, file);
    return 0;
}

static int load_trust(const struct load *load, SSL_CTX *context)
{
    const struct weft_tls_options *options = &load->settings->options;
    bool client = load->settings->role == WEFT_TLS_CLIENT;
    int r = 0;
    if (options->ca_file)
        r = load_authorities(load, options->ca_file, NULL, context);
    if (r == 0 && options->ca_pem)
        r = load_authorities(load, NULL, options->ca_pem, context);
    if (r == 0 && options->ca_directory &&
        SSL_CTX_load_verify_dir(context, options->ca_directory) != 1)
        r = load_failed(load, options->ca_directory);
    if (r == 0 && client && !settings_have_ca(options) && !options->insecure_believe_any_server &&
        SSL_CTX_set_default_verify_paths(context) != 1)
        r = load_failed(load, "the system's certificates");
    if (r == 0 && options->crl_file)
        r = load_revocations(load, options->crl_file, context);
    return r;
}

/* ---- names and protocols, in a server's handshake ---------------------------------------- */

static SSL_CTX *context_for_name(const struct tls_bundle *bundle, const char *name)
{
    for (size_t i = 0; i < bundle->count; i++) {
        X509 *leaf = SSL_CTX_get0_certificate(bundle->contexts[i]);
        if (leaf && X509_check_host(leaf, name, 0, 0, NULL) == 1)
            return bundle->contexts[i];
    }
    return NULL;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct tls_bundle *bundle = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_CTX *context = context_for_name(bundle, name);
    if (context)
        return SSL_set_SSL_CTX(ssl, context) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
    if (!bundle->refuse_unknown_names)
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int choose_protocol(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_length,
                           const unsigned char *offered, unsigned offered_size, void *arg)
{
    const struct tls_bundle *bundle = arg;
    unsigned char *name;
    (void)ssl;
    int r = SSL_select_next_proto(&name, ret_length, bundle->alpn, (unsigned)bundle->alpn_size,
                                  offered, offered_size);
    if (r != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret_name = name;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- a context -------------------------------------------------------------------------- */

static int protocol_number(enum weft_tls_version version, int otherwise)
{
    switch (version) {
    case WEFT_TLS_1_2:
        return TLS1_2_VERSION;
    case WEFT_TLS_1_3:
        return TLS1_3_VERSION;
    case WEFT_TLS_VERSION_DEFAULT:
        break;
    }
    return otherwise;
}

static int verify_mode(const struct settings *settings)
{
    const struct weft_tls_options *options = &settings->options;
    if (settings->role == WEFT_TLS_CLIENT)
        return options->insecure_believe_any_server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    switch (options->client_auth) {
    case WEFT_TLS_AUTH_REQUIRED:
        return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    case WEFT_TLS_AUTH_OPTIONAL:
        return SSL_VERIFY_PEER;
    case WEFT_TLS_AUTH_NONE:
        break;
    }
    return SSL_VERIFY_NONE;
}

static int set_rules(const struct load *load, SSL_CTX *context)
{
    const struct weft_tls_options *options = &load->settings->options;
    static const unsigned char session_id[] = "weft";
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_verify(context, verify_mode(load->settings), NULL);
    if (SSL_CTX_set_session_id_context(context, session_id, sizeof(session_id)) != 1 ||
        SSL_CTX_set_min_proto_version(context,
                                      protocol_number(options->min_version, TLS1_2_VERSION)) != 1 ||
        SSL_CTX_set_max_proto_version(context, protocol_number(options->max_version, 0)) != 1)
        return load_failed(load, "versions");
    if (options->ciphers && SSL_CTX_set_cipher_list(context, options->ciphers) != 1) {
        load_failed(load, "ciphers");
        return -EINVAL;
    }
    return 0;
}

static int set_protocols(const struct load *load, struct tls_bundle *bundle, SSL_CTX *context)
{
    if (load->settings->role == WEFT_TLS_SERVER) {
        SSL_CTX_set_tlsext_servername_callback(context, choose_certificate);
        SSL_CTX_set_tlsext_servername_arg(context, bundle);
        if (bundle->alpn)
            SSL_CTX_set_alpn_select_cb(context, choose_protocol, bundle);
        return 0;
    }
    if (bundle->alpn &&
        SSL_CTX_set_alpn_protos(context, bundle->alpn, (unsigned)bundle->alpn_size) != 0)
        return -ENOMEM; /* 0 is success here */
    return 0;
}

static int add_context(const struct load *load, struct tls_bundle *bundle,
                       const struct weft_tls_certificate *certificate)
{
    bool client = load->settings->role == WEFT_TLS_CLIENT;
    SSL_CTX *context = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (!context)
        return load_failed(load, "OpenSSL");
    bundle->contexts[bundle->count++] = context;
    int r = set_rules(load, context);
    if (r == 0 && certificate)
        r = load_identity(load, certificate, context);
    if (r < 0 || bundle->count > 1) /* I3 */
        return r;
    r = load_trust(load, context);
    return r < 0 ? r : set_protocols(load, bundle, context);
}

static int fill_bundle(const struct load *load, struct tls_bundle *bundle)
{
    const struct settings *settings = load->settings;
    if (settings->alpn) {
        unsigned char *alpn = malloc(settings->alpn_size);
        if (!alpn)
            return -ENOMEM;
        memcpy(alpn, settings->alpn, settings->alpn_size);
        bundle->alpn = alpn;
        bundle->alpn_size = settings->alpn_size;
    }
    bundle->refuse_unknown_names = settings->options.refuse_unknown_names;
    if (settings->options.certificate_count == 0)
        return add_context(load, bundle, NULL);
    for (size_t i = 0; i < settings->options.certificate_count; i++) {
        int r = add_context(load, bundle, &settings->options.certificates[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

int bundle_new(const struct settings *settings, struct weft_tls_why *why,
               struct tls_bundle **ret_bundle)
{
    struct load load = {.settings = settings, .why = why};
    size_t count = settings->options.certificate_count;
    struct tls_bundle *bundle =
        calloc(1, sizeof(*bundle) + (count ? count : 1) * sizeof(bundle->contexts[0]));
    if (!bundle)
        return -ENOMEM;
    atomic_init(&bundle->references, 1);
    ERR_clear_error();
    int r = fill_bundle(&load, bundle);
    ERR_clear_error();
    if (r < 0) {
        bundle_unref(bundle);
        return r;
    }
    *ret_bundle = bundle;
    return 0;
}

struct tls_bundle *bundle_ref(struct tls_bundle *bundle)
{
    atomic_fetch_add_explicit(&bundle->references, 1, memory_order_relaxed);
    return bundle;
}

void bundle_unref(struct tls_bundle *bundle)
{
    if (!bundle || atomic_fetch_sub_explicit(&bundle->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < bundle->count; i++)
        SSL_CTX_free(bundle->contexts[i]);
    free((void *)bundle->alpn);
    free(bundle);
}
