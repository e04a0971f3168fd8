/* SPDX-License-Identifier: MIT */
/* Connecting to a name over TLS.  Inline, because it takes both weft-dns and weft-tls, which know
 * nothing of each other; link both.  Defaults of weft/weft.h apply. */
#ifndef WEFT_TLS_CONNECT_H
#define WEFT_TLS_CONNECT_H

#include <stdio.h>

#include "weft/dns.h"
#include "weft/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Connect to `host` (weft_connect) and do the client's handshake for that name (weft_tls_client).
 * `why` (may be NULL) is filled on failure.  Errors: those of both. */
static inline int weft_tls_connect(const char *host, uint16_t port,
                                   struct weft_tls_context *context, uint64_t deadline_ns,
                                   struct weft_tls_why *why, struct weft_stream **ret_stream)
{
    struct weft_stream *stream;
    int r = weft_connect(host, port, deadline_ns, &stream);

    if (r < 0 && why)
        snprintf(why->text, sizeof(why->text), "%s: %s", host, weft_resolve_error(r));
    if (r < 0)
        return r;
    r = weft_tls_client(stream, context, host, deadline_ns);
    if (r < 0) {
        if (why)
            weft_tls_why(stream, why);
        weft_stream_free(stream);
        return r;
    }
    *ret_stream = stream; /* also in the compiler's eyes, whenever the result is not below 0 */
    return 0;
}

#ifdef __cplusplus
}
#endif
#endif
