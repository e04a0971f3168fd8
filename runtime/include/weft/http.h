/* SPDX-License-Identifier: MIT */
/*
 * An HTTP client, by libcurl.  Link weft-http.  Defaults of weft/weft.h apply.
 *
 * A session has the connections, which later requests use again, the cookies, and the defaults of
 * its requests.  Fibers of all workers may use one session at once.  A response belongs to the
 * fiber that has it: one fiber at a time may be inside a call on it.
 *
 *     struct weft_http_session *session;
 *     struct weft_http_response *response;
 *     char *text;
 *
 *     r = weft_http_session_new(NULL, &session);
 *     ...
 *     r = weft_http_get(session, "https://example.org/", &response);
 *     ...
 *     printf("%d\n", weft_http_response_status(response));
 *     r = weft_http_response_text(response, 1 << 20, &text);
 *     ...
 *     weft_http_response_free(response);
 *     weft_http_session_free(session);
 *
 * A request returns when the headers of its response are there.  The body comes after that, as it
 * is read: what nobody reads holds the transfer up, not the memory.  When the scope of the calling
 * fiber is cancelled or its deadline expires, the transfer is aborted, also in the middle of the
 * body, and its connection closed; the session and its other transfers go on.
 *
 * Errors of a transfer, from the request as well as from reading the body:
 *  - -EINVAL: the URL, the method or a header is malformed, or the parts of a request do not go
 *    together; -EPROTONOSUPPORT: neither http:// nor https://;
 *  - -ENOENT: the host's name, or the proxy's, could not be resolved;
 *  - -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH and others of connect(2);
 *  - -ETIMEDOUT: one of the timeouts, or the scope's deadline; -ECANCELED;
 *  - -ECONNRESET, -EPIPE: the connection ended before the response did;
 *  - -EPROTO: what came is not HTTP, or not TLS; -EBADMSG: its compression is broken;
 *  - -EKEYREJECTED: the server's certificate was refused: expired, self-signed, for another name;
 *    -ECONNABORTED: the server refused ours; -ENOKEY: our CA or certificate files are of no use;
 *  - -EACCES: the proxy refused;
 *  - -ELOOP: too many redirects; -ESPIPE: one wants the body again, which cannot be had again;
 *  - -EMSGSIZE: more came than a limit allows;
 *  - -ESHUTDOWN: the session was freed, or the runtime's stop has used up its grace;
 *  - -ENOMEM, -EMFILE; -EIO: whatever else libcurl reports.
 *
 * A status of 400 or above is not an error by itself: weft_http_response_check makes it one.
 */
#ifndef WEFT_HTTP_H
#define WEFT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_file;
struct weft_http_response;
struct weft_http_session;

/* A header, a field of a form, or a parameter of a query. */
struct weft_http_field {
    const char *name;
    const char *value;
};

/* Why a request failed, in words: "could not resolve host nosuch.example". */
struct weft_http_why {
    char text[256];
};

enum weft_http_version {
    WEFT_HTTP_AUTO,      /* HTTP/2 where TLS negotiates it, else HTTP/1.1 */
    WEFT_HTTP_1_1,       /* never HTTP/2 */
    WEFT_HTTP_2_DIRECTLY /* HTTP/2 from the first byte, also without TLS (prior knowledge); there,
                            with libcurl before 8.0, each request has a connection of its own */
};

/* ---- sessions --------------------------------------------------------------------------- */

/* All zeroes are the defaults.  Texts are copied. */
struct weft_http_session_options {
    const char *base_url; /* what URLs of requests are relative to; NULL: they must be complete */
    const struct weft_http_field *headers; /* sent with each request that has none of that name */
    size_t header_count;
    const char *user_agent; /* NULL: "weft/VERSION"; "": none */

    unsigned connections;          /* at once; 0: 100.  Requests beyond it wait for their turn */
    unsigned connections_per_host; /* of them to one host and port; 0: any number */
    uint64_t keep_ns;              /* how long an unused connection is kept; 0: 15 s.  In seconds */
    size_t read_ahead;             /* bytes of a body that may wait to be read; 0: 256 KiB */

    /* Timeouts.  WEFT_NO_DEADLINE: none. */
    uint64_t total_ns;   /* from the request to the last byte read, redirects included; 0: 5 min */
    uint64_t connect_ns; /* to resolve, connect and shake hands; 0: 30 s */
    uint64_t first_byte_ns; /* for the headers, from the last byte sent; 0: none */
    uint64_t low_speed_ns;  /* the reader of a body may wait so long for low_speed_bytes; 0: none */
    uint64_t low_speed_bytes; /* 0: 1 */

    int max_redirects;  /* 0: 10; negative: a redirect is a response as any other */
    bool no_cookies;    /* neither keep nor send cookies */
    bool no_decompress; /* hand compressed bodies on as they are, and do not ask for any */
    enum weft_http_version version;

    /* Sent to the host that the request names, and not to another that it redirects to. */
    const char *user; /* basic authentication */
    const char *password;
    const char *bearer; /* a token (RFC 6750) */

    /* TLS. */
    const char *ca_file;          /* PEM; NULL: the system's store */
    const char *certificate_file; /* ours, for servers that ask; PEM, the chain with it */
    const char *key_file;         /* its key; NULL: in certificate_file */
    const char *key_password;
    bool insecure_believe_any_server; /* ANYBODY on the way can read and change all.  For tests */

    const char *proxy; /* "http://[USER:PASSWORD@]HOST:PORT", "https://…", "socks5://…" (the name
                          is resolved here), "socks5h://…" (there); NULL: none */
    const char *no_proxy;        /* hosts and domains to reach without it, by commas; "*": all */
    bool proxy_from_environment; /* where `proxy` is NULL: http_proxy, https_proxy, no_proxy */
    const char *unix_path;       /* connect to this Unix socket, whatever the host */
};

/**
 * Make a session.  `options` may be NULL.  A fiber of its own, "http session", moves its data; it
 * runs on any worker, one at a time: a program that needs more than a core for HTTP makes more
 * sessions.  Names are resolved by getaddrinfo(3) on threads of libcurl's.
 * Ownership: the caller's; to be freed before the main fiber returns, or the runtime's stop waits
 *            for its grace.  Only fibers of this runtime may use it.
 * Errors: -EINVAL an option is malformed, -ENOMEM, -EAGAIN at the fiber limit, -EMFILE, -ESHUTDOWN
 *         the runtime is stopping, -ECANCELED, -ETIMEDOUT.
 */
int weft_http_session_new(const struct weft_http_session_options *options,
                          struct weft_http_session **ret_session);

/** Abort its transfers, whose fibers get -ESHUTDOWN, close its connections, and free it; nobody may
 * begin anything on it any more.  Its responses stay, with what was read ahead of them, and are
 * freed by their owners.  Suspends shortly, whatever the scope says.  NULL does nothing. */
void weft_http_session_free(struct weft_http_session *session);

struct weft_http_session_stats {
    unsigned active;      /* transfers that are neither complete nor aborted */
    unsigned open;        /* connections, with those that are kept for later */
    uint64_t started;     /* transfers, each hop of a redirect being one */
    uint64_t connections; /* made */
    uint64_t turns;       /* of the session's fiber */
};

/** Context: any thread.  Never suspends. */
void weft_http_session_stats(struct weft_http_session *session,
                             struct weft_http_session_stats *ret_stats);

/* ---- requests --------------------------------------------------------------------------- */

/* One part of a multipart/form-data body.  Its content is `data`, or `file` if that is not NULL:
 * from its beginning to the end that it has when the request begins. */
struct weft_http_part {
    const char *name;
    const char *filename;     /* NULL: it is a field and no file */
    const char *content_type; /* NULL: none for a field, application/octet-stream for a file */
    const void *data;
    size_t size;
    struct weft_file *file;
};

enum weft_http_body_kind {
    WEFT_HTTP_NO_BODY,
    WEFT_HTTP_BYTES,
    WEFT_HTTP_FORM,
    WEFT_HTTP_MULTIPART,
    WEFT_HTTP_FILE,
    WEFT_HTTP_STREAM
};

/*
 * The body of a request, as made by the functions below; all zeroes is none.  What it points to
 * must stay as it is until the response is freed, or the request has failed: a server may answer
 * before it has read all.
 */
struct weft_http_body {
    enum weft_http_body_kind kind;
    const char *content_type; /* NULL: the kind's own; a header of that name goes first */
    const void *data;
    size_t count; /* bytes, fields or parts */
    struct weft_file *file;
    ssize_t (*read)(void *arg, void *buffer, size_t size);
    int (*rewind)(void *arg);
    void *arg;
    int64_t length;
};

/** Bytes.  `content_type` NULL: application/octet-stream. */
static inline struct weft_http_body weft_http_bytes(const void *data, size_t size,
                                                    const char *content_type)
{
    struct weft_http_body body = {WEFT_HTTP_BYTES, content_type, data, size, 0, 0, 0, 0, 0};
    return body;
}

/** Text that is JSON; it is sent as it is. */
struct weft_http_body weft_http_json(const char *text);

/** Fields, as a form sends them: application/x-www-form-urlencoded. */
static inline struct weft_http_body weft_http_form(const struct weft_http_field *fields,
                                                   size_t count)
{
    struct weft_http_body body = {WEFT_HTTP_FORM, 0, fields, count, 0, 0, 0, 0, 0};
    return body;
}

/** Fields and files: multipart/form-data. */
static inline struct weft_http_body weft_http_multipart(const struct weft_http_part *parts,
                                                        size_t count)
{
    struct weft_http_body body = {WEFT_HTTP_MULTIPART, 0, parts, count, 0, 0, 0, 0, 0};
    return body;
}

/** A file, from its beginning to the end that it has when the request begins; its position is
 * neither used nor moved. */
static inline struct weft_http_body weft_http_file(struct weft_file *file, const char *content_type)
{
    struct weft_http_body body = {WEFT_HTTP_FILE, content_type, 0, 0, file, 0, 0, 0, 0};
    return body;
}

/**
 * What `read(arg, buffer, size)` returns, piece by piece: bytes read, 0 at the end, or -errno,
 * which aborts the request with that error.  It is called by the fiber that sends the request, and
 * then by the one that reads the response, while they wait, and may suspend.  `length` is how much
 * there will be (-ENODATA when there is less), or -1: unknown, sent in chunks (where HTTP/2 is
 * possible, libcurl before 8.1 has it on a connection of its own).  `rewind(arg)` goes
 * back to the beginning for a redirect that wants the body again, and returns 0 or -errno; NULL: it
 * cannot.
 */
static inline struct weft_http_body
weft_http_stream(ssize_t (*read)(void *arg, void *buffer, size_t size), int (*rewind)(void *arg),
                 void *arg, int64_t length, const char *content_type)
{
    struct weft_http_body body = {WEFT_HTTP_STREAM, content_type, 0,     0, 0, read,
                                  rewind,           arg,          length};
    return body;
}

/* A request; all but `url` may be left zero, and then is as the session has it. */
struct weft_http_request {
    const char *method; /* any word; NULL: GET, or POST where there is a body */
    const char *url;
    const struct weft_http_field *query; /* appended to the URL, encoded */
    size_t query_count;
    const struct weft_http_field *headers; /* several of a name are sent several times */
    size_t header_count;
    struct weft_http_body body;

    const char *user; /* basic authentication, instead of the session's */
    const char *password;
    const char *bearer;

    uint64_t total_ns; /* 0: the session's; WEFT_NO_DEADLINE: none */
    uint64_t connect_ns;
    uint64_t first_byte_ns;
    int max_redirects; /* 0: the session's; negative: none */

    struct weft_http_why *why; /* filled on failure; may be NULL */
};

/**
 * Send a request, follow redirects, and return when the headers of the response are there.
 *
 * A redirect by 303, or of a POST by 301 or 302, goes on as a GET without the body (HEAD stays
 * HEAD); all others repeat method and body.  Towards another scheme, host or port, `user`,
 * `password`, `bearer` and the headers Authorization, Cookie and Proxy-Authorization are left out.
 * Ownership: the caller's, to be freed by weft_http_response_free.
 * Errors: those at the top, and what the body's `read` or `rewind` returned.
 */
int weft_http_send(struct weft_http_session *session, const struct weft_http_request *request,
                   struct weft_http_response **ret_response);

/**
 * Whether a request could be sent by a session without options, as far as its URL, method and headers
 * tell; nothing is sent or read.  ret_why is filled on failure.
 * Context: any thread; never suspends.
 * Errors: -EINVAL, -EPROTONOSUPPORT, -ENOMEM.
 */
int weft_http_check(const struct weft_http_request *request, struct weft_http_why *ret_why);

/** Errors: weft_http_send's. */
int weft_http_get(struct weft_http_session *session, const char *url,
                  struct weft_http_response **ret_response);
int weft_http_head(struct weft_http_session *session, const char *url,
                   struct weft_http_response **ret_response);
int weft_http_options(struct weft_http_session *session, const char *url,
                      struct weft_http_response **ret_response);
int weft_http_delete(struct weft_http_session *session, const char *url,
                     struct weft_http_response **ret_response);

/** `body` may be NULL: none.  Errors: weft_http_send's. */
int weft_http_post(struct weft_http_session *session, const char *url,
                   const struct weft_http_body *body, struct weft_http_response **ret_response);
int weft_http_put(struct weft_http_session *session, const char *url,
                  const struct weft_http_body *body, struct weft_http_response **ret_response);
int weft_http_patch(struct weft_http_session *session, const char *url,
                    const struct weft_http_body *body, struct weft_http_response **ret_response);

/* ---- responses: the head.  None of these suspends; texts live as long as the response. ---- */

/** The status: 200, 404... */
int weft_http_response_status(const struct weft_http_response *response);

/** What the server said with the status, "Not Found"; "" over HTTP/2. */
const char *weft_http_response_reason(const struct weft_http_response *response);

/** 10, 11 or 20. */
unsigned weft_http_response_version(const struct weft_http_response *response);

/** Where it came from in the end, after redirects. */
const char *weft_http_response_url(const struct weft_http_response *response);

/** All headers in order. */
const struct weft_http_field *weft_http_response_headers(const struct weft_http_response *response,
                                                         size_t *ret_count);

/** The value of the first header of that name, in any case; NULL: there is none. */
const char *weft_http_response_header(const struct weft_http_response *response, const char *name);

/** The same of header number `index` among those of that name, from 0. */
const char *weft_http_response_header_at(const struct weft_http_response *response,
                                         const char *name, size_t index);

/** The length of the body as announced, before decompression; -1: it was not. */
int64_t weft_http_response_length(const struct weft_http_response *response);

/** 0 for a status below 400, else -EREMOTEIO, and weft_http_response_error tells which. */
int weft_http_response_check(struct weft_http_response *response);

/** Why a call on this response failed, in words; "" where none has. */
const char *weft_http_response_error(const struct weft_http_response *response);

/* ---- responses: the body ---------------------------------------------------------------- */

/**
 * Read up to size bytes of the body, suspending until some are there.
 * Returns: bytes read, 0 at its end.
 * Errors: those at the top, -EBUSY another fiber is inside a call.  After any but -EBUSY the
 *         transfer is over, and the error comes again.
 */
ssize_t weft_http_response_read(struct weft_http_response *response, void *buffer, size_t size);

/** Read the rest of the body.  *ret_data is for free(3), and a NUL that is not counted stands
 * behind it.  Errors: -EMSGSIZE more than `limit` bytes, -ENOMEM, weft_http_response_read's. */
int weft_http_response_body(struct weft_http_response *response, size_t limit, void **ret_data,
                            size_t *ret_size);

/** As weft_http_response_body, as text, whose encoding is as it came.  Errors: -EILSEQ there is a
 * NUL in it. */
int weft_http_response_text(struct weft_http_response *response, size_t limit, char **ret_text);

/** Write the rest of the body to `file` at its position.  *ret_size (may be NULL), which is set in
 * any case, tells how much was written.
 * Errors: -EFBIG more than `limit` bytes, weft_http_response_read's, weft_file_write's. */
int weft_http_response_to_file(struct weft_http_response *response, struct weft_file *file,
                               uint64_t limit, uint64_t *ret_size);

/** As weft_http_response_to_file, to the file of that name, made anew or replaced; on any error it
 * is removed.  Errors: weft_file_open's. */
int weft_http_response_save(struct weft_http_response *response, const char *path, uint64_t limit,
                            uint64_t *ret_size);

/** The headers that came behind the body; none before its end was read.  Never suspends. */
const struct weft_http_field *weft_http_response_trailers(const struct weft_http_response *response,
                                                          size_t *ret_count);

/* What a transfer took; times are from the beginning of the last hop.  0: it did not come to that.
 * Complete at the end of the body. */
struct weft_http_info {
    uint64_t resolved_ns;   /* the name was resolved */
    uint64_t connected_ns;  /* TCP */
    uint64_t secured_ns;    /* TLS */
    uint64_t first_byte_ns; /* of the response */
    uint64_t total_ns;      /* the last byte */
    uint64_t sent;          /* bytes of the body, as on the wire */
    uint64_t received;      /* likewise */
    unsigned redirects;     /* hops before the last */
    bool reused;            /* the connection was an earlier request's */
    char address[64];       /* of the server, or the proxy */
    uint16_t port;
};

/** Never suspends. */
void weft_http_response_info(const struct weft_http_response *response,
                             struct weft_http_info *ret_info);

/** Abort the transfer if it is not complete, which closes its connection, and free all.  Suspends
 * shortly then, whatever the scope says.  NULL does nothing. */
void weft_http_response_free(struct weft_http_response *response);

/* ---- cookies ---------------------------------------------------------------------------- */

struct weft_http_cookie {
    const char *name;
    const char *value;
    const char *domain;
    const char *path;  /* NULL, when one is set: "/" */
    int64_t expires_s; /* since 1970; 0: with the session */
    bool subdomains;   /* also for hosts below `domain` */
    bool secure;       /* only over TLS */
    bool http_only;
};

/**
 * The session's cookies, as an array with its texts in one block, which is for free(3).
 * Errors: -ENODATA the session keeps none (no_cookies), -ENOMEM, -ESHUTDOWN; -ECANCELED,
 * -ETIMEDOUT.
 */
int weft_http_cookies(struct weft_http_session *session, struct weft_http_cookie **ret_cookies,
                      size_t *ret_count);

/** Set one, or replace the one of that name, domain and path.
 * Errors: -EINVAL it is malformed; as weft_http_cookies. */
int weft_http_cookie_set(struct weft_http_session *session, const struct weft_http_cookie *cookie);

/** Forget all.  Errors: as weft_http_cookies. */
int weft_http_cookies_clear(struct weft_http_session *session);

/** Add those of a file in Netscape's format, as browsers and curl(1) have it, and write such a
 * file, in place of the old one at once and readable by its owner only.
 * Errors: as weft_http_cookies; -EBADMSG not such a file; and those of the file. */
int weft_http_cookies_load(struct weft_http_session *session, const char *path);
int weft_http_cookies_save(struct weft_http_session *session, const char *path);

#ifdef __cplusplus
}
#endif
#endif
