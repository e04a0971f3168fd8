/* SPDX-License-Identifier: MIT */
/* What a certificate says, as text.  Any thread; cut to the buffer, always terminated. */
#ifndef RUNTIME_IO_TLS_CERTIFICATE_H
#define RUNTIME_IO_TLS_CERTIFICATE_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

/** RFC 2253: "CN=example.org,O=Example". */
void certificate_name(const X509_NAME *name, char *buffer, size_t size);

/** Whom it is for, by commas: names and addresses. */
void certificate_names(const X509 *certificate, char *buffer, size_t size);

/** Seconds since 1970; 0 for what is not a time. */
int64_t certificate_time(const ASN1_TIME *time);

#endif
