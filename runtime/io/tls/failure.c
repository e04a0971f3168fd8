/* SPDX-License-Identifier: MIT */
/*
 * Why a TLS call failed: OpenSSL's error queue and the socket's errors as one errno and one text.
 *
 * Called right after the call that failed, on the same thread (T2 of session.h).
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "io/tls/certificate.h"
#include "io/tls/session.h"

int tls_fail_as(struct tls *tls, int error, const char *text)
{
    if (tls->failed)
        return tls->failed;
    tls->failed = error;
    if (tls->why.text[0] == '\0')
        snprintf(tls->why.text, sizeof(tls->why.text), "%s", text);
    return error;
}

static int fail_by_socket(struct tls *tls)
{
    if (tls->read_error)
        return tls_fail_as(tls, tls->read_error, strerror(-tls->read_error));
    if (tls->established)
        return tls_fail_as(tls, -ECONNRESET,
                           "the connection ended without close_notify: it may be cut short");
    return tls_fail_as(tls, -ECONNRESET, "the peer closed the connection during the handshake");
}

/* An alert that came is 1000 and its number. */
static int fail_by_alert(struct tls *tls, int alert, const char *reason)
{
    char text[sizeof(tls->why.text)];
    snprintf(text, sizeof(text), "the peer refused: %s", reason ? reason : "an unknown alert");
    int error = alert == SSL_AD_NO_APPLICATION_PROTOCOL ? -ENOPROTOOPT : -ECONNABORTED;
    return tls_fail_as(tls, error, text);
}

static int errno_of_others(int reason)
{
    return reason == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EPROTO;
}

static int errno_of_reason(int reason)
{
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return -EKEYREJECTED;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return -ENOPROTOOPT;
    default:
        return errno_of_others(reason);
    }
}

/* The first complaint of the TLS library itself tells most; what comes before it is from below. */
static unsigned long first_error(void)
{
    unsigned long first = ERR_peek_error(), error;
    while ((error = ERR_get_error()))
        if (ERR_GET_LIB(error) == ERR_LIB_SSL)
            return error;
    return first;
}

int tls_fail(struct tls *tls)
{
    unsigned long error = first_error();
    int reason = ERR_GET_REASON(error);
    const char *text = ERR_reason_error_string(error);
    bool of_ssl = ERR_GET_LIB(error) == ERR_LIB_SSL;
    int r;
    if (tls->read_error ||
        (tls->input_ended && (!error || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)))
        r = fail_by_socket(tls);
    else if (of_ssl && reason > SSL_AD_REASON_OFFSET)
        r = fail_by_alert(tls, reason - SSL_AD_REASON_OFFSET, text);
    else
        r = tls_fail_as(tls, of_ssl ? errno_of_reason(reason) : errno_of_others(reason),
                        text ? text : "a failure without a reason");
    ERR_clear_error();
    return r;
}

/* ---- certificates ----------------------------------------------------------------------- */

static void explain_name(struct weft_tls_why *why, X509 *leaf, const char *wanted)
{
    char names[sizeof(why->text) / 2];
    certificate_names(leaf, names, sizeof(names));
    snprintf(why->text, sizeof(why->text), "the certificate is for %s, not for %s",
             names[0] ? names : "no name", wanted ? wanted : "that");
}

static void explain_time(struct weft_tls_why *why, const char *what, const ASN1_TIME *when,
                         const char *subject)
{
    char day[16] = "?";
    struct tm tm;
    if (ASN1_TIME_to_tm(when, &tm) == 1)
        strftime(day, sizeof(day), "%Y-%m-%d", &tm);
    snprintf(why->text, sizeof(why->text), "%s (%s): %s", what, day, subject);
}

int tls_verified(int ok, X509_STORE_CTX *store)
{
    if (ok)
        return ok;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    int error = X509_STORE_CTX_get_error(store);
    const char *text = X509_verify_cert_error_string(error);
    char subject[128] = "";
    if (certificate)
        certificate_name(X509_get_subject_name(certificate), subject, sizeof(subject));
    if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)
        explain_name(&tls->why, X509_STORE_CTX_get0_cert(store), tls->hostname);
    else if (certificate && error == X509_V_ERR_CERT_HAS_EXPIRED)
        explain_time(&tls->why, text, X509_get0_notAfter(certificate), subject);
    else if (certificate && error == X509_V_ERR_CERT_NOT_YET_VALID)
        explain_time(&tls->why, text, X509_get0_notBefore(certificate), subject);
    else
        snprintf(tls->why.text, sizeof(tls->why.text), "%s: %s", text, subject);
    return ok;
}
