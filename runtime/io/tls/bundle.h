/* SPDX-License-Identifier: MIT */
/* What a context has read from its files: OpenSSL's contexts, shared by all streams that were
 * upgraded between one reload and the next. */
#ifndef RUNTIME_IO_TLS_BUNDLE_H
#define RUNTIME_IO_TLS_BUNDLE_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "io/tls/settings.h"

/* Constant once made, but for the count. */
struct tls_bundle {
    atomic_uint references;    /* acq_rel: the last one sees what the others did */
    const unsigned char *alpn; /* a copy of the settings' */
    size_t alpn_size;
    bool refuse_unknown_names;
    size_t count;        /* of `contexts`, at least one */
    SSL_CTX *contexts[]; /* the first is what a stream begins with */
};

/** Read the files.  Blocks.  Any thread, not a fiber: a CA bundle takes some stack and many ms.
 * Errors: as weft_tls_context_new. */
int bundle_new(const struct settings *settings, struct weft_tls_why *why,
               struct tls_bundle **ret_bundle);

struct tls_bundle *bundle_ref(struct tls_bundle *bundle);

/** NULL does nothing. */
void bundle_unref(struct tls_bundle *bundle);

#endif
