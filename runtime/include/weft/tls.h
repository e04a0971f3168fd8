/* SPDX-License-Identifier: MIT */
/*
 * TLS over a weft_stream, by OpenSSL.  Link weft-tls.  Defaults of weft/weft.h apply.
 *
 * A stream is upgraded in place: after weft_tls_client or weft_tls_server has returned 0, all that
 * works on a stream works encrypted: weft_read, weft_write, weft_stream_shutdown_write, readers and
 * writers above it.  One fiber may read while another writes.
 *
 * Who is at the other end is verified unless the caller has asked, loudly, for the opposite.
 *
 * Errors of the upgrade and of every later call on the stream, besides the plain stream's:
 *  - -EKEYREJECTED: the peer's certificate was refused: expired, self-signed, for another name;
 *  - -ECONNABORTED: the peer refused us, with an alert: our certificate, our versions, the name;
 *  - -ENOPROTOOPT: no application protocol (ALPN) in common;
 *  - -EPROTO: what came is not TLS or breaks its rules, or the handshake was never finished;
 *  - -ECONNRESET: the connection was reset, or ended without close_notify: what was read may have
 *    been cut short by somebody in between, so this is an error and not the end of file.
 *
 * weft_tls_error says why, in words.  After any of them the stream is of no use but to be freed.
 */
#ifndef WEFT_TLS_H
#define WEFT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weft_tls_context;

enum weft_tls_role { WEFT_TLS_CLIENT, WEFT_TLS_SERVER };

enum weft_tls_version { WEFT_TLS_VERSION_DEFAULT, WEFT_TLS_1_2, WEFT_TLS_1_3 };

/* What a server wants of its clients. */
enum weft_tls_client_auth { WEFT_TLS_AUTH_NONE, WEFT_TLS_AUTH_OPTIONAL, WEFT_TLS_AUTH_REQUIRED };

/* Why a context could not be made. */
struct weft_tls_why {
    char text[256];
};

/* A certificate chain (the leaf first) and its key, both PEM, each from a file or from memory. */
struct weft_tls_certificate {
    const char *chain_file;
    const char *key_file;
    const char *chain_pem;    /* where chain_file is NULL */
    const char *key_pem;      /* where key_file is NULL */
    const char *key_password; /* NULL: the key is not encrypted; nobody is ever prompted */
};

/* All zeroes is a client that verifies servers by the system's store. */
struct weft_tls_options {
    /* Whom we trust.  None given: a client trusts the system's store (SSL_CERT_FILE, SSL_CERT_DIR
     * or the distribution's); a server that asks for client certificates must be given one. */
    const char *ca_file;      /* PEM, one or more */
    const char *ca_directory; /* as c_rehash leaves it; read when a certificate needs it */
    const char *ca_pem;       /* PEM text */
    const char *crl_file;     /* PEM; a leaf revoked there is refused */

    /* Who we are.  A server needs one; of several it shows the first that is for the name which the
     * client asked for (SNI), else the very first. */
    const struct weft_tls_certificate *certificates;
    size_t certificate_count;
    bool refuse_unknown_names; /* a server: refuse clients that ask for a name none is for */

    /* Application protocols, the preferred first, NULL at the end ("h2", "http/1.1"). */
    const char *const *alpn;
    bool alpn_required; /* -ENOPROTOOPT where the peer does not take part */

    enum weft_tls_version min_version;     /* default: 1.2, the least there is */
    enum weft_tls_version max_version;     /* default: the newest there is */
    const char *ciphers;                   /* of TLS 1.2, in OpenSSL's words; NULL: its default */
    enum weft_tls_client_auth client_auth; /* a server's */

    /* A client: believe whatever certificate is shown.  ANYBODY on the way can then read and change
     * everything.  For tests. */
    bool insecure_believe_any_server;
};

/* Of an upgraded stream.  The texts live as long as the stream. */
struct weft_tls_info {
    const char *version;     /* "TLSv1.3" */
    const char *cipher;      /* "TLS_AES_256_GCM_SHA384" */
    const char *alpn;        /* the protocol agreed on; NULL: none */
    const char *server_name; /* the name that the client asked for; NULL: none */
    bool peer_verified;      /* the peer showed a certificate, and it was found good */
    bool resumed;            /* from an earlier session */
};

/* A peer's certificate; what does not fit is cut. */
struct weft_tls_peer {
    char subject[256]; /* RFC 2253: "CN=example.org,O=Example" */
    char issuer[256];
    char names[512];          /* what it is for: "example.org, *.example.org, 192.0.2.1" */
    int64_t not_before_s;     /* seconds since 1970 */
    int64_t not_after_s;      /* likewise */
    unsigned char sha256[32]; /* fingerprint of the whole certificate */
};

/* ---- contexts --------------------------------------------------------------------------- */

/**
 * Make a context: read certificates and keys, once for any number of streams.  `options` may be
 * NULL for a client.  `why` (may be NULL) is filled on failure.
 * Context:   any thread.  On a fiber the files are read by weft_offload.
 * Ownership: the caller has one reference; streams have their own.
 * Errors: -ENOENT, -EACCES and the like of a file; -EBADMSG no PEM of that kind in it;
 *         -EKEYREJECTED the key is not the certificate's, or its password is wrong; -EINVAL options
 *         that do not go together; -ENOMEM; on a fiber -ECANCELED, -ETIMEDOUT.
 */
int weft_tls_context_new(enum weft_tls_role role, const struct weft_tls_options *options,
                         struct weft_tls_why *why, struct weft_tls_context **ret_context);

/** One more reference.  Context: any thread.  Never suspends.  Returns: the context. */
struct weft_tls_context *weft_tls_context_ref(struct weft_tls_context *context);

/** One less; the last one frees.  Context: any thread.  Never suspends.  NULL does nothing. */
void weft_tls_context_unref(struct weft_tls_context *context);

/**
 * Read all files again.  Streams that are upgraded from now on use what was read, the others go on
 * with what they have; on failure nothing changes.  Context: any thread, several at once too.
 * Errors: as weft_tls_context_new.
 */
int weft_tls_context_reload(struct weft_tls_context *context, struct weft_tls_why *why);

/* ---- streams ---------------------------------------------------------------------------- */

/**
 * Do the client's handshake on `stream`, from now on encrypted.  `hostname` (a name or a numeric
 * address) is what the server's certificate must be for; a name is also sent (SNI).  NULL only with
 * a context that believes any server.  Nothing may have been read from the stream beyond what
 * belongs before the handshake, and no other fiber may be inside a call on it.
 * Whether a server that wants a client certificate takes ours, TLS 1.3 tells only at the first
 * read. Errors: -EINVAL not a client's context, no hostname; -EISCONN upgraded before; -EBUSY;
 * -ENOMEM, also with less than 32 KiB left on the fiber's stack; -ETIMEDOUT, -ECANCELED; and those
 *         at the top.
 */
int weft_tls_client(struct weft_stream *stream, struct weft_tls_context *context,
                    const char *hostname, uint64_t deadline_ns);

/** As weft_tls_client, the server's side.  Errors: the same, -EINVAL not a server's context. */
int weft_tls_server(struct weft_stream *stream, struct weft_tls_context *context,
                    uint64_t deadline_ns);

/** Why a call on this stream failed, in words; "" where none has.  Borrowed: lives as long as the
 * stream.  Only after the call has returned.  Never suspends. */
const char *weft_tls_error(const struct weft_stream *stream);

/** A copy of that, for after the stream is freed. */
void weft_tls_why(const struct weft_stream *stream, struct weft_tls_why *ret_why);

/** Never suspends.  Errors: -ENOTCONN not upgraded, or the handshake failed. */
int weft_tls_info(struct weft_stream *stream, struct weft_tls_info *ret_info);

/** The peer's certificate; weft_tls_info tells whether it was verified.  May suspend shortly.
 * Errors: -ENODATA it showed none, -ENOTCONN as weft_tls_info. */
int weft_tls_peer(struct weft_stream *stream, struct weft_tls_peer *ret_peer);

/** Change the keys of both directions (KeyUpdate), as after very much data.  Counts as a write.
 * Errors: -EOPNOTSUPP TLS 1.2, -ENOTCONN as weft_tls_info, and weft_write's. */
int weft_tls_update_keys(struct weft_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
