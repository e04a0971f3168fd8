/* SPDX-License-Identifier: MIT */
/*
 * Transports and protocols: callbacks over a stream, for code that is written as a state machine.
 *
 * weft_protocol_run serves one stream on the calling fiber: it reads, and calls data_received; a
 * fiber of its own sends what weft_transport_write took, so that writing never waits.
 *
 *   connection_made -> (data_received)* -> eof_received? -> connection_lost
 *
 * The callbacks of one connection run one at a time.  They may suspend: then nothing more is read
 * meanwhile.  connection_lost is called once, last, and only if connection_made was.
 *
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_PROTOCOL_H
#define WEFT_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weft_transport;

/* What a protocol does; `self` is the connection's own.  Any of them may be NULL. */
struct weft_protocol {
    /** The connection is there.  A negative result aborts it, and is connection_lost's error. */
    int (*connection_made)(void *self, struct weft_transport *transport);

    /** `size` bytes came, valid during the call.  A negative result aborts. */
    int (*data_received)(void *self, const void *data, size_t size);

    /** The peer sends no more.  Returns: above 0, to go on writing until weft_transport_close; 0
     * (or no callback), to close once everything is sent; negative, to abort. */
    int (*eof_received)(void *self);

    /** It is over: 0 after weft_transport_close or end of file; -ECONNABORTED after
     * weft_transport_abort; else a callback's, the stream's or the scope's error. */
    void (*connection_lost)(void *self, int error);

    /** More than the high mark waits to be sent: write no more, until resume_writing says that no
     * more than the low mark is left.  Called in turns. */
    void (*pause_writing)(void *self);
    void (*resume_writing)(void *self);
};

/**
 * Serve the stream by the protocol until the connection is lost.  The stream stays the caller's.
 * Returns: what connection_lost was told.
 * Errors:  also -ENOMEM, -EAGAIN at the fiber limit: then no callback was called.
 */
int weft_protocol_run(struct weft_stream *stream, const struct weft_protocol *protocol, void *self);

/* What weft_protocol_handler needs to know: for each connection, create makes its `self`, which
 * connection_lost frees (the protocol must have one that does). */
struct weft_protocol_factory {
    const struct weft_protocol *protocol;
    int (*create)(void *arg, void **ret_self); /* negative: the connection is closed */
    void *arg;
};

/** A handler for weft_serve: runs a factory's (`arg`) protocol. */
int weft_protocol_handler(struct weft_stream *stream, void *arg);

/* ---- what a protocol does with its transport: any thread, from callbacks or not, never suspends,
 * as long as connection_lost was not called or a reference is held --------------------------- */

/** Keep the transport beyond connection_lost, when all that can be done with it fails with -EPIPE;
 * and let it go.  The last one frees it. */
struct weft_transport *weft_transport_ref(struct weft_transport *transport);
void weft_transport_unref(struct weft_transport *transport);

/** Send, after all that was written before.  Takes data whole: it is copied, and waits for its turn
 * in a buffer that the high mark does not bound.  Returns: 0.
 * Errors: -EPIPE closed, lost, or after weft_transport_write_eof; -ENOMEM. */
int weft_transport_write(struct weft_transport *transport, const void *data, size_t size);

/** Half-close, once everything is sent.  Errors: -EPIPE closed or lost. */
int weft_transport_write_eof(struct weft_transport *transport);

/** Read no more, send what is to be sent, then connection_lost(0).  Again: does nothing. */
void weft_transport_close(struct weft_transport *transport);

/** Drop what is not sent, and connection_lost(-ECONNABORTED), at once. */
void weft_transport_abort(struct weft_transport *transport);

/** Whether weft_transport_close or _abort was called, or the connection is lost. */
bool weft_transport_is_closing(struct weft_transport *transport);

/** Call data_received and eof_received no more until resumed. */
void weft_transport_pause_reading(struct weft_transport *transport);
void weft_transport_resume_reading(struct weft_transport *transport);

/** The marks of pause_writing and resume_writing, in bytes; at first 64 KiB and 16 KiB. */
void weft_transport_set_write_limits(struct weft_transport *transport, size_t low, size_t high);

/** Bytes that wait to be sent. */
size_t weft_transport_buffered(struct weft_transport *transport);

/** Its stream, borrowed: for its addresses and options.  NULL once the connection is lost. */
struct weft_stream *weft_transport_stream(struct weft_transport *transport);

#ifdef __cplusplus
}
#endif
#endif
