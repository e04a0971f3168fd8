/* SPDX-License-Identifier: MIT */
/* What an upgraded stream has agreed on, who the peer is, and why it failed.  For fibers. */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "io/tls/certificate.h"
#include "io/tls/session.h"

const char *weft_tls_error(const struct weft_stream *stream)
{
    const struct tls *tls = tls_of_stream(stream);
    if (!tls)
        return "";
    if (tls->why.text[0] || !tls->write_error)
        return tls->why.text;
    return strerrordesc_np(-tls->write_error);
}

void weft_tls_why(const struct weft_stream *stream, struct weft_tls_why *ret_why)
{
    struct weft_tls_why why = {0};
    snprintf(why.text, sizeof(why.text), "%s", weft_tls_error(stream));
    *ret_why = why;
}

/* Under the mutex. */
static bool peer_verified(const SSL *ssl)
{
    return SSL_get0_peer_certificate(ssl) && SSL_get_verify_result(ssl) == X509_V_OK &&
           SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER;
}

int weft_tls_info(struct weft_stream *stream, struct weft_tls_info *ret_info)
{
    struct tls *tls = tls_of_stream(stream);
    if (!tls || !tls->established)
        return -ENOTCONN;
    weft_mutex_lock_shielded(&tls->mutex);
    *ret_info = (struct weft_tls_info){
        .version = SSL_get_version(tls->ssl),
        .cipher = SSL_get_cipher_name(tls->ssl),
        .alpn = tls->alpn[0] ? tls->alpn : NULL,
        .server_name = tls->server_name[0] ? tls->server_name : NULL,
        .peer_verified = peer_verified(tls->ssl),
        .resumed = SSL_session_reused(tls->ssl),
    };
    weft_mutex_unlock(&tls->mutex);
    return 0;
}

static void describe(X509 *certificate, struct weft_tls_peer *peer)
{
    *peer = (struct weft_tls_peer){
        .not_before_s = certificate_time(X509_get0_notBefore(certificate)),
        .not_after_s = certificate_time(X509_get0_notAfter(certificate)),
    };
    certificate_name(X509_get_subject_name(certificate), peer->subject, sizeof(peer->subject));
    certificate_name(X509_get_issuer_name(certificate), peer->issuer, sizeof(peer->issuer));
    certificate_names(certificate, peer->names, sizeof(peer->names));
    X509_digest(certificate, EVP_sha256(), peer->sha256, NULL);
    ERR_clear_error();
}

int weft_tls_peer(struct weft_stream *stream, struct weft_tls_peer *ret_peer)
{
    struct tls *tls = tls_of_stream(stream);
    if (!tls || !tls->established)
        return -ENOTCONN;
    weft_mutex_lock_shielded(&tls->mutex);
    X509 *certificate = SSL_get1_peer_certificate(tls->ssl);
    weft_mutex_unlock(&tls->mutex);
    if (!certificate)
        return -ENODATA;
    describe(certificate, ret_peer);
    X509_free(certificate);
    return 0;
}
