/* SPDX-License-Identifier: MIT */
/*
 * The OpenSSL calls on one stream's SSL object, each with its outcome as an errno (T1-T4 of
 * session.h).
 *
 *   I1  -EAGAIN from here means: nothing more without the peer.  It never means that the socket is
 *       full (T3).
 *   I2  After a failure no call reaches the SSL object any more but SSL_free.
 *
 * Under the session's mutex.  Nothing here suspends.
 */
#include "io/tls/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

int session_new(struct weft_descriptor *descriptor, struct tls_bundle *bundle,
                const struct settings *settings, struct tls **ret_tls)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    if (!tls)
        return -ENOMEM;
    tls->layer.class = &tls_class;
    tls->descriptor = descriptor;
    tls->role = settings->role;
    tls->alpn_required = settings->options.alpn_required;
    ERR_clear_error();
    tls->ssl = SSL_new(bundle->contexts[0]);
    BIO *bio = tls->ssl ? tls_bio_new(tls) : NULL;
    ERR_clear_error();
    if (!bio) {
        SSL_free(tls->ssl);
        free(tls);
        return -ENOMEM;
    }
    tls->bundle = bundle_ref(bundle);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    int mode = SSL_get_verify_mode(tls->ssl);
    SSL_set_verify(tls->ssl, mode, mode == SSL_VERIFY_NONE ? NULL : tls_verified);
    if (settings->role == WEFT_TLS_CLIENT)
        SSL_set_connect_state(tls->ssl);
    else
        SSL_set_accept_state(tls->ssl);
    *ret_tls = tls;
    return 0;
}

void session_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl); /* and the BIO */
    ERR_clear_error();
    bundle_unref(tls->bundle);
    free(tls->output.data);
    free(tls);
}

static bool is_numeric(const char *hostname)
{
    unsigned char address[16];
    return inet_pton(AF_INET, hostname, address) == 1 ||
           inet_pton(AF_INET6, hostname, address) == 1;
}

int session_expect(struct tls *tls, const char *hostname)
{
    X509_VERIFY_PARAM *parameters = SSL_get0_param(tls->ssl);
    if (hostname[0] == '\0')
        return -EINVAL;
    bool ok;
    ERR_clear_error();
    if (is_numeric(hostname))
        ok = X509_VERIFY_PARAM_set1_ip_asc(parameters, hostname) == 1;
    else
        ok = X509_VERIFY_PARAM_set1_host(parameters, hostname, 0) == 1 &&
             SSL_set_tlsext_host_name(tls->ssl, hostname) == 1;
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ERR_clear_error();
    return ok ? 0 : -EINVAL; /* longer than a name can be */
}

/* What an unsuccessful call came to.  `waiting`: what it means that the peer is to go on. */
static int session_outcome(struct tls *tls, int result, int waiting)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return waiting;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return tls_fail(tls);
    }
}

/* Output that piles up although nobody writes is the peer's doing. */
static int session_check_output(struct tls *tls)
{
    if (tls->write_error != -ENOBUFS)
        return 0;
    return tls_fail_as(tls, -EPROTO, "the peer has us answer without end, and does not read it");
}

static int session_agreed(struct tls *tls)
{
    const unsigned char *alpn;
    unsigned length;
    SSL_get0_alpn_selected(tls->ssl, &alpn, &length);
    if (length == 0 && tls->alpn_required)
        return tls_fail_as(tls, -ENOPROTOOPT, "the peer agrees on no application protocol");
    if (length < sizeof(tls->alpn))
        memcpy(tls->alpn, alpn ? (const char *)alpn : "", length);
    const char *name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    if (name)
        strncpy(tls->server_name, name, sizeof(tls->server_name) - 1);
    tls->established = true;
    return 0;
}

int session_handshake(struct tls *tls)
{
    if (tls->established)
        return 0;
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1)
        return session_agreed(tls);
    int r = session_outcome(tls, result, -EAGAIN);
    if (r == 0)
        return tls_fail_as(tls, -ECONNRESET, "the peer closed during the handshake");
    if (r == -EAGAIN && tls->write_error)
        return tls_fail_as(tls, tls->write_error, "the handshake could not be sent");
    return r;
}

ssize_t session_read(struct tls *tls, void *buffer, size_t size)
{
    size_t n;
    if (tls->failed)
        return tls->failed;
    if (size == 0)
        return 0;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, buffer, size, &n);
    if (result == 1)
        return (ssize_t)n;
    int r = session_outcome(tls, result, -EAGAIN);
    int piled = r == -EAGAIN ? session_check_output(tls) : 0;
    return piled < 0 ? piled : r;
}

bool session_readable(struct tls *tls)
{
    char byte;
    size_t n;
    if (tls->failed)
        return true;
    ERR_clear_error();
    int result = SSL_peek_ex(tls->ssl, &byte, 1, &n);
    return result == 1 || session_outcome(tls, result, -EAGAIN) != -EAGAIN;
}

/* What stands in the way of output of our own. */
static int session_may_write(const struct tls *tls)
{
    if (tls->failed)
        return tls->failed;
    if (tls->write_error)
        return tls->write_error;
    return tls->write_closed ? -EPIPE : 0;
}

ssize_t session_write(struct tls *tls, const void *data, size_t size)
{
    size_t n;
    int r = session_may_write(tls);
    if (r < 0)
        return r;
    ERR_clear_error();
    int result = SSL_write_ex(tls->ssl, data, size, &n);
    if (result != 1) {
        r = session_outcome(tls, result, -EINPROGRESS);
        return r == 0 ? -EPIPE : r;
    }
    return tls->write_error ? tls->write_error : (ssize_t)n;
}

int session_close(struct tls *tls)
{
    if (tls->write_closed)
        return 0;
    int r = session_may_write(tls);
    if (r < 0)
        return r;
    if (SSL_in_init(tls->ssl))
        return -EINPROGRESS; /* SSL_shutdown would make an error of it */
    ERR_clear_error();
    int result = SSL_shutdown(tls->ssl);
    if (result < 0)
        return session_outcome(tls, result, -EINPROGRESS);
    tls->write_closed = true;
    return 0;
}

int session_update_keys(struct tls *tls)
{
    int r = session_may_write(tls);
    if (r < 0)
        return r;
    if (SSL_version(tls->ssl) != TLS1_3_VERSION)
        return -EOPNOTSUPP;
    if (SSL_in_init(tls->ssl))
        return -EINPROGRESS;
    ERR_clear_error();
    int result = SSL_key_update(tls->ssl, SSL_KEY_UPDATE_REQUESTED);
    if (result == 1)
        result = SSL_do_handshake(tls->ssl);
    if (result != 1)
        return session_outcome(tls, result, -EINPROGRESS);
    return tls->write_error;
}
