/* SPDX-License-Identifier: MIT */
/*
 * The options of a TLS context: checked once, and copied.
 *
 *   I1  Every text that a settings object points to is in its `kept`, and wiped before it is freed.
 *   I2  Options that would trust more than the caller may have meant are refused, not guessed at.
 *
 * Any thread.  It opens no file and knows no OpenSSL.
 */
#include "io/tls/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool settings_have_ca(const struct weft_tls_options *options)
{
    return options->ca_file || options->ca_directory || options->ca_pem;
}

/* ---- checking --------------------------------------------------------------------------- */

static const char *complaint_about_server(const struct weft_tls_options *options)
{
    if (options->certificate_count == 0)
        return "a server needs a certificate";
    if (options->insecure_believe_any_server)
        return "a server believes no servers";
    if (options->client_auth != WEFT_TLS_AUTH_NONE && !settings_have_ca(options))
        return "client certificates need a CA that is said";
    return NULL;
}

static const char *complaint_about_client(const struct weft_tls_options *options)
{
    if (options->client_auth != WEFT_TLS_AUTH_NONE || options->refuse_unknown_names)
        return "client_auth and refuse_unknown_names are a server's";
    if (options->insecure_believe_any_server && (settings_have_ca(options) || options->crl_file))
        return "a client that believes any server needs no CA";
    if (options->certificate_count > 1)
        return "a client has one certificate";
    return NULL;
}

static const char *complaint_about_certificates(const struct weft_tls_options *options)
{
    for (size_t i = 0; i < options->certificate_count; i++) {
        const struct weft_tls_certificate *certificate = &options->certificates[i];
        if (!certificate->chain_file && !certificate->chain_pem)
            return "a certificate without a chain";
    }
    return NULL;
}

static const char *complaint_about_alpn(const struct weft_tls_options *options)
{
    size_t total = 0;
    for (const char *const *name = options->alpn; name && *name; name++) {
        size_t length = strlen(*name);
        if (length == 0 || length > 255)
            return "an ALPN name has 1 to 255 bytes";
        total += 1 + length;
    }
    if (total > UINT16_MAX)
        return "too many ALPN names";
    return options->alpn_required && total == 0 ? "ALPN is required, but no name given" : NULL;
}

static const char *complaint_about(enum weft_tls_role role, const struct weft_tls_options *options)
{
    const char *complaint = NULL;
    if (role != WEFT_TLS_CLIENT && role != WEFT_TLS_SERVER)
        return "no such role";
    if ((unsigned)options->min_version > WEFT_TLS_1_3 ||
        (unsigned)options->max_version > WEFT_TLS_1_3)
        return "no such version";
    if (options->max_version && options->min_version > options->max_version)
        return "min_version is above max_version";
    complaint =
        role == WEFT_TLS_SERVER ? complaint_about_server(options) : complaint_about_client(options);
    if (!complaint)
        complaint = complaint_about_certificates(options);
    return complaint ? complaint : complaint_about_alpn(options);
}

/* ---- copying ---------------------------------------------------------------------------- */

/* Replace *text, unless NULL, by a copy that the settings keep. */
static bool keep(struct settings *settings, const char **text)
{
    if (!*text)
        return true;
    char *copy = strdup(*text);
    if (!copy)
        return false;
    settings->kept[settings->kept_count++] = copy;
    *text = copy;
    return true;
}

static bool keep_certificates(struct settings *settings)
{
    size_t count = settings->options.certificate_count;
    if (count == 0)
        return true;
    struct weft_tls_certificate *certificates = calloc(count, sizeof(*certificates));
    if (!certificates)
        return false;
    memcpy(certificates, settings->options.certificates, count * sizeof(*certificates));
    settings->options.certificates = certificates;
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        const char **texts[] = {&certificates[i].chain_file, &certificates[i].key_file,
                                &certificates[i].chain_pem, &certificates[i].key_pem,
                                &certificates[i].key_password};
        for (size_t j = 0; j < sizeof(texts) / sizeof(texts[0]); j++) {
            ok = ok && keep(settings, texts[j]);
            if (!ok)
                *texts[j] = NULL;
        }
    }
    return ok;
}

static bool keep_alpn(struct settings *settings)
{
    const char *const *names = settings->options.alpn;
    settings->options.alpn = NULL;
    size_t size = 0;
    for (const char *const *name = names; name && *name; name++)
        size += 1 + strlen(*name);
    if (size == 0)
        return true;
    settings->alpn = malloc(size);
    if (!settings->alpn)
        return false;
    unsigned char *to = settings->alpn;
    for (const char *const *name = names; *name; name++) {
        size_t length = strlen(*name);
        *to++ = (unsigned char)length;
        memcpy(to, *name, length);
        to += length;
    }
    settings->alpn_size = size;
    return true;
}

static bool keep_all(struct settings *settings)
{
    struct weft_tls_options *options = &settings->options;
    const char **texts[] = {&options->ca_file, &options->ca_directory, &options->ca_pem,
                            &options->crl_file, &options->ciphers};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!keep(settings, texts[i]))
            return false;
    return keep_alpn(settings);
}

enum { TEXTS_OF_OPTIONS = 5, TEXTS_OF_CERTIFICATE = 5 };

int settings_new(enum weft_tls_role role, const struct weft_tls_options *options,
                 struct weft_tls_why *why, struct settings **ret_settings)
{
    const char *complaint = complaint_about(role, options);
    if (complaint) {
        snprintf(why->text, sizeof(why->text), "%s", complaint);
        return -EINVAL;
    }
    size_t texts = TEXTS_OF_OPTIONS + TEXTS_OF_CERTIFICATE * options->certificate_count;
    struct settings *settings = calloc(1, sizeof(*settings) + texts * sizeof(settings->kept[0]));
    if (!settings)
        return -ENOMEM;
    settings->role = role;
    settings->options = *options;
    /* First the one whose failure leaves an array of the caller's in place. */
    if (!keep_certificates(settings) || !keep_all(settings)) {
        if (settings->options.certificates == options->certificates)
            settings->options.certificates = NULL;
        settings_free(settings);
        return -ENOMEM;
    }
    *ret_settings = settings;
    return 0;
}

void settings_free(struct settings *settings)
{
    if (!settings)
        return;
    for (size_t i = 0; i < settings->kept_count; i++) {
        explicit_bzero(settings->kept[i], strlen(settings->kept[i]));
        free(settings->kept[i]);
    }
    free(settings->alpn);
    if (settings->options.certificate_count)
        free((void *)settings->options.certificates);
    free(settings);
}
