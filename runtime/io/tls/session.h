/* SPDX-License-Identifier: MIT */
/*
 * One stream's TLS: the SSL object, what it has made for the socket, and how it ended.
 *
 *   T1  The SSL object, the output and all that is marked "guarded" are guarded by `mutex`, which
 *       nobody holds across a wait for the peer.  During the handshake and at the end one fiber
 *       has the object to itself, and needs no lock.
 *   T2  A session_ function makes one OpenSSL call, and reads all that this leaves in thread-locals
 *       (its error queue), without suspending in between.
 *   T3  Output never makes OpenSSL wait: what the socket does not take is kept in `output`, and
 *       goes out first at the next occasion.  So there is no half-done SSL_write to be repeated,
 *       and a write that was cancelled can be followed by another.
 *   T4  A failure of the protocol is for ever: `failed` and `why` are set once, together.
 */
#ifndef RUNTIME_IO_TLS_SESSION_H
#define RUNTIME_IO_TLS_SESSION_H

#include "io/stream/stream.h"
#include "io/tls/bundle.h"
#include "weft/mutex.h"

/* Records made and not yet taken by the socket: data[sent..size). */
struct tls_output {
    char *data;
    size_t sent, size, capacity;
};

struct tls {
    struct stream_layer layer;          /* first: this is what the descriptor points to */
    struct weft_descriptor *descriptor; /* constant */
    struct tls_bundle *bundle;          /* constant; a reference */
    enum weft_tls_role role;            /* constant */
    bool alpn_required;                 /* constant */
    const char *hostname;               /* the caller's, during a client's handshake only */
    struct weft_mutex mutex;
    SSL *ssl;                 /* guarded */
    struct tls_output output; /* guarded */
    int read_error;           /* guarded; of the socket, 0: none */
    int write_error;          /* guarded; likewise */
    bool input_ended;         /* guarded; the socket's end of file was seen */
    bool write_closed;        /* guarded; close_notify was made */
    int failed;               /* guarded; T4; 0: none */
    bool established;         /* set at the end of the handshake, then constant */
    struct weft_tls_why why;  /* T4; once set, constant */
    char alpn[256];           /* constant once established; "": none */
    char server_name[256];    /* likewise */
};

/* What no peer that keeps to the rules makes us hold back. */
enum { TLS_OUTPUT_MAX = 256 * 1024 };

/* ---- session.c: one OpenSSL call each --------------------------------------------------- */

/** Errors: -ENOMEM. */
int session_new(struct weft_descriptor *descriptor, struct tls_bundle *bundle,
                const struct settings *settings, struct tls **ret_tls);

/** NULL does nothing.  Drops the reference to the bundle. */
void session_free(struct tls *tls);

/** A client's: the name that the server must prove, and is told.  Errors: -EINVAL, -ENOMEM. */
int session_expect(struct tls *tls, const char *hostname);

/** Errors: -EAGAIN it waits for the peer, and failures. */
int session_handshake(struct tls *tls);

/** Returns: bytes, 0 after close_notify.  Errors: -EAGAIN, and failures. */
ssize_t session_read(struct tls *tls, void *buffer, size_t size);

/** Whether session_read would return something else than -EAGAIN. */
bool session_readable(struct tls *tls);

/** Encrypt and send at most one record.  Nothing may be left of the output.  Returns: bytes.
 * Errors: -EINPROGRESS the peer is in the middle of a message that must come first; failures. */
ssize_t session_write(struct tls *tls, const void *data, size_t size);

/** Make close_notify, once.  Errors: -EINPROGRESS as session_write; failures. */
int session_close(struct tls *tls);

/** Make a KeyUpdate that asks the peer for its own.  Errors: -EOPNOTSUPP, as session_write. */
int session_update_keys(struct tls *tls);

/* ---- bio.c: between OpenSSL and the socket ---------------------------------------------- */

/** The BIO of this session, for both directions.  NULL: no memory. */
BIO *tls_bio_new(struct tls *tls);

/** Send what is left of the output.  Returns: 0 nothing is left.  Errors: -EAGAIN the socket is
 * full, and the socket's, which stay. */
int tls_output_flush(struct tls *tls);

static inline size_t tls_output_left(const struct tls *tls)
{
    return tls->output.size - tls->output.sent;
}

/* ---- failure.c -------------------------------------------------------------------------- */

/** The call that just failed, as an error of ours; it stays (T4).  T2. */
int tls_fail(struct tls *tls);

/** As tls_fail with a given error and text. */
int tls_fail_as(struct tls *tls, int error, const char *text);

/** Notes why a certificate is refused; changes nothing.  OpenSSL calls it for each. */
int tls_verified(int ok, X509_STORE_CTX *store);

/* ---- layer.c ---------------------------------------------------------------------------- */

extern const struct stream_class tls_class;

/** The session of a stream, or NULL if it is not upgraded. */
struct tls *tls_of_stream(const struct weft_stream *stream);

#endif
