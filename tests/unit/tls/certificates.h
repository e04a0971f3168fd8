/* SPDX-License-Identifier: MIT */
/* Certificates made on the spot, and the folder for those that must be files. */
#pragma once
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fibers.h"

/* A key with its certificate, also as PEM. */
struct identity {
    EVP_PKEY *key;
    X509 *certificate;
    char *chain_pem; /* the certificate alone */
    char *key_pem;
};

struct identity_options {
    const char *name;  /* CN */
    const char *names; /* subjectAltName: "DNS:a.test, IP:127.0.0.1"; NULL: none */
    int from_day;      /* relative to today; 0: yesterday */
    int to_day;        /* likewise; 0: a year from now */
    bool authority;
    long serial; /* 0: 1 */
};

static inline char *bio_text(BIO *bio)
{
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)size);
    EXPECT(text != NULL);
    BIO_free(bio);
    return text;
}

static inline void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    EXPECT(extension != NULL);
    EXPECT_EQ(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline X509 *certificate_make(EVP_PKEY *key, const struct identity_options *options,
                                     const struct identity *issuer)
{
    enum { DAY = 24 * 60 * 60 };
    X509 *made = X509_new();
    EXPECT(made != NULL);
    X509 *by = issuer ? issuer->certificate : made;
    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), options->serial ? options->serial : 1);
    X509_gmtime_adj(X509_getm_notBefore(made), (options->from_day ? options->from_day : -1) * DAY);
    X509_gmtime_adj(X509_getm_notAfter(made), (options->to_day ? options->to_day : 365) * DAY);
    X509_set_pubkey(made, key);
    X509_NAME *name = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)options->name, -1,
                               -1, 0);
    X509_set_issuer_name(made, X509_get_subject_name(by));
    add_extension(made, by, NID_basic_constraints,
                  options->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(made, by, NID_subject_key_identifier, "hash");
    if (options->names)
        add_extension(made, by, NID_subject_alt_name, options->names);
    EXPECT(X509_sign(made, issuer ? issuer->key : key, EVP_sha256()) > 0);
    return made;
}

/** Make one, signed by `issuer`; NULL: by itself. */
static inline struct identity identity_make(const struct identity_options *options,
                                            const struct identity *issuer)
{
    struct identity made = {.key = EVP_EC_gen("P-256")};
    EXPECT(made.key != NULL);
    made.certificate = certificate_make(made.key, options, issuer);
    BIO *bio = BIO_new(BIO_s_mem());
    EXPECT_EQ(PEM_write_bio_X509(bio, made.certificate), 1);
    made.chain_pem = bio_text(bio);
    bio = BIO_new(BIO_s_mem());
    EXPECT_EQ(PEM_write_bio_PrivateKey(bio, made.key, NULL, NULL, 0, NULL, NULL), 1);
    made.key_pem = bio_text(bio);
    return made;
}

static inline void identity_destroy(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    free(identity->chain_pem);
    free(identity->key_pem);
}

/** The key of an identity, encrypted with a password, as PEM. */
static inline char *encrypted_key(const struct identity *identity, const char *password)
{
    BIO *bio = BIO_new(BIO_s_mem());
    EXPECT_EQ(PEM_write_bio_PKCS8PrivateKey(bio, identity->key, EVP_aes_128_cbc(), password,
                                            (int)strlen(password), NULL, NULL),
              1);
    return bio_text(bio);
}

/** A list, signed by `authority`, that revokes the certificate with this serial. */
static inline char *revocation_pem(const struct identity *authority, long serial)
{
    X509_CRL *list = X509_CRL_new();
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *later = X509_gmtime_adj(NULL, 86400);
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(revoked, number);
    X509_REVOKED_set_revocationDate(revoked, now);
    X509_CRL_set_version(list, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->certificate));
    X509_CRL_set1_lastUpdate(list, now);
    X509_CRL_set1_nextUpdate(list, later);
    EXPECT_EQ(X509_CRL_add0_revoked(list, revoked), 1);
    EXPECT(X509_CRL_sign(list, authority->key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    EXPECT_EQ(PEM_write_bio_X509_CRL(bio, list), 1);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_CRL_free(list);
    return bio_text(bio);
}

/* ---- files -------------------------------------------------------------------------------- */

struct folder {
    char path[64];
};

static inline struct folder folder_make(void)
{
    struct folder folder = {"/tmp/weft-tls-XXXXXX"};
    EXPECT(mkdtemp(folder.path) != NULL);
    return folder;
}

/** The path of a file in it, in one of a few rotating buffers. */
static inline const char *folder_file(const struct folder *folder, const char *name)
{
    static char paths[16][128];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder->path, name);
    return path;
}

static inline const char *folder_write(const struct folder *folder, const char *name,
                                       const char *text)
{
    const char *path = folder_file(folder, name);
    FILE *file = fopen(path, "we");
    EXPECT(file != NULL);
    EXPECT(fputs(text, file) >= 0);
    EXPECT_EQ(fclose(file), 0);
    return path;
}

static inline void folder_remove(const struct folder *folder, const char *const *names)
{
    for (; *names; names++)
        unlink(folder_file(folder, *names));
    EXPECT_EQ(rmdir(folder->path), 0);
}
