/* SPDX-License-Identifier: MIT */
/* What a certificate says, as text.  Any thread.  It judges nothing: that is OpenSSL's. */
#include "io/tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void certificate_name(const X509_NAME *name, char *buffer, size_t size)
{
    buffer[0] = '\0';
    BIO *text = BIO_new(BIO_s_mem());
    if (!text)
        return;
    if (X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        int n = BIO_read(text, buffer, (int)size - 1);
        buffer[n > 0 ? n : 0] = '\0';
    }
    BIO_free(text);
    ERR_clear_error();
}

static void append(char *buffer, size_t size, const char *text)
{
    size_t used = strlen(buffer);
    snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", text);
}

/* A name with a NUL byte inside is somebody's trick: it is left out. */
static void append_string(char *buffer, size_t size, const ASN1_STRING *string)
{
    char text[256];
    const unsigned char *data = ASN1_STRING_get0_data(string);
    size_t length = (size_t)ASN1_STRING_length(string);
    if (length >= sizeof(text) || memchr(data, '\0', length))
        return;
    memcpy(text, data, length);
    text[length] = '\0';
    append(buffer, size, text);
}

static void append_address(char *buffer, size_t size, const ASN1_STRING *address)
{
    char text[INET6_ADDRSTRLEN];
    int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
    if (family == AF_INET6 && ASN1_STRING_length(address) != 16)
        return;
    if (inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof(text)))
        append(buffer, size, text);
}

void certificate_names(const X509 *certificate, char *buffer, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    buffer[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            append_string(buffer, size, name->d.dNSName);
        else if (name->type == GEN_IPADD)
            append_address(buffer, size, name->d.iPAddress);
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
}

int64_t certificate_time(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}
