/* SPDX-License-Identifier: MIT */
/*
 * A transfer: one request and its response, one hop.  A fiber has it; the driver runs it.
 *
 *   T1  From transfer_begin until POST_DONE the driver may use the transfer and its plan; nobody
 *       frees or changes them.  transfer_end makes that moment come.
 *   T2  `head` is the driver's until POST_HEAD, `trailer`, `result` and `why` until POST_DONE, and
 *       the fiber's afterwards.
 *   T3  The queues, and what stands with them, are guarded by the session's lock; a block that was
 *       taken out of one belongs to who took it.
 */
#ifndef RUNTIME_IO_HTTP_TRANSFER_H
#define RUNTIME_IO_HTTP_TRANSFER_H

#include "io/http/chunk.h"
#include "io/http/head.h"
#include "io/http/plan.h"
#include "io/http/post.h"
#include "io/http/session.h"

struct scope;

enum transfer_want {
    WANT_BEGIN = 1 << 0,
    WANT_END = 1 << 1,     /* abort it */
    WANT_RECEIVE = 1 << 2, /* there is room again for what comes */
    WANT_SEND = 1 << 3,    /* there is more to send again */
};

struct http_transfer {
    struct http_post post;
    struct weft_http_session *session;
    const struct http_plan *plan;
    struct http_head head, trailer; /* T2 */
    int result;                     /* T2: 0 or -errno */
    char why[CURL_ERROR_SIZE];      /* T2 */
    bool wants_rewind;              /* T2: it failed because a source cannot be sent again */

    /* Guarded by the session's lock (T3). */
    struct http_queue in;       /* the response's body */
    struct http_queue out;      /* the request's body, from a source */
    bool out_ended;             /* there will be no more of it */
    bool receive_paused;        /* libcurl was told to wait until `in` has room */
    bool send_paused;           /* libcurl was told to wait until `out` has something */
    struct weft_http_info info; /* as of the end of the headers, then of the end */
    struct scope *reading;      /* a source is being read in it; to be cancelled at the end */

    /* Written by the driver, read by the fiber; relaxed. */
    atomic_uint_fast64_t active_ns; /* when bytes last went out, or the connection was made */
    atomic_uint_fast64_t received;  /* bytes of the body */

    /* The driver's own. */
    struct list active; /* on session->active */
    CURL *easy;
    int fd;                     /* the socket that libcurl watched for it last */
    struct http_chunk *sending; /* the block that is being sent */
    size_t memory_offset;       /* where sending a body in memory is */
    bool connected;             /* a connection was made, or found in the pool */
    bool headed;                /* POST_HEAD was raised */
    bool discarding;            /* nobody wants what still comes */
    int broken;                 /* -errno: why a callback made libcurl give up */
    const char *broken_why;     /* static text */
};

/** Make it, and have the driver begin it.  Errors: -ESHUTDOWN; then it is as if ended. */
int transfer_begin(struct http_transfer *transfer, struct weft_http_session *session,
                   const struct http_plan *plan);

/** Abort it unless it is done, and wait until the driver has let go of it. */
void transfer_end(struct http_transfer *transfer);

/** Free what it holds; it must be done. */
void transfer_destroy(struct http_transfer *transfer);

/** The next block that was received, NULL: none is there.  The caller frees it. */
struct http_chunk *transfer_receive(struct http_transfer *transfer);

/** Queue a block to be sent, or, NULL, the end. */
void transfer_send(struct http_transfer *transfer, struct http_chunk *chunk);

/** What is known of it now. */
struct weft_http_info transfer_info(struct http_transfer *transfer);

/** Have `scope` cancelled when the transfer is done; NULL: no more.
 * Returns: false when it is done already. */
bool transfer_watch(struct http_transfer *transfer, struct scope *scope);

/* ---- for the driver --------------------------------------------------------------------- */

/** The transfer is over with libcurl's `code`: tell its fiber, and let go of it. */
void transfer_finish(struct http_transfer *transfer, CURLcode code);

/** The same with an error of our own. */
void transfer_fail(struct http_transfer *transfer, int error, const char *why);

/** Give libcurl all it needs to know.  False: no memory, or an option that it refuses. */
/** Fill `info` from libcurl. */
void transfer_note_info(struct http_transfer *transfer);

bool setup_easy(CURL *easy, struct http_transfer *transfer);

/** Whether its connection may speak HTTP/2. */
bool setup_may_be_two(const struct http_transfer *transfer);

/** libcurl's callbacks. */
size_t on_header(char *line, size_t size, size_t count, void *transfer);
size_t on_body(char *data, size_t size, size_t count, void *transfer);
size_t on_send(char *buffer, size_t size, size_t count, void *transfer);
int on_seek(void *transfer, curl_off_t offset, int origin);
int on_connected(void *transfer, char *remote, char *local, int remote_port, int local_port);
curl_socket_t on_socket_open(void *session, curlsocktype purpose, struct curl_sockaddr *address);
int on_socket_close(void *session, curl_socket_t fd);

/* ---- errors ----------------------------------------------------------------------------- */

/** libcurl's code as -errno; `easy` and libcurl's text `why` tell more, `connected` whether it came
 * to a connection. */
int error_of(CURLcode code, CURL *easy, const char *why, bool connected);

#endif
